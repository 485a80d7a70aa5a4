// worker.c -- A worker's life: take a task, run it, look elsewhere, sleep.
//
//   C1  A core's `next` holds at most one task, just woken or spawned by the
//       one that runs. Only its owner puts one in; it is taken by exchange, for
//       a thief may take it too, but only when the running task has kept the
//       worker for long: so a task is never bound to wait behind one that does
//       not yield.
//       Tasks in `next` wake nobody: their worker will come to them next. At
//       most NEXT_RUNS_MAX tasks in a row come that way, then the queue.
//   C3  Before a task is run, `current` is stored, then trace_asked loaded; who
//       asks for a dump stores trace_asked, then loads `current` and presence.
//       The worker's side has no fence, for it is on the hottest path: the
//       asking side has one for both (port_barrier_heavy). So a worker that the
//       dump goes on without is either seen inside its task, or sees the dump
//       before it begins another.
//   C4  A task that was chosen when a meeting was asked for is in `hand` while
//       its worker meets; release, so that a leader (acquire) sees its slot.
//   C5  What waits in the shared queue has waited no less than what is queued
//       here. While it is more than there is room for, a worker runs in laps:
//       it takes a share, runs each of it once, and puts what is ready again
//       behind all others. So nobody's turn comes twice before another's: of
//       10,000 that yield, on one worker, none waits for more than 10,100 runs
//       of others. (To make room by moving the oldest of those here, which come
//       next, let some wait for 38,000 and more.) Not while tasks spawn about
//       as many as are run: a tree of them would grow as broad as it can.
//   C2  A task is run with its state set to RUNNING and the count up by one,
//       before its stack is entered; whatever it left behind is looked at
//       only after its stack is left (task.h P1).
#include <errno.h>

#include "sched/runtime.h"

enum {
    NEXT_RUNS_MAX = 16,
#ifdef WEFT_HOSTILE
    BUDGET = 1,
    HOSTILE = true, // thieves look at random; see also migrates
#else
    BUDGET = 128,
    HOSTILE = false,
#endif
    STEAL_NEXT_AFTER_NS = 50000,
};

PORT_THREAD_VARIABLE(struct worker *, self);

// Compilers may keep a thread-local's address across a switch that moves the
// task to another thread: so ask through a call, and let no one see through it.
__attribute__((noinline)) struct worker *worker_self(void)
{
    struct worker *worker = self;

    __asm__ volatile("" : "+r"(worker));
    return worker;
}

void worker_forget(void)
{
    self = NULL;
}

struct task *task_self(void)
{
    struct worker *worker = worker_self();

    return worker == NULL ? NULL : load_relaxed(&worker->current);
}

// A figure: it has one writer at a time, so no read-modify-write is needed.
static void count(atomic_u64 *figure, uint64_t more)
{
    store_relaxed(figure, load_relaxed(figure) + more);
}

// Hostile builds: whether a task that was woken goes on in another worker than
// the one it parked in, if any comes for it.
static bool migrates(const struct weft_runtime *runtime)
{
    return HOSTILE && runtime->migrates;
}

// ---- Putting tasks into queues ----

static void push_local(struct weft_runtime *runtime, struct core *core,
                       struct task *task, bool seen)
{
    while (!queue_push(&core->queue, task, seen)) {
        struct task_list oldest = {0};
        queue_pop_batch(&core->queue, &oldest);
        if (oldest.count == 0)
            continue; // thieves made room
        task_list_push(&oldest, task);
        inject_push(&runtime->inject, &oldest);
        count(&core->overflows, 1);
        break;
    }
    count(&core->local_schedules, 1);
}

void sched_notify(struct weft_runtime *runtime)
{
    uint32_t index;

    if (idle_pick(&runtime->idle, &index))
        park_wake(&runtime->workers[index].parker, &runtime->driver);
}

// The newest goes into `next`; the one it displaces into the queue, where
// others may take it, so one of them is told.
static void schedule_next(struct worker *worker, struct core *core,
                          struct task *task)
{
    struct task *before = load_relaxed(&core->next); // NULL is stable: C1

    if (before == NULL) {
        store_release(&core->next, task); // C1
        return;
    }
    before = xchg_acq_rel(&core->next, task); // C1
    if (before == NULL)
        return;
    push_local(worker->runtime, core, before, true);
    sched_notify(worker->runtime);
}

static void schedule_outside(struct weft_runtime *runtime,
                             struct task_list *tasks)
{
    // Once pushed, the tasks may run, end, and the runtime with them.
    // Relaxed: the shared queue's lock shows it with the tasks, S3.
    (void)add_relaxed(&runtime->visitors, 1);
    inject_push(&runtime->inject, tasks);
    sched_notify(runtime);
    (void)sub_acq_rel(&runtime->visitors, 1); // shutdown.c S3: the last touch
}

// Tells dumps when a task was put into a queue.
static void note_woken(struct task *task, uint64_t now)
{
    if (DUMPS_SERVED)
        store_relaxed(&task->woken, now); // a figure
}

void sched_schedule(struct task *task)
{
    struct worker *worker = worker_self();

    if (worker != NULL && worker->runtime->tag == task->tag &&
        worker->core != NULL && !migrates(worker->runtime)) {
        note_woken(task, worker_now(worker));
        schedule_next(worker, worker->core, task);
        return;
    }
    struct task_list one = {0};
    note_woken(task, port_ticks());
    task_list_push(&one, task);
    schedule_outside(runtime_of(task), &one);
}

void sched_schedule_list(struct weft_runtime *runtime, struct task_list *tasks)
{
    struct worker *worker = worker_self();
    uint64_t now = port_ticks();

    if (tasks->count == 0)
        return;
    for (struct task *task = tasks->head; task != NULL; task = task->next)
        note_woken(task, now);
    if (worker == NULL || worker->runtime != runtime || worker->core == NULL) {
        schedule_outside(runtime, tasks);
        return;
    }
    struct task *task;
    while ((task = task_list_pop(tasks)) != NULL)
        push_local(runtime, worker->core, task, true);
    // This worker runs one of them next, or one that was there before; if
    // that keeps it, somebody must know of the others.
    if (queue_length(&worker->core->queue) > 1)
        sched_notify(runtime);
}

// ---- Taking part in a dump ----

static void meet(struct worker *worker)
{
    struct core *core = worker->core;

    worker->core = NULL;
    core = worker->runtime->trace->trace_core(worker, core);
    worker->core = core;
    worker_set_now(worker, port_ticks());
}

static bool meeting_asked(struct weft_runtime *runtime)
{
    uint32_t asked = load_seq_cst(&runtime->trace_asked); // rendezvous.c P1

    return DUMPS_SERVED && asked == TRACE_MEETING;
}

// A share of the capture, if one goes on and there is any left.
static bool capture_some(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;
    uint32_t asked = load_seq_cst(&runtime->trace_asked); // rendezvous.c P2

    if (asked != TRACE_CAPTURE || !runtime->trace->capture_some(worker))
        return false;
    worker_set_now(worker, port_ticks());
    return true;
}

// ---- Running a task ----

void sched_leave(struct worker *worker, struct task *task, enum leaving leaving)
{
    worker->leaving = leaving;
    fiber_leave(&task->top->fiber, &worker->fiber, leaving == LEAVE_DONE);
    task_switch(&task->sp, worker->sp);
    // Perhaps another worker by now: nothing of the old one may be used.
    sched_arrive(task);
}

void sched_arrive(struct task *task)
{
    if (FIBERS_ANNOUNCED)
        fiber_enter(&worker_self()->fiber, &task->top->fiber);
}

void sched_spend(void)
{
    struct worker *worker = worker_self();

    if (worker != NULL && worker->core != NULL && --worker->core->budget == 0)
        sched_leave(worker, load_relaxed(&worker->current), LEAVE_YIELD);
}

// ---- Blocking in place ----

bool sched_step_aside(void)
{
    struct worker *worker = worker_self();

    if (worker->core == NULL)
        return false;
    worker->core = NULL; // what it makes ready is for those who run
    crew_hand_off(worker);
    return true;
}

void sched_step_back(void)
{
    struct worker *worker = worker_self();

    worker->core = &worker->runtime->cores[worker->index];
    if (load_relaxed(&worker->duty) == DUTY_RUN || // crew.c D3
        crew_try_return(worker))
        return;
    sched_leave(worker, load_relaxed(&worker->current), LEAVE_YIELD);
}

// ---- After a task has left ----

static void yielded(struct worker *worker, struct core *core, struct task *task)
{
    struct weft_runtime *runtime = worker->runtime;

    task_set_phase(task, 0, PHASE_READY);
    // Whoever was in the queue was announced when it came. Only if that has
    // led nobody here, tell again; should this be missed, the watchdog sees.
    push_local(runtime, core, task, false);
    if (idle_sleepers(&runtime->idle) > 0 && queue_length(&core->queue) > 1)
        sched_notify(runtime);
}

// task.h P2: a cancel that came before the wait was there to be ended. If the
// task has been woken meanwhile, and is another's by now, the firing is lost.
static void check_canceled(struct task *task, uint64_t waiting)
{
    if (!cancel_reaches(load_seq_cst(&task->canceled), // P2
                        (uint32_t)STATE_OUTCOME(waiting)))
        return;
    if (waiter_fire_word(task, waiting, ECANCELED) == FIRED_READY)
        sched_schedule(task);
}

// The task has announced its wait and is saved now; or was fired meanwhile.
static void parked(struct worker *worker, struct core *core, struct task *task)
{
    uint64_t word = load_relaxed(&task->state); // a guess: the CAS orders
    uint64_t waiting = (word & ~UINT64_C(0xff)) | PHASE_WAITING;

    if (STATE_PHASE(word) == PHASE_PARKING &&
        cas_seq_cst(&task->state, &word, waiting)) { // task.h I1, P1, P2
        if (migrates(worker->runtime))
            worker->shunned = task;
        check_canceled(task, waiting);
        return;
    }
    word = load_acquire(&task->state); // task.h P1: FIRED, so ours again
    task_set_phase(task, STATE_OUTCOME(word), PHASE_READY);
    schedule_next(worker, core, task);
}

// C3: says what it is about to run; then what is asked for.
static enum trace_asked announce(struct worker *worker, struct task *task)
{
    store_release(&worker->current, task); // C3: with now
    if (!DUMPS_SERVED)
        return TRACE_NONE;
    port_barrier_light();                               // C3
    return load_acquire(&worker->runtime->trace_asked); // C3, rendezvous.c P2
}

// Out of the way of those who find nothing asked for: in line it made each
// yield 0.7 ns longer.
__attribute__((noinline)) static void serve_dump(struct worker *worker,
                                                 struct task *task,
                                                 enum trace_asked asked)
{
    while (asked == TRACE_MEETING) {
        store_relaxed(&worker->current, NULL);
        store_release(&worker->hand, task); // C4
        meet(worker);
        store_relaxed(&worker->hand, NULL); // C4: nothing to be seen
        asked = announce(worker, task);
    }
    if (asked == TRACE_CAPTURE)
        worker->runtime->trace->before_run(worker, task); // rendezvous.c P2
}

// Commits to running a task; a dump that is asked for comes first.
static void commit(struct worker *worker, struct task *task)
{
    enum trace_asked asked = announce(worker, task);

    if (__builtin_expect(asked != TRACE_NONE, 0))
        serve_dump(worker, task, asked);
}

// Tells dumps when a task left its worker, and after how long.
static void note_run(struct task *task, uint64_t now, uint64_t ran)
{
    count(&task->cpu, ran);
    store_relaxed(&task->since, now); // a figure
}

static void run(struct worker *worker, struct task *task)
{
    commit(worker, task);

    struct core *core = worker->core;
    uint64_t word = load_relaxed(&task->state); // ours: it came from a queue
    uint64_t began = worker_now(worker);

    store_release(&task->state,
                  STATE(STATE_COUNT(word) + 1, STATE_OUTCOME(word),
                        PHASE_RUNNING)); // C2
    core->budget = BUDGET;
    fiber_leave(&worker->fiber, &task->top->fiber, false);
    switch_enter(&worker->sp, task->sp);
    fiber_enter(&task->top->fiber, &worker->fiber);

    uint64_t now = port_ticks();
    worker_set_now(worker, now);
    if (DUMPS_SERVED)
        note_run(task, now, now - began);
    count(&core->busy, now - began);
    count(&core->runs, 1);
    switch (worker->leaving) {
    case LEAVE_YIELD:
        yielded(worker, core, task);
        break;
    case LEAVE_PARK:
        parked(worker, core, task);
        break;
    case LEAVE_DONE:
        task_finish(worker, core, task);
        break;
    }
    // Only now: a meeting that this worker missed finds each task that is
    // neither queued nor waiting in some worker's `current`.
    store_release(&worker->current, NULL); // C3
}

// ---- Finding a task ----

static struct task *take_next(struct core *core)
{
    if (load_relaxed(&core->next) == NULL) // a guess: the exchange decides
        return NULL;
    // Relaxed: who has put it there is this worker itself, C1.
    return xchg_relaxed(&core->next, NULL);
}

static struct task *take_local(struct core *core)
{
    struct task *task = NULL;

    if (core->next_runs < NEXT_RUNS_MAX) {
        task = take_next(core);
        if (task != NULL) {
            core->next_runs++;
            return task;
        }
    }
    core->next_runs = 0;
    task = queue_pop(&core->queue);
    return task != NULL ? task : take_next(core);
}

// Takes this worker's share of the shared queue; runs the first of it.
static struct task *take_injected(struct worker *worker, uint32_t max)
{
    struct weft_runtime *runtime = worker->runtime;
    struct task_list taken = {0};

    inject_pop(&runtime->inject, max, &taken);
    struct task *first = task_list_pop(&taken);
    struct task *task;
    while ((task = task_list_pop(&taken)) != NULL)
        push_local(runtime, worker->core, task, true);
    // Whoever went to sleep while the others were in hand saw neither queue
    // hold them; and the first may keep this worker from those behind it.
    if (first != NULL && queue_length(&worker->core->queue) > 0)
        sched_notify(runtime);
    return first;
}

// Of the shared queue, for each worker that runs.
static uint32_t per_worker(struct weft_runtime *runtime)
{
    uint32_t length = load_relaxed(&runtime->inject.length); // only a size
    uint32_t workers = load_relaxed(&runtime->idle.workers); // a figure

    return length / (workers > 0 ? workers : 1) + 1;
}

static uint32_t injected_share(struct weft_runtime *runtime)
{
    uint32_t share = per_worker(runtime);

    return share < QUEUE_BATCH ? share : QUEUE_BATCH;
}

static uint64_t random_next(struct core *core)
{
    core->random ^= core->random << 13;
    core->random ^= core->random >> 7;
    core->random ^= core->random << 17;
    return core->random;
}

uint64_t sched_random(void)
{
    struct worker *worker = worker_self();

    return worker == NULL || worker->core == NULL ? port_random()
                                                  : random_next(worker->core);
}

static struct task *steal_from(struct worker *worker, struct core *victim)
{
    struct core *core = worker->core;
    uint32_t stolen;
    struct task *task = queue_steal(&victim->queue, &core->queue, &stolen);

    if (task != NULL) {
        count(&core->steals, stolen);
        count(&core->steal_operations, 1);
    }
    return task;
}

// C1: takes what waits behind a task that has run for long.
static struct task *steal_next(struct worker *worker, struct worker *victim,
                               struct core *core)
{
    uint64_t since = worker_now(victim);
    uint64_t now = port_ticks();

    if (load_relaxed(&core->next) == NULL || now < since ||
        port_ticks_to_ns(now - since) < STEAL_NEXT_AFTER_NS)
        return NULL;
    struct task *task = xchg_acq_rel(&core->next, NULL); // C1
    if (task != NULL) {
        count(&worker->core->steals, 1);
        count(&worker->core->steal_operations, 1);
    }
    return task;
}

static struct task *steal(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;
    uint32_t workers = worker_count(runtime);
    uint32_t start = (uint32_t)(random_next(worker->core) % workers);
    struct task *task;

    for (uint32_t i = 0; i < 2 * workers; i++) {
        uint32_t at =
            (HOSTILE ? (uint32_t)random_next(worker->core) : start + i) %
            workers;
        struct core *victim = &runtime->cores[at];
        if (at == worker->index)
            continue;
        task = i < workers ? steal_from(worker, victim)
                           : steal_next(worker, &runtime->workers[at], victim);
        if (task != NULL)
            return task;
    }
    return NULL;
}

static struct task *search(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;
    struct task *task = take_injected(worker, injected_share(runtime));

    if (task != NULL)
        return task;
    if (!worker->searching && !idle_try_search(&runtime->idle))
        return NULL;
    worker->searching = true;
    task = steal(worker);
    return task != NULL ? task : take_injected(worker, injected_share(runtime));
}

static void end_search(struct worker *worker)
{
    if (!worker->searching)
        return;
    worker->searching = false;
    if (idle_end_search(&worker->runtime->idle))
        sched_notify(worker->runtime); // idle.c H3
}

// ---- Looking elsewhere between two tasks ----

static void poll_driver(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;
    struct task_list ready = {0};

    if (!driver_try_take(&runtime->driver))
        return;
    driver_poll(&runtime->driver, 0, &ready);
    driver_give(&runtime->driver);
    sched_schedule_list(runtime, &ready);
}

// C5: has the next look come when the lap is over.
static void look_after_lap(struct core *core)
{
    uint64_t left = core->lap_end - load_relaxed(&core->queue.head); // a guess
    uint32_t interval = core->stats.interval;

    if (left + 1 < interval)
        core->tick = interval - (uint32_t)left - 1;
}

// C5: all that is queued here goes behind the shared queue; what is in `next`,
// too, for with laps of no length there is no other turn for it.
static void give_back(struct weft_runtime *runtime, struct core *core)
{
    struct task_list oldest = {0};
    uint32_t left = queue_length(&core->queue);
    struct task *next;

    while (oldest.count < left) {
        uint32_t before = oldest.count;
        queue_pop_batch(&core->queue, &oldest);
        if (oldest.count == before)
            break; // thieves were faster
    }
    if (load_relaxed(&core->next) != NULL &&              // NULL is stable: C1
        (next = xchg_acq_rel(&core->next, NULL)) != NULL) // C1
        task_list_push(&oldest, next);
    if (oldest.count == 0)
        return;
    inject_push(&runtime->inject, &oldest);
    sched_notify(runtime);
}

// C5: whether those that ran since the last look have spawned about as many.
static bool breeds(struct core *core)
{
    uint64_t runs = load_relaxed(&core->runs);       // our own
    uint64_t spawned = load_relaxed(&core->spawned); // our own
    bool many =
        2 * (spawned - core->looked_spawned) >= runs - core->looked_runs;

    core->looked_runs = runs;
    core->looked_spawned = spawned;
    return many;
}

// The shared queue's turn.
static struct task *take_turn(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;
    struct core *core = worker->core;
    uint32_t room = QUEUE_CAP - queue_length(&core->queue);
    uint32_t share = injected_share(runtime);
    bool grows = breeds(core);
    bool in_lap = core->in_lap;

    core->in_lap = !grows && per_worker(runtime) > room;
    if (!core->in_lap)
        return take_injected(worker, share < room ? share : room + 1);
    struct task *task = NULL;
    if (!in_lap) {
        core->lap_end = load_relaxed(&core->queue.tail); // our own
    } else if ((int64_t)(load_relaxed(&core->queue.head) - core->lap_end) >=
               0) {
        give_back(runtime, core);
        task = take_injected(worker, injected_share(runtime));
        core->lap_end = load_relaxed(&core->queue.tail); // our own
    }
    look_after_lap(core);
    return task;
}

// Every so many ticks: events, timers, and the shared queue's turn.
static struct task *look_elsewhere(struct worker *worker)
{
    struct core *core = worker->core;

    stats_update(&core->stats, load_relaxed(&core->runs),
                 load_relaxed(&core->busy)); // our own
    store_relaxed(&core->mean_run_ns, (uint64_t)core->stats.mean_run_ns);
    poll_driver(worker);
    return take_turn(worker);
}

// ---- Sleeping ----

// idle.c H1: what a worker must look at before it sleeps.
static bool work_anywhere(struct weft_runtime *runtime)
{
    if (!inject_empty(&runtime->inject))
        return true;
    uint32_t count = worker_count(runtime);
    for (uint32_t i = 0; i < count; i++)
        if (queue_length(&runtime->cores[i].queue) > 0)
            return true;
    return false;
}

static void look_around(struct weft_runtime *runtime)
{
    if (work_anywhere(runtime))
        sched_notify(runtime);
}

static void come_in(struct worker *worker)
{
    store_seq_cst(&worker->presence, PRESENCE_IN); // rendezvous.c P1
    while (meeting_asked(worker->runtime))
        meet(worker);
}

// A dump asked for just now may have counted on this worker: so whoever goes
// out looks at trace_asked afterwards, and comes in again if it is set.
static void go_out(struct worker *worker)
{
    store_seq_cst(&worker->presence, PRESENCE_OUT); // rendezvous.c P1
}

// Sleeps once, in the driver unless that is NULL. While it is out, a dump goes
// on without it.
static void sleep_once(struct worker *worker, struct driver *driver,
                       struct task_list *ret_ready)
{
    go_out(worker);
    if (!meeting_asked(worker->runtime)) {
        count(&worker->core->parks, 1);
        park_sleep(&worker->parker, driver, ret_ready);
    }
    come_in(worker);
}

static bool ended(struct weft_runtime *runtime)
{
    // Relaxed: it is only an end, and park.c K2 shows it to one that sleeps.
    return load_relaxed(&runtime->phase) == RUNTIME_ENDED;
}

static void rest(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;
    bool searching = worker->searching;

    worker->searching = false;
    idle_enter(&runtime->idle, worker->index, searching);
    look_around(runtime); // idle.c H1
    for (;;) {
        struct task_list ready = {0};
        sleep_once(worker, &runtime->driver, &ready);
        bool has_work = ready.count > 0 || ended(runtime);
        sched_schedule_list(runtime, &ready);
        worker->searching = idle_leave(&runtime->idle, worker->index, has_work);
        if (has_work || worker->searching)
            break;
        count(&worker->core->noop_parks, 1);
    }
    worker_set_now(worker, port_ticks());
}

// Its place was given away: takes one that is free, or sleeps as a spare until
// it gets one. False: the runtime has ended.
__attribute__((noinline)) static bool stand_by(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;
    struct task_list none = {0};

    worker->core = &runtime->cores[worker->index]; // it may have parked in a
                                                   // blocking section
    end_search(worker);
    if (!ended(runtime) && !crew_return(worker))
        while (load_relaxed(&worker->duty) != DUTY_RUN && // crew.c D3
               !ended(runtime))
            sleep_once(worker, NULL, &none);
    worker_set_now(worker, port_ticks());
    return !ended(runtime);
}

// ---- The loop ----

// Gives a task that has parked here away, and some time to whoever comes for
// it. Nothing comes of it where the others are busy, for it is shunned once.
static void give_away(struct worker *worker, struct task *task)
{
    struct weft_runtime *runtime = worker->runtime;
    struct task_list one = {0};

    worker->shunned = NULL;
    task_list_push(&one, task);
    inject_push(&runtime->inject, &one);
    sched_notify(runtime);
    for (int i = 0; i < 5000 && !inject_empty(&runtime->inject); i++)
        port_pause();
}

static struct task *find(struct worker *worker)
{
    struct core *core = worker->core;
    struct task *task = NULL;

    if (++core->tick >= core->stats.interval) {
        core->tick = 0;
        task = look_elsewhere(worker);
    }
    if (task == NULL)
        task = take_local(core);
    if (task == NULL)
        task = search(worker);
    if (HOSTILE && task != NULL && task == worker->shunned) {
        give_away(worker, task);
        task = search(worker);
    }
    return task;
}

static void work(struct worker *worker)
{
    // crew.c D3; at the end nobody has a place.
    while (load_relaxed(&worker->duty) == DUTY_RUN || stand_by(worker)) {
        struct task *task = find(worker);
        if (task != NULL) {
            end_search(worker);
            run(worker, task);
        } else if (!capture_some(worker)) {
            rest(worker);
        }
    }
}

void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct weft_runtime *runtime = worker->runtime;

    self = worker;
    store_relaxed(&worker->tid, (uint32_t)port_thread_id()); // a figure
    fiber_init_thread(&worker->fiber);
    if (runtime->trace != NULL)
        runtime->trace->worker_begins(worker);
    worker_set_now(worker, port_ticks());
    crew_join(worker);
    come_in(worker);
    work(worker);
    go_out(worker);
    while (meeting_asked(runtime)) {
        come_in(worker);
        go_out(worker);
    }
    if (runtime->trace != NULL)
        runtime->trace->worker_ends(worker);
    return NULL;
}
