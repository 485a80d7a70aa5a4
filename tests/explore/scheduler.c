// scheduler.c -- The runtime of the scenarios of the whole scheduler.
#include "explore/scheduler.h"

#include <string.h>

weft_runtime runtime;

static void run_worker(void *arg)
{
    (void)worker_main(arg);
}

void scheduler_prepare(uint32_t workers)
{
    memset(&runtime, 0, sizeof runtime);
    runtime.stack_class = STACK_CLASS_MIN;
    runtime.max_tasks = TABLE_MAX;
    explore_expect(runtime_init(&runtime, workers) == 0);
}

void scheduler_run(void)
{
    static const char *names[] = {"worker 0", "worker 1"};

    for (uint32_t i = 0; i < worker_count(&runtime); i++)
        explore_start_daemon(names[i], run_worker, &runtime.workers[i]);
}

void scheduler_begin(uint32_t workers)
{
    scheduler_prepare(workers);
    scheduler_run();
}

void scheduler_end(void)
{
    uint64_t finished = 0;
    uint64_t spawned = runtime.outside;

    for (uint32_t i = 0; i < worker_count(&runtime); i++) {
        finished += load_relaxed(&runtime.cores[i].finished);
        spawned += load_relaxed(&runtime.cores[i].spawned);
        explore_expect(queue_length(&runtime.cores[i].queue) == 0);
    }
    explore_expect(finished == spawned);
    explore_expect(inject_empty(&runtime.inject));
    runtime_close(&runtime);
    runtime_deinit(&runtime);
}

weft_task scheduler_spawn(weft_task_fn *fn, void *arg)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};
    weft_task task;

    explore_expect(weft_task_spawn(&options, fn, arg, &task) == 0);
    return task;
}
