// test_inject.c -- The shared queue: order, shares, and each task exactly once.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sched/inject.h"

static struct task tasks[100];

static void push(struct inject *inject, int from, int count)
{
    struct task_list list = {0};

    for (int i = from; i < from + count; i++)
        task_list_push(&list, &tasks[i]);
    inject_push(inject, &list);
    assert_null(list.head);
    assert_int_equal(list.count, 0);
}

static void expect_next(struct inject *inject, uint32_t max, int from,
                        int count)
{
    struct task_list list = {0};

    inject_pop(inject, max, &list);
    assert_int_equal(list.count, count);
    for (int i = from; i < from + count; i++)
        assert_ptr_equal(task_list_pop(&list), &tasks[i]);
    assert_null(task_list_pop(&list));
}

static void test_in_order(void **state)
{
    (void)state;
    struct inject inject = {0};

    assert_true(inject_empty(&inject));
    expect_next(&inject, 5, 0, 0);
    push(&inject, 0, 1);
    assert_false(inject_empty(&inject));
    push(&inject, 1, 9);
    push(&inject, 10, 10);
    assert_int_equal(load_relaxed(&inject.length), 20);
    expect_next(&inject, 0, 0, 0);
    expect_next(&inject, 1, 0, 1);
    expect_next(&inject, 12, 1, 12);
    push(&inject, 20, 5);
    expect_next(&inject, 1000, 13, 12); // what there is
    assert_true(inject_empty(&inject));
    assert_int_equal(load_relaxed(&inject.total), 25);
}

static void test_popping_appends(void **state)
{
    (void)state;
    struct inject inject = {0};
    struct task_list list = {0};

    task_list_push(&list, &tasks[50]);
    push(&inject, 0, 2);
    inject_pop(&inject, 2, &list);
    assert_int_equal(list.count, 3);
    assert_ptr_equal(task_list_pop(&list), &tasks[50]);
    assert_ptr_equal(task_list_pop(&list), &tasks[0]);
}

// A dump finds each task's place without walking the queue.
static void test_looking(void **state)
{
    (void)state;
    struct inject inject = {0};
    struct task_list list = {0};
    uint32_t count;

    assert_int_equal(inject_look(&inject, &count), 0);
    assert_int_equal(count, 0);
    push(&inject, 0, 5);
    inject_pop(&inject, 3, &list);
    push(&inject, 5, 2);
    uint64_t before = inject_look(&inject, &count);
    assert_int_equal(count, 4);
    for (int i = 3; i < 7; i++)
        assert_int_equal(tasks[i].injected - before, i - 2);
    for (int i = 0; i < 3; i++)
        assert_true(tasks[i].injected <= before);
    expect_next(&inject, 4, 3, 4);
}

// Some push, some pop: nothing is lost and nothing comes twice.
enum {
    PUSHERS = 3,
    POPPERS = 3,
    EACH = 20000,
};

struct crowd {
    struct inject inject;
    struct task tasks[PUSHERS][EACH];
    int seen[PUSHERS][EACH]; // plain: each belongs to who has popped it
    atomic_u32 popped;
};

struct pusher {
    struct crowd *crowd;
    int number;
};

static void *push_all(void *arg)
{
    struct pusher *pusher = arg;
    struct task *own = pusher->crowd->tasks[pusher->number];

    for (int i = 0; i < EACH;) {
        struct task_list list = {0};
        for (int j = 0; j < 1 + i % 7 && i < EACH; j++)
            task_list_push(&list, &own[i++]);
        inject_push(&pusher->crowd->inject, &list);
    }
    return NULL;
}

static void *pop_all(void *arg)
{
    struct crowd *crowd = arg;

    while (load_relaxed(&crowd->popped) < PUSHERS * EACH) {
        struct task_list list = {0};
        struct task *task;
        inject_pop(&crowd->inject, 5, &list);
        if (list.count > 5)
            abort();
        (void)add_relaxed(&crowd->popped, list.count);
        while ((task = task_list_pop(&list)) != NULL) {
            size_t at = (size_t)(task - &crowd->tasks[0][0]);
            crowd->seen[at / EACH][at % EACH]++;
        }
    }
    return NULL;
}

static void test_each_comes_once(void **state)
{
    (void)state;
    struct crowd *crowd = calloc(1, sizeof *crowd);
    struct pusher pushers[PUSHERS];
    pthread_t threads[PUSHERS + POPPERS];

    for (int i = 0; i < PUSHERS + POPPERS; i++) {
        bool pushes = i < PUSHERS;
        if (pushes)
            pushers[i] = (struct pusher){crowd, i};
        assert_int_equal(
            pthread_create(&threads[i], NULL, pushes ? push_all : pop_all,
                           pushes ? (void *)&pushers[i] : (void *)crowd),
            0);
    }
    for (int i = 0; i < PUSHERS + POPPERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < PUSHERS; i++)
        for (int j = 0; j < EACH; j++)
            assert_int_equal(crowd->seen[i][j], 1);
    assert_true(inject_empty(&crowd->inject));
    assert_int_equal(load_relaxed(&crowd->inject.total), PUSHERS * EACH);
    free(crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_popping_appends),
        cmocka_unit_test(test_looking),
        cmocka_unit_test(test_each_comes_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
