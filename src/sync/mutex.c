// mutex.c -- A lock between tasks that knows its holder, for the dump.
//
//   M1  owner is NULL (free), or the owner's slot, with bit 0 set while there
//       may be waiters. NULL -> T by CAS of task T; T -> NULL by CAS of T, if
//       the bit is clear; with the bit set the lock decides. Only a task that
//       finds the mutex held sets the bit, by CAS, under `lock`.
//   M2  Unlocking with waiters hands the mutex to the first that can be woken:
//       owner changes from task to task without ever being free, so none can
//       barge in, and none starves.
//   P1  unlock (CAS release, or the firing of the next owner) -> lock (CAS
//       acquire, or the waking): sees what was done under the mutex.
//   P2  taken_pc and taken_since are figures for dumps, written by whoever
//       makes somebody the owner; a dump may read them while a task of a
//       worker that did not come writes them, hence relaxed atomics. `held` is
//       the owner's alone, read by dumps while the owner is parked.
#include "sync/mutex.h"

#include <errno.h>

#include "base/panic.h"

enum { MAGIC = 0x6d757478 };

_Static_assert(sizeof(struct mutex) <= sizeof(weft_mutex), "opaque too small");

#define CONTENDED ((uintptr_t)1)

static struct task *mark(struct task *task)
{
    return (struct task *)((uintptr_t)task | CONTENDED);
}

static struct task *unmark(struct task *task)
{
    return (struct task *)((uintptr_t)task & ~CONTENDED);
}

struct task *mutex_owner(const struct mutex *mutex)
{
    return unmark(load_acquire(&mutex->owner)); // P1: with taken_pc
}

static struct mutex *inside(weft_mutex *mutex)
{
    struct mutex *m = (struct mutex *)mutex;

    return m == NULL || m->magic != MAGIC ? NULL : m;
}

static void took(struct mutex *m, struct task *task, uintptr_t pc)
{
    store_relaxed(&m->taken_pc, pc); // P2
    // Of the last switch: near enough.
    store_relaxed(&m->taken_since, worker_self()->now); // P2
    m->held.next = task->held;
    task->held = &m->held;
}

static void drop(struct mutex *m, struct task *task)
{
    struct held **at = &task->held;

    while (*at != &m->held)
        at = &(*at)->next;
    *at = m->held.next;
}

// M1: sets the bit on an owner, or takes the mutex if it is free; the lock is
// held. True: taken.
static bool mark_or_take(struct mutex *m, struct task *task)
{
    struct task *owner = load_relaxed(&m->owner); // a guess: the CAS decides

    for (;;) {
        struct task *wanted = owner == NULL ? task : mark(owner);
        if (cas_acquire(&m->owner, &owner, wanted)) // P1
            return wanted == task;
    }
}

static int lock_slowly(struct mutex *m, struct task *task, uintptr_t pc,
                       int64_t deadline_ns)
{
    struct waiter waiter = {.data = (void *)pc};
    struct wait wait = {
        .kind = WEFT_WAIT_MUTEX,
        .object = m,
        .fd = -1,
        .deadline_ns = deadline_ns,
    };

    lock_acquire(&m->lock);
    if (mark_or_take(m, task)) {
        lock_release(&m->lock);
        return 0;
    }
    m->waiting++;
    int error = wait_park(&wait, &m->lock, &m->waiters, &waiter); // M2
    if (error != 0) {
        lock_acquire(&m->lock);
        m->waiting--;
        lock_release(&m->lock);
    }
    return error;
}

static int take(struct mutex *m, struct task *task)
{
    struct task *owner = NULL;

    if (cas_acquire(&m->owner, &owner, task)) // M1, P1
        return 0;
    return unmark(owner) == task ? -EDEADLK : -EBUSY;
}

static int enter(weft_mutex *mutex, struct mutex **ret_m,
                 struct task **ret_task)
{
    *ret_m = inside(mutex);
    *ret_task = task_self();
    return *ret_m == NULL ? -EINVAL : *ret_task == NULL ? -EPERM : 0;
}

int weft_mutex_init(weft_mutex *mutex, const char *name)
{
    struct mutex *m = (struct mutex *)mutex;

    if (m == NULL)
        return -EINVAL;
    *m = (struct mutex){.held.name = name, .magic = MAGIC};
    list_init(&m->waiters);
    return 0;
}

int weft_mutex_deinit(weft_mutex *mutex)
{
    struct mutex *m = inside(mutex);

    if (m == NULL)
        return -EINVAL;
    lock_acquire(&m->lock);
    bool busy = load_acquire(&m->owner) != NULL || m->waiting > 0; // P1
    if (!busy)
        m->magic = 0;
    lock_release(&m->lock);
    return busy ? -EBUSY : 0;
}

int weft_mutex_lock(weft_mutex *mutex, int64_t deadline_ns)
{
    struct mutex *m;
    struct task *task;
    int error = enter(mutex, &m, &task);

    if (error != 0)
        return error;
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);
    error = take(m, task);
    if (error == -EBUSY)
        error = lock_slowly(m, task, pc, deadline_ns);
    if (error == 0)
        took(m, task, pc);
    return error;
}

int weft_mutex_try_lock(weft_mutex *mutex)
{
    struct mutex *m;
    struct task *task;
    int error = enter(mutex, &m, &task);

    if (error != 0)
        return error;
    error = take(m, task);
    if (error == 0)
        took(m, task, (uintptr_t)__builtin_return_address(0));
    return error;
}

// M2. The lock is held; a waiter that lost to its deadline is passed over.
static void hand_on(struct mutex *m)
{
    struct list *link;

    while ((link = list_pop_front(&m->waiters)) != NULL) {
        struct waiter *waiter = container_of(link, struct waiter, link);
        struct task *next = waiter->task;
        if (!list_empty(&m->waiters))
            next = mark(next);
        // Stored before it is fired, for it may run and unlock at once. If it
        // had given up already, the next round overwrites it.
        // For a dump before it runs: P2.
        store_relaxed(&m->taken_pc, (uintptr_t)waiter->data);
        store_relaxed(&m->taken_since, worker_self()->now);
        store_release(&m->owner, next); // M1, P1
        if (wait_wake(waiter, 0)) {
            m->waiting--;
            return;
        }
    }
    store_release(&m->owner, NULL); // M1, P1
}

int weft_mutex_unlock(weft_mutex *mutex)
{
    struct mutex *m;
    struct task *task;
    int error = enter(mutex, &m, &task);

    if (error != 0)
        return error;
    struct task *owner = load_relaxed(&m->owner); // if ours, it stays ours
    if (unmark(owner) != task)
        return -EPERM;
    drop(m, task);
    owner = task;
    if (cas_release(&m->owner, &owner, NULL)) // M1, P1
        return 0;
    lock_acquire(&m->lock);
    hand_on(m);
    lock_release(&m->lock);
    return 0;
}
