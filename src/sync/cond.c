// cond.c -- Waiting, with a mutex held, until another has changed something.
//
//   D1  One who waits is put into the queue and gives the mutex back under the
//       condition's lock, which a signal takes: so a signal sent after that
//       finds him. This lock comes before the mutex's.
//   D2  A signal is his whom it has fired; whoever has given up is passed over.
//       So a signal reaches somebody if anybody waits.
//   D3  The mutex is taken again outside the lock, and whoever was woken does
//       not touch the condition any more: it may be ended then.
#include <weft/cond.h>

#include <errno.h>

#include "sync/mutex.h"

struct cond {
    struct object object;
    struct mutex *mutex; // of those who wait; under the lock
};

_Static_assert(sizeof(struct cond) <= sizeof(weft_cond), "opaque too small");
_Static_assert(WEFT_OBJECT_COND == 4, "WEFT_COND_INIT says so");

static struct cond *inside(weft_cond *cond)
{
    return object_inside(cond, WEFT_OBJECT_COND);
}

int weft_cond_init(weft_cond *cond, const char *name)
{
    struct cond *c = (struct cond *)cond;

    if (c == NULL)
        return -EINVAL;
    *c = (struct cond){0};
    object_init(&c->object, WEFT_OBJECT_COND, name);
    return 0;
}

int weft_cond_deinit(weft_cond *cond)
{
    struct cond *c = inside(cond);

    if (c == NULL)
        return -EINVAL;
    lock_acquire(&c->object.lock);
    return object_deinit(&c->object, false);
}

// Gives the mutex back and waits; the lock is held, and given back.
static int wait_for(struct cond *c, struct mutex *m, int64_t deadline_ns)
{
    struct waiter waiter;
    struct wait wait = {
        .kind = WEFT_WAIT_COND,
        .object = c,
        .fd = -1,
        .deadline_ns = deadline_ns,
    };

    c->mutex = m;
    (void)mutex_unlock(m); // D1: it is ours
    int error = object_wait(&c->object, &wait, &waiter);
    if (error != 0)
        lock_release(&c->object.lock);
    return error;
}

int weft_cond_wait(weft_cond *cond, weft_mutex *mutex, int64_t deadline_ns)
{
    struct cond *c = inside(cond);
    struct mutex *m = object_inside(mutex, WEFT_OBJECT_MUTEX);
    struct mutex_want again = {
        .kind = WEFT_WAIT_MUTEX,
        .pc = (uintptr_t)__builtin_return_address(0),
        .deadline_ns = WEFT_NEVER,
        .firm = true,
    };

    if (c == NULL || m == NULL)
        return -EINVAL;
    if (!mutex_is_own(m))
        return -EPERM;
    lock_acquire(&c->object.lock);
    if (c->object.waiting > 0 && c->mutex != m) {
        lock_release(&c->object.lock);
        return -EINVAL;
    }
    int error = wait_for(c, m, deadline_ns);
    (void)mutex_lock(m, &again); // D3: nothing ends that wait
    return error;
}

int weft_cond_signal(weft_cond *cond)
{
    struct cond *c = inside(cond);

    if (c == NULL)
        return -EINVAL;
    lock_acquire(&c->object.lock);
    while (object_first(&c->object) != NULL)
        if (object_wake_first(&c->object)) // D2
            break;
    lock_release(&c->object.lock);
    return 0;
}

int weft_cond_broadcast(weft_cond *cond)
{
    struct cond *c = inside(cond);

    if (c == NULL)
        return -EINVAL;
    lock_acquire(&c->object.lock);
    object_wake_all(&c->object);
    lock_release(&c->object.lock);
    return 0;
}
