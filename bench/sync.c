// sync.c -- chan-pingpong, mutex, mutex-contended: what waiting costs.
//
//   chan-pingpong    ns for one round trip between two tasks, through two
//                    channels with room for one item of 8 bytes: two sends,
//                    two receives, two switches. Wall time * min(pairs,
//                    workers) / round trips.
//   mutex            ns for one lock and unlock of a mutex that nobody else
//                    wants: wall time * workers / locks. One task and one
//                    mutex per worker.
//   mutex-contended  ns of wall time per lock and unlock of one mutex that
//                    all tasks want all the time. It is held for one addition;
//                    between two locks a task does nothing else.
#include "groups.h"
#include "steady.h"

enum { PAIRS_MANY = 100 };

// ---- chan-pingpong ----

struct table {
    weft_channel *there;
    weft_channel *back;
};

static int ping(struct table *table, struct doer *doer)
{
    uint64_t ball = 0;
    int error = 0;

    while (error == 0) {
        error = weft_channel_send(table->there, &ball, WEFT_NEVER);
        if (error == 0)
            error = weft_channel_recv(table->back, &ball, WEFT_NEVER);
        doer_count(doer);
    }
    return error;
}

static int pong(struct table *table)
{
    uint64_t ball;
    int error = 0;

    while (error == 0) {
        error = weft_channel_recv(table->there, &ball, WEFT_NEVER);
        ball++;
        if (error == 0)
            error = weft_channel_send(table->back, &ball, WEFT_NEVER);
    }
    return error;
}

static void *play(void *arg)
{
    struct doer *doer = arg;
    struct table *table = (struct table *)doer->shared + doer->index / 2;

    bench_must(doer->index % 2 == 0 ? ping(table, doer) : pong(table),
               "a channel");
    return NULL;
}

static void run_chan_pingpong(const struct point *point, double *ret_values)
{
    unsigned workers = (unsigned)point_number(point, "workers");
    unsigned pairs = (unsigned)point_number(point, "pairs");
    static struct table tables[PAIRS_MANY]; // outlives this call

    for (unsigned i = 0; i < pairs; i++) {
        bench_must(weft_channel_new(8, 1, NULL, &tables[i].there),
                   "weft_channel_new");
        bench_must(weft_channel_new(8, 1, NULL, &tables[i].back),
                   "weft_channel_new");
    }
    ret_values[0] = steady_ns(workers, 2 * pairs, play, tables) *
                    (pairs < workers ? pairs : workers);
}

static void chan_pingpong_with(const struct settings *settings,
                               unsigned workers, unsigned pairs)
{
    struct point point = {
        .names = {"chan-pingpong"},
        .unit = "ns",
        .params = {{"pairs", pairs, NULL}, {"workers", workers, NULL}},
        .runs = 5,
        .run = run_chan_pingpong,
    };

    bench_measure(settings, &point);
    bench_peers(settings, &point);
}

void bench_chan_pingpong(const struct settings *settings)
{
    unsigned most = settings->workers;

    for (unsigned workers = 1;; workers = most) {
        chan_pingpong_with(settings, workers, 1);
        chan_pingpong_with(settings, workers, PAIRS_MANY);
        if (workers == most)
            break;
    }
}

// ---- mutex ----

static void *lock_own(void *arg)
{
    struct doer *doer = arg;
    weft_mutex mutex;

    bench_must(weft_mutex_init(&mutex, "own"), "weft_mutex_init");
    while (weft_mutex_lock(&mutex, WEFT_NEVER) == 0 &&
           weft_mutex_unlock(&mutex) == 0)
        doer_count(doer);
    bench_fail("mutex: a lock has failed");
}

static void run_mutex(const struct point *point, double *ret_values)
{
    unsigned workers = (unsigned)point_number(point, "workers");

    ret_values[0] = steady_ns(workers, workers, lock_own, NULL) * workers;
}

void bench_mutex(const struct settings *settings)
{
    struct point point = {
        .names = {"mutex"},
        .unit = "ns",
        .params = {{"workers", settings->workers, NULL}},
        .runs = 5,
        .run = run_mutex,
    };

    bench_measure(settings, &point);
    bench_peers(settings, &point);
}

// ---- mutex-contended ----

struct shared {
    weft_mutex mutex;
    uint64_t count;
};

static void *lock_shared(void *arg)
{
    struct doer *doer = arg;
    struct shared *shared = doer->shared;

    while (weft_mutex_lock(&shared->mutex, WEFT_NEVER) == 0) {
        shared->count++;
        if (weft_mutex_unlock(&shared->mutex) != 0)
            break;
        doer_count(doer);
    }
    bench_fail("mutex-contended: a lock has failed");
}

static void run_mutex_contended(const struct point *point, double *ret_values)
{
    static struct shared shared; // outlives this call

    bench_must(weft_mutex_init(&shared.mutex, "shared"), "weft_mutex_init");
    ret_values[0] =
        steady_ns((unsigned)point_number(point, "workers"),
                  (unsigned)point_number(point, "tasks"), lock_shared, &shared);
}

static void contended_with(const struct settings *settings, unsigned tasks)
{
    struct point point = {
        .names = {"mutex-contended"},
        .unit = "ns",
        .params = {{"tasks", tasks, NULL},
                   {"workers", settings->workers, NULL}},
        .runs = 5,
        .run = run_mutex_contended,
    };

    bench_measure(settings, &point);
    bench_peers(settings, &point);
}

// ---- Calls that block, made without blocking a worker ----

struct way {
    const char *name;
    int (*run)(weft_task_fn *fn, void *arg, void **ret_result);
};

static const struct way ways[] = {
    {"here", weft_blocking_run_here},
    {"pool", weft_blocking_run},
};

static void *call_nothing(void *arg)
{
    return arg;
}

static void *call_often(void *arg)
{
    struct doer *doer = arg;
    const struct way *way = doer->shared;

    while (way->run(call_nothing, NULL, NULL) == 0)
        doer_count(doer);
    bench_fail("blocking: a call has failed");
}

static void run_blocking(const struct point *point, double *ret_values)
{
    ret_values[0] =
        steady_ns((unsigned)point_number(point, "workers"), 1, call_often,
                  (void *)(uintptr_t)&ways[point_number(point, "pool")]);
}

// What a call costs that has nothing to do.
void bench_blocking(const struct settings *settings)
{
    for (unsigned pool = 0; pool < 2; pool++) {
        struct point point = {
            .names = {"blocking"},
            .unit = "ns",
            .params = {{"pool", pool, NULL},
                       {"workers", settings->workers, NULL}},
            .runs = 5,
            .run = run_blocking,
        };
        bench_measure(settings, &point);
    }
}

void bench_mutex_contended(const struct settings *settings)
{
    contended_with(settings, settings->workers);
    contended_with(settings, 8 * settings->workers);
}
