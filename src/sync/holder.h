// holder.h -- Who holds what: tasks and threads as owners of locks.
#ifndef WEFT_SYNC_HOLDER_H
#define WEFT_SYNC_HOLDER_H

#include "sched/runtime.h"

// An owner in one word: the address of a task's slot, or a thread's number
// with HOLDER_THREAD; 0: nobody. Bit 0 is left to the object.
typedef uint64_t holder_word;
typedef atomic_u64 atomic_holder;

#define HOLDER_MARK ((holder_word)1)
#define HOLDER_THREAD ((holder_word)2)
#define HOLDER_SHIFT 2

static inline struct task *holder_task(holder_word word)
{
    return word & HOLDER_THREAD
               ? NULL
               : (struct task *)(uintptr_t)(word & ~HOLDER_MARK);
}

static inline int holder_tid(holder_word word)
{
    return word & HOLDER_THREAD ? (int)(word >> HOLDER_SHIFT) : 0;
}

// The caller. What it points at stays valid over a park; its worker does not,
// so that is not part of it.
struct holder {
    struct task *task; // NULL: a thread
    holder_word word;
    struct held **held; // the list of what it holds
    uint64_t now;       // ticks of its worker's last switch; 0: a thread
};

struct holder holder_thread(void);

// Inline: it stands on the path of every lock.
static inline struct holder holder_self(void)
{
    struct worker *worker = worker_self();
    struct task *task = worker == NULL ? NULL : load_relaxed(&worker->current);

    if (__builtin_expect(task == NULL, 0))
        return holder_thread();
    return (struct holder){task, (uintptr_t)task, &task->held,
                           worker_now(worker)};
}

// When it took what it has just taken, without having waited: for a task near
// enough, for a figure.
static inline uint64_t holder_since(const struct holder *holder)
{
    return holder->now != 0 ? holder->now : port_ticks();
}

static inline void holder_push(const struct holder *holder, struct held *held)
{
    held->next = *holder->held;
    *holder->held = held;
}

// Takes something out of the list of a holder.
static inline void holder_drop(const struct holder *holder, struct held *held)
{
    struct held **at = holder->held;

    while (*at != held)
        at = &(*at)->next;
    *at = held->next;
}

// The record of one who holds `object` together with others, in its list and
// not yet granted (`taken_pc` 0). The first HOLDS_MAX of a holder lie with it,
// any further are allocated. NULL: no memory.
struct hold *holder_add(const struct holder *holder, const void *object,
                        const char *name);

// Its record of an object, or NULL.
struct hold *holder_find(const struct holder *holder, const void *object);

void holder_remove(const struct holder *holder, struct hold *hold);

#endif
