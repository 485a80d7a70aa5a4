// findings.c -- What is wrong in a dump: the rules that judge it.
//
// Deadlock. A task that waits for an object waits for who holds it; one that
// joins waits for the joined. So each task has at most one task that it waits
// for, and the graph is walked in one pass: follow the edges from every task
// not yet seen; coming back to a task of the same walk is a new cycle, coming
// upon one of an earlier walk leads to that one's cycle, or to none.
//
// No-yield. A task that has kept its worker for longer than the runtime's
// threshold.
#include "dump/findings.h"

#include <errno.h>
#include <stdlib.h>

#include "base/grow.h"

#define IN_CYCLE UINT32_MAX

struct judge {
    struct weft_dump *dump;
    size_t room;    // of dump->findings
    uint32_t *next; // whom each task waits for, or WEFT_NONE
    uint32_t *walk; // number of the walk that saw it, from 1; 0: none;
                    // IN_CYCLE once it is known to be in one
    uint32_t *ends; // finding that it leads to, or WEFT_NONE
};

// Whoever holds an object. If several do, all must give it back, so each of
// them is waited for: one that waits itself is taken, if there is one.
static uint32_t holder_of(const struct weft_dump *dump, uint32_t object)
{
    const struct model_object *o = &dump->objects[object];

    for (uint32_t i = 0; i < o->holder_count; i++) {
        uint32_t holder = dump->holders[o->holder + i];
        if (model_task(dump, holder).state == WEFT_STATE_WAITING ||
            i + 1 == o->holder_count)
            return holder;
    }
    return WEFT_NONE;
}

static uint32_t waits_for(struct weft_dump *dump, const struct model_task *m)
{
    if (m->state != WEFT_STATE_WAITING)
        return WEFT_NONE;
    if (m->wait == WEFT_WAIT_JOIN)
        return model_find(dump, m->wait_task);
    return m->object == WEFT_NONE ? WEFT_NONE : holder_of(dump, m->object);
}

// Whether another than the holder may end this wait: by giving a semaphore's
// permit, or by being the writer who keeps a reader from other readers.
static bool may_be_helped(const struct weft_dump *dump,
                          const struct model_task *m)
{
    if (m->object == WEFT_NONE)
        return false;
    return m->wait == WEFT_WAIT_SEMAPHORE ||
           (m->wait == WEFT_WAIT_RWLOCK_READ &&
            dump->objects[m->object].owner == 0);
}

static struct model_finding *add(struct judge *judge)
{
    struct weft_dump *dump = judge->dump;

    if (!grow(&dump->findings, &judge->room, dump->finding_count + 1,
              sizeof *dump->findings))
        return NULL;
    struct model_finding *finding = &dump->findings[dump->finding_count++];
    *finding = (struct model_finding){.worker = WEFT_NONE};
    return finding;
}

static bool alloc_members(struct model_finding *finding, uint32_t count)
{
    finding->tasks = malloc(count * sizeof *finding->tasks);
    finding->objects = malloc(count * sizeof *finding->objects);
    finding->task_count = count;
    return finding->tasks != NULL && finding->objects != NULL;
}

// ---- Deadlock ----

// The cycle through `member`, beginning with its smallest id.
static uint32_t measure(const struct judge *judge, uint32_t member,
                        uint32_t *ret_first)
{
    uint32_t count = 0;
    uint32_t at = member;

    *ret_first = member;
    do {
        if (model_task(judge->dump, at).id <
            model_task(judge->dump, *ret_first).id)
            *ret_first = at;
        at = judge->next[at];
        count++;
    } while (at != member);
    return count;
}

static int add_deadlock(struct judge *judge, uint32_t member)
{
    struct weft_dump *dump = judge->dump;
    uint32_t index = (uint32_t)dump->finding_count;
    struct model_finding *finding = add(judge);
    uint32_t at;
    uint32_t count = measure(judge, member, &at);

    if (finding == NULL || !alloc_members(finding, count))
        return -ENOMEM;
    finding->rule = WEFT_RULE_DEADLOCK;
    finding->severity = WEFT_SEVERITY_ERROR;
    finding->certainty =
        dump->consistent ? WEFT_CERTAINTY_PROVEN : WEFT_CERTAINTY_LIKELY;
    finding->since_ns = INT64_MAX;
    for (uint32_t i = 0; i < count; i++, at = judge->next[at]) {
        const struct model_task m = model_task(dump, at);
        finding->tasks[i] = at;
        finding->objects[i] = m.object;
        judge->ends[at] = index;
        judge->walk[at] = IN_CYCLE;
        if (m.state_ns < finding->since_ns)
            finding->since_ns = m.state_ns; // the last one closed the cycle
        if (m.timeout_in_ns != WEFT_NEVER || may_be_helped(dump, &m))
            finding->certainty = WEFT_CERTAINTY_LIKELY; // it may give up
    }
    return 0;
}

// Follows the edges from a task to where they lead, then tells all on the way.
static int walk_from(struct judge *judge, uint32_t start, uint32_t walk)
{
    uint32_t at = start;
    int error = 0;

    while (at != WEFT_NONE && judge->walk[at] == 0) {
        judge->walk[at] = walk;
        at = judge->next[at];
    }
    if (at != WEFT_NONE && judge->walk[at] == walk)
        error = add_deadlock(judge, at);
    uint32_t end = at == WEFT_NONE ? WEFT_NONE : judge->ends[at];
    for (at = start; at != WEFT_NONE && judge->walk[at] == walk &&
                     judge->ends[at] == WEFT_NONE && end != WEFT_NONE;
         at = judge->next[at])
        judge->ends[at] = end;
    return error;
}

// Those who lead to a cycle without being in it.
static int add_behind(struct judge *judge)
{
    struct weft_dump *dump = judge->dump;
    size_t *rooms = calloc(dump->finding_count + 1, sizeof *rooms);
    int error = rooms == NULL ? -ENOMEM : 0;

    for (uint32_t i = 0; error == 0 && i < dump->task_count; i++) {
        if (judge->ends[i] == WEFT_NONE)
            continue;
        struct model_finding *finding = &dump->findings[judge->ends[i]];
        if (judge->walk[i] == IN_CYCLE)
            continue;
        if (!grow(&finding->behind, &rooms[judge->ends[i]],
                  finding->behind_count + 1, sizeof *finding->behind))
            error = -ENOMEM;
        else
            finding->behind[finding->behind_count++] = i;
    }
    free(rooms);
    return error;
}

static int find_deadlocks(struct judge *judge)
{
    struct weft_dump *dump = judge->dump;
    int error = 0;

    for (uint32_t i = 0; i < dump->task_count; i++) {
        const struct model_task task = model_task(dump, i);
        judge->next[i] = waits_for(dump, &task);
        judge->ends[i] = WEFT_NONE;
    }
    for (uint32_t i = 0; error == 0 && i < dump->task_count; i++)
        if (judge->walk[i] == 0)
            error = walk_from(judge, i, i + 1);
    return error == 0 ? add_behind(judge) : error;
}

// ---- No-yield ----

static int find_no_yield(struct judge *judge)
{
    struct weft_dump *dump = judge->dump;

    for (size_t i = 0; i < dump->worker_count; i++) {
        const weft_dump_worker *w = &dump->workers[i];
        uint32_t task = w->task == 0 ? WEFT_NONE : model_find(dump, w->task);
        if (task == WEFT_NONE || w->busy_ns < dump->no_yield_ns)
            continue;
        struct model_finding *finding = add(judge);
        if (finding == NULL || !alloc_members(finding, 1))
            return -ENOMEM;
        finding->rule = WEFT_RULE_NO_YIELD;
        finding->severity = WEFT_SEVERITY_WARNING;
        finding->certainty = WEFT_CERTAINTY_THRESHOLD;
        finding->since_ns = w->busy_ns;
        finding->threshold_ns = dump->no_yield_ns;
        finding->tasks[0] = task;
        finding->objects[0] = WEFT_NONE;
        finding->worker = w->index;
    }
    return 0;
}

int findings_add(struct weft_dump *dump)
{
    struct judge judge = {.dump = dump};
    size_t count = dump->task_count + 1;
    int error = -ENOMEM;

    judge.next = malloc(count * sizeof *judge.next);
    judge.walk = calloc(count, sizeof *judge.walk);
    judge.ends = malloc(count * sizeof *judge.ends);
    if (judge.next != NULL && judge.walk != NULL && judge.ends != NULL)
        error = find_deadlocks(&judge);
    if (error == 0)
        error = find_no_yield(&judge);
    free(judge.next);
    free(judge.walk);
    free(judge.ends);
    return error;
}
