// locks.c -- rwlock, semaphore, cond, event, barrier, once, waitgroup.
//
//   rwlock-read, rwlock-write, semaphore, event, once, waitgroup
//                  ns for one use of an object that nobody else wants: wall
//                  time * workers / uses. One task and one object per worker. A
//                  use is to take and give back (a read lock, a write lock, one
//                  permit), to wait for an event that is set, to run a once
//                  that is done, or to add one thing to a wait group, be done
//                  with it, and wait.
//   rwlock-shared  ns of wall time per read lock and unlock of one lock that
//                  all tasks read all the time.
//   cond-pingpong  ns for one round trip between two tasks that take turns:
//                  two signals, two waits, four locks. Wall time / round trips.
//   barrier        ns of wall time for one meeting of all tasks.
#include <string.h>

#include "groups.h"
#include "steady.h"

// ---- One object a task. ----

// Each uses its own for ever; they return if a call fails.
static void read_own(struct doer *doer)
{
    weft_rwlock own = WEFT_RWLOCK_INIT("own");

    while (weft_rwlock_lock_read(&own, WEFT_NEVER) == 0 &&
           weft_rwlock_unlock(&own) == 0)
        doer_count(doer);
}

static void write_own(struct doer *doer)
{
    weft_rwlock own = WEFT_RWLOCK_INIT("own");

    while (weft_rwlock_lock_write(&own, WEFT_NEVER) == 0 &&
           weft_rwlock_unlock(&own) == 0)
        doer_count(doer);
}

static void take_own(struct doer *doer)
{
    weft_semaphore own = WEFT_SEMAPHORE_INIT("own", 2);

    while (weft_semaphore_acquire(&own, 1, WEFT_NEVER) == 0 &&
           weft_semaphore_release(&own, 1) == 0)
        doer_count(doer);
}

static void wait_own(struct doer *doer)
{
    weft_event own = WEFT_EVENT_INIT("own");

    bench_must(weft_event_set(&own), "weft_event_set");
    while (weft_event_wait(&own, WEFT_NEVER) == 0)
        doer_count(doer);
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void run_own(struct doer *doer)
{
    weft_once own = WEFT_ONCE_INIT("own");

    while (weft_once_run(&own, do_nothing, NULL, WEFT_NEVER) == 0)
        doer_count(doer);
}

static void group_own(struct doer *doer)
{
    weft_waitgroup own = WEFT_WAITGROUP_INIT("own");

    while (weft_waitgroup_add(&own, 1) == 0 && weft_waitgroup_done(&own) == 0 &&
           weft_waitgroup_wait(&own, WEFT_NEVER) == 0)
        doer_count(doer);
}

typedef void use_fn(struct doer *doer);

static const struct own {
    const char *name;
    use_fn *use;
} owns[] = {
    {"rwlock-read", read_own}, {"rwlock-write", write_own},
    {"semaphore", take_own},   {"event", wait_own},
    {"once", run_own},         {"waitgroup", group_own},
};

enum { OWNS = sizeof(owns) / sizeof(owns[0]) };

static void *use_own(void *arg)
{
    struct doer *doer = arg;
    const struct own *own = doer->shared;

    own->use(doer);
    bench_fail("%s: a call has failed", own->name);
}

static const struct own *find_own(const char *name)
{
    for (size_t i = 0; i < OWNS; i++)
        if (strcmp(owns[i].name, name) == 0)
            return &owns[i];
    bench_fail("no benchmark %s", name);
}

static void run_use_own(const struct point *point, double *ret_values)
{
    unsigned workers = (unsigned)point_number(point, "workers");
    const struct own *own = find_own(point->names[0]);

    ret_values[0] =
        steady_ns(workers, workers, use_own, (void *)(uintptr_t)own) * workers;
}

static void measure(const struct settings *settings, const char *name,
                    unsigned tasks, void (*run)(const struct point *, double *))
{
    struct point point = {
        .names = {name},
        .unit = "ns",
        .params = {{"workers", settings->workers, NULL},
                   {tasks > 0 ? "tasks" : NULL, tasks, NULL}},
        .runs = 5,
        .run = run,
    };

    bench_measure(settings, &point);
    bench_peers(settings, &point);
}

void bench_rwlock_read(const struct settings *settings)
{
    measure(settings, "rwlock-read", 0, run_use_own);
}

void bench_rwlock_write(const struct settings *settings)
{
    measure(settings, "rwlock-write", 0, run_use_own);
}

void bench_semaphore(const struct settings *settings)
{
    measure(settings, "semaphore", 0, run_use_own);
}

void bench_event(const struct settings *settings)
{
    measure(settings, "event", 0, run_use_own);
}

void bench_once(const struct settings *settings)
{
    measure(settings, "once", 0, run_use_own);
}

void bench_waitgroup(const struct settings *settings)
{
    measure(settings, "waitgroup", 0, run_use_own);
}

// ---- One object for all. ----

static void *read_shared(void *arg)
{
    struct doer *doer = arg;

    while (weft_rwlock_lock_read(doer->shared, WEFT_NEVER) == 0 &&
           weft_rwlock_unlock(doer->shared) == 0)
        doer_count(doer);
    bench_fail("rwlock-shared: a lock has failed");
}

static void run_rwlock_shared(const struct point *point, double *ret_values)
{
    static weft_rwlock lock = WEFT_RWLOCK_INIT("shared");
    unsigned tasks = (unsigned)point_number(point, "tasks");
    unsigned workers = (unsigned)point_number(point, "workers");

    ret_values[0] = steady_ns(workers, tasks, read_shared, &lock);
}

void bench_rwlock_shared(const struct settings *settings)
{
    measure(settings, "rwlock-shared", settings->workers, run_rwlock_shared);
}

struct table {
    weft_mutex mutex;
    weft_cond turned;
    unsigned turn; // whose it is
};

static void *take_turns(void *arg)
{
    struct doer *doer = arg;
    struct table *table = doer->shared;

    bench_must(weft_mutex_lock(&table->mutex, WEFT_NEVER), "weft_mutex_lock");
    for (;;) {
        while (table->turn != doer->index)
            bench_must(
                weft_cond_wait(&table->turned, &table->mutex, WEFT_NEVER),
                "weft_cond_wait");
        table->turn = 1 - doer->index;
        bench_must(weft_cond_signal(&table->turned), "weft_cond_signal");
        if (doer->index == 0)
            doer_count(doer);
    }
    return NULL;
}

static void run_cond_pingpong(const struct point *point, double *ret_values)
{
    static struct table table = {WEFT_MUTEX_INIT("table"),
                                 WEFT_COND_INIT("turned"), 0};
    unsigned workers = (unsigned)point_number(point, "workers");

    ret_values[0] = steady_ns(workers, 2, take_turns, &table);
}

void bench_cond_pingpong(const struct settings *settings)
{
    measure(settings, "cond-pingpong", 0, run_cond_pingpong);
}

static void *meet(void *arg)
{
    struct doer *doer = arg;
    int result;

    while ((result = weft_barrier_wait(doer->shared, WEFT_NEVER)) >= 0)
        if (result == 1)
            doer_count(doer);
    bench_fail("barrier: a wait has failed");
}

static void run_barrier(const struct point *point, double *ret_values)
{
    static weft_barrier barrier;
    unsigned tasks = (unsigned)point_number(point, "tasks");
    unsigned workers = (unsigned)point_number(point, "workers");

    bench_must(weft_barrier_init(&barrier, tasks, "all"), "weft_barrier_init");
    ret_values[0] = steady_ns(workers, tasks, meet, &barrier);
}

void bench_barrier(const struct settings *settings)
{
    measure(settings, "barrier", 8 * settings->workers, run_barrier);
}
