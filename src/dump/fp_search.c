// fp_search.c -- Unwinds a stack of which the frame pointer is not known.
//
// Of a thread in a system call the kernel tells pc and sp alone. That is enough
// until a frame whose CFA hangs on FP: code built without optimisation, or with
// a local of varying size. Such a frame has kept a record {caller's FP, return
// address} where FP points. So the record is looked for, from sp upwards: its
// return address must stand behind a call of the function that the frame is of:
// a plain call, one through the linker's table of jumps, or one of a function
// that ends by jumping there. Stale records of calls that are over do not, save
// of a function that has called itself: they were calls of others.
//
// A call through a register does not show whom it called. Its record serves
// only if it is the first that could be the one. In any case the walk must then
// reach its clean end; else the trace is left as short as it was.
//
// Code is read through the kernel, since the module may be unloaded meanwhile.
#include "dump/fp_search.h"

#include <stddef.h>
#include <string.h>

enum { WORD = sizeof(uintptr_t), RECORD_ALIGN = 16 };

enum { CODE_MAX = 512 }; // of a function that jumps on to another

// What the bytes before a word, taken for a return address, say of whom was
// called.
enum calls { CALLS_NOBODY, CALLS_OTHER, CALLS_PERHAPS, CALLS_IT };

// The function whose record is looked for, up to where it stands.
struct callee {
    const struct cfi_cache *cache;
    uintptr_t start;
    uintptr_t pc;
};

#if defined(__x86_64__)

static uintptr_t relative(uintptr_t next, const uint8_t *offset)
{
    int32_t off;

    memcpy(&off, offset, sizeof off);
    return next + (uintptr_t)(intptr_t)off;
}

static uintptr_t word_of(const struct callee *callee, uintptr_t slot)
{
    uintptr_t found;

    return cfi_memory(callee->cache, slot, &found, WORD) == WORD ? found : 0;
}

// Where a jump of the linker's table leads: [endbr64] [bnd] jmp *offset(%rip);
// any other code leads to itself.
static uintptr_t follow_table(const struct callee *callee, uintptr_t at)
{
    static const uint8_t ENDBR64[] = {0xf3, 0x0f, 0x1e, 0xfa};
    uint8_t code[16];
    size_t i = 0;

    if (cfi_memory(callee->cache, at, code, sizeof code) < sizeof code)
        return at;
    if (memcmp(code, ENDBR64, sizeof ENDBR64) == 0)
        i += sizeof ENDBR64;
    if (code[i] == 0xf2)
        i++;
    if (code[i] != 0xff || code[i + 1] != 0x25)
        return at;
    return word_of(callee, relative(at + i + 6, code + i + 2));
}

// Whether the code has a jump, with a condition or without, into the callee.
static bool jumps_into(uintptr_t at, const struct callee *callee)
{
    uint8_t code[CODE_MAX];
    size_t size = cfi_memory(callee->cache, at, code, sizeof code);

    for (size_t i = 1; i + 4 < size; i++) {
        uintptr_t target = relative(at + i + 5, code + i + 1);
        if ((code[i] == 0xe9 || (code[i] & 0xf0) == 0x80) &&
            target >= callee->start && target <= callee->pc)
            return true;
    }
    return false;
}

static enum calls judge(uintptr_t target, const struct callee *callee)
{
    target = follow_table(callee, target);
    return target == callee->start || jumps_into(target, callee) ? CALLS_IT
                                                                 : CALLS_OTHER;
}

// Whether the bytes that end where `end` points are a call through a register
// or memory: ff /2, of 2 to 7 bytes, with or without a prefix.
static bool is_indirect(const uint8_t *end)
{
    for (int length = 2; length <= 7; length++)
        if (end[-length] == 0xff && (end[-length + 1] >> 3 & 7) == 2)
            return true;
    return false;
}

static enum calls whom_calls(uintptr_t ra, const struct callee *callee)
{
    uint8_t code[7];

    if (cfi_memory(callee->cache, ra - sizeof code, code, sizeof code) <
        sizeof code)
        return CALLS_NOBODY;
    if (code[1] == 0xff && code[2] == 0x15) // call *offset(%rip)
        return judge(word_of(callee, relative(ra, code + 3)), callee);
    if (code[2] == 0xe8)
        return judge(relative(ra, code + 3), callee);
    return is_indirect(code + sizeof code) ? CALLS_PERHAPS : CALLS_NOBODY;
}

#else

static enum calls whom_calls(uintptr_t ra, const struct callee *callee)
{
    uint32_t code;

    if (cfi_memory(callee->cache, ra - sizeof code, &code, sizeof code) <
        sizeof code)
        return CALLS_NOBODY;
    if (code >> 26 == 0x25) { // bl
        intptr_t off = (intptr_t)((uint64_t)code << 38) >> 36;
        uintptr_t target = ra - sizeof code + (uintptr_t)off;
        return target == callee->start ? CALLS_IT : CALLS_OTHER;
    }
    // blr, and its kinds that check the pointer's signature
    return (code & 0xfefff000) == 0xd63f0000 ? CALLS_PERHAPS : CALLS_NOBODY;
}

#endif

#if defined(__clang__)
#define UNCHECKED __attribute__((no_sanitize("address", "thread", "memory")))
#else
#define UNCHECKED __attribute__((no_sanitize_address, no_sanitize_thread))
#endif

UNCHECKED static uintptr_t word_at(const struct unwind_memory *memory,
                                   uintptr_t address)
{
    uintptr_t shift = memory->copy ? (uintptr_t)memory->copy - memory->lo : 0;

    return *(const volatile uintptr_t *)(address + shift);
}

struct hunt {
    struct cfi_cache *cache;
    struct unwind_regs regs;
    const struct unwind_memory *memory;
    uintptr_t *pcs;
    int max;
    int tail;
    struct unwind_result *result;
};

static int try_unwind(struct hunt *hunt)
{
    return unwind(hunt->cache, &hunt->regs, hunt->memory, hunt->pcs, hunt->max,
                  hunt->tail, hunt->result);
}

static int try_record(struct hunt *hunt, uintptr_t at)
{
    hunt->regs.reg[CFI_FP] = at;
    int kept = try_unwind(hunt);
    return hunt->result->end == UNWIND_OUTERMOST ? kept : 0;
}

// How many frames were written by the right record, or 0 if none is. Of those
// that may be it by chance the first is kept in mind.
static int try_records(struct hunt *hunt, const struct callee *callee)
{
    uintptr_t mask = RECORD_ALIGN - 1;
    uintptr_t at = (hunt->regs.reg[CFI_SP] + mask) & ~mask;
    uintptr_t first = 0;
    enum calls of_first = CALLS_NOBODY;

    for (; at + 2 * WORD <= hunt->memory->hi; at += RECORD_ALIGN) {
        enum calls calls = whom_calls(word_at(hunt->memory, at + WORD), callee);
        if (calls == CALLS_NOBODY || (calls != CALLS_IT && first != 0))
            continue;
        int kept = try_record(hunt, at);
        if (kept > 0 && calls == CALLS_IT)
            return kept;
        if (kept > 0) {
            first = at;
            of_first = calls;
        }
    }
    return of_first == CALLS_PERHAPS ? try_record(hunt, first) : 0;
}

int fp_search_unwind(struct cfi_cache *cache, const struct unwind_regs *regs,
                     const struct unwind_memory *memory, uintptr_t *pcs,
                     int max, int tail, struct unwind_result *ret_result)
{
    struct hunt hunt = {cache, *regs, memory, pcs, max, tail, ret_result};
    int kept = try_unwind(&hunt);
    uintptr_t pc = ret_result->at - (ret_result->frames > 1);

    if (ret_result->end != UNWIND_NO_REG)
        return kept;
    struct callee callee = {cache, cfi_function(cache, pc), pc};
    hunt.regs.valid |= (uint64_t)1 << CFI_FP;
    kept = callee.start == 0 ? 0 : try_records(&hunt, &callee);
    if (kept > 0)
        return kept;
    hunt.regs = *regs;
    return try_unwind(&hunt);
}
