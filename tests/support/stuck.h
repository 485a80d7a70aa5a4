// stuck.h -- A program in which tasks wait in many ways, for good: what dumps
// are taken of.
#ifndef TESTS_SUPPORT_STUCK_H
#define TESTS_SUPPORT_STUCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <weft/dump.h>
#include <weft/weft.h>

enum { STUCK_TASKS = 12, STUCK_WORKERS = 2 };

static weft_mutex stuck_first = WEFT_MUTEX_INIT("first");
static weft_mutex stuck_second = WEFT_MUTEX_INIT("second");
static weft_rwlock stuck_routes = WEFT_RWLOCK_INIT("routes");
static weft_semaphore stuck_permits = WEFT_SEMAPHORE_INIT("permits", 1);
static weft_event stuck_event = WEFT_EVENT_INIT("configured");
static weft_channel *stuck_jobs;
static atomic_int stuck_ready; // tasks about to wait for good
static atomic_int stuck_readers;
static atomic_uintptr_t stuck_sp; // in the stack of the one that runs

static inline void stuck_check(bool holds)
{
    if (!holds)
        abort();
}

// Not a yield: the runner keeps its worker, with what is in its queue, until
// the other has nothing to do and steals that.
static inline void stuck_nap(void)
{
    (void)weft_task_sleep(weft_time_after(WEFT_MILLISECOND));
}

// Both hold one before either wants the other.
static void *stuck_cross(void *turn)
{
    static atomic_int met;
    weft_mutex *both[] = {&stuck_first, &stuck_second};
    int own = turn != NULL;

    stuck_check(weft_mutex_lock(both[own], WEFT_NEVER) == 0);
    atomic_fetch_add(&met, 1);
    while (atomic_load(&met) < 2)
        stuck_nap();
    atomic_fetch_add(&stuck_ready, 1);
    (void)weft_mutex_lock(both[!own], WEFT_NEVER);
    return NULL;
}

static void *stuck_behind(void *unused)
{
    (void)unused;
    stuck_check(weft_task_set_label("tenant", "a") == 0);
    stuck_check(weft_task_set_label("request", "8841") == 0);
    stuck_check(weft_rwlock_lock_read(&stuck_routes, WEFT_NEVER) == 0);
    atomic_fetch_add(&stuck_readers, 1);
    while (atomic_load(&stuck_readers) < 2)
        stuck_nap();
    atomic_fetch_add(&stuck_ready, 1);
    (void)weft_mutex_lock(&stuck_first, WEFT_NEVER);
    return NULL;
}

// Readers hold it by then.
static void *stuck_writer(void *unused)
{
    (void)unused;
    while (atomic_load(&stuck_readers) < 2)
        stuck_nap();
    atomic_fetch_add(&stuck_ready, 1);
    (void)weft_rwlock_lock_write(&stuck_routes, WEFT_NEVER);
    return NULL;
}

static void *stuck_taker(void *unused)
{
    (void)unused;
    atomic_fetch_add(&stuck_ready, 1);
    (void)weft_semaphore_acquire(&stuck_permits, 1, WEFT_NEVER);
    (void)weft_event_wait(&stuck_event, WEFT_NEVER);
    return NULL;
}

static void *stuck_receiver(void *unused)
{
    int item;

    (void)unused;
    atomic_fetch_add(&stuck_ready, 1);
    (void)weft_channel_recv(stuck_jobs, &item, WEFT_NEVER);
    return NULL;
}

static void *stuck_sleeper(void *unused)
{
    (void)unused;
    atomic_fetch_add(&stuck_ready, 1);
    (void)weft_task_sleep(weft_time_after(1000 * (int64_t)WEFT_SECOND));
    return NULL;
}

// Keeps its worker, inside a call of the system.
static void *stuck_runner(void *unused)
{
    const struct timespec long_time = {.tv_sec = 1000};
    char here;

    atomic_store(&stuck_sp, (uintptr_t)&here);
    atomic_fetch_add(&stuck_ready, 1);
    while (nanosleep(&long_time, NULL) != 0)
        ;
    return unused;
}

static inline void stuck_spawn(const char *name, weft_task_fn *fn, void *arg)
{
    weft_task_options options = {.size = sizeof options, .name = name};
    weft_task task;

    stuck_check(weft_task_spawn(&options, fn, arg, &task) == 0);
}

static void *stuck_main(void *unused)
{
    stuck_check(weft_channel_new(sizeof(int), 1, "jobs", &stuck_jobs) == 0);
    stuck_spawn("left", stuck_cross, NULL);
    stuck_spawn("right", stuck_cross, &stuck_first);
    stuck_spawn("reader 1", stuck_behind, NULL);
    stuck_spawn("reader 2", stuck_behind, NULL);
    stuck_spawn("writer", stuck_writer, NULL);
    stuck_spawn("taker 1", stuck_taker, NULL);
    stuck_spawn("taker 2", stuck_taker, NULL);
    stuck_spawn("receiver 1", stuck_receiver, NULL);
    stuck_spawn("receiver 2", stuck_receiver, NULL);
    stuck_spawn("sleeper", stuck_sleeper, NULL);
    stuck_spawn("runner", stuck_runner, NULL);
    atomic_fetch_add(&stuck_ready, 1);
    (void)weft_event_wait(&stuck_event, WEFT_NEVER);
    return unused;
}

static void *stuck_thread(void *runtime)
{
    void *result;

    (void)weft_runtime_run(runtime, stuck_main, NULL, &result);
    return NULL;
}

// Whether all wait but the runner.
static inline bool stuck_is_stuck(weft_runtime *runtime)
{
    weft_dump *dump;
    weft_dump_task task;
    int waiting = 0;

    stuck_check(weft_dump_take(runtime, &dump) == 0);
    for (size_t i = 0; weft_dump_get_task(dump, i, &task) == 0; i++)
        waiting += task.state == WEFT_STATE_WAITING;
    weft_dump_free(dump);
    return waiting == STUCK_TASKS - 1;
}

// Starts it in this process, which it never leaves, and returns when it is
// stuck.
static inline weft_runtime *stuck_start(void)
{
    weft_runtime_options options = {
        .size = sizeof options, .name = "stuck", .workers = STUCK_WORKERS};
    const struct timespec moment = {.tv_nsec = 1000000};
    weft_runtime *runtime;
    pthread_t thread;

    stuck_check(weft_runtime_new(&options, &runtime) == 0);
    stuck_check(pthread_create(&thread, NULL, stuck_thread, runtime) == 0);
    while (atomic_load(&stuck_ready) < STUCK_TASKS || !stuck_is_stuck(runtime))
        (void)nanosleep(&moment, NULL);
    return runtime;
}

#endif
