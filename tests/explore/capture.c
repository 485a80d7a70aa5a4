// capture.c -- Scenarios of a capture that reads a task while it is woken, run
// and ended (task.h S1, P3 to P5; dump/capture.c).
//
// A slot in a wait is captured by one thread, while others wake it, and run it
// as a worker does: captured first. Its stack is one that has not begun, so
// that no unwinding is needed. However they meet, there is one record of it,
// and it tells what was so when the epoch began: or else the waker was so early
// that it need not have heard of the epoch.
#include "dump/capture.h"

#include <errno.h>
#include <string.h>

#include "explore/scheduler.h"
#include "task/waiter.h"

enum { COUNT = 5, EPOCHS = 2 };

static struct picture pictures[EPOCHS + 1]; // by epoch
static bool waited[EPOCHS + 1]; // for all that was known when it was opened
static struct task *task;
static uint64_t waits;        // its state word, while it waits
static bool knew[EPOCHS + 1]; // he who woke it, before he did
static atomic_u32 woken;      // how often
static atomic_u32 queued;     // by the waker, taken by the worker

static void *no_function(void *arg)
{
    return arg;
}

// Before the first spawn: of the last execution.
static void forget_epochs(void)
{
    memset(task_epochs, 0, sizeof task_epochs);
}

static void make_pictures(void)
{
    memset(pictures, 0, sizeof pictures);
    for (uint32_t epoch = 1; epoch <= EPOCHS; epoch++) {
        struct picture *picture = &pictures[epoch];
        picture->runtime = &runtime;
        picture->epoch = epoch;
        picture->slots = load_relaxed(&runtime.table.used);
        picture->store = store_new(picture->slots, 1);
        picture->before = UINT64_MAX / 2;
        explore_expect(picture->store != NULL);
    }
}

static void free_pictures(void)
{
    for (uint32_t epoch = 1; epoch <= EPOCHS; epoch++)
        store_free(pictures[epoch].store);
}

// A task that was spawned, run COUNT times, and waits.
static void begin(void)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};
    struct task_list out = {0};
    weft_task handle;

    forget_epochs();
    scheduler_prepare(1);
    explore_expect(weft_task_spawn(&options, no_function, NULL, &handle) == 0);
    inject_pop(&runtime.inject, 1, &out);
    task = out.head;
    waits = STATE(COUNT, 0, PHASE_WAITING);
    store_relaxed(&task->state, waits);
    task->wait_kind = WEFT_WAIT_SLEEP;
    task->wait_object = NULL;
    task->wait_deadline = WEFT_NEVER;
    make_pictures();
    memset(knew, 0, sizeof knew);
    store_relaxed(&woken, 0);
    store_relaxed(&queued, 0);
}

static void end(void)
{
    free_pictures();
    runtime_close(&runtime);
    runtime_deinit(&runtime);
}

// The meeting opens the epoch; then the capture comes to the slot. Of a waking
// that the meeting has heard of nobody may say that it was later.
static void open_and_capture(uint32_t epoch)
{
    waited[epoch] = load_acquire(&queued) == 0;
    store_seq_cst(&task_epochs[task->tag], epoch);
    explore_expect(capture_task(&pictures[epoch], NULL, task));
}

static void capture_once(void *arg)
{
    (void)arg;
    open_and_capture(1);
}

static void capture_twice(void *arg)
{
    (void)arg;
    open_and_capture(1);
    store_seq_cst(&task_epochs[task->tag], 0);
    open_and_capture(2);
}

// A worker, from the meeting on: captures what it takes before it runs it.
static void run_woken(void *arg)
{
    (void)arg;
    while (load_seq_cst(&task_epochs[task->tag]) == 0)
        port_pause();
    if (load_acquire(&queued) == 0)
        return;
    explore_expect(capture_task(&pictures[1], NULL, task));
    store_release(&task->state, STATE(COUNT + 1, 0, PHASE_RUNNING));
    task->wait_kind = WEFT_WAIT_NONE;
    task->wait_deadline = 0;
}

// One outside: `arg` the outcome.
static void wake(void *arg)
{
    uint32_t epoch = load_seq_cst(&task_epochs[task->tag]);

    if (waiter_fire_word(task, waits, (int)(uintptr_t)arg) != FIRED_READY)
        return;
    knew[epoch] = true;
    (void)add_relaxed(&woken, 1);
    store_relaxed(&task->woken, 7);
    store_release(&queued, 1);
}

// Exactly one record was kept, of the task as it was when the epoch was opened.
// A waking that was not ordered before or after that counts as either.
static void expect_record(uint32_t epoch)
{
    struct store *store = pictures[epoch].store;
    const struct record *record = store_record(store, task->index);

    explore_expect(record->id == task->id);
    explore_expect(record->schedules == COUNT);
    explore_expect(load_relaxed(&store->shapes.count) == 1);
    const struct shape *shape =
        (const struct shape *)store->shapes.items + record->shape;
    if (shape->state == WEFT_STATE_WAITING)
        explore_expect(waited[epoch] && shape->wait == WEFT_WAIT_SLEEP);
    else
        explore_expect(shape->state == WEFT_STATE_READY && !knew[epoch]);
}

static void capture_woken(void)
{
    begin();
    explore_start("capturer", capture_once, NULL);
    explore_start("waker", wake, NULL);
    explore_start("worker", run_woken, NULL);
    explore_join_all();
    explore_expect(load_relaxed(&woken) == 1);
    expect_record(1);
    end();
}

static void capture_contended(void)
{
    begin();
    explore_start("capturer", capture_once, NULL);
    explore_start("waker", wake, NULL);
    explore_start("timer", wake, (void *)ETIMEDOUT);
    explore_join_all();
    explore_expect(load_relaxed(&woken) == 1);
    expect_record(1);
    end();
}

static void capture_again(void)
{
    begin();
    explore_start("capturer", capture_twice, NULL);
    explore_start("waker", wake, NULL);
    explore_start("timer", wake, (void *)ETIMEDOUT);
    explore_join_all();
    explore_expect(load_relaxed(&woken) == 1);
    expect_record(1);
    expect_record(2);
    explore_expect(load_relaxed(&task->mark) == MARK(EPOCHS, MARK_TAKEN));
    end();
}

// ---- A task that has ended, its slot freed and used again ----

static void before_release(struct weft_runtime *of, struct task *ended)
{
    (void)of;
    explore_expect(capture_task(&pictures[1], NULL, ended));
}

static const struct trace_ops release_ops = {.before_release = before_release};

static void *another(void *arg)
{
    return arg;
}

// One outside, who has waited for the task, and then spawns: the slot is the
// newest free one.
static bool born_after; // the meeting, and its spawner knew

static void release_and_spawn(void *arg)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};
    weft_task next;

    (void)arg;
    lock_acquire(&task->lock);
    task_release(task);
    born_after = load_seq_cst(&task_epochs[task->tag]) != 0;
    explore_expect(weft_task_spawn(&options, another, NULL, &next) == 0);
    explore_expect(HANDLE_INDEX(next) == task->index);
}

// Of the one task or of the other, or of none, but not of both.
static void expect_either(uint64_t ended)
{
    struct store *store = pictures[1].store;
    const struct record *record = store_record(store, task->index);

    if (load_relaxed(&store->shapes.count) == 0)
        return;
    explore_expect(load_relaxed(&store->shapes.count) == 1);
    const struct shape *shape =
        (const struct shape *)store->shapes.items + record->shape;
    explore_expect(record->id == ended ||
                   (record->id == task->id && !born_after));
    explore_expect((shape->state == WEFT_STATE_DONE) == (record->id == ended));
    explore_expect(record->schedules == (record->id == ended ? COUNT : 0));
}

static void capture_ended(void)
{
    begin();
    runtime.trace = &release_ops;
    store_relaxed(&task->state, STATE(COUNT, 0, PHASE_DONE));
    uint64_t ended = task->id;
    explore_start("capturer", capture_once, NULL);
    explore_start("releaser", release_and_spawn, NULL);
    explore_join_all();
    expect_either(ended);
    end();
}

// ---- Tasks that workers run ----

// Of one that ran on while it was looked for: either the stack is the one that
// was saved, or it is known that it is not.
static void read_saved(void *arg)
{
    struct running running = {.copy = {.id = task->id}};

    (void)arg;
    if (!capture_saved(NULL, task, &running))
        return;
    explore_expect(running.pcs[0] == (uintptr_t)no_function + 1);
    explore_expect(!explore_torn());
}

// Saves it, and runs it again. Its frame stands for its stack; and what is read
// of a stack that has not begun is the function.
static void save_and_run_on(void *arg)
{
    uintptr_t *frame = task->sp;

    (void)arg;
    frame[0]++;
    store_release(&task->state, STATE(COUNT, 0, PHASE_READY));
    store_release(&task->state, STATE(COUNT + 1, 0, PHASE_RUNNING));
    task->fn = another;
}

static void capture_saved_stacks(void)
{
    begin();
    store_relaxed(&task->state, STATE(COUNT, 0, PHASE_RUNNING));
    explore_watch_copies(task->sp, sizeof(struct switch_frame));
    explore_start("reader", read_saved, NULL);
    explore_start("worker", save_and_run_on, NULL);
    explore_join_all();
    end();
}

// The worker captures what it is about to run, the capturer the same.
static void before_run(struct worker *worker, struct task *next)
{
    (void)worker;
    explore_expect(capture_task(&pictures[1], NULL, next));
}

static bool capture_some(struct worker *worker)
{
    (void)worker;
    return false;
}

static void begin_or_end(struct worker *worker)
{
    (void)worker;
}

static const struct trace_ops run_ops = {
    .before_run = before_run,
    .capture_some = capture_some,
    .worker_begins = begin_or_end,
    .worker_ends = begin_or_end,
};

// By who reads a stack that may be running: of no use then, but read.
static void capture_slot(void *arg)
{
    explore_expect(capture_task(&pictures[1], arg, task));
}

static void capture_run(void)
{
    static const struct cfi_module none;
    struct cfi_cache *cache = cfi_cache_new_for(&none, 0, NULL);

    explore_expect(cache != NULL);
    forget_epochs();
    scheduler_prepare(1);
    runtime.trace = &run_ops;
    weft_task spawned = scheduler_spawn(no_function, NULL);
    task = table_at(&runtime.table, HANDLE_INDEX(spawned));
    make_pictures();
    store_relaxed(&task_epochs[task->tag], 1);
    store_relaxed(&runtime.trace_asked, TRACE_CAPTURE);
    scheduler_run();
    explore_start("capturer", capture_slot, cache);
    explore_join_all();
    struct store *store = pictures[1].store;
    const struct shape *shape = (const struct shape *)store->shapes.items;
    explore_expect(load_relaxed(&store->shapes.count) == 1);
    explore_expect(shape->state == WEFT_STATE_NEW);
    free_pictures();
    scheduler_end();
}

const struct scenario capture_scenarios[] = {
    {"capture-run", "capture", capture_run, {2, 1}, {3, 2}, NULL, NULL},
    {"capture-saved",
     "capture",
     capture_saved_stacks,
     {2, 1},
     {3, 2},
     NULL,
     NULL},
    {"capture-ended", "capture", capture_ended, {2, 1}, {3, 2}, NULL, NULL},
    {"capture-woken", "capture", capture_woken, {2, 1}, {3, 2}, NULL, NULL},
    {"capture-contended",
     "capture",
     capture_contended,
     {2, 1},
     {3, 2},
     NULL,
     NULL},
    {"capture-again", "capture", capture_again, {2, 1}, {3, 2}, NULL, NULL},
    {0},
};
