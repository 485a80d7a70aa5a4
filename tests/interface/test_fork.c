// test_fork.c -- A child forked from a task goes on upon the task's own stack.
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/child.h"
#include "support/sanitizers.h"
#include "support/skip.h"
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

// ---- A runtime of the child's own ----

static void *count_to_ten(void *channel)
{
    for (int i = 1; i <= 10; i++)
        expect_is(weft_channel_send(channel, &i, WEFT_NEVER), 0);
    return NULL;
}

static void *call_back(void *arg)
{
    return arg;
}

static void *live_in_child(void *parents)
{
    weft_channel *channel;
    weft_dump *dump;
    void *result = NULL;
    int sum = 0;
    int number;

    expect_is(weft_channel_new(sizeof(int), 1, NULL, &channel), 0);
    weft_task task = spawn(count_to_ten, channel);
    for (int i = 0; i < 10; i++) {
        expect_is(weft_channel_recv(channel, &number, WEFT_NEVER), 0);
        sum += number;
    }
    expect_is(sum, 55);
    join(task);
    expect_is(weft_task_cancel(*(weft_task *)parents), -ESRCH);
    expect_is(weft_blocking_run(call_back, channel, &result), 0);
    expect(result == channel);
    expect_is(weft_blocking_run_here(call_back, channel, &result), 0);
    expect_is(weft_task_sleep(weft_time_after(1000)), 0);
    expect_is(weft_dump_take(weft_runtime_self(), &dump), 0);
    weft_dump_free(dump);
    expect_is(weft_channel_free(channel), 0);
    return NULL;
}

// In a child, which has been forked from a child in turn when `depth` says so.
static void live_on(weft_task *parents, int depth)
{
    expect(weft_runtime_self() == NULL && weft_task_self().id == 0);
    run_with(2, live_in_child, parents);
    if (depth > 0) {
        pid_t pid = fork();
        if (pid == 0) {
            live_on(parents, depth - 1);
            _exit(0);
        }
        expect_is(reap(pid), 0);
    }
    run_with(1, live_in_child, parents);
}

static void *fork_and_run(void *arg)
{
    weft_task self = weft_task_self();

    for (int i = 0; i < scaled(5); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            live_on(&self, i % 2);
            _exit(0);
        }
        expect_is(reap(pid), 0);
        (void)weft_task_yield();
    }
    return arg;
}

static atomic_bool forked;

static void *call_in_pool(void *arg)
{
    while (!atomic_load(&forked))
        expect_is(weft_blocking_run(call_back, NULL, NULL), 0);
    return arg;
}

static void *take_dumps(void *arg)
{
    while (!atomic_load(&forked)) {
        weft_dump *dump;
        expect_is(weft_dump_take(weft_runtime_self(), &dump), 0);
        weft_dump_free(dump);
    }
    return arg;
}

static void *fork_while_all_goes_on(void *arg)
{
    weft_task dumper = spawn(take_dumps, NULL);
    weft_task caller = spawn(call_in_pool, NULL);
    weft_task forker = spawn(fork_and_run, NULL);

    join(forker);
    atomic_store(&forked, true);
    join(dumper);
    join(caller);
    return arg;
}

static void test_the_child_has_a_runtime(void **state)
{
    (void)state;
    if (UNDER_TSAN)
        skip_because("ThreadSanitizer ends a child that starts threads");
    if (UNDER_ASAN)
        skip_because("the sanitizer's allocator may be locked at the fork");
    for (unsigned workers = 1; workers <= 2; workers++) {
        atomic_store(&forked, false);
        run_with(workers, fork_while_all_goes_on, NULL);
    }
}

// From a thread, with a signal for dumps, which is the child's own by then.
static void test_a_threads_child_has_a_runtime(void **state)
{
    weft_runtime_options options = {
        .size = sizeof options, .workers = 2, .dump_signal = SIGUSR1};
    weft_runtime *runtime;
    struct sigaction found;

    (void)state;
    if (UNDER_TSAN)
        skip_because("ThreadSanitizer ends a child that starts threads");
    if (UNDER_ASAN)
        skip_because("the sanitizer's allocator may be locked at the fork");
    assert_int_equal(weft_runtime_new(&options, &runtime), 0);
    weft_task task = spawn_on(runtime, spin, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        expect_is(sigaction(SIGUSR1, NULL, &found), 0);
        expect(found.sa_handler == SIG_DFL);
        live_on(&task, 1);
        _exit(0);
    }
    assert_int_equal(reap(pid), 0);
    assert_int_equal(weft_task_cancel(task), 0);
    join(task);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

static void *fork_and_return(void *arg)
{
    pid_t pid = fork();

    if (pid == 0) {
        child_reset_signals();
        return arg; // a mistake
    }
    int status = reap(pid);
    expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    return arg;
}

static void test_the_child_must_not_return(void **state)
{
    (void)state;
    run(fork_and_return);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_child_goes_on),
        cmocka_unit_test(test_the_child_executes),
        cmocka_unit_test(test_other_stacks_are_not_inherited),
        cmocka_unit_test(test_inheriting_ends_with_the_fork),
        cmocka_unit_test(test_a_thread_forks),
        cmocka_unit_test(test_the_child_has_a_runtime),
        cmocka_unit_test(test_a_threads_child_has_a_runtime),
        cmocka_unit_test(test_the_child_must_not_return),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
