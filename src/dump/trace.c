// trace.c -- The trace of one task by its handle, and of the caller itself.
//
// A parked or queued task is read where it stands and the reading is kept only
// if its state word has not moved meanwhile (task.h): it may run on at any
// moment, so nothing is read but its slot and, within bounds, a copy of its
// stack's live bytes.
#include "dump/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dump/capture.h"

enum { TRIES = 16 };

// The modules are kept too: one of them may be closed before names are asked.
static int keep(const uintptr_t *pcs, size_t count, enum weft_stack_end end,
                const char *error, struct weft_trace **ret_trace)
{
    struct weft_trace *trace = calloc(1, sizeof *trace);

    if (trace == NULL)
        return -ENOMEM;
    trace->pcs = malloc((count + 1) * sizeof *trace->pcs);
    if (trace->pcs == NULL ||
        model_load_modules(&trace->modules, &trace->module_count) != 0) {
        free(trace->pcs);
        free(trace);
        return -ENOMEM;
    }
    memcpy(trace->pcs, pcs, count * sizeof *pcs);
    trace->count = count;
    trace->end = end;
    trace->error = end == WEFT_STACK_BROKEN ? error : NULL;
    *ret_trace = trace;
    return 0;
}

static bool stands(uint64_t word)
{
    enum phase phase = STATE_PHASE(word);

    return phase == PHASE_NEW || phase == PHASE_READY || phase == PHASE_WAITING;
}

// Whether the handle still means its task: a joiner may be back from its join
// a moment before the slot is given up, but not before that under its lock.
static bool still_is(struct task *task, weft_task handle)
{
    lock_acquire(&task->lock);
    bool is = table_is(task, handle);
    lock_release(&task->lock);
    return is;
}

// One reading of a task that stands. -EBUSY: it runs, or ran meanwhile.
static int trace_once(struct task *task, weft_task handle,
                      struct cfi_cache *cache, struct weft_trace **ret_trace)
{
    uintptr_t pcs[FRAMES_MAX];
    struct model_stack stack;
    const char *error;
    uint64_t word = load_acquire(&task->state); // task.h P1

    if (!table_is(task, handle))
        return -ESRCH;
    if (!stands(word) || !capture_sound(task))
        return still_is(task, handle) ? -EBUSY : -ESRCH;
    capture_stack(cache, task, pcs, &stack, &error);
    // Nothing changes, but the reads above come before it: release.
    if (!cas_acq_rel(&task->state, &word, word)) // task.h P1
        return -EBUSY;
    return keep(pcs, stack.count, stack.end, error, ret_trace);
}

static int trace_task(struct task *task, weft_task handle,
                      struct weft_trace **ret_trace)
{
    struct cfi_cache *cache = capture_cache_take();
    int error = -EBUSY;

    if (cache == NULL)
        return -ENOMEM;
    for (int i = 0; i < TRIES && error == -EBUSY; i++)
        error = trace_once(task, handle, cache, ret_trace);
    capture_cache_give(cache);
    return error;
}

int weft_trace_task(weft_task handle, weft_trace **ret_trace)
{
    struct visit visit;

    if (ret_trace == NULL)
        return -EINVAL;
    struct task *task = task_visit(handle, &visit);
    if (task == NULL)
        return -ESRCH;
    int error = trace_task(task, handle, ret_trace);
    task_unvisit(&visit);
    return error;
}

// The bounds of the stack that the caller runs on.
static int own_stack(struct unwind_memory *ret_memory)
{
    const struct task *task = task_self();

    *ret_memory = (struct unwind_memory){0};
    if (task == NULL)
        return port_own_stack(&ret_memory->lo, &ret_memory->hi);
    ret_memory->lo = (uintptr_t)stack_low(task) + stack_guard_size();
    ret_memory->hi = (uintptr_t)task->top;
    return 0;
}

int weft_trace_self(weft_trace **ret_trace)
{
    uintptr_t pcs[FRAMES_MAX];
    struct unwind_memory memory;
    struct unwind_result result;

    if (ret_trace == NULL)
        return -EINVAL;
    int error = own_stack(&memory);
    if (error != 0)
        return error;
    struct cfi_cache *cache = capture_cache_take();
    if (cache == NULL)
        return -ENOMEM;
    int kept =
        unwind_self(cache, &memory, pcs, FRAMES_MAX, FRAMES_TAIL, &result);
    capture_cache_give(cache);
    // The first is the place in this very function.
    enum weft_stack_end end = result.frames > (uint64_t)kept ? WEFT_STACK_CUT
                              : result.end == UNWIND_OUTERMOST
                                  ? WEFT_STACK_WHOLE
                                  : WEFT_STACK_BROKEN;
    return keep(pcs + 1, (size_t)kept - 1, end, unwind_end_name(result.end),
                ret_trace);
}
