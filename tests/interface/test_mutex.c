// test_mutex.c -- The mutex between tasks: exclusion, order, deadlines, misuse.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/child.h"
#include "support/tasks.h"
#include "support/threads.h"

#define MS WEFT_MILLISECOND

// ---- Exclusion. ----

// Plain numbers, so that the sanitizer sees it too if two are inside.
struct shared {
    weft_mutex mutex;
    long number;
    int inside;
    int rounds;
};

static void *add_under_mutex(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < shared->rounds; i++) {
        expect_is(weft_mutex_lock(&shared->mutex, WEFT_NEVER), 0);
        expect_is(shared->inside++, 0);
        long number = shared->number;
        if (i % 4 == 0)
            (void)weft_task_yield();
        shared->number = number + 1;
        expect_is(--shared->inside, 0);
        expect_is(weft_mutex_unlock(&shared->mutex), 0);
    }
    return NULL;
}

static void *exclude(void *arg)
{
    enum { TASKS = 10 };
    struct shared shared = {.rounds = scaled(1000)};
    weft_task tasks[TASKS];

    expect_is(weft_mutex_init(&shared.mutex, "shared"), 0);
    for (int i = 0; i < TASKS; i++)
        tasks[i] = spawn(add_under_mutex, &shared);
    for (int i = 0; i < TASKS; i++)
        join(tasks[i]);
    expect_is(shared.number, (long)TASKS * shared.rounds);
    expect_is(weft_mutex_deinit(&shared.mutex), 0);
    return arg;
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    run(exclude);
}

static void *try_under_mutex(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < shared->rounds;) {
        int error = weft_mutex_try_lock(&shared->mutex);
        expect(error == 0 || error == -EBUSY);
        if (error == 0) {
            expect_is(shared->inside++, 0);
            shared->number++;
            if (i++ % 4 == 0)
                (void)weft_task_yield();
            expect_is(--shared->inside, 0);
            expect_is(weft_mutex_unlock(&shared->mutex), 0);
        }
        (void)weft_task_yield();
    }
    return NULL;
}

static void *exclude_tries(void *arg)
{
    enum { TASKS = 6 };
    struct shared shared = {.rounds = scaled(300)};
    weft_task tasks[TASKS];

    expect_is(weft_mutex_init(&shared.mutex, NULL), 0);
    for (int i = 0; i < TASKS; i++)
        tasks[i] = spawn(i % 2 ? try_under_mutex : add_under_mutex, &shared);
    for (int i = 0; i < TASKS; i++)
        join(tasks[i]);
    expect_is(shared.number, (long)TASKS * shared.rounds);
    expect_is(weft_mutex_deinit(&shared.mutex), 0);
    return arg;
}

static void test_tasks_and_threads_exclude_each_other(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 4; workers *= 2) {
        struct shared shared = {.rounds = scaled(300)};
        assert_int_equal(weft_mutex_init(&shared.mutex, "mixed"), 0);
        run_mixed(workers, 5, 3, add_under_mutex, &shared);
        assert_int_equal(shared.number, 8 * shared.rounds);
        assert_int_equal(weft_mutex_deinit(&shared.mutex), 0);
    }
}

static void test_trying_excludes_too(void **state)
{
    (void)state;
    run(exclude_tries);
}

// Deadlines that pass and cancellings that come while the mutex changes hands:
// who was refused does not hold it, and it is not lost.
static void *take_hastily(void *arg)
{
    struct shared *shared = arg;
    uint64_t chance = (uintptr_t)&chance;
    long taken = 0;

    for (int i = 0; i < shared->rounds; i++) {
        int64_t until = weft_time_after(random_below(&chance, 20000));
        int error = weft_mutex_lock(&shared->mutex, until);
        if (error == -ECANCELED)
            break;
        if (error == -ETIMEDOUT) {
            expect_is(weft_mutex_unlock(&shared->mutex), -EPERM);
            continue;
        }
        expect_is(error, 0);
        expect_is(shared->inside++, 0);
        shared->number++;
        taken++;
        (void)weft_task_yield();
        expect_is(--shared->inside, 0);
        expect_is(weft_mutex_unlock(&shared->mutex), 0);
    }
    return (void *)taken;
}

static void *make_haste(void *arg)
{
    enum { TASKS = 8 };
    uint64_t chance = 1;
    long taken = 0;
    long number = 0;

    for (int round = 0; round < scaled(30); round++) {
        struct shared shared = {.rounds = 50};
        weft_task tasks[TASKS];
        expect_is(weft_mutex_init(&shared.mutex, "hasty"), 0);
        for (int i = 0; i < TASKS; i++)
            tasks[i] = spawn(take_hastily, &shared);
        for (int i = 0; i < TASKS; i += 2) {
            expect_is(
                weft_task_sleep(weft_time_after(random_below(&chance, 50000))),
                0);
            expect_is(weft_task_cancel(tasks[i]), 0);
        }
        for (int i = 0; i < TASKS; i++)
            taken += join(tasks[i]);
        number += shared.number;
        expect_is(weft_mutex_try_lock(&shared.mutex), 0);
        expect_is(weft_mutex_unlock(&shared.mutex), 0);
        expect_is(weft_mutex_deinit(&shared.mutex), 0);
    }
    expect_is(number, taken);
    return arg;
}

static void test_deadlines_and_cancelling_under_way(void **state)
{
    (void)state;
    run(make_haste);
}

// ---- Order. ----

struct queue {
    weft_mutex mutex;
    int order[20];
    int count; // under the mutex
};

struct member {
    struct queue *queue;
    int number;
};

static void *stand_in_line(void *arg)
{
    struct member *member = arg;
    struct queue *queue = member->queue;

    expect_is(weft_mutex_lock(&queue->mutex, WEFT_NEVER), 0);
    queue->order[queue->count++] = member->number;
    expect_is(weft_mutex_unlock(&queue->mutex), 0);
    return NULL;
}

// Waiters get it in the order they came, and nobody barges in between.
static void *form_a_line(void *arg)
{
    struct queue queue = {.count = 0};
    struct member members[20];
    weft_task tasks[20];

    expect_is(weft_mutex_init(&queue.mutex, "line"), 0);
    expect_is(weft_mutex_lock(&queue.mutex, WEFT_NEVER), 0);
    for (int i = 0; i < 20; i++) {
        members[i] = (struct member){&queue, i};
        tasks[i] = spawn(stand_in_line, &members[i]);
        until_waiting(tasks[i], WEFT_WAIT_MUTEX);
    }
    expect_is(weft_mutex_unlock(&queue.mutex), 0);
    expect_is(weft_mutex_lock(&queue.mutex, WEFT_NEVER), 0);
    expect_is(queue.count, 20); // all of them were before us
    expect_is(weft_mutex_unlock(&queue.mutex), 0);
    for (int i = 0; i < 20; i++)
        join(tasks[i]);
    for (int i = 0; i < 20; i++)
        expect_is(queue.order[i], i);
    expect_is(weft_mutex_deinit(&queue.mutex), 0);
    return arg;
}

static void test_first_come_first_served(void **state)
{
    (void)state;
    run(form_a_line);
}

// From the unlock on the waiter holds it, though it has not run yet.
static void *hand_on(void *arg)
{
    struct queue queue = {.count = 0};
    struct member member = {&queue, 0};

    expect_is(weft_mutex_init(&queue.mutex, "baton"), 0);
    expect_is(weft_mutex_lock(&queue.mutex, WEFT_NEVER), 0);
    weft_task task = spawn(stand_in_line, &member);
    until_waiting(task, WEFT_WAIT_MUTEX);
    expect_is(weft_mutex_unlock(&queue.mutex), 0);
    expect_is(weft_mutex_try_lock(&queue.mutex), -EBUSY);
    expect_is(weft_mutex_deinit(&queue.mutex), -EBUSY);
    expect_is(weft_mutex_unlock(&queue.mutex), -EPERM);
    join(task);
    expect_is(weft_mutex_deinit(&queue.mutex), 0);
    return arg;
}

static void test_it_is_handed_on(void **state)
{
    (void)state;
    run_with(1, hand_on, NULL);
}

// ---- Giving up. ----

static void *lock_until(void *arg)
{
    struct shared *shared = arg;
    int error = weft_mutex_lock(&shared->mutex, WEFT_NEVER);

    if (error == 0)
        expect_is(weft_mutex_unlock(&shared->mutex), 0);
    return (void *)(intptr_t)error;
}

static void *time_out(void *arg)
{
    struct shared *shared = arg;

    expect_is(weft_mutex_lock(&shared->mutex, 0), -ETIMEDOUT);
    expect_is(weft_mutex_lock(&shared->mutex, -1), -ETIMEDOUT);
    int64_t until = weft_time_after(2 * MS);
    expect_is(weft_mutex_lock(&shared->mutex, until), -ETIMEDOUT);
    expect(weft_time_now() >= until);
    expect_is(weft_mutex_try_lock(&shared->mutex), -EBUSY);
    return NULL;
}

static void *give_up(void *arg)
{
    struct shared shared = {.rounds = 0};
    weft_task waiters[3];

    expect_is(weft_mutex_init(&shared.mutex, "held"), 0);
    expect_is(weft_mutex_lock(&shared.mutex, 0), 0); // free: the past will do
    join(spawn(time_out, &shared));
    for (int i = 0; i < 3; i++) {
        waiters[i] = spawn(lock_until, &shared);
        until_waiting(waiters[i], WEFT_WAIT_MUTEX);
    }
    // The one in the middle leaves the line; the others keep their places.
    expect_is(weft_task_cancel(waiters[1]), 0);
    expect_is(join(waiters[1]), -ECANCELED);
    expect_is(weft_mutex_unlock(&shared.mutex), 0);
    expect_is(join(waiters[0]), 0);
    expect_is(join(waiters[2]), 0);
    expect_is(weft_mutex_deinit(&shared.mutex), 0);
    return arg;
}

static void test_waiters_give_up(void **state)
{
    (void)state;
    run(give_up);
}

// ---- Misuse. ----

static void *try_it(void *mutex)
{
    return (void *)(intptr_t)weft_mutex_try_lock(mutex);
}

static void *lock_and_unlock(void *mutex)
{
    expect_is(weft_mutex_lock(mutex, WEFT_NEVER), 0);
    return (void *)(intptr_t)weft_mutex_unlock(mutex);
}

static void *unlock_it_there(void *mutex)
{
    return (void *)(intptr_t)weft_mutex_unlock(mutex);
}

static void *unlock_another_s(void *arg)
{
    weft_mutex mutex = WEFT_MUTEX_INIT("misused");

    expect_is(weft_mutex_lock(&mutex, WEFT_NEVER), 0);
    expect_is(join(spawn(unlock_it_there, &mutex)), -EPERM);
    expect_is(weft_mutex_try_lock(&mutex), -EDEADLK);
    expect_is(weft_mutex_unlock(&mutex), 0);
    expect_is(weft_mutex_deinit(&mutex), 0);
    return arg;
}

static void *misuse(void *arg)
{
    weft_mutex mutex;
    static weft_mutex zero;

    expect_is(weft_mutex_lock(NULL, WEFT_NEVER), -EINVAL);
    expect_is(weft_mutex_try_lock(NULL), -EINVAL);
    expect_is(weft_mutex_unlock(NULL), -EINVAL);
    expect_is(weft_mutex_lock(&zero, WEFT_NEVER), -EINVAL);
    expect_is(weft_mutex_try_lock(&zero), -EINVAL);
    expect_is(weft_mutex_unlock(&zero), -EINVAL);
    expect_is(weft_mutex_deinit(&zero), -EINVAL);

    expect_is(weft_mutex_init(&mutex, "misused"), 0);
    expect_is(weft_mutex_unlock(&mutex), -EPERM); // free
    expect_is(weft_mutex_lock(&mutex, WEFT_NEVER), 0);
    expect_is(weft_mutex_lock(&mutex, WEFT_NEVER), -EDEADLK);
    expect_is(weft_mutex_try_lock(&mutex), -EDEADLK);
    expect_is(weft_mutex_deinit(&mutex), -EBUSY);
    expect_is(weft_mutex_try_lock(&mutex), -EDEADLK); // ours all the while
    expect_is(weft_mutex_unlock(&mutex), 0);
    expect_is(weft_mutex_unlock(&mutex), -EPERM);
    expect_is(weft_mutex_deinit(&mutex), 0);
    expect_is(weft_mutex_deinit(&mutex), -EINVAL);
    expect_is(weft_mutex_lock(&mutex, WEFT_NEVER), -EINVAL);
    return arg;
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    run(misuse);
    run(unlock_another_s);
    assert_int_equal(weft_mutex_init(NULL, "none"), -EINVAL);
    assert_int_equal(weft_mutex_deinit(NULL), -EINVAL);
    misuse(NULL); // the main thread's turn
}

// What a thread holds another thread does not, nor does a task.
static void test_a_thread_holds_it(void **state)
{
    (void)state;
    weft_mutex mutex = WEFT_MUTEX_INIT("thread's");
    weft_runtime *runtime = start_with(1);

    assert_int_equal(weft_mutex_lock(&mutex, WEFT_NEVER), 0);
    assert_int_equal(join_thread(start_thread(unlock_it_there, &mutex)),
                     -EPERM);
    assert_int_equal(join(spawn_on(runtime, unlock_it_there, &mutex)), -EPERM);
    weft_task task = spawn_on(runtime, try_it, &mutex);
    assert_int_equal(join(task), -EBUSY);
    task = spawn_on(runtime, lock_and_unlock, &mutex);
    until_waiting_in(runtime, task, WEFT_WAIT_MUTEX);
    assert_int_equal(weft_mutex_unlock(&mutex), 0);
    assert_int_equal(join(task), 0);
    assert_int_equal(weft_mutex_lock(&mutex, 0), 0);
    assert_int_equal(weft_mutex_unlock(&mutex), 0);
    assert_int_equal(weft_mutex_deinit(&mutex), 0);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

static weft_mutex at_file_scope = WEFT_MUTEX_INIT("static");

static void *use_static(void *arg)
{
    enum { TASKS = 4 };
    weft_task tasks[TASKS];

    expect_is(weft_mutex_lock(&at_file_scope, WEFT_NEVER), 0);
    for (int i = 0; i < TASKS; i++)
        tasks[i] = spawn(lock_and_unlock, &at_file_scope);
    until_waiting(tasks[TASKS - 1], WEFT_WAIT_MUTEX);
    expect_is(weft_mutex_unlock(&at_file_scope), 0);
    for (int i = 0; i < TASKS; i++)
        expect_is(join(tasks[i]), 0);
    return arg;
}

static void test_it_may_be_static(void **state)
{
    (void)state;
    run(use_static);
    assert_int_equal(weft_mutex_deinit(&at_file_scope), 0);
    assert_int_equal(weft_mutex_init(&at_file_scope, "again"), 0);
    run(use_static);
}

// Several held at once, given back in any order.
static void *hold_many(void *arg)
{
    static const int order[] = {2, 0, 4, 1, 3};
    weft_mutex mutexes[5];

    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 5; i++) {
            expect_is(weft_mutex_init(&mutexes[i], NULL), 0);
            expect_is(weft_mutex_lock(&mutexes[i], WEFT_NEVER), 0);
        }
        for (int i = 0; i < 5; i++)
            expect_is(weft_mutex_unlock(&mutexes[order[i]]), 0);
        for (int i = 0; i < 5; i++)
            expect_is(weft_mutex_deinit(&mutexes[i]), 0);
    }
    return arg;
}

static void test_many_held_at_once(void **state)
{
    (void)state;
    run(hold_many);
}

static weft_mutex kept;

static void *keep_it(void *arg)
{
    (void)weft_task_set_name("keeper");
    expect_is(weft_mutex_lock(&kept, WEFT_NEVER), 0);
    return arg;
}

static void *start_keeper(void *arg)
{
    join(spawn(keep_it, NULL));
    return arg;
}

static void end_while_holding(void)
{
    (void)weft_mutex_init(&kept, "treasure");
    run_with(1, start_keeper, NULL);
}

static void test_ending_while_holding_is_told(void **state)
{
    (void)state;
    static struct child child;

    child_run(end_while_holding, &child);
    assert_true(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGABRT);
    assert_true(child_says(&child, "\"keeper\""));
    assert_true(child_says(&child, "\"treasure\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_tasks_and_threads_exclude_each_other),
        cmocka_unit_test(test_trying_excludes_too),
        cmocka_unit_test(test_deadlines_and_cancelling_under_way),
        cmocka_unit_test(test_first_come_first_served),
        cmocka_unit_test(test_it_is_handed_on),
        cmocka_unit_test(test_waiters_give_up),
        cmocka_unit_test(test_misuse_is_refused),
        cmocka_unit_test(test_a_thread_holds_it),
        cmocka_unit_test(test_it_may_be_static),
        cmocka_unit_test(test_many_held_at_once),
        cmocka_unit_test(test_ending_while_holding_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
