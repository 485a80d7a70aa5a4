// find.h -- What the rules share while they judge a dump.
//
// The tasks are walked once: judge_task shows each to every rule that must see
// them all. The rules then speak, in find_*.c, a file for each family.
#ifndef WEFT_DUMP_FIND_H
#define WEFT_DUMP_FIND_H

#include "base/map.h"
#include "dump/model.h"

// The most tasks that a finding about many lists, and the most findings of one
// rule.
enum {
    WORST_MAX = 20,
    FINDINGS_OF_RULE_MAX = 100,
    CHAIN_MAX = 16,
};

// The tasks of the highest values, and how many there were in all.
struct worst {
    uint32_t total;
    uint32_t count;
    struct {
        int64_t value;
        uint32_t task;
    } entries[WORST_MAX]; // highest first
};

// A task that is waited for and waits itself.
struct node {
    uint32_t task;  // index
    uint64_t key;   // what it waits for; see find_graph.c
    uint32_t first; // of its successors in `providers`
    uint32_t count; //
    uint32_t order; // Tarjan's: number in the walk, from 1
    uint32_t low;   //
    uint32_t next;  // successor to be looked at
    uint32_t from;  // who led here, or WEFT_NONE
    bool open;      // its component is not known yet
};

// Who must do something before those who wait for `key` go on.
struct provider {
    uint64_t key;
    uint32_t node;
};

// A task that joins another, or leaves a scope.
struct waiting_one {
    uint64_t target; // id of the task, or address of the scope
    uint32_t task;   // index of who waits
};

// Who waits for whom; made by find_graph.c.
struct graph {
    struct map numbers; // of nodes, by task index + 1
    struct node *nodes;
    size_t node_count, node_room;
    struct waiting_one *joins, *leaves;
    size_t join_count, join_room, leave_count, leave_room;
    struct provider *providers; // sorted
    size_t provider_count, provider_room;
    struct waiting_one *served; // channels by the only task that serves them:
    size_t served_count, served_room; // target: that task's index; task: object
    bool failed;                      // no memory
};

struct judge {
    struct weft_dump *dump;
    const weft_finding_options *limits;
    size_t room;    // of dump->findings
    uint8_t *stuck; // a bit for each task in or behind a deadlock; or NULL
    struct graph graph;

    // All asleep: whether one is not, and how long the last to wait does.
    bool awake;
    uint32_t asleep;
    int64_t youngest_ns;
    uint32_t youngest;

    struct worst ready;
    struct worst full_stacks;
    uint32_t *site_tasks; // tasks alive of each spawn site
};

// ---- findings.c ----

bool judge_wants(const struct judge *judge, enum weft_rule rule);

// Adds a finding with `count` tasks, all zero, and if `chain` objects, all
// WEFT_NONE. NULL: no memory.
struct model_finding *judge_add(struct judge *judge, enum weft_rule rule,
                                uint32_t count, bool chain);

bool judge_is_stuck(const struct judge *judge, uint32_t task);

void worst_see(struct worst *worst, int64_t value, uint32_t task);

// The worst as a finding; NULL: no memory.
struct model_finding *worst_add(struct judge *judge, enum weft_rule rule,
                                const struct worst *worst);

// ---- find_graph.c ----

void graph_see(struct judge *judge, uint32_t task, const struct model_task *m);

// Once all tasks were seen: the nodes and their successors. 0 or -ENOMEM.
int graph_finish(struct judge *judge);
void graph_deinit(struct graph *graph);

// The number of a task's node, or WEFT_NONE.
uint32_t graph_node(const struct graph *graph, uint32_t task);

// The object through which a node waits, or WEFT_NONE.
uint32_t graph_object(const struct weft_dump *dump, const struct node *node);

// Whether an object is held, so that who waits for it waits for its holders.
bool graph_binds(const struct model_object *object);

// The only task known to serve the waiters of a channel, the newest one that
// does, or WEFT_NONE. Waiters of one kind alone are there (channel.c I1).
uint32_t graph_server(const struct weft_dump *dump, uint32_t object, bool only);

// What waiters of a channel lack: those who send, or those who receive.
const struct model_peers *graph_peers(const struct weft_dump *dump,
                                      uint32_t object);

// Calls see(arg, task) for every task that waits for `task` itself: for what it
// holds, its end, its scope's end, and if `likely` for the channels that it
// alone serves.
void graph_each_waiter(struct judge *judge, uint32_t task, bool likely,
                       void (*see)(void *arg, uint32_t task), void *arg);

// A task that holds an object, or WEFT_NONE: one that waits, if there is one.
uint32_t graph_holder(const struct weft_dump *dump, uint32_t object);

// The task that `m` waits for, as far as that is one, and through which object
// (or WEFT_NONE). WEFT_NONE: none is known.
uint32_t graph_next(const struct judge *judge, const struct model_task *m,
                    uint32_t *ret_object);

// ---- The rules: 0 or -ENOMEM. ----

int find_deadlocks(struct judge *judge);
int find_asleep(struct judge *judge);
int find_stalls(struct judge *judge);
int find_lost_peers(struct judge *judge);
int find_calls(struct judge *judge);
int find_no_yield(struct judge *judge);
int find_ready(struct judge *judge);
int find_stacks(struct judge *judge);
int find_growth(struct judge *judge);

// How long a ready task may expect to wait, by its place in the queue and by
// how long tasks run.
int64_t ready_expected_ns(const struct weft_dump *dump,
                          const struct model_task *m);

void asleep_see(struct judge *judge, uint32_t task, const struct model_task *m);

#endif
