// map.c -- A table from non-zero 64-bit keys to 32-bit numbers.
//
// Open addressing, at most half full.
#include "base/map.h"

#include <stdlib.h>

static struct map_entry *place(const struct map *map, uint64_t key)
{
    size_t mask = map->room - 1;
    uint64_t hash = key * UINT64_C(0x9e3779b97f4a7c15);
    size_t at = (size_t)(hash >> 32) & mask;

    while (map->entries[at].key != 0 && map->entries[at].key != key)
        at = (at + 1) & mask;
    return &map->entries[at];
}

const uint32_t *map_find(const struct map *map, uint64_t key)
{
    if (map->room == 0)
        return NULL;
    struct map_entry *entry = place(map, key);
    return entry->key == 0 ? NULL : &entry->value;
}

static bool enlarge(struct map *map)
{
    struct map larger = {.room = map->room == 0 ? 64 : map->room * 2};

    larger.entries = calloc(larger.room, sizeof *larger.entries);
    if (larger.entries == NULL)
        return false;
    for (size_t i = 0; i < map->room; i++)
        if (map->entries[i].key != 0)
            *place(&larger, map->entries[i].key) = map->entries[i];
    larger.count = map->count;
    free(map->entries);
    *map = larger;
    return true;
}

bool map_add(struct map *map, uint64_t key, uint32_t value)
{
    if (2 * map->count >= map->room && !enlarge(map))
        return false;
    *place(map, key) = (struct map_entry){key, value};
    map->count++;
    return true;
}

void map_deinit(struct map *map)
{
    free(map->entries);
    *map = (struct map){0};
}
