// test_table.c -- The task table: handles, recycling, limits.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/child.h"
#include "support/skip.h"
#include "task/table.h"

enum {
    CLASS = 16,
    TAG = 7,
    GENERATION = 40,
};

static void init(struct table *table)
{
    assert_int_equal(table_init(table, TAG, GENERATION), 0);
}

static struct task *take(struct table *table, uint32_t class)
{
    struct task_list list = {0};

    assert_int_equal(table_take(table, class, 1, &list), 0);
    assert_int_equal(list.count, 1);
    return task_list_pop(&list);
}

static void give(struct table *table, struct task *task)
{
    struct task_list list = {0};

    store_relaxed(&task->generation, load_relaxed(&task->generation) + 1);
    task_list_push(&list, task);
    table_give(table, &list);
    assert_int_equal(list.count, 0);
}

static void test_handles(void **state)
{
    (void)state;
    struct table table;

    init(&table);
    assert_null(table_find(&table, (weft_task){0}));
    for (uint32_t i = 0; i < 3000; i++) { // over several segments
        struct task *task = take(&table, CLASS);
        weft_task handle = task_handle(task);
        assert_int_equal(task->index, i);
        assert_ptr_equal(table_at(&table, i), task);
        assert_int_equal(HANDLE_INDEX(handle), i);
        assert_int_equal(HANDLE_TAG(handle), TAG);
        assert_int_equal(HANDLE_GENERATION(handle), GENERATION);
        assert_ptr_equal(table_find(&table, handle), task);
        assert_true(table_is(task, handle));
        assert_int_equal(load_relaxed(&table.used), i + 1);
    }
    weft_task beyond = {(uint64_t)GENERATION << 32 | TAG << 24 | 3000};
    assert_null(table_find(&table, beyond));
    assert_null(table_find(&table, (weft_task){UINT64_MAX}));
    table_deinit(&table);
}

static void test_generations(void **state)
{
    (void)state;
    struct table table;
    weft_task handles[50];
    struct task *task;

    init(&table);
    for (int i = 0; i < 50; i++) {
        task = take(&table, CLASS);
        handles[i] = task_handle(task);
        for (int j = 0; j < i; j++) {
            assert_null(table_find(&table, handles[j]));
            assert_false(table_is(task, handles[j]));
        }
        assert_ptr_equal(table_find(&table, handles[i]), task);
        give(&table, task);
    }
    assert_int_equal(load_relaxed(&table.used), 1); // it was the same slot
    table_deinit(&table);
}

// What was given last comes first: its stack is still warm.
static void test_newest_first(void **state)
{
    (void)state;
    struct table table;
    struct task *tasks[20];
    struct task_list list = {0};

    init(&table);
    assert_int_equal(table_take(&table, CLASS, 20, &list), 0);
    assert_int_equal(list.count, 20);
    for (int i = 0; i < 20; i++)
        tasks[i] = task_list_pop(&list);
    for (int i = 0; i < 20; i++)
        give(&table, tasks[i]);
    for (int i = 19; i >= 10; i--)
        assert_ptr_equal(take(&table, CLASS), tasks[i]);
    for (int i = 10; i < 20; i++) // a list: its last is taken first
        task_list_push(&list, tasks[i]);
    table_give(&table, &list);
    for (int i = 19; i >= 0; i--)
        assert_ptr_equal(take(&table, CLASS), tasks[i]);
    table_deinit(&table);
}

// A slot keeps its stack, so each size has free slots of its own.
static void test_a_slot_keeps_its_stack(void **state)
{
    (void)state;
    struct table table;

    init(&table);
    struct task *small = take(&table, 14);
    struct task *large = take(&table, 20);
    struct task_top *top = large->top;
    give(&table, small);
    give(&table, large);
    assert_ptr_equal(take(&table, 20), large);
    assert_ptr_equal(large->top, top);
    assert_int_equal(large->stack_class, 20);
    assert_ptr_equal(take(&table, 14), small);
    assert_int_equal(take(&table, 20)->index, 2);
    table_deinit(&table);
}

static void test_the_limit(void **state)
{
    (void)state;
    struct table table;
    struct task_list list = {0};

    init(&table);
    store_relaxed(&table.used, TABLE_MAX - 10); // as if these were taken
    store_relaxed(&table.segments[SEGMENTS - 1],
                  port_reserve(sizeof(struct segment), 4096, false));
    assert_int_equal(table_take(&table, CLASS, 4, &list), 0);
    assert_int_equal(table_take(&table, CLASS, 32, &list), 0); // what there is
    assert_int_equal(list.count, 10);
    assert_int_equal(table_take(&table, CLASS, 1, &list), -EAGAIN);
    assert_int_equal(list.count, 10);
    struct task *task = task_list_pop(&list);
    give(&table, task);
    assert_int_equal(table_take(&table, CLASS, 5, &list), 0);
    assert_int_equal(list.count, 10);
    assert_int_equal(table_take(&table, CLASS, 5, &list), -EAGAIN);
    port_unreserve(load_relaxed(&table.segments[SEGMENTS - 1]),
                   sizeof(struct segment));
    table_deinit(&table);
}

// ---- Without memory. ----

#if !defined(WEFT_ASAN) && !defined(WEFT_TSAN)

// Whoever is refused a stack has lost nothing: once there is memory, the same
// slot is handed out.
static void run_out_of_memory(void)
{
    struct rlimit limit;
    struct table table;
    struct task_list list = {0};
    int error;

    if (table_init(&table, TAG, GENERATION) != 0)
        _exit(1);
    (void)getrlimit(RLIMIT_AS, &limit);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 4096; // less than is used: no more to be had
    (void)setrlimit(RLIMIT_AS, &limit);
    while ((error = table_take(&table, 20, 1, &list)) == 0)
        continue;
    if (error != -ENOMEM || list.count > 16)
        _exit(2);
    uint32_t count = list.count;
    uint32_t used = load_relaxed(&table.used);
    for (int i = 0; i < 100; i++)
        if (table_take(&table, 24, 3, &list) != -ENOMEM)
            _exit(3);
    limit.rlim_cur = before;
    (void)setrlimit(RLIMIT_AS, &limit);
    if (list.count != count || load_relaxed(&table.used) != used)
        _exit(4);
    if (table_take(&table, 20, 1, &list) != 0 || list.tail->index != used)
        _exit(5);
    table_deinit(&table);
}

#endif

static void test_out_of_memory(void **state)
{
    (void)state;
#if defined(WEFT_ASAN) || defined(WEFT_TSAN)
    skip_because("the sanitizer needs the address space itself");
#else
    static struct child child;

    child_run(run_out_of_memory, &child);
    assert_true(child_is_well(&child));
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handles),
        cmocka_unit_test(test_generations),
        cmocka_unit_test(test_newest_first),
        cmocka_unit_test(test_a_slot_keeps_its_stack),
        cmocka_unit_test(test_the_limit),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
