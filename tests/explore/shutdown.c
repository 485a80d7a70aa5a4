// shutdown.c -- Scenarios of a runtime's end (sched/shutdown.c).
//
// Where time-outs are forbidden, whoever ends the runtime must be told of every
// end of a task: what only its next look would find is a fault.
#include <errno.h>
#include <string.h>

#include "explore/scheduler.h"

static weft_event event;
static int outcome; // of the task's wait
static int runs;    // the task's own

static void *count_run(void *arg)
{
    runs++;
    return arg;
}

static void *await_event(void *arg)
{
    runs++;
    outcome = weft_event_wait(&event, WEFT_NEVER);
    runs++;
    return arg;
}

static void *spawn_waiting(void *arg)
{
    int error = weft_task_spawn(NULL, await_event, arg, NULL);

    explore_expect(error == 0 || error == -ESHUTDOWN);
    return NULL;
}

// False: the runtime is ending.
static bool spawn_detached(weft_task_fn *fn)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};
    int error = weft_task_spawn(&options, fn, NULL, NULL);

    explore_expect(error == 0 || error == -ESHUTDOWN);
    return error == 0;
}

static void reset(void)
{
    explore_expect(weft_event_init(&event, "e") == 0);
    runs = 0;
    outcome = 1;
}

// ---- Until no task lives ----

static void drain(void *arg)
{
    runtime_drain(&runtime);
    explore_expect(runs == *(const int *)arg || runs == 0);
    explore_expect(runs < 2 || outcome == -ECANCELED);
}

static const int once = 1;
static const int twice = 2;

static void drain_ending(void)
{
    explore_forbid_timeouts();
    scheduler_begin(1);
    reset();
    (void)spawn_detached(count_run);
    explore_start("stopper", drain, (void *)&once);
    explore_join_all();
    explore_expect(runs == 1);
    scheduler_end();
}

static void drain_waiting(void)
{
    explore_forbid_timeouts();
    scheduler_begin(1);
    reset();
    (void)spawn_detached(await_event);
    explore_start("stopper", drain, (void *)&twice);
    explore_join_all();
    explore_expect(runs == 2);
    scheduler_end();
}

// The task that waits is spawned while the runtime ends, or not at all.
static void drain_spawning(void)
{
    explore_forbid_timeouts();
    scheduler_begin(1);
    reset();
    (void)spawn_detached(spawn_waiting);
    explore_start("stopper", drain, (void *)&twice);
    explore_join_all();
    scheduler_end();
}

// Into a segment that was not there before, while others walk over all tasks.
// No worker runs: as if each task had ended at once.
static void end_by_hand(void)
{
    atomic_u64 *finished = &runtime.cores[0].finished;

    store_release(finished, load_relaxed(finished) + 1);
    (void)add_acq_rel(&runtime.finishing, 1);
    port_futex_wake(&runtime.finishing, 1);
}

static void spawn_fresh(void *arg)
{
    (void)arg;
    if (spawn_detached(count_run))
        end_by_hand();
}

static void drain_any(void *arg)
{
    (void)arg;
    runtime_drain(&runtime);
}

static void drain_fresh(void)
{
    scheduler_prepare(1);
    for (int i = 0; i < SEGMENT_SLOTS; i++) {
        (void)spawn_detached(count_run);
        end_by_hand();
    }
    explore_start("spawner", spawn_fresh, NULL);
    explore_start("stopper", drain_any, NULL);
    explore_join_all();
    runtime_close(&runtime);
    runtime_deinit(&runtime);
}

// A spawn from outside may have been counted before the walk, and its slot be
// filled after it: nothing but a look after some time finds that.
static void spawn_late(void *arg)
{
    (void)arg;
    (void)spawn_detached(await_event);
}

static void drain_outside(void)
{
    scheduler_begin(1);
    reset();
    explore_start("spawner", spawn_late, NULL);
    explore_start("stopper", drain, (void *)&twice);
    explore_join_all();
    scheduler_end();
}

// ---- To the last thread ----

static void stop(void *arg)
{
    (void)arg;
    runtime_stop(&runtime);
    runtime_close(&runtime);
    runtime_deinit(&runtime);
    memset(&runtime, 0, sizeof runtime); // given back
}

static void stop_running(void)
{
    explore_forbid_timeouts();
    scheduler_prepare(1);
    reset();
    (void)spawn_detached(count_run);
    explore_expect(runtime_start(&runtime) == 0);
    explore_start("stopper", stop, NULL);
    explore_join_all();
    explore_expect(runs == 1);
}

// A thread wakes the last task, which may end, and the runtime with it, before
// that thread is done.
static void set_event(void *arg)
{
    (void)arg;
    explore_expect(weft_event_set(&event) == 0);
}

static void stop_visited(void)
{
    scheduler_prepare(1);
    reset();
    (void)spawn_detached(await_event);
    explore_expect(runtime_start(&runtime) == 0);
    explore_start("setter", set_event, NULL);
    explore_start("stopper", stop, NULL);
    explore_join_all();
    explore_expect(runs == 2 && (outcome == 0 || outcome == -ECANCELED));
}

#define SHUTDOWN(name, fn)                                                     \
    {                                                                          \
        name, "shutdown", fn, {1, 1}, {3, 2}, NULL, NULL                       \
    }

const struct scenario shutdown_scenarios[] = {
    SHUTDOWN("drain-ending", drain_ending),
    SHUTDOWN("drain-waiting", drain_waiting),
    {"drain-spawning", "shutdown", drain_spawning, {1, 1}, {2, 1}, NULL, NULL},
    SHUTDOWN("drain-fresh", drain_fresh),
    {"drain-outside", "shutdown", drain_outside, {1, 1}, {2, 1}, NULL, NULL},
    {"stop-running", "shutdown", stop_running, {1, 1}, {2, 2}, NULL, NULL},
    {"stop-visited", "shutdown", stop_visited, {1, 0}, {1, 1}, NULL, NULL},
    {0},
};
