// test_timer.c -- Deadlines of waiters: order, cancelling, waking the poller.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/timer.h"

#define TICK (INT64_C(1) << TIMER_TICK_BITS)

// One who waits, as a task that is parked: so its firing shows in the list.
struct sleeper {
    struct task task;
    struct waiter waiter;
    struct timer timer;
    int64_t deadline_ns;
    bool armed;
};

static void fall_asleep(struct sleeper *sleeper)
{
    waiter_arm(&sleeper->waiter, &sleeper->task, false);
    task_set_phase(&sleeper->task, 0, PHASE_WAITING);
}

static bool arm(struct timers *timers, struct sleeper *sleeper,
                int64_t deadline_ns)
{
    fall_asleep(sleeper);
    return timers_arm(timers, &sleeper->timer, deadline_ns, &sleeper->waiter);
}

static void expire(struct timers *timers, int64_t now_ns,
                   struct task_list *ret_fired)
{
    timers_expire(timers, now_ns, UINT32_MAX, ret_fired);
}

static struct sleeper *next_fired(struct task_list *fired)
{
    struct task *task = task_list_pop(fired);

    if (task == NULL)
        return NULL;
    uint64_t state = load_acquire(&task->state);
    assert_int_equal(STATE_PHASE(state), PHASE_READY);
    assert_int_equal(STATE_OUTCOME(state), ETIMEDOUT);
    return container_of(task, struct sleeper, task);
}

static void test_due_ones_fire_in_order(void **state)
{
    (void)state;
    static const int64_t deadlines[] = {50 * TICK, 10 * TICK, 40 * TICK,
                                        20 * TICK, 30 * TICK, 60 * TICK,
                                        5 * TICK};
    static const int order[] = {6, 1, 3, 4, 2, 0};
    struct sleeper sleepers[7] = {0};
    struct task_list fired = {0};
    struct timers timers;

    timers_init(&timers);
    for (int i = 0; i < 7; i++)
        assert_false(arm(&timers, &sleepers[i], deadlines[i]));
    expire(&timers, 5 * TICK - 1, &fired);
    assert_null(next_fired(&fired));
    expire(&timers, 60 * TICK - 1, &fired);
    for (int i = 0; i < 6; i++)
        assert_ptr_equal(next_fired(&fired), &sleepers[order[i]]);
    assert_null(next_fired(&fired));
    expire(&timers, 60 * TICK, &fired); // due exactly now
    assert_ptr_equal(next_fired(&fired), &sleepers[5]);
    timers_deinit(&timers);
}

static void test_equal_deadlines_fire_as_armed(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct sleeper *sleepers = calloc(COUNT, sizeof *sleepers);
    struct task_list fired = {0};
    struct timers timers;

    timers_init(&timers);
    for (int i = 0; i < COUNT; i++)
        (void)arm(&timers, &sleepers[i], 7 * TICK);
    expire(&timers, 7 * TICK, &fired);
    for (int i = 0; i < COUNT; i++)
        assert_ptr_equal(next_fired(&fired), &sleepers[i]);
    timers_deinit(&timers);
    free(sleepers);
}

// None fires before its time, and one that is past is due at once.
static void test_ends_of_the_range(void **state)
{
    (void)state;
    static const int64_t deadlines[] = {1, INT64_MAX / 2, INT64_MAX - 2 * TICK};
    static const int64_t past[] = {INT64_MIN, -1, 0};
    struct sleeper sleepers[7] = {0};
    struct task_list fired = {0};
    struct timers timers;

    timers_init(&timers);
    for (int i = 0; i < 3; i++) {
        (void)arm(&timers, &sleepers[i], past[i]);
        (void)arm(&timers, &sleepers[3 + i], deadlines[i]);
    }
    (void)arm(&timers, &sleepers[6], INT64_MAX - 1);
    assert_int_equal(timers_sleep(&timers, INT64_MAX), 0);
    expire(&timers, 0, &fired);
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(next_fired(&fired), &sleepers[i]);
    for (int i = 0; i < 3; i++) {
        expire(&timers, deadlines[i] - 1, &fired);
        assert_null(next_fired(&fired));
        expire(&timers, deadlines[i] + TICK - 1, &fired);
        assert_ptr_equal(next_fired(&fired), &sleepers[3 + i]);
    }
    assert_int_equal(timers_sleep(&timers, INT64_MAX), INT64_MAX);
    timers_cancel(&timers, &sleepers[6].timer);
    assert_false(timers_any(&timers));
    timers_deinit(&timers);
}

// More than asked for stay where they are, and are due at once again.
static void test_no_more_than_asked_for(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct sleeper *sleepers = calloc(COUNT, sizeof *sleepers);
    struct timers timers;
    int64_t last = 0;

    timers_init(&timers);
    for (int i = 0; i < COUNT; i++) {
        sleepers[i].deadline_ns = (1000 + i / 3) * TICK;
        (void)arm(&timers, &sleepers[i], sleepers[i].deadline_ns);
    }
    for (int left = COUNT; left > 0;) {
        struct task_list fired = {0};
        struct sleeper *sleeper;
        assert_true(timers_sleep(&timers, INT64_MAX) <= 5000 * TICK);
        timers_expire(&timers, 5000 * TICK, 7, &fired);
        assert_int_equal(fired.count, left < 7 ? left : 7);
        left -= (int)fired.count;
        while ((sleeper = next_fired(&fired)) != NULL) {
            assert_true(sleeper->deadline_ns >= last);
            last = sleeper->deadline_ns;
        }
    }
    timers_deinit(&timers);
    free(sleepers);
}

static void test_cancelled_ones_do_not_fire(void **state)
{
    (void)state;
    struct sleeper sleepers[3] = {0};
    struct task_list fired = {0};
    struct timers timers;

    timers_init(&timers);
    for (int i = 0; i < 3; i++)
        (void)arm(&timers, &sleepers[i], i * TICK);
    timers_cancel(&timers, &sleepers[1].timer);
    timers_cancel(&timers, &sleepers[1].timer);
    expire(&timers, INT64_MAX, &fired);
    assert_ptr_equal(next_fired(&fired), &sleepers[0]);
    assert_ptr_equal(next_fired(&fired), &sleepers[2]);
    assert_null(next_fired(&fired));
    timers_cancel(&timers, &sleepers[0].timer); // it fired: nothing to cancel
    timers_deinit(&timers);
}

static void test_one_woken_before_is_left_alone(void **state)
{
    (void)state;
    struct sleeper sleeper = {0};
    struct task_list fired = {0};
    struct timers timers;
    struct task *task;

    timers_init(&timers);
    (void)arm(&timers, &sleeper, TICK);
    assert_int_equal(waiter_fire(&sleeper.waiter, 0, &task), FIRED_READY);
    expire(&timers, TICK, &fired);
    assert_null(next_fired(&fired));
    assert_int_equal(STATE_OUTCOME(load_acquire(&sleeper.task.state)), 0);
    timers_deinit(&timers);
}

static void test_a_blocked_thread_is_fired_too(void **state)
{
    (void)state;
    struct waiter waiter = {0};
    struct timer timer;
    struct task_list fired = {0};
    struct timers timers;

    timers_init(&timers);
    waiter_arm(&waiter, NULL, false);
    (void)timers_arm(&timers, &timer, TICK, &waiter);
    expire(&timers, TICK, &fired);
    assert_null(task_list_pop(&fired));
    assert_int_equal(waiter_block(&waiter, INT64_MAX), ETIMEDOUT);
    timers_deinit(&timers);
}

static void test_poller_sleeps_until_the_earliest(void **state)
{
    (void)state;
    struct sleeper sleepers[2] = {0};
    struct timers timers;

    timers_init(&timers);
    assert_int_equal(timers_sleep(&timers, INT64_MAX), INT64_MAX);
    assert_int_equal(timers_sleep(&timers, 500 * TICK), 500 * TICK);
    (void)arm(&timers, &sleepers[0], 300 * TICK);
    assert_int_equal(timers_sleep(&timers, 500 * TICK), 300 * TICK);
    assert_int_equal(timers_sleep(&timers, 200 * TICK), 200 * TICK);
    (void)arm(&timers, &sleepers[1], 100 * TICK);
    assert_int_equal(timers_sleep(&timers, INT64_MAX), 100 * TICK);
    timers_cancel(&timers, &sleepers[1].timer);
    assert_int_equal(timers_sleep(&timers, INT64_MAX), 300 * TICK);
    timers_cancel(&timers, &sleepers[0].timer);
    timers_deinit(&timers);
}

// The poller is woken by an earlier timer, once, and by nothing else.
static void test_only_earlier_ones_wake_the_poller(void **state)
{
    (void)state;
    struct sleeper sleepers[8] = {0};
    struct task_list fired = {0};
    struct timers timers;

    timers_init(&timers);
    assert_false(arm(&timers, &sleepers[0], 100 * TICK)); // nobody sleeps
    assert_int_equal(timers_sleep(&timers, INT64_MAX), 100 * TICK);
    assert_false(arm(&timers, &sleepers[1], 100 * TICK));
    assert_false(arm(&timers, &sleepers[2], 101 * TICK));
    assert_true(arm(&timers, &sleepers[3], 99 * TICK));
    assert_false(arm(&timers, &sleepers[4], 98 * TICK)); // woken already
    expire(&timers, 0, &fired);
    assert_false(arm(&timers, &sleepers[5], 97 * TICK)); // awake
    assert_int_equal(timers_sleep(&timers, 50 * TICK), 50 * TICK);
    assert_false(arm(&timers, &sleepers[6], 60 * TICK)); // it gets up before
    assert_true(arm(&timers, &sleepers[7], -1));
    expire(&timers, INT64_MAX, &fired);
    for (int i = 7; i >= 0; i--)
        assert_non_null(next_fired(&fired));
    timers_deinit(&timers);
}

// ---- Against a model: the deadlines in a plain array. ----

static uint64_t random_state = 1;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 6364136223846793005 + 1442695040888963407;
    return (uint32_t)(random_state >> 33) % limit;
}

enum { CROWD = 500 };

// A span of any size, in whole ticks: some lie at each level but the last two.
static int64_t spread(void)
{
    return TICK * (int64_t)(random_below(1 << 6) << random_below(3))
           << random_below(30);
}

static int count_due(const struct sleeper *sleepers, int64_t now_ns)
{
    int due = 0;

    for (int i = 0; i < CROWD; i++)
        due += sleepers[i].armed && sleepers[i].deadline_ns <= now_ns;
    return due;
}

static void check_expiry(struct timers *timers, struct sleeper *sleepers,
                         int64_t now_ns)
{
    struct task_list fired = {0};
    int due = count_due(sleepers, now_ns);
    uint64_t last = 0;
    struct sleeper *sleeper;

    expire(timers, now_ns, &fired);
    assert_int_equal(fired.count, due);
    while ((sleeper = next_fired(&fired)) != NULL) {
        assert_true(sleeper->armed);
        // One that was a tick past when it was armed was due then.
        assert_true(sleeper->timer.tick + 1 >= last);
        last = sleeper->timer.tick;
        sleeper->armed = false;
    }
    assert_int_equal(count_due(sleepers, now_ns), 0);
}

static void test_as_the_model(void **state)
{
    (void)state;
    struct sleeper *sleepers = calloc(CROWD, sizeof *sleepers);
    struct timers timers;
    int64_t now_ns = 0;

    timers_init(&timers);
    for (int i = 0; i < 200000; i++) {
        struct sleeper *sleeper = &sleepers[random_below(CROWD)];
        if (random_below(100) == 0) {
            now_ns += spread();
            check_expiry(&timers, sleepers, now_ns);
        } else if (sleeper->armed) {
            timers_cancel(&timers, &sleeper->timer);
            sleeper->armed = false;
        } else {
            sleeper->deadline_ns = now_ns - TICK + spread();
            (void)arm(&timers, sleeper, sleeper->deadline_ns);
            sleeper->armed = true;
        }
    }
    check_expiry(&timers, sleepers, INT64_MAX);
    timers_deinit(&timers);
    free(sleepers);
}

static void test_a_million_at_once(void **state)
{
    (void)state;
    enum { COUNT = 1000000 };
    struct waiter waiter = {0};
    struct timer *all = calloc(COUNT, sizeof *all);
    struct timers timers;

    timers_init(&timers);
    waiter_arm(&waiter, NULL, false);
    for (int i = 0; i < COUNT; i++)
        (void)timers_arm(&timers, &all[i], (int64_t)random_below(1 << 30) << 10,
                         &waiter);
    for (int i = COUNT; i-- > 0;)
        timers_cancel(&timers, &all[i]);
    assert_int_equal(timers_sleep(&timers, INT64_MAX), INT64_MAX);
    timers_deinit(&timers);
    free(all);
}

// ---- Threads. ----

struct crossing {
    struct timers timers;
    atomic_u32 stop;
    atomic_u32 fired;
};

// Each round's timer and waiter die with it: a firing after the cancelling
// would hit the next round's waiter, or be seen by a sanitizer.
static void *arm_and_cancel(void *arg)
{
    struct crossing *crossing = arg;

    for (int i = 0; i < 20000; i++) {
        struct waiter waiter = {0};
        struct timer timer;
        struct task *none;
        waiter_arm(&waiter, NULL, false);
        (void)timers_arm(&crossing->timers, &timer, port_now() + i % 8 * 100,
                         &waiter);
        if (i % 2 == 0)
            assert_int_equal(waiter_block(&waiter, INT64_MAX), ETIMEDOUT);
        else if (waiter_fire(&waiter, 0, &none) == FIRED_LOST)
            assert_int_equal(waiter_block(&waiter, INT64_MAX), ETIMEDOUT);
        timers_cancel(&crossing->timers, &timer);
        assert_false(list_linked(&timer.link));
        memset(&waiter, 0xff, sizeof waiter);
        memset(&timer, 0xff, sizeof timer);
        add_relaxed(&crossing->fired, 1);
    }
    return NULL;
}

static void *expire_always(void *arg)
{
    struct crossing *crossing = arg;
    struct task_list none = {0};

    while (load_acquire(&crossing->stop) == 0)
        expire(&crossing->timers, port_now(), &none);
    return NULL;
}

static void test_cancelling_crosses_firing(void **state)
{
    (void)state;
    struct crossing crossing = {0};
    struct port_thread threads[3];

    timers_init(&crossing.timers);
    assert_int_equal(
        port_thread_start(&threads[0], "expire", expire_always, &crossing), 0);
    for (int i = 1; i < 3; i++)
        assert_int_equal(
            port_thread_start(&threads[i], "arm", arm_and_cancel, &crossing),
            0);
    port_thread_join(&threads[1]);
    port_thread_join(&threads[2]);
    store_release(&crossing.stop, 1);
    port_thread_join(&threads[0]);
    assert_int_equal(load_relaxed(&crossing.fired), 40000);
    timers_deinit(&crossing.timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_due_ones_fire_in_order),
        cmocka_unit_test(test_equal_deadlines_fire_as_armed),
        cmocka_unit_test(test_ends_of_the_range),
        cmocka_unit_test(test_no_more_than_asked_for),
        cmocka_unit_test(test_cancelled_ones_do_not_fire),
        cmocka_unit_test(test_one_woken_before_is_left_alone),
        cmocka_unit_test(test_a_blocked_thread_is_fired_too),
        cmocka_unit_test(test_poller_sleeps_until_the_earliest),
        cmocka_unit_test(test_only_earlier_ones_wake_the_poller),
        cmocka_unit_test(test_as_the_model),
        cmocka_unit_test(test_a_million_at_once),
        cmocka_unit_test(test_cancelling_crosses_firing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
