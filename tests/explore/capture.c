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

enum { EPOCH = 1, COUNT = 5 };

static weft_runtime runtime;
static struct picture picture;
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
    memset(&picture, 0, sizeof picture);
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
    picture.runtime = &runtime;
    picture.epoch = EPOCH;
    picture.slots = load_relaxed(&runtime.table.used);
    picture.store = store_new(picture.slots, 1);
    picture.before = UINT64_MAX / 2;
    store_relaxed(&woken, 0);
    store_relaxed(&queued, 0);
    explore_expect(picture.store != NULL);
}

static void end(void)
{
    store_free(picture.store);
    runtime_close(&runtime);
    runtime_deinit(&runtime);
}

// The meeting opens the epoch; then the capture comes to the slot.
static void open_and_capture(void *arg)
{
    (void)arg;
    store_seq_cst(&task_epochs[task->tag], EPOCH);
    explore_expect(capture_task(&picture, NULL, task));
}

// A worker, from the meeting on: captures what it takes before it runs it.
static void run_woken(void *arg)
{
    (void)arg;
    while (load_seq_cst(&task_epochs[task->tag]) == 0)
        port_pause();
    if (load_acquire(&queued) == 0)
        return;
    explore_expect(capture_task(&picture, NULL, task));
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

static const struct shape *shape_of(const struct record *record)
{
    return (const struct shape *)picture.store->shapes.items + record->shape;
}

// Exactly one record was kept, of the task as it was.
static void expect_record(void)
{
    const struct record *record = store_record(picture.store, task->index);

    explore_expect(load_relaxed(&woken) == 1);
    explore_expect(record->id == task->id);
    explore_expect(record->schedules == COUNT);
    explore_expect(load_relaxed(&picture.store->shapes.count) == 1);
    const struct shape *shape = shape_of(record);
    explore_outcome(shape->state);
    if (shape->state == WEFT_STATE_WAITING)
        explore_expect(shape->wait == WEFT_WAIT_SLEEP);
    else
        explore_expect(shape->state == WEFT_STATE_READY);
}

static void capture_woken(void)
{
    begin();
    explore_start("capturer", open_and_capture, NULL);
    explore_start("waker", wake, NULL);
    explore_start("worker", run_woken, NULL);
    explore_join_all();
    expect_record();
    end();
}

static void capture_contended(void)
{
    begin();
    explore_start("capturer", open_and_capture, NULL);
    explore_start("waker", wake, NULL);
    explore_start("timer", wake, (void *)ETIMEDOUT);
    explore_join_all();
    expect_record();
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
    {0},
};
