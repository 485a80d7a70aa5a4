// test_driver.c -- Waiting for the world: descriptors, timers and wakings.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/list.h"
#include "driver/driver.h"

#define MS INT64_C(1000000)

struct source {
    struct driver_source source;
    uint32_t ready;
    int calls;
};

static void note(struct driver_source *source, uint32_t ready,
                 struct task_list *ret_ready)
{
    struct source *own = container_of(source, struct source, source);

    (void)ret_ready;
    own->ready |= ready;
    own->calls++;
}

struct fixture {
    struct driver driver;
    struct source source;
    struct task_list ready;
    int ours;
    int theirs;
};

static void setup(struct fixture *fixture)
{
    int ends[2];

    *fixture = (struct fixture){.source.source.ready = note};
    assert_int_equal(driver_init(&fixture->driver), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends),
                     0);
    fixture->ours = ends[0];
    fixture->theirs = ends[1];
}

static void teardown(struct fixture *fixture)
{
    close(fixture->ours);
    close(fixture->theirs);
    driver_deinit(&fixture->driver);
}

static void poll_until(struct fixture *fixture, int64_t deadline_ns)
{
    driver_poll(&fixture->driver, deadline_ns, &fixture->ready);
}

static void test_one_holds_the_token(void **state)
{
    (void)state;
    struct fixture fixture;

    setup(&fixture);
    assert_true(driver_try_take(&fixture.driver));
    assert_false(driver_try_take(&fixture.driver));
    driver_give(&fixture.driver);
    assert_true(driver_try_take(&fixture.driver));
    driver_give(&fixture.driver);
    teardown(&fixture);
}

static void test_sources_hear_of_events(void **state)
{
    (void)state;
    struct fixture fixture;

    setup(&fixture);
    assert_int_equal(
        driver_add(&fixture.driver, fixture.ours, &fixture.source.source), 0);
    poll_until(&fixture, INT64_MAX);
    assert_int_equal(fixture.source.ready, PORT_WRITABLE);
    poll_until(&fixture, 0);
    assert_int_equal(fixture.source.calls, 1);
    assert_int_equal(write(fixture.theirs, "x", 1), 1);
    poll_until(&fixture, INT64_MAX);
    assert_int_equal(fixture.source.ready, PORT_WRITABLE | PORT_READABLE);
    driver_remove(&fixture.driver, fixture.ours);
    assert_int_equal(write(fixture.theirs, "x", 1), 1);
    poll_until(&fixture, 0);
    assert_int_equal(fixture.source.calls, 2);
    teardown(&fixture);
}

static void test_more_events_than_a_batch(void **state)
{
    (void)state;
    enum { PAIRS = 200 };
    static struct source sources[PAIRS];
    int ends[PAIRS][2];
    struct fixture fixture;
    int heard = 0;

    setup(&fixture);
    for (int i = 0; i < PAIRS; i++) {
        sources[i].source.ready = note;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]), 0);
        assert_int_equal(
            driver_add(&fixture.driver, ends[i][0], &sources[i].source), 0);
    }
    poll_until(&fixture, 0);
    poll_until(&fixture, 0);
    for (int i = 0; i < PAIRS; i++) {
        heard += sources[i].calls;
        close(ends[i][0]);
        close(ends[i][1]);
    }
    assert_int_equal(heard, PAIRS);
    teardown(&fixture);
}

static void test_deadline_of_the_poll(void **state)
{
    (void)state;
    struct fixture fixture;

    setup(&fixture);
    int64_t deadline = port_now() + 10 * MS;
    poll_until(&fixture, deadline);
    assert_true(port_now() >= deadline);
    teardown(&fixture);
}

static void test_timers_end_the_poll(void **state)
{
    (void)state;
    struct fixture fixture;
    struct waiter waiter = {0};
    struct timer timer;

    setup(&fixture);
    waiter_arm(&waiter, NULL, false);
    int64_t deadline = port_now() + 10 * MS;
    driver_arm(&fixture.driver, &timer, deadline, &waiter);
    poll_until(&fixture, INT64_MAX);
    assert_true(port_now() >= deadline);
    assert_int_equal(waiter_block(&waiter, INT64_MAX), ETIMEDOUT);
    driver_cancel(&fixture.driver, &timer);
    teardown(&fixture);
}

// One that only looks fires what is due, too.
static void test_looking_fires_timers(void **state)
{
    (void)state;
    struct fixture fixture;
    struct waiter waiter = {0};
    struct timer timer;

    setup(&fixture);
    waiter_arm(&waiter, NULL, false);
    driver_arm(&fixture.driver, &timer, port_now() - MS, &waiter);
    poll_until(&fixture, 0);
    assert_int_equal(load_acquire(&waiter.word), ETIMEDOUT + 1);
    driver_cancel(&fixture.driver, &timer);
    teardown(&fixture);
}

static void test_wake_before_the_poll(void **state)
{
    (void)state;
    struct fixture fixture;

    setup(&fixture);
    driver_wake(&fixture.driver);
    poll_until(&fixture, INT64_MAX);
    teardown(&fixture);
}

// ---- A poll that sleeps in another thread. ----

struct poller {
    struct fixture fixture;
    int64_t until;
    int64_t woke;
    atomic_u32 done;
};

static void *poll_once(void *arg)
{
    struct poller *poller = arg;

    poll_until(&poller->fixture, poller->until);
    poller->woke = port_now();
    store_release(&poller->done, 1);
    return NULL;
}

static bool asleep(struct driver *driver)
{
    lock_acquire(&driver->timers.lock);
    bool asleep = driver->timers.asleep_until != INT64_MIN;
    lock_release(&driver->timers.lock);
    return asleep;
}

static void start_poll(struct poller *poller, struct port_thread *thread,
                       int64_t until)
{
    setup(&poller->fixture);
    poller->until = until;
    assert_int_equal(port_thread_start(thread, "poll", poll_once, poller), 0);
    while (!asleep(&poller->fixture.driver))
        usleep(1000);
    usleep(5000);
}

static void test_an_earlier_timer_wakes_the_poll(void **state)
{
    (void)state;
    struct poller poller = {0};
    struct port_thread thread;
    struct waiter waiter = {0};
    struct timer timer;
    int64_t start = port_now();

    start_poll(&poller, &thread, start + 60000 * MS);
    waiter_arm(&waiter, NULL, false);
    driver_arm(&poller.fixture.driver, &timer, port_now() + 1 * MS, &waiter);
    port_thread_join(&thread);
    assert_true(port_now() < start + 30000 * MS);
    // The waking ends the poll; the timer itself may be a later one's.
    while (load_acquire(&waiter.word) == 0)
        poll_until(&poller.fixture, INT64_MAX);
    assert_int_equal(waiter_block(&waiter, INT64_MAX), ETIMEDOUT);
    driver_cancel(&poller.fixture.driver, &timer);
    teardown(&poller.fixture);
}

static void test_a_later_timer_does_not(void **state)
{
    (void)state;
    struct poller poller = {0};
    struct port_thread thread;
    struct waiter waiter = {0};
    struct timer timers[2];
    int64_t until = port_now() + 100 * MS;

    start_poll(&poller, &thread, until);
    waiter_arm(&waiter, NULL, false);
    driver_arm(&poller.fixture.driver, &timers[0], until + 1, &waiter);
    driver_arm(&poller.fixture.driver, &timers[1], until, &waiter);
    port_thread_join(&thread);
    assert_true(poller.woke >= until);
    driver_cancel(&poller.fixture.driver, &timers[0]);
    driver_cancel(&poller.fixture.driver, &timers[1]);
    teardown(&poller.fixture);
}

static void test_wake_ends_the_poll(void **state)
{
    (void)state;
    struct poller poller = {0};
    struct port_thread thread;

    start_poll(&poller, &thread, INT64_MAX);
    assert_int_equal(load_acquire(&poller.done), 0);
    driver_wake(&poller.fixture.driver);
    port_thread_join(&thread);
    teardown(&poller.fixture);
}

static void test_an_event_ends_the_poll(void **state)
{
    (void)state;
    struct poller poller = {0};
    struct port_thread thread;

    start_poll(&poller, &thread, INT64_MAX);
    assert_int_equal(driver_add(&poller.fixture.driver, poller.fixture.ours,
                                &poller.fixture.source.source),
                     0);
    port_thread_join(&thread);
    assert_int_equal(poller.fixture.source.ready, PORT_WRITABLE);
    teardown(&poller.fixture);
}

// Arming races with falling asleep: were a waking lost, the poll would sleep
// until its own deadline.
static void *poll_ever(void *arg)
{
    struct poller *poller = arg;

    while (load_acquire(&poller->done) == 0)
        poll_until(&poller->fixture, INT64_MAX);
    return NULL;
}

static void test_no_waking_is_lost(void **state)
{
    (void)state;
    struct poller poller = {0};
    struct port_thread thread;

    setup(&poller.fixture);
    assert_int_equal(port_thread_start(&thread, "poll", poll_ever, &poller), 0);
    for (int i = 0; i < 5000; i++) {
        struct waiter waiter = {0};
        struct timer timer;
        waiter_arm(&waiter, NULL, false);
        driver_arm(&poller.fixture.driver, &timer, port_now() + i % 64 * 100,
                   &waiter);
        assert_int_equal(waiter_block(&waiter, INT64_MAX), ETIMEDOUT);
        driver_cancel(&poller.fixture.driver, &timer);
    }
    store_release(&poller.done, 1);
    driver_wake(&poller.fixture.driver);
    port_thread_join(&thread);
    teardown(&poller.fixture);
}

static void test_init_without_descriptors(void **state)
{
    (void)state;
    struct rlimit before;
    struct driver driver;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {0, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int outcome = driver_init(&driver);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(outcome, -EMFILE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_holds_the_token),
        cmocka_unit_test(test_sources_hear_of_events),
        cmocka_unit_test(test_more_events_than_a_batch),
        cmocka_unit_test(test_deadline_of_the_poll),
        cmocka_unit_test(test_timers_end_the_poll),
        cmocka_unit_test(test_looking_fires_timers),
        cmocka_unit_test(test_wake_before_the_poll),
        cmocka_unit_test(test_an_earlier_timer_wakes_the_poll),
        cmocka_unit_test(test_a_later_timer_does_not),
        cmocka_unit_test(test_wake_ends_the_poll),
        cmocka_unit_test(test_an_event_ends_the_poll),
        cmocka_unit_test(test_no_waking_is_lost),
        cmocka_unit_test(test_init_without_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
