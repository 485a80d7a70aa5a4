// semaphore.h -- A semaphore as the dump must see it.
#ifndef WEFT_SYNC_SEMAPHORE_H
#define WEFT_SYNC_SEMAPHORE_H

#include <weft/semaphore.h>

#include "sync/holder.h"
#include "sync/object.h"

struct semaphore {
    struct object object;
    atomic_u64 state;       // S1 in semaphore.c
    uint64_t began;         // permits it began with; never changes
    atomic_u64 taker;       // S3: id of a task or, shifted, number of a thread
    atomic_u64 taken_pc;    // where the taker took it
    atomic_u64 taken_since; // ticks
};

void semaphore_describe(const struct semaphore *s,
                        struct object_facts *ret_facts);

#endif
