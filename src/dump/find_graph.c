// find_graph.c -- Who waits for whom, as far as that can close a circle.
//
// A task waits for every holder of a mutex or the like, for the end of the one
// that it joins, for the ends of all children of a scope that it leaves, and
// likely for the one task that ever served a channel. It needs all of them, so
// any circle is a deadlock.
//
// Only a task that waits and is waited for can be in one: these are the nodes.
// A million tasks that wait for one mutex are none. What a node waits for is a
// key; the providers of a key are the nodes that it waits for:
//
//   an object's index           its holders; of a channel the one that serves
//   SCOPE_KEY + its address     a scope's children
//   JOIN_KEY + the task's index that task
//
// Of a scope's children those that wait for the same stand for each other; and
// children count only if whoever leaves the scope is waited for itself, so that
// main, leaving the scope of a million tasks, costs nothing.
#include <errno.h>
#include <stdlib.h>

#include "base/grow.h"
#include "dump/find.h"

#define SCOPE_KEY (UINT64_C(1) << 63)
#define JOIN_KEY (UINT64_C(1) << 32)
#define NO_KEY UINT64_MAX

bool graph_binds(const struct model_object *object)
{
    return object->holder_count > 0;
}

const struct model_peers *graph_peers(const struct weft_dump *dump,
                                      uint32_t object)
{
    const struct model_object *o = &dump->objects[object];

    if (!model_is_channel(o->kind) || o->waiter_count == 0 ||
        o->peers >= dump->channel_count)
        return NULL;
    const struct model_channel *channel = &dump->channels[o->peers];
    return o->receives ? &channel->sent : &channel->received;
}

uint32_t graph_server(const struct weft_dump *dump, uint32_t object, bool only)
{
    const struct model_peers *peers = graph_peers(dump, object);

    if (peers == NULL || peers->ids[0] == 0 || peers->ids[0] == MODEL_OUTSIDE)
        return WEFT_NONE;
    if (only && (peers->more || peers->ids[1] != 0))
        return WEFT_NONE;
    uint32_t task = model_find(dump, peers->ids[0]);
    if (task != WEFT_NONE && model_task(dump, task).state == WEFT_STATE_DONE)
        return WEFT_NONE;
    return task;
}

// ---- Collecting ----

static void add_waiting(struct graph *graph, struct waiting_one **list,
                        size_t *count, size_t *room, uint64_t target,
                        uint32_t task)
{
    if (!grow(list, room, *count + 1, sizeof **list))
        graph->failed = true;
    else
        (*list)[(*count)++] = (struct waiting_one){target, task};
}

static uint64_t key_of(const struct weft_dump *dump, const struct model_task *m)
{
    if (m->state != WEFT_STATE_WAITING)
        return NO_KEY;
    if (m->wait_scope != 0)
        return SCOPE_KEY + m->wait_scope;
    if (m->wait == WEFT_WAIT_JOIN) {
        uint32_t joined = model_find(dump, m->wait_task);
        return joined == WEFT_NONE ? NO_KEY : JOIN_KEY + joined;
    }
    if (m->object == WEFT_NONE)
        return NO_KEY;
    // Channels are judged by what was seen at one moment, or not at all.
    if (graph_binds(&dump->objects[m->object]) ||
        (dump->consistent && graph_server(dump, m->object, true) != WEFT_NONE))
        return m->object;
    return NO_KEY;
}

static void add_node(struct judge *judge, uint32_t task)
{
    struct graph *graph = &judge->graph;
    const struct model_task m = model_task(judge->dump, task);
    uint64_t key = key_of(judge->dump, &m);
    uint32_t number = (uint32_t)graph->node_count;

    if (key == NO_KEY || graph_node(graph, task) != WEFT_NONE)
        return;
    if (!grow(&graph->nodes, &graph->node_room, graph->node_count + 1,
              sizeof *graph->nodes) ||
        !map_add(&graph->numbers, (uint64_t)task + 1, number)) {
        graph->failed = true;
        return;
    }
    graph->nodes[graph->node_count++] =
        (struct node){.task = task, .key = key, .from = WEFT_NONE};
}

uint32_t graph_node(const struct graph *graph, uint32_t task)
{
    const uint32_t *found = map_find(&graph->numbers, (uint64_t)task + 1);

    return found == NULL ? WEFT_NONE : *found;
}

void graph_see(struct judge *judge, uint32_t task, const struct model_task *m)
{
    struct graph *graph = &judge->graph;

    if (m->wait == WEFT_WAIT_JOIN)
        add_waiting(graph, &graph->joins, &graph->join_count, &graph->join_room,
                    m->wait_task, task);
    else if (m->wait_scope != 0)
        add_waiting(graph, &graph->leaves, &graph->leave_count,
                    &graph->leave_room, m->wait_scope, task);
    if (m->held_count > 0)
        add_node(judge, task);
}

// ---- Those who are waited for without holding anything ----

static int by_target(const void *a, const void *b)
{
    const struct waiting_one *x = a, *y = b;

    if (x->target != y->target)
        return x->target < y->target ? -1 : 1;
    return x->task < y->task ? -1 : x->task > y->task;
}

static void sort(struct waiting_one *list, size_t count)
{
    if (count > 1)
        qsort(list, count, sizeof *list, by_target);
}

// The first entry whose target is not below `target`.
static size_t find_target(const struct waiting_one *list, size_t count,
                          uint64_t target)
{
    size_t low = 0;

    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (list[middle].target < target)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

static void add_joined(struct judge *judge)
{
    struct graph *graph = &judge->graph;

    for (size_t i = 0; i < graph->join_count; i++) {
        uint32_t task = model_find(judge->dump, graph->joins[i].target);
        graph->joins[i].target = task;
        if (task != WEFT_NONE)
            add_node(judge, task);
    }
    sort(graph->joins, graph->join_count);
}

static void add_servers(struct judge *judge)
{
    struct weft_dump *dump = judge->dump;
    struct graph *graph = &judge->graph;

    if (!dump->consistent)
        return;
    for (uint32_t o = 0; o < dump->object_count; o++) {
        uint32_t task = graph_server(dump, o, true);
        if (task == WEFT_NONE)
            continue;
        add_node(judge, task);
        if (graph_node(graph, task) != WEFT_NONE)
            add_waiting(graph, &graph->served, &graph->served_count,
                        &graph->served_room, task, o);
    }
    sort(graph->served, graph->served_count);
}

// ---- Children of scopes ----

// Who leaves a scope: the entry in `leaves`, or WEFT_NONE.
static uint32_t leaver_of(const struct graph *graph, uint64_t scope)
{
    size_t at = find_target(graph->leaves, graph->leave_count, scope);

    return scope != 0 && at < graph->leave_count &&
                   graph->leaves[at].target == scope
               ? (uint32_t)at
               : WEFT_NONE;
}

enum {
    UNKNOWN,
    ASKED, // on the way up from the one at hand
    UNWANTED,
    WANTED,
};

static uint32_t leaver_around(const struct judge *judge, uint32_t leaver)
{
    uint32_t task = judge->graph.leaves[leaver].task;

    return leaver_of(&judge->graph, model_task(judge->dump, task).scope);
}

// Whether somebody waits for whoever leaves, perhaps by leaving a scope around
// it: up the scopes until it is known, and down again. Scopes around each other
// cannot be, but a damaged picture may have them: they end the way.
static void settle(const struct judge *judge, uint8_t *wanted, uint32_t leaver)
{
    const struct graph *graph = &judge->graph;
    uint32_t at = leaver;
    uint8_t verdict = UNKNOWN;

    while (at != WEFT_NONE && wanted[at] == UNKNOWN && verdict == UNKNOWN) {
        wanted[at] = ASKED;
        if (graph_node(graph, graph->leaves[at].task) != WEFT_NONE)
            verdict = WANTED;
        else
            at = leaver_around(judge, at);
    }
    if (verdict == UNKNOWN)
        verdict = at != WEFT_NONE && wanted[at] == WANTED ? WANTED : UNWANTED;
    for (at = leaver; at != WEFT_NONE && wanted[at] == ASKED;) {
        wanted[at] = verdict;
        at = leaver_around(judge, at);
    }
}

// A child that holds nothing stands for all of its scope that wait alike.
static bool is_new_kind(struct map *kinds, const struct model_task *m,
                        uint64_t key, bool *ret_failed)
{
    uint64_t kind = key * UINT64_C(0x9e3779b97f4a7c15) ^ (m->scope + 1);

    kind += kind == 0;
    if (map_find(kinds, kind) != NULL)
        return false;
    if (!map_add(kinds, kind, 0))
        *ret_failed = true;
    return true;
}

static void add_children_of(struct judge *judge, const uint8_t *wanted)
{
    struct weft_dump *dump = judge->dump;
    struct graph *graph = &judge->graph;
    struct map kinds = {0};

    for (uint32_t i = 0; i < dump->task_count && !graph->failed; i++) {
        const struct model_task m = model_task(dump, i);
        uint32_t leaver = leaver_of(graph, m.scope);
        uint64_t key = leaver == WEFT_NONE || wanted[leaver] != WANTED
                           ? NO_KEY
                           : key_of(dump, &m);
        if (key != NO_KEY && is_new_kind(&kinds, &m, key, &graph->failed))
            add_node(judge, i);
    }
    map_deinit(&kinds);
}

static void add_children(struct judge *judge)
{
    struct graph *graph = &judge->graph;
    bool any = false;

    if (graph->leave_count == 0)
        return;
    sort(graph->leaves, graph->leave_count);
    uint8_t *wanted = calloc(graph->leave_count, 1);
    if (wanted == NULL) {
        graph->failed = true;
        return;
    }
    for (uint32_t i = 0; i < graph->leave_count; i++) {
        settle(judge, wanted, i);
        any |= wanted[i] == WANTED;
    }
    if (any)
        add_children_of(judge, wanted);
    free(wanted);
}

// ---- Edges ----

static void add_provider(struct graph *graph, uint64_t key, uint32_t node)
{
    if (!grow(&graph->providers, &graph->provider_room,
              graph->provider_count + 1, sizeof *graph->providers))
        graph->failed = true;
    else
        graph->providers[graph->provider_count++] =
            (struct provider){key, node};
}

static int by_key(const void *a, const void *b)
{
    const struct provider *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

static void provide(struct judge *judge, uint32_t number)
{
    struct weft_dump *dump = judge->dump;
    struct graph *graph = &judge->graph;
    uint32_t task = graph->nodes[number].task;
    const struct model_task m = model_task(dump, task);

    for (uint32_t i = 0; i < m.held_count; i++)
        add_provider(graph, dump->held[m.held + i], number);
    if (m.scope != 0)
        add_provider(graph, SCOPE_KEY + m.scope, number);
    add_provider(graph, JOIN_KEY + task, number);
    for (size_t i = find_target(graph->served, graph->served_count, task);
         i < graph->served_count && graph->served[i].target == task; i++)
        add_provider(graph, graph->served[i].task, number);
}

static void link_node(struct graph *graph, struct node *node)
{
    size_t low = 0, high = graph->provider_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (graph->providers[middle].key < node->key)
            low = middle + 1;
        else
            high = middle;
    }
    node->first = (uint32_t)low;
    while (low < graph->provider_count &&
           graph->providers[low].key == node->key)
        low++;
    node->count = (uint32_t)low - node->first;
}

int graph_finish(struct judge *judge)
{
    struct graph *graph = &judge->graph;

    add_joined(judge);
    add_servers(judge);
    add_children(judge);
    for (uint32_t i = 0; i < graph->node_count && !graph->failed; i++)
        provide(judge, i);
    if (graph->failed)
        return -ENOMEM;
    if (graph->provider_count > 1)
        qsort(graph->providers, graph->provider_count, sizeof *graph->providers,
              by_key);
    for (uint32_t i = 0; i < graph->node_count; i++)
        link_node(graph, &graph->nodes[i]);
    return 0;
}

void graph_deinit(struct graph *graph)
{
    map_deinit(&graph->numbers);
    free(graph->nodes);
    free(graph->joins);
    free(graph->leaves);
    free(graph->providers);
    free(graph->served);
}

uint32_t graph_object(const struct weft_dump *dump, const struct node *node)
{
    return node->key < dump->object_count ? (uint32_t)node->key : WEFT_NONE;
}

// ---- Following it ----

static void each_waiter_for(const struct weft_dump *dump, uint32_t object,
                            void (*see)(void *, uint32_t), void *arg)
{
    const struct model_object *o = &dump->objects[object];

    for (uint32_t i = 0; i < o->waiter_count; i++) {
        uint32_t task = model_waiter(dump, object, i);
        if (task != WEFT_NONE) // else: no memory to list them
            see(arg, task);
    }
}

void graph_each_waiter(struct judge *judge, uint32_t task, bool likely,
                       void (*see)(void *arg, uint32_t task), void *arg)
{
    const struct weft_dump *dump = judge->dump;
    const struct graph *graph = &judge->graph;
    const struct model_task m = model_task(dump, task);
    uint32_t leaver = leaver_of(graph, m.scope);

    for (uint32_t i = 0; i < m.held_count; i++)
        if (graph_binds(&dump->objects[dump->held[m.held + i]]))
            each_waiter_for(dump, dump->held[m.held + i], see, arg);
    for (size_t i = find_target(graph->joins, graph->join_count, task);
         i < graph->join_count && graph->joins[i].target == task; i++)
        see(arg, graph->joins[i].task);
    if (leaver != WEFT_NONE)
        see(arg, graph->leaves[leaver].task);
    if (!likely)
        return;
    for (size_t i = find_target(graph->served, graph->served_count, task);
         i < graph->served_count && graph->served[i].target == task; i++)
        each_waiter_for(dump, graph->served[i].task, see, arg);
}

uint32_t graph_holder(const struct weft_dump *dump, uint32_t object)
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

static uint32_t first_child(const struct weft_dump *dump, uint64_t scope)
{
    for (uint32_t i = 0; scope != 0 && i < dump->task_count; i++) {
        const struct model_task m = model_task(dump, i);
        if (m.scope == scope && m.state != WEFT_STATE_DONE)
            return i;
    }
    return WEFT_NONE;
}

uint32_t graph_next(const struct judge *judge, const struct model_task *m,
                    uint32_t *ret_object)
{
    const struct weft_dump *dump = judge->dump;

    *ret_object = WEFT_NONE;
    if (m->state != WEFT_STATE_WAITING)
        return WEFT_NONE;
    if (m->wait == WEFT_WAIT_JOIN)
        return model_find(dump, m->wait_task);
    if (m->wait == WEFT_WAIT_SCOPE)
        return first_child(dump, m->wait_scope);
    if (m->object == WEFT_NONE)
        return WEFT_NONE;
    *ret_object = m->object;
    if (!graph_binds(&dump->objects[m->object]))
        return graph_server(dump, m->object, false);
    return graph_holder(dump, m->object);
}
