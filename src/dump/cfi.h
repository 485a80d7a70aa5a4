// cfi.h -- Call frame information: how to step from a pc to its caller.
//
// Compilers leave in .eh_frame, for every pc, where the caller's registers are.
// To find and interpret that takes a microsecond or two; a parked task stands
// at one of a few dozen call sites. So what is read is compiled to a rule of 32
// bytes, kept in a table by pc, and the next step from there is one look-up.
//
// Words used: the CFA is the stack pointer's value before the call into a
// frame; the RA is the return address. A `row` says all that is known about a
// pc, a `rule` the short form that nearly every pc has.
//
// Threads: a cache belongs to one thread at a time. Two threads with a cache
// each may read at once. A pc not yet known costs a dl_iterate_phdr, which
// takes the loader's lock (held only while its list changes, not while
// constructors run).
// Signals: nothing here allocates, save cfi_cache_new. In a handler use a cache
// that the interrupted code does not; the loader's lock is the one hazard.
#ifndef WEFT_DUMP_CFI_H
#define WEFT_DUMP_CFI_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dump/space.h"

// Registers by their DWARF numbers; all others (vectors, flags) are ignored.
#if defined(__x86_64__)
// LR stands for the column of rip there: the RA is never in a register.
enum { CFI_FP = 6, CFI_SP = 7, CFI_LR = 16, CFI_REGS = 17, CFI_HAS_LR = 0 };
#define CFI_PRESERVED (1u << 3 | 1u << 6 | 1u << 7 | 0xfu << 12)
#elif defined(__aarch64__)
enum { CFI_FP = 29, CFI_LR = 30, CFI_SP = 31, CFI_REGS = 32, CFI_HAS_LR = 1 };
#define CFI_PRESERVED (0x7ffu << 19 | 1u << 31)
#else
#error "weft unwinds on x86-64 and aarch64 only"
#endif

enum { CFI_BASE_CFA = 64, CFI_BASE_NONE = 65 };

// How the caller's value of a register is had back.
enum cfi_how {
    CFI_SAME, // it is still in the register
    CFI_LOST, // it is not known; for the RA: this frame has no caller
    CFI_AT,   // it is in memory at the place
    CFI_IS,   // it is the place itself
    CFI_ODD,  // by an expression that we do not understand
};

// An address: base + off, or, if deref, *(base + off) + add.
struct cfi_place {
    uint8_t how;  // enum cfi_how
    uint8_t base; // a register below CFI_REGS, or CFI_BASE_CFA
    bool deref;
    int32_t off;
    int32_t add;
};

struct cfi_row {
    struct cfi_place cfa; // CFI_IS or CFI_ODD
    struct cfi_place ra;
    struct cfi_place reg[CFI_REGS];
    bool ra_signed; // aarch64: the RA bears a pointer authentication code
    bool is_signal; // the frame is a signal trampoline: the RA is exact
};

enum cfi_kind {
    CFI_NONE,      // no CFI for this pc
    CFI_BAD,       // CFI that is damaged or beyond us
    CFI_OUTERMOST, // the frame has no caller
    CFI_SIMPLE,    // the rule says it all
    CFI_FULL,      // the rule does not suffice: take the row
};

// CFI_SIMPLE: the caller's sp is the CFA; the RA is at CFA + ra_off or in LR;
// the caller's FP is kept, or at CFA + fp_off, or at FP + fp_off.
struct cfi_rule {
    uintptr_t pc; // the key; 0: the slot is empty
    int32_t cfa_off;
    int32_t cfa_add;
    int32_t ra_off;
    int32_t fp_off;
    uint8_t kind; // enum cfi_kind
    bool cfa_by_fp;
    bool cfa_deref;
    bool ra_in_lr;
    bool ra_signed;
    bool fp_saved;
    bool fp_by_fp;
};

// Where an FDE is, by where its code begins.
struct cfi_fde_place {
    uintptr_t code;
    uintptr_t fde;
};

// Those of a module that has no .eh_frame_hdr, sorted by `code`.
struct cfi_places {
    struct cfi_fde_place *places; // owned
    size_t count, room;
};

// A module of another process, and where its readable segments lie here.
struct cfi_module {
    uintptr_t start;          // there
    uintptr_t end;            //
    uintptr_t here;           // address here minus address there
    struct dl_phdr_info info; // of the copy here
    struct cfi_places places; // in the copy; only without .eh_frame_hdr
};

struct cfi_cache;

// A new, empty cache of some 140 KiB, which does not grow; NULL when out of
// memory. The caller owns it.
struct cfi_cache *cfi_cache_new(void);

// One whose pcs are another process's, with that one's memory. The modules and
// the space are the caller's, and outlive it.
struct cfi_cache *cfi_cache_new_for(const struct cfi_module *modules,
                                    size_t count, const struct space *space);

// Lists the FDEs of a module for want of .eh_frame_hdr: `section` is where its
// .eh_frame lies here, of `size` bytes. Bounded by its segments. Out of memory
// it is incomplete.
void cfi_places_list(struct cfi_places *places, const struct dl_phdr_info *info,
                     uintptr_t section, size_t size);

// Frees a cache; NULL is allowed.
void cfi_cache_free(struct cfi_cache *cache);

// Forgets all rules if a module was loaded or unloaded since they were read.
// Call it once before each dump: rules already known are not checked again.
void cfi_cache_refresh(struct cfi_cache *cache);

// The rule for `pc`, never NULL; good until the next call with this cache. For
// a caller's frame pass the return address - 1, which lies in the call.
const struct cfi_rule *cfi_find(struct cfi_cache *cache, uintptr_t pc);

// Everything about `pc`, read anew. Never CFI_SIMPLE; fills *ret_row if what is
// returned is CFI_FULL.
enum cfi_kind cfi_read(struct cfi_cache *cache, uintptr_t pc,
                       struct cfi_row *ret_row);

// Copies memory of the process whose pcs these are, as far as it is there; how
// many bytes.
size_t cfi_memory(const struct cfi_cache *cache, uintptr_t address, void *to,
                  size_t bytes);

// Where the code that CFI describes together with `pc` begins: its function,
// or the part of it that was set apart. 0: there is no CFI for it.
uintptr_t cfi_function(struct cfi_cache *cache, uintptr_t pc);

#endif
