// blocking.h -- Work of weft's own that must not hold up a worker.
#ifndef WEFT_SYNC_BLOCKING_H
#define WEFT_SYNC_BLOCKING_H

#include <weft/base.h>

// Runs fn(arg): for a task on a thread made for it, while the task parks; for
// whoever else, or if no thread can be had, on the calling thread. Not on one
// of the pool: all of them may be stuck, which is when a dump is wanted. A
// cancel does not end the wait.
void *blocking_run_aside(weft_task_fn *fn, void *arg);

#endif
