// finder.c -- What a runtime's findings need beyond one dump.
//
//   F1  A reference is dropped with release, the last one with acquire: it
//       frees the finder only after all others have done with it. Whoever adds
//       one holds one (the runtime's).
#include "dump/finder.h"

#include <errno.h>
#include <stdlib.h>

// ---- Settings ----

static void set(int64_t *field, int64_t value)
{
    if (*field == 0)
        *field = value;
}

static void set32(uint32_t *field, uint32_t value)
{
    if (*field == 0)
        *field = value;
}

void finder_set_defaults(weft_finding_options *limits)
{
    limits->size = sizeof *limits;
    set(&limits->asleep_ns, WEFT_SECOND);
    set32(&limits->stall_waiters, 10);
    set(&limits->stall_ns, 10 * WEFT_SECOND);
    set(&limits->lost_peer_ns, 10 * WEFT_SECOND);
    set(&limits->ready_ns, WEFT_SECOND);
    set32(&limits->ready_factor, 10);
    set32(&limits->stack_percent, 87);
    set32(&limits->growth_tasks, 10000);
    set32(&limits->growth_percent, 25);
}

bool finder_check(const weft_finding_options *o)
{
    return o->size == sizeof *o && o->rules_off >> WEFT_RULE_COUNT == 0 &&
           o->asleep_ns >= 0 && o->stall_ns >= 0 && o->lost_peer_ns >= 0 &&
           o->syscall_ns >= 0 && o->ready_ns >= 0 && o->stack_percent <= 99;
}

// ---- Life ----

int finder_new(struct weft_runtime *runtime, const weft_finding_options *limits)
{
    struct finder *finder = calloc(1, sizeof *finder);

    if (finder == NULL)
        return -ENOMEM;
    finder->limits = *limits;
    store_relaxed(&finder->references, 1); // not shared yet
    runtime->finder = finder;
    return 0;
}

void finder_drop(struct finder *finder)
{
    if (finder == NULL || sub_acq_rel(&finder->references, 1) > 1) // F1
        return;
    free(finder->sites);
    free(finder);
}

void finder_free(struct weft_runtime *runtime)
{
    finder_drop(runtime->finder);
    runtime->finder = NULL;
}

// ---- What a dump takes along ----

static int64_t mean_run_ns(const struct weft_runtime *runtime)
{
    uint64_t sum = 0;
    uint32_t count = 0;

    for (uint32_t i = 0; i < runtime->worker_count; i++) {
        uint64_t mean = load_relaxed(&runtime->cores[i].mean_run_ns);
        sum += mean;
        count += mean > 0;
    }
    return count == 0 ? 0 : (int64_t)(sum / count);
}

void finder_attach(struct weft_runtime *runtime, struct weft_dump *dump)
{
    struct finder *finder = runtime->finder;
    uint64_t until = load_relaxed(&runtime->away_until); // watchdog.c W1
    uint64_t now = port_ticks();

    (void)add_relaxed(&finder->references, 1); // F1
    dump->finder = finder;
    dump->limits = finder->limits;
    dump->no_yield_ns = runtime->no_yield_ns;
    dump->mean_run_ns = mean_run_ns(runtime);
    dump->inject_length = load_relaxed(&runtime->inject.length); // a figure
    dump->away_ns = (int64_t)load_relaxed(&runtime->away_ns);
    dump->away_until_ns = until < now ? port_ticks_to_ns(now - until) : 0;
}

bool finder_sees_outsiders(void)
{
    uint32_t all, started;

    if (runtime_count() != 1 || !port_threads(&all, &started))
        return true;
    return all > started + load_relaxed(&threads_blocked); // a figure
}
