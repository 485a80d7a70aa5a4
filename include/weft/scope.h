// scope.h -- Structured concurrency: a scope owns its children and joins them.
#ifndef WEFT_SCOPE_H
#define WEFT_SCOPE_H

#include <weft/base.h>
#include <weft/task.h>

WEFT_BEGIN

// A scope, to be kept in a variable of the function that enters it; the
// content is weft's own.
typedef struct weft_scope {
    uint64_t opaque[12];
} weft_scope;

// Opens a scope in the calling task. Until it is left, blocking calls of the
// caller and of the scope's children return -ETIMEDOUT once the deadline has
// passed, whatever deadline of their own they were given. Scopes nest; the
// earliest deadline counts. A task that ends inside a scope that it has entered
// is misuse, and aborts the process with its name. May be called by tasks. Does
// not park.
// Errors: -EINVAL (a null scope, or one that the caller has open), -EPERM (not
// a task).
WEFT_API int weft_scope_enter(weft_scope *scope, int64_t deadline_ns);

// Starts a task that belongs to the scope: weft_scope_leave waits for it, and
// it need not and cannot be joined or detached. `ret_task` may be NULL; the
// handle serves to cancel the child and to find it in a dump. May be called by
// the task that entered the scope and by its children in it. Does not park.
// Errors: -EINVAL (also: a scope that is not open, or options that name a
// runtime), -EPERM (neither that task nor such a child), -ECANCELED (the scope
// is cancelled), and those of weft_task_spawn.
WEFT_API int weft_scope_spawn(weft_scope *scope,
                              const weft_task_options *options,
                              weft_task_fn *fn, void *arg, weft_task *ret_task);

// Cancels every child of the scope, and those that they start in it. The
// caller itself goes on. May be called by the task that entered the scope and
// by its children in it. Does not park.
// Errors: -EINVAL (a scope that is not open).
WEFT_API int weft_scope_cancel(weft_scope *scope);

// Waits until all children have ended, then closes the scope. If the scope's
// deadline passes or the caller is cancelled meanwhile, the children are
// cancelled and still waited for: no child outlives the scope. May be called
// by the task that entered it, innermost scope first; it parks.
// Errors: -EINVAL (not open, or not the caller's innermost), -ETIMEDOUT (the
// deadline passed before the children ended), -ECANCELED (the caller or the
// scope was cancelled). The scope is closed in every case but -EINVAL.
WEFT_API int weft_scope_leave(weft_scope *scope);

WEFT_END

#endif
