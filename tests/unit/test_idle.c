// test_idle.c -- The idle set: what it counts, and that nobody is in it twice.
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/idle.h"

static uint32_t awake(const struct idle *idle)
{
    return load_relaxed(&idle->workers) - idle_sleepers(idle);
}

static uint32_t searching(const struct idle *idle)
{
    return load_relaxed(&idle->state) & 0xffff;
}

static void expect_counts(const struct idle *idle, uint32_t want_awake,
                          uint32_t want_searching)
{
    assert_int_equal(awake(idle), want_awake);
    assert_int_equal(searching(idle), want_searching);
    assert_int_equal(idle_sleepers(idle), idle->count);
}

// ---- Step by step. ----

static void test_picking(void **state)
{
    (void)state;
    struct lock lock = {0};
    struct idle idle;
    uint32_t worker = 99;

    assert_int_equal(idle_init(&idle, &lock, 4, 4), 0);
    expect_counts(&idle, 4, 0);
    assert_false(idle_pick(&idle, &worker)); // all are awake
    idle_enter(&idle, 2, false);
    idle_enter(&idle, 0, false);
    expect_counts(&idle, 2, 0);
    assert_true(idle_pick(&idle, &worker));
    assert_int_equal(worker, 0); // the last to fall asleep
    expect_counts(&idle, 3, 1);
    assert_false(idle_pick(&idle, &worker)); // one searches
    assert_true(idle_leave(&idle, 0, false));
    assert_true(idle_end_search(&idle));
    expect_counts(&idle, 3, 0);
    assert_true(idle_pick(&idle, &worker));
    assert_int_equal(worker, 2);
    idle_deinit(&idle);
}

static void test_searching(void **state)
{
    (void)state;
    struct lock lock = {0};
    struct idle idle;

    assert_int_equal(idle_init(&idle, &lock, 5, 5), 0);
    assert_true(idle_try_search(&idle)); // at most half, rounded up
    assert_true(idle_try_search(&idle));
    assert_true(idle_try_search(&idle));
    assert_false(idle_try_search(&idle));
    assert_false(idle_end_search(&idle));
    idle_enter(&idle, 1, true);
    expect_counts(&idle, 4, 1);
    idle_enter(&idle, 3, true);
    expect_counts(&idle, 3, 0);
    assert_true(idle_try_search(&idle));
    assert_true(idle_end_search(&idle)); // the last as well
    idle_deinit(&idle);
}

// One who wakes unasked stays in, or takes itself out; it is never in twice.
static void test_waking_unasked(void **state)
{
    (void)state;
    struct lock lock = {0};
    struct idle idle;
    uint32_t worker;

    assert_int_equal(idle_init(&idle, &lock, 3, 3), 0);
    idle_enter(&idle, 0, false);
    idle_enter(&idle, 1, false);
    idle_enter(&idle, 2, false);
    assert_false(idle_leave(&idle, 1, false)); // for nothing: it stays
    expect_counts(&idle, 0, 0);
    assert_false(idle_leave(&idle, 1, true)); // with work: it goes
    expect_counts(&idle, 1, 0);
    assert_true(idle_pick(&idle, &worker));
    assert_int_not_equal(worker, 1);
    assert_true(idle_leave(&idle, worker, true)); // picked, and has work
    expect_counts(&idle, 2, 1);
    idle_enter(&idle, 1, false);
    assert_true(idle_end_search(&idle));
    expect_counts(&idle, 1, 0);
    idle_deinit(&idle);
}

// ---- Workers and adders at once. ----

enum {
    WORKERS = 4,
    ROUNDS = 5000,
};

// Each worker goes to sleep again and again, wakes when it is picked or for
// nothing, searches, or has work. An adder picks all the time. What the set
// holds is compared with what each worker knows of itself.
struct room {
    struct idle idle;
    struct lock lock;
    atomic_u32 picked[WORKERS]; // by an adder, and not yet taken note of
    atomic_u32 working;         // workers that have not finished
};

struct sleeper {
    struct room *room;
    uint32_t number;
};

// Under the lock: nobody is in the set twice, and it has the right size.
static void check_set(struct room *room)
{
    bool seen[WORKERS] = {false};

    lock_acquire(&room->lock);
    if (room->idle.count + awake(&room->idle) != WORKERS)
        abort();
    if (searching(&room->idle) > awake(&room->idle))
        abort();
    for (uint32_t i = 0; i < room->idle.count; i++) {
        uint32_t worker = room->idle.sleepers[i];
        if (worker >= WORKERS || seen[worker])
            abort();
        seen[worker] = true;
    }
    lock_release(&room->lock);
}

// Wakes whomever it picks, as sched_notify does.
static void notify(struct room *room)
{
    uint32_t worker;

    if (!idle_pick(&room->idle, &worker))
        return;
    if (xchg_acq_rel(&room->picked[worker], 1) != 0)
        abort(); // picked twice in one sleep
}

// Until it is picked, or has work of its own. True: it searches.
static bool sleep_until_called(struct sleeper *self, uint32_t patience)
{
    struct room *room = self->room;

    for (uint32_t i = 0;; i++) {
        bool has_work = i >= patience;
        bool called = idle_leave(&room->idle, self->number, has_work);
        if (called) {
            while (xchg_acq_rel(&room->picked[self->number], 0) == 0)
                (void)sched_yield(); // the adder is about to say so
            return true;
        }
        if (has_work)
            return false;
    }
}

static void *live(void *arg)
{
    struct sleeper *self = arg;
    struct room *room = self->room;
    bool searches = false;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (!searches && (i + self->number) % 3 == 0)
            searches = idle_try_search(&room->idle);
        if (searches && i % 2 == 0) {
            searches = false;
            if (idle_end_search(&room->idle))
                notify(room);
        }
        idle_enter(&room->idle, self->number, searches);
        if (i % 3 == 0) // as one who finds work when it looks once more
            notify(room);
        searches = sleep_until_called(self, i % 5);
        check_set(room);
    }
    if (searches)
        (void)idle_end_search(&room->idle);
    (void)sub_acq_rel(&room->working, 1);
    return NULL;
}

static void test_nobody_is_in_twice(void **state)
{
    (void)state;
    static struct room room;
    struct sleeper sleepers[WORKERS];
    pthread_t threads[WORKERS];

    assert_int_equal(idle_init(&room.idle, &room.lock, WORKERS, WORKERS), 0);
    store_relaxed(&room.working, WORKERS);
    for (uint32_t i = 0; i < WORKERS; i++) {
        sleepers[i] = (struct sleeper){&room, i};
        assert_int_equal(pthread_create(&threads[i], NULL, live, &sleepers[i]),
                         0);
    }
    while (load_acquire(&room.working) > 0) {
        notify(&room);
        check_set(&room);
    }
    for (uint32_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    expect_counts(&room.idle, WORKERS, 0);
    idle_deinit(&room.idle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_picking),
        cmocka_unit_test(test_searching),
        cmocka_unit_test(test_waking_unasked),
        cmocka_unit_test(test_nobody_is_in_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
