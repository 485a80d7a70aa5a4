// test_switch.c -- The switch: registers kept, frames as described, clean ends.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>

#include <cmocka.h>

#include "task/fiber.h"
#include "task/switch.h"

// Loads all registers that a callee keeps with values, switches, and stores
// what is in them when somebody has switched back.
#pragma GCC visibility push(hidden)
void switch_with(void **ret_saved, void *target, const uint64_t *in,
                 uint64_t *out);
#pragma GCC visibility pop

#if defined(__x86_64__)

enum { REGISTERS = 6 }; // rbx, rbp, r12 to r15

__asm__(".text\n.globl switch_with\n.hidden switch_with\n"
        ".type switch_with, %function\n"
        "switch_with:\n"
        "push %rbx\n push %rbp\n push %r12\n"
        "push %r13\n push %r14\n push %r15\n"
        "push %rcx\n"
        "mov (%rdx), %rbx\n mov 8(%rdx), %rbp\n mov 16(%rdx), %r12\n"
        "mov 24(%rdx), %r13\n mov 32(%rdx), %r14\n mov 40(%rdx), %r15\n"
        "call task_switch\n"
        "pop %rcx\n"
        "mov %rbx, (%rcx)\n mov %rbp, 8(%rcx)\n mov %r12, 16(%rcx)\n"
        "mov %r13, 24(%rcx)\n mov %r14, 32(%rcx)\n mov %r15, 40(%rcx)\n"
        "pop %r15\n pop %r14\n pop %r13\n"
        "pop %r12\n pop %rbp\n pop %rbx\n"
        "ret\n"
        ".size switch_with, . - switch_with\n");

static void expect_frame(const struct switch_frame *frame, const uint64_t *in)
{
    assert_int_equal(frame->rbx, in[0]);
    assert_int_equal(frame->rbp, in[1]);
    assert_int_equal(frame->r12, in[2]);
    assert_int_equal(frame->r13, in[3]);
    assert_int_equal(frame->r14, in[4]);
    assert_int_equal(frame->r15, in[5]);
}

#else

enum { REGISTERS = 18 }; // x19 to x28, d8 to d15

__asm__(".text\n.globl switch_with\n.hidden switch_with\n"
        ".type switch_with, %function\n"
        "switch_with:\n"
        "sub sp, sp, #176\n"
        "stp x29, x30, [sp]\n str x3, [sp, #160]\n"
        "stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n"
        "stp x23, x24, [sp, #48]\n stp x25, x26, [sp, #64]\n"
        "stp x27, x28, [sp, #80]\n"
        "stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n"
        "stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]\n"
        "ldp x19, x20, [x2]\n ldp x21, x22, [x2, #16]\n"
        "ldp x23, x24, [x2, #32]\n ldp x25, x26, [x2, #48]\n"
        "ldp x27, x28, [x2, #64]\n"
        "ldp d8, d9, [x2, #80]\n ldp d10, d11, [x2, #96]\n"
        "ldp d12, d13, [x2, #112]\n ldp d14, d15, [x2, #128]\n"
        "bl task_switch\n"
        "ldr x3, [sp, #160]\n"
        "stp x19, x20, [x3]\n stp x21, x22, [x3, #16]\n"
        "stp x23, x24, [x3, #32]\n stp x25, x26, [x3, #48]\n"
        "stp x27, x28, [x3, #64]\n"
        "stp d8, d9, [x3, #80]\n stp d10, d11, [x3, #96]\n"
        "stp d12, d13, [x3, #112]\n stp d14, d15, [x3, #128]\n"
        "ldp x29, x30, [sp]\n"
        "ldp x19, x20, [sp, #16]\n ldp x21, x22, [sp, #32]\n"
        "ldp x23, x24, [sp, #48]\n ldp x25, x26, [sp, #64]\n"
        "ldp x27, x28, [sp, #80]\n"
        "ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n"
        "ldp d12, d13, [sp, #128]\n ldp d14, d15, [sp, #144]\n"
        "add sp, sp, #176\n"
        "ret\n"
        ".size switch_with, . - switch_with\n");

static void expect_frame(const struct switch_frame *frame, const uint64_t *in)
{
    const uintptr_t *x = &frame->x19;
    const double *d = &frame->d8;

    for (int i = 0; i < 10; i++)
        assert_int_equal(x[i], in[i]);
    assert_memory_equal(d, in + 10, 8 * sizeof *d);
}

#endif

// ---- Two sides. ----

enum { STACK = 256 << 10 };

struct side {
    void *sp;
    struct fiber fiber;
};

static struct side here;
static struct side there;
static uint64_t values[2][REGISTERS];
static uint64_t found[2][REGISTERS];
static int rounds;

static void enter_there(void (*body)(void *), void *arg)
{
    static char *stack;

    free(stack);
    stack = aligned_alloc(4096, STACK);
    memset(stack, 0x5a, STACK); // what lies there must not matter
    fiber_init_thread(&here.fiber);
    fiber_init(&there.fiber, stack, STACK);
    there.sp = switch_prepare(stack + STACK, body, arg);
    fiber_leave(&here.fiber, &there.fiber, false);
    task_switch(&here.sp, there.sp);
    fiber_enter(&there.fiber, &here.fiber);
}

static void go_there(int number)
{
    fiber_leave(&here.fiber, &there.fiber, false);
    switch_with(&here.sp, there.sp, values[number], found[number]);
    fiber_enter(&there.fiber, &here.fiber);
}

static void go_back(bool last)
{
    fiber_leave(&there.fiber, &here.fiber, last);
    switch_with(&there.sp, here.sp, values[1], found[1]);
    fiber_enter(&here.fiber, &there.fiber);
}

static void fill(uint64_t *numbers, uint64_t seed)
{
    for (int i = 0; i < REGISTERS; i++)
        numbers[i] = (seed + (uint64_t)i + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static void bounce(void *arg)
{
    fiber_enter(&here.fiber, &there.fiber);
    while (*(int *)arg > 0) {
        go_back(false);
        if (memcmp(found[1], values[1], sizeof found[1]) != 0)
            abort();
    }
    go_back(true);
}

static void test_registers_are_kept(void **state)
{
    (void)state;
    rounds = 1;
    fill(values[0], 1);
    fill(values[1], 1000);
    enter_there(bounce, &rounds);
    for (int i = 0; i < 1000; i++) {
        expect_frame(there.sp, values[1]);
        fill(values[0], (uint64_t)i);
        memset(found[0], 0, sizeof found[0]);
        go_there(0);
        assert_memory_equal(found[0], values[0], sizeof found[0]);
        // The other side has its own: it compares before it goes on.
    }
    rounds = 0;
    go_there(0);
    fiber_deinit(&there.fiber);
}

// ---- The first frame. ----

struct look {
    uintptr_t pcs[64];
    int count;
    _Unwind_Reason_Code end;
    uintptr_t frame;
    void *arg;
};

static _Unwind_Reason_Code note(struct _Unwind_Context *context, void *arg)
{
    struct look *look = arg;

    if (look->count < 64)
        look->pcs[look->count++] = _Unwind_GetIP(context);
    return _URC_NO_REASON;
}

__attribute__((noinline)) static void look_around(struct look *look)
{
    look->end = _Unwind_Backtrace(note, look);
    __asm__ volatile(""); // no tail call: this frame is to be seen
}

__attribute__((noinline)) static void begin(void *arg)
{
    struct look *look = arg;

    fiber_enter(&here.fiber, &there.fiber);
    look->frame = (uintptr_t)__builtin_frame_address(0);
    look->arg = arg;
    look_around(look);
    go_back(true);
}

static bool is_in(uintptr_t pc, void (*fn)(void), size_t size)
{
    return pc - (uintptr_t)fn <= size;
}

static void test_the_chain_ends_at_the_entry(void **state)
{
    (void)state;
    struct look look = {.count = 0};

    enter_there(begin, &look);
    assert_ptr_equal(look.arg, &look);
    assert_int_equal(look.frame % 16, 0);
    assert_int_equal(look.end, _URC_END_OF_STACK);
    assert_in_range(look.count, 3, 10); // look_around, begin, the entry
    uintptr_t last = look.pcs[look.count - 1];
    if (last == 0) // libgcc tells of the end itself
        last = look.pcs[look.count - 2];
    assert_true(is_in(last, task_entry, 32));
    fiber_deinit(&there.fiber);
}

// A stack that has never run: what a dump reads of it.
static void test_a_fresh_frame(void **state)
{
    (void)state;
    char *stack = aligned_alloc(4096, STACK);
    static const size_t tops[] = {STACK, STACK - 8, STACK - 24, STACK - 64};

    for (size_t i = 0; i < sizeof tops / sizeof *tops; i++) {
        struct switch_frame *frame =
            switch_prepare(stack + tops[i], begin, stack);
        assert_ptr_equal(frame->pc, task_entry);
        assert_int_equal((uintptr_t)(frame + 1) % 16, 0);
        assert_true((char *)(frame + 1) <= stack + tops[i]);
        assert_true((char *)frame >= stack + tops[i] - 256);
    }
    free(stack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers_are_kept),
        cmocka_unit_test(test_the_chain_ends_at_the_entry),
        cmocka_unit_test(test_a_fresh_frame),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
