// reader.c -- Reads numbers from a range of bytes and never leaves it.
#include "dump/reader.h"

// What is read may be a module's data as the loader mapped it, damaged offsets
// leading anywhere in it. AddressSanitizer's red zones there do not concern us.
#if defined(__clang__)
#define UNCHECKED __attribute__((no_sanitize("address")))
#else
#define UNCHECKED __attribute__((no_sanitize_address))
#endif

uint64_t reader_fail(struct reader *r)
{
    r->bad = true;
    r->at = r->end;
    return 0;
}

size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

UNCHECKED uint64_t reader_take(struct reader *r, size_t bytes)
{
    uint64_t value = 0;
    if (reader_left(r) < bytes)
        return reader_fail(r);
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)r->at[i] << 8 * i;
    r->at += bytes;
    return value;
}

int64_t reader_take_signed(struct reader *r, size_t bytes)
{
    unsigned unused = 64 - 8 * (unsigned)bytes;
    return (int64_t)(reader_take(r, bytes) << unused) >> unused;
}

void reader_skip(struct reader *r, uint64_t bytes)
{
    if (reader_left(r) < bytes)
        reader_fail(r);
    else
        r->at += bytes;
}

struct reader reader_part(struct reader *r, uint64_t bytes)
{
    struct reader p = *r;
    reader_skip(r, bytes);
    p.end = r->at;
    p.bad = r->bad;
    if (p.bad)
        p.at = p.end;
    return p;
}

static uint64_t take_leb(struct reader *r, bool is_signed)
{
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte;

    do {
        byte = (uint8_t)reader_take(r, 1);
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    if (is_signed && shift < 64 && (byte & 0x40))
        value |= ~(uint64_t)0 << shift;
    return value;
}

uint64_t reader_uleb(struct reader *r)
{
    return take_leb(r, false);
}

int64_t reader_sleb(struct reader *r)
{
    return (int64_t)take_leb(r, true);
}

uint64_t reader_form(struct reader *r, unsigned encoding)
{
    switch (encoding & 0x0f) {
    case 0x00: // a pointer
    case 0x04:
    case 0x0c:
        return reader_take(r, 8);
    case 0x01:
        return reader_uleb(r);
    case 0x02:
        return reader_take(r, 2);
    case READER_UDATA4:
        return reader_take(r, 4);
    case 0x09:
        return (uint64_t)reader_sleb(r);
    case 0x0a:
        return (uint64_t)reader_take_signed(r, 2);
    case READER_SDATA4:
        return (uint64_t)reader_take_signed(r, 4);
    default:
        return reader_fail(r);
    }
}

uintptr_t reader_pointer(struct reader *r, unsigned encoding,
                         const uint8_t *data)
{
    uintptr_t field = (uintptr_t)r->at;
    uintptr_t value = reader_form(r, encoding);

    switch (encoding & 0xf0) { // the indirect ones are never used for code
    case READER_ABS:
        return value;
    case READER_PCREL:
        return field + value;
    case READER_DATAREL:
        return data ? (uintptr_t)data + value : reader_fail(r);
    default:
        return reader_fail(r);
    }
}
