// threads.h -- Threads that are no workers, in a dump.
#ifndef WEFT_DUMP_THREADS_H
#define WEFT_DUMP_THREADS_H

#include "dump/capture.h"
#include "sched/runtime.h"

// Adds them to a dump that is being made: those of the runtime's pool, and
// those of the process that a call of weft's blocks. The world runs; stacks go
// into the picture's store, to be numbered with it. 0 or -ENOMEM.
int threads_add(struct weft_dump *dump, const struct picture *picture,
                struct cfi_cache *cache);

// The scheduler's hooks: in a thread of the pool, at its beginning and end.
void threads_begin(struct weft_runtime *runtime, struct pool_thread *thread);
void threads_end(struct pool_thread *thread);

#endif
