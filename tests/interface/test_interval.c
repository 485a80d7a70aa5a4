// test_interval.c -- Ticks: their order, what is missed, who gives up.
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

#define MS WEFT_MILLISECOND
#define PERIOD (10 * MS)
#define HOUR (3600 * WEFT_SECOND)

static const enum weft_interval_missed rules[] = {
    WEFT_INTERVAL_BURST, WEFT_INTERVAL_DELAY, WEFT_INTERVAL_SKIP};

static weft_interval from(int64_t first_ns, int64_t period_ns,
                          enum weft_interval_missed missed)
{
    weft_interval interval;

    expect_is(weft_interval_init(&interval, first_ns, period_ns, missed), 0);
    expect_is(weft_interval_next(&interval), first_ns);
    return interval;
}

// However late it wakes, no tick comes before its time.
static void *take_ticks(void *arg)
{
    for (int rule = 0; rule < 3; rule++) {
        weft_interval interval = from(weft_time_after(MS), MS / 4, rules[rule]);
        for (int i = 0; i < 20; i++) {
            int64_t due = weft_interval_next(&interval);
            int left_out = weft_interval_tick(&interval, WEFT_NEVER);
            int64_t next = weft_interval_next(&interval);
            expect(weft_time_now() >= due);
            expect(left_out >= 0);
            expect(next >= due + MS / 4);
            if (left_out == 0)
                expect_is(next, due + MS / 4);
        }
    }
    return arg;
}

static void test_ticks_come_in_time(void **state)
{
    (void)state;
    run(take_ticks);
}

static void *burst_missed(void *arg)
{
    int64_t first = weft_time_now() - 5 * PERIOD;
    weft_interval interval = from(first, PERIOD, WEFT_INTERVAL_BURST);

    for (int i = 0; i < 5; i++) { // all are due, so none waits
        expect_is(weft_interval_tick(&interval, 0), 0);
        expect_is(weft_interval_next(&interval), first + (i + 1) * PERIOD);
    }
    return arg;
}

static void *skip_missed(void *arg)
{
    int64_t first = weft_time_now() - 5 * PERIOD - 1;
    weft_interval interval = from(first, PERIOD, WEFT_INTERVAL_SKIP);
    int left_out = weft_interval_tick(&interval, 0);
    int64_t next = weft_interval_next(&interval);

    expect(left_out >= 5);
    expect_is(next, first + (left_out + 1) * PERIOD);
    expect(next - PERIOD <= weft_time_now());
    return arg;
}

static void *delay_missed(void *arg)
{
    int64_t before = weft_time_now();
    weft_interval interval =
        from(before - 5 * PERIOD, PERIOD, WEFT_INTERVAL_DELAY);

    expect(weft_interval_tick(&interval, 0) >= 5);
    expect(weft_interval_next(&interval) >= before + PERIOD);
    expect(weft_interval_next(&interval) <= weft_time_now() + PERIOD);
    return arg;
}

static void test_missed_ticks(void **state)
{
    (void)state;
    run(burst_missed);
    run(skip_missed);
    run(delay_missed);
}

// One late by less than a period has missed nothing.
static void *be_a_little_late(void *arg)
{
    for (int rule = 0; rule < 3; rule++) {
        int64_t first = weft_time_now() - 1;
        weft_interval interval = from(first, HOUR, rules[rule]);
        expect_is(weft_interval_tick(&interval, 0), 0);
        expect_is(weft_interval_next(&interval), first + HOUR);
    }
    return arg;
}

static void test_lateness_does_not_add_up(void **state)
{
    (void)state;
    run(be_a_little_late);
}

// ---- Giving up ----

static void *wait_long(void *arg)
{
    return (void *)(intptr_t)weft_interval_tick(arg, WEFT_NEVER);
}

static void *give_up(void *arg)
{
    int64_t far = weft_time_after(HOUR);
    weft_interval interval = from(far, MS, WEFT_INTERVAL_BURST);

    expect_is(weft_interval_tick(&interval, 0), -ETIMEDOUT);
    expect_is(weft_interval_tick(&interval, weft_time_after(MS)), -ETIMEDOUT);
    weft_task task = spawn(wait_long, &interval);
    until_waiting(task, WEFT_WAIT_INTERVAL);
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), -ECANCELED);
    expect_is(weft_interval_next(&interval), far); // nobody has taken it
    return arg;
}

static void *end_by_scope(void *arg)
{
    weft_interval far = from(weft_time_after(HOUR), MS, WEFT_INTERVAL_SKIP);
    weft_interval due = from(0, MS, WEFT_INTERVAL_SKIP);
    weft_scope scope;

    expect_is(weft_scope_enter(&scope, weft_time_after(MS)), 0);
    expect_is(weft_interval_tick(&far, WEFT_NEVER), -ETIMEDOUT);
    // Not begun any more, as any other call here.
    expect_is(weft_interval_tick(&due, WEFT_NEVER), -ETIMEDOUT);
    expect_is(weft_interval_next(&due), 0);
    (void)weft_scope_leave(&scope);
    return arg;
}

static void test_waiters_give_up(void **state)
{
    (void)state;
    run(give_up);
    run(end_by_scope);
}

static void test_threads_have_them_too(void **state)
{
    (void)state;
    weft_interval interval = from(weft_time_after(MS), MS, WEFT_INTERVAL_BURST);

    for (int i = 0; i < 3; i++) {
        int64_t due = weft_interval_next(&interval);
        assert_int_equal(weft_interval_tick(&interval, WEFT_NEVER), 0);
        assert_true(weft_time_now() >= due);
    }
    interval = from(weft_time_after(HOUR), MS, WEFT_INTERVAL_BURST);
    assert_int_equal(weft_interval_tick(&interval, weft_time_after(MS)),
                     -ETIMEDOUT);
}

// ---- As a clause ----

static void *choose(void *arg)
{
    weft_interval interval = from(weft_time_after(MS), MS, WEFT_INTERVAL_BURST);
    weft_interval never = from(WEFT_NEVER, MS, WEFT_INTERVAL_BURST);
    weft_event event = WEFT_EVENT_INIT("event");
    weft_clause clauses[] = {
        weft_clause_event(&event),
        weft_clause_interval(&never),
        weft_clause_interval(&interval),
    };

    for (int i = 0; i < 5; i++) {
        int64_t due = weft_interval_next(&interval);
        expect_is(weft_select(clauses, 3, WEFT_NEVER), 2);
        expect(weft_time_now() >= due);
        expect_is(clauses[2].result, 0);
        expect_is(weft_interval_next(&interval), due + MS);
    }
    interval = from(weft_time_now() - 7 * MS, 2 * MS, WEFT_INTERVAL_SKIP);
    expect_is(weft_select(clauses, 3, 0), 2);
    expect(clauses[2].result >= 3);
    // One that is not chosen takes no tick.
    int64_t due = weft_time_after(HOUR);
    interval = from(due, MS, WEFT_INTERVAL_BURST);
    expect_is(weft_select(clauses, 3, 0), -ETIMEDOUT);
    expect_is(weft_event_set(&event), 0);
    expect_is(weft_select(clauses, 3, WEFT_NEVER), 0);
    expect_is(weft_interval_next(&interval), due);
    clauses[1] = weft_clause_interval(NULL);
    expect_is(weft_select(clauses, 3, WEFT_NEVER), -EINVAL);
    return arg;
}

static void test_as_a_clause(void **state)
{
    (void)state;
    run(choose);
}

// ---- The ends of the range, and misuse ----

static void test_ends_of_the_range(void **state)
{
    (void)state;
    weft_interval interval;
    int64_t most = INT64_MAX;

    for (int rule = 0; rule < 3; rule++) {
        // Before all time: at once.
        assert_int_equal(
            weft_interval_init(&interval, INT64_MIN, most, rules[rule]), 0);
        assert_int_equal(weft_interval_next(&interval), 0);
        assert_int_equal(weft_interval_tick(&interval, 0), 0);
        assert_true(weft_interval_next(&interval) == WEFT_NEVER);
        assert_int_equal(weft_interval_tick(&interval, 0), -ETIMEDOUT);
        // The next one would lie after the end.
        interval = from(weft_time_now() - 1, most - 1, rules[rule]);
        assert_int_equal(weft_interval_tick(&interval, 0), 0);
        assert_true(weft_interval_next(&interval) == WEFT_NEVER);
        // As many as there can be.
        interval = from(0, 1, rules[rule]);
        int left_out = weft_interval_tick(&interval, 0);
        assert_int_equal(left_out,
                         rules[rule] == WEFT_INTERVAL_BURST ? 0 : INT_MAX);
        interval = from(most - 1, 1, rules[rule]);
        assert_int_equal(weft_interval_tick(&interval, 0), -ETIMEDOUT);
    }
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    static weft_interval zero;
    enum weft_interval_missed skip_them = WEFT_INTERVAL_SKIP;
    weft_interval i;

    for (int n = 0; n < 2; n++) {
        weft_interval *none = n == 0 ? NULL : &zero;
        assert_int_equal(weft_interval_tick(none, 0), -EINVAL);
        assert_int_equal(weft_interval_next(none), -EINVAL);
    }
    assert_int_equal(weft_interval_init(NULL, 0, 1, skip_them), -EINVAL);
    assert_int_equal(weft_interval_init(&i, 0, 0, skip_them), -EINVAL);
    assert_int_equal(weft_interval_init(&i, 0, -1, skip_them), -EINVAL);
    assert_int_equal(weft_interval_init(&i, 0, INT64_MIN, skip_them), -EINVAL);
    assert_int_equal(weft_interval_init(&i, 0, 1, (enum weft_interval_missed)3),
                     -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ticks_come_in_time),
        cmocka_unit_test(test_missed_ticks),
        cmocka_unit_test(test_lateness_does_not_add_up),
        cmocka_unit_test(test_waiters_give_up),
        cmocka_unit_test(test_threads_have_them_too),
        cmocka_unit_test(test_as_a_clause),
        cmocka_unit_test(test_ends_of_the_range),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
