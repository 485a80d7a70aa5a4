// sched.c -- yield, longest-wait, spawn-join, skynet: what the scheduler costs.
//
//   yield       ns of a worker's time for one weft_task_yield, the run of the
//               next task included: wall time * workers / yields. All tasks
//               yield in a loop.
//   longest-wait  how many rounds the longest wait of a ready task is: the
//               longest time between two runs of one, divided by that in which
//               each task runs once. All tasks yield in a loop.
//   spawn-join  ns of a worker's time for one task that does nothing, started
//               and joined by another: wall time * workers / tasks. One task
//               per worker starts `batch` of them, then joins them in order.
//   skynet      ms of wall time for a tree of tasks, ten children each, six
//               levels below the root: 1,111,111 tasks, of which the million
//               leaves return their number and all others the sum of their
//               children. first=1: in a fresh process, where every stack is
//               touched for the first time; first=0: right after another.
#include <string.h>

#include "groups.h"
#include "steady.h"

enum {
    BATCH_MAX = 100,
    ARMS = 10,
    LEAVES = 1000000,
    TREE = 1111111,
};

// ---- yield ----

static void *yield_for_ever(void *arg)
{
    struct doer *doer = arg;

    while (weft_task_yield() == 0)
        doer_count(doer);
    return NULL;
}

static void run_yield(const struct point *point, double *ret_values)
{
    unsigned workers = (unsigned)point_number(point, "workers");
    unsigned tasks = (unsigned)point_number(point, "tasks");

    ret_values[0] = steady_ns(workers, tasks, yield_for_ever, NULL) * workers;
}

static void yield_with(const struct settings *settings, unsigned workers,
                       unsigned tasks)
{
    struct point point = {
        .names = {"yield"},
        .unit = "ns",
        .params = {{"tasks", tasks, NULL}, {"workers", workers, NULL}},
        .runs = 5,
        .run = run_yield,
    };

    bench_measure(settings, &point);
    bench_peers(settings, &point);
}

void bench_yield(const struct settings *settings)
{
    unsigned most = settings->workers;

    for (unsigned workers = 1;; workers = most) {
        yield_with(settings, workers, 2 * workers);
        yield_with(settings, workers, 1000);
        if (workers == most)
            break;
    }
}

// ---- longest-wait ----

static _Atomic int64_t longest_ns;

static void note_wait(int64_t wait_ns)
{
    int64_t seen = atomic_load_explicit(&longest_ns, memory_order_relaxed);

    while (wait_ns > seen &&
           !atomic_compare_exchange_weak(&longest_ns, &seen, wait_ns))
        ;
}

static void *yield_and_look(void *arg)
{
    struct doer *doer = arg;
    int64_t from_ns = *(int64_t *)doer->shared;
    int64_t last_ns = INT64_MAX;

    while (weft_task_yield() == 0) {
        int64_t now_ns = weft_time_now();
        if (last_ns >= from_ns && now_ns > last_ns)
            note_wait(now_ns - last_ns);
        last_ns = now_ns;
        doer_count(doer);
    }
    return NULL;
}

static void run_longest_wait(const struct point *point, double *ret_values)
{
    unsigned workers = (unsigned)point_number(point, "workers");
    unsigned tasks = (unsigned)point_number(point, "tasks");
    static int64_t from_ns; // outlives this call

    from_ns = weft_time_after(50 * WEFT_MILLISECOND); // all are there by then
    double each_ns = steady_ns(workers, tasks, yield_and_look, &from_ns);
    ret_values[0] = (double)atomic_load(&longest_ns) / (each_ns * tasks);
}

void bench_longest_wait(const struct settings *settings)
{
    for (unsigned workers = 1;; workers = settings->workers) {
        struct point point = {
            .names = {"longest-wait"},
            .unit = "rounds",
            .params = {{"tasks", 10000, NULL}, {"workers", workers, NULL}},
            .runs = 5,
            .run = run_longest_wait,
        };

        bench_measure(settings, &point);
        bench_peers(settings, &point);
        if (workers == settings->workers)
            break;
    }
}

// ---- spawn-join ----

static void *do_nothing(void *arg)
{
    return arg;
}

static void *spawn_for_ever(void *arg)
{
    struct doer *doer = arg;
    unsigned batch = *(unsigned *)doer->shared;
    weft_task tasks[BATCH_MAX];
    int error = 0;

    while (error == 0) {
        for (unsigned i = 0; i < batch && error == 0; i++)
            error = weft_task_spawn(NULL, do_nothing, NULL, &tasks[i]);
        for (unsigned i = 0; i < batch && error == 0; i++) {
            error = weft_task_join(tasks[i], WEFT_NEVER, NULL);
            doer_count(doer);
        }
    }
    bench_fail("spawn-join: %s", strerror(-error));
}

static void run_spawn_join(const struct point *point, double *ret_values)
{
    unsigned workers = (unsigned)point_number(point, "workers");
    static unsigned batch; // outlives this call

    batch = (unsigned)point_number(point, "batch");
    ret_values[0] =
        steady_ns(workers, workers, spawn_for_ever, &batch) * workers;
}

static void spawn_join_with(const struct settings *settings, unsigned workers,
                            unsigned batch)
{
    struct point point = {
        .names = {"spawn-join"},
        .unit = "ns",
        .params = {{"batch", batch, NULL}, {"workers", workers, NULL}},
        .runs = 5,
        .run = run_spawn_join,
    };

    bench_measure(settings, &point);
    bench_peers(settings, &point);
}

void bench_spawn_join(const struct settings *settings)
{
    unsigned most = settings->workers;

    for (unsigned workers = 1;; workers = most) {
        spawn_join_with(settings, workers, 1);
        spawn_join_with(settings, workers, BATCH_MAX);
        if (workers == most)
            break;
    }
}

// ---- skynet ----

// A node of the tree: its first leaf and how many leaves it has.
struct node {
    uint64_t first;
    uint64_t leaves;
};

static void *grow(void *arg)
{
    const struct node *node = arg;
    struct node children[ARMS];
    weft_task tasks[ARMS];
    uint64_t sum = 0;

    if (node->leaves == 1)
        return (void *)(uintptr_t)node->first;
    for (unsigned i = 0; i < ARMS; i++) {
        children[i].leaves = node->leaves / ARMS;
        children[i].first = node->first + i * children[i].leaves;
        bench_must(weft_task_spawn(NULL, grow, &children[i], &tasks[i]),
                   "weft_task_spawn");
    }
    for (unsigned i = 0; i < ARMS; i++) {
        void *result;
        bench_must(weft_task_join(tasks[i], WEFT_NEVER, &result),
                   "weft_task_join");
        sum += (uintptr_t)result;
    }
    return (void *)(uintptr_t)sum;
}

static double grow_tree(weft_runtime *runtime)
{
    struct node root = {.first = 0, .leaves = LEAVES};
    uint64_t want = (uint64_t)LEAVES * (LEAVES - 1) / 2;
    void *sum;

    int64_t start = weft_time_now();
    bench_must(weft_runtime_run(runtime, grow, &root, &sum),
               "weft_runtime_run");
    int64_t wall = weft_time_now() - start;
    if ((uintptr_t)sum != want)
        bench_fail("skynet gave %zu, not %zu", (size_t)(uintptr_t)sum,
                   (size_t)want);
    return (double)wall / (double)WEFT_MILLISECOND;
}

static void run_skynet(const struct point *point, double *ret_values)
{
    weft_runtime *runtime =
        steady_runtime((unsigned)point_number(point, "workers"));

    ret_values[0] = grow_tree(runtime);
    if (!point_number(point, "first"))
        ret_values[0] = grow_tree(runtime);
}

static void skynet_with(const struct settings *settings, unsigned workers,
                        bool first)
{
    struct point point = {
        .names = {"skynet"},
        .unit = "ms",
        .params = {{"tasks", TREE, NULL},
                   {"workers", workers, NULL},
                   {"first", first, NULL}},
        .runs = 3,
        .run = run_skynet,
    };

    bench_measure(settings, &point);
    bench_peers(settings, &point);
}

void bench_skynet(const struct settings *settings)
{
    skynet_with(settings, settings->workers, true);
    skynet_with(settings, settings->workers, false);
}
