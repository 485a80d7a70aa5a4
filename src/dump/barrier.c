// barrier.c -- The two barriers of a dump: all meet, one leads, all are let go.
//
//   I1  arrived and away count the places of those names; while the meeting is
//       open, both only of this meeting: begin sets every place to AWAITED.
//   I2  The meeting closes once, by whoever completes it or by the first whose
//       time is up, under the lock: `open` falls, `started` moves, and exactly
//       that one leads. Who had not come is MISSING; for an EXCUSED one the
//       meeting has not waited.
//   I3  A time-out takes its arrival back under the lock before anything else;
//       so an arrival is never counted for someone who has left. If `started`
//       has moved meanwhile, the time-out came too late: it is a pass.
//   I4  Who comes when the meeting is closed is not counted; it waits for the
//       end like a follower, and is LATE if it was MISSING. So while the
//       leader leads nobody goes on, save who is MISSING, within the task that
//       it was in.
//   P1  The lock orders all: what followers did before they arrived is seen by
//       the leader, what the leader did before `ended` moved, by them. The
//       generations are read (acquire) only to sleep on them.
//
// Rejected: each waiter with a time-out of its own that leaves (Tokio): late
// ones then add up, and a leader leads without the others (Tokio #8370).
#include "dump/barrier.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const int64_t SPIN_NS = 50000;

int barrier_init(struct barrier *barrier, uint32_t count)
{
    *barrier = (struct barrier){.count = count};
    barrier->places = calloc(count, 1);
    return barrier->places == NULL ? -ENOMEM : 0;
}

void barrier_deinit(struct barrier *barrier)
{
    free(barrier->places);
}

void barrier_begin(struct barrier *barrier, int64_t deadline_ns)
{
    memset(barrier->places, PLACE_AWAITED, barrier->count); // I1
    barrier->arrived = 0;
    barrier->away = 0;
    barrier->deadline_ns = deadline_ns;
    barrier->active = true;
    barrier->open = true;
}

void barrier_count_away(struct barrier *barrier, uint32_t who)
{
    barrier->places[who] = PLACE_AWAY;
    barrier->away++;
}

void barrier_excuse(struct barrier *barrier, uint32_t who)
{
    barrier->places[who] = PLACE_EXCUSED;
    barrier->away++;
}

// I2. The lock is held.
static void close_meeting(struct barrier *barrier)
{
    for (uint32_t i = 0; i < barrier->count; i++)
        if (barrier->places[i] == PLACE_AWAITED ||
            barrier->places[i] == PLACE_EXCUSED)
            barrier->places[i] = PLACE_MISSING;
    barrier->open = false;
    store_release(&barrier->started,
                  load_relaxed(&barrier->started) + 1); // P1
    port_futex_wake(&barrier->started, UINT32_MAX);
}

static void arrive(struct barrier *barrier, uint32_t who)
{
    if (barrier->places[who] == PLACE_AWAY ||
        barrier->places[who] == PLACE_EXCUSED)
        barrier->away--;
    barrier->places[who] = PLACE_ARRIVED;
    barrier->arrived++;
}

// I3. The lock is held.
static void take_back(struct barrier *barrier, uint32_t who)
{
    barrier->places[who] = PLACE_AWAITED;
    barrier->arrived--;
}

static enum pass lead(struct barrier *barrier, uint32_t who)
{
    barrier->places[who] = PLACE_LEADER;
    close_meeting(barrier);
    return PASS_LEADER;
}

// A meeting of workers that run short tasks is over in some microseconds, and
// to be woken takes 50: so look for a while before sleeping.
static void spin(const atomic_u32 *generation, uint32_t now)
{
    int64_t until_ns = port_now() + SPIN_NS;

    while (load_acquire(generation) == now && port_now() < until_ns) // P1
        port_pause();
}

// Sleeps until a generation moves. The lock is given back before and held
// again after. 0, or -ETIMEDOUT though it may have moved just then.
static int sleep_until_moved(struct barrier *barrier, atomic_u32 *generation,
                             int64_t deadline_ns)
{
    uint32_t now = load_relaxed(generation); // under the lock
    int error = 0;

    lock_release(&barrier->lock);
    spin(generation, now);
    while (load_acquire(generation) == now && error != -ETIMEDOUT) // P1
        error = port_futex_wait(generation, now, deadline_ns);
    lock_acquire(&barrier->lock);
    return load_relaxed(generation) != now ? 0 : -ETIMEDOUT; // I3
}

// The lock is held; it is held after.
static enum pass follow(struct barrier *barrier)
{
    (void)sleep_until_moved(barrier, &barrier->ended, INT64_MAX);
    return PASS_FOLLOWER;
}

static enum pass meet(struct barrier *barrier, uint32_t who)
{
    if (!barrier->active)
        return PASS_NONE;
    if (!barrier->open) { // I4
        if (barrier->places[who] == PLACE_MISSING)
            barrier->places[who] = PLACE_LATE;
        return follow(barrier);
    }
    arrive(barrier, who);
    if (barrier->arrived + barrier->away == barrier->count)
        return lead(barrier, who); // I2
    if (sleep_until_moved(barrier, &barrier->started, barrier->deadline_ns)) {
        take_back(barrier, who); // I3
        return lead(barrier, who);
    }
    // The leader may have ended already, and the next meeting have begun.
    return barrier->places[who] == PLACE_ARRIVED && barrier->active &&
                   !barrier->open
               ? follow(barrier)
               : PASS_FOLLOWER;
}

enum pass barrier_meet(struct barrier *barrier, uint32_t who)
{
    lock_acquire(&barrier->lock);
    enum pass pass = meet(barrier, who);
    lock_release(&barrier->lock);
    return pass;
}

bool barrier_lead_outside(struct barrier *barrier)
{
    bool late = port_now() >= barrier->deadline_ns;

    if (!barrier->open || barrier->arrived > 0)
        return false;
    if (barrier->away < barrier->count && !late)
        return false;
    close_meeting(barrier); // I2
    return true;
}

enum place barrier_place(struct barrier *barrier, uint32_t who)
{
    lock_acquire(&barrier->lock);
    enum place place = barrier->places[who];
    lock_release(&barrier->lock);
    return place;
}

void barrier_end(struct barrier *barrier)
{
    barrier->active = false;
    store_release(&barrier->ended, load_relaxed(&barrier->ended) + 1); // P1
}

void barrier_wake(struct barrier *barrier)
{
    port_futex_wake(&barrier->ended, UINT32_MAX);
}
