// rules.c -- What a runtime's findings need beyond one dump.
//
//   F1  A reference is dropped with release, the last one with acquire: it
//       frees the rules only after all others have done with it. Whoever adds
//       one holds one (the runtime's).
#include "dump/rules.h"

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

void rules_set_defaults(weft_finding_options *limits)
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

bool rules_check(const weft_finding_options *o)
{
    return o->size == sizeof *o && o->rules_off >> WEFT_RULE_COUNT == 0 &&
           o->asleep_ns >= 0 && o->stall_ns >= 0 && o->lost_peer_ns >= 0 &&
           o->syscall_ns >= 0 && o->ready_ns >= 0 && o->stack_percent <= 99;
}

// ---- Life ----

int rules_new(struct weft_runtime *runtime, const weft_finding_options *limits)
{
    struct rules *rules = calloc(1, sizeof *rules);

    if (rules == NULL)
        return -ENOMEM;
    rules->limits = *limits;
    store_relaxed(&rules->references, 1); // not shared yet
    runtime->rules = rules;
    return 0;
}

void rules_drop(struct rules *rules)
{
    if (rules == NULL || sub_acq_rel(&rules->references, 1) > 1) // F1
        return;
    free(rules->sites);
    free(rules);
}

void rules_free(struct weft_runtime *runtime)
{
    rules_drop(runtime->rules);
    runtime->rules = NULL;
}

// ---- What a dump takes along ----

static int64_t mean_run_ns(const struct weft_runtime *runtime)
{
    uint64_t sum = 0;
    uint32_t workers = worker_count(runtime);
    uint32_t count = 0;

    for (uint32_t i = 0; i < workers; i++) {
        uint64_t mean = load_relaxed(&runtime->cores[i].mean_run_ns);
        sum += mean;
        count += mean > 0;
    }
    return count == 0 ? 0 : (int64_t)(sum / count);
}

void rules_attach(struct weft_runtime *runtime, uint64_t now,
                  struct weft_dump *dump)
{
    struct rules *rules = runtime->rules;
    uint64_t until = load_relaxed(&runtime->away_until); // watchdog.c W2

    (void)add_relaxed(&rules->references, 1); // F1
    dump->rules = rules;
    dump->limits = rules->limits;
    dump->no_yield_ns = runtime->no_yield_ns;
    dump->mean_run_ns = mean_run_ns(runtime);
    dump->inject_length = load_relaxed(&runtime->inject.length); // a figure
    dump->away_ns = (int64_t)load_relaxed(&runtime->away_ns);
    dump->away_until_ns = until < now ? port_ticks_to_ns(now - until) : 0;
}

bool rules_see_outsiders(void)
{
    uint32_t all, started;

    if (runtime_count() != 1 || !port_threads(&all, &started))
        return true;
    return all > started + load_relaxed(&threads_blocked); // a figure
}
