// capture.h -- From a stopped world to a model of it.
#ifndef WEFT_DUMP_CAPTURE_H
#define WEFT_DUMP_CAPTURE_H

#include "dump/model.h"
#include "dump/unwind.h"
#include "sched/runtime.h"

// The most frames of a stack that are kept, and how many of these at its outer
// end when it is deeper.
enum {
    FRAMES_MAX = 128,
    FRAMES_TAIL = 32,
};

struct capture {
    const uint8_t *places;  // enum place of each worker
    int64_t asked_ns;       // when the dump was asked for
    uint64_t stopped_ticks; // when the first worker stopped; 0: none did
    struct weft_dump *dump; // the result, with one reference; or NULL
};

// Captures all tasks, queues and workers. The caller leads a dump. The result
// lacks what needs no stopped world: see complete.h. 0 or -ENOMEM.
int capture_world(struct weft_runtime *runtime, struct capture *capture);

// Unwinds a task that is parked or queued and stays so. `pcs` has room for
// FRAMES_MAX; they and the stack's description are as the model keeps them,
// but for its `error`: a static string in *ret_error, or NULL.
void capture_stack(struct cfi_cache *cache, const struct task *task,
                   uintptr_t *pcs, struct model_stack *ret_stack,
                   const char **ret_error);

// Fills in how a stack that has been unwound into `pcs` ends, and makes those
// that are no return addresses look like ones: model.h. Returns its `error`.
const char *capture_end_stack(const struct unwind_result *result, int kept,
                              uintptr_t *pcs, struct model_stack *ret_stack);

// Whether a task's saved stack pointer lies in its stack: always, unless it
// runs.
bool capture_sound(const struct task *task);

// A cache of CFI for a capture: one is kept between dumps. NULL: no memory.
struct cfi_cache *capture_cache_take(void);
void capture_cache_give(struct cfi_cache *cache);

#endif
