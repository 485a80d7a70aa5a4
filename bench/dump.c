// dump.c -- dump-total, dump-gap: what a task dump costs.
//
// Parked tasks as in parked.h; besides them one task per worker yields in a
// loop, so that no worker is idle. A thread of its own, which is neither of
// these, asks for a dump. Names of functions are not looked up: that happens
// when a dump is printed, long after.
//
//   dump-total  ms from the call of weft_dump_take to its return.
//   dump-gap    ms: the longest time that any of the yielding tasks saw
//               between two returns from weft_task_yield, of all such times
//               that touch the call.
//
// Each run is the first dump of a fresh process.
#include "groups.h"
#include "parked.h"
#include "steady.h"

static const int64_t SETTLE_NS = 100 * WEFT_MILLISECOND;

// Odd while the dump is being taken.
static _Atomic unsigned epoch;

struct yielder {
    _Atomic int64_t worst_ns;
} __attribute__((aligned(128)));

static void *yield_and_look(void *arg)
{
    struct yielder *yielder = arg;
    int64_t last = weft_time_now();
    unsigned before = atomic_load(&epoch);

    while (weft_task_yield() == 0) {
        int64_t now = weft_time_now();
        unsigned after = atomic_load(&epoch);
        if ((after % 2 == 1 || after != before) &&
            now - last > atomic_load(&yielder->worst_ns))
            atomic_store(&yielder->worst_ns, now - last);
        last = now;
        before = after;
    }
    return NULL;
}

static double worst_ms(struct yielder *yielders, unsigned count)
{
    int64_t worst = 0;

    for (unsigned i = 0; i < count; i++) {
        int64_t one = atomic_load(&yielders[i].worst_ns);
        worst = one > worst ? one : worst;
    }
    return (double)worst / (double)WEFT_MILLISECOND;
}

static double take(weft_runtime *runtime, unsigned tasks)
{
    weft_dump_info info;
    weft_dump *dump;

    int64_t start = weft_time_now();
    atomic_fetch_add(&epoch, 1);
    int error = weft_dump_take(runtime, &dump);
    atomic_fetch_add(&epoch, 1);
    int64_t total = weft_time_now() - start;
    bench_must(error, "weft_dump_take");
    bench_must(weft_dump_get_info(dump, &info), "weft_dump_get_info");
    if (info.tasks < tasks || !info.complete)
        bench_fail("the dump has %zu tasks of %u: %s", info.tasks, tasks,
                   info.problem == NULL ? "complete" : info.problem);
    return (double)total / (double)WEFT_MILLISECOND;
}

static void run_dump(const struct point *point, double *ret_values)
{
    static struct yielder yielders[1024]; // outlives this call
    unsigned workers = (unsigned)point_number(point, "workers");
    unsigned tasks = (unsigned)point_number(point, "tasks");
    weft_task_options options = {.size = sizeof(options),
                                 .runtime = steady_runtime(workers),
                                 .name = "yielder"};

    parked_start(options.runtime, tasks);
    for (unsigned i = 0; i < workers; i++)
        bench_must(
            weft_task_spawn(&options, yield_and_look, &yielders[i], NULL),
            "weft_task_spawn");
    bench_sleep_ns(SETTLE_NS);
    ret_values[0] = take(options.runtime, tasks);
    bench_sleep_ns(SETTLE_NS); // the last gap ends
    ret_values[1] = worst_ms(yielders, workers);
}

void bench_dump(const struct settings *settings)
{
    struct point point = {
        .names = {"dump-total", "dump-gap"},
        .unit = "ms",
        .params = {{"tasks", 0, NULL}, {"workers", settings->workers, NULL}},
        .run = run_dump,
    };

    for (unsigned tasks = 1000; tasks <= 1000000; tasks *= 10) {
        point.params[0].number = tasks;
        point.runs = tasks == 1000000 ? 3 : 5;
        bench_measure(settings, &point);
        bench_peers(settings, &point);
    }
}
