// steady.h -- Measures what tasks do over and over, once they are all at it.
#ifndef BENCH_STEADY_H
#define BENCH_STEADY_H

#include <stdatomic.h>
#include <weft/weft.h>

// A task that is measured. Each has cache lines of its own.
struct doer {
    _Atomic uint64_t done; // operations; written by the task alone
    unsigned index;        // counted from 0
    void *shared;          // what all of them work on
} __attribute__((aligned(128)));

// Counts one operation.
static inline void doer_count(struct doer *doer)
{
    uint64_t done = atomic_load_explicit(&doer->done, memory_order_relaxed);

    atomic_store_explicit(&doer->done, done + 1, memory_order_relaxed);
}

// Starts a runtime, lets `tasks` tasks run `fn`, which gets its struct doer
// and never returns, and gives them a tenth of a second to warm up. Returns
// the nanoseconds of wall time per operation over the next three tenths, the
// operations of all tasks taken together. The runtime is left running.
double steady_ns(unsigned workers, unsigned tasks, weft_task_fn *fn,
                 void *shared);

// From now on processor time of the process is measured in place of wall time:
// for comparisons on a machine that others use too, with one worker.
void steady_by_cpu(void);

// A runtime with so many workers, which nobody dumps by signal.
weft_runtime *steady_runtime(unsigned workers);

#endif
