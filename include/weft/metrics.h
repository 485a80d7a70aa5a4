// metrics.h -- Figures of a runtime and of each of its workers.
#ifndef WEFT_METRICS_H
#define WEFT_METRICS_H

#include <weft/base.h>

WEFT_BEGIN

// A runtime's figures. Counters never go down while the runtime lives.
typedef struct weft_runtime_metrics {
    unsigned workers;          // worker threads, spare ones included
    unsigned workers_running;  // of these, that may run tasks now
    uint64_t hand_offs;        // times that one gave its place to another
    uint64_t tasks_live;       // tasks that have not ended
    uint64_t tasks_spawned;    // tasks ever started
    uint64_t inject_depth;     // tasks in the shared queue now
    uint64_t remote_schedules; // tasks put there from outside the workers
    uint64_t blocking_threads; // threads ever started for blocking calls
    uint64_t blocking_now;     // of these, alive now
    uint64_t blocking_queued;  // blocking calls that no thread has begun yet
    uint64_t dumps;            // dumps taken
    uint64_t dumps_incomplete; // of these, without a worker that did not come
} weft_runtime_metrics;

// A worker's figures. Counters never go down while the runtime lives.
typedef struct weft_worker_metrics {
    uint64_t tasks_run;        // times a task was given the worker
    uint64_t mean_run_ns;      // mean run time of late, exponentially weighted
    uint64_t parks;            // times the worker went to sleep
    uint64_t noop_parks;       // of these, woken to find nothing to do
    uint64_t steals;           // tasks taken from other workers
    uint64_t steal_operations; // successful visits to another worker's queue
    uint64_t local_schedules;  // tasks put into its own queue
    uint64_t overflows;        // times that queue was full
    uint64_t queue_depth;      // tasks in its queue now
    uint64_t busy_ns;          // time spent running tasks
} weft_worker_metrics;

// Reads a runtime's figures, without stopping it: they may be moments apart.
// May be called by tasks and threads. Does not park.
// Errors: -EINVAL (a null pointer).
WEFT_API int weft_runtime_metrics_get(const weft_runtime *runtime,
                                      weft_runtime_metrics *ret_metrics);

// Reads the figures of worker `index`, counted from zero. May be called by
// tasks and threads. Does not park.
// Errors: -EINVAL (a null pointer, or no such worker).
WEFT_API int weft_worker_metrics_get(const weft_runtime *runtime,
                                     unsigned index,
                                     weft_worker_metrics *ret_metrics);

WEFT_END

#endif
