// find_stall.c -- Objects on which nothing happens while tasks wait for them.
//
// Stall. Many wait for one object, and none has got it for long. Who holds it,
// or served it last, may wait itself; the chain is followed to its root, and
// told once for each root. That tasks wait to receive is no fault by itself:
// workers do while there is no work. It is one if the last sender is kept by a
// held object, by a run or a call that does not end, or by a deadlock.
//
// Lost peer. The only task that ever served a channel has ended, and the
// others wait on it still.
#include <errno.h>
#include <stdlib.h>

#include "base/grow.h"
#include "dump/find.h"

// An object that may be stalled.
struct stalled {
    uint32_t object;
    int64_t ns;
};

// From an object to the task that is in the way.
struct chain {
    uint32_t tasks[CHAIN_MAX];
    uint32_t objects[CHAIN_MAX]; // what each waits for
    uint32_t count;
    bool fault; // something in it is more than waiting for work
};

// Those who wait longest for an object; lists who waits for what, so asked
// only where something is suspicious.
static void see_waiters(const struct weft_dump *dump, uint32_t object,
                        struct worst *ret_worst)
{
    *ret_worst = (struct worst){0};
    for (uint32_t i = 0; i < dump->objects[object].waiter_count; i++) {
        uint32_t task = model_waiter(dump, object, i);
        if (task != WEFT_NONE) // else: no memory to list them
            worst_see(ret_worst, model_task(dump, task).state_ns, task);
    }
}

static int64_t longest_wait(const struct weft_dump *dump, uint32_t object)
{
    struct worst worst;

    see_waiters(dump, object, &worst);
    return worst.entries[0].value;
}

// ---- Stall ----

// For how long nobody can have got it; INT64_MAX: nothing is known.
static int64_t quiet_ns(const struct weft_dump *dump, uint32_t object)
{
    const struct model_object *o = &dump->objects[object];
    const struct model_peers *peers = graph_peers(dump, object);

    if (o->owner != 0 || o->owner_tid != 0)
        return o->held_ns;
    return peers != NULL && peers->ids[0] != 0 ? peers->last_ns : INT64_MAX;
}

static bool is_faulty(const struct judge *judge, const struct model_task *m)
{
    if (m->state == WEFT_STATE_WAITING && m->object != WEFT_NONE &&
        graph_binds(&judge->dump->objects[m->object]))
        return true;
    return m->state_ns >= judge->limits->stall_ns &&
           (m->state == WEFT_STATE_RUNNING ||
            (m->state == WEFT_STATE_WAITING && m->wait == WEFT_WAIT_BLOCKING));
}

static bool is_in(const struct chain *chain, uint32_t task)
{
    for (uint32_t i = 0; i < chain->count; i++)
        if (chain->tasks[i] == task)
            return true;
    return false;
}

static void follow(const struct judge *judge, uint32_t object,
                   struct chain *ret_chain)
{
    const struct model_object *o = &judge->dump->objects[object];
    uint32_t at = graph_binds(o) ? graph_holder(judge->dump, object)
                                 : graph_server(judge->dump, object, false);

    *ret_chain = (struct chain){0};
    while (at != WEFT_NONE && ret_chain->count < CHAIN_MAX &&
           !is_in(ret_chain, at)) {
        const struct model_task m = model_task(judge->dump, at);
        ret_chain->tasks[ret_chain->count] = at;
        ret_chain->fault |= is_faulty(judge, &m) || judge_is_stuck(judge, at);
        at = graph_next(judge, &m, &ret_chain->objects[ret_chain->count]);
        ret_chain->count++;
    }
}

// Whether a stall with the same root is there.
static bool is_told(const struct weft_dump *dump, const struct chain *chain)
{
    for (size_t i = 0; chain->count > 0 && i < dump->finding_count; i++) {
        const struct model_finding *f = &dump->findings[i];
        if (f->rule == WEFT_RULE_STALL && f->task_count > 0 &&
            f->tasks[f->task_count - 1] == chain->tasks[chain->count - 1])
            return true;
    }
    return false;
}

static int add_stall(struct judge *judge, const struct stalled *stalled,
                     const struct chain *chain)
{
    const struct model_object *o = &judge->dump->objects[stalled->object];
    struct model_finding *finding =
        judge_add(judge, WEFT_RULE_STALL, chain->count, true);

    if (finding == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < chain->count; i++) {
        finding->tasks[i] = chain->tasks[i];
        finding->objects[i] = chain->objects[i];
    }
    if (!graph_binds(o))
        finding->certainty = WEFT_CERTAINTY_LIKELY;
    finding->object = stalled->object;
    finding->count = o->waiter_count;
    finding->since_ns = stalled->ns;
    finding->threshold_ns = judge->limits->stall_ns;
    return 0;
}

// Whether an object on which nothing happens is worth a word.
static bool is_stall(const struct judge *judge, uint32_t object,
                     const struct chain *chain)
{
    const struct model_object *o = &judge->dump->objects[object];

    if (is_told(judge->dump, chain))
        return false;
    if (chain->count > 0 && judge_is_stuck(judge, chain->tasks[0])) {
        uint32_t waiter = model_waiter(judge->dump, object, 0);
        if (waiter != WEFT_NONE && judge_is_stuck(judge, waiter))
            return false; // the deadlock has listed those who wait
    }
    if (!model_is_channel(o->kind)) // an event may well be long in coming
        return graph_binds(o) || o->owner_tid != 0;
    return !o->receives || chain->fault;
}

// The one with the most waiters first.
static int by_waiters(const void *a, const void *b, void *arg)
{
    const struct weft_dump *dump = arg;
    uint32_t x = ((const struct stalled *)a)->object;
    uint32_t y = ((const struct stalled *)b)->object;
    uint32_t more = dump->objects[x].waiter_count;
    uint32_t less = dump->objects[y].waiter_count;

    return more != less ? (more < less) - (more > less) : (x > y) - (x < y);
}

static int collect(struct judge *judge, struct stalled **ret_list,
                   size_t *ret_count)
{
    const struct weft_dump *dump = judge->dump;
    size_t room = 0;

    for (uint32_t i = 0; i < dump->object_count; i++) {
        if (dump->objects[i].waiter_count < judge->limits->stall_waiters)
            continue;
        int64_t ns = quiet_ns(dump, i);
        if (ns < judge->limits->stall_ns)
            continue;
        if (!grow(ret_list, &room, *ret_count + 1, sizeof **ret_list))
            return -ENOMEM;
        (*ret_list)[(*ret_count)++] = (struct stalled){i, ns};
    }
    return 0;
}

static int judge_stall(struct judge *judge, struct stalled *stalled,
                       uint32_t *told)
{
    struct chain chain;

    follow(judge, stalled->object, &chain);
    if (!is_stall(judge, stalled->object, &chain))
        return 0;
    int64_t longest = longest_wait(judge->dump, stalled->object);
    if (longest < stalled->ns)
        stalled->ns = longest;
    if (stalled->ns < judge->limits->stall_ns)
        return 0;
    ++*told;
    return add_stall(judge, stalled, &chain);
}

int find_stalls(struct judge *judge)
{
    struct stalled *list = NULL;
    size_t count = 0;
    uint32_t told = 0;
    int error = collect(judge, &list, &count);

    if (error == 0 && count > 1)
        qsort_r(list, count, sizeof *list, by_waiters, judge->dump);
    for (size_t i = 0; error == 0 && i < count && told < FINDINGS_OF_RULE_MAX;
         i++)
        error = judge_stall(judge, &list[i], &told);
    free(list);
    return error;
}

// ---- Lost peer ----

static bool is_lost(const struct weft_dump *dump,
                    const struct model_peers *peers)
{
    if (peers == NULL || peers->more || peers->ids[0] == 0 ||
        peers->ids[0] == MODEL_OUTSIDE || peers->ids[1] != 0)
        return false;
    uint32_t task = model_find(dump, peers->ids[0]);
    return task == WEFT_NONE || model_task(dump, task).state == WEFT_STATE_DONE;
}

static int add_lost_peer(struct judge *judge, uint32_t object,
                         const struct model_peers *peers, bool *ret_told)
{
    struct worst worst;

    see_waiters(judge->dump, object, &worst);
    if (worst.entries[0].value < judge->limits->lost_peer_ns)
        return 0;
    struct model_finding *finding =
        worst_add(judge, WEFT_RULE_LOST_PEER, &worst);
    if (finding == NULL)
        return -ENOMEM;
    finding->certainty = WEFT_CERTAINTY_LIKELY;
    finding->object = object;
    finding->since_ns = worst.entries[0].value;
    finding->threshold_ns = judge->limits->lost_peer_ns;
    finding->lost = peers->ids[0];
    finding->figure = peers->last_ns;
    *ret_told = true;
    return 0;
}

int find_lost_peers(struct judge *judge)
{
    const struct weft_dump *dump = judge->dump;
    uint32_t told = 0;
    int error = 0;

    for (uint32_t i = 0;
         error == 0 && i < dump->object_count && told < FINDINGS_OF_RULE_MAX;
         i++) {
        const struct model_peers *peers = graph_peers(dump, i);
        bool one = false;
        if (is_lost(dump, peers) &&
            peers->last_ns >= judge->limits->lost_peer_ns)
            error = add_lost_peer(judge, i, peers, &one);
        told += one;
    }
    return error;
}
