// runtime.c -- Scenarios of the whole scheduler: workers run tasks.
//
// The workers are sched/worker.c's own, each a thread of the explorer; only the
// watchdog is left out, which would look for ever. At the end all of them must
// sleep, with every task done.
#include <weft/weft.h>

#include <errno.h>
#include <string.h>

#include "dump/barrier.h"
#include "explore/explore.h"
#include "sched/runtime.h"

enum { WHILE_NS = 1000000 };

static weft_runtime runtime;

static void run_worker(void *arg)
{
    (void)worker_main(arg);
}

static void prepare(uint32_t workers)
{
    memset(&runtime, 0, sizeof runtime);
    runtime.stack_class = STACK_CLASS_MIN;
    runtime.max_tasks = TABLE_MAX;
    explore_expect(runtime_init(&runtime, workers) == 0);
}

static void begin(uint32_t workers)
{
    static const char *names[] = {"worker 0", "worker 1"};

    prepare(workers);
    for (uint32_t i = 0; i < workers; i++)
        explore_start_daemon(names[i], run_worker, &runtime.workers[i]);
}

static void end(void)
{
    uint64_t finished = 0;
    uint64_t spawned = runtime.outside;

    for (uint32_t i = 0; i < runtime.worker_count; i++) {
        finished += load_relaxed(&runtime.cores[i].finished);
        spawned += load_relaxed(&runtime.cores[i].spawned);
        explore_expect(queue_length(&runtime.cores[i].queue) == 0);
    }
    explore_expect(finished == spawned);
    explore_expect(inject_empty(&runtime.inject));
    runtime_close(&runtime);
    runtime_deinit(&runtime);
}

static weft_task spawn(weft_task_fn *fn, void *arg)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};
    weft_task task;

    explore_expect(weft_task_spawn(&options, fn, arg, &task) == 0);
    return task;
}

// ---- Spawn and join ----

static int written; // by the task, read by who has joined it

static void *write_it(void *arg)
{
    written++;
    return arg;
}

static void *do_nothing(void *arg)
{
    return arg;
}

static void spawn_and_join(void *arg)
{
    void *result = NULL;

    weft_task task = spawn(write_it, arg);
    explore_expect(weft_task_join(task, WEFT_NEVER, &result) == 0);
    explore_expect(result == arg && written == 1);
    explore_expect(weft_task_join(task, WEFT_NEVER, &result) == -ESRCH);
}

static void join_one(void)
{
    begin(1);
    written = 0;
    explore_start("joiner", spawn_and_join, &written);
    explore_join_all();
    end();
}

static weft_task shared;
static int joins;

static void join_in_time(void *arg)
{
    int error = weft_task_join(shared, port_now() + WHILE_NS, NULL);

    (void)arg;
    explore_expect(error == 0 || error == -ETIMEDOUT);
    joins = error == 0;
}

static void detach_it(void *arg)
{
    int error = weft_task_detach(shared);

    (void)arg;
    explore_expect(error == 0 || error == -EBUSY || error == -ESRCH);
}

static void join_timed(void)
{
    begin(1);
    joins = 0;
    shared = spawn(do_nothing, NULL);
    explore_start("joiner", join_in_time, NULL);
    explore_join_all();
    explore_expect(joins == (weft_task_join(shared, 0, NULL) == -ESRCH));
    end();
}

// ---- Cancel ----

static weft_event event;
static int outcome;
static int shown; // before the event, read after
static int runs;  // the task's own, on whatever worker

static void *await_event(void *arg)
{
    runs++;
    outcome = weft_event_wait(&event, WEFT_NEVER);
    runs++;
    if (outcome == 0)
        explore_expect(shown == 1);
    return arg;
}

static void cancel_it(void *arg)
{
    int error = weft_task_cancel(shared);

    (void)arg;
    explore_expect(error == 0 || error == -ESRCH);
}

static void set_event(void *arg)
{
    (void)arg;
    shown = 1;
    explore_expect(weft_event_set(&event) == 0);
}

static void begin_waiting(uint32_t workers)
{
    begin(workers);
    explore_expect(weft_event_init(&event, "e") == 0);
    outcome = 1;
    shown = runs = 0;
    shared = spawn(await_event, NULL);
}

static void cancel_waiting(void)
{
    begin_waiting(1);
    explore_start("canceller", cancel_it, NULL);
    explore_join_all();
    explore_expect(weft_task_join(shared, 0, NULL) == 0);
    explore_expect(outcome == -ECANCELED);
    end();
}

static void cancel_or_wake(void)
{
    begin_waiting(1);
    explore_start("canceller", cancel_it, NULL);
    explore_start("setter", set_event, NULL);
    explore_join_all();
    explore_expect(weft_task_join(shared, 0, NULL) == 0);
    explore_expect(outcome == -ECANCELED || outcome == 0);
    end();
}

static void wake_waiting(void)
{
    begin_waiting(1);
    explore_start("setter", set_event, NULL);
    explore_join_all();
    explore_expect(weft_task_join(shared, 0, NULL) == 0);
    explore_expect(outcome == 0);
    end();
}

static void wake_elsewhere(void)
{
    begin_waiting(2);
    explore_start("setter", set_event, NULL);
    explore_join_all();
    explore_expect(weft_task_join(shared, 0, NULL) == 0);
    explore_expect(outcome == 0 && runs == 2);
    end();
}

// ---- Handles: a slot used again ----

static void *expect_no_cancel(void *arg)
{
    explore_expect(weft_task_yield() == 0);
    written++;
    return arg;
}

// The second task has the first one's slot, if that is free by then.
static void detach_and_spawn(void *arg)
{
    detach_it(arg);
    weft_task task = spawn(expect_no_cancel, NULL);
    explore_expect(weft_task_detach(task) == 0);
}

static void handle_stale(void)
{
    begin(1);
    written = 0;
    shared = spawn(do_nothing, NULL);
    explore_start("canceller", cancel_it, NULL);
    explore_start("spawner", detach_and_spawn, NULL);
    explore_join_all();
    explore_expect(weft_task_join(shared, 0, NULL) == -ESRCH);
    explore_expect(written == 1);
    end();
}

// A handle that says nothing but itself: the table orders all else. The slot
// is in a segment that was not there before.
static atomic_u64 published;

static void spawn_and_publish(void *arg)
{
    (void)arg;
    store_relaxed(&published, spawn(do_nothing, NULL).id);
}

static void cancel_published(void *arg)
{
    weft_task task = {load_relaxed(&published)};

    (void)arg;
    int error = weft_task_cancel(task);
    explore_expect(error == 0 || error == -ESRCH);
}

static void handle_fresh(void)
{
    prepare(1);
    store_relaxed(&published, 0);
    for (int i = 0; i < SEGMENT_SLOTS; i++)
        (void)spawn(do_nothing, NULL);
    explore_start("spawner", spawn_and_publish, NULL);
    explore_start("canceller", cancel_published, NULL);
    explore_join_all();
    runtime_close(&runtime);
    runtime_deinit(&runtime);
}

// A runtime is taken apart when no call by handle is inside any more.
static void close_runtime(void *arg)
{
    (void)arg;
    runtime_close(&runtime);
    runtime.table.segments = NULL;
}

static void handle_closed(void)
{
    prepare(1);
    _Atomic(struct segment *) *segments = runtime.table.segments;
    shared = spawn(do_nothing, NULL);
    explore_start("canceller", cancel_it, NULL);
    explore_start("closer", close_runtime, NULL);
    explore_join_all();
    runtime.table.segments = segments;
    runtime_deinit(&runtime);
}

// ---- Work, and those who sleep ----

static void spawn_one(void *arg)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};

    explore_expect(weft_task_spawn(&options, write_it, arg, NULL) == 0);
}

static void idle_one(void)
{
    begin(1);
    written = 0;
    explore_start("spawner", spawn_one, NULL);
    explore_join_all();
    explore_expect(written == 1);
    end();
}

static void *write_own(void *arg)
{
    *(int *)arg += 1;
    return NULL;
}

static int cells[2];

static void spawn_own(void *arg)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};

    explore_expect(weft_task_spawn(&options, write_own, arg, NULL) == 0);
}

static void idle_two(void)
{
    begin(2);
    memset(cells, 0, sizeof cells);
    explore_start("spawner", spawn_own, &cells[0]);
    explore_start("spawner 2", spawn_own, &cells[1]);
    explore_join_all();
    explore_expect(cells[0] == 1 && cells[1] == 1);
    end();
}

// A task's children go into its worker's next slot and queue, where the other
// worker may steal them.
static void *spawn_children(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2; i++)
        explore_expect(weft_task_spawn(NULL, write_own, &cells[i], NULL) == 0);
    return NULL;
}

static void spawn_parent(void *arg)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};

    explore_expect(weft_task_spawn(&options, spawn_children, arg, NULL) == 0);
}

static void steal_children(void)
{
    begin(2);
    memset(cells, 0, sizeof cells);
    explore_start("spawner", spawn_parent, NULL);
    explore_join_all();
    explore_expect(cells[0] == 1 && cells[1] == 1);
    end();
}

// ---- A meeting, the workers' side of it (dump/rendezvous.c P1) ----

static struct barrier barrier;
static int touched; // by tasks, and by the leader while the world stands
static int led;

static void lead(void)
{
    touched += 10;
    led++;
    lock_acquire(&barrier.lock);
    store_seq_cst(&runtime.trace_asked, TRACE_NONE);
    barrier_end(&barrier);
    lock_release(&barrier.lock);
    barrier_wake(&barrier);
}

static struct core *meet(struct worker *worker, struct core *core)
{
    if (barrier_meet(&barrier, worker->index) == PASS_LEADER)
        lead();
    return core;
}

static void begin_or_end(struct worker *worker)
{
    (void)worker;
}

static const struct trace_ops meeting_ops = {
    .trace_core = meet,
    .worker_begins = begin_or_end,
    .worker_ends = begin_or_end,
};

static bool is_active(void)
{
    lock_acquire(&barrier.lock);
    bool active = barrier.active;
    lock_release(&barrier.lock);
    return active;
}

static void conduct(void *arg)
{
    (void)arg;
    lock_acquire(&barrier.lock);
    barrier_begin(&barrier, INT64_MAX);
    store_seq_cst(&runtime.trace_asked, TRACE_MEETING);
    port_barrier_heavy();
    for (uint32_t i = 0; i < runtime.worker_count; i++)
        if (load_seq_cst(&runtime.workers[i].presence) == PRESENCE_OUT)
            barrier_count_away(&barrier, i);
    bool leads = barrier_lead_outside(&barrier);
    lock_release(&barrier.lock);
    if (leads)
        lead();
    while (is_active())
        (void)port_futex_wait(&barrier.ended, 0, INT64_MAX);
}

static void *touch(void *arg)
{
    (void)arg;
    touched++;
    return NULL;
}

static void spawn_touching(void *arg)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};

    explore_expect(weft_task_spawn(&options, touch, arg, NULL) == 0);
}

static void meeting_one(void)
{
    begin(1);
    runtime.trace = &meeting_ops;
    touched = led = 0;
    memset(&barrier, 0, sizeof barrier);
    explore_expect(barrier_init(&barrier, 1) == 0);
    explore_start("spawner", spawn_touching, NULL);
    explore_start("conductor", conduct, NULL);
    explore_join_all();
    explore_expect(touched == 11 && led == 1);
    barrier_deinit(&barrier);
    end();
}

// The same where each task seems to run for long: `next` may be stolen too.
static void steal_next(void)
{
    explore_set_step_ns(60000);
    steal_children();
}

// ---- The end of all tasks ----

static void drain(void *arg)
{
    (void)arg;
    runtime_drain(&runtime);
    explore_expect(runs == 2 && outcome == -ECANCELED);
}

static void drain_any(void *arg)
{
    (void)arg;
    runtime_drain(&runtime);
    explore_expect(runs == 0 || (runs == 2 && outcome == -ECANCELED));
}

static void *spawn_waiting(void *arg)
{
    int error = weft_task_spawn(NULL, await_event, arg, NULL);

    explore_expect(error == 0 || error == -ESHUTDOWN);
    return NULL;
}

static void drain_waiting(void)
{
    begin_waiting(1);
    explore_start("stopper", drain, NULL);
    explore_join_all();
    end();
}

// The task that waits is spawned while the runtime ends, or not at all.
static void drain_spawning(void)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};

    begin(1);
    explore_expect(weft_event_init(&event, "e") == 0);
    runs = 0;
    explore_expect(weft_task_spawn(&options, spawn_waiting, NULL, NULL) == 0);
    explore_start("stopper", drain_any, NULL);
    explore_join_all();
    end();
}

#define RUNTIME(name, protocol, fn)                                            \
    {                                                                          \
        name, protocol, fn, {1, 1}, {3, 2}, NULL, NULL                         \
    }
#define LARGE(name, protocol, fn)                                              \
    {                                                                          \
        name, protocol, fn, {1, 0}, {2, 1}, NULL, NULL                         \
    }

const struct scenario runtime_scenarios[] = {
    RUNTIME("join-one", "join", join_one),
    RUNTIME("join-timed", "join", join_timed),
    RUNTIME("wake-waiting", "task state", wake_waiting),
    LARGE("wake-elsewhere", "task state", wake_elsewhere),
    RUNTIME("cancel-waiting", "cancel", cancel_waiting),
    LARGE("cancel-or-wake", "cancel", cancel_or_wake),
    LARGE("steal-next", "idle", steal_next),
    RUNTIME("drain-waiting", "shutdown", drain_waiting),
    RUNTIME("drain-spawning", "shutdown", drain_spawning),
    RUNTIME("meeting", "meeting", meeting_one),
    RUNTIME("handle-fresh", "handles", handle_fresh),
    RUNTIME("handle-closed", "handles", handle_closed),
    LARGE("handle-stale", "handles", handle_stale),
    RUNTIME("idle-one", "idle", idle_one),
    LARGE("idle-two", "idle", idle_two),
    LARGE("steal-children", "idle", steal_children),
    {0},
};
