// test_metrics.c -- Figures of a runtime and its workers: that they add up.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

#define MS WEFT_MILLISECOND

static weft_runtime_metrics of_runtime(weft_runtime *runtime)
{
    weft_runtime_metrics metrics;

    memset(&metrics, 0xff, sizeof metrics);
    expect_is(weft_runtime_metrics_get(runtime, &metrics), 0);
    return metrics;
}

static weft_worker_metrics of_worker(weft_runtime *runtime, unsigned index)
{
    weft_worker_metrics metrics;

    memset(&metrics, 0xff, sizeof metrics);
    expect_is(weft_worker_metrics_get(runtime, index, &metrics), 0);
    return metrics;
}

// The sum of all workers' figures.
static weft_worker_metrics of_all(weft_runtime *runtime)
{
    weft_worker_metrics sum = {0};
    unsigned workers = of_runtime(runtime).workers;

    for (unsigned i = 0; i < workers; i++) {
        weft_worker_metrics one = of_worker(runtime, i);
        sum.tasks_run += one.tasks_run;
        sum.parks += one.parks;
        sum.noop_parks += one.noop_parks;
        sum.steals += one.steals;
        sum.steal_operations += one.steal_operations;
        sum.local_schedules += one.local_schedules;
        sum.overflows += one.overflows;
        sum.queue_depth += one.queue_depth;
        sum.busy_ns += one.busy_ns;
    }
    return sum;
}

static void *echo(void *arg)
{
    return arg;
}

static void test_bad_arguments_are_refused(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(2);
    weft_runtime_metrics whole;
    weft_worker_metrics one;

    assert_int_equal(weft_runtime_metrics_get(NULL, &whole), -EINVAL);
    assert_int_equal(weft_runtime_metrics_get(runtime, NULL), -EINVAL);
    assert_int_equal(weft_worker_metrics_get(NULL, 0, &one), -EINVAL);
    assert_int_equal(weft_worker_metrics_get(runtime, 0, NULL), -EINVAL);
    assert_int_equal(weft_worker_metrics_get(runtime, 1, &one), 0);
    assert_int_equal(weft_worker_metrics_get(runtime, 2, &one), -EINVAL);
    assert_int_equal(weft_worker_metrics_get(runtime, UINT32_MAX, &one),
                     -EINVAL);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

static void test_at_the_beginning(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(3);
    weft_runtime_metrics metrics = of_runtime(runtime);

    assert_true(metrics.workers >= 3); // spare ones, too
    assert_int_equal(metrics.tasks_live, 0);
    assert_int_equal(metrics.tasks_spawned, 0);
    assert_int_equal(metrics.inject_depth, 0);
    assert_int_equal(metrics.remote_schedules, 0);
    assert_int_equal(metrics.blocking_threads, 0);
    assert_int_equal(metrics.dumps, 0);
    assert_int_equal(metrics.dumps_incomplete, 0);
    assert_int_equal(of_all(runtime).tasks_run, 0);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

// ---- Tasks. ----

static void *wait_at_the_gate(void *arg)
{
    int number;

    expect_is(weft_channel_recv(arg, &number, WEFT_NEVER), -EPIPE);
    return NULL;
}

static void *count_the_living(void *arg)
{
    weft_runtime *runtime = weft_runtime_self();
    weft_channel *gate;
    weft_task tasks[100];

    expect_is(weft_channel_new(sizeof(int), 1, NULL, &gate), 0);
    expect_is(of_runtime(runtime).tasks_live, 1);
    for (uint64_t i = 0; i < 100; i++) {
        tasks[i] = spawn(wait_at_the_gate, gate);
        expect_is(of_runtime(runtime).tasks_live, i + 2);
        expect_is(of_runtime(runtime).tasks_spawned, i + 2);
    }
    expect_is(weft_channel_close(gate), 0);
    for (int i = 0; i < 100; i++)
        join(tasks[i]);
    while (of_runtime(runtime).tasks_live != 1) // they may be on their way out
        (void)weft_task_yield();
    expect_is(of_runtime(runtime).tasks_spawned, 101);
    expect_is(weft_channel_free(gate), 0);
    return arg;
}

static void test_the_living_and_the_spawned(void **state)
{
    (void)state;
    run(count_the_living);
}

static void *yield_often(void *arg)
{
    for (intptr_t i = 0; i < (intptr_t)arg; i++)
        (void)weft_task_yield();
    return NULL;
}

// Each task is run once, and once more after each yield.
static void test_runs(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(2);
    weft_task tasks[50];

    for (int i = 0; i < 50; i++)
        tasks[i] = spawn_on(runtime, yield_often, (void *)20);
    for (int i = 0; i < 50; i++)
        join(tasks[i]);
    while (of_runtime(runtime).tasks_live > 0)
        continue;
    assert_int_equal(of_all(runtime).tasks_run, 50 * 21);
    assert_int_equal(of_runtime(runtime).tasks_spawned, 50);
    assert_int_equal(of_all(runtime).queue_depth, 0);
    assert_int_equal(of_runtime(runtime).inject_depth, 0);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

static void test_remote_schedules(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(1);

    for (int i = 0; i < 100; i++)
        join(spawn_on(runtime, echo, NULL));
    assert_true(of_runtime(runtime).remote_schedules >= 100);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

// ---- Time. ----

static void *be_busy(void *arg)
{
    int64_t until = weft_time_after(5 * MS);

    while (weft_time_now() < until)
        continue;
    return arg;
}

static void test_busy_time(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(1);
    int64_t began = weft_time_now();

    for (int i = 0; i < 4; i++)
        join(spawn_on(runtime, be_busy, NULL));
    while (of_runtime(runtime).tasks_live > 0)
        continue;
    weft_worker_metrics metrics = of_worker(runtime, 0);
    int64_t passed = weft_time_now() - began;
    assert_true(metrics.busy_ns >= 4 * 5 * MS * 99 / 100);
    assert_true((int64_t)metrics.busy_ns <= passed * 101 / 100);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

static void *yield_for_long(void *arg)
{
    while (of_worker(arg, 0).mean_run_ns == 0)
        (void)weft_task_yield();
    return NULL;
}

static void test_the_mean_run_time_comes(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(1);

    expect_is(weft_runtime_run(runtime, yield_for_long, runtime, NULL), 0);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

// ---- Sleeping, stealing, overflowing. ----

static void test_idle_workers_park(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(2);

    for (unsigned i = 0; i < 2; i++)
        while (of_worker(runtime, i).parks == 0)
            continue;
    uint64_t before = of_all(runtime).parks;
    for (int i = 0; i < 50; i++) {
        join(spawn_on(runtime, echo, NULL));
        while (of_all(runtime).parks == before) // asleep again
            continue;
        before = of_all(runtime).parks;
    }
    weft_worker_metrics all = of_all(runtime);
    assert_true(all.noop_parks <= all.parks);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

struct crowd {
    weft_runtime *runtime;
    atomic_int ended;
};

static void *work_until_stolen(void *arg)
{
    struct crowd *crowd = arg;

    (void)atomic_fetch_add(&crowd->ended, 1);
    return NULL;
}

// One worker has many, and keeps busy: the others come and take.
static void *keep_many(void *arg)
{
    struct crowd crowd = {.runtime = weft_runtime_self()};
    int spawned = 0;

    while (of_all(crowd.runtime).steals == 0) {
        expect_is(weft_task_spawn(NULL, work_until_stolen, &crowd, NULL), 0);
        if (++spawned % 64 == 0) // they are taken, or wait for their turn here
            (void)weft_task_yield();
    }
    weft_worker_metrics all = of_all(crowd.runtime);
    expect(all.steal_operations > 0);
    expect(all.steals >= all.steal_operations);
    until_reached(&crowd.ended, spawned);
    return arg;
}

static void test_steals(void **state)
{
    (void)state;
    run_with(4, keep_many, NULL);
}

static void *overflow(void *arg)
{
    enum { MANY = 2500 };
    struct crowd crowd = {.runtime = weft_runtime_self()};

    expect_is(of_all(crowd.runtime).overflows, 0);
    for (int i = 0; i < MANY; i++)
        expect_is(weft_task_spawn(NULL, work_until_stolen, &crowd, NULL), 0);
    expect(of_all(crowd.runtime).overflows > 0);
    expect(of_all(crowd.runtime).queue_depth > 0);
    expect(of_runtime(crowd.runtime).inject_depth > 0);
    expect(of_all(crowd.runtime).local_schedules >= MANY - 1);
    until_reached(&crowd.ended, MANY);
    return arg;
}

static void test_overflows(void **state)
{
    (void)state;
    run_with(1, overflow, NULL);
}

static void *block(void *arg)
{
    return arg;
}

static void *count_blocking_threads(void *arg)
{
    void *result = NULL;

    expect_is(weft_blocking_run(block, arg, &result), 0);
    expect(result == arg);
    expect_is(of_runtime(weft_runtime_self()).blocking_threads, 1);
    return NULL;
}

static void test_blocking_threads(void **state)
{
    (void)state;
    int number;

    run_with(1, count_blocking_threads, &number);
}

static void test_dumps(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(2);

    for (uint64_t i = 0; i < 5; i++) {
        weft_dump *dump;
        assert_int_equal(of_runtime(runtime).dumps, i);
        assert_int_equal(weft_dump_take(runtime, &dump), 0);
        weft_dump_free(dump);
    }
    assert_int_equal(of_runtime(runtime).dumps_incomplete, 0);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_arguments_are_refused),
        cmocka_unit_test(test_at_the_beginning),
        cmocka_unit_test(test_the_living_and_the_spawned),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_remote_schedules),
        cmocka_unit_test(test_busy_time),
        cmocka_unit_test(test_the_mean_run_time_comes),
        cmocka_unit_test(test_idle_workers_park),
        cmocka_unit_test(test_steals),
        cmocka_unit_test(test_overflows),
        cmocka_unit_test(test_blocking_threads),
        cmocka_unit_test(test_dumps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
