// inject.h -- The shared queue: tasks from outside, and what overflows.
//
// Unbounded, through the tasks' own links, so it never fails. Its lock also
// guards the idle set (idle.h): whoever adds a task from outside and whoever
// goes to sleep meet there.
#ifndef WEFT_SCHED_INJECT_H
#define WEFT_SCHED_INJECT_H

#include "task/task.h"

struct inject {
    struct lock lock;
    struct task_list list; // under lock
    atomic_u32 length;     // of list; written under lock, read by all: N1
    atomic_u64 total;      // tasks ever added; written under lock
};

// Any thread: appends a list, which is empty after.
void inject_push(struct inject *inject, struct task_list *tasks);

// Any worker: takes up to `max` of the oldest and appends them.
void inject_pop(struct inject *inject, uint32_t max,
                struct task_list *ret_tasks);

// What is in it now, without the lock, which may be held by one who was taken
// off: those with `injected` above the returned number, by up to
// *ret_count.
uint64_t inject_look(struct inject *inject, uint32_t *ret_count);

// Whether it is worth taking the lock.
bool inject_empty(const struct inject *inject);

#endif
