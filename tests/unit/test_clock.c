// test_clock.c -- Being told when the wall clock is set. Here nobody sets it:
// the system's timer that tells of it is made to go off by itself.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>

#include <cmocka.h>

#include "driver/driver.h"

static void enter(struct clock *clock, struct waiter *waiter)
{
    *waiter = (struct waiter){0};
    waiter_arm(waiter, NULL, false);
    lock_acquire(&clock->lock);
    list_push_back(&clock->waiters, &waiter->link);
    lock_release(&clock->lock);
}

static void go_off(const struct driver *driver)
{
    struct itimerspec soon = {.it_value = {.tv_nsec = 1}};

    assert_int_equal(timerfd_settime(driver->poller.clock, 0, &soon, NULL), 0);
}

// The poll sleeps without limit: without the event it would not end.
static void test_all_waiters_are_told(void **state)
{
    (void)state;
    struct driver driver;
    struct waiter waiters[3];
    struct task_list none = {0};

    assert_int_equal(driver_init(&driver), 0);
    assert_int_equal(driver_watch_clock(&driver), 0);
    assert_int_equal(driver_watch_clock(&driver), 0); // it is watched already
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            enter(&driver.clock, &waiters[i]);
        go_off(&driver);
        while (list_linked(&waiters[0].link))
            driver_poll(&driver, INT64_MAX, &none);
        for (int i = 0; i < 3; i++) {
            assert_false(list_linked(&waiters[i].link));
            assert_int_equal(waiter_block(&waiters[i], INT64_MAX), 0);
        }
    }
    assert_true(list_empty(&driver.clock.waiters));
    driver_deinit(&driver);
}

static void test_one_that_has_given_up_is_left_alone(void **state)
{
    (void)state;
    struct clock clock;
    struct waiter waiter;
    struct task_list none = {0};
    struct task *task;

    clock_init(&clock);
    enter(&clock, &waiter);
    assert_int_equal(waiter_fire(&waiter, ETIMEDOUT, &task), FIRED_WON);
    clock_was_set(&clock, &none);
    assert_int_equal(none.count, 0);
    assert_false(list_linked(&waiter.link));
    assert_int_equal(waiter_block(&waiter, INT64_MAX), ETIMEDOUT);
}

static void test_without_descriptors_it_says_so(void **state)
{
    (void)state;
    struct driver driver;
    struct rlimit limit;

    assert_int_equal(driver_init(&driver), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int error = driver_watch_clock(&driver);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(error, -EMFILE);
    assert_int_equal(driver_watch_clock(&driver), 0); // asked for again
    driver_deinit(&driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_waiters_are_told),
        cmocka_unit_test(test_one_that_has_given_up_is_left_alone),
        cmocka_unit_test(test_without_descriptors_it_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
