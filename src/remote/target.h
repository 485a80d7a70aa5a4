// target.h -- A process that is read from outside.
//
// One that lives (target_open), whose threads are stopped by ptrace for as long
// as the caller says so; nothing runs in it for that, and whenever the reader
// ends, the kernel lets it go on. Or what was kept of one: core_file.h, save.h.
#ifndef WEFT_REMOTE_TARGET_H
#define WEFT_REMOTE_TARGET_H

#include <stdio.h>
#include <sys/user.h>

#include "dump/model.h"
#include "dump/space.h"
#include "dump/unwind.h"
#include "sched/runtime.h"

struct target_thread {
    int tid;
    bool stopped;
    int signal;                   // it was about to get this one, and still
                                  // is; or 0
    bool in_call;                 // of the system
    long call;                    // its number
    uint64_t args[6];             //
    struct user_regs_struct user; // if it is stopped
    struct unwind_regs regs;      // the same
};

// The moment that a dump is of.
struct target_moment {
    struct watch_moment now; // ticks 0: not known, see the process's memory
    int64_t wall_ns;
};

struct target;

// What differs from one kind of target to the other. Strings are the caller's.
struct target_kind {
    // Stops all threads, and reads where they stand. 0; or -errno, `problem`
    // set, and all run.
    int (*stop)(struct target *target);
    void (*resume)(struct target *target);
    void (*moment)(struct target *target, struct target_moment *ret_moment);
    // Its mappings, as the lines of /proc/PID/maps. NULL: errno says why.
    FILE *(*maps)(struct target *target);
    // What one of its descriptors is, or NULL.
    char *(*descriptor)(struct target *target, int fd);
    // Fills in pid, executable, arguments, host and start. 0 or -ENOMEM.
    int (*describe)(struct target *target, struct weft_dump *dump);
    // What of it could not be had, in words, or NULL; and how many pages of
    // memory *ret_pages. NULL: there is no such thing.
    char *(*missing)(struct target *target, uint64_t *ret_pages);
};

struct target {
    struct space space;
    const struct target_kind *kind;
    bool still; // it does not run on while it is read
    enum model_method method;
    int pid;
    int living; // one of its threads, by which its memory is reached
    int memory; // /proc/PID/task/TID/mem
    struct target_thread *threads;
    size_t thread_count;
    int64_t stopped_ns; // since when it stands, or
    int64_t stood_ns;   // how long it did
    int64_t took_ns;    // of a saved dump: how long that took; else 0
    char problem[200];  // why the last call failed
};

// Opens a process. 0 or -errno, with `problem` set.
int target_open(struct target *target, int pid);
void target_close(struct target *target);

// Its kind's `stop` and `resume`.
int target_stop(struct target *target);
void target_resume(struct target *target);

// The thread with an id, or NULL.
const struct target_thread *target_thread(const struct target *target, int tid);

#endif
