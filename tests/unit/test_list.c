// test_list.c -- Lists whose links lie in their members.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"
#include "task/task.h"

struct member {
    int before;
    struct list link;
    int number;
};

static int number_of(struct list *link)
{
    return link == NULL ? -1 : container_of(link, struct member, link)->number;
}

static void test_pushing_and_popping(void **state)
{
    (void)state;
    struct member members[5] = {0};
    struct list head;

    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_pop_front(&head));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5; i++) {
            members[i].number = i;
            assert_false(list_linked(&members[i].link));
            list_push_back(&head, &members[i].link);
            assert_true(list_linked(&members[i].link));
            assert_false(list_empty(&head));
        }
        for (int i = 0; i < 5; i++)
            assert_int_equal(number_of(list_pop_front(&head)), i);
        assert_true(list_empty(&head));
    }
}

// Any of them can be taken out, and the others stay in order.
static void test_removing(void **state)
{
    (void)state;
    for (int mask = 0; mask < 32; mask++) {
        struct member members[5] = {0};
        struct list head;
        list_init(&head);
        for (int i = 0; i < 5; i++) {
            members[i].number = i;
            list_push_back(&head, &members[i].link);
        }
        for (int i = 4; i >= 0; i--)
            if (mask >> i & 1) {
                list_remove(&members[i].link);
                assert_false(list_linked(&members[i].link));
            }
        for (int i = 0; i < 5; i++)
            if ((mask >> i & 1) == 0)
                assert_int_equal(number_of(list_pop_front(&head)), i);
        assert_true(list_empty(&head));
        assert_null(list_pop_front(&head));
    }
}

// Lists of slots, through their `next`.
static void test_lists_of_tasks(void **state)
{
    (void)state;
    static struct task tasks[6];
    struct task_list list = {0};
    struct task_list more = {0};

    assert_null(task_list_pop(&list));
    task_list_append(&list, &more); // nothing to nothing
    assert_null(list.head);
    for (int i = 0; i < 3; i++)
        task_list_push(&more, &tasks[i]);
    task_list_append(&list, &more);
    assert_int_equal(list.count, 3);
    assert_int_equal(more.count, 0);
    assert_null(more.head);
    assert_null(more.tail);
    task_list_append(&list, &more);
    assert_int_equal(list.count, 3);
    for (int i = 3; i < 6; i++)
        task_list_push(&more, &tasks[i]);
    task_list_append(&list, &more);
    assert_int_equal(list.count, 6);
    for (int i = 0; i < 6; i++)
        assert_ptr_equal(task_list_pop(&list), &tasks[i]);
    assert_null(task_list_pop(&list));
    assert_null(list.tail);
    task_list_push(&list, &tasks[4]);
    assert_ptr_equal(task_list_pop(&list), &tasks[4]);
    assert_int_equal(list.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pushing_and_popping),
        cmocka_unit_test(test_removing),
        cmocka_unit_test(test_lists_of_tasks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
