// clause.h -- One of the things that a select waits for.
//
// The select takes the locks of all its clauses, in order of address; tries
// each; and only if none can be carried out enters all queues, announces its
// wait and gives the locks back. So nobody finds a clause in a queue while the
// select could still do something else, and nothing happens between the look
// and the wait.
#ifndef WEFT_SYNC_CLAUSE_H
#define WEFT_SYNC_CLAUSE_H

#include <errno.h>
#include <weft/select.h>

#include "sync/object.h"

// Room for what a kind of object keeps of one who waits for it.
#define CLAUSE_WORDS 11

struct clause {
    enum weft_clause_kind kind; // from here on as weft_clause
    int result;                 //
    void *object;               //
    void *item;                 //
    uint64_t number;            //
    struct lock *lock;          // of the object; NULL: it needs none
    uintptr_t pc;               // of the call, for dumps
    uint32_t turn;              // index of the clause tried n-th, n being ours
    uint32_t rank;              // index of the clause with the n-th lock
    union {
        struct waiter waiter;
        uint64_t words[CLAUSE_WORDS];
    } own;
};

struct clause_kind {
    enum weft_wait_kind wait; // for dumps
    // Finds the lock. 0; or why no select can have such a clause.
    int (*find)(struct clause *clause);
    // Carries it out, `result` set, if that needs no waiting. The lock is held.
    bool (*try)(struct clause *clause);
    // Enters the queue; or, true, carries it out after all. The lock is held.
    bool (*enter)(struct clause *clause);
    // After it has entered: leaves the queue and, if it was chosen, finishes;
    // else takes back what it was. The lock is held.
    void (*leave)(struct clause *clause);
    // It was chosen, and has left; false: it is not so any more, and the select
    // goes on. The lock is held. NULL: it is so.
    bool (*confirm)(struct clause *clause);
    // After `find`, in any case, at the end; no lock is held. NULL: nothing.
    void (*drop)(struct clause *clause);
};

extern const struct clause_kind send_clause;
extern const struct clause_kind recv_clause;
extern const struct clause_kind broadcast_clause;
extern const struct clause_kind watch_clause;
extern const struct clause_kind lock_clause;
extern const struct clause_kind lock_read_clause;
extern const struct clause_kind lock_write_clause;
extern const struct clause_kind acquire_clause;
extern const struct clause_kind event_clause;
extern const struct clause_kind waitgroup_clause;
extern const struct clause_kind join_clause;
extern const struct clause_kind next_clause; // sync/scope.c
extern const struct clause_kind wall_clause;
extern const struct clause_kind readable_clause; // io/fd.c
extern const struct clause_kind writable_clause; //

// What `find` is for an object with a head, of that kind.
static inline int clause_find(struct clause *clause, enum weft_object_kind kind)
{
    struct object *object = object_inside(clause->object, kind);

    if (object == NULL)
        return -EINVAL;
    clause->lock = &object->lock;
    return 0;
}

// What a dump shows of a clause.
struct clause_facts {
    enum weft_wait_kind wait; // WEFT_WAIT_NONE: it is switched off
    const void *object;       // or NULL
    uint64_t task;            // id of the one to join, or 0
    int fd;                   // or -1
    bool write;
};

// From a copy of a clause of a select that waits, perhaps of another process.
void clause_describe(const struct clause *clause,
                     struct clause_facts *ret_facts);

// What a clause that waits keeps for it, after its waiter.
struct clause_shown {
    struct waiter waiter;
    uint64_t number; // id of the task to join; the system's descriptor
};

#endif
