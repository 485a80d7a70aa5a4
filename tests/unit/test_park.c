// test_park.c -- A worker's sleep: no waking is lost, in the driver or outside.
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sched/park.h"

enum { ROUNDS = 5000 };

struct bed {
    struct parker parker;
    struct driver *driver;
    int message;      // plain: the waking must publish it
    atomic_u32 turn;  // counts wakings; relaxed: `message` is what is checked
    atomic_u32 ready; // for the next waking
};

// The waker waits for the sleeper's leave, at times until it sleeps, then wakes
// once: the sleeper must come back each time.
static void *wake_each_time(void *arg)
{
    struct bed *bed = arg;

    for (uint32_t i = 1; i <= ROUNDS; i++) {
        while (load_acquire(&bed->ready) != i)
            (void)sched_yield();
        while (i % 2 && load_relaxed(&bed->parker.word) == 0) // is it asleep?
            (void)sched_yield();
        bed->message = (int)i;
        store_relaxed(&bed->turn, i);
        park_wake(&bed->parker, bed->driver);
    }
    return NULL;
}

static void sleep_each_time(struct bed *bed)
{
    struct task_list ready = {0};

    for (uint32_t i = 1; i <= ROUNDS; i++) {
        store_release(&bed->ready, i);
        do // it may return for nothing
            park_sleep(&bed->parker, bed->driver, &ready);
        while (load_relaxed(&bed->turn) != i);
        assert_int_equal(bed->message, i);
        assert_int_equal(ready.count, 0);
    }
}

static void ping(struct driver *driver)
{
    struct bed *bed = calloc(1, sizeof *bed); // watched better than a local
    pthread_t thread;

    bed->driver = driver;
    assert_int_equal(pthread_create(&thread, NULL, wake_each_time, bed), 0);
    sleep_each_time(bed);
    assert_int_equal(pthread_join(thread, NULL), 0);
    free(bed);
}

static void test_in_the_driver(void **state)
{
    (void)state;
    struct driver driver;

    assert_int_equal(driver_init(&driver), 0);
    ping(&driver);
    assert_true(driver_try_take(&driver)); // it was given back
    driver_deinit(&driver);
}

static void test_outside_of_it(void **state)
{
    (void)state;
    struct driver driver;

    assert_int_equal(driver_init(&driver), 0);
    assert_true(driver_try_take(&driver)); // another one polls
    ping(&driver);
    driver_give(&driver);
    driver_deinit(&driver);
}

// A waking that comes before the sleep ends it; several count as one.
static void test_waking_beforehand(void **state)
{
    (void)state;
    struct driver driver;
    struct parker parker = {0};
    struct task_list ready = {0};

    assert_int_equal(driver_init(&driver), 0);
    for (int i = 0; i < 2; i++) {
        park_wake(&parker, &driver);
        park_wake(&parker, &driver);
        park_sleep(&parker, &driver, &ready); // returns, or the test hangs
        if (i == 0)
            assert_true(driver_try_take(&driver));
    }
    driver_give(&driver);
    driver_deinit(&driver);
}

// The driver brings what has become ready.
static void test_a_timer_ends_the_sleep(void **state)
{
    (void)state;
    struct driver driver;
    struct parker parker = {0};
    struct task_list ready = {0};
    static struct task task;
    struct waiter waiter = {0};
    struct timer timer;

    assert_int_equal(driver_init(&driver), 0);
    waiter_arm(&waiter, &task, false);
    task_set_phase(&task, 0, PHASE_WAITING);
    driver_arm(&driver, &timer, port_now() + 2000000, &waiter);
    while (ready.count == 0)
        park_sleep(&parker, &driver, &ready);
    assert_ptr_equal(task_list_pop(&ready), &task);
    driver_deinit(&driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_the_driver),
        cmocka_unit_test(test_outside_of_it),
        cmocka_unit_test(test_waking_beforehand),
        cmocka_unit_test(test_a_timer_ends_the_sleep),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
