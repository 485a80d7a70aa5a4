// time.h -- The clocks that deadlines are measured by.
//
// Deadlines are times of CLOCK_MONOTONIC, which nobody sets: it stands still
// only while the whole machine is suspended, so a sleep of a minute takes a
// minute of the machine's running. What is to happen at a time of day is
// a matter of the wall clock (CLOCK_REALTIME), which can be set: see
// weft_task_sleep_wall.
#ifndef WEFT_TIME_H
#define WEFT_TIME_H

#include <weft/base.h>

WEFT_BEGIN

// The current time in nanoseconds of CLOCK_MONOTONIC. May be called by tasks,
// threads and signal handlers. Does not park. Cannot fail.
WEFT_API int64_t weft_time_now(void);

// The deadline that lies `delay_ns` nanoseconds ahead. A delay below zero
// counts as zero; a sum past INT64_MAX gives WEFT_NEVER. May be called by
// tasks, threads and signal handlers. Does not park. Cannot fail.
WEFT_API int64_t weft_time_after(int64_t delay_ns);

// The wall clock's time: nanoseconds of CLOCK_REALTIME, counted from the
// beginning of 1970 (UTC). It may be set, forward or back, at any moment. May
// be called by tasks, threads and signal handlers. Does not park. Cannot fail.
WEFT_API int64_t weft_time_wall_now(void);

WEFT_END

#endif
