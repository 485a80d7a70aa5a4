// blocking.h -- The pool of threads for calls that block.
#ifndef WEFT_SCHED_BLOCKING_H
#define WEFT_SCHED_BLOCKING_H

#include "base/list.h"
#include "base/lock.h"
#include "port/port.h"

// A call for the pool; lives with whoever waits for it.
struct job {
    struct list link;
    void (*run)(struct job *job); // in a thread of the pool, as its last use
};

// Everything is guarded by `lock`, save `bell`, which is also slept on.
struct blocking {
    struct lock lock;
    struct list jobs;   // in the order they came
    uint32_t threads;   // alive
    uint32_t idle;      // of these, asleep on the bell and not yet called
    uint32_t calls;     // wake-ups rung for that no thread has taken yet
    bool stopping;      //
    atomic_u32 bell;    // moves when a job comes or the pool stops
    atomic_u32 gone;    // moves when a thread has left
    atomic_u64 started; // threads ever started; a figure
};

void blocking_init(struct blocking *blocking);

// Ends the idle threads and waits for them. No job may be left.
void blocking_deinit(struct blocking *blocking);

// Hands a job to the pool. 0, or -EAGAIN: no thread, and none could be started.
int blocking_submit(struct blocking *blocking, struct job *job);

#endif
