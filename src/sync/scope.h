// scope.h -- A scope as the dump must see it.
#ifndef WEFT_SYNC_SCOPE_H
#define WEFT_SYNC_SCOPE_H

#include <weft/scope.h>

#include "sync/object.h"

// Its owner is the task that has entered it.
struct scope {
    struct object object;      // guards what follows, but for what never
                               // changes; its waiter is the owner
    struct task_owner tell;    // how children report their end
    struct list children;      // I1
    struct list ended;         // I4
    struct list spawners;      // who waits for a place: I5
    struct task *owner;        // never changes
    struct scope *outer;       // I3
    int64_t deadline_ns;       // the earliest of this scope's and, unless it
                               // is a shield, its outers'; never changes
    int64_t outer_deadline_ns; // the owner's, outside
    uint32_t limit;            // never changes; 0: none
    uint32_t running;          // places taken: I5
    uint32_t blocked;          // children among the spawners
    uint32_t level;            // task.h; never changes
    uint32_t outer_shield;     // the owner's, outside
    int error;                 // of the first child to fail, or 0
    bool fail_fast;            // never changes
    bool keep;                 // never changes
    bool canceled;
};

// The scope whose child a task is: what a task that leaves that scope waits
// for; or 0.
uintptr_t scope_address(const struct task *task);

void scope_describe(const struct scope *scope, struct object_facts *ret_facts);

#endif
