// cfi_program.h -- From the bytes of a CIE and an FDE to the row of a pc.
//
// .eh_frame consists of entries. A CIE holds what many functions share, an FDE
// belongs to one function; instructions in both build up a table with a row for
// each range of pcs. Here one row of it is made.
#ifndef WEFT_DUMP_CFI_PROGRAM_H
#define WEFT_DUMP_CFI_PROGRAM_H

#include "dump/cfi.h"
#include "dump/reader.h"

enum {
    CFI_OPERANDS = 16, // depth of an expression's stack
    CFI_NESTING = 16,  // remember_state within remember_state
};

struct cfi_cie {
    uint64_t code_align;
    int64_t data_align;
    uint64_t ra_reg;
    unsigned encoding; // of the FDE's pointers
    bool has_data;     // the FDE has augmentation data
    bool is_signal;
    struct reader code;
};

// The interpreter's state: some KiB, so it does not live on a signal stack.
struct cfi_program {
    const struct cfi_cie *cie;
    struct reader code;
    uintptr_t loc; // the row holds from here on
    uintptr_t pc;  // the one asked for
    bool initial;  // in the CIE's instructions
    int depth;
    struct cfi_row row;
    struct cfi_row first; // as the CIE left it
    struct cfi_row saved[CFI_NESTING];
};

// Reads an entry's length and gives what it covers; *r is then behind it.
struct reader cfi_entry(struct reader *r);

// Reads the CIE that begins at `r`; false if it is none that we understand.
bool cfi_cie_read(struct reader r, struct cfi_cie *ret_cie);

// Runs the CIE's instructions and those of an FDE, `code`, whose function is at
// `start`, up to `pc`. The row is then in m->row if the kind is CFI_FULL.
enum cfi_kind cfi_program_run(struct cfi_program *m, const struct cfi_cie *cie,
                              struct reader code, uintptr_t start,
                              uintptr_t pc);

#endif
