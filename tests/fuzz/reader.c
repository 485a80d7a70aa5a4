// reader.c -- Fuzzes the reader of numbers: what it gives, and where it stands.
//
// The input's first half says what is read, a byte each; the second half is
// read, and lies right before a page that faults.
#include "dump/reader.h"

#include "support/fuzz.h"

// LEB128 by the book, in 128 bits. False: it does not end.
static bool leb(const struct reader *r, bool is_signed, uint64_t *ret_value,
                size_t *ret_bytes)
{
    unsigned __int128 value = 0;
    unsigned shift = 0;

    for (const uint8_t *at = r->at; at < r->end; at++, shift += 7) {
        if (shift < 128)
            value |= (unsigned __int128)(*at & 0x7f) << shift;
        if (*at & 0x80)
            continue;
        if (is_signed && (*at & 0x40) && shift + 7 < 128)
            value |= ~(unsigned __int128)0 << (shift + 7);
        *ret_value = (uint64_t)value;
        *ret_bytes = (size_t)(at - r->at) + 1;
        return true;
    }
    return false;
}

static void read_leb(struct reader *r, bool is_signed)
{
    uint64_t expected;
    size_t bytes;
    struct reader before = *r;
    bool whole = leb(r, is_signed, &expected, &bytes);
    uint64_t got = is_signed ? (uint64_t)reader_sleb(r) : reader_uleb(r);

    must(whole || r->bad);
    if (whole && !before.bad) {
        must(!r->bad && got == expected);
        must(r->at == before.at + bytes);
    }
}

static void read_fixed(struct reader *r, size_t bytes, bool is_signed)
{
    struct reader before = *r;
    uint64_t expected = 0;
    uint64_t got = is_signed ? (uint64_t)reader_take_signed(r, bytes)
                             : reader_take(r, bytes);

    if (reader_left(&before) < bytes) {
        must(r->bad && got == 0);
        return;
    }
    memcpy(&expected, before.at, bytes);
    if (is_signed && bytes < 8 && before.at[bytes - 1] >= 0x80)
        expected |= ~(uint64_t)0 << 8 * bytes;
    must(got == expected && r->at == before.at + bytes);
}

static void read_part(struct reader *r, uint64_t bytes)
{
    struct reader before = *r;
    struct reader part = reader_part(r, bytes);

    must(part.bad == r->bad && part.at <= part.end);
    if (bytes <= reader_left(&before))
        must(part.at == before.at && part.end == r->at &&
             reader_left(&part) == bytes);
    else
        must(r->bad && reader_left(&part) == 0);
}

static void step(struct reader *r, unsigned op)
{
    unsigned detail = op >> 3;

    switch (op & 7) {
    case 0:
    case 1:
        read_fixed(r, detail % 8 + 1, op & 1);
        break;
    case 2:
    case 3:
        read_leb(r, op & 1);
        break;
    case 4:
        reader_skip(r, detail);
        break;
    case 5:
        read_part(r, detail < 31 ? detail : UINT64_MAX - detail);
        break;
    case 6:
        (void)reader_form(r, detail);
        break;
    default:
        (void)reader_pointer(r, detail * 9, detail & 16 ? r->at : NULL);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *room;
    size_t ops = size / 2;
    size_t left = size - ops;

    room = room ? room : guarded_new();
    if (size > FUZZ_ROOM)
        return 0;
    uint8_t *bytes = guarded_place(room, left, false);
    if (left > 0)
        memcpy(bytes, data + ops, left);
    struct reader r = {bytes, bytes + left, false};
    for (size_t i = 0; i < ops; i++) {
        bool was_bad = r.bad;
        step(&r, data[i]);
        must(r.at >= bytes && r.at <= r.end);
        must(r.end == bytes + left && (r.bad || !was_bad));
        must(!r.bad || (r.at == r.end && reader_take(&r, 1) == 0));
    }
    return 0;
}
