// beacon.h -- By what weft is found in a process that cannot be asked.
//
// A note of weft's own in the module that holds it (section .note.weft, and so
// in a PT_NOTE segment, which stripping leaves) says how far from itself the
// beacon lies; the beacon says where the runtimes are, and how the structs in
// them are laid out: for readers that were built with these sources (remote/),
// which compare, and by name for one that was not (gdb/weft-gdb.py).
#ifndef WEFT_DUMP_BEACON_H
#define WEFT_DUMP_BEACON_H

#include <stddef.h>
#include <stdint.h>

enum {
    BEACON_VERSION = 2, // of this struct
    BEACON_NOTE = 1,    // type of the note
    BEACON_PLACES = 192,
    BEACON_NAMES = 4096,
};

#define BEACON_OWNER "weft"

// Where a field is in its struct; or a number, with `bytes` 0.
struct beacon_place {
    uint32_t at;
    uint32_t bytes; // of the field
    uint32_t whole; // of its struct
};

struct beacon {
    char magic[8]; // "weft dmp"
    uint32_t version;
    uint32_t size;            // of this struct
    char library[16];         // weft's version
    uintptr_t registry;       // of runtimes
    uintptr_t task_entry;     //
    uintptr_t outsiders;      // list of struct outsider
    uint32_t names_size;      // BEACON_NAMES
    uint32_t place_count;     // used of `layout`
    char names[BEACON_NAMES]; // of each place, in order, and a space
    struct beacon_place layout[BEACON_PLACES]; // what a reader relies on
};

extern const struct beacon beacon;

#endif
