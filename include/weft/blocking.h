// blocking.h -- Calls that block a thread, made without blocking a worker.
#ifndef WEFT_BLOCKING_H
#define WEFT_BLOCKING_H

#include <weft/base.h>

WEFT_BEGIN

// Runs fn(arg) in a thread of the runtime's pool and waits for it; its result
// goes to *ret_result unless that is NULL. For code that cannot park: reading
// files, name look-ups, libraries with calls of their own. The pool grows as
// needed up to blocking_threads and lets idle ones go after blocking_keep_ns
// (of weft_runtime_options: 512, and ten seconds); beyond that, calls queue in
// order. fn is not in a task: it must not call what only
// tasks may. May be called by tasks, which park; neither a cancel nor a
// deadline ends the wait, for fn may use what lies on the task's stack.
// Errors: -EINVAL (no fn), -EPERM (not a task), -EAGAIN (no thread to be had,
// and none in the pool), -EBUSY (blocking_queue calls wait already), -ECANCELED
// (the task was cancelled before: fn has not been run).
WEFT_API int weft_blocking_run(weft_task_fn *fn, void *arg, void **ret_result);

// Runs fn(arg) here and now, in the calling task, though it blocks the thread:
// another worker runs the other tasks meanwhile, so fn may block for as long
// as it likes. fn is still in the task: it may use task-local values, what it
// has locked, and all calls of weft's. One that parks ends the section early:
// what follows it runs like any other code. The result goes to *ret_result
// unless that is NULL. Where no more threads are to be had (spare_workers of
// weft_runtime_options, or the system's limit), the other workers, if there are
// any, run what waited for this one. Afterwards the task goes on once a
// worker's place is free, and so may yield and go on in another thread.
// Sections may be nested: the outermost counts. A cancel does not end fn. May
// be called by tasks.
// Errors: -EINVAL (no fn), -EPERM (not a task).
WEFT_API int weft_blocking_run_here(weft_task_fn *fn, void *arg,
                                    void **ret_result);

WEFT_END

#endif
