// stats.c -- How long tasks run, and how often to look elsewhere, from that.
//
// A look at the shared queue and the driver should come about every 200 us:
// seldom enough to cost little, often enough that nobody there starves. Tasks
// of 10 us are so given 20 runs between two looks, tasks of 1 ms two.
#include "sched/stats.h"

enum {
    LOOK_EVERY_NS = 200000,
    INTERVAL_MIN = 2,
    INTERVAL_MAX = 127,
    INTERVAL_FIRST = 61,
};

static const double WEIGHT = 0.1; // of a whole interval's mean

void stats_init(struct stats *stats)
{
    *stats = (struct stats){.interval = INTERVAL_FIRST};
}

void stats_update(struct stats *stats, uint64_t runs, uint64_t busy_ticks)
{
    uint64_t count = runs - stats->last_runs;

    if (count == 0)
        return;
    double busy_ns = (double)port_ticks_to_ns(busy_ticks - stats->last_busy);
    double mean = busy_ns / (double)count;
    if (stats->last_runs == 0)
        stats->mean_run_ns = mean;
    stats->mean_run_ns += (mean - stats->mean_run_ns) * WEIGHT;
    stats->last_runs = runs;
    stats->last_busy = busy_ticks;

    double interval = LOOK_EVERY_NS / (stats->mean_run_ns + 1);
    if (interval < INTERVAL_MIN)
        interval = INTERVAL_MIN;
    if (interval > INTERVAL_MAX)
        interval = INTERVAL_MAX;
    stats->interval = (uint32_t)interval;
}
