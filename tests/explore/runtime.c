// runtime.c -- Scenarios of the whole scheduler: workers run tasks.
//
// The workers are sched/worker.c's own, each a thread of the explorer; only the
// watchdog is left out, which would look for ever. At the end all of them must
// sleep, with every task done.
#include <errno.h>
#include <string.h>

#include "explore/scheduler.h"

enum { WHILE_NS = 1000000 };

// ---- Spawn and join ----

static int written; // by the task, read by who has joined it

static void *write_it(void *arg)
{
    written++;
    return arg;
}

static void *do_nothing(void *arg)
{
    return arg;
}

static void spawn_and_join(void *arg)
{
    void *result = NULL;

    weft_task task = scheduler_spawn(write_it, arg);
    explore_expect(weft_task_join(task, WEFT_NEVER, &result) == 0);
    explore_expect(result == arg && written == 1);
    explore_expect(weft_task_join(task, WEFT_NEVER, &result) == -ESRCH);
}

static void join_one(void)
{
    scheduler_begin(1);
    written = 0;
    explore_start("joiner", spawn_and_join, &written);
    explore_join_all();
    scheduler_end();
}

static weft_task shared;
static int joins;

static void join_in_time(void *arg)
{
    int error = weft_task_join(shared, port_now() + WHILE_NS, NULL);

    (void)arg;
    explore_expect(error == 0 || error == -ETIMEDOUT);
    joins = error == 0;
}

static void detach_it(void *arg)
{
    int error = weft_task_detach(shared);

    (void)arg;
    explore_expect(error == 0 || error == -EBUSY || error == -ESRCH);
}

static void join_timed(void)
{
    scheduler_begin(1);
    joins = 0;
    shared = scheduler_spawn(do_nothing, NULL);
    explore_start("joiner", join_in_time, NULL);
    explore_join_all();
    explore_expect(joins == (weft_task_join(shared, 0, NULL) == -ESRCH));
    scheduler_end();
}

// Who gave up comes back to a slot that may be another task's, which somebody
// else waits for by now.
static void join_first(void *arg)
{
    int error = weft_task_join(shared, port_now() + WHILE_NS, NULL);

    explore_expect(error == 0 || error == -ETIMEDOUT || error == -EBUSY ||
                   error == -ESRCH);
    *(bool *)arg = error == 0;
}

static void join_and_next(void *arg)
{
    int error = weft_task_join(shared, WEFT_NEVER, NULL);

    explore_expect(error == 0 || error == -EBUSY || error == -ESRCH);
    *(bool *)arg = error == 0;
    if (error != 0)
        return;
    weft_task next = scheduler_spawn(do_nothing, NULL);
    explore_expect(weft_task_join(next, WEFT_NEVER, NULL) == 0);
}

static void join_again(void)
{
    bool joined[2] = {false, false};

    scheduler_begin(1);
    shared = scheduler_spawn(do_nothing, NULL);
    explore_start("joiner", join_first, &joined[0]);
    explore_start("second", join_and_next, &joined[1]);
    explore_join_all();
    explore_expect(joined[0] + joined[1] ==
                   (weft_task_join(shared, 0, NULL) == -ESRCH));
    scheduler_end();
}

// ---- Cancel ----

static weft_event event;
static int outcome;
static int shown; // before the event, read after
static int runs;  // the task's own, on whatever worker

static void *await_event(void *arg)
{
    runs++;
    outcome = weft_event_wait(&event, WEFT_NEVER);
    runs++;
    if (outcome == 0)
        explore_expect(shown == 1);
    return arg;
}

static void cancel_it(void *arg)
{
    int error = weft_task_cancel(shared);

    (void)arg;
    explore_expect(error == 0 || error == -ESRCH);
}

static void set_event(void *arg)
{
    (void)arg;
    shown = 1;
    explore_expect(weft_event_set(&event) == 0);
}

static void begin_waiting(uint32_t workers)
{
    scheduler_begin(workers);
    explore_expect(weft_event_init(&event, "e") == 0);
    outcome = 1;
    shown = runs = 0;
    shared = scheduler_spawn(await_event, NULL);
}

static void cancel_waiting(void)
{
    begin_waiting(1);
    explore_start("canceller", cancel_it, NULL);
    explore_join_all();
    explore_expect(weft_task_join(shared, 0, NULL) == 0);
    explore_expect(outcome == -ECANCELED);
    scheduler_end();
}

static void cancel_or_wake(void)
{
    begin_waiting(1);
    explore_start("canceller", cancel_it, NULL);
    explore_start("setter", set_event, NULL);
    explore_join_all();
    explore_expect(weft_task_join(shared, 0, NULL) == 0);
    explore_expect(outcome == -ECANCELED || outcome == 0);
    scheduler_end();
}

static void wake_waiting(void)
{
    begin_waiting(1);
    explore_start("setter", set_event, NULL);
    explore_join_all();
    explore_expect(weft_task_join(shared, 0, NULL) == 0);
    explore_expect(outcome == 0);
    scheduler_end();
}

// A task's own deadline: its worker polls the timers, and fires it.
static void *await_event_in_time(void *arg)
{
    int64_t deadline_ns = port_now() + WHILE_NS;

    runs++;
    outcome = weft_event_wait(&event, deadline_ns);
    explore_expect(outcome != -ETIMEDOUT || port_now() >= deadline_ns);
    if (outcome == 0)
        explore_expect(shown == 1);
    explore_outcome(outcome == 0 ? 0 : 1);
    return arg;
}

static void begin_timed(void)
{
    scheduler_begin(1);
    explore_expect(weft_event_init(&event, "e") == 0);
    outcome = 1;
    shown = runs = 0;
    shared = scheduler_spawn(await_event_in_time, NULL);
}

static void wake_timed(void)
{
    begin_timed();
    explore_start("setter", set_event, NULL);
    explore_join_all();
    explore_expect(weft_task_join(shared, 0, NULL) == 0);
    explore_expect(outcome == 0 || outcome == -ETIMEDOUT);
    explore_expect(weft_event_deinit(&event) == 0);
    scheduler_end();
}

static void join_shared(void *arg)
{
    (void)arg;
    explore_expect(weft_task_join(shared, WEFT_NEVER, NULL) == 0);
}

static void wake_never(void)
{
    begin_timed();
    explore_start("joiner", join_shared, NULL);
    explore_join_all();
    explore_expect(outcome == -ETIMEDOUT);
    scheduler_end();
}

static void wake_elsewhere(void)
{
    begin_waiting(2);
    explore_start("setter", set_event, NULL);
    explore_join_all();
    explore_expect(weft_task_join(shared, 0, NULL) == 0);
    explore_expect(outcome == 0 && runs == 2);
    scheduler_end();
}

// ---- Labels: followed by a capture though their task is being made ----

static struct task *child;

static void *spawn_labelled(void *arg)
{
    explore_expect(weft_task_set_label("key", "value") == 0);
    explore_expect(weft_task_spawn(NULL, do_nothing, arg, NULL) == 0);
    return arg;
}

// A capture copies the slot as it is, and may find out later that it was being
// made: what it follows until then is there.
static void follow_labels(void *arg)
{
    (void)arg;
    const struct label *label = load_acquire(&child->top->labels);
    if (label != NULL)
        explore_expect(label->key[0] == 'k');
}

static void labels(void)
{
    struct task_list taken = {0};

    scheduler_begin(1);
    limbo_open();
    (void)scheduler_spawn(spawn_labelled, NULL);
    explore_expect(table_take(&runtime.table, runtime.stack_class, 1, &taken) ==
                   0);
    child = taken.head;
    store_relaxed(&child->top->labels, NULL);
    table_give(&runtime.table, &taken);
    explore_start("reader", follow_labels, NULL);
    explore_join_all();
    limbo_close();
    scheduler_end();
}

// ---- Handles: a slot used again ----

static void *expect_no_cancel(void *arg)
{
    explore_expect(weft_task_yield() == 0);
    written++;
    return arg;
}

// The second task has the first one's slot, if that is free by then.
static void detach_and_spawn(void *arg)
{
    detach_it(arg);
    weft_task task = scheduler_spawn(expect_no_cancel, NULL);
    explore_expect(weft_task_detach(task) == 0);
}

static void handle_stale(void)
{
    scheduler_begin(1);
    written = 0;
    shared = scheduler_spawn(do_nothing, NULL);
    explore_start("canceller", cancel_it, NULL);
    explore_start("spawner", detach_and_spawn, NULL);
    explore_join_all();
    explore_expect(weft_task_join(shared, 0, NULL) == -ESRCH);
    explore_expect(written == 1);
    scheduler_end();
}

// Who finds that a slot may be another's finds no worker that still names it
// (dump/missing.c I1).
static void look_at_freed(void *arg)
{
    const struct task *freed = arg;

    if (load_acquire(&freed->generation) != HANDLE_GENERATION(shared))
        explore_expect(load_relaxed(&runtime.workers[0].current) != freed);
}

static void handle_freed(void)
{
    scheduler_begin(1);
    shared = scheduler_spawn(do_nothing, NULL);
    explore_expect(weft_task_detach(shared) == 0);
    explore_start("reader", look_at_freed,
                  table_at(&runtime.table, HANDLE_INDEX(shared)));
    explore_join_all();
    scheduler_end();
}

// A handle that says nothing but itself: the table orders all else. The slot
// is in a segment that was not there before.
static atomic_u64 published;

static void spawn_and_publish(void *arg)
{
    (void)arg;
    store_relaxed(&published, scheduler_spawn(do_nothing, NULL).id);
}

static void cancel_published(void *arg)
{
    weft_task task = {load_relaxed(&published)};

    (void)arg;
    int error = weft_task_cancel(task);
    explore_expect(error == 0 || error == -ESRCH);
}

static void handle_fresh(void)
{
    scheduler_prepare(1);
    store_relaxed(&published, 0);
    for (int i = 0; i < SEGMENT_SLOTS; i++)
        (void)scheduler_spawn(do_nothing, NULL);
    explore_start("spawner", spawn_and_publish, NULL);
    explore_start("canceller", cancel_published, NULL);
    explore_join_all();
    runtime_close(&runtime);
    runtime_deinit(&runtime);
}

// A runtime is taken apart when no call by handle is inside any more.
static void close_runtime(void *arg)
{
    (void)arg;
    runtime_close(&runtime);
    runtime.table.segments = NULL;
}

static void handle_closed(void)
{
    scheduler_prepare(1);
    _Atomic(struct segment *) *segments = runtime.table.segments;
    shared = scheduler_spawn(do_nothing, NULL);
    explore_start("canceller", cancel_it, NULL);
    explore_start("closer", close_runtime, NULL);
    explore_join_all();
    runtime.table.segments = segments;
    runtime_deinit(&runtime);
}

// A handle of a runtime that was not there before: the registry orders it.
static void make_and_publish(void *arg)
{
    scheduler_prepare(1);
    spawn_and_publish(arg);
}

static void handle_first(void)
{
    store_relaxed(&published, 0);
    explore_start("maker", make_and_publish, NULL);
    explore_start("canceller", cancel_published, NULL);
    explore_join_all();
    runtime_close(&runtime);
    runtime_deinit(&runtime);
}

// The tag of a runtime that is gone is the next one's.
static weft_runtime second;

static void end_first(void *arg)
{
    (void)arg;
    runtime_close(&runtime);
    runtime_deinit(&runtime);
}

static void begin_second(void *arg)
{
    weft_task_options options = {.size = sizeof options, .runtime = &second};
    weft_task task;

    (void)arg;
    memset(&second, 0, sizeof second);
    second.stack_class = STACK_CLASS_MIN;
    second.max_tasks = TABLE_MAX;
    while (runtime_init(&second, 1) == -EAGAIN)
        port_pause();
    explore_expect(weft_task_spawn(&options, do_nothing, NULL, &task) == 0);
    explore_expect(weft_task_cancel(task) == 0);
}

static void tag_again(void)
{
    scheduler_prepare(1);
    explore_start("first", end_first, NULL);
    explore_start("second", begin_second, NULL);
    explore_join_all();
    runtime_close(&second);
    runtime_deinit(&second);
}

// ---- Work, and those who sleep ----

static void spawn_one(void *arg)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};

    explore_expect(weft_task_spawn(&options, write_it, arg, NULL) == 0);
}

static void idle_one(void)
{
    scheduler_begin(1);
    written = 0;
    explore_start("spawner", spawn_one, NULL);
    explore_join_all();
    explore_expect(written == 1);
    scheduler_end();
}

static void *write_own(void *arg)
{
    *(int *)arg += 1;
    return NULL;
}

static int cells[2];

static void spawn_own(void *arg)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};

    explore_expect(weft_task_spawn(&options, write_own, arg, NULL) == 0);
}

static void idle_two(void)
{
    scheduler_begin(2);
    memset(cells, 0, sizeof cells);
    explore_start("spawner", spawn_own, &cells[0]);
    explore_start("spawner 2", spawn_own, &cells[1]);
    explore_join_all();
    explore_expect(cells[0] == 1 && cells[1] == 1);
    scheduler_end();
}

// A task's children go into its worker's next slot and queue, where the other
// worker may steal them.
static void *spawn_children(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2; i++)
        explore_expect(weft_task_spawn(NULL, write_own, &cells[i], NULL) == 0);
    return NULL;
}

static void spawn_parent(void *arg)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};

    explore_expect(weft_task_spawn(&options, spawn_children, arg, NULL) == 0);
}

static void steal_children(void)
{
    scheduler_begin(2);
    memset(cells, 0, sizeof cells);
    explore_start("spawner", spawn_parent, NULL);
    explore_join_all();
    explore_expect(cells[0] == 1 && cells[1] == 1);
    scheduler_end();
}

// The same where each task seems to run for long: `next` may be stolen too.
static void steal_next(void)
{
    explore_set_step_ns(60000);
    steal_children();
}

#define RUNTIME(name, protocol, fn)                                            \
    {                                                                          \
        name, protocol, fn, {1, 1}, {3, 2}, NULL, NULL                         \
    }
#define LARGE(name, protocol, fn)                                              \
    {                                                                          \
        name, protocol, fn, {1, 0}, {2, 0}, NULL, NULL                         \
    }

const struct scenario runtime_scenarios[] = {
    RUNTIME("join-one", "join", join_one),
    RUNTIME("join-timed", "join", join_timed),
    {"join-again", "join", join_again, {1, 0}, {2, 1}, NULL, NULL},
    RUNTIME("wake-waiting", "task state", wake_waiting),
    {"wake-timed", "task state", wake_timed, {1, 1}, {3, 2}, NULL, "0 1"},
    {"wake-never", "task state", wake_never, {1, 1}, {3, 2}, NULL, "1"},
    LARGE("wake-elsewhere", "task state", wake_elsewhere),
    RUNTIME("cancel-waiting", "cancel", cancel_waiting),
    {"cancel-or-wake", "cancel", cancel_or_wake, {1, 0}, {3, 2}, NULL, NULL},
    LARGE("steal-next", "idle", steal_next),
    RUNTIME("labels", "labels", labels),
    RUNTIME("handle-fresh", "handles", handle_fresh),
    RUNTIME("handle-freed", "handles", handle_freed),
    RUNTIME("handle-first", "handles", handle_first),
    RUNTIME("handle-closed", "handles", handle_closed),
    RUNTIME("tag-again", "handles", tag_again),
    LARGE("handle-stale", "handles", handle_stale),
    RUNTIME("idle-one", "idle", idle_one),
    {"idle-two", "idle", idle_two, {1, 0}, {1, 1}, NULL, NULL},
    {"steal-children", "idle", steal_children, {1, 0}, {1, 1}, NULL, NULL},
    {0},
};
