// test_waiter.c -- Waiters: of all that end a wait, exactly one wins.
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "task/waiter.h"

enum { COUNT = 5 }; // how often the task was given a worker

static void begin_running(struct task *task)
{
    memset(task, 0, sizeof *task);
    store_relaxed(&task->state, STATE(COUNT, 0, PHASE_RUNNING));
}

static void expect_state(struct task *task, uint64_t count, int outcome,
                         enum phase phase)
{
    uint64_t word = load_acquire(&task->state);

    assert_int_equal(STATE_COUNT(word), count);
    assert_int_equal(STATE_OUTCOME(word), outcome);
    assert_int_equal(STATE_PHASE(word), phase);
}

// ---- Step by step. ----

static void test_fired_before_it_is_saved(void **state)
{
    (void)state;
    struct task task;
    struct task *ready = NULL;
    struct waiter waiter = {0};

    begin_running(&task);
    waiter_arm(&waiter, &task, false);
    expect_state(&task, COUNT, 0, PHASE_PARKING);
    assert_int_equal(waiter_fire(&waiter, ETIMEDOUT, &ready), FIRED_WON);
    assert_ptr_equal(ready, &task);
    expect_state(&task, COUNT, ETIMEDOUT, PHASE_FIRED);
    assert_int_equal(waiter_fire(&waiter, 0, &ready), FIRED_LOST);
    expect_state(&task, COUNT, ETIMEDOUT, PHASE_FIRED);
}

static void test_fired_while_it_waits(void **state)
{
    (void)state;
    struct task task;
    struct task *ready = NULL;
    struct waiter waiter = {0};

    begin_running(&task);
    waiter_arm(&waiter, &task, false);
    task_set_phase(&task, 0, PHASE_WAITING);
    assert_int_equal(waiter_fire(&waiter, EPIPE, &ready), FIRED_READY);
    assert_ptr_equal(ready, &task);
    expect_state(&task, COUNT, EPIPE, PHASE_READY);
    assert_int_equal(waiter_fire(&waiter, 0, &ready), FIRED_LOST);
    assert_int_equal(waiter_fire(&waiter, EPIPE, &ready), FIRED_LOST);
    expect_state(&task, COUNT, EPIPE, PHASE_READY);
}

// A firing that comes so late that the task waits again already.
static void test_a_stale_firing_loses(void **state)
{
    (void)state;
    struct task task;
    struct task *ready;
    struct waiter first = {0};
    struct waiter second = {0};

    begin_running(&task);
    waiter_arm(&first, &task, false);
    task_set_phase(&task, 0, PHASE_WAITING);
    uint64_t word = load_acquire(&task.state);
    assert_int_equal(waiter_fire(&first, 0, &ready), FIRED_READY);
    store_relaxed(&task.state, STATE(COUNT + 1, 0, PHASE_RUNNING));
    assert_int_equal(waiter_fire(&first, 0, &ready), FIRED_LOST);
    waiter_arm(&second, &task, false);
    assert_int_equal(waiter_fire(&first, 0, &ready), FIRED_LOST);
    assert_int_equal(waiter_fire_word(&task, word, ECANCELED), FIRED_LOST);
    task_set_phase(&task, 0, PHASE_WAITING);
    assert_int_equal(waiter_fire(&first, 0, &ready), FIRED_LOST);
    assert_int_equal(waiter_fire_word(&task, word, ECANCELED), FIRED_LOST);
    expect_state(&task, COUNT + 1, 0, PHASE_WAITING);
    assert_int_equal(waiter_fire(&second, 0, &ready), FIRED_READY);
}

static void test_fired_by_the_state_alone(void **state)
{
    (void)state;
    struct task task;
    struct waiter waiter = {0};

    begin_running(&task);
    waiter_arm(&waiter, &task, false);
    uint64_t word = load_acquire(&task.state); // PARKING, by now WAITING
    task_set_phase(&task, 0, PHASE_WAITING);
    assert_int_equal(waiter_fire_word(&task, word, ECANCELED), FIRED_READY);
    expect_state(&task, COUNT, ECANCELED, PHASE_READY);
}

static void test_a_firm_wait(void **state)
{
    (void)state;
    struct task task;
    struct task *ready;
    struct waiter waiter = {0};

    begin_running(&task);
    waiter_arm(&waiter, &task, true);
    expect_state(&task, COUNT, WAIT_FIRM, PHASE_PARKING);
    task_set_phase(&task, WAIT_FIRM, PHASE_WAITING);
    assert_int_equal(waiter_fire(&waiter, 0, &ready), FIRED_READY);
    expect_state(&task, COUNT, 0, PHASE_READY);
}

// ---- Threads. ----

static void test_a_thread_that_was_fired_first(void **state)
{
    (void)state;
    struct waiter waiter = {0};
    struct task *ready = (struct task *)&waiter;

    waiter_arm(&waiter, NULL, false);
    assert_int_equal(waiter_fire(&waiter, 0, &ready), FIRED_WON);
    assert_null(ready);
    assert_int_equal(waiter_fire(&waiter, EPIPE, &ready), FIRED_LOST);
    assert_int_equal(waiter_block(&waiter, INT64_MAX), 0);
    waiter_arm(&waiter, NULL, false); // and again
    assert_int_equal(waiter_fire(&waiter, EPIPE, &ready), FIRED_WON);
    assert_int_equal(waiter_block(&waiter, 0), EPIPE);
}

static void test_a_thread_that_times_out(void **state)
{
    (void)state;
    struct waiter waiter = {0};
    struct task *ready;

    waiter_arm(&waiter, NULL, false);
    assert_int_equal(waiter_block(&waiter, 0), ETIMEDOUT);
    assert_int_equal(waiter_fire(&waiter, 0, &ready), FIRED_LOST);
    waiter_arm(&waiter, NULL, false);
    int64_t until = port_now() + 1000000;
    assert_int_equal(waiter_block(&waiter, until), ETIMEDOUT);
    assert_true(port_now() >= until);
}

// ---- Races. ----

enum {
    FIRERS = 3,
    ROUNDS = 3000,
};

// In each round everybody fires the same waiter, with an outcome of his own,
// while its owner is about to be saved, or blocks.
struct race {
    struct task task;
    struct waiter waiter;
    bool is_thread;
    atomic_u32 round;
    atomic_u32 arrived;
    atomic_u32 won[ROUNDS];
    atomic_u32 outcome[ROUNDS];
    atomic_u32 saved[ROUNDS]; // how it was fired: FIRED_WON or FIRED_READY
};

struct firer {
    struct race *race;
    int number;
};

static void wait_for(atomic_u32 *word, uint32_t value)
{
    uint32_t now;

    while ((now = load_acquire(word)) != value)
        (void)port_futex_wait(word, now, INT64_MAX);
}

static void tell(atomic_u32 *word)
{
    (void)add_acq_rel(word, 1);
    port_futex_wake(word, UINT32_MAX);
}

static void fire(struct race *race, uint32_t round, int outcome)
{
    struct task *ready;
    enum fired fired = waiter_fire(&race->waiter, outcome, &ready);

    if (fired == FIRED_LOST)
        return;
    (void)add_relaxed(&race->won[round], 1);
    store_relaxed(&race->outcome[round], (uint32_t)outcome);
    store_relaxed(&race->saved[round], (uint32_t)fired);
}

static void *fire_each(void *arg)
{
    struct firer *firer = arg;
    struct race *race = firer->race;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        wait_for(&race->round, i + 1);
        for (uint32_t j = (i >> firer->number) % 8; j > 0; j--)
            port_pause();
        fire(race, i, firer->number + 1);
        tell(&race->arrived);
    }
    return NULL;
}

// What a worker does once the task is saved. Its outcome.
static uint32_t save(struct race *race)
{
    struct task *task = &race->task;
    uint64_t word = load_relaxed(&task->state);
    uint64_t waiting = (word & ~UINT64_C(0xff)) | PHASE_WAITING;

    if (STATE_PHASE(word) == PHASE_PARKING &&
        cas_acq_rel(&task->state, &word, waiting))
        while (STATE_PHASE(load_acquire(&task->state)) == PHASE_WAITING)
            (void)sched_yield();
    word = load_acquire(&task->state);
    return (uint32_t)STATE_OUTCOME(word);
}

static void run_race(struct race *race)
{
    struct firer firers[FIRERS];
    pthread_t threads[FIRERS];

    for (int i = 0; i < FIRERS; i++) {
        firers[i] = (struct firer){race, i};
        assert_int_equal(
            pthread_create(&threads[i], NULL, fire_each, &firers[i]), 0);
    }
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t outcome;
        store_relaxed(&race->task.state, STATE(i, 0, PHASE_RUNNING));
        waiter_arm(&race->waiter, race->is_thread ? NULL : &race->task, false);
        store_relaxed(&race->arrived, 0);
        tell(&race->round);
        if (race->is_thread)
            outcome = (uint32_t)waiter_block(
                &race->waiter, i % 2 ? INT64_MAX : port_now() + i % 3000);
        else
            outcome = save(race);
        wait_for(&race->arrived, FIRERS);
        uint32_t won = load_relaxed(&race->won[i]);
        if (race->is_thread && outcome == ETIMEDOUT) {
            assert_int_equal(won, 0);
            continue;
        }
        assert_int_equal(won, 1);
        assert_int_equal(load_relaxed(&race->outcome[i]), outcome);
        if (race->is_thread)
            continue;
        enum phase phase = STATE_PHASE(load_acquire(&race->task.state));
        assert_int_equal(load_relaxed(&race->saved[i]),
                         phase == PHASE_READY ? FIRED_READY : FIRED_WON);
        assert_true(phase == PHASE_READY || phase == PHASE_FIRED);
    }
    for (int i = 0; i < FIRERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void test_one_wins_a_task(void **state)
{
    (void)state;
    struct race *race = calloc(1, sizeof *race);

    run_race(race);
    free(race);
}

static void test_one_wins_a_thread(void **state)
{
    (void)state;
    struct race *race = calloc(1, sizeof *race);

    race->is_thread = true;
    run_race(race);
    free(race);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fired_before_it_is_saved),
        cmocka_unit_test(test_fired_while_it_waits),
        cmocka_unit_test(test_a_stale_firing_loses),
        cmocka_unit_test(test_fired_by_the_state_alone),
        cmocka_unit_test(test_a_firm_wait),
        cmocka_unit_test(test_a_thread_that_was_fired_first),
        cmocka_unit_test(test_a_thread_that_times_out),
        cmocka_unit_test(test_one_wins_a_task),
        cmocka_unit_test(test_one_wins_a_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
