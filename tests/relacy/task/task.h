// task.h -- Stands for src/task/task.h: a task is what its maker has written.
#ifndef WEFT_TESTS_RELACY_TASK_H
#define WEFT_TESTS_RELACY_TASK_H

#include "port/port.h"

struct task {
    rl::var<int> written; // before it is pushed, read by its taker
    struct task *next;
};

struct task_list {
    struct task *head;
};

static inline void task_list_push(struct task_list *list, struct task *task)
{
    task->next = list->head;
    list->head = task;
}

#endif
