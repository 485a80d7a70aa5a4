// refusal.h -- Why one process may not look into another, in words.
#ifndef WEFT_REMOTE_REFUSAL_H
#define WEFT_REMOTE_REFUSAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What the kernel says of both that its rules look at. -1 where it does not.
struct refusal {
    int pid;
    bool exists;
    int thread_of; // pid is but a thread of this one, or 0
    bool kernel;   // a thread of the kernel's
    bool ended;    // all of it has ended, and waits for its parent
    int tracer;    // who traces it, or 0
    char tracer_name[32];
    int64_t user;     // whose it is, and
    int64_t own_user; // who asks
    bool sealed;      // it has made itself undumpable
    uint64_t lacking; // capabilities that it has and the asker lacks
    int yama;         // kernel.yama.ptrace_scope
    bool may_trace;   // the asker has CAP_SYS_PTRACE
    bool apart;       // the asker is in a user namespace of its own
    bool filtered;    // the asker is under a filter of system calls
    bool readable;    // its memory can be read: so only the stop was refused
    int error;        // what was refused with
};

// Asks the kernel. `readable` and `error` are the caller's to fill in.
void refusal_read(struct refusal *refusal, int pid);

// The rule, and the way round it: one sentence or two.
void refusal_explain(const struct refusal *refusal, char *ret_text,
                     size_t room);

#endif
