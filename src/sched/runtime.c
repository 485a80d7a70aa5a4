// runtime.c -- Putting a runtime together, and finding it again by its tag.
//
//   R1  A tag is taken by CAS on taken[tag] (acquire) and given back (release)
//       once its runtime is gone; tags go round, so that an old handle finds no
//       runtime rather than a new one. runtime_registry[tag] leads from a
//       handle's tag to the runtime, as long as opened[tag] says that there is
//       one: it is set (release) once the runtime is whole.
//   R2  A call by handle from outside the runtime counts itself into
//       inside[tag], then loads opened[tag]; a runtime that ends clears
//       opened[tag], then waits until inside[tag] is 0. All seq_cst: the call
//       finds the runtime closed, or the end waits for it. Calls by the
//       runtime's own tasks need no count, for it does not end while they live.
#include "sched/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/fork.h"

_Atomic(struct weft_runtime *) runtime_registry[RUNTIMES_MAX + 1]; // R1
static atomic_u32 taken[RUNTIMES_MAX + 1];                         // R1
static atomic_u32 inside[RUNTIMES_MAX + 1];                        // R2
static atomic_u32 opened[RUNTIMES_MAX + 1];                        // R1, R2

atomic_u32 threads_blocked;

// ---- The registry ----

static int take_tag(struct weft_runtime *runtime)
{
    static atomic_u32 turn; // relaxed: the CAS on `taken` decides

    for (uint32_t i = 0; i < RUNTIMES_MAX; i++) {
        uint32_t tag = add_relaxed(&turn, 1) % RUNTIMES_MAX + 1;
        uint32_t no = 0;
        if (cas_acquire(&taken[tag], &no, 1)) { // R1
            runtime->tag = tag;
            return 0;
        }
    }
    return -EAGAIN;
}

static void give_tag(struct weft_runtime *runtime)
{
    store_release(&taken[runtime->tag], 0); // R1
}

void runtime_close(struct weft_runtime *runtime)
{
    atomic_u32 *count = &inside[runtime->tag];
    uint32_t calls;

    store_seq_cst(&opened[runtime->tag], 0);   // R2
    while ((calls = load_seq_cst(count)) != 0) // R2
        (void)port_futex_wait(count, calls, port_now() + 1000000);
    store_relaxed(&runtime_registry[runtime->tag], NULL); // R1: not read now
}

uint32_t runtime_count(void)
{
    uint32_t count = 0;

    for (uint32_t tag = 1; tag <= RUNTIMES_MAX; tag++)
        count += load_relaxed(&taken[tag]); // R1; a figure
    return count;
}

void runtime_forget_all(void)
{
    for (uint32_t tag = 1; tag <= RUNTIMES_MAX; tag++) { // R1, R2: one thread
        store_relaxed(&runtime_registry[tag], NULL);
        store_relaxed(&opened[tag], 0);
        store_relaxed(&inside[tag], 0);
        store_relaxed(&taken[tag], 0);
        store_relaxed(&task_epochs[tag], 0);
    }
}

struct weft_runtime *runtime_of(const struct task *task)
{
    // Relaxed: whoever has the task is ordered after its spawn, and so after
    // the store that put the runtime there (R1).
    return load_relaxed(&runtime_registry[task->tag]);
}

struct task *task_visit(weft_task handle, struct visit *ret_visit)
{
    uint32_t tag = HANDLE_TAG(handle);
    struct worker *worker = worker_self();

    ret_visit->tag = tag;
    ret_visit->counted = worker == NULL || worker->runtime->tag != tag;
    if (ret_visit->counted)
        (void)add_seq_cst(&inside[tag], 1); // R2
    struct weft_runtime *runtime = NULL;
    if (load_seq_cst(&opened[tag]) != 0)                // R1, R2
        runtime = load_relaxed(&runtime_registry[tag]); // R1: ordered by it
    struct task *task =
        runtime == NULL ? NULL : table_find(&runtime->table, handle);
    if (task == NULL)
        task_unvisit(ret_visit);
    return task;
}

void task_unvisit(const struct visit *visit)
{
    if (visit->counted)
        (void)sub_seq_cst(&inside[visit->tag], 1); // R2
}

weft_runtime *weft_runtime_self(void)
{
    struct worker *worker = worker_self();

    return worker == NULL ? NULL : worker->runtime;
}

// ---- Putting together ----

static void init_workers(struct weft_runtime *runtime)
{
    for (uint32_t i = 0; i < runtime->crew.room; i++) {
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
    uint32_t room = count + runtime->spares;

    if (crew_init(&runtime->crew, count, room) != 0)
        return -ENOMEM;
    store_relaxed(&runtime->worker_count, count); // not shared yet
    runtime->workers = aligned_alloc(64, room * sizeof *runtime->workers);
    runtime->cores = aligned_alloc(64, room * sizeof *runtime->cores);
    if (runtime->workers == NULL || runtime->cores == NULL)
        return -ENOMEM;
    memset(runtime->workers, 0, room * sizeof *runtime->workers);
    memset(runtime->cores, 0, room * sizeof *runtime->cores);
    init_workers(runtime);
    return idle_init(&runtime->idle, &runtime->inject.lock, count, room);
}

static void free_workers(struct weft_runtime *runtime)
{
    idle_deinit(&runtime->idle);
    free(runtime->workers);
    free(runtime->cores);
    crew_deinit(&runtime->crew);
}

int runtime_init(struct weft_runtime *runtime, uint32_t workers)
{
    int error = fork_prepare();

    if (error == 0)
        error = take_tag(runtime);
    if (error != 0)
        return error;
    blocking_init(&runtime->blocking, runtime);
    store_relaxed(&runtime->next_id, 1); // not shared yet
    error = table_init(&runtime->table, runtime->tag, (uint32_t)port_random());
    if (error != 0)
        goto no_table;
    error = driver_init(&runtime->driver);
    if (error != 0)
        goto no_driver;
    error = alloc_workers(runtime, workers);
    if (error == 0) {
        store_relaxed(&runtime_registry[runtime->tag], runtime); // R1
        store_release(&opened[runtime->tag], 1);                 // R1
        return 0;
    }
    free_workers(runtime);
    driver_deinit(&runtime->driver);
no_driver:
    table_deinit(&runtime->table);
no_table:
    give_tag(runtime);
    return error;
}

void runtime_deinit(struct weft_runtime *runtime)
{
    free_workers(runtime);
    driver_deinit(&runtime->driver);
    table_deinit(&runtime->table);
    give_tag(runtime);
}

// ---- Threads ----

static void stop_workers(struct weft_runtime *runtime)
{
    store_relaxed(&runtime->phase, RUNTIME_ENDED); // shutdown.c S2
    crew_end(runtime);
}

int runtime_start(struct weft_runtime *runtime)
{
    if (crew_start(runtime) &&
        port_thread_start(&runtime->watchdog, "weft-watchdog", watchdog_main,
                          runtime) == 0)
        return 0;
    stop_workers(runtime);
    return -EAGAIN;
}

void runtime_stop(struct weft_runtime *runtime)
{
    runtime_drain(runtime);
    blocking_deinit(&runtime->blocking);
    stop_workers(runtime);
    store_relaxed(&runtime->watchdog_stop, 1); // only an end
    port_futex_wake(&runtime->watchdog_stop, 1);
    port_thread_join(&runtime->watchdog);
    uint32_t count; // shutdown.c S3; they are about to leave
    while ((count = load_acquire(&runtime->visitors)) != 0) // S3
        (void)port_futex_wait(&runtime->visitors, count, port_now() + 100000);
}
