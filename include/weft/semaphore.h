// semaphore.h -- A number of permits that tasks and threads take and give.
#ifndef WEFT_SEMAPHORE_H
#define WEFT_SEMAPHORE_H

#include <weft/base.h>

WEFT_BEGIN

// The most permits that can be in a semaphore.
#define WEFT_PERMITS_MAX INT32_MAX

// A counting semaphore, to be embedded by its user; the content is weft's own.
// It must not be moved or freed while it is initialised.
//
// Those who wait are served in the order they came: one who asks for many is
// not passed by others who ask for few.
typedef struct weft_semaphore {
    weft_object opaque_head;
    uint64_t opaque[5];
} weft_semaphore;

// A static initialiser:
// weft_semaphore s = WEFT_SEMAPHORE_INIT("connections", 16);
#define WEFT_SEMAPHORE_INIT(name, permits)                                     \
    {                                                                          \
        WEFT_OBJECT_INIT(name, 3),                                             \
        {                                                                      \
            (uint64_t)(permits) << 1, (permits)                                \
        }                                                                      \
    }

// Makes a semaphore with a number of permits, zero included. One that begins
// with a single permit records which task takes it and where, so that a dump
// can follow who waits for whom through it. `name` (NULL: none) is shown in
// dumps; it is kept, not copied, and must live as long as the semaphore. May be
// called by tasks and threads. Does not park.
// Errors: -EINVAL (a null semaphore, more than WEFT_PERMITS_MAX).
WEFT_API int weft_semaphore_init(weft_semaphore *semaphore, uint32_t permits,
                                 const char *name);

// Ends a semaphore, wherever its permits are. May be called by tasks and
// threads. Does not park.
// Errors: -EINVAL (null, or not initialised), -EBUSY (waited for: the semaphore
// stays as it was).
WEFT_API int weft_semaphore_deinit(weft_semaphore *semaphore);

// Takes `permits` at once, waiting until there are so many. May be called by
// tasks, which park, and by threads, which block. If they are there and nobody
// waits, they are taken even by a task that is cancelled. Any other result than
// 0 means that none was taken.
// Errors: -EINVAL (null, or not initialised; no permits, or more than
// WEFT_PERMITS_MAX), -ETIMEDOUT, -ECANCELED.
WEFT_API int weft_semaphore_acquire(weft_semaphore *semaphore, uint32_t permits,
                                    int64_t deadline_ns);

// Takes `permits` at once if they are there and nobody waits. May be called by
// tasks and threads. Does not park.
// Errors: -EINVAL, -EBUSY.
WEFT_API int weft_semaphore_try_acquire(weft_semaphore *semaphore,
                                        uint32_t permits);

// Gives `permits`, whether the caller has taken them or not; those who are
// first in line have theirs from this moment. May be called by tasks and
// threads. Does not park.
// Errors: -EINVAL, -EOVERFLOW (there would be more than WEFT_PERMITS_MAX: none
// was given).
WEFT_API int weft_semaphore_release(weft_semaphore *semaphore,
                                    uint32_t permits);

// The permits that are there now. May be called by tasks and threads. Does not
// park.
// Errors: -EINVAL.
WEFT_API int weft_semaphore_available(const weft_semaphore *semaphore);

WEFT_END

#endif
