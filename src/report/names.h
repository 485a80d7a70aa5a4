// names.h -- The names that belong to a dump, under its lock.
#ifndef WEFT_REPORT_NAMES_H
#define WEFT_REPORT_NAMES_H

#include <weft/dump.h>

// Why there are neither lines nor inlined frames; NULL: libdw serves them.
const char *names_limit(const weft_dump *dump);

// Why module `module` gives no names at all; NULL: it does, or was not asked.
const char *names_missing(const weft_dump *dump, size_t module);

// The innermost frame of a pc that is not weft's own, or else its outermost.
// -ENOMEM, or 0.
int names_find_place(const weft_dump *dump, uintptr_t pc,
                     weft_frame *ret_frame);

// The innermost frame of a whole stack that is neither weft's own nor libc's,
// or else not weft's own, or else its innermost. 1, 0 (the stack is empty), or
// -ENOMEM.
int names_find_top(const weft_dump *dump, uint32_t stack,
                   weft_frame *ret_frame);

#endif
