// crew.h -- Which workers run, and who takes the place of one that is stuck.
#ifndef WEFT_SCHED_CREW_H
#define WEFT_SCHED_CREW_H

#include "base/lock.h"

struct weft_runtime;
struct worker;

// A worker runs tasks while it has one of the runtime's places.
enum duty {
    DUTY_RUN,   // it has one
    DUTY_AWAY,  // it is in a task, and its place was given away
    DUTY_SPARE, // it sleeps until it gets one
};

// The laws cited here stand in crew.c. `lock` is the shared queue's.
struct crew {
    uint32_t room;        // constant: the most workers there can be
    atomic_u32 limit;     // places; under lock; relaxed otherwise: a figure
    uint32_t *spares;     // indexes of workers, newest last; under lock
    uint32_t count;       // of spares; under lock
    struct lock hiring;   // held by whoever starts a thread; before `lock`
    uint32_t hired;       // workers started; under hiring
    bool ended;           // under hiring
    atomic_u64 hand_offs; // a figure
};

// 0 or -ENOMEM.
int crew_init(struct crew *crew, uint32_t workers, uint32_t room);
void crew_deinit(struct crew *crew);

// Starts the first threads. False: not all could be had; those that run are to
// be ended.
bool crew_start(struct weft_runtime *runtime);

// Takes all places, starts no more threads, and waits for those that there are:
// the runtime has ended.
void crew_end(struct weft_runtime *runtime);

// By a worker's thread as it begins: it is there. D4.
void crew_join(struct worker *worker);

// By any thread: what is queued in this worker goes to the shared queue.
void crew_relieve(struct worker *worker);

// By any thread: takes the place of a worker that is in a task, if it has one,
// and what is queued in it.
void crew_hand_off(struct worker *worker);

// By any thread: free places go to spares; new ones are started if need be.
void crew_fill(struct weft_runtime *runtime);

// By a worker without a place, in its task: true if it got one back.
bool crew_try_return(struct worker *worker);

// The same by one between two tasks. False: none is free, and it is a spare
// now, which shall sleep until its duty is DUTY_RUN.
bool crew_return(struct worker *worker);

// By any thread: how many places there are from now on.
void crew_set_limit(struct weft_runtime *runtime, uint32_t limit);

#endif
