// tasks.h -- What tests of tasks share: checks, starting, waiting for an event.
//
// For programs that include <weft/weft.h> and <cmocka.h>; they need no more.
#ifndef WEFT_TESTS_TASKS_H
#define WEFT_TESTS_TASKS_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/scale.h"

// cmocka's assertions jump to another thread's stack, so tasks have their own.
#define expect(condition)                                                      \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

// A value that is to be equal, shown if it is not.
#define expect_is(value, wanted)                                               \
    do {                                                                       \
        long long got_ = (long long)(value);                                   \
        if (got_ != (long long)(wanted)) {                                     \
            fprintf(stderr, "%s:%d: %s is %lld\n", __FILE__, __LINE__, #value, \
                    got_);                                                     \
            abort();                                                           \
        }                                                                      \
    } while (0)

// How many times a test does what it can do any number of times.
static inline int scaled(int times)
{
    return scale_times(times, 1);
}

// ---- Runtimes. ----

static inline weft_runtime *start_with(unsigned workers)
{
    weft_runtime_options options = {.size = sizeof options, .workers = workers};
    weft_runtime *runtime;

    expect_is(weft_runtime_new(&options, &runtime), 0);
    return runtime;
}

static inline void run_with(unsigned workers, weft_task_fn *fn, void *arg)
{
    weft_runtime_options options = {.size = sizeof options, .workers = workers};

    expect_is(weft_run(&options, fn, arg, NULL), 0);
}

// Each body runs on one worker, on two, and on more than there are processors.
static inline void run(weft_task_fn *fn)
{
    run_with(1, fn, NULL);
    run_with(2, fn, NULL);
    run_with(8, fn, NULL);
}

// ---- Tasks. ----

static inline weft_task spawn(weft_task_fn *fn, void *arg)
{
    weft_task task;

    expect_is(weft_task_spawn(NULL, fn, arg, &task), 0);
    return task;
}

static inline weft_task spawn_on(weft_runtime *runtime, weft_task_fn *fn,
                                 void *arg)
{
    weft_task_options options = {.size = sizeof options, .runtime = runtime};
    weft_task task;

    expect_is(weft_task_spawn(&options, fn, arg, &task), 0);
    return task;
}

static inline intptr_t join(weft_task task)
{
    void *result = NULL;

    expect_is(weft_task_join(task, WEFT_NEVER, &result), 0);
    return (intptr_t)result;
}

// Yields until a number has grown to at least `wanted`.
static inline void until_reached(atomic_int *number, int wanted)
{
    while (atomic_load(number) < wanted)
        (void)weft_task_yield();
}

static inline bool waits_in(const weft_dump *dump, weft_task task,
                            enum weft_wait_kind kind)
{
    weft_dump_task entry;

    for (size_t i = 0; weft_dump_get_task(dump, i, &entry) == 0; i++)
        if (entry.handle.id == task.id)
            return entry.state == WEFT_STATE_WAITING && entry.wait == kind;
    return false;
}

// Returns once a task of a runtime waits for something of a kind: asks one
// dump after another, so it needs no guess of how long that takes.
static inline void until_waiting_in(weft_runtime *runtime, weft_task task,
                                    enum weft_wait_kind kind)
{
    bool waits = false;

    while (!waits) {
        weft_dump *dump;
        expect_is(weft_dump_take(runtime, &dump), 0);
        waits = waits_in(dump, task, kind);
        weft_dump_free(dump);
    }
}

static inline void until_waiting(weft_task task, enum weft_wait_kind kind)
{
    until_waiting_in(weft_runtime_self(), task, kind);
}

// ---- Chance. ----

static inline uint32_t random_below(uint64_t *state, uint32_t limit)
{
    *state = *state * 6364136223846793005 + 1442695040888963407;
    return (uint32_t)(*state >> 33) % limit;
}

// Cancels every other task, with a random time of up to 50 us before each.
static inline void cancel_half(const weft_task *tasks, int count,
                               uint64_t *chance)
{
    for (int i = 0; i < count; i += 2) {
        expect_is(weft_task_sleep(weft_time_after(random_below(chance, 50000))),
                  0);
        expect_is(weft_task_cancel(tasks[i]), 0);
    }
}

#endif
