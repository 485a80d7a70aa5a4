// switch.h -- Leaving one stack and going on upon another.
//
// A saved stack begins, from its stack pointer up, with a switch_frame; so a
// reader of a parked task knows its callee-saved registers and where it goes
// on. The floating-point control words are not saved: rounding modes belong
// to the worker's thread, as in other runtimes.
#ifndef WEFT_TASK_SWITCH_H
#define WEFT_TASK_SWITCH_H

#include <stdint.h>

#if defined(__x86_64__)

struct switch_frame {
    uintptr_t r15, r14, r13, r12, rbx, rbp;
    uintptr_t pc;
};

#elif defined(__aarch64__)

struct switch_frame {
    uintptr_t x19, x20, x21, x22, x23, x24, x25, x26, x27, x28;
    uintptr_t fp, pc; // x29, x30
    double d8, d9, d10, d11, d12, d13, d14, d15;
};

#else
#error "weft knows x86-64 and aarch64"
#endif

// Saves the caller on its stack, stores the stack pointer to *ret_saved, and
// goes on where `target` was saved. Returns when somebody switches back.
void task_switch(void **ret_saved, void *target);

// The same from the worker's side: a task left by task_switch, or a new one, is
// entered by this. It must be inlined into a function that calls others (so
// that nothing lies below its stack pointer). Why it is no call is told in the
// assembly's file.
__attribute__((always_inline)) static inline void switch_enter(void **ret_saved,
                                                               void *target)
{
#if defined(__x86_64__)
    __asm__ volatile("leaq 1f(%%rip), %%rdx\n\tjmp task_enter\n1:"
                     : "+D"(ret_saved), "+S"(target)
                     :
                     : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "xmm0",
                       "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
                       "xmm14", "xmm15", "cc", "memory");
#else
    register void **x0 __asm__("x0") = ret_saved;
    register void *x1 __asm__("x1") = target;

    __asm__ volatile(
        "adr x30, 1f\n\tb task_enter\n1:"
        : "+r"(x0), "+r"(x1)
        :
        : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",
          "x13", "x14", "x15", "x16", "x17", "x30", "v0", "v1", "v2", "v3",
          "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14",
          "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24",
          "v25", "v26", "v27", "v28", "v29", "v30", "v31", "cc", "memory");
#endif
}

// Where a new task begins: calls the function kept in the frame with the
// argument kept there, and never returns. Ends the chain for unwinders.
void task_entry(void);

// Lays out a fresh stack, so that a switch to it calls body(arg). Returns its
// stack pointer.
void *switch_prepare(void *top, void (*body)(void *), void *arg);

#endif
