// once.c -- Something that is done once, by whoever needs it first.
//
// It is a mutex that is held while the function runs, and a flag that says that
// one has succeeded: so who runs it, since when, and who waits for him, is in a
// dump as with any mutex, and who calls it from inside is told.
//
//   O1  `done` goes from 0 to 1, under the mutex, once a function has returned
//       0, and never back.
//   P1  done (store release) -> run (load acquire): sees what the function did.
#include "sync/once.h"

#include <errno.h>

_Static_assert(sizeof(struct once) <= sizeof(weft_once), "opaque too small");
_Static_assert(WEFT_OBJECT_ONCE == 7, "WEFT_ONCE_INIT says so");

static struct once *inside(weft_once *once)
{
    return object_inside(once, WEFT_OBJECT_ONCE);
}

void once_describe(const struct once *once, struct object_facts *ret_facts)
{
    mutex_describe(&once->mutex, ret_facts);
    ret_facts->used = load_relaxed(&once->done); // a figure
}

int weft_once_init(weft_once *once, const char *name)
{
    struct once *o = (struct once *)once;

    if (o == NULL)
        return -EINVAL;
    *o = (struct once){0};
    object_init(&o->mutex.object, WEFT_OBJECT_ONCE, name);
    return 0;
}

int weft_once_deinit(weft_once *once)
{
    struct once *o = inside(once);

    if (o == NULL)
        return -EINVAL;
    lock_acquire(&o->mutex.object.lock);
    return object_deinit(&o->mutex.object, mutex_is_held(&o->mutex));
}

// The mutex is held.
static int run(struct once *o, weft_once_fn *fn, void *arg)
{
    if (load_acquire(&o->done) != 0) // P1
        return 0;
    int error = fn(arg);
    if (error == 0)
        store_release(&o->done, 1); // O1, P1
    return error;
}

int weft_once_run(weft_once *once, weft_once_fn *fn, void *arg,
                  int64_t deadline_ns)
{
    struct once *o = inside(once);
    struct mutex_want want = {
        .kind = WEFT_WAIT_ONCE,
        .pc = (uintptr_t)__builtin_return_address(0),
        .deadline_ns = deadline_ns,
    };

    if (o == NULL || fn == NULL)
        return -EINVAL;
    if (load_acquire(&o->done) != 0) // P1
        return 0;
    int error = mutex_lock(&o->mutex, &want);
    if (error != 0)
        return error;
    error = run(o, fn, arg);
    (void)mutex_unlock(&o->mutex); // ours
    return error;
}
