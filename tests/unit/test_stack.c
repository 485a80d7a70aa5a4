// test_stack.c -- Stacks: sizes, bounds, guards that fault, canaries.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/child.h"
#include "support/skip.h"
#include "task/stack.h"

static void test_classes(void **state)
{
    (void)state;
    assert_int_equal(stack_class(0), 0);
    assert_int_equal(stack_class(1), 0);
    assert_int_equal(stack_class((16 << 10) - 1), 0);
    assert_int_equal(stack_class(16 << 10), 14);
    assert_int_equal(stack_class((16 << 10) + 1), 15);
    assert_int_equal(stack_class(64 << 10), 16);
    assert_int_equal(stack_class((1 << 30) - 1), 30);
    assert_int_equal(stack_class(1 << 30), 30);
    assert_int_equal(stack_class((1 << 30) + 1), 0);
    assert_int_equal(stack_class(SIZE_MAX), 0);
}

static void test_bounds(void **state)
{
    (void)state;
    struct stacks stacks = {0};
    struct task *tasks = calloc(500, sizeof *tasks);

    for (uint32_t i = 0; i < 500; i++) {
        struct task *task = &tasks[i];
        uint32_t class = 14 + i % 9;
        size_t size = (size_t)1 << class;
        task->index = i;
        assert_true(stack_new(&stacks, task, class));
        assert_int_equal(task->stack_class, class);
        assert_int_equal((uintptr_t)stack_low(task) % size, 0);
        assert_int_equal(stack_high(task) - stack_low(task), size);
        assert_true((char *)(task->top + 1) <= stack_high(task));
        assert_true((char *)task->top > stack_high(task) - 2048);
        assert_int_equal((uintptr_t)task->top % 16, 0);
        assert_true(stack_intact(task));
        for (uint32_t j = 0; j < i; j++) // they do not overlap
            assert_true(stack_high(&tasks[j]) <= stack_low(task) ||
                        stack_high(task) <= stack_low(&tasks[j]));
    }
    stacks_deinit(&stacks);
    free(tasks);
}

// All of it but the guard can be written.
static void test_the_whole_stack_is_there(void **state)
{
    (void)state;
    struct stacks stacks = {0};

    for (uint32_t class = 14; class <= 22; class ++) {
        struct task task = {.index = class};
        assert_true(stack_new(&stacks, &task, class));
        char *low = stack_low(&task) + stack_guard_size();
        memset(low, 1, (size_t)((char *)task.top - low));
        assert_true(stack_intact(&task));
    }
    stacks_deinit(&stacks);
}

// The hot ends of many stacks lie in different cache sets.
static void test_colours(void **state)
{
    (void)state;
    struct stacks stacks = {0};
    struct task tasks[16] = {0};
    uint64_t seen = 0;

    for (uint32_t i = 0; i < 16; i++) {
        tasks[i].index = i;
        assert_true(stack_new(&stacks, &tasks[i], 16));
        seen |= UINT64_C(1) << ((uintptr_t)tasks[i].top / 64 % 64);
    }
    assert_int_equal(__builtin_popcountll(seen), 16);
    stacks_deinit(&stacks);
}

// ---- The guard. A child makes its own stacks: it does not inherit any. ----

static size_t at_offset; // from the low end

static void touch_the_guard(void)
{
    struct stacks stacks = {0};
    struct task first = {.index = 0};
    struct task task = {.index = 1};

    if (!stack_new(&stacks, &first, 16) || !stack_new(&stacks, &task, 16))
        _exit(1);
    ((volatile char *)stack_low(&task))[stack_guard_size()] = 1;
    fprintf(stderr, "above it\n");
    ((volatile char *)stack_low(&task))[at_offset] = 1;
    fprintf(stderr, "gone through\n");
}

static void expect_fault(size_t offset)
{
    static struct child child;

    at_offset = offset;
    child_run(touch_the_guard, &child);
    assert_true(child_says(&child, "above it"));
    assert_null(strstr(child.text, "gone through"));
    assert_true(child.status != 0);
}

static void test_the_guard_faults(void **state)
{
    (void)state;
    expect_fault(0);
    expect_fault(stack_guard_size() / 2);
    expect_fault(stack_guard_size() - 1);
}

// ---- Where there are no more guards. ----

#if !defined(WEFT_ASAN) && !defined(WEFT_TSAN) && !defined(WEFT_MSAN)

enum { CROWD = 40000 };

// In locked memory guards take mappings, which run out.
static void run_out_of_guards(void)
{
    struct stacks stacks = {0};
    struct task *tasks = calloc(CROWD, sizeof *tasks);
    int guarded = 0;
    int canaries = 0;

    if (mlockall(MCL_FUTURE | MCL_ONFAULT) != 0)
        _exit(77);
    for (uint32_t i = 0; i < CROWD; i++) {
        tasks[i].index = i;
        if (!stack_new(&stacks, &tasks[i], 14))
            _exit(1);
        if (tasks[i].top->canary)
            canaries++;
        else
            guarded++;
        if (!stack_intact(&tasks[i]))
            _exit(2);
    }
    if (guarded < 1000 || canaries < 1000)
        _exit(3);
    struct task *last = &tasks[CROWD - 1];
    char *low = stack_low(last);
    low[stack_guard_size()] = 1; // above the guard's place: no harm
    if (!last->top->canary || !stack_intact(last))
        _exit(4);
    memset(low, 0, 16);
    if (stack_intact(last))
        _exit(5);
    free(malloc(100 << 20)); // the process can still map memory
    _exit(0);
}

#endif

static void test_canaries_take_over(void **state)
{
    (void)state;
#if defined(WEFT_ASAN) || defined(WEFT_TSAN) || defined(WEFT_MSAN)
    skip_because("the sanitizer's own memory must not be locked");
#else
    static struct child child;

    child_run(run_out_of_guards, &child);
    if (WIFEXITED(child.status) && WEXITSTATUS(child.status) == 77)
        skip_because("memory may not be locked here");
    assert_true(child_is_well(&child));
    char *told = strstr(child.text, "guard pages"); // once
    assert_non_null(told);
    assert_null(strstr(told + 1, "guard pages"));
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_the_whole_stack_is_there),
        cmocka_unit_test(test_colours),
        cmocka_unit_test(test_the_guard_faults),
        cmocka_unit_test(test_canaries_take_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
