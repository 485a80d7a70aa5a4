// object.h -- What the objects that tasks and threads wait for have in common.
//
// Each begins with a struct object: name and kind for the dump, the lock, and
// the queue of those who wait. All are embedded in their users' memory and may
// be initialised statically, with the queue's links zero: it is made at the
// first wait.
#ifndef WEFT_SYNC_OBJECT_H
#define WEFT_SYNC_OBJECT_H

#include "sync/wait.h"

struct object {
    struct held held;    // name, kind; link in the list of who holds it
    struct lock lock;    // guards what follows, and what the object adds
    uint32_t waiting;    // calls inside a wait
    struct list waiters; // first come, first served
};

_Static_assert(sizeof(struct object) == sizeof(weft_object), "opaque differs");

// The kind of an initialised object, as WEFT_OBJECT_INIT writes it.
#define OBJECT_KIND(kind) (WEFT_OBJECT_MAGIC + (uint32_t)(kind))

// The object if it is initialised and of that kind; else NULL.
static inline void *object_inside(void *object, enum weft_object_kind kind)
{
    struct object *o = object;

    return o == NULL || o->held.kind != OBJECT_KIND(kind) ? NULL : o;
}

// `object` is zero.
void object_init(struct object *object, enum weft_object_kind kind,
                 const char *name);

// Ends an object, its lock held and given back here: 0, or -EBUSY, and nothing
// has happened, if it is in use or waited for.
int object_deinit(struct object *object, bool in_use);

// Waits; the lock is held. Returns 0, the waiter having been woken and the
// lock given back; the object may be gone by then. Or -ETIMEDOUT or -ECANCELED,
// the lock held again, the waiter out of the queue, nothing done for it.
int object_wait(struct object *object, const struct wait *wait,
                struct waiter *waiter);

// Puts a clause's waiter into the queue, or takes it out if it still is there;
// the lock is held.
void object_enter(struct object *object, struct waiter *waiter);
void object_leave(struct object *object, struct waiter *waiter);

// The first waiter, left in the queue; NULL: there is none. The lock is held.
struct waiter *object_first(struct object *object);

// Takes the first waiter out and wakes it. False: it had given up. The lock is
// held.
bool object_wake_first(struct object *object);

// Wakes all. The lock is held.
void object_wake_all(struct object *object);

// Whether what is waited for is a struct object.
bool object_is_waited_for(enum weft_wait_kind kind);

// What a dump shows of an object.
struct object_facts {
    const struct task *owner; // holds it alone, or NULL
    uint64_t owner_id;        // the same, where the task may have ended; or 0
    int owner_tid;            // a thread that holds it alone, or 0
    uint64_t taken_pc;        // where and when (ticks) the owner took it
    uint64_t taken_since;     //
    uint64_t used;            // permits, readers, arrivals, ...
    uint64_t limit;           // the most that can be of these, or 0
};

// The most words that an object of any kind has.
#define OBJECT_WORDS_MAX 22

// The size of an object by the kind in its head; 0: it is none.
size_t object_size(const struct object *object);

// Fills in `ret_facts` from a copy of an object, which may have changed while
// it was copied: what it reads are words that are right by themselves.
void object_describe(const struct object *object,
                     struct object_facts *ret_facts);

#endif
