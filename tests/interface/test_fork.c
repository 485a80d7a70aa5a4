// test_fork.c -- A child forked from a task goes on upon the task's own stack.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/child.h"
#include "support/tasks.h"

static int reap(pid_t pid)
{
    int status;

    expect(pid > 0);
    expect_is(waitpid(pid, &status, 0), pid);
    return status;
}

// Deep enough to need pages that the task has not touched before.
__attribute__((noinline)) static int sum(int depth)
{
    volatile char room[256];

    room[0] = 1;
    return depth == 0 ? 0 : room[0] + sum(depth - 1);
}

static void *fork_and_go_on(void *arg)
{
    int numbers[100];

    for (int i = 0; i < 100; i++)
        numbers[i] = i;
    for (int round = 0; round < 5; round++) {
        (void)weft_task_yield(); // perhaps in another thread
        pid_t pid = fork();
        if (pid == 0) {
            int total = sum(50);
            for (int i = 0; i < 100; i++)
                total += numbers[i];
            _exit(total == 5000 ? 42 : 1);
        }
        int status = reap(pid);
        expect(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    }
    return arg;
}

static void *fork_from_many(void *arg)
{
    weft_task tasks[6];

    for (int i = 0; i < 6; i++)
        tasks[i] = spawn(fork_and_go_on, arg);
    for (int i = 0; i < 6; i++)
        join(tasks[i]);
    return arg;
}

static void test_the_child_goes_on(void **state)
{
    (void)state;
    run_with(1, fork_from_many, NULL);
    run_with(2, fork_from_many, NULL);
}

static void *fork_and_exec(void *arg)
{
    pid_t pid = fork();

    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
        _exit(1);
    }
    int status = reap(pid);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    return arg;
}

static void test_the_child_executes(void **state)
{
    (void)state;
    run(fork_and_exec);
}

// Of the other stacks the child has none: that is what keeps fork fast.
struct other {
    char *place;
    weft_channel *gate;
};

static void *stay(void *arg)
{
    struct other *other = arg;
    char here = 1;
    int number;

    other->place = &here;
    (void)weft_channel_recv(other->gate, &number, WEFT_NEVER);
    return NULL;
}

static void *look_at_another(void *arg)
{
    struct other other = {.place = NULL};

    expect_is(weft_channel_new(sizeof(int), 1, NULL, &other.gate), 0);
    weft_task task = spawn(stay, &other);
    until_waiting(task, WEFT_WAIT_CHAN_RECV);
    expect_is(*(volatile char *)other.place, 1);
    pid_t pid = fork();
    if (pid == 0) {
        child_reset_signals();
        (void)*(volatile char *)other.place; // faults
        _exit(0);
    }
    expect(reap(pid) != 0);
    expect_is(weft_channel_close(other.gate), 0);
    join(task);
    expect_is(weft_channel_free(other.gate), 0);
    return arg;
}

static void test_other_stacks_are_not_inherited(void **state)
{
    (void)state;
    run_with(2, look_at_another, NULL);
}

// And afterwards: a stack that was handed down once is not handed down again.
static void *fork_once(void *arg)
{
    char here = 1;
    struct other *other = arg;

    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    expect_is(reap(pid), 0);
    other->place = &here;
    int number;
    (void)weft_channel_recv(other->gate, &number, WEFT_NEVER);
    return NULL;
}

static void *fork_beside_it(void *arg)
{
    struct other other = {.place = NULL};

    expect_is(weft_channel_new(sizeof(int), 1, NULL, &other.gate), 0);
    weft_task task = spawn(fork_once, &other);
    until_waiting(task, WEFT_WAIT_CHAN_RECV);
    pid_t pid = fork();
    if (pid == 0) {
        child_reset_signals();
        (void)*(volatile char *)other.place; // faults
        _exit(0);
    }
    expect(reap(pid) != 0);
    expect_is(weft_channel_close(other.gate), 0);
    join(task);
    expect_is(weft_channel_free(other.gate), 0);
    return arg;
}

static void test_inheriting_ends_with_the_fork(void **state)
{
    (void)state;
    run_with(1, fork_beside_it, NULL);
}

// A fork from a thread while tasks run: the child has nothing of weft's.
static void *spin(void *arg)
{
    while (weft_task_yield() == 0)
        continue;
    return arg;
}

static void test_a_thread_forks(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(2);
    weft_task tasks[4];

    for (int i = 0; i < 4; i++)
        tasks[i] = spawn_on(runtime, spin, NULL);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(i);
        assert_int_equal(WEXITSTATUS(reap(pid)), i);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(weft_task_cancel(tasks[i]), 0);
        join(tasks[i]);
    }
    assert_int_equal(weft_runtime_free(runtime), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_child_goes_on),
        cmocka_unit_test(test_the_child_executes),
        cmocka_unit_test(test_other_stacks_are_not_inherited),
        cmocka_unit_test(test_inheriting_ends_with_the_fork),
        cmocka_unit_test(test_a_thread_forks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
