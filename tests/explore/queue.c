// queue.c -- Scenarios of the run queue, the shared queue and the idle set.
//
// A task's id stands for what its maker has written: a plain cell, which the
// taker reads. Each task must come out exactly once.
#include <string.h>

#include "base/lock.h"
#include "explore/explore.h"
#include "sched/idle.h"
#include "sched/inject.h"
#include "sched/queue.h"

enum { TASKS = 8 };

static struct queue queue;
static struct queue thieves[2];
static struct task tasks[TASKS];

// What each thread took: by rows, so that no two write the same place.
enum { OWNER, THIEF, SECOND, OUTSIDE, ROWS };
static uint8_t taken[ROWS][TASKS];

// Queues with both ends at `at`, as after so many tasks.
static void reset(uint64_t at)
{
    memset(tasks, 0, sizeof tasks);
    memset(taken, 0, sizeof taken);
    memset(&queue, 0, sizeof queue);
    memset(thieves, 0, sizeof thieves);
    store_relaxed(&queue.head, at);
    store_relaxed(&queue.tail, at);
    explore_guard(&queue.head, queue.slots, sizeof queue.slots);
    for (int i = 0; i < 2; i++)
        explore_guard(&thieves[i].head, thieves[i].slots,
                      sizeof thieves[i].slots);
}

static void take(int row, struct task *task)
{
    if (task == NULL)
        return;
    explore_expect(task->id == (uint64_t)(task - tasks) + 100);
    taken[row][task - tasks]++;
}

static bool push(int number)
{
    tasks[number].id = (uint64_t)number + 100;
    return queue_push(&queue, &tasks[number], number % 2 != 0);
}

// Of the first `pushed` tasks each is out once, or still inside.
static void expect_all(int pushed)
{
    struct task *task;

    while ((task = queue_pop(&queue)) != NULL)
        take(OWNER, task);
    for (int i = 0; i < 2; i++)
        while ((task = queue_pop(&thieves[i])) != NULL)
            take(THIEF + i, task);
    for (int i = 0; i < pushed; i++) {
        int times = 0;
        for (int row = 0; row < ROWS; row++)
            times += taken[row][i];
        explore_expect(times == 1);
    }
}

static void steal(void *arg)
{
    int which = arg != NULL;
    uint32_t count;

    struct task *task = queue_steal(&queue, &thieves[which], &count);
    explore_expect((task == NULL) == (count == 0));
    take(THIEF + which, task);
}

static void steal_and_pop(void *arg)
{
    int which = arg != NULL;

    steal(arg);
    take(THIEF + which, queue_pop(&thieves[which]));
}

// ---- One owner, thieves ----

static void push_and_pop(void *arg)
{
    (void)arg;
    explore_expect(push(2));
    take(OWNER, queue_pop(&queue));
    take(OWNER, queue_pop(&queue));
}

static void queue_take(void)
{
    reset(0);
    (void)push(0);
    (void)push(1);
    explore_start("owner", push_and_pop, NULL);
    explore_start("thief", steal_and_pop, NULL);
    explore_join_all();
    expect_all(3);
}

static void queue_two_thieves(void)
{
    reset(0);
    (void)push(0);
    (void)push(1);
    explore_start("owner", push_and_pop, NULL);
    explore_start("thief", steal, NULL);
    explore_start("thief 2", steal, queue.slots);
    explore_join_all();
    expect_all(3);
}

// The queue is full: a push must wait until a claimed slot has been read.
static void push_to_full(void *arg)
{
    int pushed = QUEUE_CAP;

    (void)arg;
    for (int i = 0; i < 2; i++)
        if (push(pushed))
            pushed++;
    take(OWNER, queue_pop(&queue));
    tasks[TASKS - 1].id = (uint64_t)pushed;
}

static void queue_full(void)
{
    reset(3);
    for (int i = 0; i < QUEUE_CAP; i++)
        explore_expect(push(i));
    explore_start("owner", push_to_full, NULL);
    explore_start("thief", steal, NULL);
    explore_join_all();
    expect_all((int)tasks[TASKS - 1].id);
}

// Whoever takes a worker's place takes a batch of its queue, while the worker
// comes back and pushes.
static void relieve(void *arg)
{
    struct task_list batch = {0};
    struct task *task;

    (void)arg;
    queue_pop_batch(&queue, &batch);
    while ((task = task_list_pop(&batch)) != NULL)
        take(OUTSIDE, task);
}

static void queue_relieve(void)
{
    reset(3);
    for (int i = 0; i < QUEUE_CAP; i++)
        explore_expect(push(i));
    explore_start("owner", push_to_full, NULL);
    explore_start("watchdog", relieve, NULL);
    explore_join_all();
    expect_all((int)tasks[TASKS - 1].id);
}

// The same of one that is not full: what is just pushed is taken whole.
static void queue_relieve_fresh(void)
{
    reset(0);
    explore_start("owner", push_and_pop, NULL);
    explore_start("watchdog", relieve, NULL);
    explore_join_all();
    for (int i = 0; i < 2; i++)
        taken[SECOND][i]++; // never pushed
    expect_all(3);
}

// A batch is taken out to make room, while a thief takes.
static void pop_batch(void *arg)
{
    struct task_list batch = {0};
    struct task *task;

    (void)arg;
    queue_pop_batch(&queue, &batch);
    while ((task = task_list_pop(&batch)) != NULL)
        take(OWNER, task);
    explore_expect(push(QUEUE_CAP) || batch.count == 0);
}

static void queue_batch(void)
{
    reset(2);
    for (int i = 0; i < QUEUE_CAP; i++)
        explore_expect(push(i));
    explore_start("owner", pop_batch, NULL);
    explore_start("thief", steal, NULL);
    explore_start("thief 2", steal, queue.slots);
    explore_join_all();
    expect_all(QUEUE_CAP + (tasks[QUEUE_CAP].id != 0));
}

// A thief steals from a thief, whose new tasks lie beyond its tail.
static void steal_from_thief(void *arg)
{
    uint32_t count;

    (void)arg;
    take(SECOND, queue_steal(&thieves[0], &thieves[1], &count));
}

static void steal_twice(void *arg)
{
    steal_and_pop(arg);
    steal(arg);
    steal(arg);
}

static void queue_chain(void)
{
    reset(0);
    store_relaxed(&thieves[0].head, QUEUE_CAP - 1);
    store_relaxed(&thieves[0].tail, QUEUE_CAP - 1);
    for (int i = 0; i < QUEUE_CAP; i++)
        explore_expect(push(i));
    explore_start("thief", steal_twice, NULL);
    explore_start("thief 2", steal_from_thief, NULL);
    explore_join_all();
    expect_all(QUEUE_CAP);
}

// A thief makes room in the queue of another, who fills it from a third.
static void queue_relay(void)
{
    reset(0);
    for (int i = 0; i < QUEUE_CAP + 2; i++) {
        tasks[i].id = (uint64_t)i + 100;
        explore_expect(
            queue_push(i < QUEUE_CAP ? &thieves[0] : &queue, &tasks[i], true));
    }
    explore_start("thief", steal_twice, NULL);
    explore_start("thief 2", steal_from_thief, NULL);
    explore_join_all();
    expect_all(QUEUE_CAP + 2);
}

// What is peeked at was inside; what is counted is never more than fits.
static void peek(void *arg)
{
    struct task *seen[QUEUE_CAP];

    (void)arg;
    explore_expect(queue_length(&queue) <= QUEUE_CAP);
    uint32_t count = queue_peek(&queue, seen, QUEUE_CAP);
    for (uint32_t i = 0; i < count; i++)
        explore_expect(seen[i] >= tasks && seen[i] < tasks + TASKS);
}

static void queue_looks(void)
{
    reset(1);
    (void)push(0);
    (void)push(1);
    explore_start("owner", push_and_pop, NULL);
    explore_start("thief", steal, NULL);
    explore_start("reader", peek, NULL);
    explore_join_all();
    expect_all(3);
}

// ---- The shared queue ----

static struct inject inject;

static void inject_one(void *arg)
{
    struct task *task = arg;
    struct task_list one = {0};

    task->id = (uint64_t)(task - tasks) + 100;
    task_list_push(&one, task);
    inject_push(&inject, &one);
}

static void inject_take(void *arg)
{
    struct task_list out = {0};
    struct task *task;
    int row = arg != NULL ? THIEF : OWNER;

    inject_pop(&inject, 2, &out);
    while ((task = task_list_pop(&out)) != NULL)
        take(row, task);
}

static void inject_look_at(void *arg)
{
    uint32_t count;

    (void)arg;
    uint64_t before = inject_look(&inject, &count);
    explore_expect(count <= 2 && before <= 2);
}

static void expect_injected(int pushed)
{
    struct task_list out = {0};
    struct task *task;

    inject_pop(&inject, TASKS, &out);
    while ((task = task_list_pop(&out)) != NULL)
        take(OUTSIDE, task);
    expect_all(pushed);
}

static void inject_both(void)
{
    reset(0);
    memset(&inject, 0, sizeof inject);
    explore_start("pusher", inject_one, &tasks[0]);
    explore_start("pusher 2", inject_one, &tasks[1]);
    explore_start("worker", inject_take, NULL);
    explore_join_all();
    expect_injected(2);
}

static void inject_looks(void)
{
    reset(0);
    memset(&inject, 0, sizeof inject);
    explore_start("pusher", inject_one, &tasks[0]);
    explore_start("worker", inject_take, NULL);
    explore_start("reader", inject_look_at, NULL);
    explore_join_all();
    expect_injected(1);
}

// ---- Work and sleep: idle.c H1, both sides ----

static struct idle idle;
static struct lock idle_lock;
static bool told[2]; // who has found that somebody must be woken

static void reset_idle(void)
{
    reset(0);
    memset(told, 0, sizeof told);
    idle_lock = (struct lock){0};
    explore_expect(idle_init(&idle, &idle_lock, 2, 2) == 0);
}

static void add_work(void *arg)
{
    uint32_t who;

    (void)arg;
    explore_expect(push(1));
    told[0] = idle_pick(&idle, &who);
}

static void go_to_sleep(void *arg)
{
    uint32_t who;

    idle_enter(&idle, 1, arg != NULL);
    if (queue_length(&queue) > 0)
        told[1] = idle_pick(&idle, &who);
}

static void search_and_sleep(void *arg)
{
    if (idle_try_search(&idle))
        go_to_sleep(arg);
    else
        go_to_sleep(NULL);
}

// One searched and ends, for it has found something else: the other sleeps.
static void search_and_find(void *arg)
{
    uint32_t who;

    (void)arg;
    if (idle_try_search(&idle) && idle_end_search(&idle))
        told[1] = idle_pick(&idle, &who);
}

static void idle_handshake(void)
{
    reset_idle();
    explore_start("adder", add_work, NULL);
    explore_start("sleeper", go_to_sleep, NULL);
    explore_join_all();
    explore_expect(told[0] + told[1] == 1);
    idle_deinit(&idle);
}

static void idle_searcher(void)
{
    reset_idle();
    explore_start("adder", add_work, NULL);
    explore_start("sleeper", search_and_sleep, &idle);
    explore_join_all();
    explore_expect(told[0] + told[1] == 1);
    idle_deinit(&idle);
}

static void idle_finder(void)
{
    reset_idle();
    idle_enter(&idle, 0, false);
    explore_start("adder", add_work, NULL);
    explore_start("finder", search_and_find, NULL);
    explore_join_all();
    explore_expect(told[0] + told[1] >= 1);
    idle_deinit(&idle);
}

const struct scenario queue_scenarios[] = {
    {"idle-handshake", "idle", idle_handshake, {3, 2}, {3, 2}, NULL, NULL},
    {"idle-searcher", "idle", idle_searcher, {3, 2}, {3, 2}, NULL, NULL},
    {"idle-finder", "idle", idle_finder, {3, 2}, {3, 2}, NULL, NULL},
    {"queue-take", "run queue", queue_take, {2, 1}, {3, 2}, NULL, NULL},
    {"queue-two-thieves",
     "run queue",
     queue_two_thieves,
     {2, 1},
     {3, 2},
     NULL,
     NULL},
    {"queue-full", "run queue", queue_full, {2, 1}, {3, 2}, NULL, NULL},
    {"queue-relieve", "run queue", queue_relieve, {2, 1}, {3, 2}, NULL, NULL},
    {"queue-relieve-fresh",
     "run queue",
     queue_relieve_fresh,
     {2, 1},
     {3, 2},
     NULL,
     NULL},
    {"queue-batch", "run queue", queue_batch, {2, 1}, {3, 2}, NULL, NULL},
    {"queue-chain", "run queue", queue_chain, {2, 1}, {3, 2}, NULL, NULL},
    {"queue-relay", "run queue", queue_relay, {2, 1}, {3, 2}, NULL, NULL},
    {"queue-looks", "run queue", queue_looks, {2, 1}, {3, 2}, NULL, NULL},
    {"inject", "shared queue", inject_both, {2, 1}, {3, 2}, NULL, NULL},
    {"inject-looks", "shared queue", inject_looks, {2, 1}, {3, 2}, NULL, NULL},
    {0},
};
