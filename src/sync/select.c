// select.c -- Waiting for the first of several things.
//
//   L1  All locks of a select's clauses are taken together, in order of address
//       and each once, and no other lock of an object is held then. So no two
//       selects wait for each other here.
//   L2  While they are held nothing can be fired through a clause (waiter.c
//       W4): they are tried, or put into queues, as if in one moment. Only then
//       is the wait announced, and the locks given back.
//   L3  Once it runs again, the select takes every clause out of its queue
//       under its object's lock, the chosen one too: by then whoever chose it
//       has done with it.
#include "sync/clause.h"
#include "sync/interval.h"
#include "sync/wall.h"

enum { CLAUSES_MAX = 65535, KIND_LAST = WEFT_CLAUSE_WALL };

_Static_assert(sizeof(struct clause) == sizeof(weft_clause),
               "opaque too small");
_Static_assert(offsetof(struct clause, lock) == offsetof(weft_clause, opaque),
               "the head differs");

// A select in progress.
struct select {
    struct clause *clauses;
    uint32_t count;
    int64_t time_ns; // earliest of its clauses' times, as last reckoned
    uint32_t timed;  // which that is
    struct waiter base;
};

static const struct clause_kind *kind_of(const struct clause *clause)
{
    static const struct clause_kind *const kinds[] = {
        [WEFT_CLAUSE_SEND] = &send_clause,
        [WEFT_CLAUSE_RECV] = &recv_clause,
        [WEFT_CLAUSE_LOCK] = &lock_clause,
        [WEFT_CLAUSE_LOCK_READ] = &lock_read_clause,
        [WEFT_CLAUSE_LOCK_WRITE] = &lock_write_clause,
        [WEFT_CLAUSE_ACQUIRE] = &acquire_clause,
        [WEFT_CLAUSE_EVENT] = &event_clause,
        [WEFT_CLAUSE_WAITGROUP] = &waitgroup_clause,
        [WEFT_CLAUSE_JOIN] = &join_clause,
        [WEFT_CLAUSE_READABLE] = &readable_clause,
        [WEFT_CLAUSE_WRITABLE] = &writable_clause,
        [WEFT_CLAUSE_BROADCAST] = &broadcast_clause,
        [WEFT_CLAUSE_WATCH] = &watch_clause,
        [WEFT_CLAUSE_NEXT] = &next_clause,
        [WEFT_CLAUSE_WALL] = &wall_clause,
    };

    return kinds[clause->kind];
}

// ---- Times. ----

// When a clause can be carried out by the passing of time, if nothing else
// comes between; or WEFT_NEVER.
static int64_t time_of(const struct clause *clause)
{
    switch (clause->kind) {
    case WEFT_CLAUSE_TIME:
        return (int64_t)clause->number;
    case WEFT_CLAUSE_INTERVAL:
        return weft_interval_next(clause->object);
    case WEFT_CLAUSE_WALL:
        return wall_deadline((int64_t)clause->number);
    default:
        return WEFT_NEVER;
    }
}

// Anew for each wait, for the wall clock may have been set. The locks are held,
// the clock's too: wall.c W1.
static void find_time(struct select *select)
{
    select->time_ns = WEFT_NEVER;
    for (uint32_t i = 0; i < select->count; i++) {
        int64_t time_ns = time_of(&select->clauses[i]);
        if (time_ns >= select->time_ns)
            continue;
        select->time_ns = time_ns;
        select->timed = i;
    }
}

// Carries out a clause without a lock, if its time has come.
static bool take_time(struct clause *clause)
{
    int64_t now_ns = port_now();
    int64_t time_ns = time_of(clause);

    if (time_ns == WEFT_NEVER || time_ns > now_ns)
        return false;
    if (clause->kind == WEFT_CLAUSE_INTERVAL)
        clause->result = interval_take(clause->object, now_ns);
    return true;
}

// ---- Preparing. ----

static void drop(struct select *select, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct clause *clause = &select->clauses[i];
        const struct clause_kind *kind = kind_of(clause);
        if (kind != NULL && kind->drop != NULL)
            kind->drop(clause);
    }
}

static int find(struct clause *clause, uintptr_t pc)
{
    const struct clause_kind *kind;

    if ((unsigned)clause->kind > KIND_LAST)
        return -EINVAL;
    clause->result = 0;
    clause->lock = NULL;
    clause->pc = pc;
    clause->own.waiter.link = (struct list){0};
    kind = kind_of(clause);
    if (kind != NULL)
        return kind->find(clause);
    if (clause->kind == WEFT_CLAUSE_INTERVAL &&
        weft_interval_next(clause->object) < 0)
        return -EINVAL;
    return 0;
}

static int find_all(struct select *select, uintptr_t pc)
{
    for (uint32_t i = 0; i < select->count; i++) {
        int error = find(&select->clauses[i], pc);
        if (error != 0) {
            drop(select, i);
            return error;
        }
    }
    return 0;
}

// `turn`: every order is equally likely.
static void shuffle(struct select *select)
{
    struct clause *clauses = select->clauses;
    uint64_t random = sched_random();

    for (uint32_t i = 0; i < select->count; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint32_t at = (uint32_t)((random >> 32) * (i + 1) >> 32);
        clauses[i].turn = clauses[at].turn;
        clauses[at].turn = i;
    }
}

// ---- All locks: L1. ----

static uintptr_t nth_lock(const struct select *select, uint32_t n)
{
    return (uintptr_t)select->clauses[select->clauses[n].rank].lock;
}

static void swap_ranks(struct select *select, uint32_t i, uint32_t j)
{
    uint32_t rank = select->clauses[i].rank;

    select->clauses[i].rank = select->clauses[j].rank;
    select->clauses[j].rank = rank;
}

// Of the first `count` ranks as a heap, the greatest first: lets the one at
// `i` down to where it belongs.
static void sift(struct select *select, uint32_t i, uint32_t count)
{
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= count)
            return;
        if (child + 1 < count &&
            nth_lock(select, child) < nth_lock(select, child + 1))
            child++;
        if (nth_lock(select, i) >= nth_lock(select, child))
            return;
        swap_ranks(select, i, child);
        i = child;
    }
}

static void rank(struct select *select)
{
    uint32_t count = select->count;

    for (uint32_t i = 0; i < count; i++)
        select->clauses[i].rank = i;
    for (uint32_t i = count / 2; i > 0; i--)
        sift(select, i - 1, count);
    for (uint32_t i = count; i > 1; i--) {
        swap_ranks(select, 0, i - 1);
        sift(select, 0, i - 1);
    }
}

// Acquires or releases each once.
__attribute__((always_inline)) static inline void each_lock(
    const struct select *select, void (*act)(struct lock *lock))
{
    uintptr_t last = 0;

    for (uint32_t i = 0; i < select->count; i++) {
        uintptr_t next = nth_lock(select, i);
        if (next != last)
            act((struct lock *)next);
        last = next;
    }
}

// ---- Choosing. ----

// In place of an index. No error that comes out of a wait is one of these.
enum { NOBODY = -1, AGAIN = -2 };

static bool try(struct clause *clause)
{
    const struct clause_kind *kind = kind_of(clause);

    if (kind == NULL)
        return take_time(clause);
    return clause->lock == NULL || kind->try(clause); // or `find` has failed
}

// The locks are held. The index of a clause that could be carried out, and
// was, or NOBODY.
static int try_all(struct select *select)
{
    for (uint32_t i = 0; i < select->count; i++) {
        uint32_t at = select->clauses[i].turn;
        if (try(&select->clauses[at]))
            return (int)at;
    }
    return NOBODY;
}

static void leave(struct clause *clause)
{
    const struct clause_kind *kind = kind_of(clause);

    if (kind != NULL)
        kind->leave(clause);
}

// The locks are held. As above: what has no lock to be changed under may be had
// by now. Else all are in their queues, those of one object in the order of
// `turn`, too: it is served from the front.
static int enter_all(struct select *select)
{
    for (uint32_t i = 0; i < select->count; i++) {
        uint32_t at = select->clauses[i].turn;
        struct clause *clause = &select->clauses[at];
        const struct clause_kind *kind = kind_of(clause);
        clause->own.waiter.won = false;
        if (kind == NULL || !kind->enter(clause))
            continue;
        while (i > 0)
            leave(&select->clauses[select->clauses[--i].turn]);
        return (int)at;
    }
    return NOBODY;
}

// L2
static void publish(void *arg)
{
    struct select *select = arg;

    for (uint32_t i = 0; i < select->count; i++)
        waiter_follow(&select->clauses[i].own.waiter, &select->base);
    each_lock(select, lock_release);
}

// What it was chosen for still is so.
static bool is_so(struct clause *clause)
{
    const struct clause_kind *kind = kind_of(clause);

    return clause->result != 0 || kind->confirm == NULL ||
           kind->confirm(clause);
}

// L3: the index of the clause that was chosen, or NOBODY, or AGAIN.
static int leave_all(struct select *select, int outcome)
{
    int chosen = NOBODY;

    for (uint32_t i = 0; i < select->count; i++) {
        struct clause *clause = &select->clauses[i];
        if (clause->lock == NULL)
            continue;
        lock_acquire(clause->lock);
        leave(clause);
        if (clause->own.waiter.won) {
            clause->result = outcome;
            chosen = is_so(clause) ? (int)i : AGAIN;
        }
        lock_release(clause->lock);
    }
    return chosen;
}

// Nothing can be had at once. The locks are held, and given back.
static int wait_for(struct select *select, int64_t deadline_ns)
{
    find_time(select);
    bool timed = select->time_ns <= deadline_ns;
    struct wait wait = {
        .kind = WEFT_WAIT_SELECT,
        .object = select->clauses,
        .fd = (int)select->count,
        .deadline_ns = timed ? select->time_ns : deadline_ns,
    };
    int outcome = wait_park_among(&wait, &select->base, publish, select);
    int chosen = leave_all(select, outcome);

    if (chosen != NOBODY)
        return chosen;
    // A scope's deadline is no clause.
    if (outcome != -ETIMEDOUT || !timed || select->time_ns > port_now())
        return outcome;
    return try(&select->clauses[select->timed]) ? (int)select->timed : AGAIN;
}

static int choose(struct select *select, int64_t deadline_ns)
{
    shuffle(select);
    rank(select);
    each_lock(select, lock_acquire);
    int chosen = try_all(select);
    if (chosen == NOBODY && deadline_ns > 0)
        chosen = enter_all(select);
    if (chosen == NOBODY && deadline_ns > 0)
        return wait_for(select, deadline_ns);
    each_lock(select, lock_release);
    return chosen == NOBODY ? -ETIMEDOUT : chosen;
}

// ---- For dumps. ----

void clause_describe(const struct clause *clause,
                     struct clause_facts *ret_facts)
{
    const struct clause_shown *shown = (const void *)&clause->own;
    const struct clause_kind *kind =
        (unsigned)clause->kind <= KIND_LAST ? kind_of(clause) : NULL;

    *ret_facts = (struct clause_facts){.fd = -1};
    if (kind != NULL)
        ret_facts->wait = kind->wait;
    else if (clause->kind == WEFT_CLAUSE_TIME)
        ret_facts->wait = WEFT_WAIT_SLEEP;
    else if (clause->kind == WEFT_CLAUSE_INTERVAL)
        ret_facts->wait = WEFT_WAIT_INTERVAL;
    if (ret_facts->wait == WEFT_WAIT_JOIN) {
        ret_facts->task = shown->number;
    } else if (ret_facts->wait == WEFT_WAIT_FD) {
        ret_facts->fd = (int)shown->number;
        ret_facts->write = clause->kind == WEFT_CLAUSE_WRITABLE;
    } else if (ret_facts->wait != WEFT_WAIT_INTERVAL &&
               ret_facts->wait != WEFT_WAIT_WALL) {
        ret_facts->object = clause->object;
    }
}

// ---- Public. ----

int weft_select(weft_clause *clauses, size_t count, int64_t deadline_ns)
{
    struct select select = {
        .clauses = (struct clause *)clauses,
        .count = (uint32_t)count,
    };

    if (count > CLAUSES_MAX || (clauses == NULL && count > 0))
        return -EINVAL;
    int chosen = wait_interrupted(task_self());
    if (chosen == 0)
        chosen = find_all(&select, (uintptr_t)__builtin_return_address(0));
    if (chosen != 0)
        return chosen;
    do {
        chosen = choose(&select, deadline_ns);
    } while (chosen == AGAIN);
    drop(&select, select.count);
    sched_spend();
    return chosen;
}
