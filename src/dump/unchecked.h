// unchecked.h -- Reading memory that others may be writing.
#ifndef WEFT_DUMP_UNCHECKED_H
#define WEFT_DUMP_UNCHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Whatever sanitizers have put between a stack's locals, and whoever writes
// there: what is read is checked for its worth afterwards.
#if defined(__clang__)
#define UNCHECKED __attribute__((no_sanitize("address", "thread", "memory")))
#else
#define UNCHECKED __attribute__((no_sanitize_address, no_sanitize_thread))
#endif

// A bool of another process, which may be any byte.
static inline bool any_bool(const bool *at)
{
    unsigned char byte;

    memcpy(&byte, at, sizeof byte);
    return byte != 0;
}

typedef uint64_t __attribute__((may_alias)) any_word;

// The explorer is told of each copy (tests/explore/races.c).
#ifdef WEFT_EXPLORE
void explore_copied(const void *from, size_t bytes);
#else
static inline void explore_copied(const void *from, size_t bytes)
{
    (void)from, (void)bytes;
}
#endif

// Copies whole words; both addresses are aligned to them.
UNCHECKED static inline void copy_words(void *to, const void *from,
                                        size_t bytes)
{
    const volatile any_word *source = from;
    any_word *target = to;

    explore_copied(from, bytes);
    for (size_t i = 0; i < bytes / sizeof *target; i++)
        target[i] = source[i];
}

#endif
