// scope.h -- Structured concurrency: a scope owns its children and joins them.
//
//     weft_scope scope;
//     weft_scope_options options = {
//         .size = sizeof options, .limit = 8, .fail_fast = true};
//
//     weft_scope_enter_with(&scope, &options, weft_time_after(WEFT_SECOND));
//     for (size_t i = 0; i < count; i++)
//         weft_scope_spawn(&scope, NULL, fetch, &pages[i], NULL);
//     int error = weft_scope_leave(&scope);
//
// Eight pages at a time are fetched; the first fetch that returns an error ends
// the others, as does the second when it is over; and when the scope has been
// left, no task of its is left behind.
#ifndef WEFT_SCOPE_H
#define WEFT_SCOPE_H

#include <weft/base.h>
#include <weft/task.h>

WEFT_BEGIN

// A scope, to be kept in a variable of the function that enters it; the
// content is weft's own.
typedef struct weft_scope {
    uint64_t opaque[22];
} weft_scope;

typedef struct weft_scope_options {
    size_t size;      // sizeof(weft_scope_options)
    const char *name; // for dumps; kept, not copied; default: none
    uint32_t limit;   // the most children that run at once; default: no limit
    bool shield;      // what comes from around the scope waits outside: see
                      // weft_scope_enter_with
    bool fail_fast;   // the first child to fail cancels the scope
    bool keep;        // ended children are kept for weft_scope_next
} weft_scope_options;

// A child that has ended.
typedef struct weft_scope_child {
    weft_task task; // as weft_scope_spawn has given it; only to be compared
    void *result;
} weft_scope_child;

// Opens a scope in the calling task. Until it is left, blocking calls of the
// caller and of the scope's children return -ETIMEDOUT once the deadline has
// passed, whatever deadline of their own they were given, and -ECANCELED once
// the scope is cancelled. Scopes nest; the earliest deadline counts. A task
// that ends inside a scope that it has entered is misuse, and aborts the
// process with its name. May be called by tasks. Does not park.
// Errors: -EINVAL (a null scope, or one that the caller has open), -EPERM (not
// a task), -ENOSPC (the caller has 1,000 scopes open).
WEFT_API int weft_scope_enter(weft_scope *scope, int64_t deadline_ns);

// The same with options, which may be NULL.
//
// A limit makes weft_scope_spawn wait until fewer than so many children run.
//
// A shield keeps out what comes from around the scope: that the caller is
// cancelled, or a scope around this one is or is over, does not end a call in
// it. It is remembered, and ends the first one after the scope was left. The
// scope's own deadline counts, and cancelling the scope itself. This is for
// what has to be finished, such as giving back what was taken; give it a
// deadline, for nothing else ends it, and weft_runtime_free waits for it.
//
// With fail_fast, the first child that returns an error (weft_result_error)
// cancels the scope, and weft_scope_leave returns that error; a child that was
// cancelled and says -ECANCELED has not failed. Without it results are the
// caller's to judge: weft_task_options has a place for each, or
// weft_scope_next tells of one after the other.
//
// With `keep`, a child that has ended keeps its slot and stack until
// weft_scope_next has told of it or the scope is left.
// Errors: those of weft_scope_enter, and -EINVAL (a wrong size).
WEFT_API int weft_scope_enter_with(weft_scope *scope,
                                   const weft_scope_options *options,
                                   int64_t deadline_ns);

// Starts a task that belongs to the scope: weft_scope_leave waits for it, and
// it need not and cannot be joined or detached. `ret_task` may be NULL; the
// handle serves to cancel the child and to find it in a dump. With ret_result
// in the options the child's result is stored there when it has ended: it is
// there once weft_scope_leave or weft_scope_next has told of the child. May be
// called by the task that entered the scope and by its children in it. Parks
// if the scope has a limit and as many children run: first come, first served.
// Errors: -EINVAL (also: a scope that is not open, or options that name a
// runtime), -EPERM (neither that task nor such a child), -ECANCELED (the scope
// is cancelled, or the caller was while it waited), -ETIMEDOUT (a deadline
// passed while it waited), -EDEADLK (it would wait for ever: each running child
// waits to start another), and those of weft_task_spawn.
WEFT_API int weft_scope_spawn(weft_scope *scope,
                              const weft_task_options *options,
                              weft_task_fn *fn, void *arg, weft_task *ret_task);

// The same, but it does not park.
// Errors: -EBUSY (as many children run as may), and those of weft_scope_spawn.
WEFT_API int weft_scope_try_spawn(weft_scope *scope,
                                  const weft_task_options *options,
                                  weft_task_fn *fn, void *arg,
                                  weft_task *ret_task);

// Waits for the next child to end, in a scope that keeps them, and tells which
// it was, in the order in which they ended, each once. One that has ended
// already is told of at once, even to a caller that is cancelled. May be called
// by the task that entered the scope, which parks; weft_clause_next is the same
// as part of a select.
// Errors: -EINVAL (not open, not one that keeps, or a null ret_child), -EPERM
// (not the task that entered it), -ENOENT (no child is left to tell of),
// -ETIMEDOUT, -ECANCELED.
WEFT_API int weft_scope_next(weft_scope *scope, int64_t deadline_ns,
                             weft_scope_child *ret_child);

// Cancels every child of the scope, and what the task that entered it does
// inside it: their present blocking calls, or else their next ones, return
// -ECANCELED, and so does every later one, the caller's own included. Once the
// scope was left, calls of that task are as before. Cancelling twice is
// cancelling once. May be called by the task that entered the scope and by its
// children in it. Does not park.
// Errors: -EINVAL (a scope that is not open).
WEFT_API int weft_scope_cancel(weft_scope *scope);

// Waits until all children have ended, then closes the scope. If the scope's
// deadline passes or the caller is cancelled meanwhile, the children are
// cancelled and still waited for: no child outlives the scope. May be called
// by the task that entered it, innermost scope first; it parks.
// Errors: -EINVAL (not open, or not the caller's innermost); that of the first
// child to fail, if the scope is one that fails fast; -ETIMEDOUT (the deadline
// passed before the children ended), -ECANCELED (the caller or the scope was
// cancelled). The scope is closed in every case but -EINVAL.
WEFT_API int weft_scope_leave(weft_scope *scope);

// The error that a task's result stands for: one that has failed returns
// (void *)(intptr_t)error, where error is -errno. Any other result is 0. May be
// called from anywhere.
WEFT_API int weft_result_error(const void *result);

WEFT_END

#endif
