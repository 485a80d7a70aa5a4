// port.h -- The boundary to machine and system; nothing else may cross it.
//
// Three back-ends stand behind these names: the real one (port_real.c and the
// macros below, which compile away), the interleaving explorer, and the
// simulator. So the files above it hold no atomics and no system calls of
// time, waiting, memory or threads but these.
#ifndef WEFT_PORT_H
#define WEFT_PORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#endif
#endif

// ---- Steps and what each thread has of its own. ----

// In the simulator's library (src/sim) each ordered access is a step: there a
// simulation may go on with another thread. A file whose steps would be as many
// as addresses happen to decide, which no seed fixes, defines PORT_STEPLESS.
// Elsewhere a step is nothing.
#ifdef WEFT_SIM
extern __thread uint64_t port_steps_left
    __attribute__((tls_model("initial-exec")));
void port_steps_end(void);
void port_variable(void *(*address)(void), size_t size);
#endif
#if defined(WEFT_SIM) && !defined(PORT_STEPLESS)
static inline void port_step(void)
{
    if (--port_steps_left == 0)
        port_steps_end();
}
#else
#define port_step() ((void)0)
#endif

// Defines a variable of which each thread has its own, zero at first. A
// simulation, whose threads share one of the system's, keeps them apart.
// NOLINTBEGIN(bugprone-macro-parentheses): a type
#define PORT_THREAD_LOCAL                                                      \
    static __thread __attribute__((tls_model("initial-exec")))
#ifdef WEFT_SIM
#define PORT_THREAD_VARIABLE(type, name)                                       \
    PORT_THREAD_LOCAL type name;                                               \
    static void *address_of_##name(void)                                       \
    {                                                                          \
        return &name;                                                          \
    }                                                                          \
    __attribute__((constructor)) static void announce_##name(void)             \
    {                                                                          \
        port_variable(address_of_##name, sizeof name);                         \
    }                                                                          \
    static void *address_of_##name(void)
#else
#define PORT_THREAD_VARIABLE(type, name) PORT_THREAD_LOCAL type name
#endif
// NOLINTEND(bugprone-macro-parentheses)

// ---- Atomics. The order is in the name. No stand-alone fences. ----

typedef _Atomic(uint32_t) atomic_u32;
typedef _Atomic(uint64_t) atomic_u64;

#ifdef WEFT_EXPLORE
#include "port/port_explore.h"
#else

#define load_relaxed(p) atomic_load_explicit(p, memory_order_relaxed)
#define load_acquire(p)                                                        \
    (port_step(), atomic_load_explicit(p, memory_order_acquire))
#define load_seq_cst(p)                                                        \
    (port_step(), atomic_load_explicit(p, memory_order_seq_cst))

#define store_relaxed(p, v) atomic_store_explicit(p, v, memory_order_relaxed)
#define store_release(p, v)                                                    \
    (port_step(), atomic_store_explicit(p, v, memory_order_release))
#define store_seq_cst(p, v)                                                    \
    (port_step(), atomic_store_explicit(p, v, memory_order_seq_cst))

#define xchg_relaxed(p, v) atomic_exchange_explicit(p, v, memory_order_relaxed)
#define xchg_acquire(p, v)                                                     \
    (port_step(), atomic_exchange_explicit(p, v, memory_order_acquire))
#define xchg_release(p, v)                                                     \
    (port_step(), atomic_exchange_explicit(p, v, memory_order_release))
#define xchg_acq_rel(p, v)                                                     \
    (port_step(), atomic_exchange_explicit(p, v, memory_order_acq_rel))
#define xchg_seq_cst(p, v)                                                     \
    (port_step(), atomic_exchange_explicit(p, v, memory_order_seq_cst))

// On failure *expected holds what was found, loaded with relaxed order (with
// acquire or seq_cst order in the last two).
#define cas_relaxed(p, expected, v)                                            \
    atomic_compare_exchange_strong_explicit(                                   \
        p, expected, v, memory_order_relaxed, memory_order_relaxed)
#define cas_acquire(p, expected, v)                                            \
    (port_step(),                                                              \
     atomic_compare_exchange_strong_explicit(                                  \
         p, expected, v, memory_order_acquire, memory_order_relaxed))
#define cas_release(p, expected, v)                                            \
    (port_step(),                                                              \
     atomic_compare_exchange_strong_explicit(                                  \
         p, expected, v, memory_order_release, memory_order_relaxed))
#define cas_acq_rel(p, expected, v)                                            \
    (port_step(),                                                              \
     atomic_compare_exchange_strong_explicit(                                  \
         p, expected, v, memory_order_acq_rel, memory_order_acquire))
#define cas_seq_cst(p, expected, v)                                            \
    (port_step(),                                                              \
     atomic_compare_exchange_strong_explicit(                                  \
         p, expected, v, memory_order_seq_cst, memory_order_seq_cst))

// They return the value before.
#define add_relaxed(p, n) atomic_fetch_add_explicit(p, n, memory_order_relaxed)
#define add_acq_rel(p, n)                                                      \
    (port_step(), atomic_fetch_add_explicit(p, n, memory_order_acq_rel))
#define add_seq_cst(p, n)                                                      \
    (port_step(), atomic_fetch_add_explicit(p, n, memory_order_seq_cst))
#define sub_relaxed(p, n) atomic_fetch_sub_explicit(p, n, memory_order_relaxed)
#define sub_acq_rel(p, n)                                                      \
    (port_step(), atomic_fetch_sub_explicit(p, n, memory_order_acq_rel))
#define sub_seq_cst(p, n)                                                      \
    (port_step(), atomic_fetch_sub_explicit(p, n, memory_order_seq_cst))
#define or_seq_cst(p, n)                                                       \
    (port_step(), atomic_fetch_or_explicit(p, n, memory_order_seq_cst))

// An asymmetric fence: of a thread that calls light between a store and a load,
// and one that calls heavy between its store and load, at least one sees the
// other's store. Light costs nothing; heavy some microseconds.
static inline void port_barrier_light(void)
{
    __asm__ volatile("" ::: "memory");
}
void port_barrier_heavy(void);

// Tells the processor that this is a waiting loop.
#ifdef WEFT_SIM
void port_pause(void);
#else
static inline void port_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
#endif

#endif // WEFT_EXPLORE

// ---- Waiting. ----

// Sleeps while *word is `expected`, until woken or the deadline (monotonic, or
// INT64_MAX). 0 woken, perhaps for nothing; -EAGAIN the word differs;
// -ETIMEDOUT. An interruption by a signal counts as a waking for nothing.
int port_futex_wait(atomic_u32 *word, uint32_t expected, int64_t deadline_ns);

// Wakes up to `count` sleepers. Async-signal-safe.
void port_futex_wake(atomic_u32 *word, uint32_t count);

// ---- Time. ----

// CLOCK_MONOTONIC, CLOCK_REALTIME and CLOCK_BOOTTIME in nanoseconds.
// Async-signal-safe.
int64_t port_now(void);
int64_t port_wall_now(void);
int64_t port_boot_now(void);

// Whether the processor's counter serves; set once, before main begins.
extern bool port_has_counter;

// A cheap counter that grows steadily and alike on all processors: the time
// stamp counter where the kernel trusts it, CLOCK_MONOTONIC otherwise. Inline:
// it stands on the path of every switch. Async-signal-safe.
#ifdef WEFT_SIM
uint64_t port_ticks(void); // nanoseconds
#elif !defined(WEFT_EXPLORE)
static inline uint64_t port_ticks(void)
{
#if defined(__x86_64__)
    if (__builtin_expect(port_has_counter, 1))
        return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#endif
    return (uint64_t)port_now();
}
#endif

// The time span of a number of ticks, by the rate measured since the start of
// the process, to 100 ns or 1 in 10,000. In the first millisecond of the
// process it waits for that millisecond to pass. Async-signal-safe.
int64_t port_ticks_to_ns(uint64_t ticks);

// ---- Memory for stacks and tables. ----

// Tells MemorySanitizer of memory that the system has filled by a call which it
// does not know (in clang 14: fstat, lstat, epoll_pwait2).
static inline void port_filled(const void *start, size_t bytes)
{
    (void)start, (void)bytes;
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
    __msan_unpoison(start, bytes);
#endif
#endif
}

// Reserves zeroed memory, committed at first touch, not shared with forked
// children when `stacks`, aligned to `align` (a power of two). NULL: no memory.
void *port_reserve(size_t bytes, size_t align, bool stacks);
void port_unreserve(void *start, size_t bytes);

// Keeps the system from backing a reserved range by huge pages: whoever
// touches one first waits for all of it to be zeroed.
void port_small_pages(void *start, size_t bytes);

// Puts memory behind a range of port_reserve's now, in huge pages where they
// fit whole, so that nobody waits for it at first touch. Only a hint: where the
// system does not do it (before Linux 5.14), first touch will.
void port_commit(void *start, size_t bytes);

// Makes every access to a page-aligned range fault. 0, or -ENOSPC: no way is
// left. Before Linux 6.13 a guard in the middle of a range costs two mappings,
// so there guards end when the process has half of vm.max_map_count: past the
// whole of it even malloc would fail.
int port_guard(void *start, size_t bytes);

// Copies memory of this process that may be unmapped at any moment, without a
// fault: how many bytes there were, from the first on.
size_t port_read_memory(uintptr_t address, void *to, size_t bytes);

// Hands the memory behind a range back to the system; it reads as zero after.
// Guards stay.
void port_discard(void *start, size_t bytes);

// Lets forked children inherit a range, or not.
void port_inherit(void *start, size_t bytes, bool inherit);

size_t port_page_size(void);

// ---- Threads and the machine. ----

struct port_thread {
    unsigned long handle;
};

// Starts a thread with all signals but the synchronous ones blocked. 0, or
// -EAGAIN. `thread` is to be joined; NULL: nobody will.
int port_thread_start(struct port_thread *thread, const char *name,
                      void *(*fn)(void *), void *arg);
void port_thread_join(struct port_thread *thread);

// How many threads this process has, and how many of these were started here.
// False: the kernel does not say.
bool port_threads(uint32_t *ret_all, uint32_t *ret_started);

// For a forked child: those started here are gone.
void port_threads_forget(void);

// The bounds of the calling thread's own stack. 0 or -ENOMEM.
int port_own_stack(uintptr_t *ret_low, uintptr_t *ret_high);

int port_thread_id(void); // the kernel's number of the calling thread

// Where a thread of a simulation that does not run now has left its registers
// (a struct switch_frame, with its stack above); NULL for any other.
#ifdef WEFT_SIM
const void *port_thread_saved(int tid);
#else
static inline const void *port_thread_saved(int tid)
{
    (void)tid;
    return NULL;
}
#endif

// A signal with a value for a thread of this process, in the next tick of the
// processor that it runs on: it interrupts no system call and wakes nobody, but
// waits until the thread uses its processor. (Kernels without
// CONFIG_POSIX_CPU_TIMERS_TASK_WORK: save a call that is just being entered.)
struct port_alarm {
    void *timer;
};

// 0, or -EINVAL (no such thread), -EAGAIN (no more timers).
int port_alarm_arm(struct port_alarm *alarm, int tid, int number,
                   const void *value);

// Takes it back; the signal may have been sent.
void port_alarm_cancel(struct port_alarm *alarm);

// Nanoseconds of processor time used by a thread of this process; -1: none.
int64_t port_thread_cpu(int tid);

// Whether a thread of this process sleeps in the kernel, rather than runs or
// wants to. Where the kernel does not say, true.
bool port_thread_sleeps(int tid);

// Lets a signal through to the calling thread, or blocks it.
void port_signal_admit(int number, bool admit);

// Processors that the calling thread may use, by its affinity and the quotas of
// the control groups (version 2) that the process is in.
unsigned port_cpus(void);

// The same, where the process's groups are said to be in the file `groups`, and
// the hierarchy to be mounted at `root`.
unsigned port_cpus_by(const char *groups, const char *root);
uint64_t port_random(void);

// Calls these around fork in every later fork of the process. 0, or -ENOMEM.
int port_at_fork(void (*before)(void), void (*in_parent)(void),
                 void (*in_child)(void));

// ---- Event source: readiness of descriptors. ----

enum {
    PORT_READABLE = 1, // or at end, or in error
    PORT_WRITABLE = 2, // or in error
};

enum { PORT_EVENTS_MAX = 128 }; // the most that one wait returns

struct port_event {
    uint64_t token;
    uint32_t ready; // PORT_READABLE | PORT_WRITABLE
};

// Of the event that the wall clock was set; no other has it.
#define PORT_CLOCK_TOKEN (UINT64_MAX - 1)

struct port_poller {
    int epoll;
    int wakeup; // an eventfd
    int clock;  // a timerfd that is told of settings of the clock, or -1
};

// 0, or -EMFILE, -ENFILE, -ENOMEM.
int port_poller_init(struct port_poller *poller);
void port_poller_deinit(struct port_poller *poller);

// Watches a descriptor, edge-triggered, in both directions, until it is
// closed or removed. Any token but the last two there are. 0, or -errno
// (-EPERM: a kind of descriptor that is always ready, for instance a plain
// file).
int port_poller_add(struct port_poller *poller, int fd, uint64_t token);
void port_poller_remove(struct port_poller *poller, int fd);

// From now on each setting of CLOCK_REALTIME, a suspend that ends included, is
// an event with PORT_CLOCK_TOKEN. Once. 0, or -errno.
int port_poller_watch_clock(struct port_poller *poller);

// Waits for events until the deadline (past: looks only), at most `max`. Their
// number; 0 also after port_poller_wake.
int port_poller_wait(struct port_poller *poller, struct port_event *events,
                     int max, int64_t deadline_ns);

// Ends a wait, present or next. Any thread. Async-signal-safe.
void port_poller_wake(struct port_poller *poller);

#endif
