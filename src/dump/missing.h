// missing.h -- Workers that did not come to the meeting, found where they are.
#ifndef WEFT_DUMP_MISSING_H
#define WEFT_DUMP_MISSING_H

#include "dump/barrier.h"
#include "dump/capture.h"
#include "dump/standing.h"

// A worker that did not come, and the task that it is inside of.
struct missing {
    uint32_t worker;        // index
    struct task *task;      // NULL: between two tasks, where it will stop
    bool found;             // `where` says where it stands
    struct running running; // the task
    struct standing_result where;
};

// By the leader, once the meeting has closed without them. Finds out where
// each stands, for which there is time until the deadline; who comes meanwhile
// is missing no longer. Those that are missing at the end are in `list`, which
// has room for all workers, their tasks taken (task.h S1). Their number.
uint32_t missing_find(struct weft_runtime *runtime, struct barrier *barrier,
                      uint32_t epoch, int64_t deadline_ns,
                      struct missing *list);

// Afterwards, when the world runs on: unwinds what was found, and puts the task
// into the store.
void missing_capture(const struct picture *picture, struct cfi_cache *cache,
                     struct missing *missing);

#endif
