// objects.c -- Reads what tasks wait for and hold.
//
// An owner as read with one who waits for the object may have changed since the
// meeting. It is taken for the owner only where nobody says that he holds the
// object (complete.c): that is so of a task that ran through the meeting. Who
// took a semaphore has it in no list, nor has a thread: these count if they
// took it before the meeting.
#include "dump/objects.h"

#include <string.h>

#include "dump/unchecked.h"
#include "sync/channel.h"
#include "sync/clause.h"
#include "sync/object.h"

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
    name[space_read(picture->space, (uintptr_t)far, name, sizeof name - 1)] =
        '\0';
    return add_text(picture, name);
}

// The id of a task of this runtime by its slot's address; 0: it is none.
static uint64_t id_of(const struct picture *picture, const struct task *slot,
                      uint32_t *ret_index)
{
    struct task copy;
    if (slot == NULL ||
        !space_read_all(picture->space, (uintptr_t)slot, &copy, sizeof copy) ||
        copy.index >= picture->slots ||
        picture_slot(picture, copy.index) != (uintptr_t)slot)
        return 0;
    *ret_index = copy.index;
    return copy.id;
}

// A copy of an object of any kind, with room for the largest.
union any_object {
    struct object object;
    uint64_t words[OBJECT_WORDS_MAX];
};

static bool read_object(const struct picture *picture, const void *at,
                        union any_object *ret_copy)
{
    if (!space_read_all(picture->space, (uintptr_t)at, ret_copy,
                        sizeof ret_copy->object))
        return false;
    size_t size = object_size(&ret_copy->object);
    return size > 0 &&
           space_read_all(picture->space, (uintptr_t)at, ret_copy, size);
}

static void add_owner(const struct picture *picture,
                      const struct object_facts *facts, struct model_object *o)
{
    o->owner = facts->owner_id != 0
                   ? facts->owner_id
                   : id_of(picture, facts->owner, &o->owner_task);
    o->owner_tid = facts->owner_tid;
    if (o->owner == 0 && o->owner_tid == 0)
        return;
    o->taken_pc = (uintptr_t)facts->taken_pc;
    o->held_ns = picture_ago(picture, facts->taken_since);
}

static uint32_t add_object(const struct picture *picture, const void *at,
                           const union any_object *copy)
{
    struct object_facts facts;
    struct model_object o = {
        .kind = copy->object.held.kind - OBJECT_KIND(0),
        .name = add_far_text(picture, copy->object.held.name),
        .address = (uintptr_t)at,
        .owner_task = WEFT_NONE,
        .peers = WEFT_NONE,
    };

    object_describe(&copy->object, &facts);
    // Whom no list of his confirms must have taken it before the meeting.
    if ((facts.owner_id == 0 && facts.owner_tid == 0) ||
        facts.taken_since <= picture->now)
        add_owner(picture, &facts, &o);
    o.used = facts.used;
    o.limit = facts.limit;
    return store_object(picture->store, &o);
}

static uint32_t find_object(const struct picture *picture, const void *at)
{
    union any_object copy;
    uint32_t index = store_find_object(picture->store, (uintptr_t)at);

    if (index != WEFT_NONE || !read_object(picture, at, &copy))
        return index;
    return add_object(picture, at, &copy);
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
    ret_peers->last_ns = picture_ago(picture, from->last);
    ret_peers->more = any_bool(&from->more);
}

// The kind in a copy, which may be any bytes.
static enum weft_object_kind kind_of(const struct weft_channel *channel)
{
    return model_is_channel(channel->kind) ? channel->kind
                                           : WEFT_OBJECT_CHANNEL;
}

// As somebody waits for it, channel.h; what is kept for all has no such bound.
static size_t count_of(const struct weft_channel *channel, bool sends)
{
    if (sends)
        return channel->capacity;
    if (channel->kind != WEFT_OBJECT_BROADCAST &&
        channel->kind != WEFT_OBJECT_WATCH)
        return 0;
    return channel->count < channel->capacity ? channel->count
                                              : channel->capacity;
}

static uint32_t find_channel(const struct picture *picture, const void *at,
                             bool sends)
{
    struct weft_channel channel;
    uint32_t index = store_find_object(picture->store, (uintptr_t)at);

    if (index != WEFT_NONE || !space_read_all(picture->space, (uintptr_t)at,
                                              &channel, sizeof channel))
        return index;
    channel.name[sizeof channel.name - 1] = '\0';
    struct model_channel about;
    add_peers(picture, &channel.sent, &about.sent);
    add_peers(picture, &channel.received, &about.received);
    struct model_object o = {
        .kind = kind_of(&channel),
        .name = add_text(picture, channel.name),
        .address = (uintptr_t)at,
        .owner_task = WEFT_NONE,
        .used = count_of(&channel, sends),
        .limit = channel.capacity,
        .peers = store_channel(picture->store, &about),
        .receives = !sends,
    };
    return store_object(picture->store, &o);
}

static uint32_t find_waited(const struct picture *picture,
                            enum weft_wait_kind kind, const void *at)
{
    if (object_is_waited_for(kind))
        return find_object(picture, at);
    switch (kind) {
    case WEFT_WAIT_CHAN_SEND:
        return find_channel(picture, at, true);
    case WEFT_WAIT_CHAN_RECV:
        return find_channel(picture, at, false);
    default:
        return WEFT_NONE;
    }
}

uint32_t objects_add_waited(const struct picture *picture,
                            const struct task *copy)
{
    return find_waited(picture, copy->wait_kind, copy->wait_object);
}

// How many of the clauses are worth listing.
static uint32_t list_clauses(const struct picture *picture,
                             const struct clause *clauses, uint32_t count,
                             struct model_clause *ret_listed)
{
    uint32_t listed = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct clause_facts facts;
        clause_describe(&clauses[i], &facts);
        if (facts.wait == WEFT_WAIT_NONE)
            continue;
        ret_listed[listed++] = (struct model_clause){
            .task = facts.task,
            .object = find_waited(picture, facts.wait, facts.object),
            .fd = facts.fd,
            .wait = (uint8_t)facts.wait,
            .write = facts.write,
        };
    }
    return listed;
}

uint32_t objects_add_choice(const struct picture *picture,
                            const struct task *copy)
{
    struct clause clauses[CHOICE_MAX];
    struct model_clause listed[CHOICE_MAX];
    uint32_t total = (uint32_t)copy->wait_fd;
    uint32_t count = total < CHOICE_MAX ? total : CHOICE_MAX;

    if (copy->wait_kind != WEFT_WAIT_SELECT || total > UINT16_MAX ||
        !space_read_all(picture->space, (uintptr_t)copy->wait_object, clauses,
                        count * sizeof *clauses))
        return WEFT_NONE;
    struct model_choice choice = {
        .count = list_clauses(picture, clauses, count, listed),
    };
    choice.total = total - count + choice.count;
    return store_choice(picture->store, &choice, listed);
}

// Held alone: the object itself is in the list.
static bool read_holding(const struct picture *picture, const struct held *at,
                         struct holding *ret_holding)
{
    union any_object copy;
    const void *address = container_of(at, struct object, held);
    struct object_facts facts;

    if (!read_object(picture, address, &copy))
        return false;
    uint32_t index = store_find_object(picture->store, (uintptr_t)address);
    if (index == WEFT_NONE)
        index = add_object(picture, address, &copy);
    object_describe(&copy.object, &facts);
    ret_holding->object = index;
    ret_holding->taken_pc = (uintptr_t)facts.taken_pc;
    ret_holding->held_ns = picture_ago(picture, facts.taken_since);
    return index != WEFT_NONE;
}

// Held together with others: its record is. That of a lock which the task waits
// for may have been granted since the meeting.
static bool read_hold(const struct picture *picture, const struct held *at,
                      const void *awaited, struct holding *ret_holding)
{
    struct hold hold;

    if (!space_read_all(picture->space,
                        (uintptr_t)container_of(at, struct hold, held), &hold,
                        sizeof hold))
        return false;
    ret_holding->object = WEFT_NONE;
    ret_holding->shared = true;
    ret_holding->taken_pc = (uintptr_t)load_relaxed(&hold.taken_pc); // a copy's
    ret_holding->held_ns =
        picture_ago(picture, load_relaxed(&hold.taken_since));
    if (ret_holding->taken_pc != 0 && hold.object != awaited &&
        load_relaxed(&hold.taken_since) <= picture->now) // a copy's
        ret_holding->object = find_object(picture, hold.object);
    return true;
}

uint32_t objects_add_held(const struct picture *picture,
                          const struct task *copy, bool waits,
                          struct holding *ret_held)
{
    const void *awaited = waits ? copy->wait_object : NULL;
    const struct held *at = copy->held;
    uint32_t count = 0;
    struct held held;

    // In a damaged list, what is not listed may come round for ever.
    for (uint32_t steps = 0;
         steps < 2 * HELD_MAX && at != NULL && count < HELD_MAX &&
         space_read_all(picture->space, (uintptr_t)at, &held, sizeof held);
         steps++) {
        struct holding *holding = &ret_held[count];
        *holding = (struct holding){.slot = copy->index};
        if (!(held.kind == HELD_SHARED
                  ? read_hold(picture, at, awaited, holding)
                  : read_holding(picture, at, holding)))
            break;
        count += holding->object != WEFT_NONE;
        at = held.next;
    }
    return count;
}
