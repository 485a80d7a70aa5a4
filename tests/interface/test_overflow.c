// test_overflow.c -- A task that overflows its stack is named, with its frames.
//
// Each case runs in a process of its own. No runtime is started in this one:
// it would keep cmocka's handlers as those to call after weft's.
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/child.h"
#include "support/tasks.h"

#define NOINLINE __attribute__((noinline))

static struct child child;

// ThreadSanitizer takes what the process forked for names does for the work of
// a signal handler.
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "report_signal_unsafe=0";
}

// ---- Bodies. ----

NOINLINE static int dive_for_ever(volatile int *depth)
{
    volatile char room[200];

    if (*depth < 0)
        return 0;
    room[0] = (char)*depth;
    *depth += 1;
    return dive_for_ever(depth) + room[0];
}

static void *dive(void *arg)
{
    volatile int depth = 0;

    (void)arg;
    return (void *)(intptr_t)dive_for_ever(&depth);
}

// Its frame is larger than any guard.
NOINLINE static int use_much_room(volatile int *depth)
{
    volatile char room[100 << 10];

    for (size_t i = 0; i < sizeof room; i += 64)
        room[i] = (char)(*depth + (int)i);
    return room[*depth] + room[sizeof room - 64];
}

static void *sprawl(void *arg)
{
    volatile int depth = 0;

    (void)arg;
    return (void *)(intptr_t)use_much_room(&depth);
}

static weft_task start(const char *name, weft_task_fn *fn, size_t stack_size)
{
    weft_task_options options = {
        .size = sizeof options, .name = name, .stack_size = stack_size};
    weft_task task;

    expect_is(weft_task_spawn(&options, fn, NULL, &task), 0);
    return task;
}

static void *rest(void *arg)
{
    (void)weft_task_sleep(WEFT_NEVER);
    return arg;
}

static void *start_diver(void *arg)
{
    (void)start("bystander", rest, 0);
    join(start("diver", dive, 0));
    return arg;
}

static void *start_small_diver(void *arg)
{
    join(start("small", dive, 16 << 10));
    return arg;
}

static void *start_sprawler(void *arg)
{
    (void)start("bystander", rest, 0);
    join(start("sprawler", sprawl, 0));
    return arg;
}

static void overflow_on_one(void)
{
    run_with(1, start_diver, NULL);
}

static void overflow_on_two(void)
{
    run_with(2, start_diver, NULL);
}

static void overflow_a_small_one(void)
{
    run_with(2, start_small_diver, NULL);
}

static void overflow_by_large_frame(void)
{
    run_with(2, start_sprawler, NULL);
}

// ---- What is said. ----

static bool tells_function(const char *function)
{
    bool named = strstr(child.text, function) != NULL &&
                 strstr(child.text, "test_overflow.c:") != NULL;

    return named || child_says(&child, "+0x"); // module and offset
}

static void expect_report(void (*body)(void), const char *name,
                          const char *function)
{
    child_run(body, &child);
    assert_true(child.status != 0);
    assert_true(child_says(&child, "overflowed its stack"));
    assert_true(child_says(&child, name));
    assert_null(strstr(child.text, "bystander"));
    assert_true(tells_function(function));
#if !defined(__SANITIZE_ADDRESS__)
    // The process dies of the signal, as it would have.
    assert_true(WIFEXITED(child.status) || WTERMSIG(child.status) == SIGSEGV);
#endif
}

static void test_endless_recursion(void **state)
{
    (void)state;
    expect_report(overflow_on_one, "\"diver\"", "dive_for_ever");
    expect_report(overflow_on_two, "\"diver\"", "dive_for_ever");
    expect_report(overflow_a_small_one, "\"small\"", "dive_for_ever");
    assert_true(child_says(&child, "16384 bytes"));
}

static void test_a_large_frame(void **state)
{
    (void)state;
    expect_report(overflow_by_large_frame, "\"sprawler\"", "use_much_room");
}

// ---- Where no process can be had to find names. ----

static void *dive_alone(void *arg)
{
    struct rlimit none = {0, 0};

    (void)setrlimit(RLIMIT_NPROC, &none);
    if (geteuid() == 0) // whom the limit does not concern
        expect_is(setresuid(65534, 65534, 65534), 0);
    return dive(arg);
}

static void *start_lonely_diver(void *arg)
{
    join(start("lonely", dive_alone, 0));
    return arg;
}

static void overflow_without_a_process(void)
{
    run_with(1, start_lonely_diver, NULL);
}

static void test_addresses_where_there_are_no_names(void **state)
{
    (void)state;
    child_run(overflow_without_a_process, &child);
    assert_true(child.status != 0);
    assert_true(child_says(&child, "\"lonely\" overflowed its stack"));
    assert_true(child_says(&child, "weft:   #0 0x"));
    assert_true(child_says(&child, "test_overflow+0x")); // where it lies
    assert_true(child_says(&child, " frames are left out\n"));
    assert_null(strstr(child.text, "test_overflow.c:"));
}

// ---- What is no overflow. ----

// Not NULL: UBSan would notice before it is touched.
static char *volatile nowhere = (char *)4096;

static void *touch_nothing(void *arg)
{
    *nowhere = 1;
    return arg;
}

static void fault_elsewhere(void)
{
    run_with(1, touch_nothing, NULL);
}

static void test_other_faults_are_left_alone(void **state)
{
    (void)state;
    child_run(fault_elsewhere, &child);
    assert_true(child.status != 0);
    assert_null(strstr(child.text, "overflowed"));
}

// One that was sent, and comes from no instruction.
static void *signal_itself(void *arg)
{
    (void)raise(SIGSEGV);
    return arg;
}

static void be_sent_a_fault(void)
{
    run_with(1, signal_itself, NULL);
}

static void test_a_signal_that_was_sent(void **state)
{
    (void)state;
    child_run(be_sent_a_fault, &child);
    assert_true(child.status != 0);
    assert_null(strstr(child.text, "overflowed"));
}

// A handler that was there before has its turn.
static void handler_of_the_program(int number)
{
    (void)!write(STDERR_FILENO, "mine\n", 5);
    _exit(number == SIGSEGV ? 33 : 34);
}

static void fault_with_a_handler(void)
{
    struct sigaction action = {.sa_handler = handler_of_the_program,
                               .sa_flags = SA_ONSTACK};

    (void)sigaction(SIGSEGV, &action, NULL);
    run_with(1, start_diver, NULL);
}

static void informed_handler(int number, siginfo_t *info, void *context)
{
    bool told = number == SIGSEGV && info->si_addr == nowhere && context;

    (void)!write(STDERR_FILENO, "mine\n", 5);
    _exit(told ? 33 : 34);
}

static void fault_with_an_informed_handler(void)
{
    struct sigaction action = {.sa_sigaction = informed_handler,
                               .sa_flags = SA_ONSTACK | SA_SIGINFO};

    (void)sigaction(SIGSEGV, &action, NULL);
    run_with(1, touch_nothing, NULL);
}

static void expect_its_turn(void (*body)(void))
{
    child_run(body, &child);
    assert_true(child_says(&child, "mine"));
    assert_true(WIFEXITED(child.status) && WEXITSTATUS(child.status) == 33);
}

static void test_the_programs_handler_has_its_turn(void **state)
{
    (void)state;
    expect_its_turn(fault_with_a_handler);
    assert_true(child_says(&child, "\"diver\""));
    expect_its_turn(fault_with_an_informed_handler);
    assert_null(strstr(child.text, "overflowed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endless_recursion),
        cmocka_unit_test(test_a_large_frame),
        cmocka_unit_test(test_addresses_where_there_are_no_names),
        cmocka_unit_test(test_other_faults_are_left_alone),
        cmocka_unit_test(test_a_signal_that_was_sent),
        cmocka_unit_test(test_the_programs_handler_has_its_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
