// event.c -- Something that happens, and those who wait until it has.
//
//   E1  `set` is 0 or 1, and changed only under the lock, where a setting also
//       wakes all who wait. So nobody waits while it is 1, and nobody who has
//       been woken looks at it again: a reset takes it from none of them.
//   P1  set (store release, or the waking) -> wait (load acquire): sees what
//       was done before the setting.
#include "sync/event.h"

#include <errno.h>

#include "sync/clause.h"

_Static_assert(sizeof(struct event) <= sizeof(weft_event), "opaque too small");
_Static_assert(WEFT_OBJECT_EVENT == 5, "WEFT_EVENT_INIT says so");

static struct event *inside(const weft_event *event)
{
    return object_inside((void *)(uintptr_t)event, WEFT_OBJECT_EVENT);
}

void event_describe(const struct event *event, struct object_facts *ret_facts)
{
    ret_facts->used = load_relaxed(&event->set); // a figure
}

int weft_event_init(weft_event *event, const char *name)
{
    struct event *e = (struct event *)event;

    if (e == NULL)
        return -EINVAL;
    *e = (struct event){0};
    object_init(&e->object, WEFT_OBJECT_EVENT, name);
    return 0;
}

int weft_event_deinit(weft_event *event)
{
    struct event *e = inside(event);

    if (e == NULL)
        return -EINVAL;
    lock_acquire(&e->object.lock);
    return object_deinit(&e->object, false);
}

int weft_event_set(weft_event *event)
{
    struct event *e = inside(event);

    if (e == NULL)
        return -EINVAL;
    lock_acquire(&e->object.lock);
    store_release(&e->set, 1); // E1, P1
    object_wake_all(&e->object);
    lock_release(&e->object.lock);
    return 0;
}

int weft_event_reset(weft_event *event)
{
    struct event *e = inside(event);

    if (e == NULL)
        return -EINVAL;
    lock_acquire(&e->object.lock);
    store_release(&e->set, 0); // E1, P1
    lock_release(&e->object.lock);
    return 0;
}

int weft_event_is_set(const weft_event *event)
{
    struct event *e = inside(event);

    return e == NULL ? -EINVAL : (int)load_acquire(&e->set); // P1
}

static int wait_for(struct event *e, int64_t deadline_ns)
{
    struct waiter waiter;
    struct wait wait = {
        .kind = WEFT_WAIT_EVENT,
        .object = e,
        .fd = -1,
        .deadline_ns = deadline_ns,
    };
    int error = 0;

    lock_acquire(&e->object.lock);
    if (load_relaxed(&e->set) == 0) { // E1: it cannot change now
        error = object_wait(&e->object, &wait, &waiter);
        if (error == 0)
            return 0;
    }
    lock_release(&e->object.lock);
    return error;
}

int weft_event_wait(weft_event *event, int64_t deadline_ns)
{
    struct event *e = inside(event);

    if (e == NULL)
        return -EINVAL;
    if (load_acquire(&e->set) == 0) // P1
        return wait_for(e, deadline_ns);
    sched_spend();
    return 0;
}

// ---- As a clause. ----

static int find(struct clause *clause)
{
    return clause_find(clause, WEFT_OBJECT_EVENT);
}

static bool try(struct clause *clause)
{
    const struct event *e = clause->object;

    return load_acquire(&e->set) != 0; // P1
}

static bool enter(struct clause *clause)
{
    struct event *e = clause->object;

    object_enter(&e->object, &clause->own.waiter); // E1: it is not set
    return false;
}

static void leave(struct clause *clause)
{
    struct event *e = clause->object;

    object_leave(&e->object, &clause->own.waiter);
}

const struct clause_kind event_clause = {WEFT_WAIT_EVENT, find, try, enter,
                                         leave,           NULL, NULL};
