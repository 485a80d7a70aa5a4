// test_waitgroup.c -- The wait group: counting, waiting, giving up, misuse.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"
#include "support/threads.h"

#define MS WEFT_MILLISECOND

enum { TASKS = 10 };

struct work {
    weft_waitgroup group;
    atomic_int seat;
    int rounds;
    long done[TASKS]; // plain: read after a wait
};

static void *do_part(void *arg)
{
    struct work *work = arg;
    int seat = atomic_fetch_add(&work->seat, 1) % TASKS;

    if (seat % 3 == 0)
        (void)weft_task_yield();
    work->done[seat]++;
    expect_is(weft_waitgroup_done(&work->group), 0);
    return NULL;
}

// The group is used again and again, and may be ended as soon as one is back.
static void *divide(void *arg)
{
    weft_task tasks[TASKS];

    for (int round = 0; round < scaled(300); round++) {
        struct work work = {.group = WEFT_WAITGROUP_INIT("parts")};
        for (int again = 0; again < 3; again++) {
            expect_is(weft_waitgroup_add(&work.group, TASKS), 0);
            for (int i = 0; i < TASKS; i++)
                tasks[i] = spawn(do_part, &work);
            expect_is(weft_waitgroup_wait(&work.group, WEFT_NEVER), 0);
            for (int i = 0; i < TASKS; i++)
                expect_is(work.done[i], again + 1);
            if (again == 2)
                expect_is(weft_waitgroup_deinit(&work.group), 0);
            for (int i = 0; i < TASKS; i++)
                join(tasks[i]);
        }
    }
    return arg;
}

static void test_all_parts_are_done(void **state)
{
    (void)state;
    run(divide);
}

static void *await(void *arg)
{
    struct work *work = arg;

    expect_is(weft_waitgroup_wait(&work->group, WEFT_NEVER), 0);
    for (int i = 0; i < TASKS; i++)
        expect_is(work->done[i], 1);
    return NULL;
}

static void test_tasks_and_threads(void **state)
{
    (void)state;
    for (int round = 0; round < scaled(100); round++) {
        struct work work = {.group = WEFT_WAITGROUP_INIT("mixed")};
        weft_runtime *runtime = start_with(2);
        pthread_t threads[TASKS / 2 + 2];
        weft_task tasks[TASKS / 2 + 2];
        assert_int_equal(weft_waitgroup_add(&work.group, TASKS), 0);
        for (int i = 0; i < TASKS / 2 + 2; i++) {
            weft_task_fn *fn = i < 2 ? await : do_part;
            threads[i] = start_thread(fn, &work);
            tasks[i] = spawn_on(runtime, fn, &work);
        }
        await(&work);
        for (int i = 0; i < TASKS / 2 + 2; i++) {
            join_thread(threads[i]);
            join(tasks[i]);
        }
        assert_int_equal(weft_waitgroup_deinit(&work.group), 0);
        assert_int_equal(weft_runtime_free(runtime), 0);
    }
}

// ---- Giving up. ----

static void *give_up(void *arg)
{
    struct work work = {.group = WEFT_WAITGROUP_INIT("slow")};

    expect_is(weft_waitgroup_wait(&work.group, 0), 0); // nothing is under way
    expect_is(weft_waitgroup_add(&work.group, 2), 0);
    expect_is(weft_waitgroup_wait(&work.group, 0), -ETIMEDOUT);
    int64_t until = weft_time_after(2 * MS);
    expect_is(weft_waitgroup_wait(&work.group, until), -ETIMEDOUT);
    expect(weft_time_now() >= until);
    for (int i = 0; i < TASKS; i++)
        work.done[i] = 1;
    weft_task canceled = spawn(await, &work);
    until_waiting(canceled, WEFT_WAIT_WAITGROUP);
    expect_is(weft_waitgroup_deinit(&work.group), -EBUSY);
    weft_task patient = spawn(await, &work);
    until_waiting(patient, WEFT_WAIT_WAITGROUP);
    expect_is(weft_waitgroup_done(&work.group), 0);
    expect_is(weft_waitgroup_deinit(&work.group), -EBUSY);
    expect_is(weft_waitgroup_done(&work.group), 0);
    expect_is(weft_task_cancel(canceled), 0); // too late: all is done
    join(canceled);
    join(patient);
    expect_is(weft_waitgroup_done(&work.group), -EINVAL);
    expect_is(weft_waitgroup_deinit(&work.group), 0);
    return arg;
}

static void test_waiters_give_up(void **state)
{
    (void)state;
    run(give_up);
}

// Cancels and deadlines while the last parts are done.
static void *await_somehow(void *arg)
{
    struct work *work = arg;
    uint64_t chance = (uintptr_t)&chance;
    int64_t until = weft_time_after(random_below(&chance, 30000));
    int error = weft_waitgroup_wait(&work->group, until);

    expect(error == 0 || error == -ETIMEDOUT || error == -ECANCELED);
    return NULL;
}

static void *hurry(void *arg)
{
    for (int round = 0; round < scaled(200); round++) {
        struct work work = {.group = WEFT_WAITGROUP_INIT("hasty")};
        weft_task waiters[4];
        weft_task doers[TASKS];
        expect_is(weft_waitgroup_add(&work.group, TASKS), 0);
        for (int i = 0; i < 4; i++)
            waiters[i] = spawn(await_somehow, &work);
        for (int i = 0; i < TASKS; i++)
            doers[i] = spawn(do_part, &work);
        expect_is(weft_task_cancel(waiters[0]), 0);
        expect_is(weft_waitgroup_wait(&work.group, WEFT_NEVER), 0);
        for (int i = 0; i < TASKS; i++)
            expect_is(work.done[i], 1);
        for (int i = 0; i < 4; i++)
            join(waiters[i]);
        for (int i = 0; i < TASKS; i++)
            join(doers[i]);
        expect_is(weft_waitgroup_deinit(&work.group), 0);
    }
    return arg;
}

static void test_giving_up_under_way(void **state)
{
    (void)state;
    run(hurry);
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    static weft_waitgroup zero;

    for (int i = 0; i < 2; i++) {
        weft_waitgroup *none = i == 0 ? NULL : &zero;
        assert_int_equal(weft_waitgroup_add(none, 1), -EINVAL);
        assert_int_equal(weft_waitgroup_done(none), -EINVAL);
        assert_int_equal(weft_waitgroup_wait(none, 0), -EINVAL);
        assert_int_equal(weft_waitgroup_deinit(none), -EINVAL);
    }
    assert_int_equal(weft_waitgroup_init(NULL, "none"), -EINVAL);
    assert_int_equal(weft_waitgroup_init(&zero, "misused"), 0);
    assert_int_equal(weft_waitgroup_done(&zero), -EINVAL);
    assert_int_equal(weft_waitgroup_add(&zero, INT32_MAX), 0);
    assert_int_equal(weft_waitgroup_add(&zero, 1), -EOVERFLOW);
    assert_int_equal(weft_waitgroup_done(&zero), 0);
    assert_int_equal(weft_waitgroup_add(&zero, 1), 0);
    assert_int_equal(weft_waitgroup_deinit(&zero), -EBUSY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_parts_are_done),
        cmocka_unit_test(test_tasks_and_threads),
        cmocka_unit_test(test_waiters_give_up),
        cmocka_unit_test(test_giving_up_under_way),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
