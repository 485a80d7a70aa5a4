// objects.h -- Reads what tasks wait for and hold.
//
// Objects lie in the program's memory, which may be gone by the time a capture
// comes to read it; so they are read through the kernel. What was read is true
// if a task that waited for the object or held it is claimed after: until then
// it has not returned from the call in which it waits, nor unlocked.
#ifndef WEFT_DUMP_OBJECTS_H
#define WEFT_DUMP_OBJECTS_H

#include "dump/capture.h"

enum {
    HELD_MAX = 64,   // objects of one task that are listed
    CHOICE_MAX = 16, // clauses of one select
};

// The index of the object that a task waits for, or WEFT_NONE.
uint32_t objects_add_waited(const struct picture *picture,
                            const struct task *copy);

// The index of what a task's select waits for, or WEFT_NONE: it is in none.
uint32_t objects_add_choice(const struct picture *picture,
                            const struct task *copy);

// What a task holds, innermost first; the count. `waits`: it is in a wait.
uint32_t objects_add_held(const struct picture *picture,
                          const struct task *copy, bool waits,
                          struct holding *ret_held);

#endif
