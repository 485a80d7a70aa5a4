// channel.h -- A channel as the dump must see it.
#ifndef WEFT_SYNC_CHANNEL_H
#define WEFT_SYNC_CHANNEL_H

#include <weft/channel.h>

#include "sync/wait.h"

// Who has sent to a channel, or received from it, of late: for dumps. A task
// is its id below its runtime's tag.
enum { CHANNEL_PEERS = 3 };
#define CHANNEL_THREAD UINT64_MAX // any thread that runs no task

struct channel_peers {
    uint64_t ids[CHANNEL_PEERS]; // newest first; 0: none
    uint64_t last;               // ticks: when the newest did
    bool more;                   // others did too, longer ago
};

#define CHANNEL_PEER(tag, id) ((uint64_t)(tag) << 56 | (id))
#define CHANNEL_PEER_TAG(peer) ((uint32_t)((peer) >> 56))
#define CHANNEL_PEER_ID(peer) ((peer) << 8 >> 8)

// Everything is guarded by `lock`, save what never changes.
struct weft_channel {
    struct lock lock;
    struct grave grave;
    bool closed;
    size_t item_size;      // never changes
    size_t capacity;       // never changes
    size_t first;          // place of the oldest item
    size_t count;          // items inside; 0 while a receiver waits,
                           // `capacity` while a sender does
    size_t waiting;        // inside a wait; whoever ends one counts down
    struct list senders;   // waiter data: the item to send
    struct list receivers; // waiter data: where the item goes
    struct channel_peers sent;
    struct channel_peers received;
    char name[WEFT_NAME_MAX]; // never changes
    char items[];             // a ring
};

#endif
