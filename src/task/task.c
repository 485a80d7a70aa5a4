// task.c -- Small things about a slot, and lists of slots.
#include "task/task.h"

#include <stdio.h>

atomic_u32 task_epochs[256];

bool task_note_wait(struct task *task, uint32_t mark, uint32_t epoch)
{
    return MARK_EPOCH(mark) == epoch ||
           cas_acq_rel(&task->mark, &mark, MARK(epoch, MARK_WAITED)); // S1
}

const char *task_describe(const struct task *task, char text[TASK_LABEL_MAX])
{
    const char *name = task->top->name;

    snprintf(text, TASK_LABEL_MAX, name[0] ? "T%llu \"%s\"" : "T%llu",
             (unsigned long long)task->id, name);
    return text;
}

void task_list_push(struct task_list *list, struct task *task)
{
    task->next = NULL;
    if (list->tail == NULL)
        list->head = task;
    else
        list->tail->next = task;
    list->tail = task;
    list->count++;
}

struct task *task_list_pop(struct task_list *list)
{
    struct task *task = list->head;

    if (task == NULL)
        return NULL;
    list->head = task->next;
    if (list->head == NULL)
        list->tail = NULL;
    list->count--;
    return task;
}

void task_list_append(struct task_list *list, struct task_list *more)
{
    if (more->head == NULL)
        return;
    if (list->tail == NULL)
        list->head = more->head;
    else
        list->tail->next = more->head;
    list->tail = more->tail;
    list->count += more->count;
    *more = (struct task_list){0};
}
