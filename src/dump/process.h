// process.h -- What the kernel says of a process, for its dump.
//
// `pid`: 0 is this one. Strings are the caller's; NULL: it does not say, or no
// memory.
#ifndef WEFT_DUMP_PROCESS_H
#define WEFT_DUMP_PROCESS_H

#include "dump/model.h"

// What the descriptor is, such as a path or "socket:[4711]".
char *process_descriptor(int pid, int fd);

// Fills in pid, executable, arguments, host and start. 0 or -ENOMEM.
int process_describe(int pid, struct weft_dump *dump);

#endif
