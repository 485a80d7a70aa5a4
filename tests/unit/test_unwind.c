// test_unwind.c -- Unwinding by CFI, against libgcc's unwinder.
//
// Scenarios lead to take_sample, where our trace and libgcc's must agree. On
// x86-64 one test runs code instruction by instruction and compares at each.
// The build makes this program several times, with different optimisation.
#include "dump/unwind.h"
#include "support/skip.h"
#include "support/stacks.h"

#include <alloca.h>
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||     \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

// ---- Scenarios: ways to get to take_sample ----

NOINLINE static int plain(int depth)
{
    if (depth == 0)
        reached();
    else
        sink += (unsigned)plain(depth - 1);
    return (int)++sink;
}

NOINLINE static int many_arguments(int a, int b, int c, int d, int e, int f,
                                   int g, int h, int i, int j)
{
    unsigned r = (unsigned)plain(a + 1);
    sink += (unsigned)(b + c + d + e + f + g + h + i + j) + r;
    return (int)++sink;
}

NOINLINE static int with_alloca(size_t n)
{
    volatile char *bytes = alloca(n);
    bytes[0] = 1;
    bytes[n - 1] = (char)plain(2);
    return (int)((unsigned)(bytes[0]) + ++sink);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wvla"
NOINLINE static int with_vla(size_t n)
{
    volatile long numbers[n];
    numbers[0] = plain(1);
    numbers[n - 1] = with_alloca(n);
    return (int)((unsigned)((int)numbers[0]) + ++sink);
}
#pragma GCC diagnostic pop

NOINLINE static int realigned(int n)
{
    __attribute__((aligned(64))) volatile char line[64];
    line[0] = (char)n;
    line[n] = (char)plain(n);
    assert_int_equal((uintptr_t)line % 64, 0);
    return (int)((unsigned)(line[0]) + ++sink);
}

// Alignment and a frame of unknown size: gcc keeps the old stack pointer (DRAP)
// in a register of its own and in the frame.
NOINLINE static int realigned_drap(size_t n, int a, int b, int c, int d, int e,
                                   int f, int g)
{
    __attribute__((aligned(64))) volatile char line[64];
    volatile char *bytes = alloca(n);
    line[0] = bytes[0] = (char)(a + b + c + d + e);
    line[f] = bytes[n - 1] = (char)realigned(f + g);
    return (int)((unsigned)(line[0] + bytes[0]) + ++sink);
}

static jmp_buf back;

__attribute__((noinline, noreturn)) static void never_return(char *bytes)
{
    bytes[0] = 1;
    reached();
    longjmp(back, 1);
}

// The call is the last instruction: its return address is in what follows.
__attribute__((noinline, noreturn)) static void last_call(void)
{
    char bytes[200];
    never_return(bytes);
}

NOINLINE static int large_frame(int n)
{
    volatile char bytes[70000];
    bytes[0] = (char)n;
    bytes[69999] = (char)plain(n);
    return (int)((unsigned)(bytes[0]) + ++sink);
}

static int compare_numbers(const void *a, const void *b)
{
    const int *x = a;
    const int *y = b;
    if (*x == 3 || *y == 3)
        reached();
    return (*x > *y) - (*x < *y);
}

NOINLINE static int through_qsort(int n)
{
    int numbers[16];
    for (int i = 0; i < 16; i++)
        numbers[i] = (i * 7 + n) % 16;
    qsort(numbers, 16, sizeof numbers[0], compare_numbers);
    return (int)((unsigned)(numbers[3]) + ++sink);
}

static void once(void)
{
    reached();
    sink++;
}

NOINLINE static int through_once(int n)
{
    pthread_once_t control = PTHREAD_ONCE_INIT;
    pthread_once(&control, once);
    return (int)((unsigned)(n) + ++sink);
}

static void on_signal(int number)
{
    sink += (unsigned)number;
    reached();
    sink++;
}

NOINLINE static int through_signal(int n)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct sigaction old;
    sigaction(SIGUSR1, &action, &old);
    raise(SIGUSR1);
    sigaction(SIGUSR1, &old, NULL);
    return (int)((unsigned)(n) + ++sink);
}

// ---- Tests: agreement ----

static void test_compiled_code(void **state)
{
    struct unwind_result result;
    (void)state;

    plain(5);
    check_sample(&result);
    many_arguments(1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
    check_sample(&result);
    with_vla(100);
    check_sample(&result);
    realigned(3);
    check_sample(&result);
    realigned_drap(100, 1, 2, 3, 4, 5, 6, 7);
    check_sample(&result);
    large_frame(2);
    check_sample(&result);
    if (setjmp(back) == 0)
        last_call();
    check_sample(&result);
}

static void test_through_libc(void **state)
{
    struct unwind_result result;
    (void)state;

    through_qsort(1);
    check_sample(&result);
    through_once(1);
    check_sample(&result);
    assert_int_equal(result.exact, 1);
}

static void test_through_signal_frame(void **state)
{
    struct unwind_result result;
    Dl_info info;
    (void)state;

    through_signal(1);
    if (!dladdr((void *)sample.oracle.pc[2], &info))
        skip_because("an emulator: its signal trampoline is in no module");
    check_sample(&result);
    // take_sample, on_signal, the trampoline, then what was interrupted.
    if (!SANITIZED) // they have frames of their own there
        assert_int_equal(result.exact, 1 | 1 << 3);
}

static void test_odd_rules(void **state)
{
    struct unwind_result result;
    (void)state;

    cfa_in_register(reached);
    check_sample(&result);
    cfa_expression(reached);
    check_sample(&result);
}

static struct trace interrupted_oracle;
static struct trace interrupted_ours;
static uintptr_t outermost; // the pc in _start
static volatile sig_atomic_t interruptions;
static volatile sig_atomic_t differences;
static volatile sig_atomic_t oracle_failures;

static bool is_same(const uintptr_t *ours, int ours_depth,
                    const uintptr_t *other, int other_depth)
{
    return ours_depth == other_depth &&
           memcmp(ours, other, (size_t)ours_depth * sizeof *ours) == 0;
}

// In a handler: libgcc's trace from what was interrupted on, and ours. gcc's
// CFI is wrong between `pop %rbp` and the end of a function with a realigned
// stack: there libgcc does not get to _start either.
NOINLINE static void compare_interrupted(const ucontext_t *uc)
{
    struct unwind_memory memory = {.hi = stack_end()};
    struct unwind_regs regs;
    struct unwind_result result;
    struct trace *a = &interrupted_oracle;
    struct trace *b = &interrupted_ours;
    int start = 0;

    unwind_regs_of_signal(uc, &regs);
    memory.lo = regs.reg[CFI_SP] - 128; // the red zone
    a->depth = 0;
    _Unwind_Backtrace(add_frame, a);
    while (start < a->depth && a->pc[start] != regs.pc)
        start++;
    b->depth = unwind(cache, &regs, &memory, b->pc, DEPTH_MAX, 0, &result);
    interruptions++;
    if (a->pc[a->depth - 1] != outermost) {
        oracle_failures++;
    } else if (result.end != UNWIND_OUTERMOST || result.by_fp != 0 ||
               !is_same(b->pc, b->depth, a->pc + start, a->depth - start)) {
        print_message("# at %p: %s, %d frames, should be %d\n", (void *)regs.pc,
                      unwind_end_name(result.end), b->depth, a->depth - start);
        differences++;
    }
}

static void begin_comparing(void)
{
    struct trace here = {.depth = 0};
    _Unwind_Backtrace(add_frame, &here);
    outermost = here.pc[here.depth - 1];
    interruptions = differences = oracle_failures = 0;
}

static void on_alarm(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    compare_interrupted(context);
}

// A task captured in the middle of a system call of libc.
static void test_interrupted_in_libc(void **state)
{
    struct sigaction action = {.sa_sigaction = on_alarm,
                               .sa_flags = SA_SIGINFO};
    struct sigaction old;
    struct timespec nap = {.tv_nsec = 50 * 1000 * 1000};
    struct itimerspec soon = {.it_value.tv_nsec = 5 * 1000 * 1000};
    timer_t timer;
    (void)state;

    if (SANITIZED)
        skip_because("a sanitizer delivers signals late, in frames of its own");
    sigaction(SIGALRM, &action, &old);
    assert_int_equal(timer_create(CLOCK_MONOTONIC, NULL, &timer), 0);
    begin_comparing();
    timer_settime(timer, 0, &soon, NULL);
    nanosleep(&nap, NULL);
    timer_delete(timer);
    sigaction(SIGALRM, &old, NULL);
    assert_int_equal(interruptions, 1);
    assert_int_equal(differences, 0);
    assert_int_equal(oracle_failures, 0);
}

#if defined(__x86_64__)
static int run_all(int n)
{
    unsigned sum = (unsigned)plain(n) +
                   (unsigned)many_arguments(n, 1, 2, 3, 4, 5, 6, 7, 8, 9);
    sum += (unsigned)with_vla((size_t)n + 40) + (unsigned)realigned(n);
    sum += (unsigned)realigned_drap((size_t)n + 9, 1, 2, 3, 4, 5, n, 1);
    sum += (unsigned)large_frame(n) + (unsigned)through_qsort(n);
    return (int)(sum + (unsigned)through_once(n) + ++sink);
}

static void nothing(void)
{
    sink++;
}

static volatile sig_atomic_t stepping;

// With the trap flag in what it returns to, the next instruction traps again.
static void on_trap(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)number;
    (void)info;
    if (stepping) {
        uc->uc_mcontext.gregs[REG_EFL] |= 0x100;
        compare_interrupted(uc);
    } else {
        uc->uc_mcontext.gregs[REG_EFL] &= ~0x100;
    }
}

// Every instruction of prologues, epilogues, PLT entries, the lazy binding of
// symbols, and libc.
static void test_each_instruction(void **state)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    struct sigaction old;
    char text[64];
    (void)state;

    if (SANITIZED)
        skip_because("a sanitizer cannot be run step by step");
    sigaction(SIGTRAP, &action, &old);
    begin_comparing();
    reached = nothing;
    stepping = 1;
    raise(SIGTRAP);
    run_all(3);
    usleep(1);
    snprintf(text, sizeof text, "%d %5.2f %s", 3, 2.5, getenv("PATH"));
    sink += (unsigned)(strtod("1.25e3", NULL) + (double)strtol(text, NULL, 10));
    stepping = 0;
    sink++;
    reached = take_sample;
    sigaction(SIGTRAP, &old, NULL);
    print_message("# %d instructions\n", (int)interruptions);
    assert_true(interruptions > 2000);
    assert_int_equal(differences, 0);
    assert_in_range(oracle_failures, 0, 8);
}
#endif

// ---- Tests: ends ----

static void test_frame_pointer_without_cfi(void **state)
{
    static uintptr_t pcs[DEPTH_MAX];
    struct unwind_result result;
    struct trace outer = {.depth = 0};
    (void)state;

    _Unwind_Backtrace(add_frame, &outer);
    no_cfi(reached);
    int count =
        unwind(cache, &sample.regs, &sample.memory, pcs, DEPTH_MAX, 0, &result);
    assert_clean(&result);
    assert_int_equal(result.by_fp, 1);
    assert_int_equal(count, outer.depth + 2); // take_sample and no_cfi
    for (int i = 3; i < count; i++)
        assert_int_equal(pcs[i], outer.pc[i - 2]);
    assert_in_range(pcs[1], (uintptr_t)no_cfi, (uintptr_t)no_cfi_no_fp);
}

static void test_no_cfi(void **state)
{
    uintptr_t pcs[8];
    struct unwind_result result;
    (void)state;

    no_cfi_no_fp(reached);
    assert_int_equal(
        unwind(cache, &sample.regs, &sample.memory, pcs, 8, 0, &result), 2);
    assert_int_equal(result.end, UNWIND_NO_CFI);
    assert_int_equal(result.at, pcs[1]);
    odd_expression(reached);
    assert_int_equal(
        unwind(cache, &sample.regs, &sample.memory, pcs, 8, 0, &result), 2);
    assert_int_equal(result.end, UNWIND_BAD_CFI);
}

static void test_unknown_register(void **state)
{
    uintptr_t pcs[8];
    struct unwind_result result;
    (void)state;

    // A register that the call has spoilt, although it is known at the start.
    cfa_spoilt(take_stack);
    assert_int_equal(
        unwind(cache, &sample.regs, &sample.memory, pcs, 8, 0, &result), 2);
    assert_int_equal(result.end, UNWIND_NO_REG);
    assert_in_range(pcs[1], (uintptr_t)cfa_spoilt, (uintptr_t)first_frame);
    sample.regs.valid = 0;
    assert_int_equal(
        unwind(cache, &sample.regs, &sample.memory, pcs, 8, 0, &result), 1);
    assert_int_equal(result.end, UNWIND_NO_REG);
}

// A frame whose saved frame pointer leads back to itself.
static void test_no_endless_loop(void **state)
{
    uintptr_t pcs[8];
    uintptr_t words[8] __attribute__((aligned(16))) = {0};
    struct unwind_regs regs = {.valid = CFI_PRESERVED, .returns = true};
    struct unwind_memory memory = {
        .lo = (uintptr_t)words,
        .hi = (uintptr_t)(words + 8),
    };
    struct unwind_result result;
    (void)state;

    cfa_by_fp(reached);
    check_sample(&result);
    regs.pc = sample.oracle.pc[1];
    regs.reg[CFI_SP] = (uintptr_t)words;
    regs.reg[CFI_FP] = (uintptr_t)(words + 2);
    words[2] = (uintptr_t)(words + 2);
    words[3] = regs.pc;
    assert_int_equal(unwind(cache, &regs, &memory, pcs, 8, 0, &result), 2);
    assert_int_equal(result.end, UNWIND_BAD_CFA);
    words[2] = (uintptr_t)(words + 4);
    words[4] = (uintptr_t)(words + 2); // a loop of two
    words[5] = regs.pc;
    assert_int_equal(unwind(cache, &regs, &memory, pcs, 8, 0, &result), 3);
    assert_int_equal(result.end, UNWIND_BAD_CFA);
}

// With fewer bytes the trace is a beginning of the whole one.
static void test_part_of_the_stack(void **state)
{
    static uintptr_t pcs[DEPTH_MAX];
    struct unwind_result result;
    (void)state;

    plain(30);
    struct unwind_memory part = sample.memory;
    int last = 0;
    for (part.hi = part.lo; part.hi < sample.memory.hi; part.hi++) {
        int count =
            unwind(cache, &sample.regs, &part, pcs, DEPTH_MAX, 0, &result);
        assert_true(count >= last);
        if (count == sample.oracle.depth)
            break;
        assert_int_equal(result.end, UNWIND_OUTSIDE);
        for (int i = 1; i < count; i++)
            assert_int_equal(pcs[i], sample.oracle.pc[i]);
        last = count;
    }
    assert_true(last > 30);
}

static void check_ends(const uintptr_t *all, int depth, int max, int tail)
{
    static uintptr_t pcs[DEPTH_MAX];
    struct unwind_result result;
    int head = max - tail;

    int count =
        unwind(cache, &sample.regs, &sample.memory, pcs, max, tail, &result);
    if (tail == 0 && depth > max) {
        assert_int_equal(result.end, UNWIND_TRUNCATED);
        assert_int_equal(count, max);
        assert_memory_equal(pcs, all, (size_t)max * sizeof *pcs);
        return;
    }
    assert_clean(&result);
    assert_int_equal(result.frames, depth);
    assert_int_equal(count, depth < max ? depth : max);
    if (depth <= max) {
        assert_memory_equal(pcs, all, (size_t)depth * sizeof *pcs);
        return;
    }
    assert_memory_equal(pcs, all, (size_t)head * sizeof *pcs);
    assert_memory_equal(pcs + head, all + depth - tail,
                        (size_t)tail * sizeof *pcs);
}

static void test_both_ends_are_kept(void **state)
{
    static uintptr_t all[DEPTH_MAX];
    struct unwind_result result;
    (void)state;

    plain(1000);
    int depth =
        unwind(cache, &sample.regs, &sample.memory, all, DEPTH_MAX, 0, &result);
    assert_like_oracle(&sample, all, depth);
    assert_true(depth > 1000);
    for (int max = 1; max < 70; max++)
        for (int tail = 0; tail < max; tail++)
            check_ends(all, depth, max, tail);
    for (int max = depth - 3; max < depth + 3; max++)
        for (int tail = 0; tail < max; tail += 7)
            check_ends(all, depth, max, tail);
}

// ---- Tests: a stack made by hand ----

struct fiber {
    void *sp;
    void *main_sp;
    uintptr_t stack[8192] __attribute__((aligned(16)));
};
static struct fiber fiber;

static void park(void)
{
    switch_stack(&fiber.sp, fiber.main_sp);
}

static void fiber_main(void)
{
    reached = park;
    plain(4);
    sink++;
}

static void parked_state(struct unwind_regs *ret_regs,
                         struct unwind_memory *ret_memory)
{
    uintptr_t *sp = fiber.sp;
    *ret_regs = (struct unwind_regs){.valid = CFI_PRESERVED};
    registers_saved(sp, ret_regs);
    ret_regs->reg[CFI_SP] = (uintptr_t)(sp + SAVED_WORDS);
    *ret_memory = (struct unwind_memory){
        .lo = ret_regs->reg[CFI_SP],
        .hi = (uintptr_t)(&fiber + 1) - 64,
    };
}

static void new_fiber(void)
{
    uintptr_t *top = fiber.stack + 8192 - 8;
    memset(&fiber, 0, sizeof fiber);
    fiber.sp = top - SAVED_WORDS;
    prepare_stack(fiber.sp, fiber_main);
}

static void test_task_entry_ends_cleanly(void **state)
{
    uintptr_t pcs[32];
    struct unwind_regs regs;
    struct unwind_memory memory;
    struct unwind_result result;
    (void)state;

    new_fiber();
    parked_state(&regs, &memory); // before it ran
    assert_int_equal(unwind(cache, &regs, &memory, pcs, 32, 0, &result), 1);
    assert_clean(&result);
    assert_int_equal(pcs[0], (uintptr_t)first_frame);

    switch_stack(&fiber.main_sp, fiber.sp);
    reached = take_sample;
    parked_state(&regs, &memory);
    int count = unwind(cache, &regs, &memory, pcs, 32, 0, &result);
    assert_clean(&result);
    assert_int_equal(result.at, pcs[count - 1]);
    // park, plain five times, fiber_main, first_frame; park may be a jump.
    assert_in_range(count, 7, 8);
    assert_in_range(pcs[count - 1], (uintptr_t)first_frame + 1,
                    (uintptr_t)first_frame + 16);
}

NOINLINE static int self(uintptr_t *pcs, struct trace *oracle,
                         struct unwind_result *result)
{
    struct unwind_memory memory = {
        .lo = (uintptr_t)__builtin_frame_address(0) & -(uintptr_t)65536,
        .hi = stack_end(),
    };
    memory.lo -= 65536;
    oracle->depth = 0;
    _Unwind_Backtrace(add_frame, oracle);
    return unwind_self(cache, &memory, pcs, DEPTH_MAX, 0, result);
}

static void test_self(void **state)
{
    static uintptr_t pcs[DEPTH_MAX];
    static struct trace oracle;
    struct unwind_result result;
    (void)state;

    int count = self(pcs, &oracle, &result);
    assert_clean(&result);
    assert_int_equal(count, oracle.depth);
    assert_memory_equal(pcs + 1, oracle.pc + 1,
                        (size_t)(count - 1) * sizeof *pcs);
    assert_int_equal(result.exact, 0);
}

// ---- Tests: damage ----

static uint64_t seed = 0x1234567;

static uint64_t random_number(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

// `size` bytes, in whole pages, with an unreadable page before and behind.
static char *map_guarded(size_t size)
{
    char *p = mmap(NULL, size + 2 * PAGE, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    assert_int_equal(mprotect(p + PAGE, size, PROT_READ | PROT_WRITE), 0);
    return p + PAGE;
}

static void damage(char *bytes, size_t size)
{
    uint64_t how = random_number() % 4;
    uint64_t times = 1 + random_number() % 16;

    for (uint64_t i = 0; i < times; i++) {
        size_t at = random_number() % (size - 8);
        size_t word = at & ~(size_t)7;
        uintptr_t value = random_number();
        if (how == 0)
            bytes[at] ^= (char)(1 << random_number() % 8);
        else if (how == 1)
            memcpy(bytes + word, &value, 8);
        else if (how == 2) // another word of the stack: looks plausible
            memmove(bytes + word, bytes + (value % (size - 8) & ~(size_t)7), 8);
        else {
            value = sample.memory.lo + value % size;
            memcpy(bytes + word, &value, 8);
        }
    }
}

static void check_sane(const struct unwind_result *result, int count, int max)
{
    assert_in_range(count, 1, max);
    assert_in_range(result->end, UNWIND_OUTERMOST, UNWIND_NO_REG);
    assert_true(strlen(unwind_end_name(result->end)) > 0);
    assert_true(result->frames >= (uint64_t)count);
    assert_true(result->by_fp <= result->frames);
}

static void test_damaged_stack(void **state)
{
    uintptr_t pcs[64];
    struct unwind_result result;
    int ends[UNWIND_NO_REG + 1] = {0};
    (void)state;

    realigned_drap(100, 1, 2, 3, 4, 5, 6, 7);
    size_t size = sample.memory.hi - sample.memory.lo;
    if (size > 4096)
        size = 4096;
    char *bytes = map_guarded(4096);
    for (int i = 0; i < 20000; i++) {
        char *copy = i % 2 ? bytes : bytes + 4096 - size;
        struct unwind_regs regs = sample.regs;
        struct unwind_memory memory = {
            .lo = sample.memory.lo,
            .hi = sample.memory.lo + size,
            .copy = copy,
        };
        memcpy(copy, sample.memory.copy, size);
        damage(copy, size);
        if (i % 5 == 0)
            regs.reg[random_number() % CFI_REGS] = random_number();
        if (i % 7 == 0)
            regs.reg[CFI_SP] = memory.lo + random_number() % size;
        int max = 1 + (int)(random_number() % 64);
        int tail = (int)(random_number() % (uint64_t)max);
        int count = unwind(cache, &regs, &memory, pcs, max, tail, &result);
        check_sane(&result, count, max);
        ends[result.end]++;
    }
    assert_true(ends[UNWIND_OUTSIDE] > 0);
    assert_true(ends[UNWIND_BAD_CFA] > 0);
    munmap(bytes - PAGE, 4096 + 2 * PAGE);
}

struct range {
    char *lo;
    char *hi;
    int protection;
};

// The .eh_frame_hdr and .eh_frame of this program: they end their segment.
static int find_frames(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct range *range = arg;
    (void)size;

    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
            range->lo = (char *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        char *start = (char *)info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD && range->lo >= start &&
            range->lo < start + p->p_memsz) {
            range->hi = start + p->p_memsz;
            range->protection = PROT_READ | (p->p_flags & PF_X ? PROT_EXEC : 0);
        }
    }
    return 1; // this program comes first
}

static void unwind_with_damaged_cfi(const struct range *range, const char *good)
{
    uintptr_t pcs[64];
    struct unwind_result result;
    size_t size = (size_t)(range->hi - range->lo);

    for (uint64_t i = 1 + random_number() % 40; i > 0; i--)
        range->lo[random_number() % size] = (char)random_number();
    struct cfi_cache *fresh = cfi_cache_new();
    assert_non_null(fresh);
    int count =
        unwind(fresh, &sample.regs, &sample.memory, pcs, 64, 8, &result);
    struct cfi_row row;
    for (int i = 0; i < 20; i++)
        cfi_read(fresh, (uintptr_t)plain + random_number() % 2000, &row);
    cfi_cache_free(fresh);
    memcpy(range->lo, good, size);
    check_sane(&result, count, 64);
}

static void test_damaged_cfi(void **state)
{
    struct range range = {.lo = NULL};
    struct unwind_result result;
    (void)state;

    dl_iterate_phdr(find_frames, &range);
    assert_non_null(range.lo);
    size_t size = (size_t)(range.hi - range.lo);
    uintptr_t page = (uintptr_t)range.lo & -(uintptr_t)PAGE;
    size_t length = (uintptr_t)range.hi - page;
    char *good = malloc(size);
    assert_non_null(good);

    realigned_drap(100, 1, 2, 3, 4, 5, 6, 7);
    memcpy(good, range.lo, size);
    assert_int_equal(
        mprotect((void *)page, length, range.protection | PROT_WRITE), 0);
    for (int i = 0; i < 3000; i++)
        unwind_with_damaged_cfi(&range, good);

    // Without the table every entry is read, and the answer is the same.
    range.lo[3] = (char)0xff;
    cfi_cache_free(cache);
    cache = cfi_cache_new();
    assert_non_null(cache);
    check_sample(&result);
    memcpy(range.lo, good, size);
    mprotect((void *)page, length, range.protection);
    free(good);
}

// ---- Tests: the cache ----

static void test_unloaded_module(void **state)
{
    struct cfi_row row;
    (void)state;

    void *module = dlopen("libthread_db.so.1", RTLD_LAZY);
    if (!module)
        skip_because("no libthread_db");
    uintptr_t pc = (uintptr_t)dlsym(module, "td_ta_new");
    assert_true(pc != 0);
    cfi_cache_refresh(cache);
    assert_int_equal(cfi_find(cache, pc)->kind, CFI_SIMPLE);
    assert_int_equal(cfi_find(cache, pc)->kind, CFI_SIMPLE);
    assert_int_equal(cfi_read(cache, pc, &row), CFI_FULL);
    dlclose(module);
    if (dlopen("libthread_db.so.1", RTLD_LAZY | RTLD_NOLOAD))
        skip_because("something else keeps libthread_db loaded");
    cfi_cache_refresh(cache);
    assert_int_equal(cfi_find(cache, pc)->kind, CFI_NONE);
}

static void test_more_pcs_than_slots(void **state)
{
    uintptr_t start = (uintptr_t)snprintf;
    enum { COUNT = 40000 };
    uint8_t *kinds = malloc(COUNT);
    struct cfi_rule *rules = malloc(COUNT * sizeof *rules);
    (void)state;

    assert_non_null(kinds);
    assert_non_null(rules);
    for (size_t i = 0; i < COUNT; i++)
        rules[i] = *cfi_find(cache, start + i);
    for (size_t i = 0; i < COUNT; i += 7) {
        const struct cfi_rule *again = cfi_find(cache, start + i);
        assert_int_equal(again->pc, start + i);
        assert_memory_equal(again, &rules[i], sizeof rules[i]);
    }
    free(kinds);
    free(rules);
    assert_int_equal(cfi_find(cache, 0)->kind, CFI_NONE);
    assert_int_equal(cfi_find(cache, 1)->kind, CFI_NONE);
    assert_int_equal(cfi_find(cache, UINTPTR_MAX)->kind, CFI_NONE);
}

static void *unwind_often(void *arg)
{
    static const struct timespec pause = {.tv_nsec = 1000};
    uintptr_t pcs[128];
    struct unwind_result result;
    struct cfi_cache *own = cfi_cache_new();
    long wrong = own ? 0 : 1;
    (void)arg;

    for (int i = 0; own && i < 5000; i++) {
        int count =
            unwind(own, &sample.regs, &sample.memory, pcs, 128, 0, &result);
        if (count != sample.oracle.depth || result.end != UNWIND_OUTERMOST)
            wrong++;
        if (i % 500 == 0) {
            cfi_cache_free(own);
            own = cfi_cache_new();
            nanosleep(&pause, NULL);
        }
    }
    cfi_cache_free(own);
    return (void *)wrong;
}

static void test_two_threads(void **state)
{
    pthread_t threads[2];
    void *wrong;
    (void)state;

    through_qsort(1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, unwind_often, NULL),
                         0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
}

static int set_up(void **state)
{
    (void)state;
    cache = cfi_cache_new();
    reached = take_sample;
    return cache ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    cfi_cache_free(cache);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compiled_code),
        cmocka_unit_test(test_through_libc),
        cmocka_unit_test(test_through_signal_frame),
        cmocka_unit_test(test_odd_rules),
        cmocka_unit_test(test_interrupted_in_libc),
#if defined(__x86_64__)
        cmocka_unit_test(test_each_instruction),
#endif
        cmocka_unit_test(test_frame_pointer_without_cfi),
        cmocka_unit_test(test_no_cfi),
        cmocka_unit_test(test_unknown_register),
        cmocka_unit_test(test_no_endless_loop),
        cmocka_unit_test(test_part_of_the_stack),
        cmocka_unit_test(test_both_ends_are_kept),
        cmocka_unit_test(test_task_entry_ends_cleanly),
        cmocka_unit_test(test_self),
        cmocka_unit_test(test_damaged_stack),
        cmocka_unit_test(test_damaged_cfi),
        cmocka_unit_test(test_unloaded_module),
        cmocka_unit_test(test_more_pcs_than_slots),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
