// stats.h -- How long tasks run, and how often to look elsewhere, from that.
#ifndef WEFT_SCHED_STATS_H
#define WEFT_SCHED_STATS_H

#include "port/port.h"

// One worker's; written by its owner.
struct stats {
    double mean_run_ns; // exponentially weighted
    uint64_t last_runs; // tasks run at the last update
    uint64_t last_busy; // ticks busy at the last update
    uint32_t interval;  // ticks between looks at inject and driver
};

void stats_init(struct stats *stats);

// Brings the mean and the interval up to date with the counts so far.
void stats_update(struct stats *stats, uint64_t runs, uint64_t busy_ticks);

#endif
