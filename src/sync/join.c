// join.c -- Waiting for a task's end.
//
// The slot's lock guards the join (sched/spawn.c I1). The result comes through
// the waiter's data, put there by the ending task's worker before it fires.
#include <weft/task.h>

#include <errno.h>

#include "sync/wait.h"

// The task has ended already: takes the result and frees the slot.
static int take_result(struct task *task, void **ret_result)
{
    if (ret_result != NULL)
        *ret_result = task->arg;
    task_release(task);
    return 0;
}

static int check(struct task *task, weft_task handle)
{
    if (!table_is(task, handle) || task->join == JOIN_DETACHED ||
        task->join == JOIN_SCOPED)
        return -ESRCH;
    if (task == task_self())
        return -EDEADLK;
    return task->join == JOIN_WAITED ? -EBUSY : 0;
}

// The joiner did not get the result: the task may be joined again. If it has
// ended at the same moment, its end has already put the join back.
static void give_up(struct task *task, struct waiter *waiter, weft_task handle)
{
    lock_acquire(&task->lock);
    if (table_is(task, handle) && task->join == JOIN_WAITED &&
        task->joiner == waiter)
        task->join = JOIN_OPEN;
    lock_release(&task->lock);
}

static int wait_for(struct task *task, weft_task handle, int64_t deadline_ns,
                    void **ret_result)
{
    void *result = NULL;
    struct waiter waiter = {.data = &result};
    struct list queue; // of one: the slot has room for one joiner
    struct wait wait = {
        .kind = WEFT_WAIT_JOIN,
        .object = (const void *)(uintptr_t)task->id,
        .fd = -1,
        .deadline_ns = deadline_ns,
    };

    list_init(&queue);
    task->join = JOIN_WAITED;
    task->joiner = &waiter;
    int error = wait_park(&wait, &task->lock, &queue, &waiter);
    if (error != 0)
        give_up(task, &waiter, handle);
    else if (ret_result != NULL)
        *ret_result = result;
    return error;
}

static int join(struct task *task, weft_task handle, int64_t deadline_ns,
                void **ret_result)
{
    lock_acquire(&task->lock);
    int error = check(task, handle);
    if (error != 0) {
        lock_release(&task->lock);
        return error;
    }
    if (STATE_PHASE(load_acquire(&task->state)) == PHASE_DONE) // task.h P1
        return take_result(task, ret_result);
    return wait_for(task, handle, deadline_ns, ret_result);
}

int weft_task_join(weft_task handle, int64_t deadline_ns, void **ret_result)
{
    struct visit visit;
    struct task *task = task_visit(handle, &visit);

    if (task == NULL)
        return -ESRCH;
    int error = join(task, handle, deadline_ns, ret_result);
    task_unvisit(&visit);
    return error;
}
