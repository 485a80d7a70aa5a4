// reader.h -- A bounded reader of little-endian numbers and DWARF's encodings.
//
// Once it has been asked for what lies past its end, a reader is `bad`, stands
// at its end and gives zeros. So a caller may read all it needs and look at
// `bad` once; a loop must look at reader_left or `bad` in each round.
#ifndef WEFT_DUMP_READER_H
#define WEFT_DUMP_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

// Encodings of pointers (DW_EH_PE): the form in the low 4 bits, what to add to
// it in the next 3.
enum {
    READER_ABS = 0x00,
    READER_PCREL = 0x10,
    READER_DATAREL = 0x30,
    READER_UDATA4 = 0x03,
    READER_SDATA4 = 0x0b,
};

// The bytes that are left.
size_t reader_left(const struct reader *r);

// Makes the reader bad; returns 0.
uint64_t reader_fail(struct reader *r);

// A number of 1 to 8 bytes.
uint64_t reader_take(struct reader *r, size_t bytes);
int64_t reader_take_signed(struct reader *r, size_t bytes);

// A LEB128 number; what goes beyond 64 bits is dropped.
uint64_t reader_uleb(struct reader *r);
int64_t reader_sleb(struct reader *r);

// Leaves out `bytes`; past the end it makes the reader bad.
void reader_skip(struct reader *r, uint64_t bytes);

// The next `bytes` as a reader of their own; *r is then behind them.
struct reader reader_part(struct reader *r, uint64_t bytes);

// The number that an encoded pointer consists of, whatever is to be added.
uint64_t reader_form(struct reader *r, unsigned encoding);

// An encoded pointer, relative to nothing, itself or `data` (may be NULL). What
// is relative to anything else, or indirect, makes the reader bad.
uintptr_t reader_pointer(struct reader *r, unsigned encoding,
                         const uint8_t *data);

#endif
