// test_runtime.c -- Starting and ending runtimes: options, several, under load.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

#define MS WEFT_MILLISECOND

static void *echo(void *arg)
{
    return arg;
}

// ---- Starting and ending. ----

static void test_starting_and_ending(void **state)
{
    (void)state;
    for (int i = 0; i < scaled(100); i++) {
        weft_runtime *runtime = start_with(1 + (unsigned)i % 8);
        if (i % 2)
            expect_is(weft_runtime_run(runtime, echo, &i, NULL), 0);
        expect_is(weft_runtime_free(runtime), 0);
    }
    assert_int_equal(weft_runtime_free(NULL), 0);
}

static void test_running_gives_the_result(void **state)
{
    (void)state;
    weft_runtime *runtime;
    void *result = NULL;
    int number;

    assert_int_equal(weft_run(NULL, echo, &number, &result), 0);
    assert_ptr_equal(result, &number);
    assert_int_equal(weft_runtime_new(NULL, &runtime), 0);
    for (intptr_t i = 0; i < 100; i++) {
        assert_int_equal(weft_runtime_run(runtime, echo, (void *)i, &result),
                         0);
        assert_ptr_equal(result, (void *)i);
        assert_int_equal(weft_runtime_run(runtime, echo, NULL, NULL), 0);
    }
    assert_int_equal(weft_runtime_free(runtime), 0);
}

static void expect_refused(weft_runtime_options options)
{
    weft_runtime *runtime = (weft_runtime *)&runtime;

    expect_is(weft_runtime_new(&options, &runtime), -EINVAL);
    expect(runtime == (weft_runtime *)&runtime); // nothing was stored
    expect_is(weft_run(&options, echo, NULL, NULL), -EINVAL);
}

static void test_bad_options_are_refused(void **state)
{
    (void)state;
    const weft_runtime_options good = {.size = sizeof good};
    weft_runtime_options bad;

    expect_refused((weft_runtime_options){.size = 0});
    expect_refused((weft_runtime_options){.size = sizeof good - 1});
    expect_refused((weft_runtime_options){.size = sizeof good + 1});
    bad = good, bad.workers = 1025, expect_refused(bad);
    bad = good, bad.workers = UINT32_MAX, expect_refused(bad);
    bad = good, bad.stack_size = 1, expect_refused(bad);
    bad = good, bad.stack_size = 16383, expect_refused(bad);
    bad = good, bad.stack_size = (1 << 30) + 1, expect_refused(bad);
    bad = good, bad.stack_size = SIZE_MAX, expect_refused(bad);
    bad = good, bad.max_tasks = 16777217, expect_refused(bad);
    bad = good, bad.max_tasks = UINT32_MAX, expect_refused(bad);
    bad = good, bad.no_yield_ns = -1, expect_refused(bad);
    bad = good, bad.dump_patience_ns = -1, expect_refused(bad);
    bad = good, bad.dump_patience_ns = 250 * MS + 1, expect_refused(bad);
    bad = good, bad.dump_grace_ns = -1, expect_refused(bad);
    bad = good, bad.dump_threads = 65, expect_refused(bad);
    bad = good, bad.dump_grace_ns = 250 * MS + 1, expect_refused(bad);
    bad.dump_patience_ns = 10 * MS, bad.dump_grace_ns = 10 * MS + 1;
    expect_refused(bad);
    bad = good, bad.capture_signal = -1, expect_refused(bad);
    bad = good, bad.capture_signal = 9, expect_refused(bad);  // SIGKILL
    bad = good, bad.capture_signal = 11, expect_refused(bad); // SIGSEGV
    bad = good, bad.capture_signal = 32, expect_refused(bad); // the C library's
    bad = good, bad.capture_signal = 10000, expect_refused(bad);
    bad = good, bad.capture_signal = bad.dump_signal = 10;
    expect_refused(bad);
    bad = good, bad.dump_signal = 32, expect_refused(bad);
    bad = good, bad.dump_signal = -2, expect_refused(bad);
    bad = good, bad.dump_signal = 10000, expect_refused(bad);
    bad = good, bad.dump_signal = 9, expect_refused(bad); // SIGKILL
    assert_int_equal(weft_runtime_new(&good, NULL), -EINVAL);
}

static void test_null_is_refused(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(1);

    assert_int_equal(weft_runtime_run(NULL, echo, NULL, NULL), -EINVAL);
    assert_int_equal(weft_runtime_run(runtime, NULL, NULL, NULL), -EINVAL);
    assert_int_equal(weft_run(NULL, NULL, NULL, NULL), -EINVAL);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

static void test_options_at_their_bounds(void **state)
{
    (void)state;
    weft_runtime_options options = {
        .size = sizeof options,
        .name = "0123456789012345678901234567890123456789"
                "0123456789012345678901234567890123456789",
        .stack_size = 16384,
        .max_tasks = 16777216,
        .dump_patience_ns = 250 * MS,
        .dump_grace_ns = 250 * MS,
        .capture_signal = 64, // SIGRTMAX
        .no_yield_ns = INT64_MAX,
        .dump_signal = -1,
        .workers = 64,
    };

    assert_int_equal(weft_run(&options, echo, NULL, NULL), 0);
    options.stack_size = 1 << 30;
    options.max_tasks = 1;
    options.dump_patience_ns = 1;
    options.dump_grace_ns = 1;
    options.no_yield_ns = 1;
    assert_int_equal(weft_run(&options, echo, NULL, NULL), 0);
}

// ---- Inside a task. ----

static void *refuse_inside(void *arg)
{
    weft_runtime *own = weft_runtime_self();

    expect_is(weft_runtime_run(own, echo, NULL, NULL), -EDEADLK);
    expect_is(weft_runtime_run(arg, echo, NULL, NULL), -EDEADLK);
    expect_is(weft_runtime_free(own), -EDEADLK);
    expect_is(weft_runtime_free(arg), -EDEADLK);
    expect_is(weft_runtime_free(NULL), -EDEADLK);
    return NULL;
}

static void *start_another(void *arg)
{
    (void)arg;
    return start_with(2);
}

static void test_a_task_must_not_block_its_worker(void **state)
{
    (void)state;
    weft_runtime *one = start_with(1);
    weft_runtime *other = start_with(1);
    void *third;

    assert_int_equal(weft_runtime_run(one, refuse_inside, other, NULL), 0);
    assert_int_equal(weft_runtime_run(one, start_another, NULL, &third), 0);
    assert_int_equal(weft_runtime_run(third, echo, NULL, NULL), 0);
    assert_int_equal(weft_runtime_free(third), 0);
    assert_int_equal(weft_runtime_free(other), 0);
    assert_int_equal(weft_runtime_free(one), 0);
}

static int count_threads(void)
{
    char line[256];
    int threads = -1;
    FILE *file = fopen("/proc/self/status", "r");

    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Threads: %d", &threads) == 1)
            break;
    fclose(file);
    return threads;
}

static void *run_inside(void *arg)
{
    int before = count_threads();

    expect_is(weft_run(NULL, echo, arg, NULL), -EDEADLK);
    expect(count_threads() <= before); // and nothing was left behind
    return NULL;
}

static void test_a_runtime_is_not_run_inside(void **state)
{
    (void)state;
    run_with(1, run_inside, NULL);
}

// ---- Several at once. ----

static void *pass_along(void *arg)
{
    weft_runtime **others = arg;
    intptr_t sum = 0;

    for (int i = 0; i < 30; i++)
        sum += join(spawn_on(others[i % 3], echo, (void *)(intptr_t)i));
    expect_is(sum, 29 * 30 / 2);
    return NULL;
}

static void test_several_at_once(void **state)
{
    (void)state;
    weft_runtime *runtimes[3];
    weft_task tasks[30];

    for (int round = 0; round < scaled(10); round++) {
        for (unsigned i = 0; i < 3; i++)
            runtimes[i] = start_with(1 + i);
        for (int i = 0; i < 30; i++)
            tasks[i] = spawn_on(runtimes[i % 3], pass_along, runtimes);
        for (int i = 0; i < 30; i++)
            join(tasks[i]);
        for (int i = 2; i >= 0; i--)
            expect_is(weft_runtime_free(runtimes[i]), 0);
    }
}

// There are 255 numbers for them; a freed one can be had again, and an old
// handle does not mean a task of the next that has it.
static void test_the_most_runtimes(void **state)
{
    (void)state;
    enum { MOST = 255 };
    weft_runtime_options options = {.size = sizeof options, .workers = 1};
    weft_runtime *runtimes[MOST];
    weft_runtime *more;
    weft_task old = {0};

    for (int i = 0; i < MOST; i++)
        assert_int_equal(weft_runtime_new(&options, &runtimes[i]), 0);
    assert_int_equal(weft_runtime_new(&options, &more), -EAGAIN);
    old = spawn_on(runtimes[7], echo, NULL);
    assert_int_equal(weft_runtime_free(runtimes[7]), 0);
    assert_int_equal(weft_runtime_new(&options, &runtimes[7]), 0);
    weft_task next = spawn_on(runtimes[7], echo, NULL);
    assert_true(next.id != old.id);
    join(next);
    for (int i = 0; i < MOST; i++)
        assert_int_equal(weft_runtime_free(runtimes[i]), 0);
}

// ---- Ending under load. ----

static void *sleep_for_ever(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)weft_task_sleep(WEFT_NEVER);
}

static void *work_until_cancelled(void *arg)
{
    while (weft_task_yield() == 0)
        continue;
    return arg;
}

// As many as there are, each starts others until no more can be started.
static void *spread(void *arg)
{
    while (weft_task_spawn(NULL, arg, NULL, NULL) == 0)
        if (weft_task_yield() != 0 && weft_task_sleep(0) == -ECANCELED &&
            weft_task_spawn(NULL, work_until_cancelled, NULL, NULL) != 0)
            break;
    return NULL;
}

// What need not wait takes effect, cancelled or not: hence the yield.
static void *wait_for_each_other(void *arg)
{
    weft_channel *channel = arg;
    int number = 0;
    int error = 0;

    while (error == 0) {
        error = weft_channel_send(channel, &number, WEFT_NEVER);
        if (error == 0)
            error = weft_channel_recv(channel, &number, WEFT_NEVER);
        if (error == 0)
            error = weft_task_yield();
    }
    expect_is(error, -ECANCELED);
    return NULL;
}

static void *hold_and_wait(void *arg)
{
    weft_mutex *mutex = arg;
    int error;

    while ((error = weft_mutex_lock(mutex, WEFT_NEVER)) == 0) {
        int slept = weft_task_sleep(weft_time_after(10000));
        expect_is(weft_mutex_unlock(mutex), 0);
        if (slept != 0)
            break;
    }
    return NULL;
}

static void load(weft_runtime *runtime, weft_channel *channel,
                 weft_mutex *mutex)
{
    for (int i = 0; i < 20; i++) {
        (void)spawn_on(runtime, sleep_for_ever, NULL); // never joined
        expect_is(
            weft_task_detach(spawn_on(runtime, work_until_cancelled, NULL)), 0);
        (void)spawn_on(runtime, wait_for_each_other, channel);
        (void)spawn_on(runtime, hold_and_wait, mutex);
        (void)spawn_on(runtime, echo, NULL);
    }
    (void)spawn_on(runtime, spread, echo);
}

static void test_ending_under_load(void **state)
{
    (void)state;
    for (int i = 0; i < scaled(40); i++) {
        weft_runtime *runtime = start_with(1u << i % 4);
        weft_channel *channel;
        weft_mutex mutex;
        assert_int_equal(weft_channel_new(sizeof(int), 3, NULL, &channel), 0);
        assert_int_equal(weft_mutex_init(&mutex, "load"), 0);
        load(runtime, channel, &mutex);
        if (i % 3 == 0)
            assert_int_equal(weft_runtime_run(runtime, echo, NULL, NULL), 0);
        assert_int_equal(weft_runtime_free(runtime), 0);
        assert_int_equal(weft_channel_free(channel), 0);
        assert_int_equal(weft_mutex_deinit(&mutex), 0);
    }
}

// Once it is ending no task can be started: neither from inside, nor by a
// thread whose call comes before the end.
struct ending {
    weft_runtime *runtime;
    atomic_int refused; // the thread has been
};

static void *hold_up_the_end(void *arg)
{
    struct ending *ending = arg;

    expect_is(weft_task_sleep(WEFT_NEVER), -ECANCELED);
    expect_is(weft_task_spawn(NULL, echo, NULL, NULL), -ESHUTDOWN);
    while (atomic_load(&ending->refused) == 0)
        (void)weft_task_yield();
    return NULL;
}

static void *spawn_until_refused(void *arg)
{
    struct ending *ending = arg;
    weft_task_options options = {.size = sizeof options,
                                 .runtime = ending->runtime};
    int error;

    while ((error = weft_task_spawn(&options, echo, NULL, NULL)) == 0)
        continue;
    expect_is(error, -ESHUTDOWN);
    expect_is(weft_runtime_run(ending->runtime, echo, NULL, NULL), -ESHUTDOWN);
    atomic_store(&ending->refused, 1);
    return NULL;
}

static void test_no_new_tasks_at_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < scaled(50); i++) {
        struct ending ending = {start_with(1 + (unsigned)i % 2), 0};
        pthread_t thread;
        (void)spawn_on(ending.runtime, hold_up_the_end, &ending);
        assert_int_equal(
            pthread_create(&thread, NULL, spawn_until_refused, &ending), 0);
        assert_int_equal(weft_runtime_free(ending.runtime), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

// A thread's spawn may still be on its way out when the task it started has
// told another thread to end the runtime.
static void *tell(void *arg)
{
    atomic_store((atomic_int *)arg, 1);
    return NULL;
}

struct start {
    weft_runtime *runtime;
    atomic_int runs;
};

static void *spawn_teller(void *arg)
{
    struct start *start = arg;
    weft_task_options options = {.size = sizeof options,
                                 .runtime = start->runtime};

    expect_is(weft_task_spawn(&options, tell, &start->runs, NULL), 0);
    return NULL;
}

static void test_ending_while_a_thread_spawns(void **state)
{
    (void)state;
    for (int i = 0; i < scaled(300); i++) {
        struct start start = {start_with(1), 0};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, spawn_teller, &start),
                         0);
        while (atomic_load(&start.runs) == 0)
            continue;
        assert_int_equal(weft_runtime_free(start.runtime), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

// Joins in progress in threads end with a result while the runtime goes.
struct joiner {
    weft_task task;
    atomic_int *begun;
};

static void *join_as_thread(void *arg)
{
    struct joiner *joiner = arg;
    void *result = NULL;
    int error;

    (void)atomic_fetch_add(joiner->begun, 1);
    do // the other thread looks whether we are there by trying to join
        error = weft_task_join(joiner->task, WEFT_NEVER, &result);
    while (error == -EBUSY);
    expect_is(error, 0);
    expect_is((intptr_t)result, -ECANCELED);
    return NULL;
}

static void *end_late(void *arg)
{
    atomic_int *begun = arg;

    expect_is(weft_task_sleep(WEFT_NEVER), -ECANCELED);
    while (atomic_load(begun) < 4)
        (void)weft_task_yield();
    return (void *)(intptr_t)-ECANCELED;
}

static void test_ending_while_threads_join(void **state)
{
    (void)state;
    for (int i = 0; i < scaled(50); i++) {
        weft_runtime *runtime = start_with(2);
        struct joiner joiners[4];
        pthread_t threads[4];
        atomic_int begun = 0;
        for (int j = 0; j < 4; j++) {
            joiners[j] =
                (struct joiner){spawn_on(runtime, end_late, &begun), &begun};
            assert_int_equal(
                pthread_create(&threads[j], NULL, join_as_thread, &joiners[j]),
                0);
        }
        while (atomic_load(&begun) < 4)
            continue;
        for (int j = 0; j < 4; j++) // each join is there
            while (weft_task_join(joiners[j].task, 0, NULL) != -EBUSY)
                continue;
        assert_int_equal(weft_runtime_free(runtime), 0);
        for (int j = 0; j < 4; j++)
            assert_int_equal(pthread_join(threads[j], NULL), 0);
    }
}

// Calls by handle may come at any time, even after the end.
enum { HANDLES = 200 };

struct caller {
    weft_task *tasks;
    atomic_int *begun;
    int kind;
};

static int call(weft_task task, int kind)
{
    switch (kind) {
    case 0:
        return weft_task_join(task, 0, NULL);
    case 1:
        return weft_task_detach(task);
    case 2:
        return weft_task_cancel(task);
    default:
        return weft_task_join(task, weft_time_after(10000), NULL);
    }
}

static void *call_by_handle(void *arg)
{
    struct caller *caller = arg;
    int gone = 0;

    (void)atomic_fetch_add(caller->begun, 1);
    while (gone < HANDLES) {
        gone = 0;
        for (int i = 0; i < HANDLES; i++) {
            int error = call(caller->tasks[i], caller->kind);
            expect(error == 0 || error == -ESRCH || error == -ETIMEDOUT ||
                   error == -EBUSY);
            gone += error == -ESRCH;
        }
    }
    return NULL;
}

static void call_while_it_ends(unsigned workers)
{
    weft_runtime *runtime = start_with(workers);
    weft_task tasks[HANDLES];
    struct caller callers[4];
    pthread_t threads[4];
    atomic_int begun = 0;

    for (int i = 0; i < HANDLES; i++)
        tasks[i] = spawn_on(runtime, i % 4 ? echo : sleep_for_ever, NULL);
    for (int i = 0; i < 4; i++) {
        callers[i] = (struct caller){tasks, &begun, i};
        expect_is(
            pthread_create(&threads[i], NULL, call_by_handle, &callers[i]), 0);
    }
    while (atomic_load(&begun) < 4)
        continue;
    expect_is(weft_runtime_free(runtime), 0);
    for (int i = 0; i < 4; i++)
        expect_is(pthread_join(threads[i], NULL), 0);
}

static void test_handles_that_outlive_it(void **state)
{
    (void)state;
    for (int i = 0; i < scaled(20); i++)
        call_while_it_ends(1 + (unsigned)i % 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starting_and_ending),
        cmocka_unit_test(test_running_gives_the_result),
        cmocka_unit_test(test_bad_options_are_refused),
        cmocka_unit_test(test_null_is_refused),
        cmocka_unit_test(test_options_at_their_bounds),
        cmocka_unit_test(test_a_task_must_not_block_its_worker),
        cmocka_unit_test(test_a_runtime_is_not_run_inside),
        cmocka_unit_test(test_several_at_once),
        cmocka_unit_test(test_the_most_runtimes),
        cmocka_unit_test(test_ending_under_load),
        cmocka_unit_test(test_no_new_tasks_at_the_end),
        cmocka_unit_test(test_ending_while_a_thread_spawns),
        cmocka_unit_test(test_ending_while_threads_join),
        cmocka_unit_test(test_handles_that_outlive_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
