// find_deadlock.c -- Deadlock: tasks that wait for each other.
//
// Tarjan's algorithm finds the sets of nodes (find_graph.c) that all reach each
// other; in each, a shortest circle through its first task is the finding, and
// everybody else who leads there is blocked behind it. It is proven if all of
// the circle were seen at one moment, none waits with a deadline, and no
// channel is in it, for another might still serve that.
#include <errno.h>
#include <stdlib.h>

#include "base/grow.h"
#include "dump/find.h"

struct walk {
    struct judge *judge;
    struct graph *graph;
    uint32_t *open; // nodes whose component is not known yet
    uint32_t open_count;
    uint32_t clock;
    uint32_t *queue; // of the search for a circle
    uint32_t *from;  // there: who led to each node; WEFT_NONE: not reached
    int error;
};

static uint32_t successor(const struct graph *graph, const struct node *node,
                          uint32_t i)
{
    return graph->providers[node->first + i].node;
}

// ---- The finding ----

static bool is_channel(const struct weft_dump *dump, uint32_t object)
{
    return object != WEFT_NONE && !graph_binds(&dump->objects[object]);
}

// Whether another than the holder may end this wait: by giving a semaphore's
// permit, or by being the writer who keeps a reader from other readers.
static bool may_be_helped(const struct weft_dump *dump,
                          const struct model_task *m)
{
    return m->wait == WEFT_WAIT_SEMAPHORE ||
           (m->wait == WEFT_WAIT_RWLOCK_READ && m->object != WEFT_NONE &&
            dump->objects[m->object].owner == 0);
}

static void weigh_member(struct model_finding *finding,
                         const struct weft_dump *dump, uint32_t which)
{
    const struct model_task m = model_task(dump, finding->tasks[which]);

    if (m.state_ns < finding->since_ns)
        finding->since_ns = m.state_ns; // the last one closed the circle
    if (m.timeout_in_ns != WEFT_NEVER || may_be_helped(dump, &m))
        finding->certainty = WEFT_CERTAINTY_LIKELY; // it may give up
    if (is_channel(dump, finding->objects[which])) {
        finding->certainty = WEFT_CERTAINTY_LIKELY;
        finding->severity = WEFT_SEVERITY_WARNING;
    }
}

struct crowd {
    struct judge *judge;
    uint32_t *tasks;
    size_t count, room;
    bool failed;
};

static void join_crowd(void *arg, uint32_t task)
{
    struct crowd *crowd = arg;
    uint8_t *byte = &crowd->judge->stuck[task / 8];

    if (*byte & 1 << task % 8)
        return;
    *byte |= (uint8_t)(1 << task % 8);
    if (!grow(&crowd->tasks, &crowd->room, crowd->count + 1,
              sizeof *crowd->tasks))
        crowd->failed = true;
    else
        crowd->tasks[crowd->count++] = task;
}

static int by_index(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static bool has_channel(const struct weft_dump *dump,
                        const struct model_finding *finding)
{
    for (uint32_t i = 0; i < finding->task_count; i++)
        if (is_channel(dump, finding->objects[i]))
            return true;
    return false;
}

// Those who lead to the circle without being in it.
static int add_behind(struct judge *judge, struct model_finding *finding)
{
    struct crowd crowd = {.judge = judge};
    bool likely = has_channel(judge->dump, finding);

    if (judge->stuck == NULL)
        judge->stuck = calloc(judge->dump->task_count / 8 + 1, 1);
    if (judge->stuck == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < finding->task_count; i++)
        judge->stuck[finding->tasks[i] / 8] |=
            (uint8_t)(1 << finding->tasks[i] % 8);
    for (uint32_t i = 0; i < finding->task_count; i++)
        graph_each_waiter(judge, finding->tasks[i], likely, join_crowd, &crowd);
    for (size_t i = 0; i < crowd.count; i++)
        graph_each_waiter(judge, crowd.tasks[i], likely, join_crowd, &crowd);
    finding->behind = crowd.tasks;
    finding->behind_count = (uint32_t)crowd.count;
    finding->count = finding->task_count + crowd.count;
    if (crowd.count > 1)
        qsort(crowd.tasks, crowd.count, sizeof *crowd.tasks, by_index);
    return crowd.failed ? -ENOMEM : 0;
}

// `last` leads back to `first`, and from[] from there to `first`.
static int add_deadlock(struct walk *walk, uint32_t first, uint32_t last)
{
    struct judge *judge = walk->judge;
    struct weft_dump *dump = judge->dump;
    uint32_t count = 1;

    for (uint32_t at = last; at != first; at = walk->from[at])
        count++;
    struct model_finding *finding =
        judge_add(judge, WEFT_RULE_DEADLOCK, count, true);
    if (finding == NULL)
        return -ENOMEM;
    finding->severity = WEFT_SEVERITY_ERROR;
    finding->certainty =
        dump->consistent ? WEFT_CERTAINTY_PROVEN : WEFT_CERTAINTY_LIKELY;
    finding->since_ns = INT64_MAX;
    for (uint32_t at = last, i = count; i-- > 0; at = walk->from[at]) {
        const struct node *node = &walk->graph->nodes[at];
        finding->tasks[i] = node->task;
        finding->objects[i] = graph_object(dump, node);
        weigh_member(finding, dump, i);
    }
    return add_behind(judge, finding);
}

// ---- A shortest circle through a node, within its component ----

static uint64_t id_of(const struct walk *walk, uint32_t node)
{
    return model_task(walk->judge->dump, walk->graph->nodes[node].task).id;
}

// Only nodes of the component are searched: from[] of all others is set.
static int find_circle(struct walk *walk, uint32_t first)
{
    uint32_t done = 0;
    uint32_t count = 1;

    walk->queue[0] = first;
    for (; done < count; done++) {
        const struct node *node = &walk->graph->nodes[walk->queue[done]];
        for (uint32_t i = 0; i < node->count; i++) {
            uint32_t next = successor(walk->graph, node, i);
            if (next == first)
                return add_deadlock(walk, first, walk->queue[done]);
            if (walk->from[next] != WEFT_NONE)
                continue;
            walk->from[next] = walk->queue[done];
            walk->queue[count++] = next;
        }
    }
    return 0; // a single node that does not wait for itself
}

static void close_component(struct walk *walk, uint32_t root)
{
    uint32_t bottom = walk->open_count;
    uint32_t first = root;

    do {
        uint32_t node = walk->open[--bottom];
        walk->graph->nodes[node].open = false;
        walk->from[node] = WEFT_NONE;
        if (id_of(walk, node) < id_of(walk, first))
            first = node;
    } while (walk->open[bottom] != root);
    int error = find_circle(walk, first);
    if (error != 0)
        walk->error = error;
    for (uint32_t i = bottom; i < walk->open_count; i++)
        walk->from[walk->open[i]] = walk->open[i]; // of no other's search
    walk->open_count = bottom;
}

// ---- The components ----

static void enter(struct walk *walk, uint32_t number, uint32_t from)
{
    struct node *node = &walk->graph->nodes[number];

    node->order = node->low = ++walk->clock;
    node->from = from;
    node->open = true;
    walk->open[walk->open_count++] = number;
}

static void lower(struct node *node, uint32_t low)
{
    if (low < node->low)
        node->low = low;
}

static void walk_from(struct walk *walk, uint32_t start)
{
    uint32_t at = start;

    enter(walk, start, WEFT_NONE);
    while (at != WEFT_NONE) {
        struct node *node = &walk->graph->nodes[at];
        if (node->next < node->count) {
            uint32_t next = successor(walk->graph, node, node->next++);
            struct node *other = &walk->graph->nodes[next];
            if (other->order == 0) {
                enter(walk, next, at);
                at = next;
            } else if (other->open) {
                lower(node, other->order);
            }
            continue;
        }
        if (node->low == node->order)
            close_component(walk, at);
        at = node->from;
        if (at != WEFT_NONE)
            lower(&walk->graph->nodes[at], node->low);
    }
}

int find_deadlocks(struct judge *judge)
{
    struct graph *graph = &judge->graph;
    size_t count = graph->node_count;
    struct walk walk = {.judge = judge, .graph = graph};

    if (count == 0)
        return 0;
    walk.open = malloc(3 * count * sizeof *walk.open);
    if (walk.open == NULL)
        return -ENOMEM;
    walk.queue = walk.open + count;
    walk.from = walk.queue + count;
    for (uint32_t i = 0; i < count; i++)
        walk.from[i] = i;
    for (uint32_t i = 0; i < count && walk.error == 0; i++)
        if (graph->nodes[i].order == 0)
            walk_from(&walk, i);
    free(walk.open);
    return walk.error;
}
