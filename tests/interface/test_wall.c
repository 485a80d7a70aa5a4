// test_wall.c -- Waiting for a time of the wall clock, which nobody sets here:
// what happens when it is set is tested in tests/sim/clock.c.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

#define MS WEFT_MILLISECOND
#define HOUR (3600 * WEFT_SECOND)

static void *sleep_until_then(void *arg)
{
    int64_t now = weft_time_wall_now();
    int64_t soon = now + 3 * MS;

    expect_is(weft_task_sleep_wall(now), 0);
    expect_is(weft_task_sleep_wall(now - HOUR), 0);
    expect_is(weft_task_sleep_wall(0), 0);
    expect_is(weft_task_sleep_wall(-1), 0);
    expect_is(weft_task_sleep_wall(INT64_MIN), 0);
    expect_is(weft_task_sleep_wall(soon), 0);
    expect(weft_time_wall_now() >= soon);
    return arg;
}

static void test_it_lasts_until_then(void **state)
{
    (void)state;
    run(sleep_until_then);
}

static void *sleep_wall(void *until)
{
    return (void *)(intptr_t)weft_task_sleep_wall(*(int64_t *)until);
}

static void *cancel_each(void *arg)
{
    int64_t times[] = {weft_time_wall_now() + HOUR, INT64_MAX - 1, WEFT_NEVER};

    for (int i = 0; i < 3; i++) {
        weft_task task = spawn(sleep_wall, &times[i]);
        until_waiting(task, WEFT_WAIT_WALL);
        expect_is(weft_task_cancel(task), 0);
        expect_is(join(task), -ECANCELED);
    }
    return arg;
}

static void *end_by_scope(void *arg)
{
    weft_scope scope;

    expect_is(weft_scope_enter(&scope, weft_time_after(MS)), 0);
    expect_is(weft_task_sleep_wall(weft_time_wall_now() + HOUR), -ETIMEDOUT);
    expect_is(weft_task_sleep_wall(0), -ETIMEDOUT);
    (void)weft_scope_leave(&scope);
    return arg;
}

static void test_sleepers_give_up(void **state)
{
    (void)state;
    run(cancel_each);
    run(end_by_scope);
}

static void *choose(void *arg)
{
    weft_event event = WEFT_EVENT_INIT("event");
    int64_t soon = weft_time_wall_now() + 2 * MS;
    weft_clause clauses[] = {
        weft_clause_event(&event),
        weft_clause_wall(WEFT_NEVER),
        weft_clause_wall(soon + HOUR),
        weft_clause_wall(soon),
    };

    expect_is(weft_select(clauses, 4, WEFT_NEVER), 3);
    expect_is(clauses[3].result, 0);
    expect(weft_time_wall_now() >= soon);
    expect_is(weft_select(clauses, 4, 0), 3); // it stays so
    expect_is(weft_select(clauses, 3, 0), -ETIMEDOUT);
    expect_is(weft_select(clauses, 3, weft_time_after(MS)), -ETIMEDOUT);
    expect_is(weft_event_set(&event), 0);
    expect_is(weft_select(clauses, 3, WEFT_NEVER), 0);
    return arg;
}

static void test_as_a_clause(void **state)
{
    (void)state;
    run(choose);
}

// Cancelled while their time comes: one of the two, and nothing is left behind.
static void *hurry(void *arg)
{
    enum { TASKS = 8 };
    uint64_t chance = 1;

    for (int round = 0; round < scaled(100); round++) {
        weft_task tasks[TASKS];
        int64_t until = weft_time_wall_now() + random_below(&chance, 200000);
        for (int i = 0; i < TASKS; i++)
            tasks[i] = spawn(sleep_wall, &until);
        cancel_half(tasks, TASKS, &chance);
        for (int i = 0; i < TASKS; i++) {
            intptr_t result = join(tasks[i]);
            expect(result == 0 || (i % 2 == 0 && result == -ECANCELED));
        }
    }
    return arg;
}

static void test_cancels_under_way(void **state)
{
    (void)state;
    run(hurry);
}

static void test_threads_are_refused(void **state)
{
    (void)state;
    weft_clause clause = weft_clause_wall(0);

    assert_int_equal(weft_task_sleep_wall(0), -EPERM);
    assert_int_equal(weft_select(&clause, 1, 0), -EPERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_lasts_until_then),
        cmocka_unit_test(test_sleepers_give_up),
        cmocka_unit_test(test_as_a_clause),
        cmocka_unit_test(test_cancels_under_way),
        cmocka_unit_test(test_threads_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
