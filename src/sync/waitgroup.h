// waitgroup.h -- A wait group as the dump must see it.
#ifndef WEFT_SYNC_WAITGROUP_H
#define WEFT_SYNC_WAITGROUP_H

#include <weft/waitgroup.h>

#include "sync/object.h"

struct waitgroup {
    struct object object;
    atomic_u64 state; // G1 in waitgroup.c
};

void waitgroup_describe(const struct waitgroup *group,
                        struct object_facts *ret_facts);

#endif
