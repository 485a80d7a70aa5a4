// test_shield.c -- What a cancel reaches: levels of scopes, and shields.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

#define MS WEFT_MILLISECOND

static const weft_scope_options shielded = {.size = sizeof shielded,
                                            .shield = true};

static void enter_shield(weft_scope *scope, int64_t deadline_ns)
{
    expect_is(weft_scope_enter_with(scope, &shielded, deadline_ns), 0);
}

static int64_t soon(void)
{
    return weft_time_after(MS);
}

// What each kind of call says of being canceled: -ECANCELED, or 0.
static int is_canceled(void)
{
    int slept = weft_task_sleep(0);
    int yielded = weft_task_yield();
    int chosen = weft_select(NULL, 0, 0);

    expect_is(yielded, slept);
    expect_is(chosen, slept == 0 ? -ETIMEDOUT : slept);
    return slept;
}

// ---- Levels. ----

// The innermost canceled scope counts, until it is left.
static void *cancel_from_inside_out(void *arg)
{
    weft_scope scopes[4];

    for (int i = 0; i < 4; i++)
        expect_is(weft_scope_enter(&scopes[i], WEFT_NEVER), 0);
    expect_is(weft_scope_cancel(&scopes[2]), 0);
    expect_is(is_canceled(), -ECANCELED);
    expect_is(weft_scope_leave(&scopes[3]), 0); // itself it was not
    expect_is(is_canceled(), -ECANCELED);
    expect_is(weft_scope_cancel(&scopes[0]), 0);
    expect_is(weft_scope_leave(&scopes[2]), -ECANCELED);
    expect_is(is_canceled(), -ECANCELED);
    expect_is(weft_scope_leave(&scopes[1]), 0);
    expect_is(is_canceled(), -ECANCELED);
    expect_is(weft_scope_leave(&scopes[0]), -ECANCELED);
    expect_is(is_canceled(), 0);
    return arg;
}

// Left before anything was waited for: nothing is left of it.
static void *cancel_for_nothing(void *arg)
{
    weft_scope scope;

    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
    expect_is(weft_scope_cancel(&scope), 0);
    expect_is(weft_scope_leave(&scope), -ECANCELED);
    expect_is(is_canceled(), 0);
    return arg;
}

// A task that is canceled as a whole stays so.
static void *cancel_itself(void *arg)
{
    weft_scope scope;

    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
    expect_is(weft_scope_cancel(&scope), 0);
    expect_is(weft_task_cancel(weft_task_self()), 0);
    expect_is(weft_scope_leave(&scope), -ECANCELED);
    expect_is(is_canceled(), -ECANCELED);
    return arg;
}

static void *in_a_task(void *arg)
{
    join(spawn(cancel_itself, arg));
    return arg;
}

static void test_the_level_of_a_cancel(void **state)
{
    (void)state;
    run(cancel_from_inside_out);
    run(cancel_for_nothing);
    run(in_a_task);
}

// A child cancels the scope, whose owner waits for something inside.
static void *cancel_scope(void *arg)
{
    expect_is(weft_scope_cancel(arg), 0);
    return NULL;
}

static void *be_told(void *arg)
{
    for (int i = 0; i < scaled(200); i++) {
        weft_scope scope;
        weft_event event;
        expect_is(weft_event_init(&event, NULL), 0);
        expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
        expect_is(weft_scope_spawn(&scope, NULL, cancel_scope, &scope, NULL),
                  0);
        expect_is(weft_event_wait(&event, WEFT_NEVER), -ECANCELED);
        expect_is(weft_scope_leave(&scope), -ECANCELED);
        expect_is(is_canceled(), 0);
        expect_is(weft_event_deinit(&event), 0);
    }
    return arg;
}

static void test_the_owner_is_told(void **state)
{
    (void)state;
    run(be_told);
}

// ---- Shields. ----

static void *be_shielded(void *arg)
{
    weft_scope outer;
    weft_scope shield;
    weft_scope inner;

    expect_is(weft_scope_enter(&outer, WEFT_NEVER), 0);
    expect_is(weft_scope_cancel(&outer), 0);
    expect_is(is_canceled(), -ECANCELED);
    enter_shield(&shield, WEFT_NEVER);
    expect_is(is_canceled(), 0);
    expect_is(weft_task_sleep(soon()), 0);
    expect_is(weft_scope_enter(&inner, WEFT_NEVER), 0); // inside it, as ever
    expect_is(is_canceled(), 0);
    expect_is(weft_scope_cancel(&inner), 0);
    expect_is(is_canceled(), -ECANCELED);
    expect_is(weft_scope_leave(&inner), -ECANCELED);
    expect_is(is_canceled(), 0);
    expect_is(weft_scope_leave(&shield), 0);
    expect_is(is_canceled(), -ECANCELED); // remembered
    expect_is(weft_scope_leave(&outer), -ECANCELED);
    expect_is(is_canceled(), 0);
    return arg;
}

// It does not keep out its own cancel.
static void *cancel_the_shield(void *arg)
{
    weft_scope outer;
    weft_scope shield;

    expect_is(weft_scope_enter(&outer, WEFT_NEVER), 0);
    enter_shield(&shield, WEFT_NEVER);
    expect_is(weft_scope_cancel(&outer), 0);
    expect_is(weft_scope_cancel(&shield), 0);
    expect_is(is_canceled(), -ECANCELED);
    expect_is(weft_scope_leave(&shield), -ECANCELED);
    expect_is(is_canceled(), -ECANCELED);
    expect_is(weft_scope_leave(&outer), -ECANCELED);
    expect_is(is_canceled(), 0);
    return arg;
}

// Shields in each other: what is between them is kept out of the inner one.
static void *nest_shields(void *arg)
{
    weft_scope outer;
    weft_scope between;
    weft_scope inner;

    enter_shield(&outer, WEFT_NEVER);
    expect_is(weft_scope_enter(&between, WEFT_NEVER), 0);
    enter_shield(&inner, WEFT_NEVER);
    expect_is(weft_scope_cancel(&between), 0);
    expect_is(is_canceled(), 0);
    expect_is(weft_scope_leave(&inner), 0);
    expect_is(is_canceled(), -ECANCELED);
    expect_is(weft_scope_leave(&between), -ECANCELED);
    expect_is(is_canceled(), 0);
    expect_is(weft_scope_leave(&outer), 0);
    return arg;
}

static void test_a_shield_keeps_cancels_out(void **state)
{
    (void)state;
    run(be_shielded);
    run(cancel_the_shield);
    run(nest_shields);
}

// Deadlines: the shield's own counts, no other; and none around it is later.
static void *be_late_shielded(void *arg)
{
    weft_scope outer;
    weft_scope shield;
    weft_scope inner;
    int64_t early = soon();

    expect_is(weft_scope_enter(&outer, early), 0);
    expect_is(weft_task_sleep(WEFT_NEVER), -ETIMEDOUT);
    enter_shield(&shield, WEFT_NEVER);
    expect_is(weft_task_sleep(soon()), 0);
    expect_is(weft_scope_enter(&inner, soon()), 0);
    expect_is(weft_task_sleep(WEFT_NEVER), -ETIMEDOUT);
    expect_is(weft_scope_leave(&inner), 0);
    expect_is(weft_scope_leave(&shield), 0);
    expect_is(weft_task_sleep(WEFT_NEVER), -ETIMEDOUT);
    enter_shield(&shield, soon());
    expect_is(weft_task_sleep(WEFT_NEVER), -ETIMEDOUT);
    expect_is(weft_scope_leave(&shield), 0);
    expect_is(weft_scope_leave(&outer), 0);
    return arg;
}

static void test_a_shield_keeps_deadlines_out(void **state)
{
    (void)state;
    run(be_late_shielded);
}

// A task that is canceled while it waits behind a shield goes on with that.
struct section {
    weft_event entered;
    weft_event finish;
    int inside;
    int after;
    int child;
};

static void *wait_for_the_end(void *arg)
{
    struct section *section = arg;

    section->child = weft_event_wait(&section->finish, WEFT_NEVER);
    return NULL;
}

static void *work_shielded(void *arg)
{
    struct section *section = arg;
    weft_scope shield;

    enter_shield(&shield, WEFT_NEVER);
    expect_is(weft_scope_spawn(&shield, NULL, wait_for_the_end, arg, NULL), 0);
    expect_is(weft_event_set(&section->entered), 0);
    section->inside = weft_event_wait(&section->finish, WEFT_NEVER);
    expect_is(weft_scope_leave(&shield), 0);
    section->after = weft_task_sleep(WEFT_NEVER);
    return NULL;
}

static void *cancel_a_section(void *arg)
{
    struct section section = {.inside = 1, .after = 1, .child = 1};

    expect_is(weft_event_init(&section.entered, "entered"), 0);
    expect_is(weft_event_init(&section.finish, "finish"), 0);
    weft_task task = spawn(work_shielded, &section);
    expect_is(weft_event_wait(&section.entered, WEFT_NEVER), 0);
    until_waiting(task, WEFT_WAIT_EVENT);
    expect_is(weft_task_cancel(task), 0);
    expect_is(weft_task_cancel(task), 0);
    for (int i = 0; i < 5; i++)
        (void)weft_task_yield();
    expect_is(weft_event_set(&section.finish), 0);
    expect_is(join(task), 0);
    expect_is(section.inside, 0);
    expect_is(section.after, -ECANCELED);
    expect_is(section.child, 0);
    return arg;
}

// The same as it leaves the shield: it waits for its children all the same.
static void *leave_shielded(void *arg)
{
    struct section *section = arg;
    weft_scope shield;

    enter_shield(&shield, WEFT_NEVER);
    expect_is(weft_scope_spawn(&shield, NULL, wait_for_the_end, arg, NULL), 0);
    section->inside = weft_scope_leave(&shield);
    section->after = weft_task_yield();
    return NULL;
}

static void *cancel_a_leaver(void *arg)
{
    struct section section = {.inside = 1, .after = 1, .child = 1};

    expect_is(weft_event_init(&section.finish, "finish"), 0);
    weft_task task = spawn(leave_shielded, &section);
    until_waiting(task, WEFT_WAIT_SCOPE);
    expect_is(weft_task_cancel(task), 0);
    expect_is(weft_event_set(&section.finish), 0);
    expect_is(join(task), 0);
    expect_is(section.inside, 0);
    expect_is(section.after, -ECANCELED);
    expect_is(section.child, 0);
    return arg;
}

static void test_a_canceled_task_finishes_its_section(void **state)
{
    (void)state;
    run(cancel_a_section);
    run(cancel_a_leaver);
}

// A runtime that ends waits for it.
static void *finish_slowly(void *arg)
{
    weft_scope shield;
    int *ret_done = arg;

    enter_shield(&shield, WEFT_NEVER);
    for (int i = 0; i < 3; i++)
        expect_is(weft_task_sleep(soon()), 0);
    *ret_done = 1;
    expect_is(weft_scope_leave(&shield), 0);
    expect_is(weft_task_sleep(WEFT_NEVER), -ECANCELED);
    return NULL;
}

static void test_a_runtime_waits_for_it(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(2);
    int done = 0;

    expect_is(weft_task_detach(spawn_on(runtime, finish_slowly, &done)), 0);
    assert_int_equal(weft_runtime_free(runtime), 0);
    assert_int_equal(done, 1);
}

// ---- Very many. ----

static void *open_too_many(void *arg)
{
    enum { MOST = 1000 };
    weft_scope *scopes = calloc(MOST + 1, sizeof *scopes);

    expect(scopes != NULL);
    for (int i = 0; i < MOST; i++) {
        weft_scope *scope = &scopes[i];
        if (i % 100 == 99)
            enter_shield(scope, WEFT_NEVER);
        else
            expect_is(weft_scope_enter(scope, WEFT_NEVER), 0);
    }
    expect_is(weft_scope_enter(&scopes[MOST], WEFT_NEVER), -ENOSPC);
    expect_is(weft_scope_cancel(&scopes[MOST - 1]), 0); // a shield
    expect_is(is_canceled(), -ECANCELED);
    expect_is(weft_scope_leave(&scopes[MOST - 1]), -ECANCELED);
    expect_is(is_canceled(), 0);
    for (int i = MOST - 2; i >= 0; i--)
        expect_is(weft_scope_leave(&scopes[i]), 0);
    free(scopes);
    return arg;
}

static void test_there_is_a_highest_level(void **state)
{
    (void)state;
    run_with(1, open_too_many, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_level_of_a_cancel),
        cmocka_unit_test(test_the_owner_is_told),
        cmocka_unit_test(test_a_shield_keeps_cancels_out),
        cmocka_unit_test(test_a_shield_keeps_deadlines_out),
        cmocka_unit_test(test_a_canceled_task_finishes_its_section),
        cmocka_unit_test(test_a_runtime_waits_for_it),
        cmocka_unit_test(test_there_is_a_highest_level),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
