// test_standing.c -- Tasks that run and keep their worker: where the dump says
// they stand.
#include <signal.h>

#include "support/bare.h"
#include "support/keeper.h"
#include "support/skip.h"

NOINLINE static int compare(const void *one, const void *other)
{
    sink++;
    return *(const int *)one - *(const int *)other;
}

// In the C library, and in what it calls.
NOINLINE static void *in_sort(void *arg)
{
    struct keeper *keeper = arg;

    while (!atomic_load(&keeper->stop)) {
        int numbers[100];
        for (int i = 0; i < 100; i++)
            numbers[i] = i * 7919 % 100;
        qsort(numbers, 100, sizeof *numbers, compare);
        atomic_fetch_add(&keeper->turns, 1);
    }
    sink++;
    return arg;
}

NOINLINE static void *in_malloc(void *arg)
{
    struct keeper *keeper = arg;

    while (!atomic_load(&keeper->stop)) {
        char *volatile some = malloc(1 + atomic_load(&keeper->turns) % 5000);
        expect(some != NULL);
        free(some);
        atomic_fetch_add(&keeper->turns, 1);
    }
    sink++;
    return arg;
}

NOINLINE static void *in_copy(void *arg)
{
    static char from[1 << 16], to[1 << 16];
    struct keeper *keeper = arg;

    while (!atomic_load(&keeper->stop)) {
        memcpy(to, from, sizeof to);
        atomic_fetch_add(&keeper->turns, 1);
        __asm__ volatile("" ::: "memory");
    }
    sink++;
    return arg;
}

// The clock is read in the vDSO.
NOINLINE static void *in_clock(void *arg)
{
    struct keeper *keeper = arg;
    struct timespec now;

    while (!atomic_load(&keeper->stop)) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        atomic_fetch_add(&keeper->turns, 1);
    }
    sink++;
    return arg;
}

static void *raise_in_handler;

static void spin_in_handler(int number)
{
    (void)number;
    (void)in_spin(raise_in_handler);
    sink++;
}

NOINLINE static void *in_handler(void *arg)
{
    struct sigaction action = {.sa_handler = spin_in_handler};

    raise_in_handler = arg;
    expect_is(sigaction(SIGTRAP, &action, NULL), 0);
    expect_is(raise(SIGTRAP), 0);
    sink++;
    return arg;
}

// Down to the last page above the guard, as far as a handler that ran there
// would find no room.
NOINLINE static unsigned fill_stack(void *arg, uintptr_t top)
{
    struct keeper *keeper = arg;
    volatile char room[700];
    unsigned more = 0;

    room[0] = 1;
    if (top - (uintptr_t)room < (60 << 10) - 2500)
        more = fill_stack(arg, top);
    else
        while (!atomic_load(&keeper->stop))
            atomic_fetch_add(&keeper->turns, 1);
    return more + (unsigned char)room[0];
}

NOINLINE static void *in_depth(void *arg)
{
    sink += fill_stack(arg, (uintptr_t)__builtin_frame_address(0));
    return arg;
}

NOINLINE static void *in_bare(void *arg)
{
    struct keeper *keeper = arg;

    sink += bare_descend(&keeper->stop, &keeper->turns, 20);
    return arg;
}

static const struct {
    weft_task_fn *fn;
    const char *function;
} runs[] = {
    {in_spin, "in_spin"},   {in_sort, "in_sort"},   {in_malloc, "in_malloc"},
    {in_copy, "in_copy"},   {in_clock, "in_clock"}, {in_handler, "in_handler"},
    {in_depth, "in_depth"}, {in_bare, "in_bare"},
};

static void test_running(void **state)
{
    (void)state;
    if (UNDER_TSAN)
        skip_because("handlers run late under ThreadSanitizer");
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct keeper keeper;
        keep(&keeper, runs[i].fn);
        for (unsigned n = 0; n < scaled(10); n++) {
            weft_dump *dump = take_running(&keeper);
            check_stack(dump, keeper.task, runs[i].function);
            weft_dump_free(dump);
        }
        release(&keeper);
    }
}

static void test_on_the_last_page(void **state)
{
    struct keeper keeper;

    (void)state;
    if (UNDER_TSAN)
        skip_because("handlers run late under ThreadSanitizer");
    keep(&keeper, in_depth);
    weft_dump *dump = take_running(&keeper);
    weft_dump_task task = task_of(dump, keeper.task);
    expect_is(task.stack_size, 64 << 10);
    expect(task.stack_used > task.stack_size - 2 * 4096); // and the guard
    weft_dump_free(dump);
    release(&keeper);
}

// Frames of code without frame pointers are all there, in their number.
static void test_without_frame_pointers(void **state)
{
    struct keeper keeper;
    struct chain chain;
    unsigned seen = 0;

    (void)state;
    if (UNDER_TSAN)
        skip_because("handlers run late under ThreadSanitizer");
    keep(&keeper, in_bare);
    weft_dump *dump = take_running(&keeper);
    chain_of_stack(dump, task_of(dump, keeper.task).stack, &chain);
    for (size_t i = 0; i < chain.count; i++)
        seen += chain.frames[i].function != NULL &&
                strcmp(chain.frames[i].function, "bare_descend") == 0;
    expect_is(seen, 21);
    weft_dump_free(dump);
    release(&keeper);
}

static void test_running_in_words(void **state)
{
    struct keeper keeper;

    (void)state;
    if (UNDER_TSAN)
        skip_because("handlers run late under ThreadSanitizer");
    keep(&keeper, in_spin);
    weft_dump *dump = take_running(&keeper);
    char *text = text_of(dump, false);
    char *json = text_of(dump, true);
    expect_in(text, "NO YIELD");
    expect_in(text, ", now in in_spin ");
    expect_in(json, "\"syscall\": null");
    free(text);
    free(json);
    weft_dump_free(dump);
    release(&keeper);
}

// ---- Out of reach ----

static void *in_blocked_spin(void *arg)
{
    sigset_t set, before;

    sigfillset(&set);
    expect_is(sigprocmask(SIG_BLOCK, &set, &before), 0);
    (void)in_spin(arg);
    expect_is(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    return arg;
}

// The dump says so, and is there all the same.
static void test_blocked(void **state)
{
    struct keeper keeper;

    (void)state;
    keep(&keeper, in_blocked_spin);
    weft_dump *dump = take(keeper.runtime);
    (void)check_kept(dump, keeper.task);
    const char *why = why_no_stack(dump, keeper.task);
    expect(why != NULL && strstr(why, "blocks SIGURG") != NULL);
    char *text = text_of(dump, false);
    expect_in(text, "where it stands is not known: it blocks SIGURG");
    expect_in(text, "(no stack: it blocks SIGURG");
    free(text);
    weft_dump_free(dump);
    release(&keeper);
}

// In a handler of the program's that runs on the alternate stack.
NOINLINE static void *in_aside(void *arg)
{
    struct sigaction action = {.sa_handler = spin_in_handler,
                               .sa_flags = SA_ONSTACK};

    raise_in_handler = arg;
    expect_is(sigaction(SIGTRAP, &action, NULL), 0);
    expect_is(raise(SIGTRAP), 0);
    sink++;
    return arg;
}

static void test_on_another_stack(void **state)
{
    struct keeper keeper;

    (void)state;
    if (UNDER_TSAN)
        skip_because("handlers run late under ThreadSanitizer");
    keep(&keeper, in_aside);
    weft_dump *dump = take_running(&keeper);
    const char *why = why_no_stack(dump, keeper.task);
    expect(why != NULL && strstr(why, "not on its task's stack") != NULL);
    weft_dump_free(dump);
    release(&keeper);
}

// ---- Many workers, tasks that come and go ----

static void *in_out(void *arg)
{
    struct keeper *keeper = arg;

    while (!atomic_load(&keeper->stop)) {
        struct timespec nap = {.tv_nsec = 20 * MS};
        for (volatile unsigned i = 0; i < 2000000;)
            i++;
        (void)nanosleep(&nap, NULL);
        (void)weft_task_yield();
    }
    return arg;
}

// Workers that leave their task, or come late, while they are captured.
static void test_coming_and_going(void **state)
{
    weft_runtime_options options = {
        .size = sizeof options, .workers = 4, .dump_patience_ns = MS};
    struct keeper keeper = {0};
    weft_task tasks[8];
    unsigned whole = 0;
    unsigned had = 0;

    (void)state;
    expect_is(weft_runtime_new(&options, &keeper.runtime), 0);
    for (int i = 0; i < 8; i++)
        tasks[i] = spawn(keeper.runtime, NULL, in_out, &keeper);
    for (unsigned n = 0; n < scaled(40) || whole == 0; n++) {
        weft_dump *dump = take(keeper.runtime);
        expect_is(info_of(dump).tasks, 8);
        for (int i = 0; i < 8; i++) {
            struct chain chain;
            if (task_of(dump, tasks[i]).state != WEFT_STATE_RUNNING)
                continue;
            chain_of_stack(dump, task_of(dump, tasks[i]).stack, &chain);
            had++;
            whole += chain.end == WEFT_STACK_WHOLE &&
                     chain_has(&chain, "in_out", NULL);
        }
        weft_dump_free(dump);
    }
    atomic_store(&keeper.stop, true);
    for (int i = 0; i < 8; i++)
        (void)join(tasks[i]);
    expect_is(weft_runtime_free(keeper.runtime), 0);
    print_message("# %u of %u running tasks were had whole\n", whole, had);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_running),
        cmocka_unit_test(test_on_the_last_page),
        cmocka_unit_test(test_without_frame_pointers),
        cmocka_unit_test(test_running_in_words),
        cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_on_another_stack),
        cmocka_unit_test(test_coming_and_going),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
