// cfi.c -- Fuzzes the interpreter of call frame information.
//
// Input: the size of the CIE (2 bytes), how far the pc is in the function (2),
// then the CIE as an entry of .eh_frame, and the instructions of an FDE.
#include "dump/cfi_program.h"

#include "support/fuzz.h"

enum { START = 0x400000 };

static bool is_base(unsigned base)
{
    return base < CFI_REGS || base == CFI_BASE_CFA;
}

// What the unwinder takes for granted of a place: it indexes by `base`.
static void check_place(const struct cfi_place *place)
{
    must(place->how <= CFI_ODD);
    if (place->how == CFI_AT || place->how == CFI_IS)
        must(is_base(place->base));
}

static void check_row(const struct cfi_row *row)
{
    must(row->cfa.how == CFI_IS && is_base(row->cfa.base));
    must(row->ra.how != CFI_LOST && row->ra.how != CFI_ODD);
    check_place(&row->ra);
    for (unsigned i = 0; i < CFI_REGS; i++)
        check_place(&row->reg[i]);
}

static struct reader put(uint8_t *room, struct input part)
{
    uint8_t *at = guarded_place(room, part.left, false);

    if (part.left > 0)
        memcpy(at, part.at, part.left);
    return (struct reader){at, at + part.left, false};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *rooms[2];
    static struct cfi_program program;
    struct input in = {data, size};
    struct cfi_cie cie;

    if (size > FUZZ_ROOM)
        return 0;
    for (int i = 0; i < 2; i++)
        rooms[i] = rooms[i] ? rooms[i] : guarded_new();
    size_t cie_size = input_number(&in, 2);
    uintptr_t pc = START + input_number(&in, 2);
    struct reader first = put(rooms[0], input_part(&in, cie_size));
    if (!cfi_cie_read(first, &cie))
        return 0;
    must(cie.ra_reg < CFI_REGS);
    struct reader code = put(rooms[1], input_part(&in, in.left));
    enum cfi_kind kind = cfi_program_run(&program, &cie, code, START, pc);
    must(kind == CFI_BAD || kind == CFI_OUTERMOST || kind == CFI_FULL);
    must(program.depth >= 0 && program.depth <= CFI_NESTING);
    if (kind == CFI_FULL)
        check_row(&program.row);
    return 0;
}
