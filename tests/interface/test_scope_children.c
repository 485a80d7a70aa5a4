// test_scope_children.c -- A scope's children: how many at once, their results,
// the first to fail, the next to end.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

#define MS WEFT_MILLISECOND

static void enter(weft_scope *scope, weft_scope_options options,
                  int64_t deadline_ns)
{
    options.size = sizeof options;
    expect_is(weft_scope_enter_with(scope, &options, deadline_ns), 0);
}

#define ENTER(scope, ...)                                                      \
    enter(scope, (weft_scope_options){__VA_ARGS__}, WEFT_NEVER)

static weft_task start_in(weft_scope *scope, weft_task_fn *fn, void *arg)
{
    weft_task task;

    expect_is(weft_scope_spawn(scope, NULL, fn, arg, &task), 0);
    return task;
}

static void *sleep_for_ever(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)weft_task_sleep(WEFT_NEVER);
}

static void *give_back(void *arg)
{
    return arg;
}

static void *fail_with(intptr_t error)
{
    return (void *)error;
}

static void *wait_for_event(void *arg)
{
    return (void *)(intptr_t)weft_event_wait(arg, WEFT_NEVER);
}

// ---- How many at once. ----

struct crowd {
    weft_scope scope;
    atomic_int now;
    atomic_int most;
    atomic_int ended;
};

static void *be_in_the_crowd(void *arg)
{
    struct crowd *crowd = arg;
    int now = atomic_fetch_add(&crowd->now, 1) + 1;
    int most = atomic_load(&crowd->most);

    while (most < now &&
           !atomic_compare_exchange_weak(&crowd->most, &most, now))
        continue;
    for (int i = 0; i < 3; i++)
        (void)weft_task_yield();
    (void)atomic_fetch_sub(&crowd->now, 1);
    (void)atomic_fetch_add(&crowd->ended, 1);
    return NULL;
}

static void *let_in_three(void *arg)
{
    int all = scaled(300);
    struct crowd crowd = {.now = 0};

    ENTER(&crowd.scope, .limit = 3);
    for (int i = 0; i < all; i++)
        start_in(&crowd.scope, be_in_the_crowd, &crowd);
    expect_is(weft_scope_leave(&crowd.scope), 0);
    expect_is(crowd.ended, all);
    expect(crowd.most <= 3);
    return arg;
}

static void test_a_limit_holds(void **state)
{
    (void)state;
    run(let_in_three);
}

// Several children start further ones: all wait in one queue.
static void *start_five(void *arg)
{
    struct crowd *crowd = arg;

    for (int i = 0; i < 5; i++) {
        int error =
            weft_scope_spawn(&crowd->scope, NULL, be_in_the_crowd, crowd, NULL);
        if (error == -EDEADLK) // the others wait, too: so we do it ourselves
            (void)be_in_the_crowd(crowd);
        else
            expect_is(error, 0);
    }
    return NULL;
}

static void *let_children_start(void *arg)
{
    for (int i = 0; i < scaled(50); i++) {
        struct crowd crowd = {.now = 0};
        ENTER(&crowd.scope, .limit = 4);
        for (int j = 0; j < 6; j++)
            start_in(&crowd.scope, start_five, &crowd);
        expect_is(weft_scope_leave(&crowd.scope), 0);
        expect_is(crowd.ended, 30);
        expect(crowd.most <= 4);
    }
    return arg;
}

static void test_children_wait_for_a_place_too(void **state)
{
    (void)state;
    run(let_children_start);
}

// A full scope: what each way of waiting for a place says.
struct full {
    weft_scope scope;
    weft_event go;
    int error;
};

static void *start_one_more(void *arg)
{
    struct full *full = arg;

    full->error = weft_scope_spawn(&full->scope, NULL, give_back, NULL, NULL);
    return NULL;
}

static void fill(struct full *full, uint32_t limit, int64_t deadline_ns)
{
    full->error = 1;
    expect_is(weft_event_init(&full->go, "go"), 0);
    enter(&full->scope, (weft_scope_options){.limit = limit}, deadline_ns);
    for (uint32_t i = 0; i < limit; i++)
        start_in(&full->scope, wait_for_event, &full->go);
}

static void *try_the_full(void *arg)
{
    struct full full;
    int tried;

    fill(&full, 2, WEFT_NEVER);
    expect_is(weft_scope_try_spawn(&full.scope, NULL, give_back, NULL, NULL),
              -EBUSY);
    expect_is(weft_event_set(&full.go), 0);
    while ((tried = weft_scope_try_spawn(&full.scope, NULL, give_back, NULL,
                                         NULL)) == -EBUSY)
        (void)weft_task_yield();
    expect_is(tried, 0);
    expect_is(weft_scope_leave(&full.scope), 0);
    return arg;
}

static void *wait_at_the_full(void *arg)
{
    struct full full;
    weft_scope inner;

    fill(&full, 1, WEFT_NEVER);
    expect_is(weft_scope_enter(&inner, weft_time_after(MS)), 0);
    expect_is(weft_scope_spawn(&full.scope, NULL, give_back, NULL, NULL),
              -ETIMEDOUT);
    expect_is(weft_scope_leave(&inner), 0);
    expect_is(weft_event_set(&full.go), 0);
    start_in(&full.scope, give_back, NULL); // no place was lost
    expect_is(weft_scope_leave(&full.scope), 0);

    fill(&full, 1, weft_time_after(MS)); // of the scope itself
    expect_is(weft_scope_spawn(&full.scope, NULL, give_back, NULL, NULL),
              -ETIMEDOUT);
    int error = weft_scope_leave(&full.scope);
    expect(error == 0 || error == -ETIMEDOUT);
    return arg;
}

static void *spawn_in_full(void *arg)
{
    struct full full;

    fill(&full, 1, WEFT_NEVER);
    int error = weft_scope_spawn(&full.scope, NULL, give_back, arg, NULL);
    expect_is(weft_scope_leave(&full.scope), -ECANCELED);
    return (void *)(intptr_t)error;
}

static void *cancel_one_who_waits(void *arg)
{
    weft_task task = spawn(spawn_in_full, arg);

    until_waiting(task, WEFT_WAIT_SCOPE_SPAWN);
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), -ECANCELED);
    return arg;
}

// The scope is canceled: who waits for a place in it, behind whatever shield,
// will have none.
static void *start_shielded(void *arg)
{
    struct full *full = arg;
    weft_scope shield;

    ENTER(&shield, .shield = true);
    start_one_more(arg);
    expect_is(weft_scope_leave(&shield), 0);
    expect_is(weft_task_yield(), -ECANCELED);
    return full;
}

static void *cancel_behind_a_shield(void *arg)
{
    struct full full = {.error = 1};

    expect_is(weft_event_init(&full.go, "go"), 0);
    ENTER(&full.scope, .limit = 2);
    start_in(&full.scope, wait_for_event, &full.go);
    weft_task task = start_in(&full.scope, start_shielded, &full);
    until_waiting(task, WEFT_WAIT_SCOPE_SPAWN);
    expect_is(weft_scope_cancel(&full.scope), 0);
    expect_is(weft_scope_leave(&full.scope), -ECANCELED);
    expect_is(full.error, -ECANCELED);
    return arg;
}

// A place that a spawn could not use goes to the next in line.
static void *fail_to_spawn(void *arg)
{
    struct full full;
    weft_task_options options = {.size = sizeof options, .stack_size = 1};

    fill(&full, 1, WEFT_NEVER);
    expect_is(weft_event_set(&full.go), 0);
    for (int i = 0; i < 3; i++)
        expect_is(
            weft_scope_spawn(&full.scope, &options, give_back, NULL, NULL),
            -EINVAL);
    start_in(&full.scope, give_back, NULL);
    expect_is(weft_scope_leave(&full.scope), 0);
    return arg;
}

// Nobody could ever end.
static void *fill_up_itself(void *arg)
{
    struct full full = {.error = 1};

    ENTER(&full.scope, .limit = 1);
    start_in(&full.scope, start_one_more, &full);
    expect_is(weft_scope_leave(&full.scope), 0);
    expect_is(full.error, -EDEADLK);
    return arg;
}

static void test_a_full_scope(void **state)
{
    (void)state;
    run(try_the_full);
    run(wait_at_the_full);
    run(cancel_one_who_waits);
    run(cancel_behind_a_shield);
    run(fail_to_spawn);
    run(fill_up_itself);
}

// ---- Results. ----

static void *square(void *arg)
{
    intptr_t number = (intptr_t)arg;

    (void)weft_task_yield();
    return number % 7 == 3 ? fail_with(-EDOM) : (void *)(number * number);
}

// Each result in its own place, errors among them.
static void *gather(void *arg)
{
    enum { COUNT = 100 };
    void *results[COUNT];
    weft_scope scope;

    ENTER(&scope, .limit = 10);
    for (intptr_t i = 0; i < COUNT; i++) {
        weft_task_options options = {.size = sizeof options,
                                     .ret_result = &results[i]};
        expect_is(weft_scope_spawn(&scope, &options, square, (void *)i, NULL),
                  0);
    }
    expect_is(weft_scope_leave(&scope), 0); // errors are the caller's to judge
    for (intptr_t i = 0; i < COUNT; i++) {
        expect_is(weft_result_error(results[i]), i % 7 == 3 ? -EDOM : 0);
        if (i % 7 != 3)
            expect_is((intptr_t)results[i], i * i);
    }
    return arg;
}

static void test_results_are_gathered(void **state)
{
    (void)state;
    run(gather);
}

static void test_what_an_error_is(void **state)
{
    (void)state;
    assert_int_equal(weft_result_error(fail_with(-1)), -1);
    assert_int_equal(weft_result_error(fail_with(-4095)), -4095);
    assert_int_equal(weft_result_error(fail_with(-4096)), 0);
    assert_int_equal(weft_result_error(NULL), 0);
    assert_int_equal(weft_result_error(state), 0);
}

// ---- The first to fail. ----

static void *fail_late(void *arg)
{
    (void)weft_task_yield();
    return fail_with((intptr_t)arg);
}

static void *fail_fast(void *arg)
{
    for (int i = 0; i < scaled(100); i++) {
        weft_scope scope;
        ENTER(&scope, .fail_fast = true);
        for (int j = 0; j < 5; j++)
            start_in(&scope, sleep_for_ever, NULL);
        start_in(&scope, fail_late, (void *)-EDOM);
        if (i % 2 == 0) // the caller is told as well
            expect_is(weft_task_sleep(WEFT_NEVER), -ECANCELED);
        expect_is(weft_scope_leave(&scope), -EDOM);
        expect_is(weft_task_sleep(0), 0);
    }
    return arg;
}

// The first error counts; being canceled is none, nor is any other result.
static void *fail_twice(void *arg)
{
    weft_scope scope;
    weft_task task;

    ENTER(&scope, .fail_fast = true);
    task = start_in(&scope, sleep_for_ever, NULL);
    start_in(&scope, give_back, arg);
    expect_is(weft_task_cancel(task), 0);
    expect_is(weft_scope_leave(&scope), 0);

    ENTER(&scope, .fail_fast = true, .limit = 1);
    start_in(&scope, fail_late, (void *)-EDOM);
    int error =
        weft_scope_spawn(&scope, NULL, fail_late, (void *)-ERANGE, NULL);
    expect_is(error, -ECANCELED);
    expect_is(weft_scope_leave(&scope), -EDOM);
    return arg;
}

static void test_the_first_to_fail_ends_the_others(void **state)
{
    (void)state;
    run(fail_fast);
    run(fail_twice);
}

// ---- The next to end. ----

static void *take_each(void *arg)
{
    enum { COUNT = 20 };
    weft_task tasks[COUNT];
    bool seen[COUNT] = {false};
    weft_scope_child child;
    weft_scope scope;

    ENTER(&scope, .keep = true);
    expect_is(weft_scope_next(&scope, WEFT_NEVER, &child), -ENOENT);
    for (intptr_t i = 0; i < COUNT; i++)
        tasks[i] = start_in(&scope, give_back, (void *)i);
    for (int i = 0; i < COUNT; i++) {
        expect_is(weft_scope_next(&scope, WEFT_NEVER, &child), 0);
        intptr_t which = (intptr_t)child.result;
        expect(which >= 0 && which < COUNT && !seen[which]);
        expect_is(child.task.id, tasks[which].id);
        seen[which] = true;
    }
    expect_is(weft_scope_next(&scope, WEFT_NEVER, &child), -ENOENT);
    expect_is(weft_task_join(tasks[0], 0, NULL), -ESRCH);
    expect_is(weft_scope_leave(&scope), 0);
    return arg;
}

static void *take_in_order(void *arg)
{
    weft_event go[3];
    weft_scope_child child;
    weft_scope scope;

    ENTER(&scope, .keep = true);
    for (int i = 0; i < 3; i++) {
        expect_is(weft_event_init(&go[i], NULL), 0);
        start_in(&scope, wait_for_event, &go[i]);
    }
    expect_is(weft_scope_next(&scope, 0, &child), -ETIMEDOUT);
    expect_is(weft_scope_next(&scope, weft_time_after(MS), &child), -ETIMEDOUT);
    for (int i = 2; i >= 0; i--) {
        expect_is(weft_event_set(&go[i]), 0);
        expect_is(weft_scope_next(&scope, WEFT_NEVER, &child), 0);
        expect_is((intptr_t)child.result, 0);
    }
    expect_is(weft_scope_leave(&scope), 0);
    return arg;
}

// What has ended is told of, to one who is canceled too; what has not is waited
// for behind a shield. The rest goes when the scope is left.
static void *take_when_canceled(void *arg)
{
    weft_scope_child child;
    weft_scope scope;
    weft_scope shield;

    ENTER(&scope, .keep = true);
    start_in(&scope, give_back, arg);
    expect_is(weft_scope_next(&scope, WEFT_NEVER, &child), 0);
    for (int i = 0; i < 3; i++)
        start_in(&scope, sleep_for_ever, NULL);
    expect_is(weft_scope_cancel(&scope), 0);
    ENTER(&shield, .shield = true);
    for (int i = 0; i < 2; i++) {
        expect_is(weft_scope_next(&scope, WEFT_NEVER, &child), 0);
        expect_is(weft_result_error(child.result), -ECANCELED);
    }
    expect_is(weft_scope_leave(&shield), 0);
    expect_is(weft_scope_leave(&scope), -ECANCELED);
    return arg;
}

static void *cancel_while_it_takes(void *arg)
{
    weft_scope_child child;
    weft_scope scope;

    ENTER(&scope, .keep = true);
    start_in(&scope, sleep_for_ever, arg);
    int error = weft_scope_next(&scope, WEFT_NEVER, &child);
    expect_is(weft_scope_leave(&scope), -ECANCELED);
    return (void *)(intptr_t)error;
}

static void *cancel_one_who_takes(void *arg)
{
    weft_task task = spawn(cancel_while_it_takes, arg);

    until_waiting(task, WEFT_WAIT_SCOPE_NEXT);
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), -ECANCELED);
    return arg;
}

// The one that failed is told of first, then that all are canceled.
static void *take_the_failed(void *arg)
{
    weft_scope_child child;
    weft_scope scope;

    ENTER(&scope, .keep = true, .fail_fast = true);
    weft_task last = start_in(&scope, sleep_for_ever, arg);
    weft_task bad = start_in(&scope, fail_late, (void *)-EDOM);
    expect_is(weft_scope_next(&scope, WEFT_NEVER, &child), 0);
    expect_is(child.task.id, bad.id);
    expect_is(weft_result_error(child.result), -EDOM);
    while (weft_scope_next(&scope, WEFT_NEVER, &child) == -ECANCELED)
        (void)weft_task_yield();
    expect_is(child.task.id, last.id);
    expect_is(weft_scope_leave(&scope), -EDOM);
    return arg;
}

static void test_the_next_to_end(void **state)
{
    (void)state;
    run(take_each);
    run(take_in_order);
    run(take_when_canceled);
    run(cancel_one_who_takes);
    run(take_the_failed);
}

// ---- The same in a select. ----

static void *choose(void *arg)
{
    weft_channel *channel;
    weft_scope_child child;
    weft_scope scope;
    int number = 0;

    expect_is(weft_channel_new(sizeof(int), 1, NULL, &channel), 0);
    ENTER(&scope, .keep = true);
    weft_clause clauses[] = {
        weft_clause_next(&scope, &child),
        weft_clause_recv(channel, &number),
    };
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 0);
    expect_is(clauses[0].result, -ENOENT);
    weft_task sleeper = start_in(&scope, sleep_for_ever, NULL);
    expect_is(weft_select(clauses, 2, weft_time_after(MS)), -ETIMEDOUT);
    expect_is(weft_channel_send(channel, &(int){7}, WEFT_NEVER), 0);
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 1);
    expect_is(number, 7);
    start_in(&scope, give_back, &scope);
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 0);
    expect_is(clauses[0].result, 0);
    expect(child.result == &scope);
    expect_is(weft_task_cancel(sleeper), 0);
    expect_is(weft_select(clauses, 1, WEFT_NEVER), 0);
    expect_is(child.task.id, sleeper.id);
    expect_is(weft_result_error(child.result), -ECANCELED);
    expect_is(weft_scope_leave(&scope), 0);
    expect_is(weft_channel_free(channel), 0);
    return arg;
}

static void test_the_next_is_a_clause(void **state)
{
    (void)state;
    run(choose);
}

// ---- Misuse. ----

struct owned {
    weft_scope scope;
    int next;
    int chosen;
};

static void *meddle(void *arg)
{
    struct owned *owned = arg;
    weft_scope_child child;
    weft_clause clause = weft_clause_next(&owned->scope, &child);

    owned->next = weft_scope_next(&owned->scope, 0, &child);
    owned->chosen = weft_select(&clause, 1, 0);
    return NULL;
}

static void *misuse(void *arg)
{
    struct owned owned;
    weft_scope plain;
    weft_scope zero = {{0}};
    weft_scope_child child;
    weft_scope_options options = {.size = 1};
    weft_task_options of_task = {.size = sizeof of_task, .ret_result = &arg};
    weft_clause clause = weft_clause_next(&plain, &child);

    expect_is(weft_scope_enter_with(NULL, NULL, WEFT_NEVER), -EINVAL);
    expect_is(weft_scope_enter_with(&plain, &options, WEFT_NEVER), -EINVAL);
    expect_is(weft_scope_enter_with(&plain, NULL, WEFT_NEVER), 0);
    expect_is(weft_scope_next(NULL, 0, &child), -EINVAL);
    expect_is(weft_scope_next(&zero, 0, &child), -EINVAL);
    expect_is(weft_scope_next(&plain, 0, &child), -EINVAL);
    expect_is(weft_select(&clause, 1, 0), -EINVAL);
    expect_is(weft_scope_leave(&plain), 0);
    expect_is(weft_select(&clause, 1, 0), -EINVAL);

    ENTER(&owned.scope, .keep = true);
    expect_is(weft_scope_next(&owned.scope, 0, NULL), -EINVAL);
    clause = weft_clause_next(&owned.scope, NULL);
    expect_is(weft_select(&clause, 1, 0), -EINVAL);
    start_in(&owned.scope, meddle, &owned);
    expect_is(weft_scope_next(&owned.scope, WEFT_NEVER, &child), 0);
    expect_is(owned.next, -EPERM);
    expect_is(owned.chosen, -EPERM);
    expect_is(weft_scope_try_spawn(NULL, NULL, give_back, NULL, NULL), -EINVAL);
    expect_is(weft_scope_leave(&owned.scope), 0);

    // A place for a result is for a scope's child alone.
    expect_is(weft_task_spawn(&of_task, give_back, NULL, NULL), -EINVAL);
    return arg;
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    run(misuse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_limit_holds),
        cmocka_unit_test(test_children_wait_for_a_place_too),
        cmocka_unit_test(test_a_full_scope),
        cmocka_unit_test(test_results_are_gathered),
        cmocka_unit_test(test_what_an_error_is),
        cmocka_unit_test(test_the_first_to_fail_ends_the_others),
        cmocka_unit_test(test_the_next_to_end),
        cmocka_unit_test(test_the_next_is_a_clause),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
