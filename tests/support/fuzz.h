// fuzz.h -- What fuzz targets share: their entry, and input taken in pieces.
//
// A target is given bytes and returns 0; what it finds wrong ends the process.
// libFuzzer invents the bytes (./dev fuzz), fuzz_replay.c takes those of the
// corpus. Input that has come to its end goes on as zeros, so that every byte
// string is an input.
#ifndef TESTS_SUPPORT_FUZZ_H
#define TESTS_SUPPORT_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A law that must hold whatever the input is.
#define must(condition)                                                        \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__,      \
                    #condition);                                               \
            abort();                                                           \
        }                                                                      \
    } while (0)

struct input {
    const uint8_t *at;
    size_t left;
};

// A little-endian number of `bytes` bytes.
static inline uint64_t input_number(struct input *in, size_t bytes)
{
    uint64_t number = 0;

    for (size_t i = 0; i < bytes && in->left > 0; i++, in->left--)
        number |= (uint64_t)*in->at++ << 8 * i;
    return number;
}

// The next `bytes` bytes, or what there is.
static inline struct input input_part(struct input *in, size_t bytes)
{
    struct input part = {in->at, bytes < in->left ? bytes : in->left};

    in->at += part.left;
    in->left -= part.left;
    return part;
}

// The bytes up to the next zero as a string of the caller's.
static inline char *input_text(struct input *in)
{
    size_t length = in->left ? strnlen((const char *)in->at, in->left) : 0;
    char *text = malloc(length + 1);

    must(text);
    if (length > 0)
        memcpy(text, in->at, length);
    text[length] = '\0';
    (void)input_part(in, length + 1);
    return text;
}

// ---- Memory between two pages that fault ----
//
// For code that tells AddressSanitizer to look away.

enum { FUZZ_ROOM = 64 << 10, FUZZ_PAGE = 4096 };

static inline uint8_t *guarded_new(void)
{
    uint8_t *all = mmap(NULL, FUZZ_ROOM + 2 * FUZZ_PAGE, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    must(all != MAP_FAILED);
    must(mprotect(all + FUZZ_PAGE, FUZZ_ROOM, PROT_READ | PROT_WRITE) == 0);
    return all + FUZZ_PAGE;
}

// Where `size` bytes are to lie in it: right behind the first guard, or right
// before the second.
static inline uint8_t *guarded_place(uint8_t *room, size_t size, bool low)
{
    must(size <= FUZZ_ROOM);
    return low ? room : room + FUZZ_ROOM - size;
}

#endif
