// cond.h -- Waiting, with a mutex held, until another has changed something.
#ifndef WEFT_COND_H
#define WEFT_COND_H

#include <weft/mutex.h>

WEFT_BEGIN

// A condition, to be embedded by its user; the content is weft's own. It must
// not be moved or freed while it is initialised. Wait in a loop: what is waited
// for may have been undone again by the time the mutex is back.
typedef struct weft_cond {
    weft_object opaque_head;
    uint64_t opaque[1];
} weft_cond;

// A static initialiser: weft_cond c = WEFT_COND_INIT("not empty");
#define WEFT_COND_INIT(name)                                                   \
    {                                                                          \
        WEFT_OBJECT_INIT(name, 4),                                             \
        {                                                                      \
            0                                                                  \
        }                                                                      \
    }

// Makes a condition. `name` (NULL: none) is shown in dumps; it is kept, not
// copied, and must live as long as the condition. May be called by tasks and
// threads. Does not park.
// Errors: -EINVAL (a null condition).
WEFT_API int weft_cond_init(weft_cond *cond, const char *name);

// Ends a condition. May be called by tasks and threads. Does not park.
// Errors: -EINVAL (null, or not initialised), -EBUSY (waited for: the condition
// stays as it was).
WEFT_API int weft_cond_deinit(weft_cond *cond);

// Gives back the mutex, which the caller holds, and waits for a signal, both at
// once: no signal that comes after the mutex was given back is missed. Takes
// the mutex again before it returns, whatever it returns, save -EINVAL and
// -EPERM; for that it waits without a deadline and is not cancelled. One who
// has had a signal returns 0, be it cancelled or late: no signal is lost. May
// be called by tasks, which park, and by threads, which block.
// Errors: -EINVAL (null, or not initialised; others wait with another mutex),
// -EPERM (the caller does not hold the mutex), -ETIMEDOUT, -ECANCELED.
WEFT_API int weft_cond_wait(weft_cond *cond, weft_mutex *mutex,
                            int64_t deadline_ns);

// Wakes the first who waits, if any. The caller may hold the mutex or not. May
// be called by tasks and threads. Does not park.
// Errors: -EINVAL (null, or not initialised).
WEFT_API int weft_cond_signal(weft_cond *cond);

// Wakes all who wait. As weft_cond_signal otherwise.
// Errors: -EINVAL (null, or not initialised).
WEFT_API int weft_cond_broadcast(weft_cond *cond);

WEFT_END

#endif
