// oracle.h -- What the oracle's places share: the site that each task is sent
// to, and how a place notes where it is.
#ifndef TESTS_SUPPORT_ORACLE_H
#define TESTS_SUPPORT_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <weft/weft.h>

enum { LEVELS_MAX = 14 };

// A place in the program, as the compiler names it.
struct place {
    const char *function;
    int line;
};

// Where a task is sent, and the way that it has gone: level 0 is the leaf.
struct site {
    int levels;
    uint8_t path[LEVELS_MAX];
    struct place truth[LEVELS_MAX];
    int salt;
    bool through_libc;
    char *room;
    weft_channel *empty, *full;
    weft_mutex *mutex;
};

typedef int place_fn(struct site *site, int level, int salt);

// What a call back from libc is given.
struct hop {
    struct site *site;
    int level;
};

#define ALWAYS_INLINE static inline __attribute__((always_inline, unused))
#define NO_INLINE __attribute__((noinline))

#define NOTE(site, level)                                                      \
    ((site)->truth[level] = (struct place){__func__, __LINE__})

// Differs from every other: what comes before it cannot be shared.
#define KEEP(number) __asm__ volatile("" : : "i"(number))

// The same function, but the compiler does not know.
ALWAYS_INLINE place_fn *by_pointer(place_fn *fn)
{
    __asm__ volatile("" : "+r"(fn));
    return fn;
}

// Calls back once, through code that was built elsewhere.
#define THROUGH_LIBC(fn)                                                       \
    (site->through_libc = true,                                                \
     qsort_r((char[2]){0, 1}, 2, 1, (fn), &(struct hop){site, level - 1}), 0)

// A generator of our own, so that the ways are the same everywhere.
ALWAYS_INLINE uint32_t next_random(void)
{
    static uint64_t state = 88172645463325252;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

// Chooses a way of `least` to `most` levels.
ALWAYS_INLINE void choose_way(struct site *site, int least, int most)
{
    site->levels = least + (int)(next_random() % (unsigned)(most - least + 1));
    site->salt = (int)(next_random() % 10000);
    for (int i = 0; i < LEVELS_MAX; i++)
        site->path[i] = (uint8_t)next_random();
}

#endif
