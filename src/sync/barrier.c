// barrier.c -- A place where a fixed number meet before any goes on.
//
//   B1  `arrived` counts those who have come since the last meeting and not
//       given up; under the lock, and always less than `parties`. The last one
//       makes it 0, begins a new generation and wakes all, in one critical
//       section.
//   B2  One whose time was up takes its arrival back under the lock, unless the
//       generation has moved: then it was counted, and all have met. So nobody
//       is counted who does not pass, and nobody passes who is not counted.
//   P1  Every arrival takes the lock before the last one wakes them: what each
//       did before is seen by all after.
#include "sync/barrier.h"

#include <errno.h>

_Static_assert(sizeof(struct barrier) <= sizeof(weft_barrier),
               "opaque too small");
_Static_assert(offsetof(struct barrier, parties) == sizeof(struct object) &&
                   WEFT_OBJECT_BARRIER == 6,
               "WEFT_BARRIER_INIT says so");

static struct barrier *inside(weft_barrier *barrier)
{
    return object_inside(barrier, WEFT_OBJECT_BARRIER);
}

void barrier_describe(const struct barrier *barrier,
                      struct object_facts *ret_facts)
{
    ret_facts->used = load_relaxed(&barrier->arrived); // a figure
    ret_facts->limit = barrier->parties;
}

int weft_barrier_init(weft_barrier *barrier, uint32_t parties, const char *name)
{
    struct barrier *b = (struct barrier *)barrier;

    if (b == NULL || parties == 0)
        return -EINVAL;
    *b = (struct barrier){.parties = parties};
    object_init(&b->object, WEFT_OBJECT_BARRIER, name);
    return 0;
}

int weft_barrier_deinit(weft_barrier *barrier)
{
    struct barrier *b = inside(barrier);

    if (b == NULL)
        return -EINVAL;
    lock_acquire(&b->object.lock);
    return object_deinit(&b->object, false);
}

// The lock is held.
static void count(struct barrier *b, uint64_t arrived)
{
    store_relaxed(&b->arrived, arrived); // under the lock
}

// Not the last. The lock is held, and given back.
static int wait_for(struct barrier *b, int64_t deadline_ns)
{
    struct waiter waiter;
    struct wait wait = {
        .kind = WEFT_WAIT_BARRIER,
        .object = b,
        .fd = -1,
        .deadline_ns = deadline_ns,
    };
    uint64_t generation = b->generation;

    count(b, load_relaxed(&b->arrived) + 1);
    int error = object_wait(&b->object, &wait, &waiter);
    if (error == 0)
        return 0;
    if (b->generation != generation) // B2
        error = 0;
    else
        count(b, load_relaxed(&b->arrived) - 1);
    lock_release(&b->object.lock);
    return error;
}

int weft_barrier_wait(weft_barrier *barrier, int64_t deadline_ns)
{
    struct barrier *b = inside(barrier);

    if (b == NULL)
        return -EINVAL;
    lock_acquire(&b->object.lock);
    if (load_relaxed(&b->arrived) + 1 < b->parties) // under the lock
        return wait_for(b, deadline_ns);
    count(b, 0);
    b->generation++; // B1
    object_wake_all(&b->object);
    lock_release(&b->object.lock);
    return 1;
}
