// port_explore.h -- The boundary's atomics under the interleaving explorer.
//
// Included by port.h in a build with WEFT_EXPLORE, in which the shipped files
// are compiled unchanged: each access is a call that says where it stands, and
// the explorer (tests/explore) decides which thread goes on and which store a
// load reads.
#ifndef WEFT_PORT_PORT_EXPLORE_H
#define WEFT_PORT_PORT_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum explore_order {
    ORDER_RELAXED,
    ORDER_ACQUIRE,
    ORDER_RELEASE,
    ORDER_ACQ_REL,
    ORDER_SEQ_CST,
};

enum explore_change {
    CHANGE_XCHG,
    CHANGE_ADD,
    CHANGE_SUB,
    CHANGE_OR,
};

// `site` is "FILE:LINE EXPRESSION" throughout.
uint64_t explore_load(const volatile void *at, size_t size,
                      enum explore_order order, const char *site);
void explore_store(volatile void *at, size_t size, uint64_t value,
                   enum explore_order order, const char *site);
uint64_t explore_change(volatile void *at, size_t size,
                        enum explore_change change, uint64_t value,
                        enum explore_order order, const char *site);
bool explore_cas(volatile void *at, size_t size, uint64_t *expected,
                 uint64_t value, enum explore_order order, const char *site);

#define EXPLORE_TEXT_(line) #line
#define EXPLORE_TEXT(line) EXPLORE_TEXT_(line)
#define EXPLORE_SITE(p) __FILE__ ":" EXPLORE_TEXT(__LINE__) " " #p

// What an atomic holds: the comma makes it a value, without qualifiers.
#define EXPLORE_TYPE(p) __typeof__((void)0, *(p))

#define EXPLORE_LOAD(p, order)                                                 \
    ((EXPLORE_TYPE(p))(uintptr_t)explore_load(p, sizeof *(p), order,           \
                                              EXPLORE_SITE(p)))
#define EXPLORE_STORE(p, v, order)                                             \
    explore_store(p, sizeof *(p), (uint64_t)(uintptr_t)(v), order,             \
                  EXPLORE_SITE(p))
#define EXPLORE_CHANGE(p, change, v, order)                                    \
    ((EXPLORE_TYPE(p))(uintptr_t)explore_change(p, sizeof *(p), change,        \
                                                (uint64_t)(uintptr_t)(v),      \
                                                order, EXPLORE_SITE(p)))
#define EXPLORE_CAS(p, expected, v, order)                                     \
    ({                                                                         \
        __auto_type expected_ = (expected);                                    \
        uint64_t word_ = (uint64_t)(uintptr_t)*expected_;                      \
        bool won_ =                                                            \
            explore_cas(p, sizeof *(p), &word_, (uint64_t)(uintptr_t)(v),      \
                        order, EXPLORE_SITE(p));                               \
        if (!won_)                                                             \
            *expected_ = (EXPLORE_TYPE(p))(uintptr_t)word_;                    \
        won_;                                                                  \
    })

#define load_relaxed(p) EXPLORE_LOAD(p, ORDER_RELAXED)
#define load_acquire(p) EXPLORE_LOAD(p, ORDER_ACQUIRE)
#define load_seq_cst(p) EXPLORE_LOAD(p, ORDER_SEQ_CST)

#define store_relaxed(p, v) EXPLORE_STORE(p, v, ORDER_RELAXED)
#define store_release(p, v) EXPLORE_STORE(p, v, ORDER_RELEASE)
#define store_seq_cst(p, v) EXPLORE_STORE(p, v, ORDER_SEQ_CST)

#define xchg_relaxed(p, v) EXPLORE_CHANGE(p, CHANGE_XCHG, v, ORDER_RELAXED)
#define xchg_acquire(p, v) EXPLORE_CHANGE(p, CHANGE_XCHG, v, ORDER_ACQUIRE)
#define xchg_release(p, v) EXPLORE_CHANGE(p, CHANGE_XCHG, v, ORDER_RELEASE)
#define xchg_acq_rel(p, v) EXPLORE_CHANGE(p, CHANGE_XCHG, v, ORDER_ACQ_REL)
#define xchg_seq_cst(p, v) EXPLORE_CHANGE(p, CHANGE_XCHG, v, ORDER_SEQ_CST)

#define cas_relaxed(p, expected, v) EXPLORE_CAS(p, expected, v, ORDER_RELAXED)
#define cas_acquire(p, expected, v) EXPLORE_CAS(p, expected, v, ORDER_ACQUIRE)
#define cas_release(p, expected, v) EXPLORE_CAS(p, expected, v, ORDER_RELEASE)
#define cas_acq_rel(p, expected, v) EXPLORE_CAS(p, expected, v, ORDER_ACQ_REL)
#define cas_seq_cst(p, expected, v) EXPLORE_CAS(p, expected, v, ORDER_SEQ_CST)

#define add_relaxed(p, n) EXPLORE_CHANGE(p, CHANGE_ADD, n, ORDER_RELAXED)
#define add_acq_rel(p, n) EXPLORE_CHANGE(p, CHANGE_ADD, n, ORDER_ACQ_REL)
#define add_seq_cst(p, n) EXPLORE_CHANGE(p, CHANGE_ADD, n, ORDER_SEQ_CST)
#define sub_relaxed(p, n) EXPLORE_CHANGE(p, CHANGE_SUB, n, ORDER_RELAXED)
#define sub_acq_rel(p, n) EXPLORE_CHANGE(p, CHANGE_SUB, n, ORDER_ACQ_REL)
#define sub_seq_cst(p, n) EXPLORE_CHANGE(p, CHANGE_SUB, n, ORDER_SEQ_CST)
#define or_relaxed(p, n) EXPLORE_CHANGE(p, CHANGE_OR, n, ORDER_RELAXED)
#define or_acq_rel(p, n) EXPLORE_CHANGE(p, CHANGE_OR, n, ORDER_ACQ_REL)
#define or_seq_cst(p, n) EXPLORE_CHANGE(p, CHANGE_OR, n, ORDER_SEQ_CST)

// The light side costs nothing and does nothing: the heavy one is a fence in
// every thread.
static inline void port_barrier_light(void)
{
}
void port_barrier_heavy(void);

// The caller will not go on before another thread has done something.
void port_pause(void);

// Virtual: grows with each call.
uint64_t port_ticks(void);

#endif
