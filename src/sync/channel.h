// channel.h -- A channel as the dump must see it.
#ifndef WEFT_SYNC_CHANNEL_H
#define WEFT_SYNC_CHANNEL_H

#include <weft/channel.h>

#include "sync/wait.h"

// Everything is guarded by `lock`, save what never changes.
struct weft_channel {
    struct lock lock;
    struct grave grave;
    bool closed;
    size_t item_size;         // never changes
    size_t capacity;          // never changes
    size_t first;             // place of the oldest item
    size_t count;             // items inside; 0 while a receiver waits,
                              // `capacity` while a sender does
    size_t waiting;           // inside a wait; whoever ends one counts down
    struct list senders;      // waiter data: the item to send
    struct list receivers;    // waiter data: where the item goes
    char name[WEFT_NAME_MAX]; // never changes
    char items[];             // a ring
};

#endif
