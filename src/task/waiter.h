// waiter.h -- One who waits: a parked task or a blocked thread.
//
// A waiter lives on the stack of whoever waits. Objects keep waiters in lists
// under their own lock; timers point at them under the timers' lock; whoever
// wants to end the wait fires the waiter, and exactly one firing wins. The
// owner takes the waiter out of every list, under its lock, before it returns;
// so firing under such a lock never meets a dead waiter.
#ifndef WEFT_TASK_WAITER_H
#define WEFT_TASK_WAITER_H

#include "task/task.h"

struct waiter {
    struct list link;    // in an object's queue; under its lock
    struct task *task;   // NULL: a thread waits
    uint64_t ticket;     // the task's state word as announced (PARKING)
    struct waiter *base; // of a clause of a select: the one that is waited
                         // by; else NULL
    atomic_u32 word;     // thread: 0, then outcome + 1; W1 in waiter.c
    bool won;            // a clause's: W4
    void *data;          // the object's own, for instance an item's place
};

enum fired {
    FIRED_LOST,  // another firing was first
    FIRED_WON,   // done: the waiter will see the outcome by itself
    FIRED_READY, // won, and the caller must put waiter->task into a queue
};

// Announces that the calling task (or thread: NULL) waits; `firm`: neither
// cancelling nor a scope's deadline ends it.
void waiter_arm(struct waiter *waiter, struct task *task, bool firm);

// Makes a clause's waiter stand for the same wait as an armed one.
void waiter_follow(struct waiter *waiter, struct waiter *base);

// Whether it is a clause's. Such a one stays until the lock of the object that
// fires it has been free: its owner takes every clause out under its lock.
static inline bool waiter_stays(const struct waiter *waiter)
{
    return waiter->base != NULL;
}

// Ends the wait with an outcome: 0 for ready, or a positive errno value. The
// waiter's memory may be gone as soon as this has won, unless it stays or a
// lock keeps it: with FIRED_READY use *ret_task.
enum fired waiter_fire(struct waiter *waiter, int outcome,
                       struct task **ret_task);

// The same for the wait of a task that has no waiter at hand: `word` is its
// state as loaded, with phase PARKING or WAITING.
enum fired waiter_fire_word(struct task *task, uint64_t word, int outcome);

// Blocks the calling thread until its waiter is fired or the deadline passes:
// the outcome, ETIMEDOUT included.
int waiter_block(struct waiter *waiter, int64_t deadline_ns);

#endif
