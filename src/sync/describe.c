// describe.c -- What a dump shows of each kind of object.
#include "sync/barrier.h"
#include "sync/event.h"
#include "sync/mutex.h"
#include "sync/once.h"
#include "sync/rwlock.h"
#include "sync/scope.h"
#include "sync/semaphore.h"
#include "sync/waitgroup.h"

// A condition has nothing but its head; a channel of any kind is no struct
// object.
static const size_t sizes[] = {
    [WEFT_OBJECT_MUTEX] = sizeof(struct mutex),
    [WEFT_OBJECT_RWLOCK] = sizeof(struct rwlock),
    [WEFT_OBJECT_SEMAPHORE] = sizeof(struct semaphore),
    [WEFT_OBJECT_COND] = sizeof(struct object),
    [WEFT_OBJECT_EVENT] = sizeof(struct event),
    [WEFT_OBJECT_BARRIER] = sizeof(struct barrier),
    [WEFT_OBJECT_ONCE] = sizeof(struct once),
    [WEFT_OBJECT_WAITGROUP] = sizeof(struct waitgroup),
    [WEFT_OBJECT_SCOPE] = sizeof(struct scope),
};

_Static_assert(sizeof(struct scope) <= OBJECT_WORDS_MAX * 8,
               "the largest object");

bool object_is_waited_for(enum weft_wait_kind kind)
{
    switch (kind) {
    case WEFT_WAIT_MUTEX:
    case WEFT_WAIT_RWLOCK_READ:
    case WEFT_WAIT_RWLOCK_WRITE:
    case WEFT_WAIT_SEMAPHORE:
    case WEFT_WAIT_COND:
    case WEFT_WAIT_EVENT:
    case WEFT_WAIT_BARRIER:
    case WEFT_WAIT_ONCE:
    case WEFT_WAIT_WAITGROUP:
    case WEFT_WAIT_SCOPE:
    case WEFT_WAIT_SCOPE_SPAWN:
    case WEFT_WAIT_SCOPE_NEXT:
        return true;
    default:
        return false;
    }
}

size_t object_size(const struct object *object)
{
    uint32_t kind = object->held.kind - OBJECT_KIND(0);

    return kind < sizeof sizes / sizeof *sizes ? sizes[kind] : 0;
}

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
    case WEFT_OBJECT_BARRIER:
        barrier_describe((const struct barrier *)object, ret_facts);
        break;
    case WEFT_OBJECT_ONCE:
        once_describe((const struct once *)object, ret_facts);
        break;
    case WEFT_OBJECT_WAITGROUP:
        waitgroup_describe((const struct waitgroup *)object, ret_facts);
        break;
    case WEFT_OBJECT_SCOPE:
        scope_describe((const struct scope *)object, ret_facts);
        break;
    case WEFT_OBJECT_COND:    // has nothing but its waiters
    case WEFT_OBJECT_CHANNEL: // these are no struct object
    case WEFT_OBJECT_ONESHOT:
    case WEFT_OBJECT_BROADCAST:
    case WEFT_OBJECT_WATCH:
        break;
    }
}
