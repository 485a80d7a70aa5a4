// local.h -- Task-local storage: a value of each task's own.
//
// What thread-local variables are to threads. A task goes on in another thread
// after any call that parks, so thread-local variables are not its own; these
// are.
#ifndef WEFT_LOCAL_H
#define WEFT_LOCAL_H

#include <weft/base.h>

WEFT_BEGIN

// What a value is stored and found under; one for all tasks, usually static.
// It must not be moved or freed while a task that has set a value lives.
typedef struct weft_local {
    void (*opaque_end)(void *value);
} weft_local;

// A static initialiser: static weft_local buffer = WEFT_LOCAL_INIT(free);
// `end` (NULL: nothing is done) gets the value of each task that ends with one,
// in that task after its function has returned; it may park. The values set
// last are ended first.
#define WEFT_LOCAL_INIT(end)                                                   \
    {                                                                          \
        (end)                                                                  \
    }

// Sets the calling task's value; the one before is not ended. NULL takes it
// away. Children do not inherit it. May be called by tasks. Does not park.
// Errors: -EINVAL (a null pointer), -EPERM (not a task, or one whose values are
// being ended), -ENOMEM.
WEFT_API int weft_local_set(const weft_local *local, void *value);

// The calling task's value: NULL if it has set none, and in any other thread.
// May be called by tasks and threads. Does not park.
WEFT_API void *weft_local_get(const weft_local *local);

WEFT_END

#endif
