// program.c -- For test_outside.py: programs in states that are hard to look
// into, by the name of the state. Each prints a line when it is in it.
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "locks.h"

enum { MANY_READY = 20 };

static atomic_uint begun;
static int never[2]; // a pipe that nobody writes to

static void must(int error, const char *what)
{
    if (error >= 0)
        return;
    fprintf(stderr, "outside: %s: %s\n", what, strerror(-error));
    exit(1);
}

static void await_begun(unsigned count)
{
    struct timespec pause = {.tv_nsec = 1000000};

    while (atomic_load(&begun) < count)
        nanosleep(&pause, NULL);
    pause.tv_nsec = 50000000; // the last one parks
    nanosleep(&pause, NULL);
}

static void tell_and_stay(void)
{
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}

static weft_runtime *make_runtime(const char *name, unsigned workers)
{
    weft_runtime_options options = {.size = sizeof(options),
                                    .workers = workers,
                                    .name = name,
                                    .handoff_ns = WEFT_NEVER,
                                    .dump_signal = -1};
    weft_runtime *runtime;

    must(weft_runtime_new(&options, &runtime), "weft_runtime_new");
    return runtime;
}

static void spawn(weft_runtime *runtime, const char *name, weft_task_fn *fn,
                  void *arg)
{
    weft_task_options options = {
        .size = sizeof(options), .runtime = runtime, .name = name};

    must(weft_task_spawn(&options, fn, arg, NULL), "weft_task_spawn");
}

static weft_channel *make_channel(const char *name)
{
    weft_channel *channel;

    must(weft_channel_new(sizeof(int), 1, name, &channel), "weft_channel_new");
    return channel;
}

// ---- What tasks do ----

__attribute__((noinline)) static int wait_for_item(weft_channel *channel)
{
    int item = 0;

    return weft_channel_recv(channel, &item, WEFT_NEVER) + item;
}

static void *wait_for_ever(void *channel)
{
    atomic_fetch_add(&begun, 1);
    return (void *)(intptr_t)(wait_for_item(channel) + 1);
}

static void *spin_for_ever(void *unused)
{
    atomic_fetch_add(&begun, 1);
    for (volatile unsigned turns = 0;; turns++)
        continue;
    return unused;
}

__attribute__((noinline)) static ssize_t read_never(void)
{
    char byte;

    return read(never[0], &byte, 1) + 1;
}

static void *read_for_ever(void *unused)
{
    (void)unused;
    atomic_fetch_add(&begun, 1);
    return (void *)read_never();
}

static void *call_pool(void *unused)
{
    must(weft_blocking_run(read_for_ever, NULL, NULL), "weft_blocking_run");
    return unused;
}

static void *yield_for_ever(void *unused)
{
    atomic_fetch_add(&begun, 1);
    while (weft_task_yield() == 0)
        continue;
    return unused;
}

// ---- States ----

static void begin_parked(unsigned count)
{
    weft_runtime *runtime = make_runtime("parked", 2);
    weft_channel *channel = make_channel("jobs");

    spawn(runtime, "turner", yield_for_ever, NULL);
    for (unsigned i = 0; i < count; i++)
        spawn(runtime, NULL, wait_for_ever, channel);
    await_begun(count + 1);
}

static void begin_waiting(unsigned unused)
{
    (void)unused;
    spawn(make_runtime("waiting", 2), "waiter", wait_for_ever,
          make_channel("jobs"));
    await_begun(1);
}

// All workers are stuck, and tasks wait in the queue of each.
static void *spawn_and_spin(void *jobs)
{
    weft_task_options options = {.size = sizeof(options)};

    for (int i = 0; i < MANY_READY; i++) {
        char name[WEFT_NAME_MAX];
        snprintf(name, sizeof(name), "ready %d", i);
        options.name = name;
        must(weft_task_spawn(&options, wait_for_ever, jobs, NULL),
             "weft_task_spawn");
    }
    return spin_for_ever(NULL);
}

static void begin_stuck(unsigned unused)
{
    weft_runtime *runtime = make_runtime("stuck", 2);

    (void)unused;
    spawn(runtime, "reader", read_for_ever, NULL);
    await_begun(1);
    spawn(runtime, "spinner", spawn_and_spin, make_channel("jobs"));
    await_begun(2);
}

static void begin_two(unsigned unused)
{
    (void)unused;
    spawn(make_runtime("first", 1), "one", wait_for_ever, make_channel("a"));
    spawn(make_runtime("second", 1), "two", wait_for_ever, make_channel("b"));
    await_begun(2);
}

static void *wait_as_thread(void *channel)
{
    (void)prctl(PR_SET_NAME, "stranger");
    return wait_for_ever(channel);
}

// One thread of the program's and one of the pool, both in calls.
static void begin_threads(unsigned unused)
{
    pthread_t thread;

    (void)unused;
    spawn(make_runtime("threads", 1), "caller", call_pool, NULL);
    if (pthread_create(&thread, NULL, wait_as_thread, make_channel("door")))
        must(-1, "pthread_create");
    await_begun(2);
}

#ifdef WITH_LOCKS
static weft_runtime *locked;

static void *spawn_once(void *unused)
{
    atomic_fetch_add(&begun, 1);
    spawn(locked, "born", wait_for_ever, unused);
    return NULL;
}

// A worker waits for a lock that this thread keeps, in the midst of a spawn.
static void begin_locks(unsigned unused)
{
    (void)unused;
    locked = make_runtime("locks", 1);
    weft_runtime *other = make_runtime("spawner", 1);
    spawn(locked, "waiter", wait_for_ever, make_channel("jobs"));
    await_begun(1);
    take_locks(locked);
    spawn(other, "spawner", spawn_once, NULL);
    await_begun(2);
}
#endif

// Its own files are root's from then on.
static void begin_sealed(unsigned unused)
{
    begin_waiting(unused);
    must(prctl(PR_SET_DUMPABLE, 0), "prctl");
}

struct state {
    const char *name;
    void (*begin)(unsigned count);
};

static const struct state states[] = {
    {"parked", begin_parked},   {"waiting", begin_waiting},
    {"stuck", begin_stuck},     {"two", begin_two},
    {"threads", begin_threads}, {"sealed", begin_sealed},
#ifdef WITH_LOCKS
    {"locks", begin_locks},
#endif
};

int main(int argc, char **argv)
{
    unsigned count = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;

    must(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
    must(pipe(never), "pipe");
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (argc > 1 && strcmp(argv[1], states[i].name) == 0) {
            states[i].begin(count);
            tell_and_stay();
        }
    fprintf(stderr, "usage: outside STATE [COUNT]\n");
    return 1;
}
