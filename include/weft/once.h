// once.h -- Something that is done once, by whoever needs it first.
#ifndef WEFT_ONCE_H
#define WEFT_ONCE_H

#include <weft/base.h>

WEFT_BEGIN

// A once, to be embedded by its user; the content is weft's own. It must not be
// moved or freed while it is initialised.
typedef struct weft_once {
    weft_object opaque_head;
    uint64_t opaque[4];
} weft_once;

// What is to be done: 0 when it is, anything else (say, -errno) when it has
// failed. It may park.
typedef int weft_once_fn(void *arg);

// A static initialiser: weft_once o = WEFT_ONCE_INIT("tables");
#define WEFT_ONCE_INIT(name)                                                   \
    {                                                                          \
        WEFT_OBJECT_INIT(name, 7),                                             \
        {                                                                      \
            0                                                                  \
        }                                                                      \
    }

// Makes a once, not done. `name` (NULL: none) is shown in dumps; it is kept,
// not copied, and must live as long as the once. May be called by tasks and
// threads. Does not park.
// Errors: -EINVAL (a null once).
WEFT_API int weft_once_init(weft_once *once, const char *name);

// Ends a once, done or not. May be called by tasks and threads. Does not park.
// Errors: -EINVAL (null, or not initialised), -EBUSY (its function runs, or
// somebody waits for it: the once stays as it was).
WEFT_API int weft_once_deinit(weft_once *once);

// Sees to it that the thing is done: returns 0 at once if it is, waits if
// somebody is at it, else calls `fn`. If `fn` fails, the thing is not done, its
// caller gets what `fn` returned, and the next in line calls its own. What `fn`
// did is seen by all who get 0. May be called by tasks, which park while
// another runs its function, and by threads, which block. The deadline is for
// that wait; what `fn` does is its own affair.
// Errors: -EINVAL (null, or not initialised; a null function), -EDEADLK (called
// from inside its own function), -ETIMEDOUT, -ECANCELED, and what `fn` returns.
WEFT_API int weft_once_run(weft_once *once, weft_once_fn *fn, void *arg,
                           int64_t deadline_ns);

WEFT_END

#endif
