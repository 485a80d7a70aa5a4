// stack.c -- Stacks for tasks: slabs, guards, and what lies at a stack's top.
//
// From high to low: up to a kilobyte of colour, so that the hot ends of many
// stacks do not all fall into the same cache sets; struct task_top; the
// frames; and at the very bottom the guard. Where the system has no guard left
// to give, a canary word stands in its place, looked at when the task ends.
#include "task/stack.h"

#include <stdlib.h>

#include "base/panic.h"

enum {
    SLAB_BYTES = 16 << 20,
    COLOUR_STEP = 64,
    COLOURS = 16,
};

static const uint64_t CANARY = 0x77656674ca4a12d5;

uint32_t stack_class(size_t bytes)
{
    if (bytes < (size_t)1 << STACK_CLASS_MIN)
        return 0;
    if (stack_guard_size() > 4096) // a guard that is no small part of it
        bytes += stack_guard_size();
    for (uint32_t class = STACK_CLASS_MIN; class <= STACK_CLASS_MAX; class ++)
        if (bytes <= (size_t)1 << class)
            return class;
    return 0;
}

static bool add_slab(struct stacks *stacks, uint32_t class)
{
    size_t size = (size_t)1 << class;
    size_t bytes = size > SLAB_BYTES ? size : SLAB_BYTES;
    struct slab *slab = malloc(sizeof *slab);

    if (slab == NULL)
        return false;
    slab->start = port_reserve(bytes, size, true);
    if (slab->start == NULL) {
        free(slab);
        return false;
    }
    slab->bytes = bytes;
    slab->next = stacks->slabs;
    stacks->slabs = slab;
    stacks->fresh[class] = slab->start;
    stacks->fresh_end[class] = slab->start + bytes;
    return true;
}

size_t stack_guard_size(void)
{
    return port_page_size();
}

static void guard(char *low, struct task_top *top)
{
    static atomic_u32 told; // relaxed: it only decides who prints

    top->canary = port_guard(low, stack_guard_size()) != 0;
    if (!top->canary)
        return;
    *(uint64_t *)low = CANARY;
    if (add_relaxed(&told, 1) == 0)
        warn("the system has no more guard pages for stacks "
             "(vm.max_map_count); later tasks have a canary instead");
}

bool stack_new(struct stacks *stacks, struct task *task, uint32_t class)
{
    if (stacks->fresh[class] == stacks->fresh_end[class] &&
        !add_slab(stacks, class))
        return false;

    char *low = stacks->fresh[class];
    char *high = low + ((size_t)1 << class);
    size_t colour = task->index % COLOURS * COLOUR_STEP;
    size_t top = (sizeof(struct task_top) + 63) & ~(size_t)63;

    stacks->fresh[class] = high;
    task->stack_class = class;
    task->top = (struct task_top *)(high - colour - top);
    guard(low, task->top);
    task->top->announced = fiber_announce(low, high);
    return true;
}

void stacks_deinit(struct stacks *stacks)
{
    while (stacks->slabs != NULL) {
        struct slab *slab = stacks->slabs;
        stacks->slabs = slab->next;
        port_unreserve(slab->start, slab->bytes);
        free(slab);
    }
}

char *stack_low(const struct task *task)
{
    uintptr_t mask = ((uintptr_t)1 << task->stack_class) - 1;

    return (char *)((uintptr_t)task->top & ~mask);
}

char *stack_high(const struct task *task)
{
    return (char *)((uintptr_t)stack_low(task) +
                    ((uintptr_t)1 << task->stack_class));
}

bool stack_intact(const struct task *task)
{
    return !task->top->canary || *(uint64_t *)stack_low(task) == CANARY;
}
