// rwlock.c -- A lock for many readers or one writer that knows its holders.
//
// One queue for both: who comes while somebody waits waits behind him. That
// is how a waiting writer keeps later readers out, and why nobody starves.
//
//   R1  state counts the readers inside, in steps of READER, or has WRITER.
//       With CONTENDED clear it is changed by CAS of whoever takes the lock or
//       gives it back; with CONTENDED set only under `object.lock`.
//   R2  CONTENDED is set by CAS under the lock, by one who must wait, and is
//       cleared there when the queue is empty. So while anybody waits, every
//       change goes through admit, which lets in whom it can: none is
//       forgotten.
//   R3  One who gave up may have kept others waiting (a writer, the readers
//       behind it): it calls admit before it returns.
//   R4  writer is the word of who holds it for writing; set by itself or by
//       admit, and cleared by itself before WRITER is. A reader's hold is in
//       its own list (holder.h) from before it waits; taken_pc says that it is
//       in.
//   P1  giving back (CAS release, or under the lock) -> taking (CAS acquire),
//       or admit (load acquire), then the waking: sees what was done before.
//   P2  writer, taken_pc and taken_since are also figures for dumps, which may
//       read them while they change: relaxed atomics.
#include "sync/rwlock.h"

#include <errno.h>

#include "sync/clause.h"

_Static_assert(sizeof(struct rwlock) <= sizeof(weft_rwlock),
               "opaque too small");
_Static_assert(WEFT_OBJECT_RWLOCK == 2, "WEFT_RWLOCK_INIT says so");

enum {
    CONTENDED = 1,
    WRITER = 2,
    READER = 4,
};

// Who waits.
struct claim {
    struct waiter waiter;
    struct hold *hold; // of a reader; NULL: to write
    holder_word word;
    uintptr_t pc;
};

static void set_writer(struct rwlock *l, holder_word word, uintptr_t pc,
                       uint64_t since)
{
    store_relaxed(&l->taken_pc, pc);       // P2
    store_relaxed(&l->taken_since, since); // P2
    store_relaxed(&l->writer, word);       // P2
}

static void set_reader(struct hold *hold, uintptr_t pc, uint64_t since)
{
    store_relaxed(&hold->taken_since, since); // P2
    store_relaxed(&hold->taken_pc, pc);       // P2
}

// ---- Letting in. ----

static bool may_enter(uint64_t state, const struct claim *claim)
{
    return claim->hold != NULL ? !(state & WRITER) : state == 0;
}

// Lets the first in, as far as its records go; or, with `pc` and `word` zero,
// takes that back, because it had given up.
static void grant(struct rwlock *l, const struct claim *claim, uint64_t since,
                  bool in)
{
    if (claim->hold != NULL)
        set_reader(claim->hold, in ? claim->pc : 0, since);
    else
        set_writer(l, in ? claim->word : 0, claim->pc, since);
}

// R2: lets in all from the front of the queue who can enter. The lock is held.
// With CONTENDED clear nobody waits, and the state is not ours to store. With
// it set, it is stored once at the end: whoever has been woken and gives back
// at once comes for the lock first.
static void admit(struct rwlock *l, const struct holder *self)
{
    uint64_t since = holder_since(self);
    uint64_t state = load_acquire(&l->state); // P1
    struct waiter *waiter;

    if (!(state & CONTENDED))
        return;
    state -= CONTENDED;
    while ((waiter = object_first(&l->object)) != NULL) {
        struct claim *claim = container_of(waiter, struct claim, waiter);
        struct claim copy = *claim; // it may be gone once it is woken
        if (!may_enter(state, &copy))
            break;
        grant(l, &copy, since, true);
        if (object_wake_first(&l->object))
            state += copy.hold != NULL ? READER : WRITER;
        else
            grant(l, &copy, since, false);
    }
    store_release(&l->state, state | (waiter != NULL ? CONTENDED : 0)); // P1
}

// Adds `step` to the state if that may enter and nobody waits. With `mark` it
// sets CONTENDED otherwise; the lock is held then (R2).
static bool enter(struct rwlock *l, uint64_t step, bool mark)
{
    uint64_t barred = step == READER ? WRITER | CONTENDED : ~UINT64_C(0);
    uint64_t state = load_relaxed(&l->state); // a guess: the CAS decides

    for (;;) {
        bool free = (state & barred) == 0;
        uint64_t wanted = free ? state + step : state | CONTENDED;
        if (!free && (!mark || state & CONTENDED))
            return false;
        if (cas_acquire(&l->state, &state, wanted)) // R1, R2, P1
            return free;
    }
}

// ---- Taking. ----

// Whether the caller holds it already.
static bool is_own(const struct rwlock *l, const struct holder *self)
{
    const struct hold *hold = holder_find(self, l);

    return load_relaxed(&l->writer) == self->word || // if ours, it stays so
           (hold != NULL && load_relaxed(&hold->taken_pc) != 0); // P2: granted
}

static int wait_in(struct rwlock *l, const struct holder *self,
                   struct hold *hold, int64_t deadline_ns, uintptr_t pc)
{
    struct claim claim = {.hold = hold, .word = self->word, .pc = pc};
    struct wait wait = {
        .kind = hold != NULL ? WEFT_WAIT_RWLOCK_READ : WEFT_WAIT_RWLOCK_WRITE,
        .object = l,
        .fd = -1,
        .deadline_ns = deadline_ns,
    };

    lock_acquire(&l->object.lock);
    if (enter(l, hold != NULL ? READER : WRITER, true)) {
        lock_release(&l->object.lock);
        grant(l, &claim, holder_since(self), true);
        return 0;
    }
    int error = object_wait(&l->object, &wait, &claim.waiter);
    if (error != 0) {
        struct holder now = holder_self(); // on another worker, perhaps
        admit(l, &now);                    // R3
        lock_release(&l->object.lock);
    }
    return error;
}

static int lock_read(struct rwlock *l, bool wait, int64_t deadline_ns,
                     uintptr_t pc)
{
    struct holder self = holder_self();
    int error = 0;

    if (is_own(l, &self))
        return -EDEADLK;
    struct hold *hold = holder_add(&self, l, l->object.held.name);
    if (hold == NULL)
        return -ENOMEM;
    if (enter(l, READER, false))
        set_reader(hold, pc, holder_since(&self));
    else
        error = wait ? wait_in(l, &self, hold, deadline_ns, pc) : -EBUSY;
    if (error != 0)
        holder_remove(&self, hold);
    return error;
}

static int lock_write(struct rwlock *l, bool wait, int64_t deadline_ns,
                      uintptr_t pc)
{
    struct holder self = holder_self();
    int error = 0;

    if (is_own(l, &self))
        return -EDEADLK;
    if (enter(l, WRITER, false))
        set_writer(l, self.word, pc, holder_since(&self));
    else
        error = wait ? wait_in(l, &self, NULL, deadline_ns, pc) : -EBUSY;
    if (error == 0)
        holder_push(&self, &l->object.held);
    return error;
}

// ---- Giving back. ----

static void leave(struct rwlock *l, const struct holder *self, uint64_t step)
{
    uint64_t state = load_relaxed(&l->state); // a guess: the CAS decides

    while (!(state & CONTENDED))
        if (cas_release(&l->state, &state, state - step)) // R1, P1
            return;
    lock_acquire(&l->object.lock);
    // CONTENDED may have been cleared meanwhile, and others come and go.
    (void)sub_acq_rel(&l->state, step); // P1
    admit(l, self);
    lock_release(&l->object.lock);
}

// ---- For dumps. ----

void rwlock_describe(const struct rwlock *l, struct object_facts *ret_facts)
{
    uint64_t state = load_acquire(&l->state);      // P1
    holder_word writer = load_relaxed(&l->writer); // P2

    ret_facts->used = state / READER;
    ret_facts->owner = holder_task(writer);
    ret_facts->owner_tid = holder_tid(writer);
    ret_facts->taken_pc = load_relaxed(&l->taken_pc);       // P2
    ret_facts->taken_since = load_relaxed(&l->taken_since); // P2
}

// ---- Public. ----

static struct rwlock *inside(weft_rwlock *rwlock)
{
    return object_inside(rwlock, WEFT_OBJECT_RWLOCK);
}

int weft_rwlock_init(weft_rwlock *rwlock, const char *name)
{
    struct rwlock *l = (struct rwlock *)rwlock;

    if (l == NULL)
        return -EINVAL;
    *l = (struct rwlock){0};
    object_init(&l->object, WEFT_OBJECT_RWLOCK, name);
    return 0;
}

int weft_rwlock_deinit(weft_rwlock *rwlock)
{
    struct rwlock *l = inside(rwlock);

    if (l == NULL)
        return -EINVAL;
    lock_acquire(&l->object.lock);
    return object_deinit(&l->object, load_acquire(&l->state) != 0); // P1
}

int weft_rwlock_lock_read(weft_rwlock *rwlock, int64_t deadline_ns)
{
    struct rwlock *l = inside(rwlock);
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);

    return l == NULL ? -EINVAL : lock_read(l, true, deadline_ns, pc);
}

int weft_rwlock_lock_write(weft_rwlock *rwlock, int64_t deadline_ns)
{
    struct rwlock *l = inside(rwlock);
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);

    return l == NULL ? -EINVAL : lock_write(l, true, deadline_ns, pc);
}

int weft_rwlock_try_lock_read(weft_rwlock *rwlock)
{
    struct rwlock *l = inside(rwlock);
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);

    return l == NULL ? -EINVAL : lock_read(l, false, 0, pc);
}

int weft_rwlock_try_lock_write(weft_rwlock *rwlock)
{
    struct rwlock *l = inside(rwlock);
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);

    return l == NULL ? -EINVAL : lock_write(l, false, 0, pc);
}

int weft_rwlock_unlock(weft_rwlock *rwlock)
{
    struct rwlock *l = inside(rwlock);

    if (l == NULL)
        return -EINVAL;
    struct holder self = holder_self();
    struct hold *hold;
    if (load_relaxed(&l->writer) == self.word) { // if ours, it stays so
        holder_drop(&self, &l->object.held);
        store_relaxed(&l->writer, 0); // R4
        leave(l, &self, WRITER);
    } else if ((hold = holder_find(&self, l)) != NULL) {
        holder_remove(&self, hold);
        leave(l, &self, READER);
    } else {
        return -EPERM;
    }
    return 0;
}

// ---- As a clause. ----

_Static_assert(sizeof(struct claim) <= CLAUSE_WORDS * sizeof(uint64_t),
               "clause too small");

static struct claim *claim_of(struct clause *clause)
{
    return (struct claim *)&clause->own;
}

static int find(struct clause *clause)
{
    struct claim *claim = claim_of(clause);

    claim->hold = NULL;
    claim->word = holder_self().word;
    claim->pc = clause->pc;
    return clause_find(clause, WEFT_OBJECT_RWLOCK);
}

// Enters the lock, if that is free for it.
static bool enter_now(struct clause *clause, bool mark)
{
    struct rwlock *l = clause->object;
    struct claim *claim = claim_of(clause);
    struct holder self = holder_self();

    if (!enter(l, claim->hold != NULL ? READER : WRITER, mark))
        return false;
    grant(l, claim, holder_since(&self), true);
    if (claim->hold == NULL)
        holder_push(&self, &l->object.held);
    claim->hold = NULL; // granted: not to be dropped
    return true;
}

static bool try_read(struct clause *clause)
{
    struct rwlock *l = clause->object;
    struct claim *claim = claim_of(clause);
    struct holder self = holder_self();

    clause->result = -EDEADLK;
    if (is_own(l, &self))
        return true;
    clause->result = -ENOMEM;
    if (claim->hold == NULL)
        claim->hold = holder_add(&self, l, l->object.held.name);
    if (claim->hold == NULL)
        return true;
    clause->result = 0;
    return enter_now(clause, false);
}

static bool try_write(struct clause *clause)
{
    struct rwlock *l = clause->object;
    struct holder self = holder_self();

    if (is_own(l, &self)) {
        clause->result = -EDEADLK;
        return true;
    }
    return enter_now(clause, false);
}

static bool enter_clause(struct clause *clause)
{
    struct rwlock *l = clause->object;

    if (enter_now(clause, true))
        return true;
    object_enter(&l->object, &clause->own.waiter);
    return false;
}

static void leave_clause(struct clause *clause)
{
    struct rwlock *l = clause->object;
    struct claim *claim = claim_of(clause);
    struct holder self = holder_self();

    object_leave(&l->object, &claim->waiter);
    if (!claim->waiter.won)
        admit(l, &self); // R3
    else if (claim->hold == NULL)
        holder_push(&self, &l->object.held);
    else
        claim->hold = NULL; // granted
}

static void drop_read(struct clause *clause)
{
    struct claim *claim = claim_of(clause);
    struct holder self = holder_self();

    if (claim->hold != NULL)
        holder_remove(&self, claim->hold);
}

const struct clause_kind lock_read_clause = {
    WEFT_WAIT_RWLOCK_READ, find, try_read,  enter_clause,
    leave_clause,          NULL, drop_read,
};

const struct clause_kind lock_write_clause = {
    WEFT_WAIT_RWLOCK_WRITE, find, try_write, enter_clause,
    leave_clause,           NULL, NULL,
};
