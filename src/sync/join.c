// join.c -- Waiting for a task's end.
//
// The slot's lock guards the join (sched/spawn.c I1). The result comes through
// the waiter's data, put there by the ending task's worker before it fires.
#include <weft/task.h>

#include <errno.h>

#include "sync/clause.h"

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
// ended at the same moment, its end has already put the join back. The lock is
// held.
static void reopen(struct task *task, const struct waiter *waiter,
                   weft_task handle)
{
    if (table_is(task, handle) && task->join == JOIN_WAITED &&
        task->joiner == waiter)
        task->join = JOIN_OPEN;
}

static int wait_for(struct task *task, weft_task handle, int64_t deadline_ns,
                    void **ret_result)
{
    void *result = NULL;
    struct waiter waiter = {.data = &result};
    struct list queue; // of one: the slot has room for one joiner
    struct wait wait = {
        .kind = WEFT_WAIT_JOIN,
        .object = task,
        .fd = -1,
        .deadline_ns = deadline_ns,
    };

    list_init(&queue);
    task->join = JOIN_WAITED;
    task->joiner = &waiter;
    int error = wait_park(&wait, &task->lock, &queue, &waiter);
    if (error != 0) {
        lock_acquire(&task->lock);
        reopen(task, &waiter, handle);
        lock_release(&task->lock);
    } else if (ret_result != NULL) {
        *ret_result = result;
    }
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

// ---- As a clause. ----

// A task whose result was taken under all locks is freed after.
struct joining {
    struct clause_shown shown; // the task's id
    struct visit visit;
    void *result;
    bool taken;
};

_Static_assert(sizeof(struct joining) <= CLAUSE_WORDS * sizeof(uint64_t),
               "clause too small");

static struct joining *joining_of(struct clause *clause)
{
    return (struct joining *)&clause->own;
}

static weft_task handle_in(const struct clause *clause)
{
    return (weft_task){clause->number};
}

static void deliver(struct clause *clause, void *result)
{
    if (clause->item != NULL)
        *(void **)clause->item = result;
}

static int find(struct clause *clause)
{
    struct joining *joining = joining_of(clause);
    struct task *task = task_visit(handle_in(clause), &joining->visit);

    joining->taken = false;
    clause->object = task;
    if (task == NULL)
        clause->result = -ESRCH;
    else
        clause->lock = &task->lock;
    return 0;
}

static bool try(struct clause *clause)
{
    struct task *task = clause->object;

    clause->result = check(task, handle_in(clause));
    if (clause->result != 0)
        return true;
    if (STATE_PHASE(load_acquire(&task->state)) != PHASE_DONE) // task.h P1
        return false;
    deliver(clause, task->arg);
    task->join = JOIN_DETACHED; // nobody else may take it
    joining_of(clause)->taken = true;
    return true;
}

static bool enter(struct clause *clause)
{
    struct task *task = clause->object;
    struct joining *joining = joining_of(clause);

    joining->shown.number = task->id;
    joining->shown.waiter.data = &joining->result;
    task->join = JOIN_WAITED;
    task->joiner = &joining->shown.waiter;
    return false;
}

static void leave(struct clause *clause)
{
    struct task *task = clause->object;
    struct joining *joining = joining_of(clause);

    if (joining->shown.waiter.won)
        deliver(clause, joining->result);
    else
        reopen(task, &joining->shown.waiter, handle_in(clause));
}

static void drop(struct clause *clause)
{
    struct task *task = clause->object;
    struct joining *joining = joining_of(clause);

    if (task == NULL)
        return;
    if (joining->taken) {
        lock_acquire(&task->lock);
        task_release(task); // gives the lock back
    }
    task_unvisit(&joining->visit);
}

const struct clause_kind join_clause = {WEFT_WAIT_JOIN, find, try, enter,
                                        leave,          NULL, drop};
