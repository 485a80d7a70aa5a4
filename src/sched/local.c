// local.c -- Task-local storage: a list of values at each task's stack's top.
//
// A key is the address of its struct weft_local, so there is no table of keys
// to guard or to fill up. A list is its task's alone; it is short, so it is
// searched from the front.
#include "sched/local.h"

#include <errno.h>
#include <stdlib.h>
#include <weft/local.h>

#include "sched/runtime.h"

struct local {
    struct local *next;
    const weft_local *key;
    void *value;
};

// In place of the list once the values are being ended.
static struct local ended;

static struct local **find(struct task *task, const weft_local *key)
{
    struct local **at = &task->top->locals;

    while (*at != NULL && (*at)->key != key)
        at = &(*at)->next;
    return at;
}

void locals_end(struct task *task)
{
    struct local *local = task->top->locals;

    task->top->locals = &ended;
    while (local != NULL) {
        struct local *next = local->next;
        void (*end)(void *) = local->key->opaque_end;
        void *value = local->value;
        free(local);
        if (end != NULL)
            end(value);
        local = next;
    }
}

static int add(struct task *task, const weft_local *key, void *value)
{
    struct local *local = malloc(sizeof *local);

    if (local == NULL)
        return -ENOMEM;
    *local = (struct local){task->top->locals, key, value};
    task->top->locals = local;
    return 0;
}

int weft_local_set(const weft_local *key, void *value)
{
    struct task *task = task_self();

    if (key == NULL)
        return -EINVAL;
    if (task == NULL || task->top->locals == &ended)
        return -EPERM;
    struct local **at = find(task, key);
    struct local *local = *at;
    if (local == NULL)
        return value == NULL ? 0 : add(task, key, value);
    local->value = value;
    if (value == NULL) {
        *at = local->next;
        free(local);
    }
    return 0;
}

void *weft_local_get(const weft_local *key)
{
    struct task *task = task_self();

    if (task == NULL || key == NULL)
        return NULL;
    const struct local *local = *find(task, key);
    return local == NULL ? NULL : local->value;
}
