// test_standing_signal.c -- The signal by which a running task is captured:
// which it is, who else may use it, and that the task does not notice.
#include <signal.h>

#include "support/keeper.h"
#include "support/skip.h"

static void keep_with(struct keeper *keeper, weft_task_fn *fn, int number)
{
    *keeper = (struct keeper){.result = -1};
    keep_on(keeper, fn, number);
}

static atomic_uint strangers;

static void count_stranger(int number)
{
    (void)number;
    atomic_fetch_add(&strangers, 1);
}

static atomic_uint with_info;

static void count_with_info(int number, siginfo_t *info, void *context)
{
    (void)context;
    expect_is(info->si_signo, number);
    expect_is(info->si_pid, getpid());
    atomic_fetch_add(&with_info, 1);
}

static void handle_by(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};

    expect_is(sigaction(number, &action, NULL), 0);
}

static void check_captured(const struct keeper *keeper)
{
    weft_dump *dump = take_running(keeper);

    if (!UNDER_TSAN) // handlers run late there
        check_stack(dump, keeper->task, "in_spin");
    weft_dump_free(dump);
}

// ---- Which signal ----

// Any that can serve; runtimes may differ in it.
static void test_settable(void **state)
{
    const int numbers[] = {SIGUSR1, SIGPROF, SIGRTMIN, SIGRTMAX, SIGURG};
    enum { COUNT = sizeof numbers / sizeof *numbers };
    struct keeper keepers[COUNT];

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        keep_with(&keepers[i], in_spin, numbers[i]);
        check_captured(&keepers[i]);
        if (i > 0)
            check_captured(&keepers[i - 1]);
        if (i > 0)
            release(&keepers[i - 1]);
    }
    release(&keepers[COUNT - 1]);
}

static void *in_blocked_spin(void *arg)
{
    sigset_t set, before;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    expect_is(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    (void)in_spin(arg);
    expect_is(sigpending(&set), 0);
    ((struct keeper *)arg)->error = sigismember(&set, SIGUSR2);
    expect_is(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    return arg;
}

// A task that blocks it is not sent any, and the dump names the right one.
static void test_blocked(void **state)
{
    struct keeper keeper;

    (void)state;
    keep_with(&keeper, in_blocked_spin, SIGUSR2);
    for (unsigned i = 0; i < scaled(10); i++) {
        weft_dump *dump = take(keeper.runtime);
        const char *why = why_no_stack(dump, keeper.task);
        expect(why != NULL && strstr(why, "blocks SIGUSR2") != NULL);
        weft_dump_free(dump);
    }
    release(&keeper);
    expect_is(keeper.error, 0); // none is pending
}

// ---- Others that use it ----

static void expect_grows(atomic_uint *count, unsigned from)
{
    while (atomic_load(count) == from)
        doze();
    expect_is(atomic_load(count), from + 1);
}

// What comes from others goes to the handler that the program had before, of
// either kind; none of weft's own does.
static void test_chained(void **state)
{
    struct keeper keeper;
    struct sigaction action = {.sa_sigaction = count_with_info,
                               .sa_flags = SA_SIGINFO};

    (void)state;
    handle_by(SIGVTALRM, count_stranger);
    keep_with(&keeper, in_spin, SIGVTALRM);
    for (unsigned i = 0; i < 5; i++) {
        check_captured(&keeper);
        expect_is(atomic_load(&strangers), i);
        expect_is(kill(getpid(), SIGVTALRM), 0);
        expect_grows(&strangers, i);
    }
    release(&keeper);
    atomic_store(&strangers, 0);

    expect_is(sigaction(SIGALRM, &action, NULL), 0);
    keep_with(&keeper, in_spin, SIGALRM);
    check_captured(&keeper);
    expect_is(kill(getpid(), SIGALRM), 0);
    expect_grows(&with_info, 0);
    release(&keeper);
}

// A program that takes it over later is left alone.
static void test_taken_over(void **state)
{
    struct keeper keeper;

    (void)state;
    keep_with(&keeper, in_spin, SIGIO);
    check_captured(&keeper);
    handle_by(SIGIO, count_stranger);
    for (unsigned i = 0; i < scaled(10); i++) {
        weft_dump *dump = take(keeper.runtime);
        (void)check_kept(dump, keeper.task);
        const char *why = why_no_stack(dump, keeper.task);
        expect(why != NULL && strstr(why, "another handler") != NULL);
        weft_dump_free(dump);
    }
    release(&keeper);
    expect_is(atomic_load(&strangers), 0);
}

// The environment cannot make a dump of what captures.
static void test_not_both(void **state)
{
    struct keeper keeper;
    weft_runtime_metrics metrics;

    (void)state;
    expect_is(setenv("WEFT_DUMP_SIGNAL", "URG", 1), 0);
    keep_with(&keeper, in_spin, 0);
    expect_is(unsetenv("WEFT_DUMP_SIGNAL"), 0);
    expect_is(kill(getpid(), SIGURG), 0);
    for (unsigned i = 0; i < 5; i++)
        check_captured(&keeper);
    expect_is(weft_runtime_metrics_get(keeper.runtime, &metrics), 0);
    expect(metrics.dumps >= 5);
    release(&keeper);
}

// ---- The task does not notice ----

// Turns of each look; as many as take far less than a tick, so that many looks
// begin and end without a signal, and all in which one strikes are compared.
enum { LOOK_TURNS = 20000 };

#if defined(__x86_64__)

struct registers {
    uint64_t xmm[32];
    uint64_t general[6];
    uint32_t mxcsr;
    uint16_t control;
};

// Loads registers, waits, stores them.
NOINLINE static void hold(const struct registers *in, struct registers *out)
{
    uint64_t turns = LOOK_TURNS;

    __asm__ volatile("movups 0(%1), %%xmm0\n movups 16(%1), %%xmm1\n"
                     "movups 32(%1), %%xmm2\n movups 48(%1), %%xmm3\n"
                     "movups 64(%1), %%xmm4\n movups 80(%1), %%xmm5\n"
                     "movups 96(%1), %%xmm6\n movups 112(%1), %%xmm7\n"
                     "movups 128(%1), %%xmm8\n movups 144(%1), %%xmm9\n"
                     "movups 160(%1), %%xmm10\n movups 176(%1), %%xmm11\n"
                     "movups 192(%1), %%xmm12\n movups 208(%1), %%xmm13\n"
                     "movups 224(%1), %%xmm14\n movups 240(%1), %%xmm15\n"
                     "movq 256(%1), %%r8\n movq 264(%1), %%r9\n"
                     "movq 272(%1), %%r10\n movq 280(%1), %%r11\n"
                     "movq 288(%1), %%rcx\n movq 296(%1), %%rdx\n"
                     "1: dec %0\n jnz 1b\n"
                     "movups %%xmm0, 0(%2)\n movups %%xmm1, 16(%2)\n"
                     "movups %%xmm2, 32(%2)\n movups %%xmm3, 48(%2)\n"
                     "movups %%xmm4, 64(%2)\n movups %%xmm5, 80(%2)\n"
                     "movups %%xmm6, 96(%2)\n movups %%xmm7, 112(%2)\n"
                     "movups %%xmm8, 128(%2)\n movups %%xmm9, 144(%2)\n"
                     "movups %%xmm10, 160(%2)\n movups %%xmm11, 176(%2)\n"
                     "movups %%xmm12, 192(%2)\n movups %%xmm13, 208(%2)\n"
                     "movups %%xmm14, 224(%2)\n movups %%xmm15, 240(%2)\n"
                     "movq %%r8, 256(%2)\n movq %%r9, 264(%2)\n"
                     "movq %%r10, 272(%2)\n movq %%r11, 280(%2)\n"
                     "movq %%rcx, 288(%2)\n movq %%rdx, 296(%2)\n"
                     : "+r"(turns)
                     : "r"(in), "r"(out)
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                       "xmm13", "xmm14", "xmm15", "r8", "r9", "r10", "r11",
                       "rcx", "rdx", "memory", "cc");
}

static void set_modes(const struct registers *to)
{
    __asm__ volatile("ldmxcsr %0\n fldcw %1" ::"m"(to->mxcsr),
                     "m"(to->control));
}

static void get_modes(struct registers *ret)
{
    __asm__ volatile("stmxcsr %0\n fnstcw %1"
                     : "=m"(ret->mxcsr), "=m"(ret->control));
}

// Rounding down in one, up in the other, and other flags than by default.
static void choose_modes(struct registers *all)
{
    all->mxcsr = 0x1f80 | 0x2000 | 0x8000;
    all->control = 0x037f | 0x0800;
}

#else

struct registers {
    uint64_t q[64];
    uint64_t fpcr;
};

NOINLINE static void hold(const struct registers *in, struct registers *out)
{
    uint64_t turns = LOOK_TURNS;

    __asm__ volatile("ldp q0, q1, [%1]\n ldp q2, q3, [%1, 32]\n"
                     "ldp q4, q5, [%1, 64]\n ldp q6, q7, [%1, 96]\n"
                     "ldp q16, q17, [%1, 128]\n ldp q30, q31, [%1, 160]\n"
                     "1: subs %0, %0, 1\n b.ne 1b\n"
                     "stp q0, q1, [%2]\n stp q2, q3, [%2, 32]\n"
                     "stp q4, q5, [%2, 64]\n stp q6, q7, [%2, 96]\n"
                     "stp q16, q17, [%2, 128]\n stp q30, q31, [%2, 160]\n"
                     : "+r"(turns)
                     : "r"(in), "r"(out)
                     : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16",
                       "v17", "v30", "v31", "memory", "cc");
    for (int i = 24; i < 64; i++) // not held
        out->q[i] = in->q[i];
}

static void set_modes(const struct registers *to)
{
    __asm__ volatile("msr fpcr, %0" ::"r"(to->fpcr));
}

static void get_modes(struct registers *ret)
{
    __asm__ volatile("mrs %0, fpcr" : "=r"(ret->fpcr));
}

static void choose_modes(struct registers *all)
{
    all->fpcr = UINT64_C(1) << 22; // rounding up
}

#endif

static void *in_registers(void *arg)
{
    struct keeper *keeper = arg;
    struct registers before = {0}, wanted = {0}, found = {0};
    unsigned char *bytes = (unsigned char *)&wanted;

    for (size_t i = 0; i < sizeof wanted; i++)
        bytes[i] = (unsigned char)(i * 37 + 11);
    get_modes(&before);
    choose_modes(&wanted);
    memcpy(&found, &wanted, sizeof found); // what pads them, too
    set_modes(&wanted);
    keeper->result = 0;
    while (!atomic_load(&keeper->stop)) {
        errno = 4711;
        hold(&wanted, &found);
        keeper->error |= errno != 4711;
        get_modes(&found);
        keeper->result += memcmp(&wanted, &found, sizeof found) != 0;
        atomic_fetch_add(&keeper->turns, 1);
    }
    set_modes(&before);
    return arg;
}

static void test_registers_and_errno(void **state)
{
    struct keeper keeper;

    (void)state;
    keep_with(&keeper, in_registers, 0);
    for (unsigned i = 0; i < scaled(100); i++)
        weft_dump_free(take_running(&keeper));
    release(&keeper);
    expect_is(keeper.result, 0);
    expect_is(keeper.error, 0);
    expect(atomic_load(&keeper.turns) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settable),
        cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_chained),
        cmocka_unit_test(test_taken_over),
        cmocka_unit_test(test_not_both),
        cmocka_unit_test(test_registers_and_errno),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
