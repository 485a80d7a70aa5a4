// symbols.h -- Names for program counters: function, file, line, inlining.
//
// Every pc is a return address in the sense of dump/model.h: what is looked up
// lies one byte before. Results are kept per pc, and their strings live as long
// as the symbols. The caller guards a `struct symbols` with a lock.
#ifndef WEFT_REPORT_SYMBOLS_H
#define WEFT_REPORT_SYMBOLS_H

#include <weft/dump.h>

struct model_module;
struct symbols;

// Symbols of the modules of a process, which must outlive them. `entry`:
// task_entry there, by which weft's own code is known; 0: it is not. NULL: no
// memory.
struct symbols *symbols_new(const struct model_module *modules, size_t count,
                            uintptr_t entry);
void symbols_free(struct symbols *symbols);

// Looks up all of these at once, which is cheaper than one by one. 0, -ENOMEM.
int symbols_load(struct symbols *symbols, const uintptr_t *pcs, size_t count);

// Whether a pc has been looked up.
bool symbols_know(const struct symbols *symbols, uintptr_t pc);

// Stores up to `max` frames of a pc, innermost first. Their number, which is at
// least 1: a pc without a name is a frame without a function. Or -ENOMEM.
int symbols_lookup(struct symbols *symbols, uintptr_t pc,
                   weft_frame *ret_frames, size_t max);

// Marks as weft's own what its place in a stack, leaf first, shows to be: all
// from the innermost public function of weft inwards, and below a task's entry.
// For code without debug information, whose files are not known.
void symbols_mark_stack(struct symbols *symbols, const uintptr_t *pcs,
                        size_t count);

// Once libdw was needed and could not be had: why, in words. NULL: names are
// full.
const char *symbols_limit(const struct symbols *symbols);

// Why module `module` has given no names, in a few words. NULL: it has, or was
// not asked.
const char *symbols_missing(const struct symbols *symbols, size_t module);

#endif
