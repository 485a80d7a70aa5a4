// barrier.h -- The two barriers of a dump: all meet, one leads, all are let go.
#ifndef WEFT_DUMP_BARRIER_H
#define WEFT_DUMP_BARRIER_H

#include "base/lock.h"
#include "port/port.h"

enum place {
    PLACE_AWAITED, // expected to come
    PLACE_AWAY,    // out: counts as present, without being woken
    PLACE_EXCUSED, // may come, but is not waited for
    PLACE_ARRIVED, // waits here
    PLACE_LEADER,
    PLACE_MISSING, // had not come when the barrier closed
    PLACE_LATE,    // came after that, and waits here
};

enum pass {
    PASS_NONE,     // no meeting: go on
    PASS_LEADER,   // lead, then call barrier_end
    PASS_FOLLOWER, // let go again: the leader is done
};

// The lock guards everything; `started` and `ended` are also slept on.
struct barrier {
    struct lock lock;
    bool active;         // from barrier_begin to barrier_end
    bool open;           // arrivals still count
    uint32_t count;      // of participants
    uint32_t arrived;    // places ARRIVED
    uint32_t away;       // places AWAY or EXCUSED
    uint8_t *places;     // enum place of each
    int64_t deadline_ns; // of the start barrier
    atomic_u32 started;  // generation: moves when the start barrier closes
    atomic_u32 ended;    // generation: moves when the leader is done
};

// 0 or -ENOMEM.
int barrier_init(struct barrier *barrier, uint32_t count);
void barrier_deinit(struct barrier *barrier);

// Opens a meeting of all, none of them away; the lock is held and no meeting
// is active.
void barrier_begin(struct barrier *barrier, int64_t deadline_ns);

// Counts one as present without its coming; the lock is held, after begin.
void barrier_count_away(struct barrier *barrier, uint32_t who);

// Nobody waits for one, though it is not out: it is missing if it has not come
// when the meeting closes. The lock is held, after begin.
void barrier_excuse(struct barrier *barrier, uint32_t who);

// One who is asked to come: waits until the meeting is complete or its time
// is up, then leads or waits for the leader.
enum pass barrier_meet(struct barrier *barrier, uint32_t who);

// One who stands outside takes the lead if nobody inside can: all are away, or
// time is up and none has arrived. The lock is held. True: call barrier_end.
bool barrier_lead_outside(struct barrier *barrier);

// Where one is now: who is MISSING may come at any moment. The caller leads.
enum place barrier_place(struct barrier *barrier, uint32_t who);

// The leader is done: lets everyone go. The lock is held by the caller, who
// wakes the sleepers with barrier_wake after giving it back.
void barrier_end(struct barrier *barrier);
void barrier_wake(struct barrier *barrier);

#endif
