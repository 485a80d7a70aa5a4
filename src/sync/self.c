// self.c -- What a task does to itself: yield, sleep, name, labels.
#include <weft/task.h>
#include <weft/time.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/wait.h"

int64_t weft_time_now(void)
{
    return port_now();
}

int64_t weft_time_wall_now(void)
{
    return port_wall_now();
}

int64_t weft_time_after(int64_t delay_ns)
{
    int64_t now = port_now();

    if (delay_ns < 0)
        return now;
    return delay_ns > INT64_MAX - now ? WEFT_NEVER : now + delay_ns;
}

weft_task weft_task_self(void)
{
    struct task *task = task_self();

    return task == NULL ? (weft_task){0} : task_handle(task);
}

int weft_task_yield(void)
{
    struct worker *worker = worker_self();

    if (worker == NULL)
        return -EPERM;
    struct task *task = load_relaxed(&worker->current);
    sched_leave(worker, task, LEAVE_YIELD);
    return wait_interrupted(task);
}

int weft_task_sleep(int64_t deadline_ns)
{
    struct task *task = task_self();
    struct wait wait = {
        .kind = WEFT_WAIT_SLEEP, .fd = -1, .deadline_ns = deadline_ns};
    struct waiter waiter;

    if (task == NULL)
        return -EPERM;
    int error = wait_park(&wait, NULL, NULL, &waiter);
    if (error == -ETIMEDOUT && deadline_ns <= task->scope_deadline)
        return 0;
    return error;
}

static void copy_text(char to[WEFT_NAME_MAX], const char *from)
{
    size_t length = strnlen(from, WEFT_NAME_MAX - 1);

    memcpy(to, from, length);
    to[length] = '\0';
}

int weft_task_set_name(const char *name)
{
    struct task *task = task_self();

    if (task == NULL)
        return -EPERM;
    copy_text(task->top->name, name == NULL ? "" : name);
    return 0;
}

int weft_task_set_namef(const char *format, ...)
{
    struct task *task = task_self();
    char name[WEFT_NAME_MAX];
    va_list arguments;

    if (task == NULL)
        return -EPERM;
    if (format == NULL)
        return -EINVAL;
    va_start(arguments, format);
    int length = vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    if (length < 0)
        return -EINVAL;
    copy_text(task->top->name, name);
    return 0;
}

static int add_label(struct task *task, const char *key, const char *value)
{
    struct label *label = malloc(sizeof *label);

    if (label == NULL)
        return -ENOMEM;
    copy_text(label->key, key);
    copy_text(label->value, value);
    store_relaxed(&label->next, load_relaxed(&task->top->labels)); // our own
    store_release(&task->top->labels, label); // task.h P1, struct label
    return 0;
}

int weft_task_set_label(const char *key, const char *value)
{
    struct task *task = task_self();
    char cut[WEFT_NAME_MAX];
    int count = 0;

    if (task == NULL)
        return -EPERM;
    if (key == NULL || key[0] == '\0')
        return -EINVAL;
    copy_text(cut, key);
    _Atomic(struct label *) *at = &task->top->labels;
    struct label *label;
    for (; (label = load_relaxed(at)) != NULL; at = &label->next, count++) {
        if (strcmp(label->key, cut) != 0)
            continue;
        if (value != NULL) {
            copy_text(label->value, value);
        } else {
            store_relaxed(at, load_relaxed(&label->next)); // our own list
            limbo_free(&label->grave, label);
        }
        return 0;
    }
    if (value == NULL)
        return 0;
    return count < WEFT_LABELS_MAX ? add_label(task, cut, value) : -ENOSPC;
}
