// outside.h -- Threads that are no workers, while a call of weft's blocks them.
//
// Such a thread enlists for the time of its wait, so that dumps can show it.
// What it says of its wait is copied when it enlists: a dump never follows a
// pointer of another thread's.
#ifndef WEFT_SYNC_OUTSIDE_H
#define WEFT_SYNC_OUTSIDE_H

#include "base/list.h"
#include "sched/runtime.h"

struct wait;

// The list, for those who read it from outside the process.
extern struct list outside_all;

// One thread, on its own stack. All of it is constant while it is enlisted,
// but for `link`, which the list's lock guards.
struct outsider {
    struct list link;
    uint64_t serial; // differs from that of every other wait
    int tid;
    bool ends;                          // it ends `runtime`
    const struct weft_runtime *runtime; // what it waits for belongs to, or NULL
    char runtime_name[WEFT_NAME_MAX];   // of that
    enum weft_wait_kind kind;           // unless `ends`
    uintptr_t object;                   // address
    char object_name[WEFT_NAME_MAX];    // or empty
    uint64_t task;                      // id of the task to join, or 0
    int64_t deadline_ns;                //
    uint64_t since;                     // ticks
};

// Enlists the calling thread, which is about to block for `wait` (NULL: until a
// runtime has ended). `runtime` is the one that it waits for something of, or
// NULL. The lock of the object waited for may be held.
void outside_enter(struct outsider *outsider, const struct wait *wait,
                   const struct weft_runtime *runtime);
void outside_leave(struct outsider *outsider);

// Copies those that are enlisted, at most `room`, and returns how many there
// are. `link` is meaningless in a copy.
size_t outside_copy(struct outsider *copies, size_t room);

// Whether a wait that was copied still lasts.
bool outside_lasts(uint64_t serial);

#endif
