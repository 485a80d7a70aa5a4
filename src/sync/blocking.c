// blocking.c -- Calls that block a thread, made without blocking a worker.
//
// The job's end is a waiter like any other: the pool's thread fires it under
// the job's lock, which the task takes once more before the job, on its stack,
// goes away: the thread may still be about to give the lock back.
#include <weft/blocking.h>

#include <errno.h>

#include "sched/blocking.h"
#include "sync/blocking.h"
#include "sync/wait.h"

struct call {
    struct job job;
    weft_task_fn *fn;
    void *arg; // then the result
    struct lock lock;
    struct list waiters; // under lock
    bool done;           // under lock
};

static void run(struct job *job)
{
    struct call *call = container_of(job, struct call, job);

    call->arg = call->fn(call->arg);
    lock_acquire(&call->lock);
    call->done = true;
    struct list *link = list_pop_front(&call->waiters);
    if (link != NULL)
        (void)wait_wake(container_of(link, struct waiter, link), 0);
    lock_release(&call->lock);
}

static void wait_until_done(struct call *call)
{
    struct waiter waiter = {0};
    struct wait wait = {
        .kind = WEFT_WAIT_BLOCKING,
        .object = (const void *)(uintptr_t)call->fn,
        .fd = -1,
        .deadline_ns = WEFT_NEVER,
        .firm = true,
    };

    lock_acquire(&call->lock);
    if (!call->done) {
        (void)wait_park(&wait, &call->lock, &call->waiters, &waiter);
        lock_acquire(&call->lock);
    }
    lock_release(&call->lock);
}

static void *run_alone(void *arg)
{
    run(arg);
    return NULL;
}

void *blocking_run_aside(weft_task_fn *fn, void *arg)
{
    struct call call = {.fn = fn, .arg = arg};

    list_init(&call.waiters);
    if (task_self() == NULL ||
        port_thread_start(NULL, "weft-aside", run_alone, &call.job) != 0)
        return fn(arg);
    wait_until_done(&call);
    return call.arg;
}

int weft_blocking_run_here(weft_task_fn *fn, void *arg, void **ret_result)
{
    if (fn == NULL)
        return -EINVAL;
    if (task_self() == NULL)
        return -EPERM;
    bool aside = sched_step_aside();
    void *result = fn(arg);
    if (aside)
        sched_step_back();
    if (ret_result != NULL)
        *ret_result = result;
    return 0;
}

int weft_blocking_run(weft_task_fn *fn, void *arg, void **ret_result)
{
    struct call call = {
        .job = {.run = run, .fn = (const void *)(uintptr_t)fn},
        .fn = fn,
        .arg = arg,
    };
    struct task *task = task_self();

    if (fn == NULL)
        return -EINVAL;
    if (task == NULL)
        return -EPERM;
    if (task_is_canceled(task))
        return -ECANCELED;
    call.job.task = task->id;
    list_init(&call.waiters);
    int error = blocking_submit(&worker_self()->runtime->blocking, &call.job);
    if (error != 0)
        return error;
    wait_until_done(&call);
    if (ret_result != NULL)
        *ret_result = call.arg;
    return 0;
}
