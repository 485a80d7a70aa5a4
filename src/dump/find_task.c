// find_task.c -- What is wrong with tasks one by one: stacks nearly full, and
// spawn sites whose tasks become more and more.
//
// Growth is seen by comparing with dumps before: for each spawn site the
// runtime keeps the least number of tasks alive since it last was a finding. So
// a slow growth is found as surely as a quick one.
#include <errno.h>
#include <stdlib.h>

#include "dump/find.h"
#include "dump/rules.h"

int find_stacks(struct judge *judge)
{
    const struct worst *worst = &judge->full_stacks;

    if (worst->count == 0)
        return 0;
    struct model_finding *finding = worst_add(judge, WEFT_RULE_STACK, worst);
    if (finding == NULL)
        return -ENOMEM;
    finding->since_ns = model_task(judge->dump, finding->tasks[0]).state_ns;
    finding->figure = worst->entries[0].value; // in thousandths of its stack
    return 0;
}

// ---- Growth ----

static int by_pc(const void *a, const void *b)
{
    const struct rules_site *x = a, *y = b;

    return (x->pc > y->pc) - (x->pc < y->pc);
}

static const struct rules_site *find_before(const struct rules *rules,
                                            uintptr_t pc)
{
    struct rules_site key = {.pc = pc};

    return rules->site_count == 0
               ? NULL
               : bsearch(&key, rules->sites, rules->site_count,
                         sizeof *rules->sites, by_pc);
}

static bool has_grown(const struct judge *judge, uint32_t tasks, uint32_t least)
{
    uint64_t limit = (uint64_t)least * (100 + judge->limits->growth_percent);

    return least > 0 && tasks >= judge->limits->growth_tasks &&
           (uint64_t)tasks * 100 >= limit;
}

static int add_growth(struct judge *judge, uint32_t site,
                      const struct rules_site *before)
{
    struct model_finding *finding =
        judge_add(judge, WEFT_RULE_GROWTH, 0, false);

    if (finding == NULL)
        return -ENOMEM;
    finding->site = site;
    finding->count = judge->site_tasks[site];
    finding->figure = before->least;
    finding->since_ns = judge->dump->wall_time_ns - before->when_ns;
    return 0;
}

static int judge_site(struct judge *judge, const struct rules *rules,
                      uint32_t site, struct rules_site *ret_site)
{
    const struct weft_dump *dump = judge->dump;
    uint32_t tasks = judge->site_tasks[site];
    const struct rules_site *before = find_before(rules, dump->sites[site]);

    *ret_site = (struct rules_site){
        .pc = dump->sites[site], .least = tasks, .when_ns = dump->wall_time_ns};
    if (before == NULL || tasks <= before->least)
        return 0;
    if (has_grown(judge, tasks, before->least))
        return add_growth(judge, site, before);
    *ret_site = *before;
    return 0;
}

// Sites that have no task now are forgotten. The rules's lock is held.
static int compare(struct judge *judge, struct rules *rules)
{
    const struct weft_dump *dump = judge->dump;
    struct rules_site *sites = malloc((dump->site_count + 1) * sizeof *sites);
    int error = sites == NULL ? -ENOMEM : 0;

    for (uint32_t i = 0; error == 0 && i < dump->site_count; i++)
        error = judge_site(judge, rules, i, &sites[i]);
    if (error != 0) {
        free(sites);
        return error;
    }
    if (dump->site_count > 1)
        qsort(sites, dump->site_count, sizeof *sites, by_pc);
    free(rules->sites);
    rules->sites = sites;
    rules->site_count = dump->site_count;
    rules->newest_ns = dump->wall_time_ns;
    return 0;
}

int find_growth(struct judge *judge)
{
    struct rules *rules = judge->dump->rules;
    int error = 0;

    if (rules == NULL)
        return 0;
    lock_acquire(&rules->lock);
    if (judge->dump->wall_time_ns > rules->newest_ns) // else it came late
        error = compare(judge, rules);
    lock_release(&rules->lock);
    return error;
}
