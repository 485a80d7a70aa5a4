// barrier.h -- A place where a fixed number meet before any goes on.
#ifndef WEFT_BARRIER_H
#define WEFT_BARRIER_H

#include <weft/base.h>

WEFT_BEGIN

// A barrier, to be embedded by its user; the content is weft's own. It must not
// be moved or freed while it is initialised. It serves again and again.
typedef struct weft_barrier {
    weft_object opaque_head;
    uint64_t opaque[3];
} weft_barrier;

// A static initialiser: weft_barrier b = WEFT_BARRIER_INIT("step", 4);
#define WEFT_BARRIER_INIT(name, parties)                                       \
    {                                                                          \
        WEFT_OBJECT_INIT(name, 6),                                             \
        {                                                                      \
            (parties)                                                          \
        }                                                                      \
    }

// Makes a barrier for `parties` that meet. `name` (NULL: none) is shown in
// dumps; it is kept, not copied, and must live as long as the barrier. May be
// called by tasks and threads. Does not park.
// Errors: -EINVAL (a null barrier, no parties).
WEFT_API int weft_barrier_init(weft_barrier *barrier, uint32_t parties,
                               const char *name);

// Ends a barrier. May be called by tasks and threads. Does not park.
// Errors: -EINVAL (null, or not initialised), -EBUSY (waited for: the barrier
// stays as it was).
WEFT_API int weft_barrier_deinit(weft_barrier *barrier);

// Arrives, and waits until all parties have. Returns 1 to the last one, which
// does not wait, and 0 to the others: what each did before is seen by all
// after. One that gives up has not arrived; if the last one comes at the same
// moment, all have met and it returns 0. May be called by tasks, which park,
// and by threads, which block.
// Errors: -EINVAL (null, or not initialised), -ETIMEDOUT, -ECANCELED.
WEFT_API int weft_barrier_wait(weft_barrier *barrier, int64_t deadline_ns);

WEFT_END

#endif
