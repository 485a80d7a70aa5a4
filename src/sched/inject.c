// inject.c -- The shared queue: tasks from outside, and what overflows.
//
//   N1  length is stored (seq_cst) after the list has changed, and loaded
//       (seq_cst) by workers that look for work: of a push followed by a look
//       at the idle set, and a going to sleep followed by a look at length, at
//       least one sees the other (idle.c H1).
#include "sched/inject.h"

static void number(struct task_list *tasks, uint64_t last)
{
    for (struct task *task = tasks->head; task != NULL; task = task->next)
        task->injected = ++last;
}

void inject_push(struct inject *inject, struct task_list *tasks)
{
    lock_acquire(&inject->lock);
    uint64_t total = load_relaxed(&inject->total); // under the lock
    store_relaxed(&inject->total, total + tasks->count);
    if (DUMPS_SERVED)
        number(tasks, total);
    task_list_append(&inject->list, tasks);
    store_seq_cst(&inject->length, inject->list.count); // N1
    lock_release(&inject->lock);
}

void inject_pop(struct inject *inject, uint32_t max,
                struct task_list *ret_tasks)
{
    if (inject_empty(inject))
        return;
    lock_acquire(&inject->lock);
    while (max-- > 0) {
        struct task *task = task_list_pop(&inject->list);
        if (task == NULL)
            break;
        task_list_push(ret_tasks, task);
    }
    store_seq_cst(&inject->length, inject->list.count); // N1
    lock_release(&inject->lock);
}

bool inject_empty(const struct inject *inject)
{
    return load_seq_cst(&inject->length) == 0; // N1
}

uint64_t inject_look(struct inject *inject, uint32_t *ret_count)
{
    enum { TRIES = 100 };
    uint64_t total = load_relaxed(&inject->total); // figures, read until they
    uint64_t again;                                // belong together

    for (int i = 0; i < TRIES; i++) {
        *ret_count = load_seq_cst(&inject->length); // N1
        again = load_relaxed(&inject->total);
        if (again == total)
            break;
        total = again;
    }
    return total - *ret_count;
}
