// runtime.h -- Starting a runtime, running a program on it, ending it.
#ifndef WEFT_RUNTIME_H
#define WEFT_RUNTIME_H

#include <weft/base.h>
#include <weft/findings.h>

WEFT_BEGIN

typedef struct weft_runtime_options {
    size_t size;      // sizeof(weft_runtime_options)
    const char *name; // shown in dumps; copied; default: "weft"
    // How many tasks run at once: so many worker threads there are at first, at
    // most 1,024. Default: the CPUs this process may use, by affinity and the
    // quotas of its cgroups (version 2), rounded up. They are counted anew once
    // a second, by the affinity of weft's own threads, and workers added and
    // retired accordingly; never are there more than at the start and
    // spare_workers together.
    unsigned workers;
    // The most threads that take the place of workers whose task blocks its
    // thread. They are started when needed, and kept. Default 64, at most
    // 1,024.
    unsigned spare_workers;
    // A worker whose task has kept it in a system call for this long has its
    // place taken by a spare one if no other is idle, in nanoseconds; it is
    // looked for every 10 ms (every half of this, but no less than 1 ms).
    // WEFT_NEVER: only blocking sections (weft_blocking_run_here) give the
    // place away. Default 20 ms.
    int64_t handoff_ns;
    // The pool of weft_blocking_run: the most threads (default 512, at most
    // 65,536); the most calls that wait for one of them, beyond which a further
    // one gets -EBUSY (default 0: no limit); and after how long an idle thread
    // ends, in nanoseconds (default 10 s; WEFT_NEVER: they are kept).
    uint32_t blocking_threads;
    uint32_t blocking_queue;
    int64_t blocking_keep_ns;
    // Bytes of stack of a task whose options name none. Default 64 KiB; at
    // least 16 KiB, at most 1 GiB; rounded up to a power of two.
    size_t stack_size;
    // The most tasks alive at once. Default and limit: 16,777,216.
    uint32_t max_tasks;
    // A task that has run for this long without yielding is a no-yield finding
    // in a dump, in nanoseconds. Default 250 ms.
    int64_t no_yield_ns;
    // How long a dump waits for a worker that does not come, in nanoseconds.
    // Default 250 ms, which is also the most.
    int64_t dump_patience_ns;
    // After how long a worker that has not come is captured where it stands,
    // inside its task, while the others may still be waited for, in
    // nanoseconds. At most the patience. Default 5 ms, or half of the patience
    // if that is less.
    int64_t dump_grace_ns;
    // By how many threads a dump is captured, at most 64, besides the workers,
    // which always take a share between two tasks. Default 1: a thread that
    // does only what the workers do not get on with. More of them make a dump
    // shorter where processors are idle, and compete with the workers where
    // not.
    unsigned dump_threads;
    // The signal by which such a worker is interrupted for a moment if it runs
    // (in a system call it is not disturbed). Default: SIGURG. What comes of
    // this signal from others goes to the handler that the program had when
    // the signal was first needed; if the program takes it over later, or
    // blocks it in a task, running tasks are not captured, and dumps say so.
    int capture_signal;
    // A signal on which the process dumps this runtime: text to standard
    // error, and JSON to dump_path if that is set. Default 0: the signal named
    // or numbered in the environment variable WEFT_DUMP_SIGNAL (for instance
    // QUIT; what means no signal is told and ignored), or none. -1: none
    // whatever the environment says.
    int dump_signal;
    // Where the JSON of such a dump goes; "%p" in it becomes the process id,
    // "%n" the number of such dumps so far, "%%" a percent sign. A file is
    // written under another name first, then renamed over what was there; a
    // device or a pipe is written to. Copied. Default: the environment
    // variable WEFT_DUMP_FILE, or nowhere.
    const char *dump_path;
    // When the rules of a dump's findings speak. Copied. Default NULL: as the
    // environment variable WEFT_FINDINGS says; see findings.h.
    const weft_finding_options *findings;
    // Dumps that the runtime takes by itself. Copied. Default NULL: as the
    // environment variable WEFT_WATCH says, or none; see findings.h.
    const weft_watch_options *watch;
} weft_runtime_options;

// Starts a runtime and its workers. `options` may be NULL. The runtime is the
// caller's, to be ended by weft_runtime_free. May be called by threads and
// tasks (of another runtime). Does not park; blocks while threads start.
// Errors: -EINVAL (a null result pointer, a wrong size, a value outside the
// bounds above, a signal that cannot be caught or has a meaning to the kernel
// or the C library, or one signal for two ends), -ENOMEM, -EAGAIN (no threads
// to be had), -EMFILE or -ENFILE (no descriptors for the event source). On
// error nothing is left behind.
WEFT_API int weft_runtime_new(const weft_runtime_options *options,
                              weft_runtime **ret_runtime);

// Runs fn(arg) as a task of the runtime, named "main", and waits for it to
// end; its result goes to *ret_result unless that is NULL. Tasks that it left
// behind run on. May be called by threads only: a task gets -EDEADLK. Blocks
// the calling thread.
// Errors: -EINVAL, -EDEADLK, and those of weft_task_spawn.
WEFT_API int weft_runtime_run(weft_runtime *runtime, weft_task_fn *fn,
                              void *arg, void **ret_result);

// Ends a runtime, in order: no new tasks, every task is cancelled, all of them
// are waited for, the workers are joined, memory is given back. A task that
// ignores its cancellation is waited for without limit. May be called by
// threads; a task gets -EDEADLK, in its own runtime and in others. NULL is
// allowed. Blocks the calling thread. Calls by handle in other threads (join,
// cancel, detach, trace) end first, and later ones get -ESRCH. Calls that were
// given the runtime itself (spawn, dump, metrics) end first if they have begun;
// that none begins any more is up to the caller.
// Errors: -EDEADLK.
WEFT_API int weft_runtime_free(weft_runtime *runtime);

// Ends a runtime as weft_runtime_free does, but waits no longer than until the
// deadline; one in the past does not wait at all. If the end has not come by
// then, the call returns -ETIMEDOUT, and a thread of its own goes on with it:
// calls that block (weft_blocking_run) are run to their end, tasks that ignore
// their cancellation are waited for, and memory is given back only then. In
// both cases the runtime is no longer the caller's. May be called by threads; a
// task gets -EDEADLK. NULL is allowed. Blocks the calling thread.
// Errors: -EDEADLK, -ETIMEDOUT, and -ENOMEM or -EAGAIN (no thread is to be
// had): then nothing has happened.
WEFT_API int weft_runtime_free_by(weft_runtime *runtime, int64_t deadline_ns);

// Does it all: new, run, free. The result of fn goes to *ret_result unless
// that is NULL. May be called by threads. Blocks the calling thread.
// Errors: those of weft_runtime_new and weft_runtime_run.
WEFT_API int weft_run(const weft_runtime_options *options, weft_task_fn *fn,
                      void *arg, void **ret_result);

// The runtime of the calling task; NULL in any other thread. Does not park.
WEFT_API weft_runtime *weft_runtime_self(void);

WEFT_END

#endif
