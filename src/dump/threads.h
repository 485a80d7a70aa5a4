// threads.h -- Threads that are no workers, in a dump.
#ifndef WEFT_DUMP_THREADS_H
#define WEFT_DUMP_THREADS_H

#include "dump/model.h"
#include "sched/runtime.h"

// Adds them to a captured dump: those of the runtime's pool, and those of the
// process that a call of weft's blocks. The world runs; the runtime must stay.
// Any thread or task; the first call does it, others see it done. 0 or -ENOMEM.
int threads_add(struct weft_dump *dump, struct weft_runtime *runtime);

// The scheduler's hooks: in a thread of the pool, at its beginning and end.
void threads_begin(struct weft_runtime *runtime, struct pool_thread *thread);
void threads_end(struct pool_thread *thread);

#endif
