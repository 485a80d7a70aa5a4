// test_scope.c -- Scopes: children, deadlines, cancelling, misuse.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/child.h"
#include "support/tasks.h"

#define MS WEFT_MILLISECOND

static void *sleep_for_ever(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)weft_task_sleep(WEFT_NEVER);
}

static void start_in(weft_scope *scope, weft_task_fn *fn, void *arg)
{
    expect_is(weft_scope_spawn(scope, NULL, fn, arg, NULL), 0);
}

// ---- Children. ----

static void *count_slowly(void *arg)
{
    for (int i = 0; i < 3; i++)
        (void)weft_task_yield();
    (void)atomic_fetch_add((atomic_int *)arg, 1);
    return NULL;
}

static void *have_children(void *arg)
{
    for (int i = 0; i < scaled(300); i++) {
        weft_scope scope;
        atomic_int ended = 0;
        expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
        for (int j = 0; j < i % 20; j++)
            start_in(&scope, count_slowly, &ended);
        expect_is(weft_scope_leave(&scope), 0);
        expect_is(ended, i % 20);
        memset(&scope, 0xee, sizeof scope); // nobody needs it any more
    }
    return arg;
}

static void test_leaving_waits_for_all(void **state)
{
    (void)state;
    run(have_children);
}

// Children start further ones in the same scope, which is left last.
struct family {
    weft_scope scope;
    atomic_int ended;
};

struct member {
    struct family *family;
    int depth;
};

static void *multiply(void *arg)
{
    struct member member = *(struct member *)arg;

    free(arg);
    for (int i = 0; i < 3 && member.depth > 0; i++) {
        struct member *child = malloc(sizeof *child);
        *child = (struct member){member.family, member.depth - 1};
        start_in(&member.family->scope, multiply, child);
    }
    (void)atomic_fetch_add(&member.family->ended, 1);
    return NULL;
}

static void *found_a_family(void *arg)
{
    struct family family = {.ended = 0};
    struct member *first = malloc(sizeof *first);

    *first = (struct member){&family, 5};
    expect_is(weft_scope_enter(&family.scope, WEFT_NEVER), 0);
    start_in(&family.scope, multiply, first);
    expect_is(weft_scope_leave(&family.scope), 0);
    expect_is(family.ended, 1 + 3 + 9 + 27 + 81 + 243);
    return arg;
}

static void test_children_start_children(void **state)
{
    (void)state;
    run(found_a_family);
}

// Each child has a scope of its own.
static void *nest(void *arg)
{
    intptr_t depth = (intptr_t)arg;
    weft_scope scope;

    if (depth == 0)
        return NULL;
    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
    for (int i = 0; i < 3; i++)
        start_in(&scope, nest, (void *)(depth - 1));
    expect_is(weft_scope_leave(&scope), 0);
    return NULL;
}

static void *nest_deeply(void *arg)
{
    (void)arg;
    return nest((void *)5);
}

static void test_scopes_nest(void **state)
{
    (void)state;
    run(nest_deeply);
}

// A child has no other owner.
static void *own_a_child(void *arg)
{
    weft_scope scope;
    weft_task child;

    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
    expect_is(weft_scope_spawn(&scope, NULL, sleep_for_ever, arg, &child), 0);
    expect_is(weft_task_join(child, WEFT_NEVER, NULL), -ESRCH);
    expect_is(weft_task_detach(child), -ESRCH);
    expect_is(weft_task_cancel(child), 0);
    expect_is(weft_scope_leave(&scope), 0); // the child was, the scope was not
    int error = 0; // its slot is given back a moment after its scope hears
    while ((error = weft_task_cancel(child)) == 0)
        (void)weft_task_yield();
    expect_is(error, -ESRCH);
    return arg;
}

static void test_children_belong_to_the_scope(void **state)
{
    (void)state;
    run(own_a_child);
}

// When a scope has been left, there is room for as many tasks again.
static void *fill_again_and_again(void *arg)
{
    for (int i = 0; i < scaled(300); i++) {
        weft_scope scope;
        atomic_int ended = 0;
        expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
        for (int j = 0; j < 4; j++)
            start_in(&scope, count_slowly, &ended);
        expect_is(weft_scope_leave(&scope), 0);
    }
    return arg;
}

static void test_leaving_gives_room_back(void **state)
{
    (void)state;
    weft_runtime_options options = {
        .size = sizeof options, .workers = 4, .max_tasks = 5};

    expect_is(weft_run(&options, fill_again_and_again, NULL, NULL), 0);
}

// ---- Deadlines. ----

// What a child blocks in ends with the scope's deadline, as do its children's.
struct late {
    weft_channel *channel;
    atomic_int ended;
};

static void *be_late(void *arg)
{
    struct late *late = arg;
    weft_scope scope;
    int number;

    expect_is(weft_channel_recv(late->channel, &number, WEFT_NEVER),
              -ETIMEDOUT);
    expect_is(weft_task_sleep(WEFT_NEVER), -ETIMEDOUT);
    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0); // no later than that
    expect_is(weft_task_sleep(WEFT_NEVER), -ETIMEDOUT);
    expect_is(weft_scope_leave(&scope), 0);
    (void)atomic_fetch_add(&late->ended, 1);
    return NULL;
}

static void *wait_too_long(void *arg)
{
    struct late late = {.ended = 0};
    weft_scope scope;

    expect_is(weft_channel_new(sizeof(int), 1, NULL, &late.channel), 0);
    for (int i = 1; i <= 5; i++) {
        int64_t until = weft_time_after(2 * MS);
        expect_is(weft_scope_enter(&scope, until), 0);
        for (int j = 0; j < 5; j++)
            start_in(&scope, be_late, &late);
        until_reached(&late.ended, 5 * i);    // a leave that waits would cancel
        int error = weft_scope_leave(&scope); // they may not quite have ended
        expect(error == 0 || error == -ETIMEDOUT);
        expect(weft_time_now() >= until);
    }
    expect_is(weft_channel_free(late.channel), 0);
    return arg;
}

static void test_the_deadline_is_the_childrens(void **state)
{
    (void)state;
    run(wait_too_long);
}

// A child that takes its time is cancelled and waited for all the same.
static void *linger(void *arg)
{
    while (weft_task_yield() != -ECANCELED) // -ETIMEDOUT in between
        continue;
    for (int i = 0; i < 10; i++)
        (void)weft_task_yield();
    (void)atomic_fetch_add((atomic_int *)arg, 1);
    return NULL;
}

static void *outstay(void *arg)
{
    weft_scope scope;
    atomic_int ended = 0;

    expect_is(weft_scope_enter(&scope, weft_time_after(MS)), 0);
    for (int i = 0; i < 5; i++)
        start_in(&scope, linger, &ended);
    expect_is(weft_scope_leave(&scope), -ETIMEDOUT);
    expect_is(ended, 5);
    expect_is(weft_task_sleep(weft_time_after(MS)), 0); // outside again
    return arg;
}

static void test_after_the_deadline_all_are_cancelled(void **state)
{
    (void)state;
    run(outstay);
}

// The owner's own calls: the earliest deadline around it counts.
static void *obey_the_earliest(void *arg)
{
    weft_scope outer;
    weft_scope inner;
    int64_t early = weft_time_after(2 * MS);

    expect_is(weft_scope_enter(&outer, early), 0);
    expect_is(weft_scope_enter(&inner, weft_time_after(3600 * WEFT_SECOND)), 0);
    expect_is(weft_task_sleep(WEFT_NEVER), -ETIMEDOUT);
    expect(weft_time_now() >= early);
    expect_is(weft_task_sleep(early), 0); // a sleep that is not cut short
    expect_is(weft_task_sleep(early + 1), -ETIMEDOUT);
    expect_is(weft_scope_leave(&inner), 0);
    expect_is(weft_task_sleep(WEFT_NEVER), -ETIMEDOUT);
    expect_is(weft_scope_leave(&outer), 0);
    expect_is(weft_task_sleep(weft_time_after(MS)), 0);

    expect_is(weft_scope_enter(&outer, WEFT_NEVER), 0);
    expect_is(weft_scope_enter(&inner, 0), 0); // in the past
    expect_is(weft_task_sleep(WEFT_NEVER), -ETIMEDOUT);
    expect_is(weft_scope_leave(&inner), 0);
    expect_is(weft_task_sleep(weft_time_after(MS)), 0);
    expect_is(weft_scope_leave(&outer), 0);
    return arg;
}

static void test_the_earliest_deadline_counts(void **state)
{
    (void)state;
    run(obey_the_earliest);
}

// ---- Cancelling. ----

struct cancelled {
    weft_scope scope;
    atomic_int ended;
};

static void *wait_in_own_scope(void *arg)
{
    weft_scope scope;
    weft_task child;

    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
    expect_is(weft_scope_spawn(&scope, NULL, sleep_for_ever, NULL, &child), 0);
    expect_is(weft_scope_leave(&scope), -ECANCELED);
    (void)atomic_fetch_add((atomic_int *)arg, 1);
    return NULL;
}

static void *cancel_all(void *arg)
{
    struct cancelled c = {.ended = 0};

    expect_is(weft_scope_enter(&c.scope, WEFT_NEVER), 0);
    for (int i = 0; i < 5; i++) {
        start_in(&c.scope, sleep_for_ever, NULL);
        start_in(&c.scope, wait_in_own_scope, &c.ended);
    }
    expect_is(weft_scope_cancel(&c.scope), 0);
    expect_is(weft_scope_cancel(&c.scope), 0);
    expect_is(weft_scope_spawn(&c.scope, NULL, sleep_for_ever, NULL, NULL),
              -ECANCELED);
    expect_is(weft_task_sleep(WEFT_NEVER), -ECANCELED); // we are inside
    expect_is(weft_scope_leave(&c.scope), -ECANCELED);
    expect_is(weft_task_sleep(weft_time_after(MS)), 0); // and now outside
    expect_is(c.ended, 5);
    return arg;
}

// A child cancels the others, while some are still being started.
static void *cancel_from_inside(void *arg)
{
    expect_is(weft_scope_cancel(arg), 0);
    expect_is(weft_task_sleep(WEFT_NEVER), -ECANCELED); // itself too
    return NULL;
}

static void *be_cancelled(void *arg)
{
    for (int i = 0; i < scaled(100); i++) {
        weft_scope scope;
        int error = 0;
        expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
        start_in(&scope, sleep_for_ever, NULL);
        start_in(&scope, cancel_from_inside, &scope);
        for (int j = 0; j < 20 && error == 0; j++)
            error = weft_scope_spawn(&scope, NULL, sleep_for_ever, NULL, NULL);
        expect(error == 0 || error == -ECANCELED);
        expect_is(weft_scope_leave(&scope), -ECANCELED);
    }
    return arg;
}

static void *leave_patiently(void *arg)
{
    weft_scope scope;

    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
    for (int i = 0; i < 5; i++)
        start_in(&scope, sleep_for_ever, arg);
    return (void *)(intptr_t)weft_scope_leave(&scope);
}

// Whoever is cancelled while he leaves takes his children with him.
static void *cancel_the_owner(void *arg)
{
    weft_task task = spawn(leave_patiently, arg);

    until_waiting(task, WEFT_WAIT_SCOPE);
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), -ECANCELED);
    task = spawn(leave_patiently, arg); // or at any other moment
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), -ECANCELED);
    return NULL;
}

static void test_cancelling(void **state)
{
    (void)state;
    run(cancel_all);
    run(be_cancelled);
    run(cancel_the_owner);
}

// ---- Misuse. ----

struct strangers {
    weft_scope *outer;
    weft_scope *inner;
};

static void *meddle(void *arg)
{
    struct strangers *s = arg;

    expect_is(weft_scope_spawn(s->outer, NULL, sleep_for_ever, NULL, NULL),
              -EPERM);
    expect_is(weft_scope_leave(s->outer), -EINVAL);
    return NULL;
}

static void *leave_anothers(void *arg)
{
    expect_is(weft_scope_leave(arg), -EINVAL);
    return NULL;
}

static void *misuse(void *arg)
{
    weft_scope outer;
    weft_scope inner;
    weft_scope zero = {{0}};
    struct strangers strangers = {&outer, &inner};
    weft_task_options options = {.size = sizeof options};

    expect_is(weft_scope_enter(NULL, WEFT_NEVER), -EINVAL);
    expect_is(weft_scope_spawn(NULL, NULL, sleep_for_ever, NULL, NULL),
              -EINVAL);
    expect_is(weft_scope_spawn(&zero, NULL, sleep_for_ever, NULL, NULL),
              -EINVAL);
    expect_is(weft_scope_cancel(NULL), -EINVAL);
    expect_is(weft_scope_cancel(&zero), -EINVAL);
    expect_is(weft_scope_leave(NULL), -EINVAL);
    expect_is(weft_scope_leave(&zero), -EINVAL);

    expect_is(weft_scope_enter(&outer, WEFT_NEVER), 0);
    expect_is(weft_scope_enter(&inner, WEFT_NEVER), 0);
    expect_is(weft_scope_leave(&outer), -EINVAL); // inner first
    join(spawn(meddle, &strangers));
    start_in(&outer, leave_anothers, &outer);
    expect_is(weft_scope_spawn(&inner, NULL, NULL, NULL, NULL), -EINVAL);
    options.runtime = weft_runtime_self();
    expect_is(weft_scope_spawn(&inner, &options, sleep_for_ever, NULL, NULL),
              -EINVAL);
    options = (weft_task_options){.size = 1};
    expect_is(weft_scope_spawn(&inner, &options, sleep_for_ever, NULL, NULL),
              -EINVAL);
    expect_is(weft_scope_leave(&inner), 0);
    expect_is(weft_scope_leave(&inner), -EINVAL);
    expect_is(weft_scope_cancel(&inner), -EINVAL);
    expect_is(weft_scope_spawn(&inner, NULL, sleep_for_ever, NULL, NULL),
              -EINVAL);
    expect_is(weft_scope_leave(&outer), 0);
    return arg;
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    weft_scope scope = {{0}};

    run(misuse);
    assert_int_equal(weft_scope_enter(&scope, WEFT_NEVER), -EPERM);
    assert_int_equal(weft_scope_leave(&scope), -EINVAL);
}

// The same variable twice: the one who asks has forgotten to leave.
static void *enter_twice(void *arg)
{
    weft_scope outer = {{0}};
    weft_scope inner = {{0}};

    expect_is(weft_scope_enter(&outer, WEFT_NEVER), 0);
    expect_is(weft_scope_enter(&outer, WEFT_NEVER), -EINVAL);
    expect_is(weft_scope_enter(&inner, WEFT_NEVER), 0);
    expect_is(weft_scope_enter(&outer, WEFT_NEVER), -EINVAL);
    expect_is(weft_scope_leave(&inner), 0);
    expect_is(weft_scope_leave(&outer), 0);
    expect_is(weft_scope_enter(&outer, WEFT_NEVER), 0);
    expect_is(weft_scope_leave(&outer), 0);
    return arg;
}

static void test_an_open_scope_is_not_entered_again(void **state)
{
    (void)state;
    run(enter_twice);
}

static void *end_inside(void *arg)
{
    static weft_scope scope;

    (void)weft_task_set_name("careless");
    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
    return arg;
}

static void *start_careless(void *arg)
{
    join(spawn(end_inside, NULL));
    return arg;
}

static void end_inside_a_scope(void)
{
    run_with(1, start_careless, NULL);
}

static void test_ending_inside_is_told(void **state)
{
    (void)state;
    static struct child child;

    child_run(end_inside_a_scope, &child);
    assert_true(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGABRT);
    assert_true(child_says(&child, "\"careless\""));
    assert_true(child_says(&child, "scope"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaving_waits_for_all),
        cmocka_unit_test(test_children_start_children),
        cmocka_unit_test(test_scopes_nest),
        cmocka_unit_test(test_children_belong_to_the_scope),
        cmocka_unit_test(test_leaving_gives_room_back),
        cmocka_unit_test(test_the_deadline_is_the_childrens),
        cmocka_unit_test(test_after_the_deadline_all_are_cancelled),
        cmocka_unit_test(test_the_earliest_deadline_counts),
        cmocka_unit_test(test_cancelling),
        cmocka_unit_test(test_misuse_is_refused),
        cmocka_unit_test(test_an_open_scope_is_not_entered_again),
        cmocka_unit_test(test_ending_inside_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
