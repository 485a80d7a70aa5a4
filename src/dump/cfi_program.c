// cfi_program.c -- Interprets the instructions of a CIE and an FDE.
//
//   I1  Each loop takes at least a byte of a bounded range in each round.
#include "dump/cfi_program.h"

#include <string.h>

// ---- Expressions ----
//
// The values of registers are not known here, so an operand is a term: base +
// off, or *(base + off) + add. This covers what compilers, linkers (PLT) and
// authors of assembly write; whatever does not fit is CFI_ODD.

struct term {
    uint8_t base; // CFI_BASE_NONE: the constant `off`
    bool deref;
    uint64_t off;
    uint64_t add;
};

struct operands {
    struct term term[CFI_OPERANDS];
    unsigned depth;
    bool odd;
};

static void push(struct operands *s, struct term t)
{
    if (s->depth >= CFI_OPERANDS)
        s->odd = true;
    else
        s->term[s->depth++] = t;
}

static void push_number(struct operands *s, uint64_t number)
{
    push(s, (struct term){.base = CFI_BASE_NONE, .off = number});
}

// The term `below` the top one; the top one is 0.
static struct term pick(struct operands *s, uint64_t below)
{
    if (below < s->depth)
        return s->term[s->depth - 1 - below];
    s->odd = true;
    return (struct term){.base = CFI_BASE_NONE};
}

static struct term pop(struct operands *s)
{
    struct term top = pick(s, 0);
    if (s->depth > 0)
        s->depth--;
    return top;
}

static void push_sum(struct operands *s, struct term t, uint64_t number)
{
    if (t.deref)
        t.add += number;
    else
        t.off += number;
    push(s, t);
}

static void push_register(struct operands *s, uint64_t reg, int64_t off,
                          uintptr_t pc)
{
    struct term t = {.base = (uint8_t)reg, .off = (uint64_t)off};

#if defined(__x86_64__)
    if (reg == CFI_LR) { // rip, known here: how PLT entries are described
        push_number(s, pc + (uint64_t)off);
        return;
    }
#else
    (void)pc;
#endif
    if (reg >= CFI_REGS)
        s->odd = true;
    push(s, t);
}

static void dereference(struct operands *s)
{
    struct term t = pop(s);
    if (t.deref || t.base == CFI_BASE_NONE)
        s->odd = true;
    t.deref = true;
    push(s, t);
}

enum { // those of the operators that take two
    OP_AND = 0x1a,
    OP_MINUS = 0x1c,
    OP_MUL = 0x1e,
    OP_OR = 0x21,
    OP_PLUS = 0x22,
    OP_SHL = 0x24,
    OP_SHR = 0x25,
    OP_XOR = 0x27,
    OP_EQ = 0x29,
    OP_GE,
    OP_GT,
    OP_LE,
    OP_LT,
    OP_NE,
};

static uint64_t calculate(struct operands *s, unsigned op, uint64_t a,
                          uint64_t b)
{
    switch (op) {
    case OP_AND:
        return a & b;
    case OP_MUL:
        return a * b;
    case OP_OR:
        return a | b;
    case OP_XOR:
        return a ^ b;
    case OP_SHL:
        return b < 64 ? a << b : 0;
    case OP_SHR:
        return b < 64 ? a >> b : 0;
    case OP_EQ:
        return a == b;
    case OP_NE:
        return a != b;
    case OP_GE:
        return (int64_t)a >= (int64_t)b;
    case OP_GT:
        return (int64_t)a > (int64_t)b;
    case OP_LE:
        return (int64_t)a <= (int64_t)b;
    case OP_LT:
        return (int64_t)a < (int64_t)b;
    default:
        s->odd = true;
        return 0;
    }
}

static void fold(struct operands *s, unsigned op)
{
    struct term b = pop(s);
    struct term a = pop(s);

    if (op == OP_PLUS && b.base == CFI_BASE_NONE)
        push_sum(s, a, b.off);
    else if (op == OP_PLUS && a.base == CFI_BASE_NONE)
        push_sum(s, b, a.off);
    else if (op == OP_MINUS && b.base == CFI_BASE_NONE)
        push_sum(s, a, -b.off);
    else if (a.base == CFI_BASE_NONE && b.base == CFI_BASE_NONE)
        push_number(s, calculate(s, op, a.off, b.off));
    else
        s->odd = true;
}

static void reorder(struct operands *s, unsigned op)
{
    struct term a = pop(s);
    struct term b;

    if (op == 0x12) { // dup
        push(s, a);
        push(s, a);
    } else if (op == 0x16) { // swap
        b = pop(s);
        push(s, a);
        push(s, b);
    } // else drop
}

// Operators whose number stands behind them.
static bool push_constant(struct operands *s, struct reader *r, unsigned op)
{
    size_t bytes = (size_t)1 << ((op - 0x08) / 2 & 3);

    if (op >= 0x08 && op <= 0x0f) // const1u, const1s, const2u, ...
        push_number(s, op & 1 ? (uint64_t)reader_take_signed(r, bytes)
                              : reader_take(r, bytes));
    else if (op == 0x10)
        push_number(s, reader_uleb(r));
    else if (op == 0x11)
        push_number(s, (uint64_t)reader_sleb(r));
    else if (op >= 0x30 && op <= 0x4f) // lit0 to lit31
        push_number(s, op - 0x30);
    else
        return false;
    return true;
}

static void evaluate_one(struct operands *s, struct reader *r, uintptr_t pc)
{
    unsigned op = (unsigned)reader_take(r, 1);

    if (push_constant(s, r, op))
        return;
    if (op >= 0x70 && op <= 0x8f) // breg0 to breg31
        push_register(s, op - 0x70, reader_sleb(r), pc);
    else if (op == 0x06)
        dereference(s);
    else if (op == 0x12 || op == 0x13 || op == 0x16)
        reorder(s, op);
    else if (op == 0x14 || op == 0x15) // over, pick
        push(s, pick(s, op == 0x14 ? 1 : reader_take(r, 1)));
    else if (op == 0x23) // plus_uconst
        push_sum(s, pop(s), reader_uleb(r));
    else if (op == 0x9c) // call_frame_cfa
        push(s, (struct term){.base = CFI_BASE_CFA});
    else if (op != 0x96) // nop
        fold(s, op);
}

static struct cfi_place place_of(struct term t, enum cfi_how how)
{
    struct cfi_place p = {
        .how = (uint8_t)how,
        .base = t.base,
        .deref = t.deref,
        .off = (int32_t)t.off,
        .add = (int32_t)t.add,
    };
    if (t.base == CFI_BASE_NONE || (int64_t)t.off != p.off ||
        (int64_t)t.add != p.add)
        p.how = CFI_ODD;
    return p;
}

// An expression read from `r`, its length first, as what it says at `pc`. For a
// register (not for the CFA itself) the CFA is there to begin with.
static struct cfi_place evaluate(struct reader *r, enum cfi_how how,
                                 bool with_cfa, uintptr_t pc)
{
    struct reader code = reader_part(r, reader_uleb(r));
    struct operands s = {.depth = 0};

    if (with_cfa)
        push(&s, (struct term){.base = CFI_BASE_CFA});
    while (reader_left(&code) > 0 && !s.odd) // I1
        evaluate_one(&s, &code, pc);
    struct cfi_place p = place_of(pop(&s), how);
    if (s.odd || code.bad)
        p.how = CFI_ODD;
    return p;
}

// ---- Instructions ----

static void set(struct cfi_program *m, uint64_t reg, struct cfi_place place)
{
    if (reg < CFI_REGS)
        m->row.reg[reg] = place;
}

static void set_how(struct cfi_program *m, uint64_t reg, enum cfi_how how)
{
    set(m, reg, (struct cfi_place){.how = (uint8_t)how});
}

static void set_offset(struct cfi_program *m, uint64_t reg, enum cfi_how how,
                       int64_t factored)
{
    uint64_t off = (uint64_t)factored * (uint64_t)m->cie->data_align;
    set(m, reg, place_of((struct term){.base = CFI_BASE_CFA, .off = off}, how));
}

static struct cfi_place place_of_register(uint64_t reg, uint64_t off)
{
    uint8_t base = reg < CFI_REGS ? (uint8_t)reg : CFI_BASE_NONE;
    return place_of((struct term){.base = base, .off = off}, CFI_IS);
}

static void restore(struct cfi_program *m, uint64_t reg)
{
    if (reg < CFI_REGS)
        m->row.reg[reg] = m->first.reg[reg];
}

static void remember(struct cfi_program *m)
{
    if (m->depth == CFI_NESTING)
        reader_fail(&m->code);
    else
        m->saved[m->depth++] = m->row;
}

static void recall(struct cfi_program *m)
{
    if (m->depth == 0)
        reader_fail(&m->code);
    else
        m->row = m->saved[--m->depth];
}

// Moves on to the next row; false if the one at hand is the one asked for.
static bool advance(struct cfi_program *m, uint64_t delta)
{
    uintptr_t next = m->loc + delta * m->cie->code_align;
    if (m->initial || m->code.bad)
        return true;
    if (next < m->loc || next > m->pc)
        return false;
    m->loc = next;
    return true;
}

static bool advance_to(struct cfi_program *m, uintptr_t next)
{
    if (!m->initial && (m->code.bad || next > m->pc))
        return m->code.bad;
    m->loc = next;
    return true;
}

// Instructions that set the CFA; false if `op` is none.
static bool set_cfa(struct cfi_program *m, unsigned op)
{
    struct reader *r = &m->code;
    struct cfi_place *cfa = &m->row.cfa;
    uint64_t align = (uint64_t)m->cie->data_align;
    uint64_t reg = cfa->base;

    switch (op) {
    case 0x0c: // def_cfa
        reg = reader_uleb(r);
        *cfa = place_of_register(reg, reader_uleb(r));
        return true;
    case 0x12: // def_cfa_sf
        reg = reader_uleb(r);
        *cfa = place_of_register(reg, (uint64_t)reader_sleb(r) * align);
        return true;
    case 0x0d: // def_cfa_register
        *cfa = place_of_register(reader_uleb(r), (uint64_t)(int64_t)cfa->off);
        return true;
    case 0x0e: // def_cfa_offset
        *cfa = place_of_register(reg, reader_uleb(r));
        return true;
    case 0x13: // def_cfa_offset_sf
        *cfa = place_of_register(reg, (uint64_t)reader_sleb(r) * align);
        return true;
    case 0x0f: // def_cfa_expression
        *cfa = evaluate(r, CFI_IS, false, m->pc);
        return true;
    default:
        return false;
    }
}

// Instructions that say where a register is; false if `op` is none.
static bool set_register(struct cfi_program *m, unsigned op)
{
    struct reader *r = &m->code;
    uint64_t reg;

    if (!(op >= 0x05 && op <= 0x09) && op != 0x10 && op != 0x11 &&
        !(op >= 0x14 && op <= 0x16) && op != 0x2f)
        return false;
    reg = reader_uleb(r);
    switch (op) {
    case 0x05: // offset_extended
        set_offset(m, reg, CFI_AT, (int64_t)reader_uleb(r));
        break;
    case 0x06: // restore_extended
        restore(m, reg);
        break;
    case 0x07: // undefined
        set_how(m, reg, CFI_LOST);
        break;
    case 0x08: // same_value
        set_how(m, reg, CFI_SAME);
        break;
    case 0x09: // register
        set(m, reg, place_of_register(reader_uleb(r), 0));
        break;
    case 0x10: // expression
        set(m, reg, evaluate(r, CFI_AT, true, m->pc));
        break;
    case 0x11: // offset_extended_sf
        set_offset(m, reg, CFI_AT, reader_sleb(r));
        break;
    case 0x14: // val_offset
        set_offset(m, reg, CFI_IS, (int64_t)reader_uleb(r));
        break;
    case 0x15: // val_offset_sf
        set_offset(m, reg, CFI_IS, reader_sleb(r));
        break;
    case 0x16: // val_expression
        set(m, reg, evaluate(r, CFI_IS, true, m->pc));
        break;
    default: // 0x2f: GNU_negative_offset_extended
        set_offset(m, reg, CFI_AT, -(int64_t)(reader_uleb(r) & INT64_MAX));
        break;
    }
    return true;
}

// The other instructions; false to stop.
static bool control(struct cfi_program *m, unsigned op)
{
    switch (op) {
    case 0x00: // nop
        return true;
    case 0x01: // set_loc
        return advance_to(m, reader_pointer(&m->code, m->cie->encoding, NULL));
    case 0x02: // advance_loc1, 2, 4
    case 0x03:
    case 0x04:
        return advance(m, reader_take(&m->code, (size_t)1 << (op - 0x02)));
    case 0x0a:
        remember(m);
        return true;
    case 0x0b:
        recall(m);
        return true;
    case 0x2c: // AARCH64_negate_ra_state_with_pc
    case 0x2d: // AARCH64_negate_ra_state
        m->row.ra_signed = !m->row.ra_signed;
        return true;
    case 0x2e: // GNU_args_size, of no use here
        reader_uleb(&m->code);
        return true;
    default:
        reader_fail(&m->code);
        return false;
    }
}

static bool execute(struct cfi_program *m)
{
    unsigned op = (unsigned)reader_take(&m->code, 1);

    switch (op & 0xc0) { // the commonest have an operand in the low bits
    case 0x40:
        return advance(m, op & 0x3f);
    case 0x80:
        set_offset(m, op & 0x3f, CFI_AT, (int64_t)reader_uleb(&m->code));
        return true;
    case 0xc0:
        restore(m, op & 0x3f);
        return true;
    default:
        return set_cfa(m, op) || set_register(m, op) || control(m, op);
    }
}

static bool run(struct cfi_program *m, struct reader code, bool initial)
{
    m->code = code;
    m->initial = initial;
    while (reader_left(&m->code) > 0 && execute(m)) // I1
        continue;
    return !m->code.bad;
}

// ---- Entries ----

struct reader cfi_entry(struct reader *r)
{
    uint64_t length = reader_take(r, 4);
    if (length == 0xffffffff)
        length = reader_take(r, 8);
    return reader_part(r, length);
}

static void read_augmentation(struct cfi_cie *cie, struct reader *r,
                              struct reader letters)
{
    if (reader_left(&letters) == 0)
        return;
    if (reader_take(&letters, 1) != 'z') {
        reader_fail(r);
        return;
    }
    cie->has_data = true;
    struct reader data = reader_part(r, reader_uleb(r));
    while (reader_left(&letters) > 0) {
        uint64_t letter = reader_take(&letters, 1);
        if (letter == 'R')
            cie->encoding = (unsigned)reader_take(&data, 1);
        else if (letter == 'P') // the personality, which we do not call
            reader_form(&data, (unsigned)reader_take(&data, 1));
        else if (letter == 'L')
            reader_skip(&data, 1);
        else if (letter == 'S')
            cie->is_signal = true;
    }
    if (data.bad)
        reader_fail(r);
}

static struct reader take_string(struct reader *r)
{
    struct reader s = *r;
    while (reader_take(r, 1) != 0) // a bad reader gives zeros
        continue;
    s.end = r->bad ? s.at : r->at - 1;
    return s;
}

bool cfi_cie_read(struct reader r, struct cfi_cie *ret_cie)
{
    struct reader e = cfi_entry(&r);
    *ret_cie = (struct cfi_cie){.encoding = READER_ABS};

    if (e.bad || reader_take(&e, 4) != 0) // 0: a CIE
        return false;
    uint64_t version = reader_take(&e, 1);
    if (version != 1 && version != 3 && version != 4)
        return false;
    struct reader letters = take_string(&e);
    if (version == 4)
        reader_skip(&e, 2); // sizes of an address and of a segment selector
    ret_cie->code_align = reader_uleb(&e);
    ret_cie->data_align = reader_sleb(&e);
    ret_cie->ra_reg = version == 1 ? reader_take(&e, 1) : reader_uleb(&e);
    read_augmentation(ret_cie, &e, letters);
    ret_cie->code = e;
    return !e.bad && ret_cie->ra_reg < CFI_REGS;
}

static enum cfi_kind kind_of(const struct cfi_row *row)
{
    if (row->ra.how == CFI_LOST)
        return CFI_OUTERMOST;
    if (row->cfa.how != CFI_IS || row->ra.how == CFI_ODD)
        return CFI_BAD;
    if (row->ra.how == CFI_SAME && !CFI_HAS_LR)
        return CFI_BAD;
    return CFI_FULL; // or simple, which whoever compiles it finds out
}

enum cfi_kind cfi_program_run(struct cfi_program *m, const struct cfi_cie *cie,
                              struct reader code, uintptr_t start, uintptr_t pc)
{
    m->cie = cie;
    m->loc = start;
    m->pc = pc;
    m->depth = 0;
    memset(&m->row, 0, sizeof m->row); // all CFI_SAME
    m->row.cfa = place_of_register(CFI_BASE_NONE, 0);
    m->row.is_signal = cie->is_signal;
    if (!run(m, cie->code, true))
        return CFI_BAD;
    m->first = m->row;
    if (!run(m, code, false))
        return CFI_BAD;
    m->row.ra = m->row.reg[cie->ra_reg];
    return kind_of(&m->row);
}
