// test_once.c -- Once: one runs it, the others wait; failures, recursion.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"
#include "support/threads.h"

#define MS WEFT_MILLISECOND

struct thing {
    weft_once once;
    int failures; // plain, as what follows: only who runs it touches them
    int calls;
    int inside;
    long made;
    weft_event *go; // what the function waits for, or NULL
};

static int make(void *arg)
{
    struct thing *thing = arg;

    thing->calls++;
    expect_is(thing->inside++, 0);
    if (thing->go != NULL)
        expect_is(weft_event_wait(thing->go, WEFT_NEVER), 0);
    else
        (void)weft_task_yield();
    expect_is(--thing->inside, 0);
    if (thing->failures > 0) {
        thing->failures--;
        return -EIO;
    }
    thing->made = 42;
    return 0;
}

static void *need(void *arg)
{
    struct thing *thing = arg;
    int error = weft_once_run(&thing->once, make, thing, WEFT_NEVER);

    if (error == 0)
        expect_is(thing->made, 42);
    else
        expect(error == -EIO || error == -ECANCELED);
    return (void *)(intptr_t)(error == -EIO);
}

static void test_it_is_done_once(void **state)
{
    (void)state;
    for (int round = 0; round < scaled(100); round++) {
        struct thing thing = {.once = WEFT_ONCE_INIT("thing")};
        thing.failures = round % 4;
        int failures = thing.failures;
        assert_int_equal(run_mixed(1 + (unsigned)round % 4, 8, 3, need, &thing),
                         failures);
        assert_int_equal(thing.calls, failures + 1);
        assert_int_equal(weft_once_deinit(&thing.once), 0);
    }
}

static void *need_until(void *arg)
{
    struct thing *thing = arg;

    return (void *)(intptr_t)weft_once_run(&thing->once, make, thing,
                                           weft_time_after(2 * MS));
}

// One is at it; others give up, and do not stop it.
static void *give_up(void *arg)
{
    weft_event go = WEFT_EVENT_INIT("go");
    struct thing thing = {.once = WEFT_ONCE_INIT("slow"), .go = &go};
    weft_task runner = spawn(need, &thing);

    until_waiting(runner, WEFT_WAIT_EVENT);
    expect_is(weft_once_run(&thing.once, make, &thing, 0), -ETIMEDOUT);
    expect_is(join(spawn(need_until, &thing)), -ETIMEDOUT);
    weft_task canceled = spawn(need, &thing);
    weft_task patient = spawn(need, &thing);
    until_waiting(canceled, WEFT_WAIT_ONCE);
    until_waiting(patient, WEFT_WAIT_ONCE);
    expect_is(weft_once_deinit(&thing.once), -EBUSY);
    expect_is(weft_task_cancel(canceled), 0);
    join(canceled);
    expect_is(weft_event_set(&go), 0);
    join(runner);
    join(patient);
    expect_is(thing.calls, 1);
    expect_is(weft_once_run(&thing.once, make, &thing, 0), 0);
    expect_is(thing.calls, 1);
    expect_is(weft_once_deinit(&thing.once), 0);
    return arg;
}

static void test_waiters_give_up(void **state)
{
    (void)state;
    run(give_up);
}

// ---- Misuse. ----

static int run_it_again(void *arg)
{
    expect_is(weft_once_run(arg, run_it_again, arg, WEFT_NEVER), -EDEADLK);
    expect_is(weft_once_deinit(arg), -EBUSY);
    return 0;
}

static void *misuse(void *arg)
{
    static weft_once zero;
    weft_once once;

    for (int i = 0; i < 2; i++) {
        weft_once *none = i == 0 ? NULL : &zero;
        expect_is(weft_once_run(none, run_it_again, NULL, 0), -EINVAL);
        expect_is(weft_once_deinit(none), -EINVAL);
    }
    expect_is(weft_once_init(NULL, "none"), -EINVAL);
    expect_is(weft_once_init(&once, "misused"), 0);
    expect_is(weft_once_run(&once, NULL, NULL, 0), -EINVAL);
    expect_is(weft_once_run(&once, run_it_again, &once, 0), 0);
    expect_is(weft_once_deinit(&once), 0);
    return arg;
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    run_with(1, misuse, NULL);
    misuse(NULL); // a thread's turn
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_done_once),
        cmocka_unit_test(test_waiters_give_up),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
