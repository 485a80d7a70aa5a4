// barrier.h -- A barrier as the dump must see it.
#ifndef WEFT_SYNC_BARRIER_H
#define WEFT_SYNC_BARRIER_H

#include <weft/barrier.h>

#include "sync/object.h"

struct barrier {
    struct object object;
    uint64_t parties;    // never changes
    atomic_u64 arrived;  // B1 in barrier.c; dumps read it: relaxed, a figure
    uint64_t generation; // meetings so far; under the lock
};

void barrier_describe(const struct barrier *barrier,
                      struct object_facts *ret_facts);

#endif
