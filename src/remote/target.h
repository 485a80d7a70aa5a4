// target.h -- A process that is read from outside.
//
// Its threads are stopped by ptrace for as long as the caller says so. Nothing
// runs in it for that, and whenever the reader ends, the kernel lets it go on.
#ifndef WEFT_REMOTE_TARGET_H
#define WEFT_REMOTE_TARGET_H

#include "dump/space.h"
#include "dump/unwind.h"

struct target_thread {
    int tid;
    bool stopped;
    int signal;              // it was about to get this one, and still is; or 0
    bool in_call;            // of the system
    long call;               // its number
    uint64_t args[6];        //
    struct unwind_regs regs; // if it is stopped
};

struct target {
    struct space space;
    int pid;
    int living; // one of its threads, by which its memory is reached
    int memory; // /proc/PID/task/TID/mem
    struct target_thread *threads;
    size_t thread_count;
    int64_t stopped_ns; // since when it stands, or
    int64_t stood_ns;   // how long it did
    char problem[160];  // why the last call failed
};

// Opens a process. 0 or -errno, with `problem` set.
int target_open(struct target *target, int pid);
void target_close(struct target *target);

// Stops all threads, and reads where they stand. As above; on error all run.
int target_stop(struct target *target);
void target_resume(struct target *target);

// The thread with an id, or NULL.
const struct target_thread *target_thread(const struct target *target, int tid);

#endif
