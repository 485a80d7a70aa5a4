// test_cond.c -- The condition: no signal is lost, the mutex always comes back.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"
#include "support/threads.h"

#define MS WEFT_MILLISECOND

// ---- A store of goods, as it is in every book. ----

enum { ROOM = 3 };

struct store {
    weft_mutex mutex;
    weft_cond not_full;
    weft_cond not_empty;
    int goods; // these are plain: the mutex guards them
    long made;
    long used;
    long wanted;
    atomic_int role;
};

static void make(struct store *store)
{
    for (;;) {
        expect_is(weft_mutex_lock(&store->mutex, WEFT_NEVER), 0);
        while (store->goods == ROOM && store->made < store->wanted)
            expect_is(
                weft_cond_wait(&store->not_full, &store->mutex, WEFT_NEVER), 0);
        bool more = store->made < store->wanted;
        if (more) {
            store->made++;
            store->goods++;
        } else {
            expect_is(weft_cond_broadcast(&store->not_full), 0);
        }
        expect_is(weft_cond_signal(&store->not_empty), 0);
        expect_is(weft_mutex_unlock(&store->mutex), 0);
        if (!more)
            return;
    }
}

static void use_up(struct store *store)
{
    for (;;) {
        expect_is(weft_mutex_lock(&store->mutex, WEFT_NEVER), 0);
        while (store->goods == 0 && store->used < store->wanted)
            expect_is(
                weft_cond_wait(&store->not_empty, &store->mutex, WEFT_NEVER),
                0);
        bool more = store->goods > 0;
        if (more) {
            store->goods--;
            store->used++;
        }
        bool last = store->used == store->wanted;
        expect_is(weft_mutex_unlock(&store->mutex), 0);
        // Not under the mutex, for once.
        expect_is(weft_cond_signal(&store->not_full), 0);
        if (last)
            expect_is(weft_cond_broadcast(&store->not_empty), 0);
        if (!more)
            return;
    }
}

static void *trade(void *arg)
{
    struct store *store = arg;

    if (atomic_fetch_add(&store->role, 1) % 2)
        make(store);
    else
        use_up(store);
    return NULL;
}

static void trade_with(unsigned workers, int tasks, int threads)
{
    struct store store = {
        .mutex = WEFT_MUTEX_INIT("store"),
        .not_full = WEFT_COND_INIT("not full"),
        .not_empty = WEFT_COND_INIT("not empty"),
        .wanted = scaled(3000),
    };

    run_mixed(workers, tasks, threads, trade, &store);
    assert_int_equal(store.made, store.wanted);
    assert_int_equal(store.used, store.wanted);
    assert_int_equal(weft_cond_deinit(&store.not_full), 0);
    assert_int_equal(weft_cond_deinit(&store.not_empty), 0);
    assert_int_equal(weft_mutex_deinit(&store.mutex), 0);
}

static void test_no_signal_is_lost(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 8; workers *= 2)
        trade_with(workers, 8, 0);
}

static void test_tasks_and_threads_trade(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 4; workers *= 2)
        trade_with(workers, 4, 4);
}

// ---- Who is woken. ----

struct hall {
    weft_mutex mutex;
    weft_cond cond;
    int64_t until;
    int order[8];
    int count; // under the mutex
};

struct guest {
    struct hall *hall;
    int number;
};

static void *wait_in_hall(void *arg)
{
    struct guest *guest = arg;
    struct hall *hall = guest->hall;

    expect_is(weft_mutex_lock(&hall->mutex, WEFT_NEVER), 0);
    int error = weft_cond_wait(&hall->cond, &hall->mutex, hall->until);
    if (error == 0)
        hall->order[hall->count++] = guest->number;
    expect_is(weft_mutex_try_lock(&hall->mutex), -EDEADLK); // it came back
    expect_is(weft_mutex_unlock(&hall->mutex), 0);
    return (void *)(intptr_t)error;
}

static void fill(struct hall *hall, struct guest *guests, weft_task *tasks,
                 int count)
{
    *hall = (struct hall){.until = WEFT_NEVER};
    expect_is(weft_mutex_init(&hall->mutex, "hall"), 0);
    expect_is(weft_cond_init(&hall->cond, "door"), 0);
    for (int i = 0; i < count; i++) {
        guests[i] = (struct guest){hall, i};
        tasks[i] = spawn(wait_in_hall, &guests[i]);
        until_waiting(tasks[i], WEFT_WAIT_COND);
    }
}

static void *wake_one_by_one(void *arg)
{
    struct guest guests[6];
    weft_task tasks[6];
    struct hall hall;

    fill(&hall, guests, tasks, 6);
    expect_is(weft_cond_deinit(&hall.cond), -EBUSY);
    expect_is(weft_task_cancel(tasks[1]), 0);
    expect_is(join(tasks[1]), -ECANCELED);
    expect_is(weft_cond_signal(&hall.cond), 0);
    expect_is(join(tasks[0]), 0);
    expect_is(weft_cond_signal(&hall.cond), 0);
    expect_is(join(tasks[2]), 0);
    expect_is(hall.count, 2);
    expect_is(weft_cond_broadcast(&hall.cond), 0);
    for (int i = 3; i < 6; i++)
        expect_is(join(tasks[i]), 0);
    expect(hall.order[0] == 0 && hall.order[1] == 2 && hall.count == 5);
    expect_is(weft_cond_signal(&hall.cond), 0); // nobody is there
    expect_is(weft_cond_broadcast(&hall.cond), 0);
    expect_is(weft_cond_deinit(&hall.cond), 0);
    expect_is(weft_mutex_deinit(&hall.mutex), 0);
    return arg;
}

static void test_the_first_is_woken(void **state)
{
    (void)state;
    run(wake_one_by_one);
}

// A signal and a cancel for the same waiter, at once or one after the other: it
// has one outcome, and a signal that it did not get goes to the next.
static void *signal_and_cancel(void *arg)
{
    for (int round = 0; round < scaled(200); round++) {
        struct guest guests[2];
        weft_task tasks[2];
        struct hall hall;
        fill(&hall, guests, tasks, 2);
        if (round % 2)
            expect_is(weft_task_cancel(tasks[0]), 0);
        expect_is(weft_cond_signal(&hall.cond), 0);
        if (round % 2 == 0)
            expect_is(weft_task_cancel(tasks[0]), 0);
        intptr_t first = join(tasks[0]);
        expect_is(first, round % 2 ? -ECANCELED : 0);
        if (first == 0)
            expect_is(weft_cond_signal(&hall.cond), 0);
        expect_is(join(tasks[1]), 0);
        expect_is(weft_cond_deinit(&hall.cond), 0);
        expect_is(weft_mutex_deinit(&hall.mutex), 0);
    }
    return arg;
}

static void test_a_signal_goes_to_one_who_waits(void **state)
{
    (void)state;
    run(signal_and_cancel);
}

// Deadlines that pass while signals come: as many are woken as were signalled,
// if so many were there.
static void *hurry(void *arg)
{
    enum { TASKS = 6 };
    uint64_t chance = 1;

    for (int round = 0; round < scaled(100); round++) {
        struct guest guests[TASKS];
        weft_task tasks[TASKS];
        struct hall hall = {
            .mutex = WEFT_MUTEX_INIT("hall"),
            .cond = WEFT_COND_INIT("hasty"),
            .until = weft_time_after(30000 + random_below(&chance, 100000)),
        };
        int woken = 0;
        for (int i = 0; i < TASKS; i++) {
            guests[i] = (struct guest){&hall, i};
            tasks[i] = spawn(wait_in_hall, &guests[i]);
        }
        expect_is(weft_task_sleep(hall.until - 10000), 0);
        for (int i = 0; i < 3; i++)
            expect_is(weft_cond_signal(&hall.cond), 0);
        for (int i = 0; i < TASKS; i++) {
            intptr_t error = join(tasks[i]);
            expect(error == 0 || error == -ETIMEDOUT);
            woken += error == 0;
        }
        expect(woken <= 3);
        expect_is(hall.count, woken);
        expect_is(weft_cond_deinit(&hall.cond), 0);
        expect_is(weft_mutex_deinit(&hall.mutex), 0);
    }
    return arg;
}

static void test_deadlines_under_way(void **state)
{
    (void)state;
    run(hurry);
}

// ---- Misuse. ----

static void *misuse(void *arg)
{
    static weft_cond zero;
    weft_mutex mutex = WEFT_MUTEX_INIT("misused");
    weft_mutex other = WEFT_MUTEX_INIT("other");
    weft_cond cond = WEFT_COND_INIT("misused");

    expect_is(weft_mutex_lock(&mutex, WEFT_NEVER), 0);
    for (int i = 0; i < 2; i++) {
        weft_cond *none = i == 0 ? NULL : &zero;
        expect_is(weft_cond_wait(none, &mutex, 0), -EINVAL);
        expect_is(weft_cond_signal(none), -EINVAL);
        expect_is(weft_cond_broadcast(none), -EINVAL);
        expect_is(weft_cond_deinit(none), -EINVAL);
    }
    expect_is(weft_cond_init(NULL, "none"), -EINVAL);
    expect_is(weft_cond_wait(&cond, NULL, 0), -EINVAL);
    expect_is(weft_cond_wait(&cond, &other, 0), -EPERM);
    expect_is(weft_cond_wait(&cond, &mutex, 0), -ETIMEDOUT);
    expect_is(weft_mutex_unlock(&mutex), 0); // ours all the while
    expect_is(weft_cond_deinit(&cond), 0);
    return arg;
}

static void *mix_mutexes(void *arg)
{
    struct guest guests[1];
    weft_task tasks[1];
    struct hall hall;
    weft_mutex other = WEFT_MUTEX_INIT("other");

    fill(&hall, guests, tasks, 1);
    expect_is(weft_mutex_lock(&other, WEFT_NEVER), 0);
    expect_is(weft_cond_wait(&hall.cond, &other, WEFT_NEVER), -EINVAL);
    expect_is(weft_mutex_unlock(&other), 0);
    expect_is(weft_cond_signal(&hall.cond), 0);
    expect_is(join(tasks[0]), 0);
    return arg;
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    run(misuse);
    misuse(NULL); // a thread's turn
    run(mix_mutexes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_signal_is_lost),
        cmocka_unit_test(test_tasks_and_threads_trade),
        cmocka_unit_test(test_the_first_is_woken),
        cmocka_unit_test(test_a_signal_goes_to_one_who_waits),
        cmocka_unit_test(test_deadlines_under_way),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
