// rwlock.h -- A lock for many readers or one writer that knows its holders.
#ifndef WEFT_RWLOCK_H
#define WEFT_RWLOCK_H

#include <weft/base.h>

WEFT_BEGIN

// A read-write lock, to be embedded by its user; the content is weft's own. It
// must not be moved or freed while it is initialised.
//
// Writers come before readers: as soon as one waits, nobody who comes later
// reads. Those who wait are served in the order they came, readers that stand
// next to each other together; so neither side starves.
typedef struct weft_rwlock {
    weft_object opaque_head;
    uint64_t opaque[4];
} weft_rwlock;

// A static initialiser: weft_rwlock l = WEFT_RWLOCK_INIT("routes");
#define WEFT_RWLOCK_INIT(name)                                                 \
    {                                                                          \
        WEFT_OBJECT_INIT(name, 2),                                             \
        {                                                                      \
            0                                                                  \
        }                                                                      \
    }

// Makes a read-write lock, unlocked. `name` (NULL: none) is shown in dumps; it
// is kept, not copied, and must live as long as the lock. May be called by
// tasks and threads. Does not park.
// Errors: -EINVAL (a null lock).
WEFT_API int weft_rwlock_init(weft_rwlock *rwlock, const char *name);

// Ends a read-write lock. May be called by tasks and threads. Does not park.
// Errors: -EINVAL (null, or not initialised), -EBUSY (held, or waited for: the
// lock stays as it was).
WEFT_API int weft_rwlock_deinit(weft_rwlock *rwlock);

// Takes the lock for reading, together with other readers. May be called by
// tasks, which park while a writer holds it or waits before them, and by
// threads, which block. A lock that is free to be read is taken even by a task
// that is cancelled. Who holds it is recorded, for dumps: up to four locks held
// for reading at once cost a task no memory, each further one an allocation.
// Errors: -EINVAL (null, or not initialised), -EDEADLK (the caller holds it,
// for reading or writing: a writer between the two would stop it for ever),
// -ENOMEM, -ETIMEDOUT, -ECANCELED.
WEFT_API int weft_rwlock_lock_read(weft_rwlock *rwlock, int64_t deadline_ns);

// Takes the lock for writing, alone. May be called by tasks, which park while
// others hold it, and by threads, which block. A free lock is taken even by a
// task that is cancelled.
// Errors: -EINVAL (null, or not initialised), -EDEADLK (the caller holds it,
// for reading or writing), -ETIMEDOUT, -ECANCELED.
WEFT_API int weft_rwlock_lock_write(weft_rwlock *rwlock, int64_t deadline_ns);

// Takes the lock for reading if no writer holds it or waits for it. May be
// called by tasks and threads. Does not park.
// Errors: -EINVAL, -EDEADLK (the caller holds it), -ENOMEM, -EBUSY.
WEFT_API int weft_rwlock_try_lock_read(weft_rwlock *rwlock);

// Takes the lock for writing if it is free. May be called by tasks and threads.
// Does not park.
// Errors: -EINVAL, -EDEADLK (the caller holds it), -EBUSY.
WEFT_API int weft_rwlock_try_lock_write(weft_rwlock *rwlock);

// Gives the lock back, however the caller holds it. If it is free then, those
// who are first in line hold it from this moment. May be called by the task or
// thread that holds it. Does not park. A task must not end while it holds it:
// that is misuse, and aborts the process, naming both.
// Errors: -EINVAL, -EPERM (the caller does not hold it: it stays as it was).
WEFT_API int weft_rwlock_unlock(weft_rwlock *rwlock);

WEFT_END

#endif
