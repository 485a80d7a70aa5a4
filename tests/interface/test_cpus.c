// test_cpus.c -- The number of workers follows the processors that may be used.
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/skip.h"
#include "support/tasks.h"

// All threads of the process, as `taskset -ap` does it.
static void allow_all(const cpu_set_t *set)
{
    DIR *threads = opendir("/proc/self/task");
    struct dirent *entry;

    assert_non_null(threads);
    while ((entry = readdir(threads)) != NULL)
        if (atoi(entry->d_name) > 0 &&
            sched_setaffinity(atoi(entry->d_name), sizeof *set, set) != 0)
            assert_int_equal(errno, ESRCH); // it has ended
    closedir(threads);
}

static unsigned running(const weft_runtime *runtime)
{
    weft_runtime_metrics metrics;

    assert_int_equal(weft_runtime_metrics_get(runtime, &metrics), 0);
    return metrics.workers_running;
}

static void await_running(const weft_runtime *runtime, unsigned wanted)
{
    while (running(runtime) != wanted)
        usleep(10000);
}

static atomic_int turns;
static atomic_bool over;

static void *turn(void *arg)
{
    while (!atomic_load(&over)) {
        atomic_fetch_add(&turns, 1);
        expect_is(weft_task_yield(), 0);
    }
    return arg;
}

static void await_turns(int count)
{
    int before = atomic_load(&turns);

    while (atomic_load(&turns) < before + count)
        usleep(1000);
}

// Tasks that are busy stay so, and an idle runtime follows too.
static void test_workers_follow_affinity(void **state)
{
    weft_runtime *runtime;
    weft_task tasks[8];
    cpu_set_t all, one;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    assert_int_equal(weft_runtime_new(NULL, &runtime), 0);
    unsigned at_first = running(runtime);
    if (at_first < 2) {
        weft_runtime_free(runtime);
        skip_because("there is one processor");
    }
    for (int i = 0; i < 8; i++)
        tasks[i] = spawn_on(runtime, turn, NULL);
    allow_all(&one);
    await_running(runtime, 1);
    await_turns(1000);
    allow_all(&all);
    await_running(runtime, at_first);
    await_turns(1000);
    atomic_store(&over, true);
    for (int i = 0; i < 8; i++)
        join(tasks[i]);
    allow_all(&one);
    await_running(runtime, 1);
    allow_all(&all);
    await_running(runtime, at_first);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

// Whoever says how many has so many.
static void test_a_given_number_stays(void **state)
{
    cpu_set_t all, one;
    weft_runtime *asked = start_with(2);
    weft_runtime *follows;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    assert_int_equal(weft_runtime_new(NULL, &follows), 0);
    allow_all(&one);
    await_running(follows, 1);
    assert_int_equal(running(asked), 2);
    allow_all(&all);
    assert_int_equal(weft_runtime_free(follows), 0);
    assert_int_equal(weft_runtime_free(asked), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_follow_affinity),
        cmocka_unit_test(test_a_given_number_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
