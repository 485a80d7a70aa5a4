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
//   I3  `sent` and `received` name those who last did either, whoever carried
//       it out; one who gave up at that very moment may be named, too.
#include "sync/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sync/clause.h"

enum { BYTES_MAX = 1 << 30 };

static char *place(struct weft_channel *channel, size_t index)
{
    return channel->items + index % channel->capacity * channel->item_size;
}

static void put(struct weft_channel *channel, const void *item)
{
    memcpy(place(channel, channel->first + channel->count), item,
           channel->item_size);
    channel->count++;
}

// An empty one begins anew at the front, so that only as many places are ever
// touched as items were inside at a time.
static void drop_first(struct weft_channel *channel)
{
    channel->count--;
    channel->first =
        channel->count == 0 ? 0 : (channel->first + 1) % channel->capacity;
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

// I2: hands the item to the first receiver that still waits.
static bool give(struct weft_channel *channel, const void *item, uint64_t now)
{
    struct list *link;

    while ((link = list_pop_front(&channel->receivers)) != NULL) {
        struct waiter *waiter = container_of(link, struct waiter, link);
        bool stays = waiter_stays(waiter);
        if (!stays)
            memcpy(waiter->data, item, channel->item_size);
        note(&channel->received, waiter->task, now); // I3
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
        note(&channel->sent, waiter->task, now); // I3
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
    if (take_over(channel, place(channel, channel->first + channel->count),
                  now))
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

int weft_channel_new(size_t item_size, size_t capacity, const char *name,
                     weft_channel **ret_channel)
{
    struct weft_channel *channel;

    if (ret_channel == NULL || item_size == 0 || item_size > BYTES_MAX ||
        capacity > BYTES_MAX / item_size)
        return -EINVAL;
    channel = malloc(sizeof *channel + item_size * capacity);
    if (channel == NULL)
        return -ENOMEM;
    *channel = (struct weft_channel){
        .item_size = item_size,
        .capacity = capacity,
    };
    list_init(&channel->senders);
    list_init(&channel->receivers);
    if (name != NULL)
        memcpy(channel->name, name, strnlen(name, WEFT_NAME_MAX - 1));
    *ret_channel = channel;
    return 0;
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

// Sends if that needs no waiting: 0, or -EPIPE. -EAGAIN: it does. The lock is
// held.
static int send_now(struct weft_channel *channel, const void *item,
                    const struct caller *caller)
{
    if (channel->closed)
        return -EPIPE;
    if (!give(channel, item, caller->now)) {
        if (channel->count == channel->capacity)
            return -EAGAIN;
        put(channel, item);
    }
    note(&channel->sent, caller->task, caller->now);
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
        memcpy(ret_item, place(channel, channel->first), channel->item_size);
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
        return wait_on(channel, WEFT_WAIT_CHAN_RECV, &channel->receivers,
                       ret_item, deadline_ns); // gives the lock back
    lock_release(&channel->lock);
    sched_spend();
    return error;
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

int weft_channel_close(weft_channel *channel)
{
    if (channel == NULL)
        return -EINVAL;
    lock_acquire(&channel->lock);
    channel->closed = true;
    wake_all(channel, &channel->senders);
    wake_all(channel, &channel->receivers);
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

static bool enter_recv(struct clause *clause)
{
    struct weft_channel *channel = clause->object;

    return enter_queue(clause, &channel->receivers);
}

static void leave(struct clause *clause)
{
    struct weft_channel *channel = clause->object;

    if (list_linked(&clause->own.waiter.link))
        list_remove(&clause->own.waiter.link);
    channel->waiting--;
}

const struct clause_kind send_clause = {
    WEFT_WAIT_CHAN_SEND, find, try_send, enter_send, leave, NULL, NULL,
};

const struct clause_kind recv_clause = {
    WEFT_WAIT_CHAN_RECV, find, try_recv, enter_recv, leave, NULL, NULL,
};
