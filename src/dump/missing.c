// missing.c -- Workers that did not come to the meeting, found where they are.
//
// While the world stands, only their tasks are noted. Where each stands is
// found out when the others run on, for one that runs answers within a tick of
// its processor, some milliseconds later. Until then it may have left its task,
// most of all if it did not come because the system had taken its processor.
// Then the task's stack is read where it is saved; or, if it runs so often that
// it cannot be, by the worker that is about to run it.
//
//   I1  A worker that did not come is inside the task that `current` names, or
//       between two, and begins none before it has met (worker.c C3). It names
//       none before the slot can be another's (sched/spawn.c, hand_over). So a
//       task is known by a generation that was loaded while `current` named it,
//       and what was copied is its own if the generation is the same later.
//   I2  A slot may be another task's by the time, or the same task be in a
//       later run. The count in its state word goes up with each run and never
//       down: what a thread has answered is of the task if the word tells the
//       same run afterwards.
//   M1  turn goes from OPEN to BUSY by whoever captures the stack, by CAS; then
//       to DONE (release) -> the conductor (acquire) sees the stack; or back to
//       OPEN, if it could not be read. Before the conductor uses what is not
//       DONE it makes it BUSY itself, for good.
#include "dump/missing.h"

#include "dump/fp_search.h"
#include "dump/unchecked.h"

static const int64_t STEP_NS = 100000;
enum { TRIES = 100 };

static const char NO_MEMORY[] = "there was no memory for it";
static const char ITSELF[] =
    "it takes this dump by itself: no thread to be had";
static const char ENDED[] = "it ended while it was looked for";
static const char MOVED[] = "it came and went while it was looked for";

enum turn { OPEN, BUSY, DONE };

// ---- While the world stands ----

// What the state word of the copy tells of the run, I2.
static void note_run(struct missing *missing)
{
    uint64_t word = load_relaxed(&missing->running.copy.state); // a copy's
    enum phase phase = STATE_PHASE(word);

    missing->run = STATE_COUNT(word);
    if (phase == PHASE_NEW || phase == PHASE_READY) // its worker has it in hand
        missing->run++;
    missing->ended = phase == PHASE_DONE;
    if (missing->ended)
        missing->running.state = WEFT_STATE_DONE;
}

// False: it has ended meanwhile, and the slot may be another's; or it was seen
// on another worker, which has left it, and is only about to be begun here.
static bool take(struct task *task, uint32_t generation, uint32_t epoch,
                 struct missing *missing)
{
    uint32_t before = load_relaxed(&task->mark); // nobody else moves it now

    if (before == MARK(epoch, MARK_TAKEN))
        return false;
    store_release(&task->mark, MARK(epoch, MARK_TAKEN)); // task.h S1
    capture_facts(task, &missing->running);
    note_run(missing);
    uint64_t word = load_relaxed(&missing->running.copy.state); // a copy's
    lock_pass(&task->lock);                                     // task.h P5
    if (load_relaxed(&task->generation) == generation && // I1; the lock orders
        STATE_PHASE(word) != PHASE_FREE)
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

    if (barrier_place(barrier, index) != PLACE_MISSING)
        return false;
    missing->worker = index;
    missing->task = NULL;
    missing->in_call_ns = 0;
    missing->asked = false;
    store_relaxed(&missing->turn, OPEN); // not shared yet
    missing->where = (struct standing_result){
        .how = STANDING_UNREACHABLE, .why = NO_MEMORY, .call = -1};
    if (task != NULL && load_acquire(&worker->current) == task && // C3, I1
        take(task, generation, epoch, missing))
        missing->task = task;
    return true;
}

uint32_t missing_list(struct weft_runtime *runtime, struct barrier *barrier,
                      uint32_t epoch, struct missing *list)
{
    uint32_t workers = worker_count(runtime);
    uint32_t count = 0;

    for (uint32_t i = 0; i < workers; i++)
        count += note(runtime, barrier, epoch, i, &list[count]);
    return count;
}

// ---- When it runs on ----

// What to ask it by, or NULL.
static struct standing *standing_of(struct weft_runtime *runtime,
                                    const struct missing *missing)
{
    const struct worker *worker = &runtime->workers[missing->worker];

    if (missing->task == NULL || missing->ended || worker == worker_self())
        return NULL;
    return worker->standing;
}

static bool is_about_to_run(const struct missing *missing)
{
    uint64_t word = load_acquire(&missing->task->state); // task.h P1
    enum phase phase = STATE_PHASE(word);

    return STATE_COUNT(word) + 1 == missing->run &&
           (phase == PHASE_NEW || phase == PHASE_READY);
}

// I2.
static bool is_same_run(const struct missing *missing)
{
    uint64_t word = load_acquire(&missing->task->state); // task.h P1
    enum phase phase = STATE_PHASE(word);

    return STATE_COUNT(word) == missing->run &&
           (phase == PHASE_RUNNING || phase == PHASE_PARKING ||
            phase == PHASE_FIRED);
}

static bool is_inside(struct weft_runtime *runtime,
                      const struct missing *missing)
{
    struct worker *worker = &runtime->workers[missing->worker];

    return load_acquire(&worker->current) == missing->task && // worker.c C3
           (is_same_run(missing) || is_about_to_run(missing));
}

static bool take_turn(struct missing *missing)
{
    uint32_t turn = OPEN;

    return cas_acquire(&missing->turn, &turn, BUSY); // M1
}

bool missing_is_found(struct missing *missing)
{
    return missing->ended || load_acquire(&missing->turn) == DONE; // M1
}

void missing_meet(struct missing *list, uint32_t count, struct cfi_cache *cache,
                  const struct task *task)
{
    for (uint32_t i = 0; i < count; i++) {
        struct missing *missing = &list[i];
        if (missing->task != task || task->id != missing->running.copy.id ||
            !take_turn(missing))
            continue;
        capture_saved_stack(cache, task, &missing->running);
        store_release(&missing->turn, DONE); // M1
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
static void read_saved(struct cfi_cache *cache, struct missing *missing)
{
    for (int i = 0; i < TRIES; i++)
        if (capture_saved(cache, missing->task, &missing->running)) {
            store_release(&missing->turn, DONE); // M1
            return;
        }
    store_release(&missing->turn, OPEN); // M1: its worker may do it yet
}

static bool has_ended(const struct missing *missing)
{
    uint64_t word = load_acquire(&missing->task->state); // task.h P1
    uint64_t id;

    copy_words(&id, &missing->task->id, sizeof id);
    return STATE_PHASE(word) == PHASE_DONE || STATE_PHASE(word) == PHASE_FREE ||
           id != missing->running.copy.id; // and the slot is another's
}

// Takes what the thread has answered. True: it is of use, or the last word.
static bool use_answer(const struct picture *picture, struct cfi_cache *cache,
                       struct missing *missing)
{
    struct worker *worker = &picture->runtime->workers[missing->worker];

    standing_take(worker->standing, &missing->where);
    missing->asked = false;
    if (missing->where.how == STANDING_UNREACHABLE)
        return !missing->where.elsewhere;
    if (!is_same_run(missing)) { // I2
        missing->where.how = STANDING_UNREACHABLE;
        missing->where.why = MOVED;
        return false;
    }
    if (!take_turn(missing))
        return true;
    unwind_standing(cache, missing);
    if (missing->where.how == STANDING_IN_CALL)
        missing->in_call_ns = in_call_ns(picture, worker);
    store_release(&missing->turn, DONE); // M1
    return true;
}

static void ask(struct weft_runtime *runtime, struct missing *missing)
{
    const struct task *task = missing->task;

    standing_ask(standing_of(runtime, missing),
                 (uintptr_t)stack_low(task) + stack_guard_size(),
                 (uintptr_t)task->top);
    missing->asked = true;
}

// One look. True: there is no more to be had.
static bool look_for(const struct picture *picture, struct cfi_cache *cache,
                     struct missing *missing)
{
    struct weft_runtime *runtime = picture->runtime;
    struct standing *standing = standing_of(runtime, missing);

    if (missing->task == NULL || missing_is_found(missing))
        return true;
    if (!is_inside(runtime, missing)) {
        missing->where.why = MOVED;
        if (take_turn(missing))
            read_saved(cache, missing);
        return missing_is_found(missing) || has_ended(missing);
    }
    if (standing == NULL)
        return true;
    if (!missing->asked)
        ask(runtime, missing);
    return standing_advance(standing) && use_answer(picture, cache, missing);
}

void missing_ask(struct weft_runtime *runtime, struct missing *list,
                 uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct standing *standing = standing_of(runtime, &list[i]);
        if (&runtime->workers[list[i].worker] == worker_self())
            list[i].where.why = ITSELF;
        if (standing == NULL)
            continue;
        ask(runtime, &list[i]);
        (void)standing_advance(standing);
    }
}

void missing_take(const struct picture *picture, struct cfi_cache *cache,
                  struct missing *list, uint32_t count, int64_t deadline_ns)
{
    atomic_u32 never = 0;
    bool all;

    do {
        all = true;
        for (uint32_t i = 0; i < count; i++)
            all &= look_for(picture, cache, &list[i]);
        if (!all)
            (void)port_futex_wait(&never, 0, port_now() + STEP_NS);
    } while (!all && port_now() < deadline_ns);
    for (uint32_t i = 0; i < count; i++) {
        struct missing *missing = &list[i];
        if (missing->asked) // late, or there was another way
            (void)use_answer(picture, cache, missing);
        if (missing->task != NULL && has_ended(missing))
            missing->where.why = ENDED; // if it is not found
    }
}

// From now on nobody captures its stack any more. True: nobody has. One who is
// at it just now is waited for.
static bool close_turn(struct missing *missing)
{
    atomic_u32 never = 0;

    while (!take_turn(missing)) { // M1
        if (missing_is_found(missing))
            return false;
        (void)port_futex_wait(&never, 0, port_now() + STEP_NS);
    }
    return true;
}

void missing_capture(const struct picture *picture, struct missing *list,
                     uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct missing *missing = &list[i];
        if (missing->task == NULL || missing->task->index >= picture->slots)
            continue;
        if (!missing_is_found(missing) && close_turn(missing))
            missing->running.error = missing->where.why;
        capture_running(picture, &missing->running);
    }
}
