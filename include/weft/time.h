// time.h -- The clock that deadlines are measured by.
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

WEFT_END

#endif
