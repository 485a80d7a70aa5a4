// missing.c -- Workers that did not come to the meeting, found where they are.
//
// While the world stands, only their tasks are noted. Where each stands is
// found out when the others run on, for one that runs answers within a tick of
// its processor, some milliseconds later. Until then it may have left its task;
// that is then read where it was saved.
//
//   I1  A worker that did not come is inside the task that `current` names, or
//       between two, and begins none before it has met (worker.c C3). It names
//       none before the slot can be another's (sched/spawn.c, hand_over). So a
//       task is known by a generation that was loaded while `current` named it,
//       and what was copied is its own if the generation is the same later.
#include "dump/missing.h"

#include "dump/fp_search.h"

static const int64_t STEP_NS = 100000;
enum { TRIES = 100 };

static const char NO_MEMORY[] = "there was no memory for it";
static const char MOVED[] = "it came and went while it was looked for";

// ---- While the world stands ----

// False: it has ended meanwhile, and the slot may be another's; or it was seen
// on another worker, which has left it, and is only about to be begun here.
static bool take(struct task *task, uint32_t generation, uint32_t epoch,
                 struct running *ret_running)
{
    uint32_t before = load_relaxed(&task->mark); // nobody else moves it now

    if (before == MARK(epoch, MARK_TAKEN))
        return false;
    store_release(&task->mark, MARK(epoch, MARK_TAKEN)); // task.h S1
    capture_facts(task, ret_running);
    enum phase phase = STATE_PHASE(load_relaxed(&ret_running->copy.state));
    // Nothing changes, but the reads come before it: release.
    if (cas_acq_rel(&task->generation, &generation, generation) && // I1
        phase != PHASE_FREE)
        return true;
    store_release(&task->mark, before); // task.h S1
    return false;
}

// I1. False: it came late.
static bool note(struct weft_runtime *runtime, struct barrier *barrier,
                 uint32_t epoch, uint32_t index, struct missing *missing)
{
    struct worker *worker = &runtime->workers[index];
    struct task *task = load_acquire(&worker->current); // worker.c C3
    uint32_t generation = task == NULL ? 0 : load_acquire(&task->generation);

    if (barrier_has(barrier, index))
        return false;
    missing->worker = index;
    missing->task = NULL;
    missing->in_call_ns = 0;
    missing->where = (struct standing_result){
        .how = STANDING_UNREACHABLE, .why = NO_MEMORY, .call = -1};
    if (task != NULL && load_acquire(&worker->current) == task && // C3, I1
        take(task, generation, epoch, &missing->running))
        missing->task = task;
    return true;
}

uint32_t missing_list(struct weft_runtime *runtime, struct barrier *barrier,
                      uint32_t epoch, struct missing *list)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < runtime->worker_count; i++)
        count += note(runtime, barrier, epoch, i, &list[count]);
    return count;
}

// ---- When it runs on ----

static struct standing *standing_of(struct weft_runtime *runtime,
                                    const struct missing *missing)
{
    return missing->task == NULL ? NULL
                                 : runtime->workers[missing->worker].standing;
}

void missing_ask(struct weft_runtime *runtime, struct missing *list,
                 uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct standing *standing = standing_of(runtime, &list[i]);
        const struct task *task = list[i].task;
        if (standing == NULL)
            continue;
        standing_ask(standing, (uintptr_t)stack_low(task) + stack_guard_size(),
                     (uintptr_t)task->top);
        (void)standing_advance(standing);
    }
}

static bool is_inside(struct weft_runtime *runtime,
                      const struct missing *missing)
{
    struct worker *worker = &runtime->workers[missing->worker];

    return load_acquire(&worker->current) == missing->task; // worker.c C3
}

static void await(struct weft_runtime *runtime, struct missing *list,
                  uint32_t count, int64_t deadline_ns)
{
    atomic_u32 never = 0;

    for (;;) {
        bool all = true;
        for (uint32_t i = 0; i < count; i++) {
            struct standing *standing = standing_of(runtime, &list[i]);
            all &= standing == NULL || !is_inside(runtime, &list[i]) ||
                   standing_advance(standing);
        }
        if (all || port_now() >= deadline_ns)
            return;
        (void)port_futex_wait(&never, 0, port_now() + STEP_NS);
    }
}

// For how long at least the worker has sat in its call; 0: not known.
static int64_t in_call_ns(const struct picture *picture,
                          const struct worker *worker)
{
    uint64_t cpu = load_acquire(&worker->still_cpu); // watchdog.c W1
    int64_t now = port_thread_cpu((int)load_relaxed(&worker->tid)); // constant
    uint64_t since = load_relaxed(&worker->still_since);            // W1

    if (now < 0 || (uint64_t)now != cpu || since >= picture->now)
        return 0;
    return port_ticks_to_ns(picture->now - since);
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

// It has left its worker since: where it is saved, if it does not run again.
static bool read_saved(struct cfi_cache *cache, struct missing *missing)
{
    for (int i = 0; i < TRIES; i++)
        if (capture_saved(cache, missing->task, &missing->running)) {
            missing->where.how = STANDING_HELD;
            return true;
        }
    return false;
}

static void find_stack(struct weft_runtime *runtime, struct cfi_cache *cache,
                       struct missing *missing)
{
    struct standing *standing = standing_of(runtime, missing);
    bool left = !is_inside(runtime, missing);

    if (standing != NULL)
        standing_take(standing, &missing->where);
    if (missing->where.how != STANDING_UNREACHABLE)
        unwind_standing(cache, missing);
    else if (left && !read_saved(cache, missing))
        missing->where.why = MOVED;
    if (missing->where.how == STANDING_UNREACHABLE)
        missing->running.error = missing->where.why;
}

void missing_take(const struct picture *picture, struct cfi_cache *cache,
                  struct missing *list, uint32_t count, int64_t deadline_ns)
{
    struct weft_runtime *runtime = picture->runtime;

    await(runtime, list, count, deadline_ns);
    for (uint32_t i = 0; i < count; i++) {
        struct missing *missing = &list[i];
        if (missing->task == NULL || missing->task->index >= picture->slots)
            continue;
        find_stack(runtime, cache, missing);
        if (missing->where.how == STANDING_IN_CALL)
            missing->in_call_ns =
                in_call_ns(picture, &runtime->workers[missing->worker]);
        capture_running(picture, &missing->running);
    }
}
