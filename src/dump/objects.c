// objects.c -- Reads what tasks wait for and hold.
//
// A mutex's owner as read with one who waits for it may have changed since the
// meeting. It is taken for the owner only where nobody says that he holds the
// mutex (complete.c): that is so of a task that ran through the meeting.
#include "dump/objects.h"

#include <string.h>

#include "sync/channel.h"
#include "sync/mutex.h"

static int64_t ago(const struct picture *picture, uint64_t ticks)
{
    return ticks < picture->now ? port_ticks_to_ns(picture->now - ticks) : 0;
}

static uint32_t add_text(const struct picture *picture, const char *text)
{
    if (text[0] == '\0')
        return WEFT_NONE;
    return store_text(picture->store, text, strlen(text) + 1);
}

// A name in the program's memory, cut if it is long.
static uint32_t add_far_text(const struct picture *picture, const char *far)
{
    char name[128];

    if (far == NULL)
        return WEFT_NONE;
    name[port_read_memory((uintptr_t)far, name, sizeof name - 1)] = '\0';
    return add_text(picture, name);
}

// The id of a task of this runtime by its slot's address; 0: it is none.
static uint64_t id_of(const struct picture *picture, const struct task *slot,
                      uint32_t *ret_index)
{
    struct task copy;
    const struct table *table = &picture->runtime->table;

    if (slot == NULL ||
        port_read_memory((uintptr_t)slot, &copy, sizeof copy) < sizeof copy ||
        copy.index >= picture->slots || table_at(table, copy.index) != slot)
        return 0;
    *ret_index = copy.index;
    return copy.id;
}

static bool read_mutex(const void *at, struct mutex *ret_mutex)
{
    return port_read_memory((uintptr_t)at, ret_mutex, sizeof *ret_mutex) ==
           sizeof *ret_mutex;
}

static uint32_t add_mutex(const struct picture *picture, const void *at,
                          const struct mutex *mutex)
{
    struct model_object o = {
        .kind = WEFT_OBJECT_MUTEX,
        .name = add_far_text(picture, mutex->held.name),
        .address = (uintptr_t)at,
        .owner_task = WEFT_NONE,
        .peers = WEFT_NONE,
    };

    o.owner = id_of(picture, mutex_owner(mutex), &o.owner_task);
    if (o.owner != 0) {
        o.taken_pc = (uintptr_t)load_relaxed(&mutex->taken_pc); // a copy's
        o.held_ns = ago(picture, load_relaxed(&mutex->taken_since));
    }
    return store_object(picture->store, &o);
}

static uint32_t find_mutex(const struct picture *picture, const void *at)
{
    struct mutex mutex;
    uint32_t index = store_find_object(picture->store, (uintptr_t)at);

    if (index != WEFT_NONE || !read_mutex(at, &mutex))
        return index;
    return add_mutex(picture, at, &mutex);
}

static void add_peers(const struct picture *picture,
                      const struct channel_peers *from,
                      struct model_peers *ret_peers)
{
    _Static_assert((int)CHANNEL_PEERS == (int)MODEL_PEERS, "all are kept");
    for (uint32_t i = 0; i < MODEL_PEERS; i++) {
        uint64_t id = from->ids[i];
        if (id != 0)
            id = CHANNEL_PEER_TAG(id) == picture->runtime->tag
                     ? CHANNEL_PEER_ID(id)
                     : MODEL_OUTSIDE;
        ret_peers->ids[i] = id;
    }
    ret_peers->last_ns = ago(picture, from->last);
    ret_peers->more = from->more;
}

static uint32_t find_channel(const struct picture *picture, const void *at,
                             bool sends)
{
    struct weft_channel channel;
    uint32_t index = store_find_object(picture->store, (uintptr_t)at);

    if (index != WEFT_NONE || port_read_memory((uintptr_t)at, &channel,
                                               sizeof channel) < sizeof channel)
        return index;
    channel.name[sizeof channel.name - 1] = '\0';
    struct model_channel about;
    add_peers(picture, &channel.sent, &about.sent);
    add_peers(picture, &channel.received, &about.received);
    struct model_object o = {
        .kind = WEFT_OBJECT_CHANNEL,
        .name = add_text(picture, channel.name),
        .address = (uintptr_t)at,
        .owner_task = WEFT_NONE,
        .used = sends ? channel.capacity : 0, // channel.h: as somebody waits
        .limit = channel.capacity,
        .peers = store_channel(picture->store, &about),
    };
    return store_object(picture->store, &o);
}

uint32_t objects_add_waited(const struct picture *picture,
                            const struct task *copy)
{
    switch ((enum weft_wait_kind)copy->wait_kind) {
    case WEFT_WAIT_MUTEX:
        return find_mutex(picture, copy->wait_object);
    case WEFT_WAIT_CHAN_SEND:
        return find_channel(picture, copy->wait_object, true);
    case WEFT_WAIT_CHAN_RECV:
        return find_channel(picture, copy->wait_object, false);
    default:
        return WEFT_NONE;
    }
}

static bool add_holding(const struct picture *picture, uint32_t slot,
                        const struct held *at, struct holding *ret_holding,
                        struct held **ret_next)
{
    struct mutex mutex;
    const void *address = container_of(at, struct mutex, held);

    if (!read_mutex(address, &mutex))
        return false;
    uint32_t index = store_find_object(picture->store, (uintptr_t)address);
    if (index == WEFT_NONE)
        index = add_mutex(picture, address, &mutex);
    *ret_holding = (struct holding){
        .slot = slot,
        .object = index,
        .taken_pc = (uintptr_t)load_relaxed(&mutex.taken_pc), // a copy's
        .held_ns = ago(picture, load_relaxed(&mutex.taken_since)),
    };
    *ret_next = mutex.held.next;
    return index != WEFT_NONE;
}

uint32_t objects_add_held(const struct picture *picture,
                          const struct task *copy, struct holding *ret_held)
{
    struct held *at = copy->held;
    uint32_t count = 0;

    while (at != NULL && count < HELD_MAX &&
           add_holding(picture, copy->index, at, &ret_held[count], &at))
        count++;
    return count;
}
