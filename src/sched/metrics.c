// metrics.c -- Figures of a runtime and of each of its workers.
#include <weft/metrics.h>

#include <errno.h>

#include "sched/runtime.h"

int weft_runtime_metrics_get(const weft_runtime *runtime,
                             weft_runtime_metrics *ret_metrics)
{
    uint64_t finished = 0;
    uint64_t spawned = 0;

    if (runtime == NULL || ret_metrics == NULL)
        return -EINVAL;
    // Finished first: shutdown.c S1; so the difference is never negative.
    uint32_t count = worker_count(runtime);
    for (uint32_t i = 0; i < count; i++)
        finished += load_acquire(&runtime->cores[i].finished); // S1
    count = worker_count(runtime);
    for (uint32_t i = 0; i < count; i++)
        spawned += load_acquire(&runtime->cores[i].spawned); // S1
    uint32_t threads, queued;
    blocking_count((struct blocking *)&runtime->blocking, &threads, &queued);
    struct lock *lock = (struct lock *)&runtime->inject.lock;
    lock_acquire(lock);
    spawned += runtime->outside;
    lock_release(lock);
    *ret_metrics = (weft_runtime_metrics){
        .workers = count,
        .workers_running = load_relaxed(&runtime->idle.workers), // a figure
        .hand_offs = load_relaxed(&runtime->crew.hand_offs),
        .tasks_live = spawned - finished,
        .tasks_spawned = spawned,
        .inject_depth = load_relaxed(&runtime->inject.length),
        .remote_schedules = load_relaxed(&runtime->inject.total),
        .blocking_threads = load_relaxed(&runtime->blocking.started),
        .blocking_now = threads,
        .blocking_queued = queued,
        .dumps = load_relaxed(&runtime->dumps_taken),
        .dumps_incomplete = load_relaxed(&runtime->dumps_incomplete),
    };
    return 0;
}

int weft_worker_metrics_get(const weft_runtime *runtime, unsigned index,
                            weft_worker_metrics *ret_metrics)
{
    if (runtime == NULL || ret_metrics == NULL ||
        index >= worker_count(runtime))
        return -EINVAL;
    const struct core *core = &runtime->cores[index];
    *ret_metrics = (weft_worker_metrics){
        .tasks_run = load_relaxed(&core->runs),
        .mean_run_ns = load_relaxed(&core->mean_run_ns),
        .parks = load_relaxed(&core->parks),
        .noop_parks = load_relaxed(&core->noop_parks),
        .steals = load_relaxed(&core->steals),
        .steal_operations = load_relaxed(&core->steal_operations),
        .local_schedules = load_relaxed(&core->local_schedules),
        .overflows = load_relaxed(&core->overflows),
        .queue_depth = queue_length(&core->queue),
        .busy_ns = (uint64_t)port_ticks_to_ns(load_relaxed(&core->busy)),
    };
    return 0;
}
