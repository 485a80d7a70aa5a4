// mutex.h -- A lock between tasks and threads that knows its holder, for the
// dump.
#ifndef WEFT_MUTEX_H
#define WEFT_MUTEX_H

#include <weft/base.h>

WEFT_BEGIN

// A mutex, to be embedded by its user; the content is weft's own. It must not
// be moved or freed while it is initialised.
typedef struct weft_mutex {
    weft_object opaque_head;
    uint64_t opaque[3];
} weft_mutex;

// A static initialiser: weft_mutex m = WEFT_MUTEX_INIT("accounts");
#define WEFT_MUTEX_INIT(name)                                                  \
    {                                                                          \
        WEFT_OBJECT_INIT(name, 0),                                             \
        {                                                                      \
            0                                                                  \
        }                                                                      \
    }

// Makes a mutex, unlocked. `name` (NULL: none) is shown in dumps; it is kept,
// not copied, and must live as long as the mutex. May be called by tasks and
// threads. Does not park.
// Errors: -EINVAL (a null mutex).
WEFT_API int weft_mutex_init(weft_mutex *mutex, const char *name);

// Ends a mutex. May be called by tasks and threads. Does not park.
// Errors: -EINVAL (null, or not initialised), -EBUSY (held, or waited for: the
// mutex stays as it was).
WEFT_API int weft_mutex_deinit(weft_mutex *mutex);

// Takes the mutex; waiters get it in the order they came. May be called by
// tasks, which park while another holds it, and by threads, which block. A
// free mutex is taken even by a task that is cancelled.
// Errors: -EINVAL (null, or not initialised), -EDEADLK (the caller holds it),
// -ETIMEDOUT, -ECANCELED.
WEFT_API int weft_mutex_lock(weft_mutex *mutex, int64_t deadline_ns);

// Takes the mutex if it is free. May be called by tasks and threads. Does not
// park.
// Errors: -EINVAL, -EDEADLK (the caller holds it), -EBUSY (another holds it).
WEFT_API int weft_mutex_try_lock(weft_mutex *mutex);

// Gives the mutex back; the first waiter, if any, holds it from this moment.
// May be called by the task or thread that holds it. Does not park. A task must
// not end while it holds a mutex: that is misuse, and aborts the process,
// naming both.
// Errors: -EINVAL, -EPERM (not the holder: the mutex stays as it was).
WEFT_API int weft_mutex_unlock(weft_mutex *mutex);

WEFT_END

#endif
