// steal_all.h -- Every queue of a runtime, taken down as one.
#ifndef WEFT_DUMP_STEAL_ALL_H
#define WEFT_DUMP_STEAL_ALL_H

#include "sched/runtime.h"

// All queued tasks of a runtime: those of the workers in their order, and those
// of the shared queue by their numbers (task.h, `injected`). Counted for the
// dump alone: the runtime's metrics do not see it.
struct stolen {
    struct task **tasks; // room for all that the queues can hold
    uint32_t count;      //
    uint32_t *of_worker; // how many of these come from each worker: its hand,
                         // its next slot, its queue, in this order
    uint64_t before;     // numbers in the shared queue begin above this
    uint32_t injected;   // tasks in it
};

// Sets the room aside. 0 or -ENOMEM.
int stolen_init(struct stolen *stolen, uint32_t workers);
void stolen_deinit(struct stolen *stolen);

// Takes them all. The caller leads a dump: workers stand still, or are away, or
// did not come, and then what they do to their queues meanwhile may be missed.
void steal_all(struct weft_runtime *runtime, struct stolen *stolen);

#endif
