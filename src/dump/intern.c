// intern.c -- What many tasks share, stored once: stacks, sites, strings.
#include "dump/intern.h"

#include <string.h>

#include "base/grow.h"

void intern_deinit(struct intern *intern)
{
    map_deinit(&intern->stacks);
    map_deinit(&intern->sites);
    map_deinit(&intern->objects);
    map_deinit(&intern->scopes);
}

static uint32_t fail(struct intern *intern)
{
    intern->failed = true;
    return WEFT_NONE;
}

// Never 0, which the map keeps for itself.
static uint64_t hash_stack(const struct model_stack *stack,
                           const uintptr_t *pcs)
{
    uint64_t hash = stack->end + ((uint64_t)stack->cut << 8) + 1;

    for (uint32_t i = 0; i < stack->count; i++) {
        hash = (hash ^ pcs[i]) * UINT64_C(0x9fb21c651e98df25);
        hash ^= hash >> 29;
    }
    return hash == 0 ? 1 : hash;
}

static bool same_stack(const struct weft_dump *dump, uint32_t index,
                       const struct model_stack *stack, const uintptr_t *pcs)
{
    const struct model_stack *other = &dump->stacks[index];

    return other->count == stack->count && other->end == stack->end &&
           other->cut == stack->cut &&
           (stack->count == 0 || memcmp(&dump->pcs[other->pc], pcs,
                                        stack->count * sizeof *pcs) == 0);
}

static uint32_t add_stack(struct intern *intern, uint64_t key,
                          const struct model_stack *stack, const uintptr_t *pcs)
{
    struct weft_dump *dump = intern->dump;
    uint32_t index = (uint32_t)dump->stack_count;

    if (!grow(&dump->stacks, &intern->stack_room, dump->stack_count + 1,
              sizeof *dump->stacks) ||
        !grow(&dump->pcs, &intern->pc_room, dump->pc_count + stack->count,
              sizeof *dump->pcs) ||
        !map_add(&intern->stacks, key, index))
        return fail(intern);
    dump->stacks[index] = *stack;
    dump->stacks[index].pc = (uint32_t)dump->pc_count;
    if (stack->count > 0) // not all stacks have frames
        memcpy(&dump->pcs[dump->pc_count], pcs, stack->count * sizeof *pcs);
    dump->pc_count += stack->count;
    dump->stack_count++;
    return index;
}

uint32_t intern_stack(struct intern *intern, const struct model_stack *stack,
                      const uintptr_t *pcs)
{
    uint64_t key = hash_stack(stack, pcs);
    const uint32_t *found;

    // Different stacks with one hash take the keys that follow.
    while ((found = map_find(&intern->stacks, key)) != NULL) {
        if (same_stack(intern->dump, *found, stack, pcs))
            return *found;
        key = key == UINT64_MAX ? 1 : key + 1;
    }
    return add_stack(intern, key, stack, pcs);
}

// A list of addresses, each once.
static uint32_t intern_address(struct intern *intern, struct map *map,
                               uintptr_t **list, size_t *count, size_t *room,
                               uintptr_t address)
{
    const uint32_t *found = map_find(map, address);
    uint32_t index = (uint32_t)*count;

    if (found != NULL)
        return *found;
    if (!grow(list, room, *count + 1, sizeof **list) ||
        !map_add(map, address, index))
        return fail(intern);
    (*list)[(*count)++] = address;
    return index;
}

uint32_t intern_site(struct intern *intern, uintptr_t pc)
{
    struct weft_dump *dump = intern->dump;

    return intern_address(intern, &intern->sites, &dump->sites,
                          &dump->site_count, &intern->site_room, pc);
}

uint32_t intern_scope(struct intern *intern, uintptr_t address)
{
    struct weft_dump *dump = intern->dump;

    if (address == 0)
        return WEFT_NONE;
    return intern_address(intern, &intern->scopes, &dump->scopes,
                          &dump->scope_count, &intern->scope_room, address);
}

uint32_t intern_channel(struct intern *intern,
                        const struct model_channel *channel)
{
    struct weft_dump *dump = intern->dump;

    if (!grow(&dump->channels, &intern->channel_room, dump->channel_count + 1,
              sizeof *dump->channels))
        return fail(intern);
    dump->channels[dump->channel_count] = *channel;
    return (uint32_t)dump->channel_count++;
}

uint32_t intern_text(struct intern *intern, const char *bytes, size_t size)
{
    struct weft_dump *dump = intern->dump;
    size_t offset = dump->text_size;

    if (offset + size >= WEFT_NONE ||
        !grow(&dump->text, &intern->text_room, offset + size, 1))
        return fail(intern);
    memcpy(dump->text + offset, bytes, size);
    dump->text_size = offset + size;
    return (uint32_t)offset;
}

uint32_t intern_object(struct intern *intern, uintptr_t address, bool *ret_new)
{
    struct weft_dump *dump = intern->dump;
    const uint32_t *found = map_find(&intern->objects, address);
    uint32_t index = (uint32_t)dump->object_count;

    *ret_new = found == NULL;
    if (found != NULL)
        return *found;
    if (!grow(&dump->objects, &intern->object_room, dump->object_count + 1,
              sizeof *dump->objects) ||
        !map_add(&intern->objects, address, index))
        return fail(intern);
    dump->objects[dump->object_count++] = (struct model_object){
        .name = WEFT_NONE, .address = address, .peers = WEFT_NONE};
    return index;
}
