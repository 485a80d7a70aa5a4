// fork.c -- What a forked child keeps of weft.
//
// The child has one thread, and no runtime: those of its parent are forgotten,
// with their memory, which is of no use without their threads. Handles of
// theirs lead nowhere. It may make a runtime of its own; each file with state
// of the whole process has a hook by which that is as at first. The hooks make
// the child's locks new, rather than hold them over the fork: a dump may keep
// one for seconds, and a step before each fork would make a simulation's second
// run another one than its first.
//
// Stacks are not inherited (port.h): with a million of them fork would take a
// quarter of a second. But the child goes on upon the stack of the task that
// forked, so that one stack is handed down. The child has no workers: it can
// run on, exec, or exit, and is a thread like any other to weft; only the
// task's function must not return, for there is no worker to return to.
#include "sched/fork.h"

#include "sched/runtime.h"

static void share(bool inherit)
{
    struct task *task = task_self();

    if (task != NULL)
        port_inherit(stack_low(task), (size_t)1 << task->stack_class, inherit);
}

static void before(void)
{
    share(true);
}

static void in_parent(void)
{
    share(false);
}

static struct lock once;

static void in_child(void)
{
    once = (struct lock){0};
    port_threads_forget();
    worker_forget();
    runtime_forget_all();
    store_relaxed(&threads_blocked, 0); // a figure; there is but one thread
}

int fork_prepare(void)
{
    static bool done; // under once
    int error = 0;

    lock_acquire(&once);
    if (!done)
        error = port_at_fork(before, in_parent, in_child);
    done = error == 0;
    lock_release(&once);
    return error;
}
