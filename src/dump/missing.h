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
    struct running running; // the task; the stack by who has the `turn`
    atomic_u32 turn;        // enum turn: M1
    uint64_t run;           // of the task: the count in its state word
    bool ended;             // the task had just ended
    bool asked;             // its thread, and the answer is not yet taken
    struct standing_result where;
    int64_t in_call_ns; // for how long at least, in a system call; or 0
};

// By the leader, once the meeting has closed without them: lists those that are
// inside a task or between two, their tasks taken (task.h S1). `list` has room
// for all workers. Their number.
uint32_t missing_list(struct weft_runtime *runtime, struct barrier *barrier,
                      uint32_t epoch, struct missing *list);

// By a worker that is about to run a task, while the epoch is open: captures
// the stack if that is looked for.
void missing_meet(struct missing *list, uint32_t count, struct cfi_cache *cache,
                  const struct task *task);

// By the conductor, when the world runs on. First asks where they all stand:
// who sits in a system call is read at once, who runs answers in its
// processor's next tick.
void missing_ask(struct weft_runtime *runtime, struct missing *list,
                 uint32_t count);

// Then takes the answers, for which there is time until the deadline. The epoch
// is still open.
void missing_take(const struct picture *picture, struct cfi_cache *cache,
                  struct missing *list, uint32_t count, int64_t deadline_ns);

// Whether the task's stack is known, or it has none any more; if not, `where`
// says why.
bool missing_is_found(struct missing *missing);

// Puts the tasks into the store.
void missing_capture(const struct picture *picture, struct missing *list,
                     uint32_t count);

#endif
