// steal_all.h -- Every queue of a runtime emptied into one, and put back.
#ifndef WEFT_DUMP_STEAL_ALL_H
#define WEFT_DUMP_STEAL_ALL_H

#include "sched/runtime.h"

// Where a stretch of the tasks came from.
struct origin {
    uint32_t count; // tasks from here, one after another
    bool hand;      // the first was in the worker's hand, about to be run
    bool next;      // then one from its next slot; the rest its queue's
};

// All queued tasks of a runtime, in the order of the workers, the shared queue
// last. Counted for the dump alone: the runtime's metrics do not see it.
struct stolen {
    struct task_list tasks;
    struct origin *origins; // of each worker
    uint32_t injected;      // tasks from the shared queue
};

// Takes them all, any number. The caller leads a dump: workers with a place
// other than MISSING are stopped or away. What a missing worker has queued
// stays there. 0 or -ENOMEM.
int steal_all(struct weft_runtime *runtime, const uint8_t *places,
              struct stolen *ret_stolen);

// Puts everything back where it was, in its order; frees the origins.
void put_back_all(struct weft_runtime *runtime, struct stolen *stolen);

#endif
