// test_event.c -- The event: setting, resetting, waiting by tasks and threads.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"
#include "support/threads.h"

#define MS WEFT_MILLISECOND

// ---- Once and for all. ----

struct news {
    weft_event event;
    int64_t until;
    long number; // plain: written before the setting, read after the wait
};

static void *await(void *arg)
{
    struct news *news = arg;
    int error = weft_event_wait(&news->event, news->until);

    return (void *)(error == 0 ? news->number : (long)error);
}

// Half of them come before the setting, half perhaps not.
static void *announce(void *arg)
{
    enum { TASKS = 20 };

    for (int round = 0; round < scaled(100); round++) {
        struct news news = {.until = WEFT_NEVER};
        weft_task tasks[TASKS];
        expect_is(weft_event_init(&news.event, "news"), 0);
        expect_is(weft_event_is_set(&news.event), 0);
        for (int i = 0; i < TASKS; i++) {
            tasks[i] = spawn(await, &news);
            if (i == TASKS / 2)
                (void)weft_task_yield();
        }
        news.number = round + 1;
        expect_is(weft_event_set(&news.event), 0);
        expect_is(weft_event_set(&news.event), 0);
        for (int i = 0; i < TASKS; i++)
            expect_is(join(tasks[i]), round + 1);
        expect_is(weft_event_is_set(&news.event), 1);
        expect_is(weft_event_wait(&news.event, 0), 0);
        expect_is(weft_event_deinit(&news.event), 0);
    }
    return arg;
}

static void test_all_hear_of_it(void **state)
{
    (void)state;
    run(announce);
}

static void test_threads_hear_of_it(void **state)
{
    (void)state;
    enum { EACH = 4 };

    for (int round = 0; round < scaled(100); round++) {
        struct news news = {
            .event = WEFT_EVENT_INIT("mixed"),
            .until = WEFT_NEVER,
        };
        weft_runtime *runtime = start_with(2);
        pthread_t threads[EACH];
        weft_task tasks[EACH];
        for (int i = 0; i < EACH; i++) {
            threads[i] = start_thread(await, &news);
            tasks[i] = spawn_on(runtime, await, &news);
        }
        news.number = 7;
        assert_int_equal(weft_event_set(&news.event), 0);
        for (int i = 0; i < EACH; i++) {
            assert_int_equal(join_thread(threads[i]), 7);
            assert_int_equal(join(tasks[i]), 7);
        }
        assert_int_equal(weft_event_deinit(&news.event), 0);
        assert_int_equal(weft_runtime_free(runtime), 0);
    }
}

// ---- Again and again. ----

// Who was woken goes on, whatever is done to the event meanwhile.
static void *reset_at_once(void *arg)
{
    struct news news = {.until = WEFT_NEVER, .number = 3};
    weft_task tasks[3];

    expect_is(weft_event_init(&news.event, "again"), 0);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 3; i++) {
            tasks[i] = spawn(await, &news);
            until_waiting(tasks[i], WEFT_WAIT_EVENT);
        }
        expect_is(weft_event_deinit(&news.event), -EBUSY);
        expect_is(weft_event_set(&news.event), 0);
        expect_is(weft_event_reset(&news.event), 0);
        expect_is(weft_event_wait(&news.event, 0), -ETIMEDOUT);
        for (int i = 0; i < 3; i++)
            expect_is(join(tasks[i]), 3);
    }
    expect_is(weft_event_deinit(&news.event), 0);
    return arg;
}

static void test_a_reset_takes_it_from_nobody(void **state)
{
    (void)state;
    run_with(1, reset_at_once, NULL);
    run_with(2, reset_at_once, NULL);
}

// Two gates, opened in turns: a lost wake-up would stop all.
struct gates {
    weft_event gate[2];
    atomic_int through;
    int rounds;
};

static void *pass(void *arg)
{
    struct gates *gates = arg;

    for (int i = 0; i < gates->rounds; i++) {
        expect_is(weft_event_wait(&gates->gate[i % 2], WEFT_NEVER), 0);
        atomic_fetch_add(&gates->through, 1);
    }
    return NULL;
}

static void *open_in_turns(void *arg)
{
    enum { TASKS = 6 };
    struct gates gates = {.rounds = scaled(300)};
    weft_task tasks[TASKS];

    for (int i = 0; i < 2; i++)
        expect_is(weft_event_init(&gates.gate[i], "gate"), 0);
    for (int i = 0; i < TASKS; i++)
        tasks[i] = spawn(pass, &gates);
    for (int i = 0; i < gates.rounds; i++) {
        expect_is(weft_event_set(&gates.gate[i % 2]), 0);
        until_reached(&gates.through, (i + 1) * TASKS);
        expect_is(atomic_load(&gates.through), (i + 1) * TASKS);
        expect_is(weft_event_reset(&gates.gate[i % 2]), 0);
    }
    for (int i = 0; i < TASKS; i++)
        join(tasks[i]);
    for (int i = 0; i < 2; i++)
        expect_is(weft_event_deinit(&gates.gate[i]), 0);
    return arg;
}

static void test_no_setting_is_missed(void **state)
{
    (void)state;
    run(open_in_turns);
}

// ---- Giving up. ----

static void *give_up(void *arg)
{
    struct news news = {.until = WEFT_NEVER, .number = 9};

    expect_is(weft_event_init(&news.event, "never"), 0);
    weft_task canceled = spawn(await, &news);
    weft_task patient = spawn(await, &news);
    until_waiting(canceled, WEFT_WAIT_EVENT);
    until_waiting(patient, WEFT_WAIT_EVENT);
    int64_t until = weft_time_after(2 * MS);
    expect_is(weft_event_wait(&news.event, until), -ETIMEDOUT);
    expect(weft_time_now() >= until);
    expect_is(weft_task_cancel(canceled), 0);
    expect_is(join(canceled), -ECANCELED);
    expect_is(weft_event_set(&news.event), 0);
    expect_is(join(patient), 9);
    expect_is(weft_event_deinit(&news.event), 0);
    return arg;
}

static void test_waiters_give_up(void **state)
{
    (void)state;
    run(give_up);
}

// Deadlines that pass while it is set: each either heard of it or did not, and
// the event can be ended right after.
static void *hurry(void *arg)
{
    enum { TASKS = 8 };
    uint64_t chance = 1;

    for (int round = 0; round < scaled(200); round++) {
        struct news news = {.number = 1};
        weft_task tasks[TASKS];
        news.until = weft_time_after(random_below(&chance, 30000));
        expect_is(weft_event_init(&news.event, "hasty"), 0);
        for (int i = 0; i < TASKS; i++)
            tasks[i] = spawn(await, &news);
        expect_is(weft_task_sleep(news.until - 5000), 0);
        expect_is(weft_event_set(&news.event), 0);
        for (int i = 0; i < TASKS; i++) {
            intptr_t result = join(tasks[i]);
            expect(result == 1 || result == -ETIMEDOUT);
        }
        expect_is(weft_event_deinit(&news.event), 0);
    }
    return arg;
}

static void test_deadlines_under_way(void **state)
{
    (void)state;
    run(hurry);
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    static weft_event zero;

    for (int i = 0; i < 2; i++) {
        weft_event *none = i == 0 ? NULL : &zero;
        assert_int_equal(weft_event_set(none), -EINVAL);
        assert_int_equal(weft_event_reset(none), -EINVAL);
        assert_int_equal(weft_event_is_set(none), -EINVAL);
        assert_int_equal(weft_event_wait(none, 0), -EINVAL);
        assert_int_equal(weft_event_deinit(none), -EINVAL);
    }
    assert_int_equal(weft_event_init(NULL, "none"), -EINVAL);
    assert_int_equal(weft_event_init(&zero, NULL), 0);
    assert_int_equal(weft_event_deinit(&zero), 0);
    assert_int_equal(weft_event_set(&zero), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_hear_of_it),
        cmocka_unit_test(test_threads_hear_of_it),
        cmocka_unit_test(test_a_reset_takes_it_from_nobody),
        cmocka_unit_test(test_no_setting_is_missed),
        cmocka_unit_test(test_waiters_give_up),
        cmocka_unit_test(test_deadlines_under_way),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
