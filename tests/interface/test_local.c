// test_local.c -- Task-local storage: each task's own values, and their ends.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

static atomic_int ends;
static int order[3]; // of the ends

static void count_end(void *value)
{
    (void)atomic_fetch_add(&ends, (int)(intptr_t)value);
}

static weft_local counted = WEFT_LOCAL_INIT(count_end);
static weft_local plain = WEFT_LOCAL_INIT(NULL);
static weft_local owned = WEFT_LOCAL_INIT(free);

// ---- Each has its own. ----

static void *keep_own(void *arg)
{
    expect(weft_local_get(&plain) == NULL); // not its parent's
    expect_is(weft_local_set(&plain, arg), 0);
    expect_is(weft_local_set(&counted, (void *)1), 0);
    expect_is(weft_local_set(&owned, malloc(1)), 0);
    for (int i = 0; i < 20; i++) { // on any worker
        (void)weft_task_yield();
        expect(weft_local_get(&plain) == arg);
        expect(weft_local_get(&counted) == (void *)1);
    }
    free(weft_local_get(&owned)); // one that is replaced is not ended
    expect_is(weft_local_set(&owned, malloc(1)), 0);
    return NULL;
}

static void *keep_apart(void *arg)
{
    enum { TASKS = 50 };
    weft_task tasks[TASKS];

    expect_is(weft_local_set(&plain, &tasks), 0);
    atomic_store(&ends, 0);
    for (int i = 0; i < TASKS; i++)
        tasks[i] = spawn(keep_own, &tasks[i]);
    for (int i = 0; i < TASKS; i++)
        (void)join(tasks[i]);
    expect_is(atomic_load(&ends), TASKS);
    expect(weft_local_get(&plain) == &tasks);
    return arg;
}

static void test_each_has_its_own(void **state)
{
    (void)state;
    run(keep_apart);
}

// ---- The end. ----

static void note_end(void *value)
{
    static int count;

    // It is still the task, which may park, but keeps nothing any more.
    expect_is(weft_local_set(&plain, value), -EPERM);
    expect(weft_local_get(&plain) == NULL);
    expect_is(weft_task_sleep(weft_time_after(1000)), 0);
    order[count++ % 3] = (int)(intptr_t)value;
}

static weft_local first = WEFT_LOCAL_INIT(note_end);
static weft_local second = WEFT_LOCAL_INIT(note_end);
static weft_local third = WEFT_LOCAL_INIT(note_end);

static void *set_three(void *arg)
{
    expect_is(weft_local_set(&first, (void *)1), 0);
    expect_is(weft_local_set(&plain, (void *)7), 0);
    expect_is(weft_local_set(&second, (void *)2), 0);
    expect_is(weft_local_set(&third, (void *)3), 0);
    expect_is(weft_local_set(&second, (void *)4), 0);
    expect_is(weft_local_set(&plain, NULL), 0);
    expect_is(weft_local_set(&plain, NULL), 0);
    expect(weft_local_get(&plain) == NULL);
    return arg;
}

static void *end_three(void *arg)
{
    expect_is(join(spawn(set_three, (void *)9)), 9);
    expect_is(order[0], 3);
    expect_is(order[1], 4);
    expect_is(order[2], 1);
    return arg;
}

static void test_the_last_set_ends_first(void **state)
{
    (void)state;
    run(end_three);
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    assert_int_equal(weft_local_set(NULL, NULL), -EINVAL);
    assert_int_equal(weft_local_set(&plain, NULL), -EPERM);
    assert_null(weft_local_get(&plain));
    assert_null(weft_local_get(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_has_its_own),
        cmocka_unit_test(test_the_last_set_ends_first),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
