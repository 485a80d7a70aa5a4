// capture.h -- Reads one task, though it may run at any moment.
#ifndef WEFT_DUMP_CAPTURE_H
#define WEFT_DUMP_CAPTURE_H

#include "dump/space.h"
#include "dump/store.h"
#include "dump/unwind.h"
#include "sched/runtime.h"

// The most frames of a stack that are kept, and how many of these at its outer
// end when it is deeper.
enum {
    FRAMES_MAX = 128,
    FRAMES_TAIL = 32,
};

// What all captures of one dump have in common. Written before the epoch
// opens, then constant.
struct picture {
    struct weft_runtime *runtime; // of another process: a copy
    const struct space *space;    // NULL: this process, and
    const uintptr_t *segments;    // of another's table: their addresses
    uintptr_t entry;              // task_entry there
    struct store *store;
    uint32_t epoch;
    uint32_t slots;    // of the table, at the meeting
    uint64_t now;      // ticks of the meeting
    int64_t now_ns;    // the same on the clock
    uint64_t rate;     // ns a tick there, times 2^32; 0: as here
    uint64_t before;   // what was in the shared queue: steal_all.h
    uint32_t injected; //
};

// Captures a slot as it was at the meeting, unless that has been done or there
// was no task (task.h S1). Of an ended task any thread; of others whoever has
// the cache for itself. False: it could not be read.
bool capture_task(const struct picture *picture, struct cfi_cache *cache,
                  struct task *task);

// The time span of a number of ticks, in nanoseconds.
int64_t picture_span(const struct picture *picture, uint64_t ticks);

// How long ago a moment was; 0: it has come since.
int64_t picture_ago(const struct picture *picture, uint64_t ticks);

// The address of a slot.
uintptr_t picture_slot(const struct picture *picture, uint32_t index);

// A slot of another process, and what was copied of it while it stood.
struct far_slot {
    const struct task *copy;
    const void *bytes; // of its stack, from `sp` up to its struct task_top and
    size_t size;       // that one's first part; or fewer
};

enum { FAR_STACK_MAX = 64 << 10 }; // bytes of a stack that are copied

// The address at which to read a stack, and how many bytes of it; 0: it has
// none, or is damaged.
size_t capture_far_span(const struct task *copy, uintptr_t *ret_address);

enum far_result {
    FAR_TAKEN,
    FAR_MOVED,   // it has run since its slot was copied
    FAR_DAMAGED, // or could not be read
};

// Captures one that is parked, queued or has ended, and was so still when the
// bytes had been copied. Nothing is kept of it but when it is taken.
enum far_result capture_far(const struct picture *picture,
                            struct cfi_cache *cache,
                            const struct far_slot *slot);

// What is known of one whose stack was not, or not in time, copied; `why`.
// `stood`: it has not moved since, so that what it holds is known too.
void capture_far_facts(const struct picture *picture, const struct task *copy,
                       bool stood, const char *why);

// A task that ran on at the meeting, on a worker that did not come.
struct running {
    struct task copy;           // of its slot, at the meeting
    struct task_top top;        //
    struct model_stack stack;   // found where it stood
    uintptr_t pcs[FRAMES_MAX];  //
    const char *error;          // why the stack is not whole, or NULL
    uint32_t stack_used;        //
    enum weft_task_state state; //
};

// Copies what is known of it without its stack; its worker keeps it.
void capture_facts(const struct task *task, struct running *ret_running);

// Unwinds it where it was saved since. False: it runs, or did meanwhile, or has
// ended.
bool capture_saved(struct cfi_cache *cache, struct task *task,
                   struct running *running);

// The same for a task that is the caller's.
void capture_saved_stack(struct cfi_cache *cache, const struct task *task,
                         struct running *running);

// Puts it into the store.
void capture_running(const struct picture *picture,
                     const struct running *running);

// Unwinds a task that is parked or queued and stays so, or whose reading is
// found worthless later. `pcs` has room for FRAMES_MAX; they and the stack's
// description are as the model keeps them, but for its `error`: a static
// string in *ret_error, or NULL.
void capture_stack(struct cfi_cache *cache, const struct task *task,
                   uintptr_t *pcs, struct model_stack *ret_stack,
                   const char **ret_error);

// The registers of a stack that was left by a switch, whose frame is a copy of
// what lies at `sp`.
void capture_regs(const struct switch_frame *frame, const void *sp,
                  struct unwind_regs *ret_regs);

// What an unwinding has given, as the model keeps it. The static string that
// says why it is not whole, or NULL.
const char *capture_kept(const struct unwind_result *result, int kept,
                         uintptr_t *pcs, struct model_stack *ret_stack);

// Whether a task's saved stack pointer lies in its stack: always, unless it
// runs.
bool capture_sound(const struct task *task);

// A cache of CFI for a capture: some are kept between dumps. NULL: no memory.
struct cfi_cache *capture_cache_take(void);
void capture_cache_give(struct cfi_cache *cache);

#endif
