// map.h -- A table from non-zero 64-bit keys to 32-bit numbers.
#ifndef WEFT_BASE_MAP_H
#define WEFT_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_entry {
    uint64_t key; // 0: empty
    uint32_t value;
};

// All zero is an empty map. One thread at a time.
struct map {
    struct map_entry *entries;
    size_t room; // a power of two, or 0
    size_t count;
};

// The number of a key, or NULL.
const uint32_t *map_find(const struct map *map, uint64_t key);

// Adds a key that is not in yet. False: no memory.
bool map_add(struct map *map, uint64_t key, uint32_t value);

void map_deinit(struct map *map);

#endif
