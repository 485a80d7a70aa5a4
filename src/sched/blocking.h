// blocking.h -- The pool of threads for calls that block.
#ifndef WEFT_SCHED_BLOCKING_H
#define WEFT_SCHED_BLOCKING_H

#include "base/list.h"
#include "base/lock.h"
#include "port/port.h"

struct standing;
struct weft_runtime;

// A call for the pool; lives with whoever waits for it.
struct job {
    struct list link;
    const void *fn;               // what the user wants called, for dumps
    uint64_t task;                // id of the task that waits
    void (*run)(struct job *job); // in a thread of the pool, as its last use
};

// A thread of the pool, on its own stack. The pool's lock guards all of it, but
// what the dump's trace_ops have written before it is in the list.
struct pool_thread {
    struct list link;
    int tid;                   // constant
    const void *fn;            // what it calls, or NULL
    uint64_t task;             // for that one
    uint64_t since;            // ticks: when it began that, or to do nothing
    atomic_u32 pins;           // dumps that read it: it does not end
    uintptr_t lo, hi;          // dump's own: its stack
    struct standing *standing; // dump's own
};

// Everything is guarded by `lock`, save `bell`, which is also slept on.
struct blocking {
    struct lock lock;
    struct weft_runtime *runtime; // constant
    uint32_t limit;               // constant: of threads
    uint32_t queue_limit;         // constant: of jobs that none can begin
    int64_t keep_ns;              // constant: an idle thread's
    struct list jobs;             // in the order they came
    uint32_t queued;              // of these
    struct list serving;          // its threads
    uint32_t threads;             // alive
    uint32_t beginning;           // of these, that have not looked for a job
    uint32_t idle;      // of these, asleep on the bell and not yet called
    uint32_t calls;     // wake-ups rung for that no thread has taken yet
    bool stopping;      //
    atomic_u32 bell;    // moves when a job comes or the pool stops
    atomic_u32 gone;    // moves when a thread has left
    atomic_u64 started; // threads ever started; a figure
};

// Its limits are set by then; it is zero otherwise.
void blocking_init(struct blocking *blocking, struct weft_runtime *runtime);

// Ends the idle threads and waits for them. No job may be left.
void blocking_deinit(struct blocking *blocking);

// Hands a job to the pool. 0, or -EAGAIN: no thread, and none could be started;
// or -EBUSY: as many wait as may.
int blocking_submit(struct blocking *blocking, struct job *job);

// How many threads it has, and how many jobs none of them has begun.
void blocking_count(struct blocking *blocking, uint32_t *ret_threads,
                    uint32_t *ret_queued);

// Keeps at most `room` of its threads from ending until each is unpinned, and
// returns how many there are. Copies what they do to *copies.
size_t blocking_pin(struct blocking *blocking, struct pool_thread **threads,
                    struct pool_thread *copies, size_t room);
// Whether a pinned thread still does what it did when it was copied.
bool blocking_still(struct blocking *blocking, const struct pool_thread *thread,
                    const struct pool_thread *copy);
void blocking_unpin(struct blocking *blocking, struct pool_thread *thread);

#endif
