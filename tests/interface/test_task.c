// test_task.c -- Tasks: starting, joining, detaching, yielding, sleeping.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/skip.h"
#include "support/tasks.h"

#define MS WEFT_MILLISECOND

static void *echo(void *arg)
{
    return arg;
}

static void *sleep_for_ever(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)weft_task_sleep(WEFT_NEVER);
}

// ---- Results. ----

static void *join_a_result(void *arg)
{
    int number = 7;
    void *result = NULL;
    weft_task task = spawn(echo, &number);

    expect_is(weft_task_join(task, WEFT_NEVER, &result), 0);
    expect(result == &number);
    expect_is(weft_task_join(spawn(echo, arg), WEFT_NEVER, NULL), 0);
    return NULL;
}

static void test_a_join_gives_the_result(void **state)
{
    (void)state;
    run(join_a_result);
}

static void *add_up(void *arg)
{
    enum { COUNT = 3000 };
    weft_task *tasks = malloc(COUNT * sizeof *tasks);
    intptr_t sum = 0;

    (void)arg;
    for (intptr_t i = 0; i < COUNT; i++)
        tasks[i] = spawn(echo, (void *)i);
    for (int i = 0; i < COUNT; i++)
        sum += join(tasks[i]);
    expect_is(sum, (intptr_t)COUNT * (COUNT - 1) / 2);
    free(tasks);
    return NULL;
}

static void test_many_at_once(void **state)
{
    (void)state;
    run(add_up);
}

// A tree of tasks; each gives the number of leaves below it.
static void *grow_tree(void *arg)
{
    intptr_t depth = (intptr_t)arg;
    weft_task tasks[4];
    intptr_t leaves = 0;

    if (depth == 0)
        return (void *)1;
    for (int i = 0; i < 4; i++)
        tasks[i] = spawn(grow_tree, (void *)(depth - 1));
    for (int i = 0; i < 4; i++)
        leaves += join(tasks[i]);
    return (void *)leaves;
}

static void *grow(void *arg)
{
    expect_is(join(spawn(grow_tree, (void *)6)), 4096);
    return arg;
}

static void test_a_tree_of_tasks(void **state)
{
    (void)state;
    run(grow);
}

// ---- Starting. ----

static void *refuse_bad_options(void *arg)
{
    weft_task_options options = {.size = sizeof options};
    weft_task task = {42};

    expect_is(weft_task_spawn(NULL, NULL, arg, &task), -EINVAL);
    options.size = sizeof options - 1;
    expect_is(weft_task_spawn(&options, echo, arg, &task), -EINVAL);
    options.size = 0;
    expect_is(weft_task_spawn(&options, echo, arg, &task), -EINVAL);
    options.size = sizeof options;
    static const size_t sizes[] = {1, 16383, (1 << 30) + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        options.stack_size = sizes[i];
        expect_is(weft_task_spawn(&options, echo, arg, &task), -EINVAL);
    }
    expect(task.id == 42); // nothing was stored
    return NULL;
}

static void test_bad_options_are_refused(void **state)
{
    (void)state;
    run(refuse_bad_options);
}

static void test_a_thread_must_name_a_runtime(void **state)
{
    (void)state;
    weft_task_options options = {.size = sizeof options};
    weft_task task;

    assert_int_equal(weft_task_spawn(NULL, echo, NULL, &task), -EPERM);
    assert_int_equal(weft_task_spawn(&options, echo, NULL, &task), -EPERM);
}

// Writes to all of a stack but its ends.
static void *use_stack(void *arg)
{
    volatile char bytes[10000];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)i;
    for (size_t i = 0; i < sizeof bytes; i++)
        expect_is(bytes[i], (char)i);
    return arg;
}

static void *take_all_sizes(void *arg)
{
    static const size_t sizes[] = {
        16384, 16385, 65536, 100000, 1 << 20, 64 << 20, 1 << 30,
    };
    weft_task_options options = {.size = sizeof options};
    weft_task task;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        options.stack_size = sizes[i];
        expect_is(weft_task_spawn(&options, use_stack, arg, &task), 0);
        expect_is(join(task), (intptr_t)arg);
    }
    return NULL;
}

static void test_all_sizes_of_stacks(void **state)
{
    (void)state;
    run(take_all_sizes);
}

// 700 KB deep: more than any default.
static int recurse(int depth)
{
    volatile char room[1000];

    room[0] = (char)depth;
    room[sizeof room - 1] = (char)depth;
    return depth == 0 ? room[0] : recurse(depth - 1) + 1;
}

static void *recurse_deeply(void *arg)
{
    return (void *)(intptr_t)recurse((int)(intptr_t)arg);
}

static void *use_a_large_stack(void *arg)
{
    weft_task_options options = {.size = sizeof options, .stack_size = 4 << 20};
    weft_task task;

    expect_is(weft_task_spawn(&options, recurse_deeply, (void *)700, &task), 0);
    expect_is(join(task), 700);
    return arg;
}

static void test_a_large_stack_is_large(void **state)
{
    (void)state;
    run(use_a_large_stack);
}

// The handle is there before the task can run.
static void *see_own_handle(void *arg)
{
    const weft_task *stored = arg;

    expect(stored->id == weft_task_self().id && stored->id != 0);
    return NULL;
}

static void *store_handles(void *arg)
{
    weft_task tasks[500];

    for (int i = 0; i < 500; i++)
        expect_is(weft_task_spawn(NULL, see_own_handle, &tasks[i], &tasks[i]),
                  0);
    for (int i = 0; i < 500; i++)
        join(tasks[i]);
    return arg;
}

static void test_the_handle_is_stored_first(void **state)
{
    (void)state;
    run(store_handles);
    assert_true(weft_task_self().id == 0);
    assert_null(weft_runtime_self());
}

static void *see_own_runtime(void *arg)
{
    expect(weft_runtime_self() == arg);
    weft_task_options options = {.size = sizeof options, .runtime = arg};
    weft_task task;
    expect_is(weft_task_spawn(&options, echo, arg, &task), 0);
    expect_is(join(task), (intptr_t)arg);
    return NULL;
}

static void test_a_task_knows_its_runtime(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(2);

    expect_is(weft_runtime_run(runtime, see_own_runtime, runtime, NULL), 0);
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- Detaching. ----

static void *count_one(void *arg)
{
    (void)atomic_fetch_add((atomic_int *)arg, 1);
    return NULL;
}

static void *leave_them_alone(void *arg)
{
    atomic_int ended = 0;

    for (int i = 0; i < 500; i++)
        expect_is(weft_task_spawn(NULL, count_one, &ended, NULL), 0);
    for (int i = 0; i < 500; i++)
        expect_is(weft_task_detach(spawn(count_one, &ended)), 0);
    until_reached(&ended, 1000);
    return arg;
}

static void test_detached_ones_run_too(void **state)
{
    (void)state;
    run(leave_them_alone);
}

static void *detach_itself(void *arg)
{
    expect_is(weft_task_detach(weft_task_self()), 0);
    expect_is(weft_task_detach(weft_task_self()), -ESRCH);
    return count_one(arg);
}

static void *detach_in_every_state(void *arg)
{
    weft_task parked = spawn(sleep_for_ever, NULL);
    atomic_int ended = 0;

    until_waiting(parked, WEFT_WAIT_SLEEP);
    expect_is(weft_task_detach(parked), 0);
    expect_is(weft_task_detach(parked), -ESRCH);
    expect_is(weft_task_join(parked, WEFT_NEVER, NULL), -ESRCH);
    while (weft_task_cancel(parked) == 0) // the handle serves for this still
        (void)weft_task_yield();

    weft_task done = spawn(count_one, &ended);
    until_reached(&ended, 1);
    expect_is(weft_task_detach(done), 0); // it has ended, or is about to
    expect_is(weft_task_detach(done), -ESRCH);

    weft_task self = spawn(detach_itself, &ended);
    until_reached(&ended, 2);
    expect_is(weft_task_join(self, WEFT_NEVER, NULL), -ESRCH);
    expect_is(weft_task_detach((weft_task){0}), -ESRCH);
    return arg;
}

static void test_detaching_in_every_state(void **state)
{
    (void)state;
    run(detach_in_every_state);
}

// ---- Joining. ----

static void *refuse_bad_handles(void *arg)
{
    static const uint64_t ids[] = {
        0, 1, 0xffffff, 0xff000000, UINT64_MAX, UINT64_C(0x7fffffffff000001)};

    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        weft_task task = {ids[i]};
        expect_is(weft_task_join(task, WEFT_NEVER, NULL), -ESRCH);
        expect_is(weft_task_cancel(task), -ESRCH);
        expect_is(weft_task_detach(task), -ESRCH);
    }
    weft_task task = spawn(echo, arg);
    expect_is(join(task), (intptr_t)arg);
    expect_is(weft_task_join(task, WEFT_NEVER, NULL), -ESRCH);
    expect_is(weft_task_cancel(task), -ESRCH);
    expect_is(weft_task_detach(task), -ESRCH);
    return NULL;
}

static void test_bad_handles_are_refused(void **state)
{
    (void)state;
    run(refuse_bad_handles);
    assert_int_equal(weft_task_join((weft_task){0}, 0, NULL), -ESRCH);
    assert_int_equal(weft_task_cancel((weft_task){0}), -ESRCH);
}

// A handle that has outlived its task does not mean the next one in its slot.
static void *reuse_slots(void *arg)
{
    weft_task old[100];

    for (int i = 0; i < 100; i++) {
        old[i] = spawn(echo, arg);
        join(old[i]);
        weft_task next = spawn(sleep_for_ever, NULL);
        for (int j = 0; j <= i; j++) {
            expect(old[j].id != next.id);
            expect_is(weft_task_cancel(old[j]), -ESRCH);
            expect_is(weft_task_detach(old[j]), -ESRCH);
            expect_is(weft_task_join(old[j], 0, NULL), -ESRCH);
        }
        expect_is(weft_task_join(next, 0, NULL), -ETIMEDOUT); // it lives
        expect_is(weft_task_cancel(next), 0);
        expect_is(join(next), -ECANCELED);
    }
    return NULL;
}

static void test_stale_handles_are_told_apart(void **state)
{
    (void)state;
    run(reuse_slots);
}

static void *join_itself(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)weft_task_join(weft_task_self(), WEFT_NEVER, NULL);
}

static void *join_twice(void *arg)
{
    return (void *)(intptr_t)weft_task_join(*(weft_task *)arg, WEFT_NEVER,
                                            NULL);
}

static void *join_wrongly(void *arg)
{
    weft_task task = spawn(sleep_for_ever, arg);

    expect_is(join(spawn(join_itself, NULL)), -EDEADLK);

    weft_task first = spawn(join_twice, &task);
    until_waiting(first, WEFT_WAIT_JOIN);
    expect_is(weft_task_join(task, WEFT_NEVER, NULL), -EBUSY);
    expect_is(weft_task_detach(task), -EBUSY);
    expect_is(weft_task_cancel(first), 0);
    expect_is(join(first), -ECANCELED);

    // The one who gave up has left the task as it was.
    expect_is(weft_task_join(task, weft_time_after(MS), NULL), -ETIMEDOUT);
    expect_is(weft_task_join(task, 0, NULL), -ETIMEDOUT);
    expect_is(weft_task_join(task, -1, NULL), -ETIMEDOUT);
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), -ECANCELED);
    return NULL;
}

static void test_joining_wrongly(void **state)
{
    (void)state;
    run(join_wrongly);
}

// The task ends at about the moment at which the joiner gives up: whichever
// comes first, the result is taken exactly once.
static void *sleep_until(void *arg)
{
    expect_is(weft_task_sleep(*(int64_t *)arg), 0);
    return arg;
}

static void *join_at_the_end(void *arg)
{
    uint64_t chance = 1;
    void *result;

    for (int i = 0; i < scaled(500); i++) {
        int64_t at = weft_time_after(20 * WEFT_MICROSECOND);
        weft_task task = spawn(sleep_until, &at);
        int64_t until = at - 5000 + random_below(&chance, 15000);
        int error = weft_task_join(task, until, &result);
        if (error == -ETIMEDOUT) {
            expect_is(weft_task_join(task, WEFT_NEVER, &result), 0);
        } else {
            expect_is(error, 0);
        }
        expect(result == &at);
        expect_is(weft_task_join(task, WEFT_NEVER, NULL), -ESRCH);
    }
    return arg;
}

static void test_joins_that_time_out_at_the_end(void **state)
{
    (void)state;
    run(join_at_the_end);
}

// Many joiners of one task: one gets it.
struct contest {
    weft_task task;
    atomic_int won;
    atomic_int busy;
    atomic_int gone;
};

static void *compete(void *arg)
{
    struct contest *contest = arg;
    int error = weft_task_join(contest->task, WEFT_NEVER, NULL);

    expect(error == 0 || error == -EBUSY || error == -ESRCH);
    (void)atomic_fetch_add(error == 0        ? &contest->won
                           : error == -EBUSY ? &contest->busy
                                             : &contest->gone,
                           1);
    return NULL;
}

static void *hold_contests(void *arg)
{
    for (int i = 0; i < scaled(200); i++) {
        struct contest contest = {.task = spawn(echo, arg)};
        weft_task tasks[6];
        for (int j = 0; j < 6; j++)
            tasks[j] = spawn(compete, &contest);
        for (int j = 0; j < 6; j++)
            join(tasks[j]);
        expect_is(contest.won, 1);
        expect_is(contest.busy + contest.gone, 5);
    }
    return NULL;
}

static void test_one_of_many_joiners_wins(void **state)
{
    (void)state;
    run(hold_contests);
}

// ---- Across runtimes and threads. ----

static void test_a_thread_joins(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(2);
    weft_task task;

    for (intptr_t i = 0; i < 200; i++)
        expect_is(join(spawn_on(runtime, echo, (void *)i)), i);
    task = spawn_on(runtime, sleep_for_ever, NULL);
    expect_is(weft_task_join(task, 0, NULL), -ETIMEDOUT);
    expect_is(weft_task_join(task, weft_time_after(MS), NULL), -ETIMEDOUT);
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), -ECANCELED);
    expect_is(weft_task_join(task, WEFT_NEVER, NULL), -ESRCH);
    expect_is(weft_runtime_free(runtime), 0);
}

static void *join_from_afar(void *arg)
{
    weft_runtime *other = arg;
    weft_task tasks[100];

    for (intptr_t i = 0; i < 100; i++)
        tasks[i] = spawn_on(other, echo, (void *)i);
    for (intptr_t i = 0; i < 100; i++)
        expect_is(join(tasks[i]), i);
    weft_task task = spawn_on(other, sleep_for_ever, NULL);
    expect_is(weft_task_join(task, weft_time_after(MS), NULL), -ETIMEDOUT);
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), -ECANCELED);
    return NULL;
}

static void test_a_task_joins_one_of_another_runtime(void **state)
{
    (void)state;
    weft_runtime *one = start_with(2);
    weft_runtime *other = start_with(1);

    expect_is(weft_runtime_run(one, join_from_afar, other, NULL), 0);
    expect_is(weft_runtime_run(other, join_from_afar, one, NULL), 0);
    expect_is(weft_runtime_free(one), 0);
    expect_is(weft_runtime_free(other), 0);
}

// ---- Yielding. ----

#ifndef WEFT_HOSTILE

struct turns {
    char text[64];
    atomic_int length;
    atomic_int go;
};

struct player {
    struct turns *turns;
    char letter;
};

static void *take_turns(void *arg)
{
    struct player *player = arg;
    struct turns *turns = player->turns;

    until_reached(&turns->go, 1);
    for (int i = 0; i < 5; i++) {
        turns->text[atomic_fetch_add(&turns->length, 1)] = player->letter;
        expect_is(weft_task_yield(), 0);
    }
    return NULL;
}

// On one worker, tasks that yield take turns.
static void *play(void *arg)
{
    struct turns turns = {.length = 0};
    struct player players[3] = {{&turns, 'a'}, {&turns, 'b'}, {&turns, 'c'}};
    weft_task tasks[3];

    for (int i = 0; i < 3; i++)
        tasks[i] = spawn(take_turns, &players[i]);
    for (int i = 0; i < 20; i++) // all are in the queue, going round
        (void)weft_task_yield();
    atomic_store(&turns.go, 1);
    for (int i = 0; i < 3; i++)
        join(tasks[i]);
    expect_is(turns.length, 15);
    for (int i = 3; i < 15; i++)
        expect_is(turns.text[i], turns.text[i - 3]);
    expect(turns.text[0] != turns.text[1] && turns.text[1] != turns.text[2] &&
           turns.text[0] != turns.text[2]);
    return arg;
}

#endif

static void test_yielding_gives_turns(void **state)
{
    (void)state;
    assert_int_equal(weft_task_yield(), -EPERM);
#ifdef WEFT_HOSTILE
    skip_because("its tiny queues overflow, which changes the order");
#else
    run_with(1, play, NULL);
#endif
}

// A task that is always ready does not keep the others from running.
static void *make_noise(void *arg)
{
    while (weft_task_yield() == 0)
        (void)atomic_fetch_add((atomic_int *)arg, 1);
    return NULL;
}

static void *be_heard(void *arg)
{
    atomic_int noise = 0;
    weft_task loud[20];

    for (int i = 0; i < 20; i++)
        loud[i] = spawn(make_noise, &noise);
    for (intptr_t i = 0; i < 50; i++)
        expect_is(join(spawn(echo, (void *)i)), i);
    expect_is(weft_task_sleep(weft_time_after(MS)), 0);
    for (int i = 0; i < 20; i++)
        expect_is(weft_task_cancel(loud[i]), 0);
    for (int i = 0; i < 20; i++)
        join(loud[i]);
    expect(noise > 0);
    return arg;
}

static void test_the_loud_do_not_starve_the_quiet(void **state)
{
    (void)state;
    run(be_heard);
}

// ---- Sleeping. ----

#ifndef WEFT_HOSTILE

struct alarm_clock {
    int64_t at;
    int number;
    int *order;
    atomic_int *count;
};

static void *ring(void *arg)
{
    struct alarm_clock *clock = arg;

    expect_is(weft_task_sleep(clock->at), 0);
    expect(weft_time_now() >= clock->at);
    clock->order[atomic_fetch_add(clock->count, 1)] = clock->number;
    return NULL;
}

// On one worker, sleepers wake in the order of their deadlines.
static void *set_clocks(void *arg)
{
    enum { COUNT = 30 };
    struct alarm_clock clocks[COUNT];
    weft_task tasks[COUNT];
    int order[COUNT];
    atomic_int count = 0;
    int64_t first = weft_time_after(20 * MS);

    for (int i = 0; i < COUNT; i++) {
        int place = i * 7 % COUNT;
        clocks[i] =
            (struct alarm_clock){first + place * 10000, place, order, &count};
        tasks[i] = spawn(ring, &clocks[i]);
    }
    for (int i = 0; i < COUNT; i++)
        join(tasks[i]);
    for (int i = 0; i < COUNT; i++)
        expect_is(order[i], i);
    return arg;
}

#endif

static void test_sleepers_wake_in_order(void **state)
{
    (void)state;
#ifdef WEFT_HOSTILE
    skip_because("its tiny queues overflow, which changes the order");
#else
    run_with(1, set_clocks, NULL);
#endif
}

static void *sleep_shortly(void *arg)
{
    expect_is(weft_task_sleep(0), 0);
    expect_is(weft_task_sleep(-5), 0);
    expect_is(weft_task_sleep(INT64_MIN), 0);
    expect_is(weft_task_sleep(weft_time_now()), 0);
    for (int i = 0; i < 100; i++) {
        int64_t at = weft_time_after(i * WEFT_MICROSECOND);
        expect_is(weft_task_sleep(at), 0);
        expect(weft_time_now() >= at);
    }
    return arg;
}

static void test_a_sleep_lasts_until_its_deadline(void **state)
{
    (void)state;
    run(sleep_shortly);
    assert_int_equal(weft_task_sleep(0), -EPERM);
}

// ---- The most tasks. ----

static void *fill_up(void *arg)
{
    enum { LIMIT = 50 };
    weft_task tasks[LIMIT];
    weft_task refused = {42};

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < LIMIT - 1; i++) // this one is a task too
            tasks[i] = spawn(sleep_for_ever, NULL);
        for (int i = 0; i < 3; i++)
            expect_is(weft_task_spawn(NULL, echo, arg, &refused), -EAGAIN);
        expect_is(weft_task_spawn(NULL, echo, arg, NULL), -EAGAIN);
        expect(refused.id == 42);
        for (int i = 0; i < LIMIT - 1; i++) {
            expect_is(weft_task_cancel(tasks[i]), 0);
            expect_is(join(tasks[i]), -ECANCELED);
        }
    }
    return NULL;
}

static void test_the_most_tasks(void **state)
{
    (void)state;
    weft_runtime_options options = {.size = sizeof options, .max_tasks = 50};

    for (unsigned workers = 1; workers <= 8; workers *= 2) {
        options.workers = workers;
        assert_int_equal(weft_run(&options, fill_up, NULL, NULL), 0);
    }
}

static void *spawn_some(void *arg)
{
    for (int i = 0; i < 3; i++)
        expect_is(join(spawn(echo, arg)), (intptr_t)arg);
    return NULL;
}

// Slots that no task is in count for nothing, wherever they are kept.
static void test_the_limit_counts_the_living(void **state)
{
    (void)state;
    weft_runtime_options options = {
        .size = sizeof options, .workers = 4, .max_tasks = 4};
    weft_runtime *runtime;

    assert_int_equal(weft_runtime_new(&options, &runtime), 0);
    for (int i = 0; i < 50; i++)
        assert_int_equal(weft_runtime_run(runtime, spawn_some, NULL, NULL), 0);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

static void *use_other_sizes(void *arg)
{
    weft_task_options options = {.size = sizeof options};
    weft_task task;

    for (size_t size = 16384; size <= 1 << 20; size *= 2) {
        options.stack_size = size;
        for (int i = 0; i < 4; i++) {
            expect_is(weft_task_spawn(&options, use_stack, arg, &task), 0);
            expect_is(join(task), (intptr_t)arg);
        }
    }
    return NULL;
}

// At the limit too, stacks of any size can be had.
static void test_the_limit_is_one_for_all_sizes(void **state)
{
    (void)state;
    weft_runtime_options options = {
        .size = sizeof options, .workers = 2, .max_tasks = 4};

    assert_int_equal(weft_run(&options, use_other_sizes, NULL, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_join_gives_the_result),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_a_tree_of_tasks),
        cmocka_unit_test(test_bad_options_are_refused),
        cmocka_unit_test(test_a_thread_must_name_a_runtime),
        cmocka_unit_test(test_all_sizes_of_stacks),
        cmocka_unit_test(test_a_large_stack_is_large),
        cmocka_unit_test(test_the_handle_is_stored_first),
        cmocka_unit_test(test_a_task_knows_its_runtime),
        cmocka_unit_test(test_detached_ones_run_too),
        cmocka_unit_test(test_detaching_in_every_state),
        cmocka_unit_test(test_bad_handles_are_refused),
        cmocka_unit_test(test_stale_handles_are_told_apart),
        cmocka_unit_test(test_joining_wrongly),
        cmocka_unit_test(test_joins_that_time_out_at_the_end),
        cmocka_unit_test(test_one_of_many_joiners_wins),
        cmocka_unit_test(test_a_thread_joins),
        cmocka_unit_test(test_a_task_joins_one_of_another_runtime),
        cmocka_unit_test(test_yielding_gives_turns),
        cmocka_unit_test(test_the_loud_do_not_starve_the_quiet),
        cmocka_unit_test(test_sleepers_wake_in_order),
        cmocka_unit_test(test_a_sleep_lasts_until_its_deadline),
        cmocka_unit_test(test_the_most_tasks),
        cmocka_unit_test(test_the_limit_counts_the_living),
        cmocka_unit_test(test_the_limit_is_one_for_all_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
