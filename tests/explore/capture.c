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

#include "explore/explore.h"
#include "task/waiter.h"

enum { COUNT = 5, EPOCHS = 2 };

static weft_runtime runtime;
static struct picture pictures[EPOCHS + 1]; // by epoch
static bool waited[EPOCHS + 1]; // for all that was known when it was opened
static struct task *task;
static uint64_t waits;    // its state word, while it waits
static atomic_u32 woken;  // how often
static atomic_u32 queued; // by the waker, taken by the worker

static void *no_function(void *arg)
{
    return arg;
}

// A task that was spawned, run COUNT times, and waits.
static void begin(void)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};
    struct task_list out = {0};
    weft_task handle;

    memset(&runtime, 0, sizeof runtime);
    memset(pictures, 0, sizeof pictures);
    memset(task_epochs, 0, sizeof task_epochs); // of the last execution
    runtime.stack_class = STACK_CLASS_MIN;
    runtime.max_tasks = TABLE_MAX;
    explore_expect(runtime_init(&runtime, 1) == 0);
    explore_expect(weft_task_spawn(&options, no_function, NULL, &handle) == 0);
    inject_pop(&runtime.inject, 1, &out);
    task = out.head;
    waits = STATE(COUNT, 0, PHASE_WAITING);
    store_relaxed(&task->state, waits);
    task->wait_kind = WEFT_WAIT_SLEEP;
    task->wait_object = NULL;
    task->wait_deadline = WEFT_NEVER;
    for (uint32_t epoch = 1; epoch <= EPOCHS; epoch++) {
        struct picture *picture = &pictures[epoch];
        picture->runtime = &runtime;
        picture->epoch = epoch;
        picture->slots = load_relaxed(&runtime.table.used);
        picture->store = store_new(picture->slots, 1);
        picture->before = UINT64_MAX / 2;
        explore_expect(picture->store != NULL);
    }
    store_relaxed(&woken, 0);
    store_relaxed(&queued, 0);
}

static void end(void)
{
    for (uint32_t epoch = 1; epoch <= EPOCHS; epoch++)
        store_free(pictures[epoch].store);
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
    if (waiter_fire_word(task, waits, (int)(uintptr_t)arg) != FIRED_READY)
        return;
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
        explore_expect(shape->state == WEFT_STATE_READY);
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

const struct scenario capture_scenarios[] = {
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
