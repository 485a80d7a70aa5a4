// describe.c -- What a dump shows of each kind of object.
#include "sync/event.h"
#include "sync/mutex.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"

void object_describe(const struct object *object,
                     struct object_facts *ret_facts)
{
    *ret_facts = (struct object_facts){0};
    switch ((enum weft_object_kind)(object->held.kind - OBJECT_KIND(0))) {
    case WEFT_OBJECT_MUTEX:
        mutex_describe((const struct mutex *)object, ret_facts);
        break;
    case WEFT_OBJECT_RWLOCK:
        rwlock_describe((const struct rwlock *)object, ret_facts);
        break;
    case WEFT_OBJECT_SEMAPHORE:
        semaphore_describe((const struct semaphore *)object, ret_facts);
        break;
    case WEFT_OBJECT_EVENT:
        event_describe((const struct event *)object, ret_facts);
        break;
    default:
        break;
    }
}
