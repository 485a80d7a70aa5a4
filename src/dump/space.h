// space.h -- The memory that a dump is read from.
//
// That of this process; or of another, living or dead, whose addresses mean
// nothing here and whose bytes may be anything.
#ifndef WEFT_DUMP_SPACE_H
#define WEFT_DUMP_SPACE_H

#include "port/port.h"

struct space {
    // Copies [address, address + bytes) as far as it is there, from its begin;
    // how much that was.
    size_t (*read)(const struct space *space, uintptr_t address, void *to,
                   size_t bytes);
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
