// wait.h -- The one mechanism by which everything parks.
//
// An object with waiters has a lock and a list of waiters. Under the lock, one
// who cannot go on calls wait_park, which writes the task's wait record, puts
// the waiter into the list, gives the lock back and parks. Whoever changes the
// object wakes waiters from the list, under the same lock. What ends a wait is
// an outcome: 0 (the object gave what was asked for: the waker has done the
// operation on the waiter's behalf), ETIMEDOUT, ECANCELED, or an error of the
// object's own (EPIPE: closed). So an operation either took effect or not.
#ifndef WEFT_SYNC_WAIT_H
#define WEFT_SYNC_WAIT_H

#include "sched/runtime.h"
#include "task/waiter.h"

// What is waited for: the wait record that a dump shows.
struct wait {
    enum weft_wait_kind kind;
    const void *object;  // mutex, channel, scope, task to join, or NULL
    int fd;              // with WEFT_WAIT_FD; of a select how many clauses
    bool write;          //
    bool firm;           // neither cancelling nor a scope's deadline ends it
    int64_t deadline_ns; // the caller's own
};

// Parks the calling task, or blocks the calling thread. `lock` is held by the
// caller and given back here; `queue` is where the waiter goes; either both
// are given or neither (a sleep). `waiter` is the caller's, its `data` set.
// Returns 0 or -errno as above; the waiter is in no list any more.
int wait_park(const struct wait *wait, struct lock *lock, struct list *queue,
              struct waiter *waiter);

// The same for one who waits by several waiters in as many queues: once the
// wait is announced, `publish` makes them stand for `base` (waiter_follow) and
// gives all locks back. The caller takes them out of the queues.
int wait_park_among(const struct wait *wait, struct waiter *base,
                    void (*publish)(void *arg), void *arg);

// Why the caller must not begin an operation even where it would not have to
// wait: -ECANCELED, or -ETIMEDOUT (a scope's deadline has passed). Else 0. The
// calling task, or NULL.
int wait_interrupted(const struct task *task);

// Wakes a waiter with an outcome; the caller holds the object's lock and has
// taken it out of the list, and has carried out the operation on the waiter's
// `data` beforehand. False: it was timed out or cancelled already, the
// operation did not happen, and what was meant for it belongs to another.
bool wait_wake(struct waiter *waiter, int outcome);

#endif
