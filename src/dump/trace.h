// trace.h -- The trace of one task or thread: program counters and, once asked
// for, their names.
#ifndef WEFT_DUMP_TRACE_H
#define WEFT_DUMP_TRACE_H

#include <weft/dump.h>

#include "base/lock.h"

// Filled by its maker with all zero but the first three; src/report adds the
// names at the first need and frees all of it.
struct weft_trace {
    uintptr_t *pcs; // owned (malloc), or NULL; leaf first, as in a dump
    size_t count;
    enum weft_stack_end end;
    const char *error; // with WEFT_STACK_BROKEN: why; or NULL

    struct lock names_lock;       // guards the rest
    struct model_module *modules; // those of the process at that time
    size_t module_count;
    struct symbols *names;
};

// Prints names to standard error: for overflow.h, in a process of its own.
void trace_print_pcs(const uintptr_t *pcs, size_t count, size_t gap_at,
                     uint64_t gap);

#endif
