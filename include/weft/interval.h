// interval.h -- Something to be done again and again, a period apart.
//
//     weft_interval beat;
//
//     weft_interval_init(&beat, weft_time_now(), WEFT_SECOND,
//                        WEFT_INTERVAL_SKIP);
//     while (weft_interval_tick(&beat, WEFT_NEVER) >= 0)
//         send_heartbeat();
#ifndef WEFT_INTERVAL_H
#define WEFT_INTERVAL_H

#include <weft/base.h>

WEFT_BEGIN

// What becomes of ticks that are missed: those that were due, and the next one
// after them too, before anybody took them.
enum weft_interval_missed {
    WEFT_INTERVAL_BURST, // all are made up for, one right after the other
    WEFT_INTERVAL_DELAY, // one is taken now, and the next is a period from now
    WEFT_INTERVAL_SKIP,  // one is taken now, and the next is the first of the
                         // old order that is still to come
};

// An interval, to be embedded by its user; the content is weft's own. One task
// or thread uses it at a time. It holds nothing, so there is no need to end it.
typedef struct weft_interval {
    int64_t opaque[3];
} weft_interval;

// Makes an interval. Its first tick is due at `first_ns`, a time as
// weft_time_now gives it (in the past: at once; WEFT_NEVER: there is none), the
// others each `period_ns` nanoseconds after the one before. A tick that would
// lie past INT64_MAX, in 292 years of the machine's running, never comes. May
// be called by tasks and threads. Does not park.
// Errors: -EINVAL (a null interval, a period below 1, an unknown `missed`).
WEFT_API int weft_interval_init(weft_interval *interval, int64_t first_ns,
                                int64_t period_ns,
                                enum weft_interval_missed missed);

// Waits until the next tick is due, and takes it. Returns how many have been
// left out before the next one, by DELAY or SKIP (at most INT_MAX), which is 0
// unless ticks were missed. Whoever does not come back from this has taken
// none: after a time-out the tick is still to come. May be called by tasks,
// which park, and by threads, which block.
// Errors: -EINVAL (null, or not initialised), -ETIMEDOUT (the deadline came
// first, or that of an enclosing scope), -ECANCELED.
WEFT_API int weft_interval_tick(weft_interval *interval, int64_t deadline_ns);

// When the next tick is due: a time as weft_time_now gives it, WEFT_NEVER if
// there is none. By whoever uses the interval. Does not park.
// Errors: -EINVAL (null, or not initialised).
WEFT_API int64_t weft_interval_next(const weft_interval *interval);

WEFT_END

#endif
