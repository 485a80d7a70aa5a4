// waitgroup.c -- A count of things under way, and those who wait until none is.
//
//   G1  state holds the count, times two, and CONTENDED, and changes by CAS.
//       CONTENDED is set under the lock, while the count is not 0, by one who
//       then waits.
//   G2  The step from 1 to 0 with CONTENDED set is made under the lock, clears
//       it, and wakes all who wait. So nobody waits while the count is 0.
//   P1  done (CAS release) -> wait (load acquire), or the last done (CAS
//       acq_rel), then the waking: sees what was done before.
#include "sync/waitgroup.h"

#include <errno.h>

#include "sync/clause.h"

_Static_assert(sizeof(struct waitgroup) <= sizeof(weft_waitgroup),
               "opaque too small");
_Static_assert(WEFT_OBJECT_WAITGROUP == 8, "WEFT_WAITGROUP_INIT says so");

#define CONTENDED ((uint64_t)1)
#define ONE ((uint64_t)2)
#define COUNT(state) ((state) / ONE)

static struct waitgroup *inside(weft_waitgroup *group)
{
    return object_inside(group, WEFT_OBJECT_WAITGROUP);
}

void waitgroup_describe(const struct waitgroup *group,
                        struct object_facts *ret_facts)
{
    ret_facts->used = COUNT(load_relaxed(&group->state)); // a figure
}

int weft_waitgroup_init(weft_waitgroup *group, const char *name)
{
    struct waitgroup *g = (struct waitgroup *)group;

    if (g == NULL)
        return -EINVAL;
    *g = (struct waitgroup){0};
    object_init(&g->object, WEFT_OBJECT_WAITGROUP, name);
    return 0;
}

int weft_waitgroup_deinit(weft_waitgroup *group)
{
    struct waitgroup *g = inside(group);

    if (g == NULL)
        return -EINVAL;
    lock_acquire(&g->object.lock);
    return object_deinit(&g->object, COUNT(load_acquire(&g->state)) != 0); // P1
}

int weft_waitgroup_add(weft_waitgroup *group, uint32_t more)
{
    struct waitgroup *g = inside(group);

    if (g == NULL)
        return -EINVAL;
    uint64_t state = load_relaxed(&g->state); // a guess: the CAS decides
    do {
        if (COUNT(state) + more > INT32_MAX)
            return -EOVERFLOW;
    } while (!cas_relaxed(&g->state, &state, state + more * ONE)); // G1
    return 0;
}

// The last, with others waiting: G2. The lock is held.
static int finish(struct waitgroup *g)
{
    uint64_t state = load_relaxed(&g->state); // a guess: the CAS decides
    uint64_t after;

    do {
        if (COUNT(state) == 0)
            return -EINVAL;
        after = COUNT(state) == 1 ? 0 : state - ONE;
    } while (!cas_acq_rel(&g->state, &state, after)); // G1, P1
    if (after == 0)
        object_wake_all(&g->object);
    return 0;
}

int weft_waitgroup_done(weft_waitgroup *group)
{
    struct waitgroup *g = inside(group);

    if (g == NULL)
        return -EINVAL;
    uint64_t state = load_relaxed(&g->state); // a guess: the CAS decides
    while (state != (ONE | CONTENDED)) {
        if (COUNT(state) == 0)
            return -EINVAL;
        if (cas_release(&g->state, &state, state - ONE)) // G1, P1
            return 0;
    }
    lock_acquire(&g->object.lock);
    int error = finish(g);
    lock_release(&g->object.lock);
    return error;
}

// G1: true if there is something to wait for. The lock is held.
static bool mark(struct waitgroup *g)
{
    uint64_t state = load_acquire(&g->state); // P1

    while (COUNT(state) != 0)
        // Acquires what it fails on too: that may be the last done.
        if (cas_acq_rel(&g->state, &state, state | CONTENDED)) // G1, P1
            return true;
    return false;
}

static int wait_for(struct waitgroup *g, int64_t deadline_ns)
{
    struct waiter waiter;
    struct wait wait = {
        .kind = WEFT_WAIT_WAITGROUP,
        .object = g,
        .fd = -1,
        .deadline_ns = deadline_ns,
    };
    int error = 0;

    lock_acquire(&g->object.lock);
    if (mark(g)) {
        error = object_wait(&g->object, &wait, &waiter);
        if (error == 0)
            return 0;
    }
    lock_release(&g->object.lock);
    return error;
}

int weft_waitgroup_wait(weft_waitgroup *group, int64_t deadline_ns)
{
    struct waitgroup *g = inside(group);

    if (g == NULL)
        return -EINVAL;
    if (COUNT(load_acquire(&g->state)) != 0) // P1
        return wait_for(g, deadline_ns);
    sched_spend();
    return 0;
}

// ---- As a clause. ----

static int find(struct clause *clause)
{
    return clause_find(clause, WEFT_OBJECT_WAITGROUP);
}

static bool try(struct clause *clause)
{
    const struct waitgroup *g = clause->object;

    return COUNT(load_acquire(&g->state)) == 0; // P1
}

static bool enter(struct clause *clause)
{
    struct waitgroup *g = clause->object;

    if (!mark(g))
        return true;
    object_enter(&g->object, &clause->own.waiter);
    return false;
}

static void leave(struct clause *clause)
{
    struct waitgroup *g = clause->object;

    object_leave(&g->object, &clause->own.waiter);
}

const struct clause_kind waitgroup_clause = {
    WEFT_WAIT_WAITGROUP, find, try, enter, leave, NULL, NULL};
