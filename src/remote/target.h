// target.h -- A process that is read from outside.
//
// One that lives (target_open): its threads are stopped by ptrace for as long
// as the caller says so. Nothing runs in it for that, and whenever the reader
// ends, the kernel lets it go on. Or what was kept of one: core_file.h, save.h.
#ifndef WEFT_REMOTE_TARGET_H
#define WEFT_REMOTE_TARGET_H

#include <signal.h>
#include <stdio.h>
#include <sys/user.h>

#include "dump/model.h"
#include "dump/space.h"
#include "dump/unwind.h"
#include "sched/runtime.h"

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
    struct user_regs_struct user; // of one that was: all that there are
};

// The moment that a dump is of.
struct target_moment {
    struct watch_moment now; // ticks 0: not known, see the process's memory
    int64_t wall_ns;
};

struct target;

// What differs from one kind of target to the other. Strings are the caller's.
struct target_kind {
    // Stops all threads, unless the target's method is another, and reads where
    // they stand. 0; or -errno, `problem` set, and all run.
    int (*stop)(struct target *target);
    void (*resume)(struct target *target);
    // Whether a thread stands where it stood then.
    bool (*still)(const struct target *target,
                  const struct target_thread *thread);
    void (*moment)(struct target *target, struct target_moment *ret_moment);
    // Its mappings, as the lines of /proc/PID/maps. NULL: errno says why.
    FILE *(*maps)(struct target *target);
    // Where the file of a module can be had but at its path, or NULL: nowhere.
    // -ENOMEM.
    int (*file)(struct target *target, const char *path, bool is_exe,
                char **ret_file);
    // What one of its descriptors is, or NULL.
    char *(*descriptor)(struct target *target, int fd);
    // The name of a thread, which has room for 16 bytes; empty: not known.
    void (*thread_name)(struct target *target, int tid, char *ret_name);
    // Fills in pid, executable, arguments, host and start. 0 or -ENOMEM.
    int (*describe)(struct target *target, struct weft_dump *dump);
    // What of it could not be had, in words, or NULL; and how many pages of
    // memory. NULL: all could.
    char *(*missing)(struct target *target, uint64_t *ret_pages);
};

struct target {
    struct space space;
    const struct target_kind *kind;
    enum model_method method; // MODEL_PTRACE, or, by its opener's wish,
                              // MODEL_UNSTOPPED; or MODEL_CORE
    bool frozen;              // it does not run on before all has been read
    int pid;
    int living;     // one of its threads, by which its memory is reached
    int memory;     // /proc/PID/task/TID/mem
    bool elsewhere; // in another PID namespace
    struct target_thread *threads;
    size_t thread_count, thread_room;
    struct port_thread tracer; // while it stands
    atomic_u32 stage;          // T1 in target.c
    int refused;               // what the tracer was refused with, or 0
    sigset_t signals;          // the caller's mask, while it stands
    int64_t stopped_ns;        // since when it stands, or
    int64_t stood_ns;          // how long it did
    int64_t took_ns;           // of a saved dump: how long all took; else 0
    char problem[256];         // why the last call failed
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
