// crew.c -- Which workers run, and who takes the place of one that is stuck.
//
// A runtime has as many places as tasks shall run at once. A worker whose task
// blocks its thread loses its place to a spare one: at once if the task said
// so (weft_blocking_run_here), after handoff_ns if the watchdog finds its
// thread asleep in a system call. It learns of it between two tasks, and then
// takes a free place or becomes a spare itself. That there are fewer places
// than before is the same: somebody loses his.
//
//   D1  idle.workers is how many have duty RUN. Both change together, under the
//       shared queue's lock.
//   D2  Nothing of a worker's is taken from it but what thieves may take as
//       well, so it may come back from its call at any moment, and use its
//       core: that stays its own. Whoever takes its place empties its queue
//       after that, and it does so itself before it sleeps as a spare; what it
//       queues in between, the watchdog sees. So no task is bound to one who
//       does not run.
//   D3  A worker looks at its duty between two tasks. Relaxed: it has changed
//       under the lock, which it takes before it acts; and to be told late is
//       to run one task more.
//   D4  worker_count grows under the lock once a worker has begun (release) ->
//       who loads it (acquire) finds the worker and its core made. Of numbers
//       below, all have been started before.
//
// Rejected: taking the core itself from the stuck one, as Go does. There each
// system call is announced; here it is any code of the program's, which may
// come back and push to the queue while it is being taken: each use of the core
// would have to be guarded, on the hottest paths.
#include "sched/crew.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "sched/runtime.h"

int crew_init(struct crew *crew, uint32_t workers, uint32_t room)
{
    *crew = (struct crew){.room = room};
    store_relaxed(&crew->limit, workers); // not shared yet
    crew->spares = calloc(room, sizeof *crew->spares);
    return crew->spares == NULL ? -ENOMEM : 0;
}

void crew_deinit(struct crew *crew)
{
    free(crew->spares);
}

// ---- Places; the lock is held, save for a guess ----

static bool has_free_place(struct weft_runtime *runtime)
{
    return load_relaxed(&runtime->idle.workers) < // under the lock: D1
           load_relaxed(&runtime->crew.limit);
}

static void take_place(struct worker *worker)
{
    atomic_u32 *taken = &worker->runtime->idle.workers;

    store_relaxed(taken, load_relaxed(taken) + 1); // D1
    store_relaxed(&worker->duty, DUTY_RUN);        // D1, D3
}

static void lose_place(struct worker *worker)
{
    atomic_u32 *taken = &worker->runtime->idle.workers;

    store_relaxed(taken, load_relaxed(taken) - 1); // D1
    store_relaxed(&worker->duty, DUTY_AWAY);       // D1, D3
}

// ---- Threads ----

// The next worker, with a place. NULL: there is no need, or no room.
static struct worker *next_to_hire(struct weft_runtime *runtime)
{
    struct crew *crew = &runtime->crew;
    struct worker *worker = NULL;

    lock_acquire(&runtime->inject.lock);
    if (crew->hired < crew->room && has_free_place(runtime)) {
        worker = &runtime->workers[crew->hired];
        take_place(worker);
    }
    lock_release(&runtime->inject.lock);
    return worker;
}

// False: no thread is to be had, or no memory.
static bool start(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;
    const struct trace_ops *trace = runtime->trace;
    bool counted = worker->index < worker_count(runtime); // one of the first
    char name[16];

    if (!counted && trace != NULL && trace->worker_hired(worker) != 0)
        return false;
    snprintf(name, sizeof name, "weft-%u", worker->index);
    return port_thread_start(&worker->thread, name, worker_main, worker) == 0;
}

// The lock `hiring` is held. False: no thread is to be had.
static bool hire(struct weft_runtime *runtime)
{
    struct worker *worker;

    while (!runtime->crew.ended && (worker = next_to_hire(runtime)) != NULL) {
        if (!start(worker)) {
            lock_acquire(&runtime->inject.lock);
            lose_place(worker);
            lock_release(&runtime->inject.lock);
            return false;
        }
        runtime->crew.hired++;
    }
    return true;
}

bool crew_start(struct weft_runtime *runtime)
{
    struct crew *crew = &runtime->crew;

    lock_acquire(&crew->hiring);
    store_relaxed(&runtime->idle.workers, 0); // not shared yet: hire counts
    bool all = hire(runtime);
    lock_release(&crew->hiring);
    return all;
}

void crew_end(struct weft_runtime *runtime)
{
    struct crew *crew = &runtime->crew;

    lock_acquire(&crew->hiring);
    crew->ended = true;
    lock_release(&crew->hiring);
    lock_acquire(&runtime->inject.lock);
    for (uint32_t i = 0; i < crew->hired; i++)
        if (load_relaxed(&runtime->workers[i].duty) == DUTY_RUN)
            lose_place(&runtime->workers[i]);
    lock_release(&runtime->inject.lock);
    for (uint32_t i = 0; i < crew->hired; i++)
        park_wake(&runtime->workers[i].parker, &runtime->driver);
    for (uint32_t i = 0; i < crew->hired; i++)
        port_thread_join(&runtime->workers[i].thread);
}

void crew_join(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;
    atomic_u32 *count = &runtime->worker_count;

    lock_acquire(&runtime->inject.lock);
    if (load_relaxed(count) <= worker->index)    // under the lock
        store_release(count, worker->index + 1); // D4
    lock_release(&runtime->inject.lock);
}

// ---- Giving a place away ----

void crew_relieve(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;
    struct core *core = &runtime->cores[worker->index];
    struct task_list tasks = {0};
    struct task *next = xchg_acq_rel(&core->next, NULL); // worker.c C1
    uint32_t before;

    if (next != NULL)
        task_list_push(&tasks, next);
    do {
        before = tasks.count;
        queue_pop_batch(&core->queue, &tasks);
    } while (tasks.count > before);
    if (tasks.count == 0)
        return;
    inject_push(&runtime->inject, &tasks);
    sched_notify(runtime);
}

void crew_hand_off(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;
    bool had;

    lock_acquire(&runtime->inject.lock);
    had = load_relaxed(&worker->duty) == DUTY_RUN; // under the lock
    if (had)
        lose_place(worker);
    lock_release(&runtime->inject.lock);
    if (!had)
        return;
    (void)add_relaxed(&runtime->crew.hand_offs, 1); // a figure
    crew_relieve(worker);
    // Whoever sleeps comes for what there is. The place is filled once nobody
    // does: now, or by the watchdog.
    if (idle_sleepers(&runtime->idle) == 0)
        crew_fill(runtime);
    else
        sched_notify(runtime); // events may wait for somebody to poll
}

static struct worker *call_spare(struct weft_runtime *runtime)
{
    struct crew *crew = &runtime->crew;
    struct worker *worker = NULL;

    lock_acquire(&runtime->inject.lock);
    if (crew->count > 0 && has_free_place(runtime)) {
        worker = &runtime->workers[crew->spares[--crew->count]];
        take_place(worker);
    }
    lock_release(&runtime->inject.lock);
    return worker;
}

void crew_fill(struct weft_runtime *runtime)
{
    struct worker *worker;

    if (!has_free_place(runtime)) // figures: who has given one away sees it
        return;
    while ((worker = call_spare(runtime)) != NULL)
        park_wake(&worker->parker, &runtime->driver);
    if (!lock_try(&runtime->crew.hiring))
        return; // another does it
    (void)hire(runtime);
    lock_release(&runtime->crew.hiring);
}

// ---- Coming back ----

bool crew_try_return(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;

    lock_acquire(&runtime->inject.lock);
    bool free_place = has_free_place(runtime);
    if (free_place)
        take_place(worker);
    lock_release(&runtime->inject.lock);
    return free_place;
}

bool crew_return(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;
    struct crew *crew = &runtime->crew;

    crew_relieve(worker); // D2: first, for it may be called at once
    lock_acquire(&runtime->inject.lock);
    bool free_place = has_free_place(runtime);
    if (free_place) {
        take_place(worker);
    } else {
        store_relaxed(&worker->duty, DUTY_SPARE); // D1, D3
        crew->spares[crew->count++] = worker->index;
    }
    lock_release(&runtime->inject.lock);
    if (!free_place)
        sched_notify(runtime); // it may have been the one to poll for events
    return free_place;
}

void crew_set_limit(struct weft_runtime *runtime, uint32_t limit)
{
    uint32_t count = worker_count(runtime);

    lock_acquire(&runtime->inject.lock);
    store_relaxed(&runtime->crew.limit, limit); // under the lock
    for (uint32_t i = count; i-- > 0;) {
        struct worker *worker = &runtime->workers[i];
        if (load_relaxed(&runtime->idle.workers) > limit &&
            load_relaxed(&worker->duty) == DUTY_RUN) // under the lock
            lose_place(worker);
    }
    lock_release(&runtime->inject.lock);
    crew_fill(runtime);
}
