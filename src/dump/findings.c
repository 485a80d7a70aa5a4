// findings.c -- What is wrong in a dump: drives the rules that judge it.
//
// Each rule has a family's file, find_*.c. They cost one walk over all tasks,
// and memory by what is suspicious: in a healthy dump of a million tasks a few
// counters and a number for each spawn site.
#include "dump/findings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "dump/find.h"
#include "dump/rules.h"

static const char *const names[WEFT_RULE_COUNT] = {
    [WEFT_RULE_DEADLOCK] = "deadlock",     [WEFT_RULE_NO_YIELD] = "no-yield",
    [WEFT_RULE_ALL_ASLEEP] = "all-asleep", [WEFT_RULE_STALL] = "stall",
    [WEFT_RULE_LOST_PEER] = "lost-peer",   [WEFT_RULE_SYSCALL] = "syscall",
    [WEFT_RULE_READY] = "ready",           [WEFT_RULE_STACK] = "stack",
    [WEFT_RULE_GROWTH] = "growth",
};

const char *weft_rule_name(enum weft_rule rule)
{
    return (unsigned)rule < WEFT_RULE_COUNT ? names[rule] : NULL;
}

// ---- What the rules call ----

bool judge_wants(const struct judge *judge, enum weft_rule rule)
{
    return (judge->limits->rules_off & WEFT_RULE_BIT(rule)) == 0;
}

struct model_finding *judge_add(struct judge *judge, enum weft_rule rule,
                                uint32_t count, bool chain)
{
    struct weft_dump *dump = judge->dump;
    size_t bytes = (count + 1) * sizeof(uint32_t);

    if (!grow(&dump->findings, &judge->room, dump->finding_count + 1,
              sizeof *dump->findings))
        return NULL;
    struct model_finding *finding = &dump->findings[dump->finding_count++];
    *finding = (struct model_finding){
        .rule = rule,
        .severity = WEFT_SEVERITY_WARNING,
        .certainty = WEFT_CERTAINTY_THRESHOLD,
        .tasks = calloc(1, bytes),
        .task_count = count,
        .count = count,
        .worker = WEFT_NONE,
        .object = WEFT_NONE,
        .site = WEFT_NONE,
    };
    if (chain)
        finding->objects = malloc(bytes);
    if (finding->objects != NULL)
        memset(finding->objects, 0xff, bytes); // WEFT_NONE
    return finding->tasks == NULL || (chain && finding->objects == NULL)
               ? NULL
               : finding;
}

bool judge_is_stuck(const struct judge *judge, uint32_t task)
{
    return judge->stuck != NULL && (judge->stuck[task / 8] >> task % 8 & 1);
}

void worst_see(struct worst *worst, int64_t value, uint32_t task)
{
    uint32_t at = worst->count;

    worst->total++;
    if (at == WORST_MAX && value <= worst->entries[at - 1].value)
        return;
    if (at == WORST_MAX)
        at--;
    else
        worst->count++;
    for (; at > 0 && worst->entries[at - 1].value < value; at--)
        worst->entries[at] = worst->entries[at - 1];
    worst->entries[at].value = value;
    worst->entries[at].task = task;
}

struct model_finding *worst_add(struct judge *judge, enum weft_rule rule,
                                const struct worst *worst)
{
    struct model_finding *finding = judge_add(judge, rule, worst->count, false);

    for (uint32_t i = 0; finding != NULL && i < worst->count; i++)
        finding->tasks[i] = worst->entries[i].task;
    if (finding != NULL)
        finding->count = worst->total;
    return finding;
}

// ---- The walk ----

// Ready for longer than its place in the queue explains.
static void ready_see(struct judge *judge, uint32_t task,
                      const struct model_task *m)
{
    const struct weft_dump *dump = judge->dump;
    int64_t ns = m->state_ns;

    if (dump->away_ns > 0 && ns > dump->away_until_ns)
        ns -= dump->away_ns;
    if (ns >= judge->limits->ready_ns &&
        ns / judge->limits->ready_factor >= ready_expected_ns(dump, m))
        worst_see(&judge->ready, ns, task);
}

static void look_at(struct judge *judge, uint32_t task,
                    const struct model_task *m)
{
    if (m->site < judge->dump->site_count)
        judge->site_tasks[m->site] += m->state != WEFT_STATE_DONE;
    if ((uint64_t)m->stack_used * 100 >
        (uint64_t)m->stack_size * judge->limits->stack_percent)
        worst_see(&judge->full_stacks,
                  (int64_t)m->stack_used * 1000 / m->stack_size, task);
    switch ((enum weft_task_state)m->state) {
    case WEFT_STATE_WAITING:
        asleep_see(judge, task, m);
        graph_see(judge, task, m);
        break;
    case WEFT_STATE_READY:
    case WEFT_STATE_NEW:
        ready_see(judge, task, m);
        judge->awake = true;
        break;
    case WEFT_STATE_RUNNING:
        judge->awake = true;
        break;
    case WEFT_STATE_DONE:
        break;
    }
}

static int walk(struct judge *judge)
{
    judge->site_tasks =
        calloc(judge->dump->site_count + 1, sizeof *judge->site_tasks);
    if (judge->site_tasks == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < judge->dump->task_count; i++) {
        const struct model_task m = model_task(judge->dump, i);
        look_at(judge, i, &m);
    }
    return graph_finish(judge);
}

// ---- The order ----

// By severity; within one as the rules have spoken.
static int sort(struct weft_dump *dump)
{
    struct model_finding *sorted =
        malloc((dump->finding_count + 1) * sizeof *sorted);
    size_t count = 0;

    if (sorted == NULL)
        return -ENOMEM;
    for (enum weft_severity s = WEFT_SEVERITY_ERROR; s <= WEFT_SEVERITY_INFO;
         s++)
        for (size_t i = 0; i < dump->finding_count; i++)
            if (dump->findings[i].severity == s)
                sorted[count++] = dump->findings[i];
    free(dump->findings);
    dump->findings = sorted;
    return 0;
}

int findings_add(struct weft_dump *dump)
{
    static const struct {
        enum weft_rule rule;
        int (*find)(struct judge *judge);
    } families[] = {
        {WEFT_RULE_DEADLOCK, find_deadlocks}, // first: fills in `stuck`
        {WEFT_RULE_ALL_ASLEEP, find_asleep},    {WEFT_RULE_STALL, find_stalls},
        {WEFT_RULE_LOST_PEER, find_lost_peers}, {WEFT_RULE_SYSCALL, find_calls},
        {WEFT_RULE_NO_YIELD, find_no_yield},    {WEFT_RULE_READY, find_ready},
        {WEFT_RULE_STACK, find_stacks},         {WEFT_RULE_GROWTH, find_growth},
    };
    struct judge judge = {.dump = dump, .limits = &dump->limits};

    rules_set_defaults(&dump->limits);
    int error = walk(&judge);
    for (size_t i = 0; error == 0 && i < sizeof families / sizeof *families;
         i++)
        if (judge_wants(&judge, families[i].rule))
            error = families[i].find(&judge);
    graph_deinit(&judge.graph);
    free(judge.site_tasks);
    free(judge.stuck);
    return error == 0 ? sort(dump) : error;
}
