// holder.c -- Who holds what: tasks and threads as owners of locks.
//
//   I1  A list of what is held, and the records in it, are changed by their
//       holder alone. A dump reads a task's while the task is parked.
//   I2  A record that lies with its holder is in use while its bit is set; all
//       others are allocated and freed by the holder.
#include "sync/holder.h"

#include <stdlib.h>

// A thread's part of what a task has in its slot and at its stack's top.
struct thread_part {
    struct held *held;
    uint32_t tid;
    uint8_t holds_used;
    struct hold holds[HOLDS_MAX];
};

PORT_THREAD_VARIABLE(struct thread_part, thread_part);

// No task reads it, so nothing can move while its address is used.
__attribute__((noinline)) struct holder holder_thread(void)
{
    struct thread_part *part = &thread_part;

    if (part->tid == 0)
        part->tid = (uint32_t)port_thread_id();
    return (struct holder){
        .word = (holder_word)part->tid << HOLDER_SHIFT | HOLDER_THREAD,
        .held = &part->held,
    };
}

// The records that lie with a holder, and their bits.
static struct hold *at_hand(const struct holder *holder, uint8_t **ret_used)
{
    if (holder->task != NULL) {
        *ret_used = &holder->task->top->holds_used;
        return holder->task->top->holds;
    }
    *ret_used = &thread_part.holds_used;
    return thread_part.holds;
}

static struct hold *take_record(const struct holder *holder)
{
    uint8_t *used;
    struct hold *holds = at_hand(holder, &used);

    for (unsigned i = 0; i < HOLDS_MAX; i++)
        if (!(*used >> i & 1)) { // I2
            *used |= (uint8_t)(1u << i);
            return &holds[i];
        }
    return malloc(sizeof *holds);
}

struct hold *holder_add(const struct holder *holder, const void *object,
                        const char *name)
{
    struct hold *hold = take_record(holder);

    if (hold == NULL)
        return NULL;
    hold->held.name = name;
    hold->held.kind = HELD_SHARED;
    hold->object = object;
    store_relaxed(&hold->taken_pc, 0); // a figure
    holder_push(holder, &hold->held);
    return hold;
}

struct hold *holder_find(const struct holder *holder, const void *object)
{
    for (struct held *held = *holder->held; held != NULL; held = held->next) {
        struct hold *hold = container_of(held, struct hold, held);
        if (held->kind == HELD_SHARED && hold->object == object)
            return hold;
    }
    return NULL;
}

void holder_remove(const struct holder *holder, struct hold *hold)
{
    uint8_t *used;
    struct hold *holds = at_hand(holder, &used);

    holder_drop(holder, &hold->held);
    for (unsigned i = 0; i < HOLDS_MAX; i++)
        if (hold == &holds[i]) {
            *used &= (uint8_t) ~(1u << i); // I2
            return;
        }
    free(hold);
}
