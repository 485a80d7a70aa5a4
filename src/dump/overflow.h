// overflow.h -- A task that overflows its stack is named before the process
// dies.
#ifndef WEFT_DUMP_OVERFLOW_H
#define WEFT_DUMP_OVERFLOW_H

#include "sched/runtime.h"

// In a worker's own thread, before its first task: gives it an alternate
// signal stack, and the process a handler for SIGSEGV and SIGBUS.
void overflow_begin(struct worker *worker);

// In the same thread, after its last task.
void overflow_end(struct worker *worker);

// How a backtrace is printed to standard error, with `gap` frames left out
// before the one at `gap_at`: src/report sets it. It may
// allocate and load libraries, and is called in a process of its own, forked
// from the dying one.
extern void (*overflow_print)(const uintptr_t *pcs, size_t count, size_t gap_at,
                              uint64_t gap);

#endif
