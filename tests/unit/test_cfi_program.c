// test_cfi_program.c -- Instructions and expressions of call frame information.
//
// Each program is put together from bytes, as an assembler's author may write
// them; what comes of it is compared with what DWARF says it means.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "dump/cfi_program.h"

enum { START = 0x400000, ROOM = 64, BASE = 3, SMALL = 16 };

// Runs an FDE's instructions under a CIE by which the CFA is BASE + 8.
static enum cfi_kind run(const uint8_t *bytes, size_t count, uintptr_t pc,
                         struct cfi_row *ret_row)
{
    static const uint8_t initial[] = {0x0c, BASE,   8,  // def_cfa
                                      0x05, CFI_LR, 1}; // offset_extended
    static struct cfi_program program;
    const struct cfi_cie cie = {
        .code_align = 1,
        .data_align = -8,
        .ra_reg = CFI_LR,
        .code = {initial, initial + sizeof initial, false},
    };
    struct reader code = {bytes, bytes + count, false};
    enum cfi_kind kind = cfi_program_run(&program, &cie, code, START, pc);

    *ret_row = program.row;
    return kind;
}

#define RUN(row, pc, ...)                                                      \
    run((const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}), pc,  \
        row)

// ---- Expressions ----

// What an expression makes of the CFA: by def_cfa_expression.
static enum cfi_kind evaluate(const uint8_t *bytes, size_t count,
                              struct cfi_place *ret_cfa)
{
    uint8_t code[ROOM] = {0x0f, (uint8_t)count};
    struct cfi_row row;

    assert_true(count + 2 <= ROOM);
    memcpy(code + 2, bytes, count);
    enum cfi_kind kind = run(code, count + 2, START, &row);
    *ret_cfa = row.cfa;
    return kind;
}

// The expression begins with breg3 0, and must come to breg3 + off.
struct sum {
    const char *what;
    int32_t off;
    uint8_t size;
    uint8_t bytes[SMALL];
};

#define OF_BASE 0x70 + BASE, 0

static void sums(void **state)
{
    static const struct sum cases[] = {
        {"plus", 5, 4, {OF_BASE, 0x35, 0x22}},
        {"plus, the other way", 5, 4, {0x35, OF_BASE, 0x22}},
        {"minus", -5, 4, {OF_BASE, 0x35, 0x1c}},
        {"plus_uconst", 300, 5, {OF_BASE, 0x23, 0xac, 0x02}},
        {"and", 4, 6, {OF_BASE, 0x36, 0x3c, 0x1a, 0x22}},
        {"mul", 42, 6, {OF_BASE, 0x36, 0x37, 0x1e, 0x22}},
        {"or", 7, 6, {OF_BASE, 0x36, 0x33, 0x21, 0x22}},
        {"xor", 5, 6, {OF_BASE, 0x36, 0x33, 0x27, 0x22}},
        {"shl", 24, 6, {OF_BASE, 0x36, 0x32, 0x24, 0x22}},
        {"shl by 64", 0, 7, {OF_BASE, 0x36, 0x08, 64, 0x24, 0x22}},
        {"shr", 3, 6, {OF_BASE, 0x36, 0x31, 0x25, 0x22}},
        {"shr by 64", 0, 7, {OF_BASE, 0x36, 0x08, 64, 0x25, 0x22}},
        {"eq", 0, 6, {OF_BASE, 0x36, 0x37, 0x29, 0x22}},
        {"ge", 0, 6, {OF_BASE, 0x36, 0x37, 0x2a, 0x22}},
        {"gt", 0, 6, {OF_BASE, 0x36, 0x37, 0x2b, 0x22}},
        {"le", 1, 6, {OF_BASE, 0x36, 0x37, 0x2c, 0x22}},
        {"lt", 1, 6, {OF_BASE, 0x36, 0x37, 0x2d, 0x22}},
        {"ne", 1, 6, {OF_BASE, 0x36, 0x37, 0x2e, 0x22}},
        {"lt of signed", 1, 7, {OF_BASE, 0x09, 0xff, 0x30, 0x2d, 0x22}},
        {"dup", 4, 6, {OF_BASE, 0x32, 0x12, 0x1e, 0x22}},
        {"drop", 2, 6, {OF_BASE, 0x32, 0x39, 0x13, 0x22}},
        {"swap", -2, 6, {0x32, OF_BASE, 0x16, 0x1c, 0x96}},
        {"over", 8, 9, {OF_BASE, 0x35, 0x33, 0x14, 0x13, 0x22, 0x22, 0x96}},
        {"pick", 8, 10, {OF_BASE, 0x35, 0x33, 0x15, 1, 0x13, 0x22, 0x22, 0x96}},
        {"const1s", -1, 5, {OF_BASE, 0x09, 0xff, 0x22}},
        {"const2u", 0x1234, 6, {OF_BASE, 0x0a, 0x34, 0x12, 0x22}},
        {"const4u",
         0x12345678,
         8,
         {OF_BASE, 0x0c, 0x78, 0x56, 0x34, 0x12, 0x22}},
        {"const8s",
         -2,
         12,
         {OF_BASE, 0x0f, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x22}},
        {"constu", 300, 6, {OF_BASE, 0x10, 0xac, 0x02, 0x22}},
        {"consts", -3, 5, {OF_BASE, 0x11, 0x7d, 0x22}},
        {"lit31", 31, 4, {OF_BASE, 0x4f, 0x22}},
        {"nop", 0, 3, {OF_BASE, 0x96}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cfi_place cfa;
        enum cfi_kind kind = evaluate(cases[i].bytes, cases[i].size, &cfa);
        if (kind != CFI_FULL || cfa.how != CFI_IS || cfa.base != BASE ||
            cfa.deref || cfa.off != cases[i].off)
            fail_msg("%s: kind %d, base %d + %d, not %d", cases[i].what, kind,
                     cfa.base, cfa.off, cases[i].off);
    }
}

#define EVALUATE(cfa, ...)                                                     \
    evaluate((const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}), \
             cfa)

static void memory(void **state)
{
    struct cfi_place cfa;

    (void)state;
    // *(breg3 + 16) + 8 - 3
    assert_int_equal(EVALUATE(&cfa, 0x70 + BASE, 16, 0x06, 0x23, 8, 0x33, 0x1c),
                     CFI_FULL);
    assert_true(cfa.deref);
    assert_int_equal(cfa.off, 16);
    assert_int_equal(cfa.add, 5);
}

// What the values of registers would have to be known for, or is none at all.
static void too_odd(void **state)
{
    struct cfi_place cfa;

    (void)state;
    assert_int_equal(EVALUATE(&cfa, 0x35), CFI_BAD); // a constant
    assert_int_equal(EVALUATE(&cfa, 0x22), CFI_BAD); // no operands
    assert_int_equal(EVALUATE(&cfa, OF_BASE, 0x06, 0x06),
                     CFI_BAD);                                // deref twice
    assert_int_equal(EVALUATE(&cfa, 0x35, 0x06), CFI_BAD);    // of a constant
    assert_int_equal(EVALUATE(&cfa, OF_BASE, 0x14), CFI_BAD); // over nothing
    assert_int_equal(EVALUATE(&cfa, OF_BASE, OF_BASE, 0x22), CFI_BAD);
    assert_int_equal(EVALUATE(&cfa, OF_BASE, 0x35, 0x1e), CFI_BAD);
    assert_int_equal(EVALUATE(&cfa, OF_BASE, 0x36, 0x37, 0x1b, 0x22), CFI_BAD);
    assert_int_equal(EVALUATE(&cfa, 0x70 + BASE), CFI_BAD); // cut short
    // farther than a place can say
    assert_int_equal(EVALUATE(&cfa, OF_BASE, 0x0c, 0, 0, 0, 0x80, 0x22),
                     CFI_BAD);
}

static void too_deep(void **state)
{
    uint8_t bytes[CFI_OPERANDS + 1];
    struct cfi_place cfa;

    (void)state;
    memset(bytes, 0x31, sizeof bytes);
    assert_int_equal(evaluate(bytes, sizeof bytes, &cfa), CFI_BAD);
}

// ---- Instructions ----

static void cfa_rules(void **state)
{
    struct cfi_row row;

    (void)state;
    assert_int_equal(RUN(&row, START, 0x0e, 24), CFI_FULL); // def_cfa_offset
    assert_int_equal(row.cfa.base, BASE);
    assert_int_equal(row.cfa.off, 24);
    assert_int_equal(RUN(&row, START, 0x0d, CFI_FP), CFI_FULL);
    assert_int_equal(row.cfa.base, CFI_FP);
    assert_int_equal(row.cfa.off, 8);
    assert_int_equal(RUN(&row, START, 0x12, CFI_SP, 0x7e), CFI_FULL);
    assert_int_equal(row.cfa.base, CFI_SP); // def_cfa_sf: -2 * -8
    assert_int_equal(row.cfa.off, 16);
    assert_int_equal(RUN(&row, START, 0x13, 0x7d), CFI_FULL);
    assert_int_equal(row.cfa.off, 24);
    assert_int_equal(RUN(&row, START, 0x0c, 40, 8),
                     CFI_BAD); // no such register
}

static void register_rules(void **state)
{
    struct cfi_row row;

    (void)state;
    assert_int_equal(RUN(&row, START, 0x05, 1, 2, // offset_extended
                         0x08, 2,                 // same_value
                         0x07, 4,                 // undefined
                         0x09, 5, CFI_FP,         // register
                         0x11, 8, 0x7d,           // offset_extended_sf
                         0x14, 9, 3,              // val_offset
                         0x15, 10, 0x7f,          // val_offset_sf
                         0x2f, 11, 2,             // negative_offset_extended
                         0x10, 12, 2, 0x23, 24,   // expression: CFA + 24
                         0x16, 13, 2, 0x23, 32),  // val_expression
                     CFI_FULL);
    assert_int_equal(row.reg[1].how, CFI_AT);
    assert_int_equal(row.reg[1].off, -16);
    assert_int_equal(row.reg[2].how, CFI_SAME);
    assert_int_equal(row.reg[4].how, CFI_LOST);
    assert_int_equal(row.reg[5].how, CFI_IS);
    assert_int_equal(row.reg[5].base, CFI_FP);
    assert_int_equal(row.reg[8].off, 24);
    assert_int_equal(row.reg[9].how, CFI_IS);
    assert_int_equal(row.reg[9].off, -24);
    assert_int_equal(row.reg[10].how, CFI_IS);
    assert_int_equal(row.reg[10].off, 8);
    assert_int_equal(row.reg[11].how, CFI_AT);
    assert_int_equal(row.reg[11].off, 16);
    assert_int_equal(row.reg[12].how, CFI_AT);
    assert_int_equal(row.reg[12].base, CFI_BASE_CFA);
    assert_int_equal(row.reg[12].off, 24);
    assert_int_equal(row.reg[13].how, CFI_IS);
    assert_int_equal(row.reg[13].off, 32);
}

static void rows(void **state)
{
    static const uint8_t code[] = {
        0x02, 4,    0x0e, 16,       // advance_loc1: 4: CFA + 16
        0x0a,                       // remember_state
        0x03, 4,    0,    0x0e, 32, // advance_loc2: 8: CFA + 32
        0x05, BASE, 2,              //
        0x04, 4,    0,    0,    0,  // advance_loc4: 12
        0x06, BASE,                 // restore_extended
        0x02, 4,    0x0b,           // 16: restore_state
    };
    static const struct {
        uint8_t pc;
        uint8_t off;
        uint8_t how; // of BASE
    } cases[] = {{0, 8, CFI_SAME},   {4, 16, CFI_SAME}, {7, 16, CFI_SAME},
                 {8, 32, CFI_AT},    {11, 32, CFI_AT},  {12, 32, CFI_SAME},
                 {16, 16, CFI_SAME}, {99, 16, CFI_SAME}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cfi_row row;
        assert_int_equal(run(code, sizeof code, START + cases[i].pc, &row),
                         CFI_FULL);
        assert_int_equal(row.cfa.off, cases[i].off);
        assert_int_equal(row.reg[BASE].how, cases[i].how);
    }
}

static void bad_programs(void **state)
{
    uint8_t deep[CFI_NESTING + 1];
    struct cfi_row row;

    (void)state;
    assert_int_equal(RUN(&row, START, 0x0b), CFI_BAD); // nothing remembered
    assert_int_equal(RUN(&row, START, 0x3f), CFI_BAD); // no instruction
    assert_int_equal(RUN(&row, START, 0x05, 1), CFI_BAD);
    assert_int_equal(RUN(&row, START, 0x0f, 9, 0x30), CFI_BAD);
    memset(deep, 0x0a, sizeof deep);
    assert_int_equal(run(deep, sizeof deep, START, &row), CFI_BAD);
    assert_int_equal(run(deep, sizeof deep - 1, START, &row), CFI_FULL);
    assert_int_equal(RUN(&row, START, 0x07, CFI_LR), CFI_OUTERMOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums),      cmocka_unit_test(memory),
        cmocka_unit_test(too_odd),   cmocka_unit_test(too_deep),
        cmocka_unit_test(cfa_rules), cmocka_unit_test(register_rules),
        cmocka_unit_test(rows),      cmocka_unit_test(bad_programs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
