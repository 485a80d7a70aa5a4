// parked.h -- Many tasks that wait, deep in calls, for what never comes.
#ifndef BENCH_PARKED_H
#define BENCH_PARKED_H

#include <weft/weft.h>

enum { PARKED_PER_CHANNEL = 1000 };

// Starts `tasks` tasks in a runtime and returns once all of them are parked.
// Each waits to receive from a channel that it shares with up to 999 others,
// at the end of one of three chains of calls: 2, 3 or 4 functions, the task's
// own included; with weft's above and below, 6, 7 or 8 frames.
void parked_start(weft_runtime *runtime, unsigned tasks);

#endif
