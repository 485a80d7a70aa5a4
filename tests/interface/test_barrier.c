// test_barrier.c -- The barrier: all or none pass, with deadlines and cancels.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"
#include "support/threads.h"

#define MS WEFT_MILLISECOND

enum { PARTIES = 6 };

// Each writes its own plain number; after a meeting all read all of them.
struct meeting {
    weft_barrier barrier;
    atomic_int seat;
    int rounds;
    long number[PARTIES];
};

// How often it was the last.
static void *meet(void *arg)
{
    struct meeting *meeting = arg;
    int seat = atomic_fetch_add(&meeting->seat, 1);
    long last = 0;

    for (int i = 1; i <= meeting->rounds; i++) {
        meeting->number[seat] = i;
        int result = weft_barrier_wait(&meeting->barrier, WEFT_NEVER);
        expect(result == 0 || result == 1);
        last += result;
        for (int j = 0; j < PARTIES; j++)
            expect_is(meeting->number[j], i);
        result = weft_barrier_wait(&meeting->barrier, WEFT_NEVER);
        expect(result == 0 || result == 1);
    }
    return (void *)last;
}

static void meet_with(unsigned workers, int tasks, int threads)
{
    struct meeting meeting = {
        .barrier = WEFT_BARRIER_INIT("step", PARTIES),
        .rounds = scaled(500),
    };

    assert_int_equal(run_mixed(workers, tasks, threads, meet, &meeting),
                     meeting.rounds);
    assert_int_equal(weft_barrier_deinit(&meeting.barrier), 0);
}

static void test_all_meet(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 8; workers *= 2)
        meet_with(workers, PARTIES, 0);
}

static void test_tasks_and_threads_meet(void **state)
{
    (void)state;
    meet_with(1, PARTIES - 1, 1);
    meet_with(2, PARTIES / 2, PARTIES - PARTIES / 2);
}

// ---- Giving up. ----

static void *arrive(void *barrier)
{
    return (void *)(intptr_t)weft_barrier_wait(barrier, WEFT_NEVER);
}

static void *arrive_in_vain(void *barrier)
{
    return (void *)(intptr_t)weft_barrier_wait(barrier,
                                               weft_time_after(2 * MS));
}

// Arrivals that were taken back do not add up.
static void *give_up(void *arg)
{
    weft_barrier barrier;

    expect_is(weft_barrier_init(&barrier, 3, "lonely"), 0);
    for (int i = 0; i < 5; i++) {
        expect_is(weft_barrier_wait(&barrier, 0), -ETIMEDOUT);
        expect_is(join(spawn(arrive_in_vain, &barrier)), -ETIMEDOUT);
        weft_task task = spawn(arrive, &barrier);
        until_waiting(task, WEFT_WAIT_BARRIER);
        expect_is(weft_barrier_deinit(&barrier), -EBUSY);
        expect_is(weft_task_cancel(task), 0);
        expect_is(join(task), -ECANCELED);
    }
    weft_task first = spawn(arrive, &barrier);
    weft_task second = spawn(arrive, &barrier);
    until_waiting(first, WEFT_WAIT_BARRIER);
    until_waiting(second, WEFT_WAIT_BARRIER);
    expect_is(weft_barrier_wait(&barrier, 0), 1); // the last does not wait
    expect_is(join(first), 0);
    expect_is(join(second), 0);
    expect_is(weft_barrier_deinit(&barrier), 0);
    return arg;
}

static void test_one_that_gives_up_has_not_arrived(void **state)
{
    (void)state;
    run(give_up);
}

// Deadlines that pass in the moment of the meeting: either all have met, and
// one of them was the last, or nobody has.
struct hasty {
    weft_barrier barrier;
    int64_t until;
};

static void *arrive_hastily(void *arg)
{
    struct hasty *hasty = arg;
    int64_t until = hasty->until;

    return (void *)(intptr_t)weft_barrier_wait(&hasty->barrier, until);
}

static void *hurry(void *arg)
{
    enum { EARLY = 3 };
    uint64_t chance = 1;

    for (int round = 0; round < scaled(300); round++) {
        struct hasty hasty = {
            .barrier = WEFT_BARRIER_INIT("hasty", EARLY + 1),
            .until = weft_time_after(50000),
        };
        weft_task tasks[EARLY];
        int passed = 0;
        int last = 0;
        for (int i = 0; i < EARLY; i++)
            tasks[i] = spawn(arrive_hastily, &hasty);
        expect_is(weft_task_sleep(hasty.until - random_below(&chance, 20000)),
                  0);
        if (round % 3 == 0)
            expect_is(weft_task_cancel(tasks[0]), 0);
        intptr_t result = weft_barrier_wait(&hasty.barrier, 0);
        for (int i = 0; i <= EARLY; i++) {
            if (i > 0)
                result = join(tasks[i - 1]);
            expect(result == 0 || result == 1 || result == -ETIMEDOUT ||
                   (i == 1 && result == -ECANCELED));
            passed += result >= 0;
            last += result == 1;
        }
        expect_is(passed, last == 1 ? EARLY + 1 : 0);
        expect_is(weft_barrier_deinit(&hasty.barrier), 0);
    }
    return arg;
}

static void test_all_or_none(void **state)
{
    (void)state;
    run(hurry);
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    static weft_barrier zero;

    for (int i = 0; i < 2; i++) {
        weft_barrier *none = i == 0 ? NULL : &zero;
        assert_int_equal(weft_barrier_wait(none, 0), -EINVAL);
        assert_int_equal(weft_barrier_deinit(none), -EINVAL);
    }
    assert_int_equal(weft_barrier_init(NULL, 1, "none"), -EINVAL);
    assert_int_equal(weft_barrier_init(&zero, 0, "none"), -EINVAL);
    assert_int_equal(weft_barrier_init(&zero, 1, "alone"), 0);
    assert_int_equal(weft_barrier_wait(&zero, WEFT_NEVER), 1);
    assert_int_equal(weft_barrier_wait(&zero, WEFT_NEVER), 1);
    assert_int_equal(weft_barrier_deinit(&zero), 0);
    assert_int_equal(weft_barrier_wait(&zero, WEFT_NEVER), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_meet),
        cmocka_unit_test(test_tasks_and_threads_meet),
        cmocka_unit_test(test_one_that_gives_up_has_not_arrived),
        cmocka_unit_test(test_all_or_none),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
