// intern.h -- What many tasks share, stored once: stacks, sites, strings.
#ifndef WEFT_DUMP_INTERN_H
#define WEFT_DUMP_INTERN_H

#include "base/map.h"
#include "dump/model.h"

// The growing parts of a dump while it is made.
struct intern {
    struct weft_dump *dump;
    struct map stacks;
    struct map sites;
    struct map objects;
    struct map scopes;
    size_t stack_room, pc_room, site_room, object_room, text_room;
    size_t scope_room, channel_room;
    bool failed; // out of memory; calls then return WEFT_NONE
};

void intern_deinit(struct intern *intern);

// The index of a stack, its pcs as the model keeps them.
uint32_t intern_stack(struct intern *intern, const struct model_stack *stack,
                      const uintptr_t *pcs);

// The index of a spawn site.
uint32_t intern_site(struct intern *intern, uintptr_t pc);

// The index of a scope by its address; WEFT_NONE for 0.
uint32_t intern_scope(struct intern *intern, uintptr_t address);

// The index of a new channel.
uint32_t intern_channel(struct intern *intern,
                        const struct model_channel *channel);

// The offset of a copy of some bytes, which the caller ends by zero.
uint32_t intern_text(struct intern *intern, const char *bytes, size_t size);

// The index of the object at an address; *ret_new says that it has just been
// added, all zero but for its address.
uint32_t intern_object(struct intern *intern, uintptr_t address, bool *ret_new);

#endif
