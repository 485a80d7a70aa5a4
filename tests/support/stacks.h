// stacks.h -- Stacks to unwind: samples of them, and code that makes odd ones.
//
// A sample is a stack as it stood in take_sample: registers, a copy of the
// bytes, and what libgcc's unwinder, an implementation not ours, says of it.
#ifndef WEFT_TESTS_STACKS_H
#define WEFT_TESTS_STACKS_H

#include "dump/unwind.h"
#include "port/port.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unwind.h>

#include <cmocka.h>

#if defined(__clang__)
#define UNCHECKED                                                              \
    __attribute__((noinline, no_sanitize("address", "thread", "memory")))
#else
#define UNCHECKED                                                              \
    __attribute__((noinline, no_sanitize_address, no_sanitize_thread))
#endif
#define NOINLINE __attribute__((noinline))

enum { DEPTH_MAX = 4096, PAGE = 4096, STACK_MAX = 4 << 20 };

// ---- Samples ----

struct trace {
    uintptr_t pc[DEPTH_MAX];
    int depth;
};

struct sample {
    struct unwind_regs regs;
    struct unwind_memory memory;
    struct trace oracle;
    bool taken;
};

static struct cfi_cache *cache;
static struct sample sample;
static volatile unsigned sink; // calls before `++sink` are no tail calls

// Every scenario ends here; the stepping test puts in something else.
static void (*reached)(void);

static _Unwind_Reason_Code add_frame(struct _Unwind_Context *context, void *arg)
{
    struct trace *t = arg;
    uintptr_t pc = _Unwind_GetIP(context);
    if (pc != 0 && t->depth < DEPTH_MAX) // 0: past the outermost
        t->pc[t->depth++] = pc;
    return _URC_NO_REASON;
}

static uintptr_t stack_end(void)
{
    static __thread uintptr_t end;
    pthread_attr_t attr;
    void *base;
    size_t size;

    if (end == 0) {
        assert_int_equal(pthread_getattr_np(pthread_self(), &attr), 0);
        pthread_attr_getstack(&attr, &base, &size);
        pthread_attr_destroy(&attr);
        end = (uintptr_t)base + size;
    }
    return end;
}

UNCHECKED static void copy_words(void *to, uintptr_t from, size_t bytes)
{
    const volatile uintptr_t *source = (const volatile uintptr_t *)from;
    volatile uintptr_t *target = to;
    for (size_t i = 0; i < bytes / sizeof *target; i++)
        target[i] = source[i];
}

static void save_stack(struct sample *s, uintptr_t lo, uintptr_t hi)
{
    static uintptr_t copy[STACK_MAX / sizeof(uintptr_t)];
    lo &= -(uintptr_t)16;
    assert_true(hi - lo <= sizeof copy);
    s->memory = (struct unwind_memory){.lo = lo, .hi = hi, .copy = copy};
    copy_words(copy, lo, hi - lo);
}

// A sample without an oracle, where that would crash.
NOINLINE static void take_stack(void)
{
    ucontext_t here;
    uintptr_t hi = stack_end();

    getcontext(&here);
    port_filled(&here, sizeof here);
    unwind_regs_of_signal(&here, &sample.regs);
    save_stack(&sample, sample.regs.reg[CFI_SP], hi);
    sink++;
}

NOINLINE static void take_sample(void)
{
    ucontext_t here;
    uintptr_t hi = stack_end();

    sample.oracle.depth = 0;
    _Unwind_Backtrace(add_frame, &sample.oracle);
    getcontext(&here);
    port_filled(&here, sizeof here);
    unwind_regs_of_signal(&here, &sample.regs);
    sample.regs.valid = CFI_PRESERVED;
    save_stack(&sample, sample.regs.reg[CFI_SP], hi);
    sample.taken = true;
}

static void assert_clean(const struct unwind_result *result)
{
    if (result->end != UNWIND_OUTERMOST)
        fail_msg("%s at %p", unwind_end_name(result->end), (void *)result->at);
}

// The first frame is take_sample's own, where the two pcs differ.
static void assert_like_oracle(const struct sample *s, const uintptr_t *pcs,
                               int count)
{
    assert_true(count > 1);
    for (int i = 1; i < count && i < s->oracle.depth; i++)
        if (pcs[i] != s->oracle.pc[i])
            fail_msg("frame %d: %p, should be %p", i, (void *)pcs[i],
                     (void *)s->oracle.pc[i]);
    assert_int_equal(count, s->oracle.depth);
}

static void check_sample(struct unwind_result *ret_result)
{
    static uintptr_t pcs[DEPTH_MAX];

    assert_true(sample.taken);
    for (int warm = 0; warm < 2; warm++) {
        int count = unwind(cache, &sample.regs, &sample.memory, pcs, DEPTH_MAX,
                           0, ret_result);
        assert_clean(ret_result);
        assert_like_oracle(&sample, pcs, count);
        assert_int_equal(ret_result->frames, count);
    }
    assert_int_equal(ret_result->by_fp, 0);
    sample.taken = false;
}

// ---- Code without CFI, and with CFI that no compiler writes ----

#pragma GCC visibility push(hidden)
void no_cfi(void (*fn)(void));
void no_cfi_no_fp(void (*fn)(void));
void cfa_in_register(void (*fn)(void));
void cfa_expression(void (*fn)(void));
void odd_expression(void (*fn)(void));
void cfa_by_fp(void (*fn)(void));
void cfa_spoilt(void (*fn)(void));
void first_frame(void);
void switch_stack(void **save_sp, void *to_sp);
#pragma GCC visibility pop

#define ASSEMBLY(name, code)                                                   \
    __asm__(".text\n.globl " #name "\n.hidden " #name "\n.type " #name         \
            ", %function\n" #name ":\n" code)

// The expressions below: CFA is ((3 << 3) + 8) + sp, FP is at CFA - 32; and one
// beyond us, the CFA as a product.
#if defined(__x86_64__)
ASSEMBLY(no_cfi, "push %rbp\n mov %rsp, %rbp\n"
                 "call *%rdi\n"
                 "pop %rbp\n ret\n");
ASSEMBLY(no_cfi_no_fp, "push %rbp\n mov $1, %ebp\n"
                       "call *%rdi\n"
                       "pop %rbp\n ret\n");
ASSEMBLY(cfa_in_register, ".cfi_startproc\n"
                          "push %rbx\n"
                          ".cfi_def_cfa_offset 16\n .cfi_offset rbx, -16\n"
                          "mov %rsp, %rbx\n .cfi_def_cfa_register rbx\n"
                          "sub $80, %rsp\n"
                          "call *%rdi\n"
                          "mov %rbx, %rsp\n .cfi_def_cfa_register rsp\n"
                          "pop %rbx\n"
                          ".cfi_restore rbx\n .cfi_def_cfa_offset 8\n"
                          "ret\n .cfi_endproc\n");
ASSEMBLY(cfa_expression, ".cfi_startproc\n"
                         "sub $24, %rsp\n mov %rbp, (%rsp)\n"
                         ".cfi_escape 0x0f, 8, 0x33, 0x33, 0x24, 0x38, 0x22\n"
                         ".cfi_escape 0x77, 0, 0x22\n"
                         ".cfi_escape 0x10, 6, 3, 0x08, 32, 0x1c\n"
                         "xor %ebp, %ebp\n"
                         "call *%rdi\n"
                         "mov (%rsp), %rbp\n .cfi_restore rbp\n"
                         "add $24, %rsp\n .cfi_def_cfa rsp, 8\n"
                         "ret\n .cfi_endproc\n");
ASSEMBLY(odd_expression, ".cfi_startproc\n"
                         "push %rbp\n .cfi_offset rbp, -16\n xor %ebp, %ebp\n"
                         ".cfi_escape 0x0f, 4, 0x77, 16, 0x31, 0x1e\n"
                         "call *%rdi\n"
                         "pop %rbp\n .cfi_def_cfa rsp, 8\n .cfi_restore rbp\n"
                         "ret\n .cfi_endproc\n");
ASSEMBLY(cfa_by_fp, ".cfi_startproc\n"
                    "push %rbp\n .cfi_def_cfa_offset 16\n"
                    ".cfi_offset rbp, -16\n"
                    "mov %rsp, %rbp\n .cfi_def_cfa_register rbp\n"
                    "call *%rdi\n"
                    "pop %rbp\n .cfi_def_cfa rsp, 8\n"
                    "ret\n .cfi_endproc\n");
ASSEMBLY(cfa_spoilt, ".cfi_startproc\n"
                     "push %rbp\n xor %ebp, %ebp\n"
                     "lea 16(%rsp), %r11\n .cfi_def_cfa r11, 0\n"
                     "call *%rdi\n"
                     "pop %rbp\n .cfi_def_cfa rsp, 8\n"
                     "ret\n .cfi_endproc\n");
ASSEMBLY(first_frame, ".cfi_startproc\n .cfi_undefined rip\n"
                      "call *%r12\n ud2\n .cfi_endproc\n");
ASSEMBLY(switch_stack, ".cfi_startproc\n"
                       "push %rbp\n push %rbx\n push %r12\n"
                       "push %r13\n push %r14\n push %r15\n"
                       "mov %rsp, (%rdi)\n mov %rsi, %rsp\n"
                       "pop %r15\n pop %r14\n pop %r13\n"
                       "pop %r12\n pop %rbx\n pop %rbp\n"
                       "ret\n .cfi_endproc\n");

enum { SAVED_WORDS = 7 };

static void registers_saved(const uintptr_t *sp, struct unwind_regs *ret_regs)
{
    static const uint8_t order[] = {15, 14, 13, 12, 3, 6};
    for (int i = 0; i < 6; i++)
        ret_regs->reg[order[i]] = sp[i];
    ret_regs->pc = sp[6];
}

static void prepare_stack(uintptr_t *sp, void (*fn)(void))
{
    sp[3] = (uintptr_t)fn; // r12
    sp[6] = (uintptr_t)first_frame;
}
#else
ASSEMBLY(no_cfi, "stp x29, x30, [sp, #-16]!\n mov x29, sp\n"
                 "blr x0\n"
                 "ldp x29, x30, [sp], #16\n ret\n");
ASSEMBLY(no_cfi_no_fp, "stp x29, x30, [sp, #-16]!\n mov x29, #1\n"
                       "blr x0\n"
                       "ldp x29, x30, [sp], #16\n ret\n");
ASSEMBLY(cfa_in_register, ".cfi_startproc\n"
                          "stp x19, x30, [sp, #-16]!\n"
                          ".cfi_def_cfa_offset 16\n"
                          ".cfi_offset x19, -16\n .cfi_offset x30, -8\n"
                          "mov x19, sp\n .cfi_def_cfa_register x19\n"
                          "sub sp, sp, #80\n"
                          "blr x0\n"
                          "mov sp, x19\n .cfi_def_cfa_register sp\n"
                          "ldp x19, x30, [sp], #16\n .cfi_def_cfa_offset 0\n"
                          ".cfi_restore x19\n .cfi_restore x30\n"
                          "ret\n .cfi_endproc\n");
ASSEMBLY(cfa_expression, ".cfi_startproc\n"
                         "stp x29, x30, [sp, #-32]!\n"
                         ".cfi_escape 0x0f, 8, 0x33, 0x33, 0x24, 0x38, 0x22\n"
                         ".cfi_escape 0x8f, 0, 0x22\n"
                         ".cfi_escape 0x10, 29, 3, 0x08, 32, 0x1c\n"
                         ".cfi_offset x30, -24\n"
                         "mov x29, #0\n"
                         "blr x0\n"
                         "ldp x29, x30, [sp], #32\n .cfi_def_cfa sp, 0\n"
                         ".cfi_restore x29\n .cfi_restore x30\n"
                         "ret\n .cfi_endproc\n");
ASSEMBLY(odd_expression, ".cfi_startproc\n"
                         "stp x29, x30, [sp, #-16]!\n mov x29, #0\n"
                         ".cfi_escape 0x0f, 4, 0x8f, 16, 0x31, 0x1e\n"
                         ".cfi_offset x29, -16\n .cfi_offset x30, -8\n"
                         "blr x0\n"
                         "ldp x29, x30, [sp], #16\n .cfi_def_cfa sp, 0\n"
                         ".cfi_restore x29\n .cfi_restore x30\n"
                         "ret\n .cfi_endproc\n");
ASSEMBLY(cfa_by_fp, ".cfi_startproc\n"
                    "stp x29, x30, [sp, #-16]!\n .cfi_def_cfa_offset 16\n"
                    ".cfi_offset x29, -16\n .cfi_offset x30, -8\n"
                    "mov x29, sp\n .cfi_def_cfa_register x29\n"
                    "blr x0\n"
                    "ldp x29, x30, [sp], #16\n .cfi_def_cfa sp, 0\n"
                    ".cfi_restore x29\n .cfi_restore x30\n"
                    "ret\n .cfi_endproc\n");
ASSEMBLY(cfa_spoilt, ".cfi_startproc\n"
                     "stp x29, x30, [sp, #-16]!\n mov x29, #0\n"
                     "add x9, sp, #16\n .cfi_def_cfa x9, 0\n"
                     ".cfi_offset x30, -8\n"
                     "blr x0\n"
                     "ldp x29, x30, [sp], #16\n .cfi_def_cfa sp, 0\n"
                     ".cfi_restore x30\n"
                     "ret\n .cfi_endproc\n");
ASSEMBLY(first_frame, ".cfi_startproc\n .cfi_undefined x30\n"
                      "blr x19\n brk #1\n .cfi_endproc\n");
ASSEMBLY(switch_stack, ".cfi_startproc\n"
                       "stp x19, x20, [sp, #-96]!\n stp x21, x22, [sp, #16]\n"
                       "stp x23, x24, [sp, #32]\n stp x25, x26, [sp, #48]\n"
                       "stp x27, x28, [sp, #64]\n stp x29, x30, [sp, #80]\n"
                       "mov x9, sp\n str x9, [x0]\n mov sp, x1\n"
                       "ldp x29, x30, [sp, #80]\n ldp x27, x28, [sp, #64]\n"
                       "ldp x25, x26, [sp, #48]\n ldp x23, x24, [sp, #32]\n"
                       "ldp x21, x22, [sp, #16]\n ldp x19, x20, [sp], #96\n"
                       "ret\n .cfi_endproc\n");

enum { SAVED_WORDS = 12 };

static void registers_saved(const uintptr_t *sp, struct unwind_regs *ret_regs)
{
    for (int i = 0; i < 11; i++)
        ret_regs->reg[19 + i] = sp[i];
    ret_regs->pc = sp[11];
}

static void prepare_stack(uintptr_t *sp, void (*fn)(void))
{
    sp[0] = (uintptr_t)fn; // x19
    sp[11] = (uintptr_t)first_frame;
}
#endif

#endif
