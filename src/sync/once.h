// once.h -- A once as the dump must see it.
#ifndef WEFT_SYNC_ONCE_H
#define WEFT_SYNC_ONCE_H

#include <weft/once.h>

#include "sync/mutex.h"

struct once {
    struct mutex mutex; // held while a function runs
    atomic_u32 done;    // O1 in once.c
};

void once_describe(const struct once *once, struct object_facts *ret_facts);

#endif
