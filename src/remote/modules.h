// modules.h -- The modules of another process: what the dump says of them, and
// copies of what unwinding and the search for weft need.
//
// Each is read from the process's own memory, so a file that was replaced, or
// lies in another mount namespace, does not matter.
#ifndef WEFT_REMOTE_MODULES_H
#define WEFT_REMOTE_MODULES_H

#include "dump/beacon.h"
#include "dump/cfi.h"
#include "dump/model.h"
#include "remote/target.h"

struct modules {
    struct model_module *about; // the executable first
    struct cfi_module *code;    // by the same index
    size_t count;
    struct beacon beacon; // of the first module that has one
    bool has_beacon;
};

// Reads those of a process. 0 or -errno.
int modules_read(struct modules *modules, struct target *target);
void modules_free(struct modules *modules);

// The build-id of the one whose first mapping begins there, as hex, owned by
// the caller; NULL: it has none, or cannot be read.
char *modules_build_id(const struct space *space, uintptr_t begin);

// Copies what is known of them to a dump. 0 or -ENOMEM.
int modules_describe(const struct modules *modules, struct weft_dump *dump);

#endif
