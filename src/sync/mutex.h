// mutex.h -- A mutex as the dump must see it.
#ifndef WEFT_SYNC_MUTEX_H
#define WEFT_SYNC_MUTEX_H

#include <weft/mutex.h>

#include "sync/wait.h"

struct mutex {
    struct held held;             // name, and link in its owner's list
    _Atomic(struct task *) owner; // M1 in mutex.c
    struct lock lock;             // guards waiters
    uint32_t magic;               // set while initialised
    uint32_t waiting;             // inside a wait; under lock
    struct list waiters;          // first come, first served
    atomic_u64 taken_pc;          // where the owner took it; P2
    atomic_u64 taken_since;       // ticks; P2
};

// The owner, or NULL.
struct task *mutex_owner(const struct mutex *mutex);

#endif
