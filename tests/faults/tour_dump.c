// tour_dump.c -- The tour's part about dumps: a program stuck in every way, and
// all that can be asked about it.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tour.h"

// ---- Those that are stuck ----

static weft_mutex left_fork = WEFT_MUTEX_INIT("left fork");
static weft_mutex right_fork = WEFT_MUTEX_INIT("right fork");
static weft_cond cond = WEFT_COND_INIT("cond");
static weft_mutex cond_mutex = WEFT_MUTEX_INIT("cond mutex");
static weft_semaphore semaphore = WEFT_SEMAPHORE_INIT("semaphore", 0);
static weft_event event = WEFT_EVENT_INIT("event");
static weft_event met = WEFT_EVENT_INIT("both have a fork");
static weft_barrier barrier = WEFT_BARRIER_INIT("barrier", 1000);
static weft_waitgroup group = WEFT_WAITGROUP_INIT("group");
static weft_rwlock rwlock = WEFT_RWLOCK_INIT("rwlock");
static weft_channel *empty_channel;
static atomic_bool enough; // for the one that does not yield
static int pipe_ends[2];   // for the one in a system call
static atomic_int forks_taken;

static void *dine(void *is_left)
{
    weft_mutex *first = is_left ? &left_fork : &right_fork;
    weft_mutex *second = is_left ? &right_fork : &left_fork;

    if (weft_mutex_lock(first, WEFT_NEVER) != 0)
        return NULL;
    if (atomic_fetch_add(&forks_taken, 1) == 1)
        weft_event_set(&met);
    if (weft_event_wait(&met, WEFT_NEVER) == 0 &&
        weft_mutex_lock(second, WEFT_NEVER) == 0)
        weft_mutex_unlock(second);
    weft_mutex_unlock(first);
    return NULL;
}

static void *wait_cond(void *unused)
{
    if (weft_mutex_lock(&cond_mutex, WEFT_NEVER) != 0)
        return unused;
    while (weft_cond_wait(&cond, &cond_mutex, WEFT_NEVER) == 0)
        continue;
    weft_mutex_unlock(&cond_mutex);
    return unused;
}

static void *wait_semaphore(void *unused)
{
    (void)weft_semaphore_acquire(&semaphore, 1, WEFT_NEVER);
    return unused;
}

static void *wait_event(void *unused)
{
    (void)weft_event_wait(&event, WEFT_NEVER);
    return unused;
}

static void *wait_barrier(void *unused)
{
    (void)weft_barrier_wait(&barrier, WEFT_NEVER);
    return unused;
}

static void *wait_group(void *unused)
{
    (void)weft_waitgroup_wait(&group, WEFT_NEVER);
    return unused;
}

static void *wait_rwlock(void *to_write)
{
    int error = to_write ? weft_rwlock_lock_write(&rwlock, WEFT_NEVER)
                         : weft_rwlock_lock_read(&rwlock, WEFT_NEVER);

    if (error != 0)
        return NULL;
    (void)weft_task_sleep(WEFT_NEVER);
    (void)weft_rwlock_unlock(&rwlock);
    return NULL;
}

static void *wait_channel(void *unused)
{
    int item;

    (void)weft_task_set_label("request", "17");
    (void)weft_channel_recv(empty_channel, &item, WEFT_NEVER);
    return unused;
}

static void *wait_connection(void *unused)
{
    weft_fd listener;
    weft_fd fd;

    if (!went_well(weft_tcp_listen("127.0.0.1", 0, 0, &listener), "listen")) {
        (void)weft_task_sleep(WEFT_NEVER); // all of them stay
        return unused;
    }
    if (weft_tcp_accept(listener, WEFT_NEVER, &fd) != -ECANCELED)
        (void)weft_task_sleep(WEFT_NEVER);
    (void)weft_fd_close(listener);
    return unused;
}

static void *read_pipe(void *unused)
{
    char byte;

    while (read(pipe_ends[0], &byte, 1) < 0 && errno == EINTR)
        continue;
    return unused;
}

static void *wait_thread(void *unused)
{
    if (weft_blocking_run(read_pipe, NULL, NULL) != 0)
        (void)weft_task_sleep(WEFT_NEVER);
    return unused;
}

static void *spin(void *unused)
{
    while (!enough)
        continue;
    return unused;
}

static const struct {
    const char *name;
    weft_task_fn *fn;
    bool yes;
} stuck[] = {
    {"first", dine, true},           {"second", dine, false},
    {"cond", wait_cond, false},      {"semaphore", wait_semaphore, false},
    {"event", wait_event, false},    {"barrier", wait_barrier, false},
    {"group", wait_group, false},    {"reader", wait_rwlock, false},
    {"writer", wait_rwlock, true},   {"channel", wait_channel, false},
    {"net", wait_connection, false}, {"thread", wait_thread, false},
    {"reading", read_pipe, false},   {"spinning", spin, false},
};

// The last two keep their workers: they need two more.
static unsigned start_stuck(weft_runtime *runtime)
{
    size_t count = sizeof stuck / sizeof *stuck;
    weft_runtime_metrics metrics;
    unsigned started = 0;

    must_hold(weft_runtime_metrics_get(runtime, &metrics) == 0, "metrics");
    if (metrics.workers < 4)
        count -= 2;
    for (size_t i = 0; i < count; i++) {
        weft_task_options options = {
            .size = sizeof options, .runtime = runtime, .name = stuck[i].name};
        bool yes = stuck[i].yes;
        started += went_well(weft_task_spawn(&options, stuck[i].fn,
                                             yes ? (void *)1 : NULL, NULL),
                             "spawn");
    }
    return started;
}

// A thread of the program's, blocked in a call of the library's.
static void *thread_waits(void *unused)
{
    int item;

    must_hold(weft_channel_recv(empty_channel, &item, WEFT_NEVER) == -EPIPE,
              "a thread waits until the channel is closed");
    return unused;
}

// ---- What is asked ----

static void ask_tasks(const weft_dump *dump, const weft_dump_info *info)
{
    weft_dump_task task;
    const char *key;
    const char *value;
    uint32_t object;
    size_t index;

    for (size_t i = 0; i < info->tasks; i++) {
        must_hold(weft_dump_get_task(dump, i, &task) == 0, "task");
        must_hold(weft_dump_find_task(dump, task.id, &index) == 0 && index == i,
                  "a task is found by its id");
        for (size_t k = 0; k < task.labels; k++)
            must_hold(weft_dump_get_label(dump, i, k, &key, &value) == 0,
                      "label");
        for (size_t k = 0; k < task.holds; k++)
            must_hold(weft_dump_get_held(dump, i, k, &object) == 0, "held");
        must_hold(task.object == WEFT_NONE || task.object < info->objects,
                  "an object that there is");
        must_hold(task.stack < info->stacks, "a stack that there is");
    }
}

static void ask_others(const weft_dump *dump, const weft_dump_info *info)
{
    weft_dump_worker worker;
    weft_dump_thread thread;
    weft_dump_object object;
    weft_dump_finding finding;
    const uintptr_t *pcs;
    const char *error;
    size_t count;
    enum weft_stack_end end;

    for (size_t i = 0; i < info->workers; i++)
        must_hold(weft_dump_get_worker(dump, i, &worker) == 0, "worker");
    for (size_t i = 0; i < info->threads; i++)
        must_hold(weft_dump_get_thread(dump, i, &thread) == 0, "thread");
    for (size_t i = 0; i < info->objects; i++)
        must_hold(weft_dump_get_object(dump, i, &object) == 0, "object");
    for (size_t i = 0; i < info->findings; i++)
        must_hold(weft_dump_get_finding(dump, i, &finding) == 0, "finding");
    for (size_t i = 0; i < info->stacks; i++)
        must_hold(weft_dump_get_stack(dump, i, &pcs, &count, &end, &error) == 0,
                  "stack");
}

static void ask(weft_runtime *runtime, unsigned started)
{
    weft_dump *dump = NULL;
    weft_dump_info info;
    int error = weft_dump_take(runtime, &dump);

    must_hold((error == 0) == (dump != NULL), "a dump or an error");
    if (!went_well(error, "dump"))
        return;
    must_hold(weft_dump_get_info(dump, &info) == 0, "info");
    must_hold(info.complete == (info.problem == NULL), "complete, or why not");
    if (!info.complete)
        went_well(-ENODATA, info.problem);
    must_hold(!info.complete || info.tasks >= started, "all tasks");
    ask_tasks(dump, &info);
    ask_others(dump, &info);
    weft_dump_free(dump);
}

static void *ask_inside(void *started)
{
    ask(weft_runtime_self(), (unsigned)(uintptr_t)started);
    return NULL;
}

static void let_go(void)
{
    enough = true;
    must_hold(write(pipe_ends[1], "12345678", 8) == 8, "a pipe is written");
    must_hold(weft_channel_close(empty_channel) == 0, "close");
}

void tour_dump(void)
{
    weft_runtime *runtime = begin_runtime(4);
    pthread_t thread;

    if (runtime == NULL)
        return;
    need(pipe(pipe_ends) == 0, "a pipe");
    must_hold(weft_waitgroup_add(&group, 1) == 0, "add");
    if (went_well(weft_channel_new(sizeof(int), 1, "empty", &empty_channel),
                  "channel")) {
        unsigned started = start_stuck(runtime);
        void *count = (void *)(uintptr_t)started;
        bool threaded = pthread_create(&thread, NULL, thread_waits, NULL) == 0;
        ask(runtime, started);
        went_well(weft_runtime_run(runtime, ask_inside, count, NULL), "run");
        ask(runtime, started);
        let_go();
        if (threaded)
            pthread_join(thread, NULL);
    }
    must_hold(weft_runtime_free(runtime) == 0, "free");
    must_hold(weft_channel_free(empty_channel) == 0, "free the channel");
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}
