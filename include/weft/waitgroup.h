// waitgroup.h -- A count of things under way, and those who wait until none is.
#ifndef WEFT_WAITGROUP_H
#define WEFT_WAITGROUP_H

#include <weft/base.h>

WEFT_BEGIN

// A wait group, to be embedded by its user; the content is weft's own. It must
// not be moved or freed while it is initialised. (For tasks alone a scope does
// this, and more: weft_scope_enter.)
typedef struct weft_waitgroup {
    weft_object opaque_head;
    uint64_t opaque[1];
} weft_waitgroup;

// A static initialiser: weft_waitgroup g = WEFT_WAITGROUP_INIT("uploads");
#define WEFT_WAITGROUP_INIT(name)                                              \
    {                                                                          \
        WEFT_OBJECT_INIT(name, 8),                                             \
        {                                                                      \
            0                                                                  \
        }                                                                      \
    }

// Makes a wait group that counts nothing. `name` (NULL: none) is shown in
// dumps; it is kept, not copied, and must live as long as the group. May be
// called by tasks and threads. Does not park.
// Errors: -EINVAL (a null group).
WEFT_API int weft_waitgroup_init(weft_waitgroup *group, const char *name);

// Ends a wait group. Whoever has come back from a wait may end it: the last
// weft_waitgroup_done is out of it then. May be called by tasks and threads.
// Does not park.
// Errors: -EINVAL (null, or not initialised), -EBUSY (it counts something, or
// is waited for: the group stays as it was).
WEFT_API int weft_waitgroup_deinit(weft_waitgroup *group);

// Counts `more` things, before they are begun. May be called by tasks and
// threads. Does not park.
// Errors: -EINVAL (null, or not initialised), -EOVERFLOW (there would be more
// than INT32_MAX: none was counted).
WEFT_API int weft_waitgroup_add(weft_waitgroup *group, uint32_t more);

// One thing is done; the last wakes all who wait. What was done before is seen
// by them. May be called by tasks and threads. Does not park.
// Errors: -EINVAL (null, or not initialised; nothing was under way).
WEFT_API int weft_waitgroup_done(weft_waitgroup *group);

// Waits until nothing is under way; if nothing is, returns at once, even to a
// task that is cancelled. May be called by tasks, which park, and by threads,
// which block.
// Errors: -EINVAL (null, or not initialised), -ETIMEDOUT, -ECANCELED.
WEFT_API int weft_waitgroup_wait(weft_waitgroup *group, int64_t deadline_ns);

WEFT_END

#endif
