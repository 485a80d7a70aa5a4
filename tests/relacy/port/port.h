// port.h -- Stands for src/port/port.h where a shipped file is compiled as C++
// with Relacy's atomics: another reading of the C11 model than the explorer's.
#ifndef WEFT_TESTS_RELACY_PORT_H
#define WEFT_TESTS_RELACY_PORT_H

#include <relacy/relacy.hpp>

#include <stdint.h>

// ---- Atomics ----

typedef rl::atomic<uint32_t> atomic_u32;
typedef rl::atomic<uint64_t> atomic_u64;
#define _Atomic(type) rl::atomic<type>

#define load_relaxed(p) (p)->load(rl::mo_relaxed, $)
#define load_acquire(p) (p)->load(rl::mo_acquire, $)
#define load_seq_cst(p) (p)->load(rl::mo_seq_cst, $)
#define store_relaxed(p, v) (p)->store(v, rl::mo_relaxed, $)
#define store_release(p, v) (p)->store(v, rl::mo_release, $)
#define store_seq_cst(p, v) (p)->store(v, rl::mo_seq_cst, $)
#define xchg_acq_rel(p, v) (p)->exchange(v, rl::mo_acq_rel, $)
#define cas_acq_rel(p, expected, v)                                            \
    (p)->compare_exchange(rl::bool_t<false>(), *(expected), v, rl::mo_acq_rel, \
                          $)

// ---- Sleeping ----

struct futex {
    rl::mutex mutex;
    rl::condition_variable_any woken;
};

// One for all words: whoever wakes one wakes all.
extern struct futex *futexes;

// The kernel looks at the newest value, and orders nothing.
static inline int port_futex_wait(atomic_u32 *word, uint32_t expected,
                                  int64_t deadline_ns)
{
    (void)deadline_ns;
    futexes->mutex.lock($);
    if (word->fetch_add(0, rl::mo_relaxed, $) == expected)
        futexes->woken.wait(futexes->mutex, $);
    futexes->mutex.unlock($);
    return 0;
}

static inline void port_futex_wake(atomic_u32 *word, uint32_t count)
{
    (void)word, (void)count;
    futexes->mutex.lock($);
    futexes->woken.notify_all($);
    futexes->mutex.unlock($);
}

#endif
