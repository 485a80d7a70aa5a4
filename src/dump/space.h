// space.h -- The memory that a dump is read from.
//
// That of this process; or of another, living or dead, whose addresses mean
// nothing here and whose bytes may be anything.
#ifndef WEFT_DUMP_SPACE_H
#define WEFT_DUMP_SPACE_H

#include "port/port.h"

// A piece of it to be copied.
struct span {
    uintptr_t address;
    void *to;
    size_t bytes; // how much; and then, how much was there
};

struct space {
    // Copies [address, address + bytes) as far as it is there, from its begin;
    // how much that was.
    size_t (*read)(const struct space *space, uintptr_t address, void *to,
                   size_t bytes);
    // The same for many at once.
    void (*read_many)(const struct space *space, struct span *spans,
                      size_t count);
};

// NULL: this process's, read through the kernel, for it may go away.
static inline size_t space_read(const struct space *space, uintptr_t address,
                                void *to, size_t bytes)
{
    return space == NULL ? port_read_memory(address, to, bytes)
                         : space->read(space, address, to, bytes);
}

static inline bool space_read_all(const struct space *space, uintptr_t address,
                                  void *to, size_t bytes)
{
    return space_read(space, address, to, bytes) == bytes;
}

#endif
