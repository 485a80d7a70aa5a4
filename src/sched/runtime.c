// runtime.c -- Putting a runtime together, and finding it again by its tag.
//
//   R1  registry[tag] is stored (release) once the runtime is whole, and
//       cleared before it is taken apart; a handle's tag leads to it (acquire).
//       A tag is used by one runtime at a time; tags go round, so that an old
//       handle finds no runtime rather than a new one.
#include "sched/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/fork.h"

static _Atomic(struct weft_runtime *) registry[RUNTIMES_MAX + 1]; // R1

// ---- The registry ----

static int take_tag(struct weft_runtime *runtime)
{
    static atomic_u32 turn; // relaxed: the CAS on the registry decides

    for (uint32_t i = 0; i < RUNTIMES_MAX; i++) {
        uint32_t tag = add_relaxed(&turn, 1) % RUNTIMES_MAX + 1;
        struct weft_runtime *none = NULL;
        if (cas_acq_rel(&registry[tag], &none, runtime)) { // R1
            runtime->tag = tag;
            return 0;
        }
    }
    return -EAGAIN;
}

struct weft_runtime *runtime_of_tag(uint32_t tag)
{
    return load_acquire(&registry[tag]); // R1
}

struct weft_runtime *runtime_of(const struct task *task)
{
    return runtime_of_tag(task->tag);
}

struct task *task_find(weft_task handle)
{
    struct weft_runtime *runtime = runtime_of_tag(HANDLE_TAG(handle));

    return runtime == NULL ? NULL : table_find(&runtime->table, handle);
}

weft_runtime *weft_runtime_self(void)
{
    struct worker *worker = worker_self();

    return worker == NULL ? NULL : worker->runtime;
}

// ---- Putting together ----

static void init_workers(struct weft_runtime *runtime)
{
    for (uint32_t i = 0; i < runtime->worker_count; i++) {
        struct worker *worker = &runtime->workers[i];
        struct core *core = &runtime->cores[i];
        worker->runtime = runtime;
        worker->index = i;
        worker->core = core;
        stats_init(&core->stats);
        core->random = port_random() | 1;
    }
}

static int alloc_workers(struct weft_runtime *runtime, uint32_t count)
{
    runtime->worker_count = count;
    runtime->workers = aligned_alloc(64, count * sizeof *runtime->workers);
    runtime->cores = aligned_alloc(64, count * sizeof *runtime->cores);
    if (runtime->workers == NULL || runtime->cores == NULL)
        return -ENOMEM;
    memset(runtime->workers, 0, count * sizeof *runtime->workers);
    memset(runtime->cores, 0, count * sizeof *runtime->cores);
    init_workers(runtime);
    return idle_init(&runtime->idle, &runtime->inject.lock, count);
}

static void free_workers(struct weft_runtime *runtime)
{
    idle_deinit(&runtime->idle);
    free(runtime->workers);
    free(runtime->cores);
}

int runtime_init(struct weft_runtime *runtime, uint32_t workers)
{
    int error = fork_prepare();

    if (error == 0)
        error = take_tag(runtime);
    if (error != 0)
        return error;
    blocking_init(&runtime->blocking);
    store_relaxed(&runtime->next_id, 1); // not shared yet
    error = table_init(&runtime->table, runtime->max_tasks, runtime->tag,
                       (uint32_t)port_random());
    if (error != 0)
        goto no_table;
    error = driver_init(&runtime->driver);
    if (error != 0)
        goto no_driver;
    error = alloc_workers(runtime, workers);
    if (error == 0)
        return 0;
    free_workers(runtime);
    driver_deinit(&runtime->driver);
no_driver:
    table_deinit(&runtime->table);
no_table:
    store_release(&registry[runtime->tag], NULL); // R1
    return error;
}

void runtime_deinit(struct weft_runtime *runtime)
{
    store_release(&registry[runtime->tag], NULL); // R1
    free_workers(runtime);
    driver_deinit(&runtime->driver);
    table_deinit(&runtime->table);
}

// ---- Threads ----

static void stop_workers(struct weft_runtime *runtime, uint32_t started)
{
    store_seq_cst(&runtime->phase, RUNTIME_ENDED); // shutdown.c S2
    for (uint32_t i = 0; i < started; i++)
        park_wake(&runtime->workers[i].parker, &runtime->driver);
    for (uint32_t i = 0; i < started; i++)
        port_thread_join(&runtime->workers[i].thread);
}

int runtime_start(struct weft_runtime *runtime)
{
    char name[16];

    for (uint32_t i = 0; i < runtime->worker_count; i++) {
        struct worker *worker = &runtime->workers[i];
        snprintf(name, sizeof name, "weft-%u", i);
        if (port_thread_start(&worker->thread, name, worker_main, worker)) {
            stop_workers(runtime, i);
            return -EAGAIN;
        }
    }
    if (port_thread_start(&runtime->watchdog, "weft-watchdog", watchdog_main,
                          runtime)) {
        stop_workers(runtime, runtime->worker_count);
        return -EAGAIN;
    }
    return 0;
}

void runtime_stop(struct weft_runtime *runtime)
{
    runtime_drain(runtime);
    blocking_deinit(&runtime->blocking);
    stop_workers(runtime, runtime->worker_count);
    store_relaxed(&runtime->watchdog_stop, 1); // only an end
    port_futex_wake(&runtime->watchdog_stop, 1);
    port_thread_join(&runtime->watchdog);
}
