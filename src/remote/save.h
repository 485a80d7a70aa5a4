// save.h -- Writes down what a dump is made of, so that it can be made again
// elsewhere: saved.h.
//
// A recorder is a target that stands for another: a dump is taken of it, and
// whatever passes through is kept, in an ELF core that core_file_open reads.
// The other is stopped until all has been read, so that all is of one moment.
#ifndef WEFT_REMOTE_SAVE_H
#define WEFT_REMOTE_SAVE_H

#include "remote/saved.h"
#include "remote/target.h"

struct recorded;

struct recorder {
    struct target target;
    struct target *from;
    int fd;
    struct recorded *recorded;
};

// Records into a file that is open for writing, and empty. 0 or -ENOMEM.
int recorder_init(struct recorder *recorder, struct target *from, int fd);
void recorder_deinit(struct recorder *recorder);

// Once a dump has been taken: completes the file. 0 or -errno.
int recorder_finish(struct recorder *recorder, const struct weft_dump *dump);

#endif
