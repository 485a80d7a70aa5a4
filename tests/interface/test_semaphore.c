// test_semaphore.c -- The counting semaphore: permits are never lost nor made,
// order, deadlines, cancelling, threads, misuse.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"
#include "support/threads.h"

#define MS WEFT_MILLISECOND

enum { PERMITS = 5 };

struct shared {
    weft_semaphore semaphore;
    atomic_int taken;
    atomic_int seed;
    long number; // changed under all permits alone
    int rounds;
};

static int acquire_somehow(struct shared *shared, uint32_t permits,
                           uint64_t *chance)
{
    int64_t until = weft_time_after(random_below(chance, 20000));

    switch (random_below(chance, 4)) {
    case 0:
        return weft_semaphore_try_acquire(&shared->semaphore, permits);
    case 1:
        return weft_semaphore_acquire(&shared->semaphore, permits, until);
    default:
        return weft_semaphore_acquire(&shared->semaphore, permits, WEFT_NEVER);
    }
}

// How often it had them all, and changed the number.
static void *use(void *arg)
{
    struct shared *shared = arg;
    uint64_t chance = (uint64_t)atomic_fetch_add(&shared->seed, 1) + 1;
    long changes = 0;

    for (int i = 0; i < shared->rounds; i++) {
        int permits = (int)random_below(&chance, PERMITS) + 1;
        int error = acquire_somehow(shared, (uint32_t)permits, &chance);
        if (error == -ECANCELED)
            break;
        if (error != 0) {
            expect(error == -EBUSY || error == -ETIMEDOUT);
            continue;
        }
        int taken = atomic_fetch_add(&shared->taken, permits) + permits;
        expect(taken <= PERMITS);
        if (permits == PERMITS) {
            long number = shared->number;
            (void)weft_task_yield();
            shared->number = number + 1;
            changes++;
        }
        (void)weft_task_yield();
        atomic_fetch_sub(&shared->taken, permits);
        // Back in two parts, or in one.
        int part = (int)random_below(&chance, (uint32_t)permits);
        if (part > 0)
            expect_is(
                weft_semaphore_release(&shared->semaphore, (uint32_t)part), 0);
        expect_is(weft_semaphore_release(&shared->semaphore,
                                         (uint32_t)(permits - part)),
                  0);
    }
    return (void *)changes;
}

static void expect_whole(struct shared *shared, long changes)
{
    expect_is(shared->number, changes);
    expect_is(weft_semaphore_available(&shared->semaphore), PERMITS);
    expect_is(weft_semaphore_try_acquire(&shared->semaphore, PERMITS), 0);
    expect_is(weft_semaphore_try_acquire(&shared->semaphore, 1), -EBUSY);
    expect_is(weft_semaphore_deinit(&shared->semaphore), 0);
}

static void *share(void *arg)
{
    enum { TASKS = 12 };
    struct shared shared = {.rounds = scaled(1000)};
    weft_task tasks[TASKS];
    long changes = 0;

    expect_is(weft_semaphore_init(&shared.semaphore, PERMITS, "shared"), 0);
    for (int i = 0; i < TASKS; i++)
        tasks[i] = spawn(use, &shared);
    for (int i = 0; i < TASKS; i++)
        changes += join(tasks[i]);
    expect_whole(&shared, changes);
    return arg;
}

static void test_permits_are_kept(void **state)
{
    (void)state;
    run(share);
}

static void test_tasks_and_threads(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 4; workers *= 2) {
        struct shared shared = {
            .semaphore = WEFT_SEMAPHORE_INIT("mixed", PERMITS),
            .rounds = scaled(500),
        };
        expect_whole(&shared, run_mixed(workers, 6, 3, use, &shared));
    }
}

static void *cancel_some(void *arg)
{
    enum { TASKS = 10 };
    uint64_t chance = 1;

    for (int round = 0; round < scaled(30); round++) {
        struct shared shared = {.rounds = 50};
        weft_task tasks[TASKS];
        long changes = 0;
        expect_is(weft_semaphore_init(&shared.semaphore, PERMITS, "hasty"), 0);
        for (int i = 0; i < TASKS; i++)
            tasks[i] = spawn(use, &shared);
        cancel_half(tasks, TASKS, &chance);
        for (int i = 0; i < TASKS; i++)
            changes += join(tasks[i]);
        expect_whole(&shared, changes);
    }
    return arg;
}

static void test_cancelling_under_way(void **state)
{
    (void)state;
    run(cancel_some);
}

// ---- Order. ----

struct asker {
    weft_semaphore *semaphore;
    uint32_t permits;
    int64_t until;
    atomic_int *count;
    int place; // in which it was served
};

static void *ask(void *arg)
{
    struct asker *asker = arg;
    int error =
        weft_semaphore_acquire(asker->semaphore, asker->permits, asker->until);

    if (error == 0)
        asker->place = atomic_fetch_add(asker->count, 1);
    return (void *)(intptr_t)error;
}

// Who asks for many is not passed by who asks for few, and what was given is
// theirs before they run.
static void *serve_in_order(void *arg)
{
    static const uint32_t permits[] = {2, 1, 3, 1};
    weft_semaphore semaphore;
    struct asker askers[4];
    weft_task tasks[4];
    atomic_int count = 0;

    expect_is(weft_semaphore_init(&semaphore, 1, "line"), 0);
    for (int i = 0; i < 4; i++) {
        askers[i] =
            (struct asker){&semaphore, permits[i], WEFT_NEVER, &count, -1};
        tasks[i] = spawn(ask, &askers[i]);
        until_waiting(tasks[i], WEFT_WAIT_SEMAPHORE);
    }
    expect_is(weft_semaphore_available(&semaphore), 1);
    expect_is(weft_semaphore_try_acquire(&semaphore, 1), -EBUSY);
    expect_is(weft_semaphore_acquire(&semaphore, 1, 0), -ETIMEDOUT);
    expect_is(weft_semaphore_deinit(&semaphore), -EBUSY);
    expect_is(weft_semaphore_release(&semaphore, 1), 0);
    expect_is(weft_semaphore_available(&semaphore), 0); // the first has them
    join(tasks[0]);
    expect_is(weft_semaphore_release(&semaphore, 4), 0); // 1 + 3
    expect_is(weft_semaphore_available(&semaphore), 0);
    join(tasks[1]);
    join(tasks[2]);
    expect_is(weft_semaphore_try_acquire(&semaphore, 1), -EBUSY);
    expect_is(weft_semaphore_release(&semaphore, 3), 0);
    join(tasks[3]);
    expect_is(weft_semaphore_available(&semaphore), 2);
    expect(askers[0].place == 0 && askers[3].place == 3);
    expect_is(weft_semaphore_deinit(&semaphore), 0);
    return arg;
}

static void test_first_come_first_served(void **state)
{
    (void)state;
    run_with(1, serve_in_order, NULL);
    run_with(2, serve_in_order, NULL);
}

// One who gives up lets those behind have what was too little for him.
static void *give_up(void *arg)
{
    for (int way = 0; way < 2; way++) {
        weft_semaphore semaphore = WEFT_SEMAPHORE_INIT("few", 2);
        struct asker askers[3];
        weft_task tasks[3];
        atomic_int count = 0;
        for (int i = 0; i < 3; i++) {
            askers[i] = (struct asker){&semaphore, i == 0 ? 3 : 1,
                                       i == 0 && !way ? weft_time_after(20 * MS)
                                                      : WEFT_NEVER,
                                       &count, -1};
            tasks[i] = spawn(ask, &askers[i]);
            if (way)
                until_waiting(tasks[i], WEFT_WAIT_SEMAPHORE);
        }
        if (way)
            expect_is(weft_task_cancel(tasks[0]), 0);
        expect_is(join(tasks[0]), way ? -ECANCELED : -ETIMEDOUT);
        expect_is(join(tasks[1]), 0);
        expect_is(join(tasks[2]), 0);
        expect_is(weft_semaphore_available(&semaphore), 0);
        expect_is(weft_semaphore_deinit(&semaphore), 0);
    }
    return arg;
}

static void test_one_who_gives_up(void **state)
{
    (void)state;
    run(give_up);
}

// ---- Signals: permits given by those who never took any. ----

struct signals {
    weft_semaphore there;
    weft_semaphore back;
    int rounds;
    long number;
};

static void *answer(void *arg)
{
    struct signals *signals = arg;

    for (int i = 0; i < signals->rounds; i++) {
        expect_is(weft_semaphore_acquire(&signals->there, 1, WEFT_NEVER), 0);
        signals->number++;
        expect_is(weft_semaphore_release(&signals->back, 1), 0);
    }
    return NULL;
}

static void test_a_thread_and_a_task_take_turns(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(1);
    struct signals signals = {.rounds = scaled(2000)};

    assert_int_equal(weft_semaphore_init(&signals.there, 0, "there"), 0);
    assert_int_equal(weft_semaphore_init(&signals.back, 0, "back"), 0);
    weft_task task = spawn_on(runtime, answer, &signals);
    for (int i = 0; i < signals.rounds; i++) {
        assert_int_equal(signals.number, i);
        assert_int_equal(weft_semaphore_release(&signals.there, 1), 0);
        assert_int_equal(weft_semaphore_acquire(&signals.back, 1, WEFT_NEVER),
                         0);
    }
    join(task);
    assert_int_equal(weft_semaphore_deinit(&signals.there), 0);
    assert_int_equal(weft_semaphore_deinit(&signals.back), 0);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

// ---- Misuse. ----

static void *misuse(void *arg)
{
    static weft_semaphore zero;
    weft_semaphore semaphore;

    for (int i = 0; i < 2; i++) {
        weft_semaphore *none = i == 0 ? NULL : &zero;
        expect_is(weft_semaphore_acquire(none, 1, WEFT_NEVER), -EINVAL);
        expect_is(weft_semaphore_try_acquire(none, 1), -EINVAL);
        expect_is(weft_semaphore_release(none, 1), -EINVAL);
        expect_is(weft_semaphore_available(none), -EINVAL);
        expect_is(weft_semaphore_deinit(none), -EINVAL);
    }
    expect_is(weft_semaphore_init(NULL, 1, "none"), -EINVAL);
    expect_is(weft_semaphore_init(&semaphore, WEFT_PERMITS_MAX + 1u, "many"),
              -EINVAL);
    expect_is(weft_semaphore_init(&semaphore, WEFT_PERMITS_MAX - 1, "many"), 0);
    expect_is(weft_semaphore_acquire(&semaphore, 0, WEFT_NEVER), -EINVAL);
    expect_is(weft_semaphore_try_acquire(&semaphore, 0), -EINVAL);
    expect_is(weft_semaphore_try_acquire(&semaphore, UINT32_MAX), -EINVAL);
    expect_is(weft_semaphore_release(&semaphore, 0), -EINVAL);
    expect_is(weft_semaphore_release(&semaphore, UINT32_MAX), -EINVAL);
    expect_is(weft_semaphore_release(&semaphore, 2), -EOVERFLOW);
    expect_is(weft_semaphore_release(&semaphore, 1), 0);
    expect_is(weft_semaphore_release(&semaphore, 1), -EOVERFLOW);
    expect_is(weft_semaphore_available(&semaphore), WEFT_PERMITS_MAX);
    expect_is(weft_semaphore_try_acquire(&semaphore, WEFT_PERMITS_MAX), 0);
    expect_is(weft_semaphore_deinit(&semaphore), 0);
    expect_is(weft_semaphore_release(&semaphore, 1), -EINVAL);
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
        cmocka_unit_test(test_permits_are_kept),
        cmocka_unit_test(test_tasks_and_threads),
        cmocka_unit_test(test_cancelling_under_way),
        cmocka_unit_test(test_first_come_first_served),
        cmocka_unit_test(test_one_who_gives_up),
        cmocka_unit_test(test_a_thread_and_a_task_take_turns),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
