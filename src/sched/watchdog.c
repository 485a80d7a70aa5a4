// watchdog.c -- Sees to it that work is not bound to a worker that is stuck,
// and notices what may be wrong.
//
// Workers poll the driver and hand on work between two tasks. If a task keeps
// its worker for long, what waits behind it (in `next`, in the queue, in the
// driver) would wait too. Every tick the watchdog looks whether a worker has
// run the same task since the last tick, and something waits for it; if so it
// wakes a sleeper, which searches, steals, and then sleeps in the driver. If
// nobody sleeps, and the task has run for handoff_ns, what waits goes to the
// shared queue; and if its thread sleeps in a system call, its place goes to a
// spare worker (crew.c). It ticks seldom while everyone sleeps. Once a second
// it counts the processors anew.
//
// Of a worker that stays inside a task it notes since when its thread has used
// no processor time. If a dump finds that thread in a system call, and the
// figure still the same, it has sat in this one call for at least so long.
//
//   W1  still_since is stored before still_cpu (release) -> a dump loads
//       still_cpu (acquire), then still_since, which belongs to that figure or
//       is later: the time told may be too short, never too long.
//
// If the runtime is watched, it also tells signs that something may be wrong,
// once a second as long as they last; whoever hears of them looks at the tasks.
//
//   W2  away_until and away_ns say when this thread last came far too late from
//       its sleep, and by how much: the machine, or at least this process, did
//       not run then. Written here alone; relaxed: figures.
//
//   W3  began and looked are when this thread began and when it last looked.
//       Written here alone and read by nobody in this process: a core says by
//       them when it was made, to a tick, and how fast the counter runs.
#include "sched/runtime.h"

enum {
    TICK_NS = 10000000,
    TICK_IDLE_NS = 100000000,
    TICK_LEAST_NS = 1000000,
    AWAY_NS = 100000000, // later than this is more than a busy machine
};

static const int64_t TELL_EVERY_NS = 1000000000;
static const int64_t COUNT_EVERY_NS = 1000000000;

// What the watchdog remembers from tick to tick.
struct dog {
    struct weft_runtime *runtime;
    uint64_t runs[CREW_MAX]; // of each core
    bool moved;              // some worker has run a task since
    int64_t now;
    int64_t moved_at; // when that was last seen
    int64_t told_at;
    int64_t counted_at; // when the processors were
};

static void watch_sleep(struct worker *worker)
{
    int64_t cpu = port_thread_cpu((int)load_relaxed(&worker->tid)); // a figure

    if (cpu < 0 || (uint64_t)cpu == load_relaxed(&worker->still_cpu))
        return;
    store_relaxed(&worker->still_since, port_ticks());
    store_release(&worker->still_cpu, (uint64_t)cpu); // W1
}

static bool has_queued(const struct core *core)
{
    return load_relaxed(&core->next) != NULL || // a figure
           queue_length(&core->queue) > 0;
}

// Whether a worker is where it was at the last tick, inside a task, and keeps
// something from others. Figures a moment old will do: it looks again.
static bool keeps_back(struct dog *dog, uint32_t i)
{
    struct weft_runtime *runtime = dog->runtime;
    struct worker *worker = &runtime->workers[i];
    struct core *core = &runtime->cores[i];
    uint64_t now = load_relaxed(&core->runs);
    bool moved = dog->runs[i] != now;

    dog->runs[i] = now;
    dog->moved |= moved;
    if (!moved && load_relaxed(&worker->current) != NULL)
        watch_sleep(worker);
    return !moved && load_relaxed(&runtime->workers[i].current) != NULL &&
           (has_queued(core) || !driver_is_taken(&runtime->driver));
}

// Whether its thread sleeps in a call, and has done nothing else for as long.
static bool is_stuck(const struct worker *worker, int64_t longer_ns)
{
    int tid = (int)load_relaxed(&worker->tid);           // a figure
    uint64_t since = load_relaxed(&worker->still_since); // our own
    int64_t cpu = port_thread_cpu(tid);

    // The kernel may not say how much time it has used (and a simulation does
    // not): then what counts is how long it has run its task.
    if (cpu >= 0 &&
        ((uint64_t)cpu != load_relaxed(&worker->still_cpu) || // our own
         port_ticks_to_ns(port_ticks() - since) < longer_ns))
        return false;
    return port_thread_sleeps(tid);
}

// A worker that has run one task for handoff_ns, while nobody sleeps who would
// come for what it keeps: those who are busy do, from the shared queue.
static void free_from(struct dog *dog, struct worker *worker)
{
    int64_t limit_ns = dog->runtime->handoff_ns;
    uint64_t since = worker_now(worker);
    uint64_t now = port_ticks();

    if (load_relaxed(&worker->current) == NULL || since >= now || // figures
        port_ticks_to_ns(now - since) < limit_ns)
        return;
    if (load_relaxed(&worker->duty) == DUTY_RUN && // crew.c D3
        is_stuck(worker, limit_ns))
        crew_hand_off(worker);
    else if (load_relaxed(&worker->duty) != DUTY_RUN || // figures
             load_relaxed(&dog->runtime->idle.workers) > 1)
        crew_relieve(worker);
}

static void look_at_workers(struct dog *dog)
{
    struct weft_runtime *runtime = dog->runtime;
    uint32_t count = worker_count(runtime);
    bool stuck = false;

    dog->moved = false;
    for (uint32_t i = 0; i < count; i++) {
        if (!keeps_back(dog, i))
            continue;
        stuck = true;
        if (idle_sleepers(&runtime->idle) == 0)
            free_from(dog, &runtime->workers[i]);
    }
    if (dog->moved)
        dog->moved_at = dog->now;
    if (idle_sleepers(&runtime->idle) == 0)
        crew_fill(runtime);
    else if (stuck)
        sched_notify(runtime);
}

// ---- Signs ----

static bool runs_long(struct weft_runtime *runtime)
{
    uint64_t now = port_ticks();

    uint32_t count = worker_count(runtime);

    for (uint32_t i = 0; i < count; i++) {
        uint64_t since = worker_now(&runtime->workers[i]);
        if (load_relaxed(&runtime->workers[i].duty) == DUTY_RUN && // a figure
            load_relaxed(&runtime->workers[i].current) != NULL && since < now &&
            port_ticks_to_ns(now - since) >= runtime->no_yield_ns)
            return true;
    }
    return false;
}

static bool any_queued(struct weft_runtime *runtime)
{
    bool queued = !inject_empty(&runtime->inject);
    uint32_t count = worker_count(runtime);

    for (uint32_t i = 0; i < count && !queued; i++)
        queued = has_queued(&runtime->cores[i]);
    return queued;
}

static bool has_tasks(struct weft_runtime *runtime)
{
    weft_runtime_metrics metrics;

    return weft_runtime_metrics_get(runtime, &metrics) == 0 &&
           metrics.tasks_live > 0;
}

// What is wrong is read at leisure: none of it needs to be of one moment.
static void tell_signs(struct dog *dog, bool all_sleep)
{
    struct weft_runtime *runtime = dog->runtime;
    int64_t still_ns = dog->now - dog->moved_at;
    enum suspicion suspicion;

    if (dog->now - dog->told_at < TELL_EVERY_NS)
        return;
    if (runs_long(runtime))
        suspicion = SUSPECT_LONG_RUN;
    else if (still_ns >= runtime->ready_ns && any_queued(runtime))
        suspicion = SUSPECT_NO_PROGRESS;
    else if (still_ns >= runtime->asleep_ns && all_sleep &&
             !timers_any(&runtime->driver.timers) && has_tasks(runtime))
        suspicion = SUSPECT_ALL_ASLEEP;
    else
        return;
    dog->told_at = dog->now;
    runtime->suspect(runtime, suspicion);
}

// ---- The loop ----

static struct watch_moment moment(int64_t now)
{
    return (struct watch_moment){port_ticks(), now};
}

static void sleep_until(struct dog *dog, int64_t deadline_ns)
{
    struct weft_runtime *runtime = dog->runtime;

    (void)port_futex_wait(&runtime->watchdog_stop, 0, deadline_ns);
    dog->now = port_now();
    runtime->looked = moment(dog->now); // W3
    if (dog->now - deadline_ns < AWAY_NS)
        return;
    store_relaxed(&runtime->away_ns, (uint64_t)(dog->now - deadline_ns));
    store_relaxed(&runtime->away_until, port_ticks()); // W2
}

// How many processors may be used can change while the program runs: then so
// does the number of places. Beyond the room for workers they are not used.
static void count_cpus(struct dog *dog)
{
    struct weft_runtime *runtime = dog->runtime;

    if (!runtime->follows_cpus || dog->now - dog->counted_at < COUNT_EVERY_NS)
        return;
    dog->counted_at = dog->now;
    uint32_t cpus = port_cpus();
    if (cpus > runtime->crew.room)
        cpus = runtime->crew.room;
    if (cpus != load_relaxed(&runtime->crew.limit)) // a figure: ours alone
        crew_set_limit(runtime, cpus);
}

static int64_t tick_ns(const struct weft_runtime *runtime)
{
    int64_t half = runtime->handoff_ns / 2;

    if (idle_all_asleep(&runtime->idle))
        return TICK_IDLE_NS;
    return half >= TICK_NS        ? TICK_NS
           : half > TICK_LEAST_NS ? half
                                  : TICK_LEAST_NS;
}

void *watchdog_main(void *arg)
{
    struct dog dog = {.runtime = arg, .now = port_now()};
    struct weft_runtime *runtime = arg;

    dog.moved_at = dog.counted_at = dog.now;
    runtime->began = moment(dog.now);                    // W3
    runtime->looked = runtime->began;                    //
    while (load_relaxed(&runtime->watchdog_stop) == 0) { // only an end
        look_at_workers(&dog);
        count_cpus(&dog);
        if (runtime->suspect != NULL)
            tell_signs(&dog, idle_all_asleep(&runtime->idle));
        sleep_until(&dog, port_now() + tick_ns(runtime));
    }
    return NULL;
}
