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

// Where a new task begins: calls the function kept in the frame with the
// argument kept there, and never returns. Ends the chain for unwinders.
void task_entry(void);

// Lays out a fresh stack, so that a switch to it calls body(arg). Returns its
// stack pointer.
void *switch_prepare(void *top, void (*body)(void *), void *arg);

#endif
