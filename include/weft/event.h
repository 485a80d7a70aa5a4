// event.h -- Something that happens, and those who wait until it has.
#ifndef WEFT_EVENT_H
#define WEFT_EVENT_H

#include <weft/base.h>

WEFT_BEGIN

// An event, to be embedded by its user; the content is weft's own. It must not
// be moved or freed while it is initialised. Once set it stays set: whoever
// waits then, goes on at once. One that is never reset happens once and for
// all.
typedef struct weft_event {
    weft_object opaque_head;
    uint64_t opaque[1];
} weft_event;

// A static initialiser: weft_event e = WEFT_EVENT_INIT("configured");
#define WEFT_EVENT_INIT(name)                                                  \
    {                                                                          \
        WEFT_OBJECT_INIT(name, 5),                                             \
        {                                                                      \
            0                                                                  \
        }                                                                      \
    }

// Makes an event, not set. `name` (NULL: none) is shown in dumps; it is kept,
// not copied, and must live as long as the event. May be called by tasks and
// threads. Does not park.
// Errors: -EINVAL (a null event).
WEFT_API int weft_event_init(weft_event *event, const char *name);

// Ends an event. Whoever has come back from a wait may end it: the one who has
// set it is out of it then. May be called by tasks and threads. Does not park.
// Errors: -EINVAL (null, or not initialised), -EBUSY (waited for: the event
// stays as it was).
WEFT_API int weft_event_deinit(weft_event *event);

// Sets the event and wakes all who wait for it. What was done before it is seen
// by whoever comes back from a wait. Setting twice is setting once. May be
// called by tasks and threads. Does not park.
// Errors: -EINVAL (null, or not initialised).
WEFT_API int weft_event_set(weft_event *event);

// Makes the event not set, as it was at first; those who were woken by its
// setting go on all the same. May be called by tasks and threads. Does not
// park.
// Errors: -EINVAL (null, or not initialised).
WEFT_API int weft_event_reset(weft_event *event);

// Whether the event is set: 1 or 0. May be called by tasks and threads. Does
// not park.
// Errors: -EINVAL (null, or not initialised).
WEFT_API int weft_event_is_set(const weft_event *event);

// Waits until the event is set; if it is, returns at once, even to a task that
// is cancelled. May be called by tasks, which park, and by threads, which
// block.
// Errors: -EINVAL (null, or not initialised), -ETIMEDOUT, -ECANCELED.
WEFT_API int weft_event_wait(weft_event *event, int64_t deadline_ns);

WEFT_END

#endif
