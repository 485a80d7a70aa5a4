// beacon.h -- By what weft is found in a process that cannot be asked.
//
// A note of weft's own in the module that holds it (section .note.weft, and so
// in a PT_NOTE segment, which stripping leaves) says how far from itself the
// beacon lies; the beacon says where the runtimes are, and how the structs in
// them are laid out.
#ifndef WEFT_DUMP_BEACON_H
#define WEFT_DUMP_BEACON_H

#include <stddef.h>
#include <stdint.h>

enum {
    BEACON_VERSION = 2, // of this struct
    BEACON_NOTE = 1,    // type of the note
    BEACON_PLACES = 96,
};

#define BEACON_OWNER "weft"

struct beacon {
    char magic[8]; // "weft dmp"
    uint32_t version;
    uint32_t size;                      // of this struct
    char library[16];                   // weft's version
    uint32_t layout[2 * BEACON_PLACES]; // what a reader relies on: of each
                                        // field its place and its struct's size
    uintptr_t registry;                 // of runtimes
    uintptr_t task_entry;
    uintptr_t outsiders; // list of struct outsider
};

extern const struct beacon beacon;

#endif
