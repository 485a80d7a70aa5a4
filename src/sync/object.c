// object.c -- What the objects that tasks and threads wait for have in common.
//
//   I1  `waiting` counts the calls that may still touch the object because they
//       wait: whoever wakes a waiter counts it down in its place, for the one
//       woken does not come back to the object; one who gave up, and a select
//       in any case, counts itself down, under the lock. So an object that
//       nobody waits for can be ended.
#include "sync/object.h"

#include <errno.h>

void object_init(struct object *object, enum weft_object_kind kind,
                 const char *name)
{
    object->held.kind = OBJECT_KIND(kind);
    object->held.name = name;
}

int object_deinit(struct object *object, bool in_use)
{
    bool busy = in_use || object->waiting > 0; // I1

    if (!busy)
        object->held.kind = 0;
    lock_release(&object->lock);
    return busy ? -EBUSY : 0;
}

// Of a static initialiser it is zero.
static void make_queue(struct object *object)
{
    if (object->waiters.next == NULL)
        list_init(&object->waiters);
}

void object_enter(struct object *object, struct waiter *waiter)
{
    make_queue(object);
    object->waiting++;
    list_push_back(&object->waiters, &waiter->link);
}

void object_leave(struct object *object, struct waiter *waiter)
{
    if (list_linked(&waiter->link))
        list_remove(&waiter->link);
    object->waiting--; // I1
}

int object_wait(struct object *object, const struct wait *wait,
                struct waiter *waiter)
{
    make_queue(object);
    object->waiting++;
    int error = wait_park(wait, &object->lock, &object->waiters, waiter);
    if (error == 0)
        return 0;
    lock_acquire(&object->lock);
    object->waiting--; // I1
    return error;
}

struct waiter *object_first(struct object *object)
{
    struct list *first = object->waiters.next;

    if (first == NULL || first == &object->waiters)
        return NULL;
    return container_of(first, struct waiter, link);
}

bool object_wake_first(struct object *object)
{
    struct waiter *waiter = object_first(object);

    bool stays = waiter_stays(waiter);
    list_remove(&waiter->link);
    if (!wait_wake(waiter, 0))
        return false;
    if (!stays)
        object->waiting--; // I1
    return true;
}

void object_wake_all(struct object *object)
{
    while (object_first(object) != NULL)
        (void)object_wake_first(object);
}
