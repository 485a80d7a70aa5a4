// lock.h -- A small lock for short critical sections of any thread.
//
// One word, a futex: 0 free, 1 held, 2 held and somebody sleeps. A holder must
// not park, and must not take a lock that another holds while it waits for
// this one; the order is object, then runtime (see ARCHITECTURE.md).
#ifndef WEFT_BASE_LOCK_H
#define WEFT_BASE_LOCK_H

#include "port/port.h"

struct lock {
    atomic_u32 word; // any thread; L1 in lock.c
};

void lock_acquire(struct lock *lock);
bool lock_try(struct lock *lock);
void lock_release(struct lock *lock);

// Without taking it, by anyone who has read what its holder may be about to
// change once it has given the lock back: either that has been given back
// before, and what was done under it is seen; or what was read was read before.
void lock_pass(struct lock *lock);

#endif
