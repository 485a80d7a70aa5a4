// tour_tasks.c -- The tour's part about tasks, scopes, threads and runtimes.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "tour.h"

enum { TASKS = 40 };

static atomic_int begun, ended;

// ---- Started, joined, cancelled ----

static void *work(void *arg)
{
    atomic_fetch_add(&begun, 1);
    went_well(weft_task_set_label("step", "one"), "label");
    went_well(weft_task_set_label("step", "two"), "label again");
    went_well(weft_task_set_name("worker bee"), "name");
    went_well(weft_task_yield(), "yield");
    atomic_fetch_add(&ended, 1);
    return arg;
}

static void *sleep_long(void *arg)
{
    int result = weft_task_sleep(WEFT_NEVER);

    must_hold(result == -ECANCELED, "a sleep without end is cancelled");
    return arg;
}

static void start_many(void)
{
    static const size_t sizes[] = {0, 16 << 10, 128 << 10, 1 << 20};
    weft_task tasks[TASKS];
    size_t started = 0;

    for (size_t i = 0; i < TASKS; i++) {
        weft_task_options options = {.size = sizeof options,
                                     .stack_size = sizes[i % 4]};
        started += went_well(weft_task_spawn(&options, work,
                                             (void *)(uintptr_t)started,
                                             &tasks[started]),
                             "spawn");
    }
    for (size_t i = 0; i < started; i++)
        must_hold((uintptr_t)join(tasks[i]) == i, "a result is its task's");
    must_hold(begun == ended, "what begins ends");
    must_hold((size_t)begun == started, "what was started has run");
}

static void cancel_one(void)
{
    weft_task task;

    if (!spawn("sleeper", sleep_long, NULL, &task))
        return;
    must_hold(weft_task_cancel(task) == 0, "what was started is cancelled");
    join(task);
}

// ---- Times ----

static void keep_time(void)
{
    weft_interval interval;

    must_hold(weft_interval_init(&interval, weft_time_now(), WEFT_MILLISECOND,
                                 WEFT_INTERVAL_SKIP) == 0,
              "an interval can be made");
    for (int i = 0; i < 3; i++)
        must_hold(weft_interval_tick(&interval, WEFT_NEVER) >= 0, "ticks come");
    weft_scope scope; // for a clock that is a day late
    weft_scope_enter(&scope, weft_time_after(WEFT_SECOND));
    int64_t until_ns = weft_time_wall_now() + WEFT_MILLISECOND;
    weft_clause clauses[] = {
        weft_clause_time(WEFT_NEVER),
        weft_clause_wall(until_ns),
    };
    went_well(weft_task_sleep_wall(until_ns), "sleep by the wall clock");
    int chosen = weft_select(clauses, 2, WEFT_NEVER);
    if (went_well(chosen < 0 ? chosen : 0, "select by the wall clock"))
        must_hold(chosen == 1, "the wall clock is chosen");
    weft_scope_leave(&scope);
}

// ---- Scopes ----

static void *child(void *left)
{
    atomic_fetch_sub((atomic_int *)left, 1);
    return NULL;
}

static void in_scope(void)
{
    weft_scope scope;
    atomic_int left = 0;

    if (!went_well(weft_scope_enter(&scope, WEFT_NEVER), "scope"))
        return;
    for (int i = 0; i < 8; i++) {
        atomic_fetch_add(&left, 1);
        if (!went_well(weft_scope_spawn(&scope, NULL, child, &left, NULL),
                       "spawn in scope"))
            atomic_fetch_sub(&left, 1);
    }
    went_well(weft_scope_spawn(&scope, NULL, sleep_long, NULL, NULL),
              "spawn in scope");
    must_hold(weft_scope_cancel(&scope) == 0, "a scope can be cancelled");
    int result = weft_scope_leave(&scope);
    must_hold(result == 0 || result == -ECANCELED, "a scope can be left");
    // Those that were cancelled before they ran have run all the same.
    must_hold(left == 0, "no child outlives its scope");
}

static void *answer(void *arg)
{
    return arg;
}

// Few at a time, each result where it belongs, each child told of once.
static void in_full_scope(void)
{
    weft_scope_options options = {
        .size = sizeof options, .name = "few", .limit = 3, .keep = true};
    void *results[8] = {NULL};
    weft_scope_child ended_one;
    weft_scope scope;
    int started = 0;
    int told = 0;

    if (!went_well(weft_scope_enter_with(&scope, &options, WEFT_NEVER),
                   "scope"))
        return;
    for (int i = 0; i < 8; i++) {
        weft_task_options of_task = {.size = sizeof of_task,
                                     .ret_result = &results[i]};
        started += went_well(
            weft_scope_spawn(&scope, &of_task, answer, &results[i], NULL),
            "spawn in a full scope");
    }
    while (weft_scope_next(&scope, WEFT_NEVER, &ended_one) == 0)
        told++;
    must_hold(told == started, "each child that was started ends");
    must_hold(weft_scope_leave(&scope) == 0, "a scope can be left");
    for (int i = 0; i < 8; i++)
        started -= results[i] == &results[i];
    must_hold(started == 0, "each has its result");
}

// ---- Threads ----

static void *triple(void *number)
{
    return (void *)((uintptr_t)number * 3);
}

static void in_threads(void)
{
    void *result = NULL;

    for (uintptr_t i = 1; i <= 3; i++) {
        void *here = NULL;
        must_hold(weft_blocking_run_here(triple, (void *)i, &here) == 0,
                  "a call in place needs no thread");
        must_hold((uintptr_t)here == 3 * i, "a call in place gives its result");
        int error = weft_blocking_run(triple, (void *)i, &result);
        if (went_well(error, "blocking"))
            must_hold((uintptr_t)result == 3 * i, "a call gives its result");
    }
}

static void *all_of_it(void *unused)
{
    start_many();
    cancel_one();
    keep_time();
    in_scope();
    in_full_scope();
    in_threads();
    return unused;
}

// A thread of the program's that starts tasks in two runtimes and joins them.
static void *outside(void *unused)
{
    weft_runtime *runtimes[2] = {begin_runtime(1), begin_runtime(2)};
    weft_runtime_metrics metrics;

    for (int i = 0; i < 2; i++) {
        weft_task_options options = {.size = sizeof options,
                                     .runtime = runtimes[i]};
        weft_task task;
        if (runtimes[i] != NULL &&
            went_well(weft_task_spawn(&options, triple, (void *)5, &task),
                      "spawn from outside"))
            must_hold(join(task) == (void *)15, "a thread joins");
    }
    for (int i = 0; i < 2; i++) {
        if (runtimes[i] != NULL)
            must_hold(weft_runtime_metrics_get(runtimes[i], &metrics) == 0 &&
                          metrics.tasks_live == 0,
                      "no task is left");
        must_hold(weft_runtime_free(runtimes[i]) == 0, "free");
    }
    return unused;
}

void tour_tasks(void)
{
    pthread_t thread;

    run_alone(2, all_of_it, NULL);
    if (pthread_create(&thread, NULL, outside, NULL) == 0)
        pthread_join(thread, NULL);
}
