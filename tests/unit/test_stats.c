// test_stats.c -- The mean run time, and how often to look elsewhere from that.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sched/stats.h"

// Ticks that take so many nanoseconds.
static uint64_t ticks_of(double ns)
{
    const uint64_t many = UINT64_C(1) << 32;

    return (uint64_t)(ns * (double)many / (double)port_ticks_to_ns(many));
}

static void expect_near(double value, double wanted)
{
    if (value < wanted * 0.98 || value > wanted * 1.02)
        fail_msg("%f is not about %f", value, wanted);
}

// As if tasks ran `runs` times, each for so long.
static void pass(struct stats *stats, uint64_t runs, double ns)
{
    stats_update(stats, stats->last_runs + runs,
                 stats->last_busy + ticks_of(ns * (double)runs));
}

static void test_nothing_run(void **state)
{
    (void)state;
    struct stats stats;

    stats_init(&stats);
    struct stats before = stats;
    assert_true(stats.interval > 1);
    stats_update(&stats, 0, 0);
    assert_int_equal(stats.interval, before.interval);
    assert_true(stats.mean_run_ns == 0);
    pass(&stats, 10, 5000);
    before = stats;
    stats_update(&stats, stats.last_runs, stats.last_busy + 1000);
    assert_int_equal(stats.interval, before.interval);
    assert_true(stats.mean_run_ns == before.mean_run_ns);
}

static void test_the_first_mean_is_taken_as_it_is(void **state)
{
    (void)state;
    struct stats stats;

    stats_init(&stats);
    pass(&stats, 100, 3000);
    expect_near(stats.mean_run_ns, 3000);
}

static void test_the_mean_follows(void **state)
{
    (void)state;
    struct stats stats;

    stats_init(&stats);
    pass(&stats, 10, 1000);
    pass(&stats, 10, 2000);
    expect_near(stats.mean_run_ns, 1100); // a tenth of the way
    for (int i = 0; i < 100; i++)
        pass(&stats, 10, 2000);
    expect_near(stats.mean_run_ns, 2000);
}

// About every 200 us, between 2 and 127 runs.
static void test_the_interval(void **state)
{
    (void)state;
    static const struct {
        double ns;
        double interval;
    } cases[] = {
        {1, 127},   {100, 127},   {2000, 100}, {10000, 20},
        {50000, 4}, {1000000, 2}, {1e9, 2},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stats stats;
        stats_init(&stats);
        pass(&stats, 50, cases[i].ns);
        assert_in_range(stats.interval, cases[i].interval - 1,
                        cases[i].interval);
        assert_in_range(stats.interval, 2, 127);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_run),
        cmocka_unit_test(test_the_first_mean_is_taken_as_it_is),
        cmocka_unit_test(test_the_mean_follows),
        cmocka_unit_test(test_the_interval),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
