// store.h -- Where a capture puts what it finds: compact, and by many threads
// at once.
//
// Everything lies in address space that is reserved before the world stops and
// committed at first touch; so nothing here allocates, moves or locks. What
// many tasks share is stored once, and a task's own facts take 56 bytes: what
// is not a number of its own (stack, wait, spawn site, parent) is a `shape`,
// which it has in common with others; what few tasks have is an `extra`.
#ifndef WEFT_DUMP_STORE_H
#define WEFT_DUMP_STORE_H

#include "dump/model.h"

// What a task has in common with others. Compared as bytes: fill it from zero.
struct shape {
    uint64_t parent;    // id, or 0
    uint64_t wait_task; // id, or 0; of a scope's leaver the scope's address
    uint64_t scope;     // address of the scope whose child it is, or 0
    uint32_t stack;     // index
    uint32_t site;      // index
    uint32_t object;    // index, or WEFT_NONE
    uint32_t choice;    // of a select: index, or WEFT_NONE
    uint32_t stack_size;
    int32_t wait_fd; // or -1
    uint8_t state;   // enum weft_task_state
    uint8_t wait;    // enum weft_wait_kind
    uint8_t wait_write;
    uint8_t zero[5];
};

enum { STACK_UNIT = 64 }; // up to 1 GiB

struct record {
    uint64_t id; // 0: no task in this slot
    uint64_t handle;
    uint64_t schedules : 40;  // as many as a state word counts (task.h)
    uint64_t stack_used : 24; // in units of STACK_UNIT
    int64_t state_ns;
    int64_t age_ns;
    int64_t cpu_ns;
    uint32_t shape; // index
    uint32_t extra; // index, or WEFT_NONE
};

struct extra {
    int64_t timeout_in_ns; // or WEFT_NEVER
    uint32_t name;         // as in struct model_task
    uint32_t labels;
    uint32_t worker;
    uint32_t queue_place;
    uint32_t held;
    uint16_t held_count;
    uint8_t label_count;
};

extern const struct extra EXTRA_NONE;

// A task holds an object.
struct holding {
    uint32_t slot; // of the task
    uint32_t object;
    bool shared; // with others
    uintptr_t taken_pc;
    int64_t held_ns;
};

// An array in reserved memory. Items are taken by adding to `count`.
struct shelf {
    char *items;
    size_t size; // of one
    size_t room;
    atomic_u64 count; // relaxed: an item is published through a table, or by
                      // the end of the capture
};

// Which item has a key: P1 in store.c.
struct finder {
    atomic_u64 *entries; // hash << 32 | index + 1; 0: empty
    uint64_t room;
};

struct store {
    uint32_t slots;       // capacity
    struct shelf records; // by slot; each written by whoever claims the slot
    struct shelf shapes;
    struct shelf extras;
    struct shelf stacks;
    struct shelf pcs;
    struct shelf sites;
    struct shelf objects;
    struct shelf holdings;
    struct shelf channels;
    struct shelf choices;
    struct shelf clauses;
    struct shelf text;
    struct finder find_shape;
    struct finder find_stack;
    struct finder find_site;
    struct finder find_object;
    struct finder find_choice;
    atomic_u32 full; // something did not fit: relaxed, read at the end
};

// A store for tasks in slots below `slots`, with `scale` times the room that
// they take as a rule. NULL: no memory.
struct store *store_new(uint32_t slots, uint32_t scale);

// Has memory ready for the records of so many slots from `first` on, before
// anyone needs it.
void store_commit(struct store *store, uint32_t first, uint32_t slots);

void store_free(struct store *store); // NULL is allowed

// Each returns an index, or WEFT_NONE when it is full. Any thread.

uint32_t store_shape(struct store *store, const struct shape *shape);
uint32_t store_extra(struct store *store, const struct extra *extra);
uint32_t store_site(struct store *store, uintptr_t pc);
uint32_t store_holding(struct store *store, const struct holding *holding);
uint32_t store_channel(struct store *store,
                       const struct model_channel *channel);

// An offset in the text. The caller ends the bytes by zero.
uint32_t store_text(struct store *store, const char *bytes, size_t size);

// `pcs` as the model keeps them; `error` as its text, or NULL. What `stack`
// says of either is not looked at.
uint32_t store_stack(struct store *store, const struct model_stack *stack,
                     const uintptr_t *pcs, const char *error);

// What `choice` says of its first clause is not looked at.
uint32_t store_choice(struct store *store, const struct model_choice *choice,
                      const struct model_clause *clauses);

// The object at an address if it is known already; and its entry, all filled.
uint32_t store_find_object(const struct store *store, uintptr_t address);
uint32_t store_object(struct store *store, const struct model_object *found);

// Where a slot's record goes.
struct record *store_record(struct store *store, uint32_t slot);

// Once all is captured: packs the records of `slots` slots, in their order, and
// numbers all else by first use, the stacks of the dump's threads too. Fills in
// the dump's arrays, which stay in the store, and hands the store over to it.
// -ENOMEM, or -EAGAIN: something did not fit; the store stays the caller's.
int store_seal(struct store *store, uint32_t slots, struct weft_dump *dump);

#endif
