// broadcast.c -- Broadcasts and watches: each receiver gets what was sent.
//
// Items are numbered from 0, and the last `capacity` of them kept in the ring
// of a struct weft_channel, whose `first` is the number of the oldest one kept.
// A receiver is the number of the item it has to get next, and nothing else:
// the sender knows those alone that wait. A watch keeps one item, and skips
// without a word what a receiver has missed; its version is that number.
//
//   B1  `first` + `count` is the number of items sent. An item, once sent,
//       keeps its number and its place until `capacity` others were sent.
//   B2  Receivers wait only where their next item is the one that is to be sent
//       next. So a send gives its item to all of them (channel.c I2), and
//       whoever has got one goes on with the next number. Of a clause that was
//       chosen it is told by the numbers whether it got an item or was woken by
//       the closing, after which nothing is sent.
//   B3  A receiver's number is written by its owner alone, and never goes back.
//       Where its item is kept no more, it moves on to the oldest that is.
#include <weft/broadcast.h>
#include <weft/watch.h>

#include <errno.h>

#include "sync/channel.h"
#include "sync/clause.h"

static struct weft_channel *inside(void *object, enum weft_object_kind kind)
{
    struct weft_channel *channel = object;

    return channel == NULL || channel->kind != kind ? NULL : channel;
}

// B1
static uint64_t sent(const struct weft_channel *channel)
{
    return channel->first + channel->count;
}

static void keep(struct weft_channel *channel, const void *item)
{
    if (channel->count == channel->capacity) {
        channel->first++;
        channel->count--;
    }
    channel_put(channel, item);
}

static int publish(struct weft_channel *channel, const void *item)
{
    if (channel == NULL || item == NULL)
        return -EINVAL;
    struct caller caller = find_caller();
    lock_acquire(&channel->lock);
    bool closed = channel->closed;
    if (!closed) {
        keep(channel, item);
        while (channel_give(channel, item, caller.now)) // B2
            continue;
        channel_note_sent(channel, &caller);
    }
    lock_release(&channel->lock);
    return closed ? -EPIPE : 0;
}

// One who receives.
struct cursor {
    uint64_t *next;
    uint64_t *lost; // NULL: what was missed is skipped
};

// Receives if that needs no waiting: 0, -EOVERFLOW, -EPIPE, or -EINVAL.
// -EAGAIN: it does. The lock is held.
static int recv_now(struct weft_channel *channel, const struct cursor *cursor,
                    void *ret_item)
{
    uint64_t next = *cursor->next;

    if (next > sent(channel))
        return -EINVAL;
    if (next == sent(channel))
        return channel->closed ? -EPIPE : -EAGAIN;
    if (next < channel->first) { // B3
        if (cursor->lost != NULL) {
            *cursor->lost = channel->first - next;
            *cursor->next = channel->first;
            return -EOVERFLOW;
        }
        next = channel->first;
    }
    memcpy(ret_item, channel_place(channel, next), channel->item_size);
    *cursor->next = next + 1;
    return 0;
}

static int receive(struct weft_channel *channel, const struct cursor *cursor,
                   void *ret_item, int64_t deadline_ns)
{
    int error = wait_interrupted(task_self());

    if (error != 0)
        return error;
    lock_acquire(&channel->lock);
    error = recv_now(channel, cursor, ret_item);
    if (error == -EAGAIN) {
        error = channel_wait(channel, ret_item, deadline_ns);
        if (error == 0)
            ++*cursor->next; // B2
        return error;
    }
    lock_release(&channel->lock);
    sched_spend();
    return error;
}

// ---- As a clause. ----

static struct cursor cursor_of(const struct clause *clause)
{
    void *number = (void *)(uintptr_t)clause->number;
    weft_receiver *receiver = number;

    return clause->kind == WEFT_CLAUSE_WATCH
               ? (struct cursor){number, NULL}
               : (struct cursor){&receiver->next, &receiver->lost};
}

static int find(struct clause *clause, enum weft_object_kind kind)
{
    struct weft_channel *channel = inside(clause->object, kind);

    if (channel == NULL || clause->item == NULL || clause->number == 0)
        return -EINVAL;
    clause->lock = &channel->lock;
    return 0;
}

static int find_broadcast(struct clause *clause)
{
    const weft_receiver *receiver = (void *)(uintptr_t)clause->number;

    clause->object = receiver == NULL ? NULL : receiver->broadcast;
    return find(clause, WEFT_OBJECT_BROADCAST);
}

static int find_watch(struct clause *clause)
{
    return find(clause, WEFT_OBJECT_WATCH);
}

static bool try(struct clause *clause)
{
    struct cursor cursor = cursor_of(clause);

    clause->result = recv_now(clause->object, &cursor, clause->item);
    return clause->result != -EAGAIN;
}

static void leave(struct clause *clause)
{
    struct cursor cursor = cursor_of(clause);

    channel_leave(clause);
    if (clause->own.waiter.won && *cursor.next < sent(clause->object))
        ++*cursor.next; // B2
}

const struct clause_kind broadcast_clause = {
    WEFT_WAIT_CHAN_RECV,
    find_broadcast,
    try,
    channel_enter_recv,
    leave,
    NULL,
    NULL,
};

const struct clause_kind watch_clause = {
    WEFT_WAIT_CHAN_RECV, find_watch, try, channel_enter_recv, leave, NULL, NULL,
};

// ---- Public. ----

int weft_broadcast_new(size_t item_size, size_t capacity, const char *name,
                       weft_broadcast **ret_broadcast)
{
    struct weft_channel *channel;

    if (capacity == 0 || ret_broadcast == NULL)
        return -EINVAL;
    int error =
        channel_new(WEFT_OBJECT_BROADCAST, item_size, capacity, name, &channel);
    if (error == 0)
        *ret_broadcast = (weft_broadcast *)channel;
    return error;
}

int weft_broadcast_free(weft_broadcast *broadcast)
{
    return weft_channel_free((struct weft_channel *)broadcast);
}

int weft_broadcast_subscribe(weft_broadcast *broadcast,
                             weft_receiver *ret_receiver)
{
    struct weft_channel *channel = inside(broadcast, WEFT_OBJECT_BROADCAST);

    if (channel == NULL || ret_receiver == NULL)
        return -EINVAL;
    lock_acquire(&channel->lock);
    *ret_receiver = (weft_receiver){broadcast, sent(channel), 0};
    lock_release(&channel->lock);
    return 0;
}

int weft_broadcast_send(weft_broadcast *broadcast, const void *item)
{
    return publish(inside(broadcast, WEFT_OBJECT_BROADCAST), item);
}

int weft_broadcast_recv(weft_receiver *receiver, void *ret_item,
                        int64_t deadline_ns)
{
    struct weft_channel *channel;

    if (receiver == NULL || ret_item == NULL)
        return -EINVAL;
    channel = inside(receiver->broadcast, WEFT_OBJECT_BROADCAST);
    if (channel == NULL)
        return -EINVAL;
    struct cursor cursor = {&receiver->next, &receiver->lost};
    return receive(channel, &cursor, ret_item, deadline_ns);
}

int weft_broadcast_close(weft_broadcast *broadcast)
{
    return weft_channel_close(inside(broadcast, WEFT_OBJECT_BROADCAST));
}

int weft_watch_new(size_t item_size, const void *initial, const char *name,
                   weft_watch **ret_watch)
{
    struct weft_channel *channel;

    if (ret_watch == NULL)
        return -EINVAL;
    int error = channel_new(WEFT_OBJECT_WATCH, item_size, 1, name, &channel);
    if (error != 0)
        return error;
    if (initial != NULL)
        keep(channel, initial); // nobody else's yet
    *ret_watch = (weft_watch *)channel;
    return 0;
}

int weft_watch_free(weft_watch *watch)
{
    return weft_channel_free((struct weft_channel *)watch);
}

int weft_watch_send(weft_watch *watch, const void *item)
{
    return publish(inside(watch, WEFT_OBJECT_WATCH), item);
}

int weft_watch_recv(weft_watch *watch, uint64_t *version, void *ret_item,
                    int64_t deadline_ns)
{
    struct weft_channel *channel = inside(watch, WEFT_OBJECT_WATCH);
    struct cursor cursor = {version, NULL};

    if (channel == NULL || version == NULL || ret_item == NULL)
        return -EINVAL;
    return receive(channel, &cursor, ret_item, deadline_ns);
}

int weft_watch_close(weft_watch *watch)
{
    return weft_channel_close(inside(watch, WEFT_OBJECT_WATCH));
}
