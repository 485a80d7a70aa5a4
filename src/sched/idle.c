// idle.c -- Who sleeps, who searches, and whom to wake.
//
// The two sides of the handshake, to be read together:
//
//   one who adds work                 a worker that finds none
//   1. puts the task into a queue     1. idle_enter: counts itself out
//   2. idle_pick: loads the counts    2. looks at every queue once more
//
//   H1  All four are seq_cst, the publication in the queue included (queue.c
//       P4, inject.c N1, a core's next slot): at least one of the two sees the
//       other. Either the adder sees that nobody searches and wakes a sleeper,
//       or the one who goes to sleep sees the task and picks one itself.
//       Without step 2 on the right, a task pushed just before the count went
//       down would wait until something else happened. That only the last
//       searcher looks (Tokio) does not suffice: it may find other work, that
//       keeps it.
//   H2  The sleepers are exactly the workers that idle_enter put in and neither
//       idle_pick nor idle_leave has taken out, and `state` counts them
//       whenever the lock is free. Each is in the set at most once: a worker
//       that wakes unasked stays in it or takes itself out; it never enters
//       twice (Tokio #8372).
//   H3  While one searches, adders wake nobody; a searcher that finds work and
//       was the last picks the next one, so waking spreads as far as there is
//       work, and no farther.
//
// At most half of the workers search at a time: more would only contend.
#include "sched/idle.h"

#include <errno.h>
#include <stdlib.h>

#include "base/panic.h"

enum {
    ONE_ASLEEP = 1 << 16,
    ONE_SEARCHING = 1,
};

static uint32_t asleep(uint32_t state)
{
    return state >> 16;
}

static uint32_t searching(uint32_t state)
{
    return state & 0xffff;
}

int idle_init(struct idle *idle, struct lock *lock, uint32_t workers,
              uint32_t room)
{
    *idle = (struct idle){.lock = lock, .room = room};
    store_relaxed(&idle->workers, workers); // not shared yet
    idle->sleepers = calloc(room, sizeof *idle->sleepers);
    return idle->sleepers == NULL ? -ENOMEM : 0;
}

void idle_deinit(struct idle *idle)
{
    free(idle->sleepers);
}

static bool may_pick(struct idle *idle)
{
    uint32_t state = load_seq_cst(&idle->state); // H1

    return searching(state) == 0 && asleep(state) > 0; // H3
}

bool idle_pick(struct idle *idle, uint32_t *ret_worker)
{
    bool picked = false;

    if (!may_pick(idle))
        return false;
    lock_acquire(idle->lock);
    if (may_pick(idle)) {
        ensure(idle->count > 0); // H2
        *ret_worker = idle->sleepers[--idle->count];
        (void)sub_seq_cst(&idle->state, ONE_ASLEEP - ONE_SEARCHING); // H1
        picked = true;
    }
    lock_release(idle->lock);
    return picked;
}

bool idle_try_search(struct idle *idle)
{
    // Moments old will do: the limit is a matter of economy.
    if (2 * searching(load_relaxed(&idle->state)) >=
        load_relaxed(&idle->workers))
        return false;
    (void)add_seq_cst(&idle->state, ONE_SEARCHING); // H1
    return true;
}

bool idle_end_search(struct idle *idle)
{
    return searching(sub_seq_cst(&idle->state, ONE_SEARCHING)) == 1; // H1, H3
}

void idle_enter(struct idle *idle, uint32_t worker, bool is_searching)
{
    uint32_t more = ONE_ASLEEP - (is_searching ? ONE_SEARCHING : 0);

    lock_acquire(idle->lock);
    ensure(idle->count < idle->room); // H2
    idle->sleepers[idle->count++] = worker;
    (void)add_seq_cst(&idle->state, more); // H1
    lock_release(idle->lock);
}

// Takes a worker out of the set, if it is in; the lock is held.
static bool take_out(struct idle *idle, uint32_t worker)
{
    for (uint32_t i = 0; i < idle->count; i++) {
        if (idle->sleepers[i] != worker)
            continue;
        idle->sleepers[i] = idle->sleepers[--idle->count];
        (void)sub_seq_cst(&idle->state, ONE_ASLEEP); // H2
        return true;
    }
    return false;
}

static bool listed(const struct idle *idle, uint32_t worker)
{
    for (uint32_t i = 0; i < idle->count; i++)
        if (idle->sleepers[i] == worker)
            return true;
    return false;
}

bool idle_leave(struct idle *idle, uint32_t worker, bool has_work)
{
    lock_acquire(idle->lock);
    bool picked = has_work ? !take_out(idle, worker) : !listed(idle, worker);
    lock_release(idle->lock);
    return picked;
}
