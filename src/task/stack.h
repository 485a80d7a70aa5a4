// stack.h -- Stacks for tasks: slabs, guards, and what lies at a stack's top.
//
// Stacks of one size class come from slabs and are never given back while
// the runtime lives; a slot keeps its stack (table.h), so recycling a slot
// recycles a stack whose pages are warm.
#ifndef WEFT_TASK_STACK_H
#define WEFT_TASK_STACK_H

#include "task/task.h"

enum {
    STACK_CLASS_MIN = 14, // 16 KiB
    STACK_CLASS_MAX = 30, // 1 GiB
    STACK_CLASSES = STACK_CLASS_MAX + 1,
};

struct slab {
    struct slab *next;
    char *start;
    size_t bytes;
};

// All stacks of a runtime. Guarded by the table's lock.
struct stacks {
    struct slab *slabs;
    char *fresh[STACK_CLASSES]; // next unused stack of each class
    char *fresh_end[STACK_CLASSES];
};

// The class of a size in bytes, or 0 when it is out of bounds.
uint32_t stack_class(size_t bytes);

// Carves a guarded stack for a slot: sets top and stack_class. False: no
// memory.
bool stack_new(struct stacks *stacks, struct task *task, uint32_t class);
void stacks_deinit(struct stacks *stacks);

// The bounds of a task's stack: [low, high). The guard lies at low.
char *stack_low(const struct task *task);
char *stack_high(const struct task *task);

// Bytes below a stack's usable part that fault when touched.
size_t stack_guard_size(void);

// False: the canary of an unguarded stack was overwritten.
bool stack_intact(const struct task *task);

#endif
