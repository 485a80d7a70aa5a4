// channel.c -- A bounded queue of items between tasks and threads.
//
//   I1  Receivers wait only while the channel is empty, senders only while it
//       is full; so never both. One without room (a rendezvous) is always both
//       empty and full; there, too, no two wait that could serve each other.
//   I2  An item is copied straight into a waiting receiver's place, or out of
//       a waiting sender's, by whoever wakes it, before it is fired. If the
//       waiter has given up by then, the firing is lost and the copy counts
//       for nothing: the item goes to the next, or stays where it was. To or
//       from the place of a clause it is copied after the firing was won, for
//       another clause may have the same place; it stays while the lock is
//       held.
//   I3  A one-shot is a channel of capacity 1 that is closed in the moment in
//       which its one item is sent; so nobody ever waits to send to it.
//   I4  The ring has room for as many items as were ever inside at a time,
//       doubled at most; memory behind it has never been touched. It is all of
//       `capacity` when a sender waits.
//   I5  `sent` and `received` name those who last did either, whoever carried
//       it out; one who gave up at that very moment may be named, too.
#include "sync/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sync/clause.h"

enum { BYTES_MAX = 1 << 30, ROOM_FIRST = 8 };

static void drop_first(struct weft_channel *channel)
{
    channel->count--;
    channel->first = (channel->first + 1) % channel->room;
}

// The ring is full: it becomes larger, and the part of it that lies before its
// end lies before its new end (I4).
static void grow(struct weft_channel *channel)
{
    size_t room = channel->room;
    size_t before_end = room - channel->first;

    channel->room = room < channel->capacity / 2 ? 2 * room : channel->capacity;
    if (channel->first == 0)
        return;
    size_t first = channel->room - before_end;
    memmove(channel_place(channel, first),
            channel_place(channel, channel->first),
            before_end * channel->item_size);
    channel->first = first;
}

// ---- Who was here, for dumps ----

// Not the one of last time: to the front, the oldest makes room.
__attribute__((noinline)) static void change_peer(struct channel_peers *peers,
                                                  uint64_t who)
{
    uint32_t at = 0;

    while (at < CHANNEL_PEERS - 1 && peers->ids[at] != who)
        at++;
    if (peers->ids[at] != who && peers->ids[at] != 0)
        peers->more = true;
    for (; at > 0; at--)
        peers->ids[at] = peers->ids[at - 1];
    peers->ids[0] = who;
}

static void note(struct channel_peers *peers, const struct task *task,
                 uint64_t now)
{
    if (!DUMPS_SERVED)
        return;
    uint64_t who =
        task == NULL ? CHANNEL_THREAD : CHANNEL_PEER(task->tag, task->id);

    peers->last = now;
    if (__builtin_expect(peers->ids[0] != who, 0))
        change_peer(peers, who);
}

void channel_note_sent(struct weft_channel *channel,
                       const struct caller *caller)
{
    note(&channel->sent, caller->task, caller->now);
}

bool channel_give(struct weft_channel *channel, const void *item, uint64_t now)
{
    struct list *link;

    while ((link = list_pop_front(&channel->receivers)) != NULL) { // I2
        struct waiter *waiter = container_of(link, struct waiter, link);
        bool stays = waiter_stays(waiter);
        if (!stays)
            memcpy(waiter->data, item, channel->item_size);
        note(&channel->received, waiter->task, now); // I5
        if (!wait_wake(waiter, 0))
            continue;
        if (stays)
            memcpy(waiter->data, item, channel->item_size);
        else
            channel->waiting--;
        return true;
    }
    return false;
}

// I2: lets the first sender that still waits put its item into *ret_item.
static bool take_over(struct weft_channel *channel, void *ret_item,
                      uint64_t now)
{
    struct list *link;

    while ((link = list_pop_front(&channel->senders)) != NULL) {
        struct waiter *waiter = container_of(link, struct waiter, link);
        bool stays = waiter_stays(waiter);
        if (!stays)
            memcpy(ret_item, waiter->data, channel->item_size);
        note(&channel->sent, waiter->task, now); // I5
        if (!wait_wake(waiter, 0))
            continue; // it gave up: its item was not sent
        if (stays)
            memcpy(ret_item, waiter->data, channel->item_size);
        else
            channel->waiting--;
        return true;
    }
    return false;
}

// I2: after room was made, lets the first sender that still waits fill it.
static void refill(struct weft_channel *channel, uint64_t now)
{
    if (take_over(channel,
                  channel_place(channel, channel->first + channel->count), now))
        channel->count++;
}

static int wait_on(struct weft_channel *channel, enum weft_wait_kind kind,
                   struct list *queue, void *data, int64_t deadline_ns)
{
    struct waiter waiter = {.data = data};
    struct wait wait = {
        .kind = kind,
        .object = channel,
        .fd = -1,
        .deadline_ns = deadline_ns,
    };

    channel->waiting++;
    int error = wait_park(&wait, &channel->lock, queue, &waiter);
    if (error == -ETIMEDOUT || error == -ECANCELED) {
        lock_acquire(&channel->lock);
        channel->waiting--;
        lock_release(&channel->lock);
    }
    return error;
}

int channel_wait(struct weft_channel *channel, void *ret_item,
                 int64_t deadline_ns)
{
    return wait_on(channel, WEFT_WAIT_CHAN_RECV, &channel->receivers, ret_item,
                   deadline_ns);
}

int channel_new(enum weft_object_kind kind, size_t item_size, size_t capacity,
                const char *name, struct weft_channel **ret_channel)
{
    struct weft_channel *channel;

    if (ret_channel == NULL || item_size == 0 || item_size > BYTES_MAX ||
        capacity > BYTES_MAX / item_size)
        return -EINVAL;
    channel = malloc(sizeof *channel + item_size * capacity);
    if (channel == NULL)
        return -ENOMEM;
    *channel = (struct weft_channel){
        .kind = kind,
        .item_size = item_size,
        .capacity = capacity,
        .room = kind == WEFT_OBJECT_CHANNEL && capacity > ROOM_FIRST
                    ? ROOM_FIRST
                    : capacity,
    };
    list_init(&channel->senders);
    list_init(&channel->receivers);
    if (name != NULL)
        memcpy(channel->name, name, strnlen(name, WEFT_NAME_MAX - 1));
    *ret_channel = channel;
    return 0;
}

int weft_channel_new(size_t item_size, size_t capacity, const char *name,
                     weft_channel **ret_channel)
{
    return channel_new(WEFT_OBJECT_CHANNEL, item_size, capacity, name,
                       ret_channel);
}

int weft_oneshot_new(size_t item_size, const char *name,
                     weft_channel **ret_channel)
{
    return channel_new(WEFT_OBJECT_ONESHOT, item_size, 1, name, ret_channel);
}

int weft_channel_free(weft_channel *channel)
{
    if (channel == NULL)
        return 0;
    lock_acquire(&channel->lock);
    bool busy = channel->waiting > 0;
    lock_release(&channel->lock);
    if (busy)
        return -EBUSY;
    limbo_free(&channel->grave, channel);
    return 0;
}

static void wake_all(struct weft_channel *channel, struct list *queue)
{
    struct list *link;

    while ((link = list_pop_front(queue)) != NULL) {
        struct waiter *waiter = container_of(link, struct waiter, link);
        bool stays = waiter_stays(waiter);
        if (wait_wake(waiter, EPIPE) && !stays)
            channel->waiting--;
    }
}

void channel_end(struct weft_channel *channel)
{
    channel->closed = true;
    wake_all(channel, &channel->senders);
    wake_all(channel, &channel->receivers);
}

// Sends if that needs no waiting: 0, or -EPIPE. -EAGAIN: it does. The lock is
// held.
static int send_now(struct weft_channel *channel, const void *item,
                    const struct caller *caller)
{
    if (channel->closed)
        return -EPIPE;
    if (!channel_give(channel, item, caller->now)) {
        if (channel->count == channel->capacity)
            return -EAGAIN;
        if (channel->count == channel->room)
            grow(channel);
        channel_put(channel, item);
    }
    note(&channel->sent, caller->task, caller->now);
    if (channel->kind == WEFT_OBJECT_ONESHOT)
        channel_end(channel); // I3
    return 0;
}

int weft_channel_send(weft_channel *channel, const void *item,
                      int64_t deadline_ns)
{
    if (channel == NULL || item == NULL)
        return -EINVAL;
    struct caller caller = find_caller();
    int error = wait_interrupted(caller.task);
    if (error != 0)
        return error;
    lock_acquire(&channel->lock);
    error = send_now(channel, item, &caller);
    if (error == -EAGAIN)
        // Gives the lock back. The item is only read through the waiter.
        return wait_on(channel, WEFT_WAIT_CHAN_SEND, &channel->senders,
                       (void *)(uintptr_t)item, deadline_ns);
    lock_release(&channel->lock);
    sched_spend();
    return error;
}

// Receives if that needs no waiting: 0, or -EPIPE. -EAGAIN: it does. The lock
// is held.
static int recv_now(struct weft_channel *channel, void *ret_item,
                    const struct caller *caller)
{
    if (channel->count > 0) {
        memcpy(ret_item, channel_place(channel, channel->first),
               channel->item_size);
        drop_first(channel);
        refill(channel, caller->now);
    } else if (!take_over(channel, ret_item, caller->now)) {
        return channel->closed ? -EPIPE : -EAGAIN;
    }
    note(&channel->received, caller->task, caller->now);
    return 0;
}

int weft_channel_recv(weft_channel *channel, void *ret_item,
                      int64_t deadline_ns)
{
    if (channel == NULL || ret_item == NULL)
        return -EINVAL;
    struct caller caller = find_caller();
    int error = wait_interrupted(caller.task);
    if (error != 0)
        return error;
    lock_acquire(&channel->lock);
    error = recv_now(channel, ret_item, &caller);
    if (error == -EAGAIN)
        return channel_wait(channel, ret_item, deadline_ns); // unlocks it
    lock_release(&channel->lock);
    sched_spend();
    return error;
}

int weft_channel_close(weft_channel *channel)
{
    if (channel == NULL)
        return -EINVAL;
    lock_acquire(&channel->lock);
    channel_end(channel);
    lock_release(&channel->lock);
    return 0;
}

// ---- As a clause. ----

static int find(struct clause *clause)
{
    struct weft_channel *channel = clause->object;

    if (channel == NULL || clause->item == NULL)
        return -EINVAL;
    clause->lock = &channel->lock;
    return 0;
}

static bool try_send(struct clause *clause)
{
    struct caller caller = find_caller();

    clause->result = send_now(clause->object, clause->item, &caller);
    return clause->result != -EAGAIN;
}

static bool try_recv(struct clause *clause)
{
    struct caller caller = find_caller();

    clause->result = recv_now(clause->object, clause->item, &caller);
    return clause->result != -EAGAIN;
}

static bool enter_queue(struct clause *clause, struct list *queue)
{
    struct weft_channel *channel = clause->object;

    clause->own.waiter.data = clause->item;
    channel->waiting++;
    list_push_back(queue, &clause->own.waiter.link);
    return false;
}

static bool enter_send(struct clause *clause)
{
    struct weft_channel *channel = clause->object;

    return enter_queue(clause, &channel->senders);
}

bool channel_enter_recv(struct clause *clause)
{
    struct weft_channel *channel = clause->object;

    return enter_queue(clause, &channel->receivers);
}

void channel_leave(struct clause *clause)
{
    struct weft_channel *channel = clause->object;

    if (list_linked(&clause->own.waiter.link))
        list_remove(&clause->own.waiter.link);
    channel->waiting--;
}

const struct clause_kind send_clause = {
    WEFT_WAIT_CHAN_SEND, find, try_send, enter_send, channel_leave, NULL, NULL,
};

const struct clause_kind recv_clause = {
    WEFT_WAIT_CHAN_RECV, find, try_recv, channel_enter_recv,
    channel_leave,       NULL, NULL,
};
