// unwind.h -- The backtrace of a stack that does not run, from CFI.
//
// The stack may be a parked task's, read in place, or a copy of its live bytes
// that lies elsewhere. Nothing outside the given bytes is ever read, so a
// damaged stack, or one that changes meanwhile, gives a wrong or short trace
// but never a fault. Nothing here allocates or locks, save as cfi.h says.
#ifndef WEFT_DUMP_UNWIND_H
#define WEFT_DUMP_UNWIND_H

#include "dump/cfi.h"

#include <stdbool.h>
#include <stdint.h>

// Where a stack stands. Registers by DWARF number, those in `valid` (bit by
// number) being known. SP is obligatory; FP and, if the code may stand before
// its prologue on aarch64, LR are as good as; a parked task's preserved ones
// are all known.
struct unwind_regs {
    uintptr_t pc;
    uintptr_t reg[CFI_REGS];
    uint64_t valid;
    bool returns; // pc is a return address, not the next instruction
};

// The bytes of addresses [lo, hi). `copy` is where they lie now, aligned to 8;
// NULL: in place. For code that was interrupted on x86-64 let them begin 128
// below SP: in an epilogue, registers just popped are still read from there.
struct unwind_memory {
    uintptr_t lo;
    uintptr_t hi;
    const void *copy;
};

enum unwind_end {
    UNWIND_OUTERMOST, // the clean end: the last frame has no caller
    UNWIND_TRUNCATED, // no room for more frames
    UNWIND_NO_CFI,    // no CFI and no valid frame pointer at `at`
    UNWIND_BAD_CFI,   // damaged or unknown CFI, likewise
    UNWIND_BAD_CFA, // the stack is damaged: a frame does not lie above the last
    UNWIND_OUTSIDE, // something needed lies outside the bytes given
    UNWIND_NO_REG,  // a register needed is not known
};

struct unwind_result {
    enum unwind_end end;
    uintptr_t at;    // the pc at which it ended
    uint64_t frames; // how many there are; over the return value: some left out
    uint64_t
        by_fp; // steps that had to be made by frame pointer, for want of CFI
    uint64_t exact; // bit i: pcs[i] is no return address, i < 64
};

// Unwinds, innermost frame first, into `pcs`, which has room for `max` > 0, and
// returns how many it wrote (1 to max). If there are more, the outermost `tail`
// (0 <= tail < max) are kept too: they are then the last `tail` of `pcs`, and
// result.frames - max are missing before them. With tail 0 the walk ends as
// soon as `pcs` is full. Any thread, signal handlers too (see cfi.h).
int unwind(struct cfi_cache *cache, const struct unwind_regs *regs,
           const struct unwind_memory *memory, uintptr_t *pcs, int max,
           int tail, struct unwind_result *ret_result);

// The same for the calling code, read in place: pcs[0] is the return address of
// this very call. `memory` holds the stack that it runs on, without a copy.
int unwind_self(struct cfi_cache *cache, const struct unwind_memory *memory,
                uintptr_t *pcs, int max, int tail,
                struct unwind_result *ret_result);

// Where a signal handler's third argument says that it interrupted.
void unwind_regs_of_signal(const void *ucontext, struct unwind_regs *ret_regs);

// A few words for `end`, such as "no unwind information", never NULL.
const char *unwind_end_name(enum unwind_end end);

#endif
