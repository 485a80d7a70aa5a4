// dump.c -- What a task dump costs the program that goes on meanwhile.
//
// Parked tasks as in parked.h; besides them one task per worker works for 1 us
// and yields, over and over, so that no worker is idle. A thread of its own,
// which is neither of these, asks for a dump. Names of functions are not looked
// up: that happens when a dump is printed, long after. Each run is the first
// dump of a fresh process.
//
//   dump-total   ms from the call of weft_dump_take to its return.
//   dump-total-again  the same for a second dump, for which the system has the
//                memory at hand that the first has given back.
//   dump-pause   ms from the first worker's stopping to the release of all.
//   dump-slice   ms: the longest time that a thread captured at a stretch.
//   dump-gap     ms: the 99th percentile of the times between two runs of a
//                working task, of all such times that touch the call.
//   dump-gap-p999        the same for the 99.9th,
//   dump-gap-p999-quiet  and that of as long a time without a dump, in the same
//                        run: what the machine itself does.
//   dump-gap-worst       the longest of all that touch the call.
//   dump-memory  bytes per task: by how much the resident memory at its peak
//                (VmHWM of /proc/self/status) exceeds what it was before.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "groups.h"
#include "parked.h"
#include "steady.h"

enum {
    WORK_NS = 1000,
    BUCKET_NS = 100,
    BUCKETS = 1000000, // up to 100 ms; the last for all beyond
    WORKERS_MAX = 1024,
    NEEDED_TASKS = 100000, // for memory: less drowns in what comes in pages
};

static const int64_t SETTLE_NS = 100 * WEFT_MILLISECOND;

// What the gaps are counted for.
enum phase { SETTLING, QUIET, DUMPING, PHASES };

static _Atomic unsigned phase;

// A worker's gaps by length, for each phase.
struct gaps {
    unsigned *counts[PHASES];
    int64_t worst_ns[PHASES];
};

static struct gaps gaps[WORKERS_MAX]; // outlives the call that fills it

static void count_gap(struct gaps *of, unsigned when, int64_t gap_ns)
{
    int64_t bucket = gap_ns / BUCKET_NS;

    of->counts[when][bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    if (gap_ns > of->worst_ns[when])
        of->worst_ns[when] = gap_ns;
}

static int64_t work(void)
{
    int64_t until_ns = weft_time_now() + WORK_NS;
    int64_t now;

    while ((now = weft_time_now()) < until_ns)
        continue;
    return now;
}

static void *work_and_yield(void *arg)
{
    struct gaps *of = arg;
    unsigned before = atomic_load(&phase);
    int64_t left = work();

    while (weft_task_yield() == 0) {
        int64_t now = weft_time_now();
        unsigned after = atomic_load(&phase);
        count_gap(of, after == DUMPING ? DUMPING : before, now - left);
        before = after;
        left = work();
    }
    return NULL;
}

// A quantile of the gaps of all workers in a phase, in ms.
static double quantile_ms(unsigned workers, unsigned when, double share)
{
    uint64_t all = 0;
    uint64_t below = 0;

    for (unsigned w = 0; w < workers; w++)
        for (int i = 0; i < BUCKETS; i++)
            all += gaps[w].counts[when][i];
    for (int i = 0; i < BUCKETS; i++) {
        for (unsigned w = 0; w < workers; w++)
            below += gaps[w].counts[when][i];
        if ((double)below >= share * (double)all)
            return (i + 1) * (double)BUCKET_NS / WEFT_MILLISECOND;
    }
    return 0;
}

static double worst_ms(unsigned workers, unsigned when)
{
    int64_t worst = 0;

    for (unsigned w = 0; w < workers; w++)
        if (gaps[w].worst_ns[when] > worst)
            worst = gaps[w].worst_ns[when];
    return (double)worst / WEFT_MILLISECOND;
}

static void check_dump(const weft_dump_info *info, unsigned tasks)
{
    if (info->tasks < tasks || !info->complete)
        bench_fail("the dump has %zu tasks of %u: %s", info->tasks, tasks,
                   info->problem == NULL ? "complete" : info->problem);
}

static double take(weft_runtime *runtime, unsigned tasks, weft_dump_info *info)
{
    weft_dump *dump;
    int64_t start = weft_time_now();

    atomic_store(&phase, DUMPING);
    int error = weft_dump_take(runtime, &dump);
    atomic_store(&phase, SETTLING);
    int64_t total = weft_time_now() - start;
    bench_must(error, "weft_dump_take");
    bench_must(weft_dump_get_info(dump, info), "weft_dump_get_info");
    check_dump(info, tasks);
    weft_dump_free(dump);
    return (double)total / WEFT_MILLISECOND;
}

static weft_runtime *start_all(unsigned workers, unsigned tasks)
{
    weft_task_options options = {.size = sizeof(options),
                                 .runtime = steady_runtime(workers),
                                 .name = "yielder"};

    parked_start(options.runtime, tasks);
    for (unsigned w = 0; w < workers; w++) {
        for (unsigned when = 0; when < PHASES; when++)
            gaps[w].counts[when] = calloc(BUCKETS, sizeof(unsigned));
        bench_must(weft_task_spawn(&options, work_and_yield, &gaps[w], NULL),
                   "weft_task_spawn");
    }
    bench_sleep_ns(SETTLE_NS);
    return options.runtime;
}

static void run_dump(const struct point *point, double *ret_values)
{
    unsigned workers = (unsigned)point_number(point, "workers");
    unsigned tasks = (unsigned)point_number(point, "tasks");
    weft_runtime *runtime = start_all(workers, tasks);
    weft_dump_info info;

    atomic_store(&phase, QUIET);
    bench_sleep_ns(2 * SETTLE_NS);
    ret_values[0] = take(runtime, tasks, &info);
    bench_sleep_ns(SETTLE_NS); // the last gap ends
    ret_values[1] = (double)info.pause_ns / WEFT_MILLISECOND;
    ret_values[2] = (double)info.slice_ns / WEFT_MILLISECOND;
    ret_values[3] = quantile_ms(workers, DUMPING, 0.99);
    ret_values[4] = quantile_ms(workers, DUMPING, 0.999);
    ret_values[5] = quantile_ms(workers, QUIET, 0.999);
    ret_values[6] = worst_ms(workers, DUMPING);
    ret_values[7] = take(runtime, tasks, &info);
}

// ---- Memory ----

static double status_bytes(const char *key)
{
    FILE *file = fopen("/proc/self/status", "r");
    size_t length = strlen(key);
    char line[256];
    double value = -1;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, key, length) == 0 && line[length] == ':')
            value = strtod(line + length + 1, NULL) * 1024;
    if (file != NULL)
        fclose(file);
    if (value < 0)
        bench_fail("/proc/self/status has no %s", key);
    return value;
}

static void reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");

    if (file == NULL || fputs("5", file) < 0 || fclose(file) != 0)
        bench_fail("/proc/self/clear_refs does not reset VmHWM");
}

static void run_memory(const struct point *point, double *ret_values)
{
    unsigned tasks = (unsigned)point_number(point, "tasks");
    weft_runtime *runtime =
        start_all((unsigned)point_number(point, "workers"), tasks);
    weft_dump_info info;

    reset_peak();
    double before = status_bytes("VmRSS");
    (void)take(runtime, tasks, &info);
    ret_values[0] = (status_bytes("VmHWM") - before) / tasks;
}

void bench_dump(const struct settings *settings)
{
    struct point point = {
        .names = {"dump-total", "dump-pause", "dump-slice", "dump-gap",
                  "dump-gap-p999", "dump-gap-p999-quiet", "dump-gap-worst",
                  "dump-total-again"},
        .unit = "ms",
        .params = {{"tasks", 0, NULL}, {"workers", settings->workers, NULL}},
        .run = run_dump,
    };

    for (unsigned tasks = 1000; tasks <= 1000000; tasks *= 10) {
        point.params[0].number = tasks;
        point.runs = 5;
        bench_measure(settings, &point);
        bench_peers(settings, &point);
    }
}

void bench_dump_memory(const struct settings *settings)
{
    struct point point = {
        .names = {"dump-memory"},
        .unit = "bytes",
        .params = {{"tasks", 0, NULL}, {"workers", settings->workers, NULL}},
        .runs = 3,
        .run = run_memory,
    };

    for (unsigned tasks = NEEDED_TASKS; tasks <= 1000000; tasks *= 10) {
        point.params[0].number = tasks;
        bench_measure(settings, &point);
    }
}
