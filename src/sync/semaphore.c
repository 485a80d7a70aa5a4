// semaphore.c -- A number of permits that tasks and threads take and give.
//
//   S1  state holds the permits that are there, times two, and CONTENDED. With
//       CONTENDED clear it is changed by CAS of whoever takes or gives; with
//       CONTENDED set only under the lock.
//   S2  CONTENDED is set by CAS under the lock, by one who must wait, and
//       cleared there when the queue is empty. Whoever gives permits then, and
//       whoever gave up (others may want fewer than he did), serves the queue
//       from its front for as long as the permits last: so the first in line
//       always lacks some, and no permit lies idle that somebody can use.
//   S3  `taker` is who took the permit of a semaphore that began with one, as
//       its id, for the task may end without giving it back: 0 while nobody
//       has. Stored by whoever makes somebody the taker; cleared before the
//       permit is given. It and the words after it are figures for dumps,
//       hence relaxed.
//   P1  give (CAS release, or under the lock) -> take (CAS acquire, or the
//       waking): sees what was done before.
#include "sync/semaphore.h"

#include <errno.h>

#include "sync/clause.h"

_Static_assert(sizeof(struct semaphore) <= sizeof(weft_semaphore),
               "opaque too small");
_Static_assert(offsetof(struct semaphore, state) == sizeof(struct object) &&
                   offsetof(struct semaphore, began) ==
                       sizeof(struct object) + sizeof(uint64_t) &&
                   WEFT_OBJECT_SEMAPHORE == 3,
               "WEFT_SEMAPHORE_INIT says so");

#define CONTENDED ((uint64_t)1)
#define PERMITS(state) ((state) >> 1)
#define STATE_OF(permits) ((uint64_t)(permits) << 1)

// A thread's number as a taker: bit 63, which no task's id has.
#define TAKER_THREAD (UINT64_C(1) << 63)

// Who waits.
struct claim {
    struct waiter waiter;
    uint32_t permits;
    uint64_t taker;
    uintptr_t pc;
};

static uint64_t taker_of(const struct holder *self)
{
    return self->task != NULL ? self->task->id
                              : TAKER_THREAD | (uint64_t)holder_tid(self->word);
}

// S3
static void took(struct semaphore *s, uint64_t taker, uintptr_t pc,
                 uint64_t since)
{
    if (s->began != 1)
        return;
    store_relaxed(&s->taken_pc, pc);
    store_relaxed(&s->taken_since, since);
    store_relaxed(&s->taker, taker);
}

// S2: serves the queue from its front. The lock is held. With CONTENDED clear
// nobody waits, and the state is not ours to store.
static void serve(struct semaphore *s)
{
    uint64_t state = load_acquire(&s->state); // P1
    uint64_t permits = PERMITS(state);
    uint64_t since = port_ticks(); // the giver's last switch may be long ago
    struct waiter *waiter;

    if (!(state & CONTENDED))
        return;
    while ((waiter = object_first(&s->object)) != NULL) {
        struct claim *claim = container_of(waiter, struct claim, waiter);
        uint32_t wanted = claim->permits; // it may be gone once it is woken
        if (wanted > permits)
            break;
        took(s, claim->taker, claim->pc, since);
        if (object_wake_first(&s->object))
            permits -= wanted;
        else
            took(s, 0, 0, since);
    }
    store_release(&s->state,
                  STATE_OF(permits) | (waiter != NULL ? CONTENDED : 0)); // P1
}

// Takes permits if they are there and nobody waits. With `mark` it sets
// CONTENDED otherwise; the lock is held then (S2).
static bool take(struct semaphore *s, uint32_t permits, bool mark)
{
    uint64_t state = load_relaxed(&s->state); // a guess: the CAS decides

    for (;;) {
        bool free = !(state & CONTENDED) && PERMITS(state) >= permits;
        uint64_t wanted = free ? state - STATE_OF(permits) : state | CONTENDED;
        if (!free && (!mark || state & CONTENDED))
            return false;
        if (cas_acquire(&s->state, &state, wanted)) // S1, P1
            return free;
    }
}

static int wait_for(struct semaphore *s, uint32_t permits, int64_t deadline_ns,
                    uintptr_t pc)
{
    struct holder self = holder_self();
    struct claim claim = {
        .permits = permits, .taker = taker_of(&self), .pc = pc};
    struct wait wait = {
        .kind = WEFT_WAIT_SEMAPHORE,
        .object = s,
        .fd = -1,
        .deadline_ns = deadline_ns,
    };

    lock_acquire(&s->object.lock);
    if (take(s, permits, true)) {
        lock_release(&s->object.lock);
        took(s, claim.taker, pc, holder_since(&self));
        return 0;
    }
    int error = object_wait(&s->object, &wait, &claim.waiter);
    if (error != 0) {
        serve(s); // S2
        lock_release(&s->object.lock);
    }
    return error;
}

static int acquire(struct semaphore *s, uint32_t permits, bool wait,
                   int64_t deadline_ns, uintptr_t pc)
{
    if (permits == 0 || permits > WEFT_PERMITS_MAX)
        return -EINVAL;
    if (!take(s, permits, false))
        return wait ? wait_for(s, permits, deadline_ns, pc) : -EBUSY;
    if (s->began == 1) {
        struct holder self = holder_self();
        took(s, taker_of(&self), pc, holder_since(&self));
    }
    return 0;
}

// Gives permits if nobody waits: 0, -EOVERFLOW, or -EBUSY. With the lock held
// (`locked`) in any case.
static int give(struct semaphore *s, uint32_t permits, bool locked)
{
    uint64_t state = load_relaxed(&s->state); // a guess: the CAS decides

    for (;;) {
        if (PERMITS(state) + permits > WEFT_PERMITS_MAX)
            return -EOVERFLOW;
        if (state & CONTENDED && !locked)
            return -EBUSY;
        if (cas_release(&s->state, &state, state + STATE_OF(permits))) // S1, P1
            return 0;
    }
}

void semaphore_describe(const struct semaphore *s,
                        struct object_facts *ret_facts)
{
    uint64_t permits = PERMITS(load_acquire(&s->state)); // P1
    uint64_t taker = load_relaxed(&s->taker);            // S3

    ret_facts->limit = s->began;
    ret_facts->used = permits < s->began ? s->began - permits : 0;
    if (taker & TAKER_THREAD)
        ret_facts->owner_tid = (int)(taker & ~TAKER_THREAD);
    else
        ret_facts->owner_id = taker;
    ret_facts->taken_pc = load_relaxed(&s->taken_pc);       // S3
    ret_facts->taken_since = load_relaxed(&s->taken_since); // S3
}

// ---- Public. ----

static struct semaphore *inside(const weft_semaphore *semaphore)
{
    return object_inside((void *)(uintptr_t)semaphore, WEFT_OBJECT_SEMAPHORE);
}

int weft_semaphore_init(weft_semaphore *semaphore, uint32_t permits,
                        const char *name)
{
    struct semaphore *s = (struct semaphore *)semaphore;

    if (s == NULL || permits > WEFT_PERMITS_MAX)
        return -EINVAL;
    *s = (struct semaphore){.began = permits};
    store_relaxed(&s->state, STATE_OF(permits)); // not shared yet
    object_init(&s->object, WEFT_OBJECT_SEMAPHORE, name);
    return 0;
}

int weft_semaphore_deinit(weft_semaphore *semaphore)
{
    struct semaphore *s = inside(semaphore);

    if (s == NULL)
        return -EINVAL;
    lock_acquire(&s->object.lock);
    return object_deinit(&s->object, false);
}

int weft_semaphore_acquire(weft_semaphore *semaphore, uint32_t permits,
                           int64_t deadline_ns)
{
    struct semaphore *s = inside(semaphore);
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);

    return s == NULL ? -EINVAL : acquire(s, permits, true, deadline_ns, pc);
}

int weft_semaphore_try_acquire(weft_semaphore *semaphore, uint32_t permits)
{
    struct semaphore *s = inside(semaphore);
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);

    return s == NULL ? -EINVAL : acquire(s, permits, false, 0, pc);
}

int weft_semaphore_release(weft_semaphore *semaphore, uint32_t permits)
{
    struct semaphore *s = inside(semaphore);

    if (s == NULL || permits == 0 || permits > WEFT_PERMITS_MAX)
        return -EINVAL;
    if (s->began == 1)
        store_relaxed(&s->taker, 0); // S3
    int error = give(s, permits, false);
    if (error != -EBUSY)
        return error;
    lock_acquire(&s->object.lock);
    error = give(s, permits, true);
    serve(s);
    lock_release(&s->object.lock);
    return error;
}

int weft_semaphore_available(const weft_semaphore *semaphore)
{
    struct semaphore *s = inside(semaphore);

    return s == NULL ? -EINVAL : (int)PERMITS(load_acquire(&s->state)); // P1
}

// ---- As a clause. ----

_Static_assert(sizeof(struct claim) <= CLAUSE_WORDS * sizeof(uint64_t),
               "clause too small");

static int find(struct clause *clause)
{
    return clause->number == 0 || clause->number > WEFT_PERMITS_MAX
               ? -EINVAL
               : clause_find(clause, WEFT_OBJECT_SEMAPHORE);
}

static bool take_clause(struct clause *clause, bool mark)
{
    struct semaphore *s = clause->object;

    if (!take(s, (uint32_t)clause->number, mark))
        return false;
    struct holder self = holder_self();
    took(s, taker_of(&self), clause->pc, holder_since(&self));
    return true;
}

static bool try(struct clause *clause)
{
    return take_clause(clause, false);
}

static bool enter(struct clause *clause)
{
    struct semaphore *s = clause->object;
    struct holder self = holder_self();
    struct claim *claim = (struct claim *)&clause->own;

    if (take_clause(clause, true))
        return true;
    claim->permits = (uint32_t)clause->number;
    claim->taker = taker_of(&self);
    claim->pc = clause->pc;
    object_enter(&s->object, &claim->waiter);
    return false;
}

static void leave(struct clause *clause)
{
    struct semaphore *s = clause->object;

    object_leave(&s->object, &clause->own.waiter);
    if (!clause->own.waiter.won)
        serve(s); // S2
}

const struct clause_kind acquire_clause = {
    WEFT_WAIT_SEMAPHORE, find, try, enter, leave, NULL, NULL};
