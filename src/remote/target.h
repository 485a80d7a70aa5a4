// target.h -- A process that is read from outside.
//
// Its threads are stopped by ptrace for as long as the caller says so. Nothing
// runs in it for that, and whenever the reader ends, the kernel lets it go on.
#ifndef WEFT_REMOTE_TARGET_H
#define WEFT_REMOTE_TARGET_H

#include <signal.h>

#include "dump/model.h"
#include "dump/space.h"
#include "dump/unwind.h"

struct target_thread {
    int tid;                 // here, and
    int inner_tid;           // in the target's own PID namespace
    bool seized;             // it was asked to stop, and
    bool stopped;            // has done so
    int signal;              // it was about to get this one, and still is; or 0
    bool in_call;            // of the system
    long call;               // its number
    uint64_t args[6];        //
    bool standing;           // where it stands is known:
    struct unwind_regs regs; // all, or pc and sp of one that was not stopped
};

struct target {
    struct space space;
    enum model_method method; // MODEL_PTRACE, or, by its opener's wish,
                              // MODEL_UNSTOPPED
    int pid;
    int living;     // one of its threads, by which its memory is reached
    int memory;     // /proc/PID/task/TID/mem
    bool elsewhere; // in another PID namespace
    struct target_thread *threads;
    size_t thread_count, thread_room;
    sigset_t signals;   // the caller's mask, while it stands
    int64_t stopped_ns; // since when it stands, or
    int64_t stood_ns;   // how long it did
    char problem[256];  // why the last call failed
};

// Opens a process. 0 or -errno, with `problem` set.
int target_open(struct target *target, int pid);
void target_close(struct target *target);

// Stops all threads, and reads where they stand. As above; on error all run.
// Until they go on, signals to the calling thread wait: so that one which ends
// or stops it finds the target running.
int target_stop(struct target *target);
void target_resume(struct target *target);

// In place of a stop: reads where the threads stand that sit in a system call,
// or are stopped by others. 0 or -ENOMEM.
int target_look(struct target *target);

// Whether a thread stands where it stood when it was read.
bool target_still(const struct target *target,
                  const struct target_thread *thread);

// The thread with a number of the target's own namespace, or NULL.
const struct target_thread *target_thread(const struct target *target,
                                          int inner_tid);

#endif
