// steady.c -- Measures what tasks do over and over, once they are all at it.
//
// The measuring thread sleeps meanwhile and reads the tasks' counters twice,
// so neither the start nor the end of a task is part of the figure, and a slow
// machine needs no more time than a fast one.
#include "steady.h"

#include <stdlib.h>
#include <time.h>

#include "harness.h"

static const int64_t WARM_NS = 100 * WEFT_MILLISECOND;
static const int64_t MEASURED_NS = 300 * WEFT_MILLISECOND;

static bool by_cpu;

void steady_by_cpu(void)
{
    by_cpu = true;
}

// The process's processor time, or the time.
static int64_t clock_now(void)
{
    struct timespec t;

    if (!by_cpu)
        return weft_time_now();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * WEFT_SECOND + t.tv_nsec;
}

weft_runtime *steady_runtime(unsigned workers)
{
    weft_runtime_options options = {
        .size = sizeof(options), .workers = workers, .dump_signal = -1};
    weft_runtime *runtime;

    bench_must(weft_runtime_new(&options, &runtime), "weft_runtime_new");
    return runtime;
}

static uint64_t sum(struct doer *doers, unsigned tasks)
{
    uint64_t done = 0;

    for (unsigned i = 0; i < tasks; i++)
        done += atomic_load_explicit(&doers[i].done, memory_order_relaxed);
    return done;
}

static double measure(struct doer *doers, unsigned tasks)
{
    bench_sleep_ns(WARM_NS);
    uint64_t before = sum(doers, tasks);
    int64_t start = clock_now();
    bench_sleep_ns(MEASURED_NS);
    uint64_t done = sum(doers, tasks) - before;
    int64_t spent = clock_now() - start;

    if (done == 0)
        bench_fail("nothing was done in %.0f ms",
                   (double)spent / (double)WEFT_MILLISECOND);
    return (double)spent / (double)done;
}

double steady_ns(unsigned workers, unsigned tasks, weft_task_fn *fn,
                 void *shared)
{
    weft_task_options options = {.size = sizeof(options),
                                 .runtime = steady_runtime(workers)};
    struct doer *doers = aligned_alloc(128, tasks * sizeof(*doers));

    if (doers == NULL)
        bench_fail("no memory for %u tasks", tasks);
    for (unsigned i = 0; i < tasks; i++) {
        doers[i] = (struct doer){.index = i, .shared = shared};
        bench_must(weft_task_spawn(&options, fn, &doers[i], NULL),
                   "weft_task_spawn");
    }
    return measure(doers, tasks);
}
