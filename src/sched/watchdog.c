// watchdog.c -- Sees to it that work is not bound to a worker that is stuck.
//
// Workers poll the driver and hand on work between two tasks. If a task keeps
// its worker for long, what waits behind it (in `next`, in the driver) would
// wait too, though others sleep. Every tick the watchdog looks whether a
// worker has run the same task since the last tick while somebody sleeps, and
// something waits for it; if so it wakes a sleeper, which searches, steals,
// and then sleeps in the driver. It ticks seldom while everyone sleeps.
//
// Of a worker that stays inside a task it notes since when its thread has used
// no processor time. If a dump finds that thread in a system call, and the
// figure still the same, it has sat in this one call for at least so long.
//
//   W1  still_since is stored before still_cpu (release) -> a dump loads
//       still_cpu (acquire), then still_since, which belongs to that figure or
//       is later: the time told may be too short, never too long.
#include "sched/runtime.h"

enum {
    TICK_NS = 10000000,
    TICK_IDLE_NS = 100000000,
};

static void watch_sleep(struct worker *worker)
{
    int64_t cpu = port_thread_cpu((int)load_relaxed(&worker->tid)); // a figure

    if (cpu < 0 || (uint64_t)cpu == load_relaxed(&worker->still_cpu))
        return;
    store_relaxed(&worker->still_since, port_ticks());
    store_release(&worker->still_cpu, (uint64_t)cpu); // W1
}

// Whether a worker is where it was at the last tick, inside a task, and keeps
// something from others. Figures a moment old will do: it looks again.
static bool keeps_back(struct worker *worker, struct core *core, uint64_t *runs)
{
    struct weft_runtime *runtime = worker->runtime;
    uint64_t now = load_relaxed(&core->runs);
    bool still = *runs == now && load_relaxed(&worker->current) != NULL;

    *runs = now;
    if (still)
        watch_sleep(worker);
    return still && (load_relaxed(&core->next) != NULL ||
                     queue_length(&core->queue) > 0 ||
                     !driver_is_taken(&runtime->driver));
}

void *watchdog_main(void *arg)
{
    struct weft_runtime *runtime = arg;
    uint64_t runs[WORKERS_MAX] = {0};

    while (load_relaxed(&runtime->watchdog_stop) == 0) { // only an end
        uint32_t sleepers = idle_sleepers(&runtime->idle);
        bool all_sleep = sleepers == runtime->worker_count;
        bool stuck = false;
        for (uint32_t i = 0; i < runtime->worker_count; i++)
            stuck |=
                keeps_back(&runtime->workers[i], &runtime->cores[i], &runs[i]);
        if (stuck && sleepers > 0)
            sched_notify(runtime);
        (void)port_futex_wait(&runtime->watchdog_stop, 0,
                              port_now() +
                                  (all_sleep ? TICK_IDLE_NS : TICK_NS));
    }
    return NULL;
}
