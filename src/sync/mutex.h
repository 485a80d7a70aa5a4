// mutex.h -- A mutex, for what is made of one, and for the dump.
#ifndef WEFT_SYNC_MUTEX_H
#define WEFT_SYNC_MUTEX_H

#include <weft/mutex.h>

#include "sync/holder.h"
#include "sync/object.h"

struct mutex {
    struct object object;
    atomic_holder owner;    // M1 in mutex.c
    atomic_u64 taken_pc;    // where the owner took it; P2
    atomic_u64 taken_since; // ticks; P2
};

// What the caller wants when it locks.
struct mutex_want {
    enum weft_wait_kind kind;
    uintptr_t pc; // of the call, for the dump
    int64_t deadline_ns;
    bool firm; // neither cancelling nor a scope's deadline ends it
};

// As weft_mutex_lock, weft_mutex_unlock. `m` is initialised.
int mutex_lock(struct mutex *m, const struct mutex_want *want);
int mutex_unlock(struct mutex *m);

// Whether the calling task or thread holds it.
bool mutex_is_own(const struct mutex *m);

bool mutex_is_held(const struct mutex *m);

void mutex_describe(const struct mutex *m, struct object_facts *ret_facts);

#endif
