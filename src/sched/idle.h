// idle.h -- Who sleeps, who searches, and whom to wake.
#ifndef WEFT_SCHED_IDLE_H
#define WEFT_SCHED_IDLE_H

#include "base/lock.h"

struct idle {
    struct lock *lock; // the inject queue's
    atomic_u32 state;  // asleep << 16 | searching; H2 in idle.c
    // How many have a place to run (crew.h). Written under lock; relaxed: for
    // those who read it without, a figure.
    atomic_u32 workers;
    uint32_t room;      // constant: of `sleepers`
    uint32_t *sleepers; // indexes of workers, newest last; under lock
    uint32_t count;     // of sleepers; under lock
};

// All workers begin awake; there may be `room` of them later. 0 or -ENOMEM.
int idle_init(struct idle *idle, struct lock *lock, uint32_t workers,
              uint32_t room);
void idle_deinit(struct idle *idle);

// After work was made visible: takes a sleeper out, which the caller must wake
// with park_wake; it wakes as a searcher. False: nobody needs waking.
bool idle_pick(struct idle *idle, uint32_t *ret_worker);

// A worker asks to search the others' queues. False: enough do.
bool idle_try_search(struct idle *idle);

// A searcher stops searching, having found work. True: it was the last one,
// and must pick another if there may be more work.
bool idle_end_search(struct idle *idle);

// A worker goes to sleep. It must then look once more at every queue, and pick
// a worker if it finds something.
void idle_enter(struct idle *idle, uint32_t worker, bool searching);

// A worker is awake, for whatever reason. True: it was picked, and searches.
// False: nobody picked it; it is still in the set, unless `has_work`, which
// takes it out, awake and not searching.
bool idle_leave(struct idle *idle, uint32_t worker, bool has_work);

// How many sleep; a moment old.
static inline uint32_t idle_sleepers(const struct idle *idle)
{
    return load_relaxed(&idle->state) >> 16;
}

// Whether nobody is awake who has a place to run; a moment old.
static inline bool idle_all_asleep(const struct idle *idle)
{
    return idle_sleepers(idle) >= load_relaxed(&idle->workers); // a figure
}

#endif
