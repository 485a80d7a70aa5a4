// park.c -- Scenarios of a worker's sleep (sched/park.c), of timers, and of the
// wall clock being set.
#include <errno.h>
#include <string.h>

#include "driver/driver.h"
#include "explore/explore.h"
#include "sched/park.h"
#include "sync/wall.h"

enum { SECOND_NS = 1000000000 };

static struct driver driver;
static struct parker parkers[2];
static atomic_u32 done[2];

static void reset(void)
{
    memset(&driver, 0, sizeof driver);
    memset(parkers, 0, sizeof parkers);
    memset(done, 0, sizeof done);
    explore_expect(driver_init(&driver) == 0);
}

// ---- Sleeping until there is something to do ----

// Relaxed: park.c K2 has to order it.
static void sleep_until_done(void *arg)
{
    int who = arg != NULL;
    struct task_list ready = {0};

    while (load_relaxed(&done[who]) == 0)
        park_sleep(&parkers[who], &driver, &ready);
}

static void wake_one(void *arg)
{
    int who = arg != NULL;

    store_relaxed(&done[who], 1);
    park_wake(&parkers[who], &driver);
}

static void wake_both(void *arg)
{
    (void)arg;
    wake_one(NULL);
    wake_one(parkers);
}

static void wake_for_nothing(void *arg)
{
    (void)arg;
    park_wake(&parkers[0], &driver);
}

static void park_alone(void)
{
    reset();
    explore_start("sleeper", sleep_until_done, NULL);
    explore_start("waker", wake_one, NULL);
    explore_start("other", wake_for_nothing, NULL);
    explore_join_all();
}

// One sleeps in the driver, the other on its futex, or neither.
static void park_two(void)
{
    reset();
    explore_start("sleeper", sleep_until_done, NULL);
    explore_start("sleeper 2", sleep_until_done, parkers);
    explore_start("waker", wake_both, NULL);
    explore_join_all();
}

// ---- Timers ----

static struct lock object; // guards `waiting`
static struct waiter *waiting;
static struct waiter waiter;
static struct timer timer;

// Waits as wait.c does: whoever fires it does so under a lock. Afterwards
// nobody else may touch waiter and timer.
static void wait_with_timer(void *arg)
{
    int64_t deadline_ns = port_now() + SECOND_NS;

    (void)arg;
    lock_acquire(&object);
    waiter_arm(&waiter, NULL, false);
    waiting = &waiter;
    lock_release(&object);
    driver_arm(&driver, &timer, deadline_ns, &waiter);
    int outcome = waiter_block(&waiter, INT64_MAX);
    driver_cancel(&driver, &timer);
    lock_acquire(&object);
    waiting = NULL;
    lock_release(&object);
    explore_expect(outcome != ETIMEDOUT || port_now() >= deadline_ns);
    explore_outcome(outcome == ETIMEDOUT ? 1 : 0);
    waiter.task = NULL;
    timer.waiter = NULL;
}

static void fire_waiting(void *arg)
{
    struct task *task;

    (void)arg;
    lock_acquire(&object);
    if (waiting != NULL)
        (void)waiter_fire(waiting, 0, &task);
    lock_release(&object);
}

static void poll_for_ever(void *arg)
{
    struct task_list ready = {0};

    (void)arg;
    for (;;)
        driver_poll(&driver, INT64_MAX, &ready);
}

static void timer_fired(void)
{
    reset();
    object = (struct lock){0};
    waiting = NULL;
    explore_start("waiter", wait_with_timer, NULL);
    explore_start_daemon("poller", poll_for_ever, NULL);
    explore_start("waker", fire_waiting, NULL);
    explore_join_all();
}

static void wait_for_timer(void *arg)
{
    struct waiter own = {0};
    struct timer own_timer;
    int64_t deadline_ns = port_now() + SECOND_NS;

    (void)arg;
    waiter_arm(&own, NULL, false);
    driver_arm(&driver, &own_timer, deadline_ns, &own);
    explore_expect(waiter_block(&own, INT64_MAX) == ETIMEDOUT);
    explore_expect(port_now() >= deadline_ns);
    driver_cancel(&driver, &own_timer);
}

static void timer_armed(void)
{
    reset();
    explore_start_daemon("poller", poll_for_ever, NULL);
    explore_start("A", wait_for_timer, NULL);
    explore_start("B", wait_for_timer, NULL);
    explore_join_all();
}

// ---- The wall clock ----

// Later than any time that the clock reaches unless it is set.
static const int64_t far_ns = INT64_MAX / 2;

// Waits as sync/wall.c does, but without a timer: one who misses the setting
// waits for ever.
static void wait_for_far(void *arg)
{
    struct clock *clock = &driver.clock;

    (void)arg;
    explore_expect(driver_watch_clock(&driver) == 0);
    while (port_wall_now() < far_ns) {
        struct waiter own = {0};
        lock_acquire(&clock->lock);
        int64_t deadline_ns = wall_deadline(far_ns);
        waiter_arm(&own, NULL, false);
        list_push_back(&clock->waiters, &own.link);
        lock_release(&clock->lock);
        int outcome = waiter_block(
            &own, deadline_ns > port_now() ? INT64_MAX : deadline_ns);
        lock_acquire(&clock->lock);
        if (list_linked(&own.link))
            list_remove(&own.link);
        lock_release(&clock->lock);
        explore_expect(outcome == 0 || port_wall_now() >= far_ns);
    }
}

static void set_clock(void *arg)
{
    (void)arg;
    explore_set_clock(&driver.poller, SECOND_NS);
    explore_set_clock(&driver.poller, far_ns - port_now());
}

static void clock_set(void)
{
    reset();
    explore_expect(driver_watch_clock(&driver) == 0);
    explore_start_daemon("poller", poll_for_ever, NULL);
    explore_start("waiter", wait_for_far, NULL);
    explore_start("setter", set_clock, NULL);
    explore_join_all();
}

const struct scenario park_scenarios[] = {
    {"park-alone", "park", park_alone, {2, 1}, {3, 2}, NULL, NULL},
    {"park-two", "park", park_two, {2, 1}, {3, 2}, NULL, NULL},
    {"timer-fired", "timer", timer_fired, {2, 1}, {3, 2}, NULL, "0 1"},
    {"timer-armed", "timer", timer_armed, {2, 1}, {3, 1}, NULL, NULL},
    {"clock-set", "clock", clock_set, {2, 1}, {3, 2}, NULL, NULL},
    {0},
};
