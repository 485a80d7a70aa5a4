// table.c -- The task table: the one registry of a runtime's tasks.
//
//   T1  A segment's pointer is stored (release) before `used` grows past its
//       first slot (release). Whoever loads `used` (acquire) may read every
//       slot below it; segments and `used` never go back.
//   T2  A slot's generation grows when the slot becomes free, under the slot's
//       lock, before the slot is in any free list.
#include "task/table.h"

#include <errno.h>
#include <stdlib.h>

int table_init(struct table *table, uint32_t tag, uint32_t generation)
{
    *table = (struct table){.tag = tag, .first_generation = generation};
    table->segments = port_reserve(SEGMENTS * sizeof *table->segments,
                                   port_page_size(), false);
    return table->segments == NULL ? -ENOMEM : 0;
}

// A stack that Valgrind still knew of would be taken for what comes after it.
static void withdraw_stacks(const struct table *table)
{
    uint32_t used = load_relaxed(&table->used); // nobody else is there

    for (uint32_t i = 0; i < used && fiber_must_withdraw(); i++) {
        const struct task_top *top = table_at(table, i)->top;
        if (top != NULL)
            fiber_withdraw(top->announced);
    }
}

void table_deinit(struct table *table)
{
    withdraw_stacks(table);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        struct segment *segment = load_relaxed(&table->segments[i]);
        if (segment == NULL)
            break;
        port_unreserve(segment, sizeof *segment);
    }
    port_unreserve(table->segments, SEGMENTS * sizeof *table->segments);
    stacks_deinit(&table->stacks);
}

struct task *table_at(const struct table *table, uint32_t index)
{
    struct segment *segment =
        load_acquire(&table->segments[index / SEGMENT_SLOTS]); // T1

    return &segment->slots[index % SEGMENT_SLOTS];
}

// A slot never used before, with a stack; the lock is held.
static int fresh_slot(struct table *table, uint32_t class,
                      struct task **ret_task)
{
    uint32_t index = load_relaxed(&table->used);
    uint32_t number = index / SEGMENT_SLOTS;

    if (index == TABLE_MAX)
        return -EAGAIN;
    if (index % SEGMENT_SLOTS == 0 &&
        load_relaxed(&table->segments[number]) == NULL) {
        struct segment *segment =
            port_reserve(sizeof *segment, port_page_size(), false);
        if (segment == NULL)
            return -ENOMEM;
        store_release(&table->segments[number], segment); // T1
    }
    struct task *task = table_at(table, index);
    task->index = index;
    task->tag = table->tag;
    store_relaxed(&task->generation, table->first_generation);
    if (!stack_new(&table->stacks, task, class))
        return -ENOMEM;
    store_release(&table->used, index + 1); // T1
    *ret_task = task;
    return 0;
}

int table_take(struct table *table, uint32_t class, uint32_t count,
               struct task_list *ret_tasks)
{
    uint32_t before = ret_tasks->count;
    int error = 0;

    lock_acquire(&table->lock);
    while (ret_tasks->count < before + count) {
        struct task *task = table->free[class];
        if (task != NULL)
            table->free[class] = task->next;
        else if ((error = fresh_slot(table, class, &task)) != 0)
            break;
        task_list_push(ret_tasks, task);
    }
    lock_release(&table->lock);
    return ret_tasks->count > before ? 0 : error;
}

void table_give(struct table *table, struct task_list *tasks)
{
    struct task *task;

    lock_acquire(&table->lock);
    while ((task = task_list_pop(tasks)) != NULL) {
        task->next = table->free[task->stack_class];
        table->free[task->stack_class] = task;
    }
    lock_release(&table->lock);
}

bool table_is(const struct task *task, weft_task handle)
{
    return load_relaxed(&task->generation) == HANDLE_GENERATION(handle);
}

struct task *table_find(const struct table *table, weft_task handle)
{
    uint32_t index = HANDLE_INDEX(handle);

    if (index >= load_acquire(&table->used)) // T1
        return NULL;
    struct task *task = table_at(table, index);
    return table_is(task, handle) ? task : NULL;
}
