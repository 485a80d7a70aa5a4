// test_blocking.c -- Calls that block a thread: results, many, misuse.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

#define MS WEFT_MILLISECOND

static void *add_one(void *arg)
{
    expect(weft_runtime_self() == NULL); // it is not in a task
    expect(weft_task_self().id == 0);
    return (void *)((intptr_t)arg + 1);
}

static void *call_often(void *arg)
{
    for (intptr_t i = 0; i < scaled(200); i++) {
        void *result = NULL;
        expect_is(weft_blocking_run(add_one, (void *)i, &result), 0);
        expect_is((intptr_t)result, i + 1);
    }
    expect_is(weft_blocking_run(add_one, arg, NULL), 0);
    return arg;
}

static void *call_from_many(void *arg)
{
    weft_task tasks[20];

    for (int i = 0; i < 20; i++)
        tasks[i] = spawn(call_often, arg);
    for (int i = 0; i < 20; i++)
        join(tasks[i]);
    return arg;
}

static void test_results(void **state)
{
    (void)state;
    run(call_from_many);
}

// All block at the same time, in threads of their own, and the worker is free:
// it lets them go.
struct meeting {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int inside;
    bool open;
};

static void *meet(void *arg)
{
    struct meeting *meeting = arg;

    pthread_mutex_lock(&meeting->mutex);
    meeting->inside++;
    pthread_cond_broadcast(&meeting->condition);
    while (!meeting->open)
        pthread_cond_wait(&meeting->condition, &meeting->mutex);
    pthread_mutex_unlock(&meeting->mutex);
    return NULL;
}

static void *go_to_meeting(void *arg)
{
    expect_is(weft_blocking_run(meet, arg, NULL), 0);
    return NULL;
}

static int count_inside(struct meeting *meeting)
{
    pthread_mutex_lock(&meeting->mutex);
    int inside = meeting->inside;
    pthread_mutex_unlock(&meeting->mutex);
    return inside;
}

static void open_the_doors(struct meeting *meeting)
{
    pthread_mutex_lock(&meeting->mutex);
    meeting->open = true;
    pthread_cond_broadcast(&meeting->condition);
    pthread_mutex_unlock(&meeting->mutex);
}

static void *hold_meeting(void *arg)
{
    enum { COUNT = 40 };
    struct meeting meeting = {PTHREAD_MUTEX_INITIALIZER,
                              PTHREAD_COND_INITIALIZER, 0, false};
    weft_task tasks[COUNT];

    for (int i = 0; i < COUNT; i++)
        tasks[i] = spawn(go_to_meeting, &meeting);
    while (count_inside(&meeting) < COUNT)
        (void)weft_task_yield();
    open_the_doors(&meeting);
    for (int i = 0; i < COUNT; i++)
        join(tasks[i]);
    return arg;
}

static void test_workers_stay_free(void **state)
{
    (void)state;
    run(hold_meeting);
}

// Cancelling does not end a call that has begun, nor does a deadline.
static void *meet_in_scope(void *arg)
{
    weft_scope scope;

    expect_is(weft_scope_enter(&scope, weft_time_after(MS)), 0);
    expect_is(weft_blocking_run(meet, arg, NULL), 0);
    expect_is(weft_scope_leave(&scope), 0);
    expect_is(weft_blocking_run(meet, arg, NULL), -ECANCELED); // not begun
    return NULL;
}

static void *cancel_in_between(void *arg)
{
    struct meeting meeting = {PTHREAD_MUTEX_INITIALIZER,
                              PTHREAD_COND_INITIALIZER, 0, false};
    weft_task task = spawn(meet_in_scope, &meeting);

    until_waiting(task, WEFT_WAIT_BLOCKING);
    expect_is(weft_task_cancel(task), 0);
    expect_is(weft_task_join(task, weft_time_after(3 * MS), NULL), -ETIMEDOUT);
    open_the_doors(&meeting);
    join(task);
    expect_is(meeting.inside, 1);
    return arg;
}

static void test_it_is_not_cut_short(void **state)
{
    (void)state;
    run(cancel_in_between);
}

static void *misuse(void *arg)
{
    expect_is(weft_blocking_run(NULL, arg, NULL), -EINVAL);
    return arg;
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    run(misuse);
    assert_int_equal(weft_blocking_run(NULL, NULL, NULL), -EINVAL);
    assert_int_equal(weft_blocking_run(add_one, NULL, NULL), -EPERM);
}

// What a call does for weft from its thread works as from any other.
static void *send_some(void *arg)
{
    for (int i = 0; i < 100; i++)
        expect_is(weft_channel_send(arg, &i, WEFT_NEVER), 0);
    return NULL;
}

static void *send_from_outside(void *arg)
{
    expect_is(weft_blocking_run(send_some, arg, NULL), 0);
    return NULL;
}

static void *receive_from_outside(void *arg)
{
    weft_channel *channel;
    int number;

    expect_is(weft_channel_new(sizeof number, 2, NULL, &channel), 0);
    weft_task task = spawn(send_from_outside, channel);
    for (int i = 0; i < 100; i++) {
        expect_is(weft_channel_recv(channel, &number, WEFT_NEVER), 0);
        expect_is(number, i);
    }
    join(task);
    expect_is(weft_channel_free(channel), 0);
    return arg;
}

static void test_channels_lead_out(void **state)
{
    (void)state;
    run(receive_from_outside);
}

// ---- Growing, shrinking, and the queue ----

static weft_runtime *start_pool(uint32_t threads, uint32_t queue,
                                int64_t keep_ns)
{
    weft_runtime_options options = {
        .size = sizeof options,
        .workers = 2,
        .blocking_threads = threads,
        .blocking_queue = queue,
        .blocking_keep_ns = keep_ns,
    };
    weft_runtime *runtime;

    expect_is(weft_runtime_new(&options, &runtime), 0);
    return runtime;
}

static weft_runtime_metrics metrics_of(const weft_runtime *runtime)
{
    weft_runtime_metrics found;

    expect_is(weft_runtime_metrics_get(runtime, &found), 0);
    return found;
}

static void await_inside(struct meeting *meeting, int count)
{
    while (count_inside(meeting) < count)
        usleep(100);
}

static void *refuse(void *arg)
{
    expect_is(weft_blocking_run(add_one, arg, NULL), -EBUSY);
    return arg;
}

// Two run, three wait for them, and the sixth is refused.
static void test_limits_hold(void **state)
{
    struct meeting meeting = {PTHREAD_MUTEX_INITIALIZER,
                              PTHREAD_COND_INITIALIZER, 0, false};
    weft_runtime *runtime = start_pool(2, 3, 0);
    weft_task tasks[5];

    (void)state;
    for (int i = 0; i < 5; i++)
        tasks[i] = spawn_on(runtime, go_to_meeting, &meeting);
    await_inside(&meeting, 2);
    while (metrics_of(runtime).blocking_queued < 3)
        usleep(100);
    expect_is(metrics_of(runtime).blocking_now, 2);
    expect_is(weft_runtime_run(runtime, refuse, NULL, NULL), 0);
    expect_is(count_inside(&meeting), 2);
    open_the_doors(&meeting);
    for (int i = 0; i < 5; i++)
        join(tasks[i]);
    expect_is(meeting.inside, 5);
    expect_is(metrics_of(runtime).blocking_threads, 2);
    expect_is(metrics_of(runtime).blocking_queued, 0);
    expect_is(weft_runtime_free(runtime), 0);
}

static void test_idle_threads_go(void **state)
{
    weft_runtime *runtime = start_pool(8, 0, MS);

    (void)state;
    for (int round = 1; round <= 3; round++) {
        expect_is(weft_runtime_run(runtime, call_from_many, NULL, NULL), 0);
        while (metrics_of(runtime).blocking_now > 0)
            usleep(1000);
    }
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- An end that does not wait ----

static void *call_meeting(void *arg)
{
    expect_is(weft_blocking_run(meet, arg, NULL), 0);
    return NULL;
}

static void test_end_need_not_be_waited_for(void **state)
{
    static struct meeting meeting = {PTHREAD_MUTEX_INITIALIZER,
                                     PTHREAD_COND_INITIALIZER, 0, false};
    weft_runtime *runtime = start_pool(1, 0, 0);
    weft_task task = spawn_on(runtime, call_meeting, &meeting);

    (void)state;
    await_inside(&meeting, 1);
    assert_int_equal(weft_runtime_free_by(runtime, weft_time_after(MS)),
                     -ETIMEDOUT);
    assert_int_equal(weft_task_cancel(task), 0); // it lives still
    open_the_doors(&meeting);
    while (weft_task_cancel(task) != -ESRCH) // its end goes on by itself
        usleep(1000);
    runtime = start_pool(1, 0, 0);
    join(spawn_on(runtime, call_often, NULL));
    assert_int_equal(weft_runtime_free_by(runtime, WEFT_NEVER), 0);
    assert_int_equal(weft_runtime_free_by(NULL, 0), 0);
}

static void *end_from_task(void *arg)
{
    expect_is(weft_runtime_free_by(weft_runtime_self(), 0), -EDEADLK);
    return arg;
}

static void test_limits_are_checked(void **state)
{
    weft_runtime_options options = {.size = sizeof options};
    weft_runtime *runtime;

    (void)state;
    options.blocking_threads = (1 << 16) + 1;
    assert_int_equal(weft_runtime_new(&options, &runtime), -EINVAL);
    options.blocking_threads = 0;
    options.blocking_keep_ns = -1;
    assert_int_equal(weft_runtime_new(&options, &runtime), -EINVAL);
    run(end_from_task);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_workers_stay_free),
        cmocka_unit_test(test_it_is_not_cut_short),
        cmocka_unit_test(test_misuse_is_refused),
        cmocka_unit_test(test_channels_lead_out),
        cmocka_unit_test(test_limits_hold),
        cmocka_unit_test(test_idle_threads_go),
        cmocka_unit_test(test_end_need_not_be_waited_for),
        cmocka_unit_test(test_limits_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
