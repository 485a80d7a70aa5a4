// missing.c -- Workers that did not come to the meeting, found where they are.
//
//   I1  A worker that did not come is inside the task that `current` names, or
//       between two, and begins none before it has met (worker.c C3). So once
//       the meeting is closed, `current` can only become NULL, or stay.
//   I2  A task is claimed for such a worker last, when it is known that it is
//       still inside: who came late has saved its task, and that one is
//       captured as any other.
#include "dump/missing.h"

#include "dump/fp_search.h"

static const int64_t STEP_NS = 50000;

static void ask(struct weft_runtime *runtime, struct missing *missing)
{
    struct worker *worker = &runtime->workers[missing->worker];
    struct task *task = load_acquire(&worker->current); // worker.c C3

    missing->task = task;
    missing->found = false;
    if (task != NULL && worker->standing != NULL)
        standing_ask(worker->standing,
                     (uintptr_t)stack_low(task) + stack_guard_size(),
                     (uintptr_t)task->top);
}

static uint32_t list_missing(struct weft_runtime *runtime,
                             struct barrier *barrier, struct missing *list)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < runtime->worker_count; i++)
        if (!barrier_has(barrier, i)) {
            list[count].worker = i;
            ask(runtime, &list[count++]);
        }
    return count;
}

// Whether there is no more to be found out about it.
static bool advance(struct weft_runtime *runtime, struct barrier *barrier,
                    struct missing *missing)
{
    struct worker *worker = &runtime->workers[missing->worker];

    return missing->task == NULL || worker->standing == NULL ||
           load_acquire(&worker->current) != missing->task || // worker.c C3
           barrier_has(barrier, missing->worker) ||
           standing_advance(worker->standing);
}

static void await(struct weft_runtime *runtime, struct barrier *barrier,
                  int64_t deadline_ns, struct missing *list, uint32_t count)
{
    atomic_u32 never = 0;

    for (;;) {
        bool all = true;
        for (uint32_t i = 0; i < count; i++)
            all &= advance(runtime, barrier, &list[i]);
        if (all || port_now() >= deadline_ns)
            return;
        (void)port_futex_wait(&never, 0, port_now() + STEP_NS);
    }
}

// I2. False: it has come, or left its task.
static bool claim(struct weft_runtime *runtime, struct barrier *barrier,
                  uint32_t epoch, struct missing *missing)
{
    struct worker *worker = &runtime->workers[missing->worker];
    struct task *task = missing->task;

    if (task != NULL && worker->standing != NULL)
        standing_take(worker->standing, &missing->where);
    else
        missing->where = (struct standing_result){
            .how = STANDING_UNREACHABLE, .why = "there is no memory for it"};
    if (barrier_has(barrier, missing->worker))
        return false;
    if (load_acquire(&worker->current) != task) // worker.c C3
        missing->task = NULL;
    if (missing->task == NULL)
        return true;
    store_release(&task->mark, MARK(epoch, MARK_TAKEN)); // task.h S1
    capture_facts(task, &missing->running);
    missing->found = missing->where.how != STANDING_UNREACHABLE;
    return true;
}

uint32_t missing_find(struct weft_runtime *runtime, struct barrier *barrier,
                      uint32_t epoch, int64_t deadline_ns, struct missing *list)
{
    uint32_t count = list_missing(runtime, barrier, list);
    uint32_t kept = 0;

    await(runtime, barrier, deadline_ns, list, count);
    for (uint32_t i = 0; i < count; i++)
        if (claim(runtime, barrier, epoch, &list[i]))
            list[kept++] = list[i];
    return kept;
}

// The bytes may end before the stack does.
static const char *explain_end(const struct missing *missing,
                               const struct unwind_result *result,
                               const char *error)
{
    if (result->end == UNWIND_OUTSIDE &&
        missing->where.memory.hi < (uintptr_t)missing->task->top)
        return "deeper than what is copied of a task that runs";
    return error;
}

static void unwind_standing(struct cfi_cache *cache, struct missing *missing)
{
    const struct standing_result *where = &missing->where;
    struct running *running = &missing->running;
    struct unwind_result result = {0};
    int kept = (where->regs.valid >> CFI_FP & 1 ? unwind : fp_search_unwind)(
        cache, &where->regs, &where->memory, running->pcs, FRAMES_MAX,
        FRAMES_TAIL, &result);

    running->error =
        explain_end(missing, &result,
                    capture_kept(&result, kept, running->pcs, &running->stack));
    running->stack_used = (uint32_t)((uintptr_t)stack_high(missing->task) -
                                     where->regs.reg[CFI_SP]);
}

void missing_capture(const struct picture *picture, struct cfi_cache *cache,
                     struct missing *missing)
{
    if (missing->task == NULL || missing->task->index >= picture->slots)
        return;
    if (missing->found)
        unwind_standing(cache, missing);
    else
        missing->running.error = missing->where.why;
    capture_running(picture, &missing->running);
}
