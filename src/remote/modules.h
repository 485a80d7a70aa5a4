// modules.h -- The modules of another process: what the dump says of them, and
// copies of what unwinding and the search for weft need.
//
// Each is read from the process's own memory, so a file that was replaced, or
// lies in another mount namespace, does not matter.
#ifndef WEFT_REMOTE_MODULES_H
#define WEFT_REMOTE_MODULES_H

#include <stdio.h>

#include "dump/beacon.h"
#include "dump/cfi.h"
#include "dump/model.h"
#include "dump/space.h"

struct modules {
    struct model_module *about; // the executable first
    struct cfi_module *code;    // by the same index
    size_t count;
    struct beacon beacon; // of the first module that has one
    bool has_beacon;
};

// Reads them by the lines of a file as /proc/PID/maps. 0 or -ENOMEM.
int modules_read(struct modules *modules, const struct space *space,
                 FILE *maps);

// The build-id of the one whose first mapping begins there, as hex, owned by
// the caller; NULL: it has none, or cannot be read.
char *modules_build_id(const struct space *space, uintptr_t begin);

// `about` may have been handed on, and is then NULL.
void modules_free(struct modules *modules);

#endif
