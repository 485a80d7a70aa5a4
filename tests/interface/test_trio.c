// test_trio.c -- What Trio's tests of cancelling and nurseries assert, said of
// scopes: those parts that no other test asserts. doc/semantics.md lists all.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

#define MS WEFT_MILLISECOND

static int64_t soon(void)
{
    return weft_time_after(MS);
}

static void *sleep_for_ever(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)weft_task_sleep(WEFT_NEVER);
}

static void start_in(weft_scope *scope, weft_task_fn *fn, void *arg)
{
    expect_is(weft_scope_spawn(scope, NULL, fn, arg, NULL), 0);
}

// ---- Deadlines. ----

// A scope left in time is never cancelled; a later deadline means nothing.
static void *leave_in_time(void *arg)
{
    weft_scope scope;
    int64_t deadline = soon();

    expect_is(weft_scope_enter(&scope, deadline), 0);
    int error = weft_scope_leave(&scope);
    expect_is(error, 0); // no child: the deadline is nobody's
    expect_is(weft_task_sleep(deadline + MS), 0);
    expect_is(weft_task_yield(), 0);
    return arg;
}

// Going on after a time: whatever is being done, and for how long it would.
static void *move_on(void *arg)
{
    weft_scope scope;
    int64_t deadline = soon();

    expect_is(weft_scope_enter(&scope, deadline), 0);
    expect_is(weft_task_sleep(weft_time_after(3600 * WEFT_SECOND)), -ETIMEDOUT);
    expect(weft_time_now() >= deadline);
    expect_is(weft_task_sleep(WEFT_NEVER), -ETIMEDOUT); // again and again
    expect_is(weft_scope_leave(&scope), 0);
    expect_is(weft_task_sleep(0), 0);
    return arg;
}

// One who only yields is told as well.
static void *yield_until(void *arg)
{
    weft_scope scope;
    int64_t deadline = soon();
    int error;

    expect_is(weft_scope_enter(&scope, deadline), 0);
    while ((error = weft_task_yield()) == 0)
        continue;
    expect_is(error, -ETIMEDOUT);
    expect(weft_time_now() >= deadline);
    expect_is(weft_scope_leave(&scope), 0);
    return arg;
}

// A delay below nothing is none; a deadline in the past has passed.
static void *be_negative(void *arg)
{
    weft_scope scope;

    expect(weft_time_after(-1) <= weft_time_now());
    expect_is(weft_scope_enter(&scope, -1), 0);
    expect_is(weft_task_sleep(WEFT_NEVER), -ETIMEDOUT);
    expect_is(weft_task_yield(), -ETIMEDOUT);
    expect_is(weft_scope_leave(&scope), 0);
    return arg;
}

static void test_timeouts(void **state)
{
    (void)state;
    run(leave_in_time);
    run(move_on);
    run(yield_until);
    run(be_negative);
}

// ---- What cannot be ended goes on, and the next call is told. ----

struct stubborn {
    weft_scope *scope;
    int result;
    int after;
};

static void *cancel_scope(void *arg)
{
    const struct stubborn *stubborn = arg;

    return (void *)(intptr_t)weft_scope_cancel(stubborn->scope);
}

static void *block_in_vain(void *arg)
{
    struct stubborn *stubborn = arg;
    void *result = NULL;

    // Cancels its own scope from another thread while it waits for that.
    stubborn->result = weft_blocking_run(cancel_scope, arg, &result);
    expect_is((intptr_t)result, 0);
    stubborn->after = weft_task_sleep(WEFT_NEVER);
    return NULL;
}

static void *be_stubborn(void *arg)
{
    weft_scope scope;
    struct stubborn stubborn = {&scope, 1, 1};

    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
    start_in(&scope, block_in_vain, &stubborn);
    expect_is(weft_scope_leave(&scope), -ECANCELED);
    expect_is(stubborn.result, 0);
    expect_is(stubborn.after, -ECANCELED);
    return arg;
}

static void test_what_cannot_be_ended(void **state)
{
    (void)state;
    run(be_stubborn);
}

// ---- Nurseries. ----

// Entering and leaving is no point at which a cancel is told.
static void *enter_when_canceled(void *arg)
{
    weft_scope outer;
    weft_scope inner;

    expect_is(weft_scope_enter(&outer, WEFT_NEVER), 0);
    expect_is(weft_scope_cancel(&outer), 0);
    expect_is(weft_scope_enter(&inner, WEFT_NEVER), 0);
    expect_is(weft_scope_leave(&inner), 0);
    expect_is(weft_scope_leave(&outer), -ECANCELED);
    return arg;
}

// A child that is started while the scope around is canceled begins, and is
// told at its first call.
static void *note_and_block(void *arg)
{
    int *ret_error = arg;

    *ret_error = weft_task_sleep(WEFT_NEVER);
    return NULL;
}

static void *start_when_canceled(void *arg)
{
    weft_scope outer;
    weft_scope inner;
    int error = 1;

    expect_is(weft_scope_enter(&outer, WEFT_NEVER), 0);
    expect_is(weft_scope_cancel(&outer), 0);
    expect_is(weft_scope_enter(&inner, WEFT_NEVER), 0);
    start_in(&inner, note_and_block, &error);
    expect_is(weft_scope_leave(&inner), -ECANCELED);
    expect_is(error, -ECANCELED);
    expect_is(weft_scope_leave(&outer), -ECANCELED);
    return arg;
}

// All the way down, though nobody on the way is waiting for children yet.
struct tree {
    weft_event never;
    atomic_int told;
};

static void *wait_as_leaf(void *arg)
{
    struct tree *tree = arg;

    if (weft_event_wait(&tree->never, WEFT_NEVER) == -ECANCELED)
        (void)atomic_fetch_add(&tree->told, 1);
    return NULL;
}

static void *wait_as_branch(void *arg)
{
    struct tree *tree = arg;
    weft_scope scope;

    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
    for (int i = 0; i < 2; i++)
        start_in(&scope, wait_as_leaf, tree);
    expect_is(weft_event_wait(&tree->never, WEFT_NEVER), -ECANCELED);
    expect_is(weft_scope_leave(&scope), -ECANCELED);
    (void)atomic_fetch_add(&tree->told, 1);
    return NULL;
}

static void *cancel_a_tree(void *arg)
{
    struct tree tree = {.told = 0};
    weft_scope scope;

    expect_is(weft_event_init(&tree.never, "never"), 0);
    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
    for (int i = 0; i < 3; i++)
        start_in(&scope, wait_as_branch, &tree);
    for (int i = 0; i < 5; i++)
        (void)weft_task_yield();
    expect_is(weft_scope_cancel(&scope), 0);
    expect_is(weft_scope_leave(&scope), -ECANCELED);
    expect_is(tree.told, 9);
    expect_is(weft_event_deinit(&tree.never), 0);
    return arg;
}

// The scope is being left: children still start others; then it is closed.
struct late {
    weft_scope scope;
    weft_task owner;
    atomic_int ended;
};

static void *end_late(void *arg)
{
    struct late *late = arg;

    (void)atomic_fetch_add(&late->ended, 1);
    return NULL;
}

static void *start_late(void *arg)
{
    struct late *late = arg;

    until_waiting(late->owner, WEFT_WAIT_SCOPE);
    start_in(&late->scope, end_late, late);
    return NULL;
}

static void *close_a_scope(void *arg)
{
    struct late late = {.owner = weft_task_self()};

    expect_is(weft_scope_enter(&late.scope, WEFT_NEVER), 0);
    start_in(&late.scope, start_late, &late);
    expect_is(weft_scope_leave(&late.scope), 0);
    expect_is(late.ended, 1);
    expect_is(weft_scope_spawn(&late.scope, NULL, end_late, &late, NULL),
              -EINVAL);
    expect_is(weft_scope_cancel(&late.scope), -EINVAL);
    return arg;
}

// The caller and a child both fail: the caller knows the one, and is told the
// other.
static void *fail_so(void *arg)
{
    return arg;
}

static void *fail_both(void *arg)
{
    weft_scope_options options = {.size = sizeof options, .fail_fast = true};
    weft_scope scope;

    expect_is(weft_scope_enter_with(&scope, &options, WEFT_NEVER), 0);
    start_in(&scope, fail_so, (void *)(intptr_t)-EDOM);
    start_in(&scope, sleep_for_ever, NULL);
    expect_is(weft_scope_cancel(&scope), 0); // ours, perhaps before its own
    expect_is(weft_scope_leave(&scope), -EDOM);
    return arg;
}

// Two children fail: each error is to be had.
static void *fail_twice(void *arg)
{
    weft_scope_options options = {.size = sizeof options, .fail_fast = true};
    void *results[2] = {NULL, NULL};
    weft_scope scope;

    expect_is(weft_scope_enter_with(&scope, &options, WEFT_NEVER), 0);
    for (intptr_t i = 0; i < 2; i++) {
        weft_task_options of_task = {.size = sizeof of_task,
                                     .ret_result = &results[i]};
        expect_is(weft_scope_spawn(&scope, &of_task, fail_so,
                                   (void *)(intptr_t)(i == 0 ? -EDOM : -ERANGE),
                                   NULL),
                  0);
    }
    int error = weft_scope_leave(&scope);
    expect(error == -EDOM || error == -ERANGE); // whichever was first
    expect_is(weft_result_error(results[0]), -EDOM);
    expect_is(weft_result_error(results[1]), -ERANGE);
    return arg;
}

static void test_nurseries(void **state)
{
    (void)state;
    run(enter_when_canceled);
    run(start_when_canceled);
    run(cancel_a_tree);
    run(close_a_scope);
    run(fail_both);
}

static void test_two_that_fail(void **state)
{
    (void)state;
    run_with(1, fail_twice, NULL); // both are started before one has run
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_what_cannot_be_ended),
        cmocka_unit_test(test_nurseries),
        cmocka_unit_test(test_two_that_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
