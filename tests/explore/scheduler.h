// scheduler.h -- What the scenarios of the whole scheduler share: a runtime.
#ifndef WEFT_TESTS_EXPLORE_SCHEDULER_H
#define WEFT_TESTS_EXPLORE_SCHEDULER_H

#include <weft/weft.h>

#include "explore/explore.h"
#include "sched/runtime.h"

extern weft_runtime runtime;

// Makes it; then nothing runs.
void scheduler_prepare(uint32_t workers);

// Its workers, as threads that need not end. No watchdog.
void scheduler_run(void);

// Both.
void scheduler_begin(uint32_t workers);

// When all threads have ended or sleep: every task is done, in no queue any
// more, and counted. Takes the runtime apart.
void scheduler_end(void);

// From any thread, into that runtime.
weft_task scheduler_spawn(weft_task_fn *fn, void *arg);

#endif
