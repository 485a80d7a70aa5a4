// table.h -- The task table: the one registry of a runtime's tasks.
//
// Segments of fixed-size slots that are never freed or moved while the runtime
// lives. The scheduler, handles and dumps all find tasks here.
#ifndef WEFT_TASK_TABLE_H
#define WEFT_TASK_TABLE_H

#include "task/stack.h"

enum {
#ifdef WEFT_EXPLORE
    SEGMENT_SLOTS = 2,
    SEGMENTS = 4,
#else
    SEGMENT_SLOTS = 1024,
    SEGMENTS = 16384,
#endif
    TABLE_MAX = SEGMENT_SLOTS * SEGMENTS,
};

struct segment {
    struct task slots[SEGMENT_SLOTS];
};

struct table {
    _Atomic(struct segment *) *segments; // T1 in table.c
    atomic_u32 used;                     // slots ever handed out; T1
    uint32_t tag;                        // of the runtime, for handles
    uint32_t first_generation;           // random: handles of an earlier
                                         // runtime with this tag do not match
    struct lock lock;                    // guards all below
    struct task *free[STACK_CLASSES];    // through `next`, newest first
    struct stacks stacks;
};

// 0 or -ENOMEM.
int table_init(struct table *table, uint32_t tag, uint32_t generation);
void table_deinit(struct table *table);

// Takes up to `count` free slots with a stack of the class, newest first, and
// appends them to the list. 0 if there is at least one, -ENOMEM, or -EAGAIN
// when the table is full.
int table_take(struct table *table, uint32_t class, uint32_t count,
               struct task_list *ret_tasks);

// Gives slots (phase FREE) back; the last of the list will be taken first.
void table_give(struct table *table, struct task_list *tasks);

// The slot at an index below `used`.
struct task *table_at(const struct table *table, uint32_t index);

// The slot a handle means; NULL if its generation has passed. What is done
// with it must bear the slot's being freed at the same time: take the slot's
// lock and compare the generation again.
struct task *table_find(const struct table *table, weft_task handle);

// Whether a slot still is the task of a handle. Under its lock this is stable.
bool table_is(const struct task *task, weft_task handle);

#endif
