// unwind.c -- Walks a stack frame by frame, from its bytes and CFI's rules.
//
// Two walkers. The quick one knows pc, sp and fp alone and takes a rule of the
// cache for each step, which is enough for all that compilers make. Where it
// is not (a signal frame, a CFA kept in another register) the walk starts again
// with the thorough one, which carries all registers and reads whole rows.
//
//   I1  A word of the stack is read by `load` alone, which refuses whatever is
//       not within [lo, hi).
//   I2  The CFA of each frame lies above that of the one before it; only after
//       a signal frame may it be equal, and if that one's was equal itself (no
//       kernel's is) not even then. So a walk ends, whatever the bytes are.
#include "dump/unwind.h"

#include <stddef.h>
#include <string.h>
#include <ucontext.h>

enum { WORD = sizeof(uintptr_t), RECORD = 2 * WORD };

struct walk {
    struct cfi_cache *cache;
    uintptr_t lo;
    uintptr_t hi;
    uintptr_t shift; // from an address to where its byte lies now
    uintptr_t *pcs;
    uint64_t max;
    uint64_t head; // what of max is for the innermost frames
    bool skip;     // the next frame is not to be noted
    uintptr_t lowest_cfa;
    struct unwind_result *result;
};

// What the quick walker carries.
struct frame {
    uintptr_t pc;
    uintptr_t sp;
    uintptr_t fp;
    uintptr_t lr;
    bool returns;
    bool has_lr;
};

// ---- The stack's bytes ----

// The bytes may be anybody's locals, also of a task that has begun to run: a
// copy of them that changed meanwhile is thrown away by whoever asked. So the
// sanitizers are to look away.
#if defined(__clang__)
#define UNCHECKED __attribute__((no_sanitize("address", "thread", "memory")))
#else
#define UNCHECKED __attribute__((no_sanitize_address, no_sanitize_thread))
#endif

UNCHECKED static bool load(const struct walk *w, uintptr_t address,
                           uintptr_t *ret_word)
{
    if (address % WORD != 0 || address < w->lo || address >= w->hi) // I1
        return false;
    *ret_word = *(const volatile uintptr_t *)(address + w->shift);
    return true;
}

static bool stop(struct walk *w, enum unwind_end end, uintptr_t at)
{
    w->result->end = end;
    w->result->at = at;
    return false;
}

static bool load_or_stop(struct walk *w, uintptr_t address, uintptr_t pc,
                         uintptr_t *ret_word)
{
    if (address % WORD != 0)
        return stop(w, UNWIND_BAD_CFA, pc);
    return load(w, address, ret_word) || stop(w, UNWIND_OUTSIDE, pc);
}

static bool accept_cfa(struct walk *w, uintptr_t cfa, uintptr_t pc)
{
    if (cfa % WORD != 0 || cfa < w->lowest_cfa) // I2
        return stop(w, UNWIND_BAD_CFA, pc);
    if (cfa > w->hi)
        return stop(w, UNWIND_OUTSIDE, pc);
    w->lowest_cfa = cfa + 1;
    return true;
}

static uintptr_t strip_code(uintptr_t ra)
{
#if defined(__aarch64__)
    register uintptr_t lr __asm__("x30") = ra;
    __asm__("hint #7" : "+r"(lr)); // xpaclri; nothing where PAC is unknown
    return lr;
#else
    return ra;
#endif
}

// ---- The trace ----

// Notes a frame; false if that was one too many. Past `max` the outermost go
// round in the slots after the head.
static bool note(struct walk *w, uintptr_t pc, bool returns)
{
    struct unwind_result *result = w->result;
    uint64_t n = result->frames;

    if (w->skip) {
        w->skip = false;
        return true;
    }
    if (n < w->head)
        w->pcs[n] = pc;
    else if (w->head == w->max)
        return stop(w, UNWIND_TRUNCATED, pc);
    else
        w->pcs[w->head + (n - w->head) % (w->max - w->head)] = pc;
    if (!returns && n < 64)
        result->exact |= (uint64_t)1 << n;
    result->frames = n + 1;
    return true;
}

static void reverse(uintptr_t *pcs, uint64_t count)
{
    for (uint64_t i = 0; i < count / 2; i++) {
        uintptr_t pc = pcs[i];
        pcs[i] = pcs[count - 1 - i];
        pcs[count - 1 - i] = pc;
    }
}

// Puts what went round back into its order; returns how many were kept.
static int finish(struct walk *w)
{
    struct unwind_result *result = w->result;
    uint64_t tail = w->max - w->head;

    if (result->frames <= w->max || tail == 0)
        return (int)result->frames;
    uint64_t oldest = (result->frames - w->head) % tail;
    reverse(w->pcs + w->head, oldest);
    reverse(w->pcs + w->head + oldest, tail - oldest);
    reverse(w->pcs + w->head, tail);
    if (w->head < 64)
        result->exact &= ((uint64_t)1 << w->head) - 1;
    return (int)w->max;
}

static bool is_end(struct walk *w, uintptr_t ra, uintptr_t pc)
{
    if (ra == 0)
        stop(w, UNWIND_OUTERMOST, pc);
    return ra == 0;
}

static bool has_cfi(struct walk *w, uintptr_t ra)
{
    enum cfi_kind kind = cfi_find(w->cache, ra - 1)->kind;
    return kind != CFI_NONE && kind != CFI_BAD;
}

// For code without CFI: {fp, ra} where fp points, if that looks like a frame:
// either the caller's own fp lies above, or the RA is in code with CFI, which
// may use fp for anything.
static bool follow_fp(struct walk *w, struct frame *f, enum unwind_end why)
{
    uintptr_t fp;
    uintptr_t ra;
    uintptr_t cfa = f->fp + RECORD;

    if (f->fp < f->sp || cfa > w->hi || cfa < w->lowest_cfa ||
        !load(w, f->fp, &fp) || !load(w, f->fp + WORD, &ra))
        return stop(w, why, f->pc);
    ra = strip_code(ra);
    if (is_end(w, ra, f->pc))
        return false;
    if ((fp <= f->fp || fp >= w->hi) && !has_cfi(w, ra))
        return stop(w, why, f->pc);
    w->lowest_cfa = cfa + 1;
    w->result->by_fp++;
    *f = (struct frame){.pc = ra, .sp = cfa, .fp = fp, .returns = true};
    return true;
}

// ---- The quick walker ----

static bool follow(struct walk *w, const struct cfi_rule *rule, struct frame *f)
{
    uintptr_t cfa = (rule->cfa_by_fp ? f->fp : f->sp) + (intptr_t)rule->cfa_off;
    uintptr_t ra = f->lr;

    if (rule->cfa_deref) {
        if (!load_or_stop(w, cfa, f->pc, &cfa))
            return false;
        cfa += (intptr_t)rule->cfa_add;
    }
    if (!accept_cfa(w, cfa, f->pc))
        return false;
    if (rule->ra_in_lr && !f->has_lr)
        return stop(w, UNWIND_NO_REG, f->pc);
    if (!rule->ra_in_lr &&
        !load_or_stop(w, cfa + (intptr_t)rule->ra_off, f->pc, &ra))
        return false;
    if (rule->fp_saved) {
        uintptr_t base = rule->fp_by_fp ? f->fp : cfa;
        if (!load_or_stop(w, base + (intptr_t)rule->fp_off, f->pc, &f->fp))
            return false;
    }
    if (rule->ra_signed)
        ra = strip_code(ra);
    if (is_end(w, ra, f->pc))
        return false;
    f->pc = ra;
    f->sp = cfa;
    f->returns = true;
    f->has_lr = false;
    return true;
}

static bool start(const struct unwind_regs *regs, struct frame *f)
{
    uint64_t needed = 1u << CFI_FP | (uint64_t)1 << CFI_SP;
    *f = (struct frame){
        .pc = regs->pc,
        .sp = regs->reg[CFI_SP],
        .fp = regs->reg[CFI_FP],
        .lr = regs->reg[CFI_LR],
        .returns = regs->returns,
        .has_lr = regs->valid >> CFI_LR & 1,
    };
    return (regs->valid & needed) == needed;
}

// False if the thorough one has to do it.
static bool walk_quickly(struct walk *w, const struct unwind_regs *regs)
{
    struct frame f;
    bool more = true;

    if (!start(regs, &f))
        return false;
    while (more && note(w, f.pc, f.returns)) {
        const struct cfi_rule *rule = cfi_find(w->cache, f.pc - f.returns);
        switch (rule->kind) {
        case CFI_SIMPLE:
            more = follow(w, rule, &f);
            break;
        case CFI_OUTERMOST:
            more = stop(w, UNWIND_OUTERMOST, f.pc);
            break;
        case CFI_NONE:
            more = follow_fp(w, &f, UNWIND_NO_CFI);
            break;
        case CFI_BAD:
            more = follow_fp(w, &f, UNWIND_BAD_CFI);
            break;
        default:
            return false;
        }
    }
    // A saved fp may be out of reach that nothing further needs.
    return w->result->end != UNWIND_OUTSIDE;
}

// ---- The thorough walker ----

static bool knows(const struct unwind_regs *regs, unsigned reg)
{
    return regs->valid >> reg & 1;
}

// The address that a place is. Gives the reason if there is none.
static enum unwind_end locate(const struct walk *w,
                              const struct cfi_place *place,
                              const struct unwind_regs *regs, uintptr_t cfa,
                              uintptr_t *ret_address)
{
    uintptr_t address = cfa;

    if (place->base != CFI_BASE_CFA) {
        if (!knows(regs, place->base))
            return UNWIND_NO_REG;
        address = regs->reg[place->base];
    }
    address += (intptr_t)place->off;
    if (place->deref) {
        if (!load(w, address, &address))
            return UNWIND_OUTSIDE;
        address += (intptr_t)place->add;
    }
    *ret_address = address;
    return UNWIND_OUTERMOST;
}

// The value that the register `reg` (or LR, for the RA) has in the caller.
static enum unwind_end recover(const struct walk *w, unsigned reg,
                               const struct cfi_place *place,
                               const struct unwind_regs *regs, uintptr_t cfa,
                               uintptr_t *ret_value)
{
    enum unwind_end end;

    if (place->how == CFI_SAME) {
        *ret_value = regs->reg[reg];
        return knows(regs, reg) ? UNWIND_OUTERMOST : UNWIND_NO_REG;
    }
    if (place->how != CFI_AT && place->how != CFI_IS)
        return UNWIND_NO_REG;
    end = locate(w, place, regs, cfa, ret_value);
    if (end == UNWIND_OUTERMOST && place->how == CFI_AT &&
        !load(w, *ret_value, ret_value))
        return UNWIND_OUTSIDE;
    return end;
}

static void recover_all(const struct walk *w, const struct cfi_row *row,
                        const struct unwind_regs *regs, uintptr_t cfa,
                        struct unwind_regs *ret_caller)
{
    ret_caller->valid = 0;
    for (unsigned i = 0; i < CFI_REGS; i++)
        if (recover(w, i, &row->reg[i], regs, cfa, &ret_caller->reg[i]) ==
            UNWIND_OUTERMOST)
            ret_caller->valid |= (uint64_t)1 << i;
    if (row->is_signal)
        return;
    ret_caller->valid &= CFI_PRESERVED; // a call spoils the others
    if (row->reg[CFI_SP].how == CFI_SAME) {
        ret_caller->reg[CFI_SP] = cfa;
        ret_caller->valid |= (uint64_t)1 << CFI_SP;
    }
}

static bool follow_row(struct walk *w, const struct cfi_row *row,
                       struct unwind_regs *regs)
{
    struct unwind_regs caller;
    enum unwind_end end;
    uintptr_t cfa;
    uintptr_t lowest = w->lowest_cfa;

    end = locate(w, &row->cfa, regs, 0, &cfa);
    if (end != UNWIND_OUTERMOST)
        return stop(w, end, regs->pc);
    if (!accept_cfa(w, cfa, regs->pc))
        return false;
    end = recover(w, CFI_LR, &row->ra, regs, cfa, &caller.pc);
    if (end != UNWIND_OUTERMOST)
        return stop(w, end, regs->pc);
    if (row->ra_signed)
        caller.pc = strip_code(caller.pc);
    if (is_end(w, caller.pc, regs->pc))
        return false;
    recover_all(w, row, regs, cfa, &caller);
    caller.returns = !row->is_signal;
    if (row->is_signal && cfa > lowest)
        w->lowest_cfa = cfa; // I2
    *regs = caller;
    return true;
}

static bool follow_fp_row(struct walk *w, struct unwind_regs *regs,
                          enum unwind_end why)
{
    struct frame f;

    if (!start(regs, &f))
        return stop(w, why, regs->pc);
    if (!follow_fp(w, &f, why))
        return false;
    regs->pc = f.pc;
    regs->reg[CFI_SP] = f.sp;
    regs->reg[CFI_FP] = f.fp;
    regs->valid = 1u << CFI_FP | (uint64_t)1 << CFI_SP;
    regs->returns = true;
    return true;
}

static void walk_thoroughly(struct walk *w, struct unwind_regs *regs)
{
    struct cfi_row row;
    bool more = true;

    while (more && note(w, regs->pc, regs->returns)) {
        switch (cfi_read(w->cache, regs->pc - regs->returns, &row)) {
        case CFI_OUTERMOST:
            more = stop(w, UNWIND_OUTERMOST, regs->pc);
            break;
        case CFI_NONE:
            more = follow_fp_row(w, regs, UNWIND_NO_CFI);
            break;
        case CFI_BAD:
            more = follow_fp_row(w, regs, UNWIND_BAD_CFI);
            break;
        default:
            more = follow_row(w, &row, regs);
            break;
        }
    }
}

// ---- The interface ----

static void begin(struct walk *w, const struct unwind_regs *regs, bool skip)
{
    *w->result = (struct unwind_result){.end = UNWIND_OUTERMOST};
    w->lowest_cfa = regs->reg[CFI_SP];
    w->skip = skip;
}

static int walk(struct cfi_cache *cache, const struct unwind_regs *regs,
                const struct unwind_memory *memory, uintptr_t *pcs, int max,
                int tail, bool skip, struct unwind_result *ret_result)
{
    uintptr_t lo = (memory->lo + WORD - 1) & -(uintptr_t)WORD;
    uintptr_t hi = memory->hi & -(uintptr_t)WORD;
    struct walk w = {
        .cache = cache,
        .lo = lo,
        .hi = hi > lo ? hi : lo,
        .shift = memory->copy ? (uintptr_t)memory->copy - memory->lo : 0,
        .pcs = pcs,
        .max = (uint64_t)max,
        .head = (uint64_t)(max - tail),
        .result = ret_result,
    };

    begin(&w, regs, skip);
    if (!walk_quickly(&w, regs)) {
        struct unwind_regs all = *regs;
        begin(&w, regs, skip);
        walk_thoroughly(&w, &all);
    }
    return finish(&w);
}

int unwind(struct cfi_cache *cache, const struct unwind_regs *regs,
           const struct unwind_memory *memory, uintptr_t *pcs, int max,
           int tail, struct unwind_result *ret_result)
{
    return walk(cache, regs, memory, pcs, max, tail, false, ret_result);
}

// The registers here, in a frame that stays while it is unwound.
#if defined(__x86_64__)
#define HERE(regs)                                                             \
    __asm__ volatile("lea 0(%%rip), %%rax\n\t"                                 \
                     "mov %%rax, %0\n\t"                                       \
                     "mov %%rbx, %1\n\t"                                       \
                     "mov %%rbp, %2\n\t"                                       \
                     "mov %%rsp, %3\n\t"                                       \
                     "mov %%r12, %4\n\t"                                       \
                     "mov %%r13, %5\n\t"                                       \
                     "mov %%r14, %6\n\t"                                       \
                     "mov %%r15, %7"                                           \
                     : "=m"((regs).pc), "=m"((regs).reg[3]),                   \
                       "=m"((regs).reg[6]), "=m"((regs).reg[7]),               \
                       "=m"((regs).reg[12]), "=m"((regs).reg[13]),             \
                       "=m"((regs).reg[14]), "=m"((regs).reg[15])              \
                     :                                                         \
                     : "rax")
#else
#define HERE(regs)                                                             \
    __asm__ volatile("adr x9, .\n\t"                                           \
                     "mov x10, sp\n\t"                                         \
                     "str x9, [%0]\n\t"                                        \
                     "stp x19, x20, [%1]\n\t"                                  \
                     "stp x21, x22, [%1, #16]\n\t"                             \
                     "stp x23, x24, [%1, #32]\n\t"                             \
                     "stp x25, x26, [%1, #48]\n\t"                             \
                     "stp x27, x28, [%1, #64]\n\t"                             \
                     "str x29, [%1, #80]\n\t"                                  \
                     "str x10, [%1, #96]"                                      \
                     :                                                         \
                     : "r"(&(regs).pc), "r"(&(regs).reg[19])                   \
                     : "x9", "x10", "memory")
#endif

__attribute__((noinline)) int unwind_self(struct cfi_cache *cache,
                                          const struct unwind_memory *memory,
                                          uintptr_t *pcs, int max, int tail,
                                          struct unwind_result *ret_result)
{
    struct unwind_regs regs = {.valid = CFI_PRESERVED};

    HERE(regs);
    return walk(cache, &regs, memory, pcs, max, tail, true, ret_result);
}

#if defined(__x86_64__)
static void copy_registers(const ucontext_t *uc, struct unwind_regs *ret_regs)
{
    static const uint8_t greg[] = {
        REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
        REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    };
    for (unsigned i = 0; i < sizeof greg; i++)
        ret_regs->reg[i] = (uintptr_t)uc->uc_mcontext.gregs[greg[i]];
    ret_regs->pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
    ret_regs->reg[CFI_LR] = ret_regs->pc;
}
#else
static void copy_registers(const ucontext_t *uc, struct unwind_regs *ret_regs)
{
    for (unsigned i = 0; i < CFI_SP; i++)
        ret_regs->reg[i] = uc->uc_mcontext.regs[i];
    ret_regs->reg[CFI_SP] = uc->uc_mcontext.sp;
    ret_regs->pc = uc->uc_mcontext.pc;
}
#endif

void unwind_regs_of_signal(const void *ucontext, struct unwind_regs *ret_regs)
{
    copy_registers(ucontext, ret_regs);
    ret_regs->valid = ((uint64_t)1 << CFI_REGS) - 1;
    ret_regs->returns = false;
}

const char *unwind_end_name(enum unwind_end end)
{
    static const char *const names[] = {
        [UNWIND_OUTERMOST] = "complete",
        [UNWIND_TRUNCATED] = "too deep to keep",
        [UNWIND_NO_CFI] = "no unwind information",
        [UNWIND_BAD_CFI] = "bad unwind information",
        [UNWIND_BAD_CFA] = "damaged stack",
        [UNWIND_OUTSIDE] = "outside the stack",
        [UNWIND_NO_REG] = "a register is not known",
    };
    return names[end];
}
