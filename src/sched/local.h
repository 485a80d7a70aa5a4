// local.h -- The end of a task's own values.
#ifndef WEFT_SCHED_LOCAL_H
#define WEFT_SCHED_LOCAL_H

struct task;

// By the task itself, its function done: ends what it has stored.
void locals_end(struct task *task);

#endif
