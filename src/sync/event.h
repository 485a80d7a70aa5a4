// event.h -- An event as the dump must see it.
#ifndef WEFT_SYNC_EVENT_H
#define WEFT_SYNC_EVENT_H

#include <weft/event.h>

#include "sync/object.h"

struct event {
    struct object object;
    atomic_u32 set; // E1 in event.c
};

void event_describe(const struct event *event, struct object_facts *ret_facts);

#endif
