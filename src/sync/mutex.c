// mutex.c -- A lock between tasks and threads that knows its holder, for the
// dump.
//
//   M1  owner is 0 (free), or the owner's word, with bit 0 set while there may
//       be waiters. 0 -> H by CAS of H; H -> 0 by CAS of H, if the bit is
//       clear; with the bit set the lock decides. Only one who finds the mutex
//       held sets the bit, by CAS, under the lock.
//   M2  Unlocking with waiters hands the mutex to the first that can be woken:
//       owner changes from one to another without ever being free, so none can
//       barge in, and none starves.
//   P1  unlock (CAS release, or the firing of the next owner) -> lock (CAS
//       acquire, or the waking): sees what was done under the mutex.
//   P2  taken_pc and taken_since are figures for dumps, written by whoever
//       makes somebody the owner; a dump may read them while a task of a
//       worker that did not come writes them, hence relaxed atomics. The link
//       of `held` is the owner's alone, read by dumps while it is parked.
#include "sync/mutex.h"

#include <errno.h>

#include "sync/clause.h"

_Static_assert(sizeof(struct mutex) <= sizeof(weft_mutex), "opaque too small");
_Static_assert(WEFT_OBJECT_MUTEX == 0, "WEFT_MUTEX_INIT says so");

#define CONTENDED HOLDER_MARK

// Who waits: what it needs as the next owner.
struct claim {
    struct waiter waiter;
    holder_word word;
    uintptr_t pc;
};

static void note_taken(struct mutex *m, uintptr_t pc, uint64_t now)
{
    if (!DUMPS_SERVED)
        return;
    store_relaxed(&m->taken_pc, pc);     // P2
    store_relaxed(&m->taken_since, now); // P2
}

static void took(struct mutex *m, const struct holder *self, uintptr_t pc)
{
    note_taken(m, pc, holder_since(self));
    holder_push(self, &m->object.held);
}

// M1: sets the bit on an owner, or takes the mutex if it is free; the lock is
// held. True: taken.
static bool mark_or_take(struct mutex *m, holder_word word)
{
    holder_word owner = load_relaxed(&m->owner); // a guess: the CAS decides

    for (;;) {
        holder_word wanted = owner == 0 ? word : owner | CONTENDED;
        if (cas_acquire(&m->owner, &owner, wanted)) // P1
            return wanted == word;
    }
}

static int take(struct mutex *m, const struct holder *self)
{
    holder_word owner = 0;

    if (cas_acquire(&m->owner, &owner, self->word)) // M1, P1
        return 0;
    return (owner & ~CONTENDED) == self->word ? -EDEADLK : -EBUSY;
}

// Not free at the first look. Kept out of the way of those who find it so.
__attribute__((noinline)) static int lock_slowly(struct mutex *m,
                                                 const struct mutex_want *want)
{
    struct holder self = holder_self();
    struct claim claim = {.word = self.word, .pc = want->pc};
    struct wait wait = {
        .kind = want->kind,
        .object = m,
        .fd = -1,
        .deadline_ns = want->deadline_ns,
        .firm = want->firm,
    };

    if (mutex_is_own(m))
        return -EDEADLK;
    lock_acquire(&m->object.lock);
    if (mark_or_take(m, self.word)) {
        lock_release(&m->object.lock);
        took(m, &self, want->pc);
        return 0;
    }
    int error = object_wait(&m->object, &wait, &claim.waiter); // M2
    if (error == 0)
        holder_push(&self, &m->object.held);
    else
        lock_release(&m->object.lock);
    return error;
}

int mutex_lock(struct mutex *m, const struct mutex_want *want)
{
    struct holder self = holder_self();

    if (take(m, &self) != 0)
        return lock_slowly(m, want);
    took(m, &self, want->pc);
    return 0;
}

// M2. The lock is held; a waiter that lost to its deadline is passed over.
static void hand_on(struct mutex *m, uint64_t now)
{
    struct waiter *waiter;

    while ((waiter = object_first(&m->object)) != NULL) {
        struct claim *claim = container_of(waiter, struct claim, waiter);
        bool last = waiter->link.next == &m->object.waiters;
        // Stored before it is fired, for it may run and unlock at once. If it
        // had given up already, the next round overwrites it.
        // For a dump before it runs: P2.
        note_taken(m, claim->pc, now);
        store_release(&m->owner, claim->word | (last ? 0 : CONTENDED)); // P1
        if (object_wake_first(&m->object))
            return;
    }
    store_release(&m->owner, 0); // M1, P1
}

bool mutex_is_own(const struct mutex *m)
{
    // If it is ours, it stays so.
    return (load_relaxed(&m->owner) & ~CONTENDED) == holder_self().word;
}

bool mutex_is_held(const struct mutex *m)
{
    return load_acquire(&m->owner) != 0; // P1
}

int mutex_unlock(struct mutex *m)
{
    struct holder self = holder_self();
    holder_word owner = load_relaxed(&m->owner); // if ours, it stays ours

    if ((owner & ~CONTENDED) != self.word)
        return -EPERM;
    holder_drop(&self, &m->object.held);
    owner = self.word;
    if (cas_release(&m->owner, &owner, 0)) // M1, P1
        return 0;
    lock_acquire(&m->object.lock);
    hand_on(m, holder_since(&self));
    lock_release(&m->object.lock);
    return 0;
}

void mutex_describe(const struct mutex *m, struct object_facts *ret_facts)
{
    holder_word owner = load_acquire(&m->owner); // P1: with taken_pc

    ret_facts->owner = holder_task(owner);
    ret_facts->owner_tid = holder_tid(owner);
    ret_facts->taken_pc = load_relaxed(&m->taken_pc);       // P2
    ret_facts->taken_since = load_relaxed(&m->taken_since); // P2
}

// ---- Public. ----

static struct mutex *inside(weft_mutex *mutex)
{
    return object_inside(mutex, WEFT_OBJECT_MUTEX);
}

int weft_mutex_init(weft_mutex *mutex, const char *name)
{
    struct mutex *m = (struct mutex *)mutex;

    if (m == NULL)
        return -EINVAL;
    *m = (struct mutex){0};
    object_init(&m->object, WEFT_OBJECT_MUTEX, name);
    return 0;
}

int weft_mutex_deinit(weft_mutex *mutex)
{
    struct mutex *m = inside(mutex);

    if (m == NULL)
        return -EINVAL;
    lock_acquire(&m->object.lock);
    return object_deinit(&m->object, mutex_is_held(m));
}

// Not through mutex_lock, which would have to be told what it hardly needs.
int weft_mutex_lock(weft_mutex *mutex, int64_t deadline_ns)
{
    struct mutex *m = inside(mutex);
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);

    if (m == NULL)
        return -EINVAL;
    struct holder self = holder_self();
    if (take(m, &self) == 0) {
        took(m, &self, pc);
        return 0;
    }
    struct mutex_want want = {WEFT_WAIT_MUTEX, pc, deadline_ns, false};
    return lock_slowly(m, &want);
}

int weft_mutex_try_lock(weft_mutex *mutex)
{
    struct mutex *m = inside(mutex);

    if (m == NULL)
        return -EINVAL;
    struct holder self = holder_self();
    int error = take(m, &self);
    if (error == 0)
        took(m, &self, (uintptr_t)__builtin_return_address(0));
    return error;
}

int weft_mutex_unlock(weft_mutex *mutex)
{
    struct mutex *m = inside(mutex);

    return m == NULL ? -EINVAL : mutex_unlock(m);
}

// ---- As a clause. ----

_Static_assert(sizeof(struct claim) <= CLAUSE_WORDS * sizeof(uint64_t),
               "clause too small");

static int find(struct clause *clause)
{
    return clause_find(clause, WEFT_OBJECT_MUTEX);
}

static bool try(struct clause *clause)
{
    struct mutex *m = clause->object;
    struct holder self = holder_self();
    int error = take(m, &self);

    if (error == -EBUSY)
        return false;
    if (error == 0)
        took(m, &self, clause->pc);
    clause->result = error;
    return true;
}

static bool enter(struct clause *clause)
{
    struct mutex *m = clause->object;
    struct holder self = holder_self();
    struct claim *claim = (struct claim *)&clause->own;

    claim->word = self.word;
    claim->pc = clause->pc;
    if (mark_or_take(m, self.word)) {
        took(m, &self, clause->pc);
        return true;
    }
    object_enter(&m->object, &claim->waiter);
    return false;
}

static void leave(struct clause *clause)
{
    struct mutex *m = clause->object;
    struct holder self = holder_self();

    object_leave(&m->object, &clause->own.waiter);
    if (clause->own.waiter.won)
        holder_push(&self, &m->object.held);
}

const struct clause_kind lock_clause = {WEFT_WAIT_MUTEX, find, try, enter,
                                        leave,           NULL, NULL};
