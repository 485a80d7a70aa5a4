// blocking.h -- Calls that block a thread, made without blocking a worker.
#ifndef WEFT_BLOCKING_H
#define WEFT_BLOCKING_H

#include <weft/base.h>

WEFT_BEGIN

// Runs fn(arg) in a thread of the runtime's pool and waits for it; its result
// goes to *ret_result unless that is NULL. For code that cannot park: reading
// files, name look-ups, libraries with calls of their own. The pool grows as
// needed up to 512 threads and lets idle ones go after ten seconds; beyond
// that, calls queue in order. fn is not in a task: it must not call what only
// tasks may. May be called by tasks, which park; neither a cancel nor a
// deadline ends the wait, for fn may use what lies on the task's stack.
// Errors: -EINVAL (no fn), -EPERM (not a task), -EAGAIN (no thread to be had,
// and none in the pool), -ECANCELED (the task was cancelled before: fn has not
// been run).
WEFT_API int weft_blocking_run(weft_task_fn *fn, void *arg, void **ret_result);

WEFT_END

#endif
