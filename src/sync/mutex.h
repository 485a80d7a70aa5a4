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
    struct list waiters;          // first come, first served
    uintptr_t taken_pc;           // where the owner took it; the owner's
    uint64_t taken_since;         // ticks; the owner's
};

// The owner, or NULL.
struct task *mutex_owner(const struct mutex *mutex);

#endif
