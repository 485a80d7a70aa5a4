// channel.h -- A channel as the dump must see it, and what its kinds share.
//
// A channel, and a one-shot, which closes itself, are channel.c's; a broadcast
// and a watch, whose receivers each keep their own place, broadcast.c's.
#ifndef WEFT_SYNC_CHANNEL_H
#define WEFT_SYNC_CHANNEL_H

#include <string.h>
#include <weft/channel.h>

#include "sync/wait.h"

struct clause;

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
    enum weft_object_kind kind; // never changes
    bool closed;
    size_t item_size;      // never changes
    size_t capacity;       // never changes
    size_t room;           // places of the ring; of a channel as many as were
                           // ever needed, up to `capacity`
    size_t first;          // place of the oldest item; of a broadcast or a
                           // watch its number, counted from the beginning
    size_t count;          // items inside; of a channel 0 while a receiver
                           // waits, `capacity` while a sender does
    size_t waiting;        // inside a wait; whoever ends one counts down
    struct list senders;   // waiter data: the item to send
    struct list receivers; // waiter data: where the item goes
    struct channel_peers sent;
    struct channel_peers received;
    char name[WEFT_NAME_MAX]; // never changes
    char items[];             // a ring
};

// Makes one of any kind; checks what is given.
int channel_new(enum weft_object_kind kind, size_t item_size, size_t capacity,
                const char *name, struct weft_channel **ret_channel);

// Who calls, until it parks.
struct caller {
    struct task *task; // NULL: a thread
    uint64_t now;      // ticks; of a task its worker's last switch, which is
                       // near enough
};

__attribute__((always_inline)) static inline struct caller find_caller(void)
{
    struct worker *worker = worker_self();

    if (__builtin_expect(worker == NULL, 0))
        return (struct caller){NULL, DUMPS_SERVED ? port_ticks() : 0};
    return (struct caller){load_relaxed(&worker->current), worker_now(worker)};
}

static inline char *channel_place(struct weft_channel *channel, size_t index)
{
    return channel->items + index % channel->room * channel->item_size;
}

// The calls below are made under the lock.

// Puts an item in; there is room.
static inline void channel_put(struct weft_channel *channel, const void *item)
{
    memcpy(channel_place(channel, channel->first + channel->count), item,
           channel->item_size);
    channel->count++;
}

// Notes that the caller has sent; `caller` as found at the beginning.
void channel_note_sent(struct weft_channel *channel,
                       const struct caller *caller);

// Hands an item to the first receiver that still waits; false: there is none.
bool channel_give(struct weft_channel *channel, const void *item, uint64_t now);

// Waits until an item has been given, and gives the lock back in any case.
int channel_wait(struct weft_channel *channel, void *ret_item,
                 int64_t deadline_ns);

// Closes it, and wakes all who wait.
void channel_end(struct weft_channel *channel);

// Of a clause of a select that waits to receive.
bool channel_enter_recv(struct clause *clause);
void channel_leave(struct clause *clause);

#endif
