// task.h -- Tasks: starting, joining, cancelling, yielding, sleeping.
#ifndef WEFT_TASK_H
#define WEFT_TASK_H

#include <weft/base.h>

WEFT_BEGIN

// The most bytes of a task's name, and of a label's key and value, the
// terminating zero included. Longer ones are cut at the end.
#define WEFT_NAME_MAX 64

// The most labels a task can carry.
#define WEFT_LABELS_MAX 16

typedef struct weft_task_options {
    size_t size;           // sizeof(weft_task_options)
    weft_runtime *runtime; // default: that of the calling task
    const char *name;      // copied; default: none
    size_t stack_size;     // default: the runtime's; same bounds
    void **ret_result;     // of a scope's child (weft_scope_spawn): where its
                           // result is stored; default: nowhere
} weft_task_options;

// Starts a task that runs fn(arg). `options` may be NULL. With `ret_task` the
// handle is stored before the task can run, and the task must be joined or
// detached, for until then its slot stays taken; with NULL it is detached from
// the start. The place of the call becomes the task's spawn site, the calling
// task its parent. May be called by tasks, and by threads that name a runtime.
// Does not park.
// Errors: -EINVAL (no fn, a wrong size, a stack size out of bounds, a
// ret_result), -EPERM (a thread that names no runtime), -ENOMEM (no memory for
// a stack), -EAGAIN (as many tasks as the runtime allows), -ESHUTDOWN (the
// runtime is ending).
WEFT_API int weft_task_spawn(const weft_task_options *options, weft_task_fn *fn,
                             void *arg, weft_task *ret_task);

// Waits for a task to end and takes its result, which goes to *ret_result
// unless that is NULL. On success the handle is used up. May be called by
// tasks, which park, and by threads, which block.
// Errors: -ESRCH (joined, detached or never a task), -EDEADLK (the calling
// task itself), -EBUSY (another join of this task is waiting), -ETIMEDOUT,
// -ECANCELED (the caller was cancelled). After an error other than -ESRCH the
// task still has to be joined or detached.
WEFT_API int weft_task_join(weft_task task, int64_t deadline_ns,
                            void **ret_result);

// Gives up the right to join: the task frees itself when it ends. May be
// called by tasks and threads. Does not park.
// Errors: -ESRCH, -EBUSY (a join of this task is waiting).
WEFT_API int weft_task_detach(weft_task task);

// Asks a task to end. Its present blocking call, or else its next one, returns
// -ECANCELED, and so does every later one; only weft_mutex_lock,
// weft_task_join, weft_scope_next and weft_scope_leave still succeed where they
// need not wait, so that a task can clean up; and a scope that is a shield
// keeps it out until it is left (weft_scope_enter_with). An operation that has
// taken effect reports that instead. Cancelling twice is cancelling once. May
// be called by tasks and threads. Does not park.
// Errors: -ESRCH (a task that has ended counts as cancelled: 0).
WEFT_API int weft_task_cancel(weft_task task);

// Lets other tasks run; the caller goes to the end of its worker's queue. May
// be called by tasks.
// Errors: -EPERM (not a task); -ECANCELED, or -ETIMEDOUT (the deadline of an
// enclosing scope has passed): it has yielded all the same.
WEFT_API int weft_task_yield(void);

// Waits until the deadline has passed. May be called by tasks, which park.
// Errors: -EPERM (not a task), -ECANCELED, -ETIMEDOUT (the deadline of an
// enclosing scope came first).
WEFT_API int weft_task_sleep(int64_t deadline_ns);

// Waits until the wall clock shows `until_ns`, nanoseconds of CLOCK_REALTIME as
// weft_time_wall_now gives them, or later. It follows the clock: if that is set
// forward past the time, the task goes on at once; if it is set back, it waits
// longer. A suspend of the machine counts as time that has passed, and the task
// goes on when it ends. WEFT_NEVER waits without limit. May be called by tasks,
// which park.
// Errors: -EPERM (not a task), -ECANCELED, -ETIMEDOUT (the deadline of an
// enclosing scope came first), -EMFILE, -ENFILE, -ENOMEM or -ENOSPC (the first
// in its runtime: the system has no descriptor, no memory or no watch left for
// being told of settings of the clock).
WEFT_API int weft_task_sleep_wall(int64_t until_ns);

// The handle of the calling task; the zero handle in any other thread. Does
// not park.
WEFT_API weft_task weft_task_self(void);

// Names the calling task, for dumps. Copied and cut to WEFT_NAME_MAX; NULL
// takes the name away. Does not park.
// Errors: -EPERM (not a task).
WEFT_API int weft_task_set_name(const char *name);

// The same by a format, as printf(3).
// Errors: -EPERM (not a task), -EINVAL (no format, or one that cannot be
// printed).
WEFT_API int weft_task_set_namef(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

// Gives the calling task a label, for dumps; a value of NULL takes the label
// away. Copied. Children inherit labels at their spawn. Does not park.
// Errors: -EPERM (not a task), -EINVAL (no key, or an empty one), -ENOMEM,
// -ENOSPC (WEFT_LABELS_MAX labels already).
WEFT_API int weft_task_set_label(const char *key, const char *value);

WEFT_END

#endif
