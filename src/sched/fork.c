// fork.c -- What a forked child of a task keeps.
//
// Stacks are not inherited (port.h): with a million of them fork would take a
// quarter of a second. But the child goes on upon the stack of the task that
// forked, so that one stack is handed down. The child has no workers: it can
// run on, exec, or exit; weft's calls are not for it.
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

static void in_child(void)
{
    port_threads_forget();
    store_relaxed(&threads_blocked, 0); // a figure; there is but one thread
}

int fork_prepare(void)
{
    static struct lock once;
    static bool done; // under once
    int error = 0;

    lock_acquire(&once);
    if (!done)
        error = port_at_fork(before, in_parent, in_child);
    done = error == 0;
    lock_release(&once);
    return error;
}
