// rwlock.h -- A read-write lock as the dump must see it.
#ifndef WEFT_SYNC_RWLOCK_H
#define WEFT_SYNC_RWLOCK_H

#include <weft/rwlock.h>

#include "sync/holder.h"
#include "sync/object.h"

struct rwlock {
    struct object object;
    atomic_u64 state;       // R1 in rwlock.c
    atomic_holder writer;   // R4
    atomic_u64 taken_pc;    // where the writer took it; P2
    atomic_u64 taken_since; // ticks; P2
};

void rwlock_describe(const struct rwlock *l, struct object_facts *ret_facts);

#endif
