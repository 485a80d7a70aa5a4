// fp_search.h -- Unwinds a stack of which the frame pointer is not known.
#ifndef WEFT_DUMP_FP_SEARCH_H
#define WEFT_DUMP_FP_SEARCH_H

#include "dump/unwind.h"

// As unwind, for registers without FP. Where a frame needs it, the stack is
// searched for it: what lies beside it must be the return address of a call to
// that very function.
int fp_search_unwind(struct cfi_cache *cache, const struct unwind_regs *regs,
                     const struct unwind_memory *memory, uintptr_t *pcs,
                     int max, int tail, struct unwind_result *ret_result);

#endif
