// scope.c -- Structured concurrency: a scope owns its children and joins them.
//
//   I1  children holds every task spawned in the scope that has not ended;
//       under `lock`. A child leaves it in its last moment (task_owner.ended),
//       before its slot is free; so a slot in the list is always that child's.
//   I2  The owner leaves only when children is empty, so no child ever meets
//       a scope that is gone: the last one wakes the owner under the lock.
//   I3  A task's open scopes form a stack through `outer`; only their owner
//       changes it.
#include "sync/scope.h"

#include <errno.h>

#include "base/panic.h"
#include "sync/wait.h"

enum { MAGIC = 0x73636f70 };

struct scope {
    struct task_owner owner;   // how children report their end
    struct lock lock;          // guards canceled, children, waiters
    uint32_t magic;            // set while open
    struct list children;      // I1
    struct list waiters;       // the owner, while it leaves
    struct task *task;         // that has entered it
    struct scope *outer;       // I3
    int64_t deadline_ns;       // the earliest of this scope's and its outers'
    int64_t outer_deadline_ns; // what it was outside
    bool canceled;
};

_Static_assert(sizeof(struct scope) <= sizeof(weft_scope), "opaque too small");

uintptr_t scope_address(const struct task *task)
{
    struct task_owner *owner = task->owner;

    return owner == NULL ? 0
                         : (uintptr_t)container_of(owner, struct scope, owner);
}

static struct scope *inside(weft_scope *scope)
{
    struct scope *s = (struct scope *)scope;

    return s == NULL || s->magic != MAGIC ? NULL : s;
}

// A child has ended: by its worker.
static void ended(struct task_owner *owner, struct task *child)
{
    struct scope *s = container_of(owner, struct scope, owner);

    lock_acquire(&s->lock);
    list_remove(&child->siblings);
    struct list *link =
        list_empty(&s->children) ? list_pop_front(&s->waiters) : NULL;
    if (link != NULL)
        (void)wait_wake(container_of(link, struct waiter, link), 0);
    lock_release(&s->lock);
}

// A child is about to begin, perhaps at the moment the scope is cancelled.
static void begins(struct task_owner *owner, struct task *child)
{
    struct scope *s = container_of(owner, struct scope, owner);

    lock_acquire(&s->lock);
    list_push_back(&s->children, &child->siblings);
    if (s->canceled)
        store_relaxed(&child->flags, TASK_CANCELED); // published with its state
    lock_release(&s->lock);
}

static void cancel(struct scope *s)
{
    lock_acquire(&s->lock);
    s->canceled = true;
    for (struct list *link = s->children.next; link != &s->children;
         link = link->next)
        task_cancel(container_of(link, struct task, siblings)); // I1
    lock_release(&s->lock);
}

// Waits until no child is left. The lock is taken even if there was no need to
// wait: the last child's worker may still hold it, and must be out of the
// scope before it goes.
static int wait_for_children(struct scope *s, bool firm)
{
    struct waiter waiter = {0};
    struct wait wait = {
        .kind = WEFT_WAIT_SCOPE,
        .object = s,
        .fd = -1,
        .deadline_ns = WEFT_NEVER,
        .firm = firm,
    };
    int error = 0;

    lock_acquire(&s->lock);
    if (!list_empty(&s->children)) {
        error = wait_park(&wait, &s->lock, &s->waiters, &waiter);
        lock_acquire(&s->lock); // I2
    }
    lock_release(&s->lock);
    return error;
}

int weft_scope_enter(weft_scope *scope, int64_t deadline_ns)
{
    struct scope *s = (struct scope *)scope;
    struct task *task = task_self();

    if (s == NULL)
        return -EINVAL;
    if (task == NULL)
        return -EPERM;
    for (struct scope *open = task->scopes; open != NULL; open = open->outer)
        if (open == s)
            return -EINVAL;
    *s = (struct scope){
        .owner = {.begins = begins, .ended = ended},
        .magic = MAGIC,
        .task = task,
        .outer = task->scopes,
        .deadline_ns = deadline_ns < task->scope_deadline
                           ? deadline_ns
                           : task->scope_deadline,
        .outer_deadline_ns = task->scope_deadline,
    };
    list_init(&s->children);
    list_init(&s->waiters);
    task->scopes = s;
    task->scope_deadline = s->deadline_ns;
    return 0;
}

static bool is_canceled(struct scope *s)
{
    lock_acquire(&s->lock);
    bool canceled = s->canceled;
    lock_release(&s->lock);
    return canceled;
}

int weft_scope_spawn(weft_scope *scope, const weft_task_options *options,
                     weft_task_fn *fn, void *arg, weft_task *ret_task)
{
    struct scope *s = inside(scope);
    struct task *task = task_self();

    if (s == NULL || (options != NULL && options->runtime != NULL))
        return -EINVAL;
    if (task == NULL || (task != s->task && task->owner != &s->owner))
        return -EPERM;
    if (is_canceled(s))
        return -ECANCELED;
    struct spawn spawn = {
        .site = (uintptr_t)__builtin_return_address(0),
        .owner = &s->owner,
        .deadline_ns = s->deadline_ns,
    };
    return task_spawn(options, fn, arg, &spawn, ret_task);
}

int weft_scope_cancel(weft_scope *scope)
{
    struct scope *s = inside(scope);

    if (s == NULL)
        return -EINVAL;
    cancel(s);
    return 0;
}

int weft_scope_leave(weft_scope *scope)
{
    struct scope *s = inside(scope);
    struct task *task = task_self();

    if (s == NULL || task == NULL || task->scopes != s)
        return -EINVAL;
    int error = wait_for_children(s, false);
    if (error != 0) {
        cancel(s);
        (void)wait_for_children(s, true);
    } else if (s->canceled) { // no child is left to change it
        error = -ECANCELED;
    }
    task->scopes = s->outer;
    task->scope_deadline = s->outer_deadline_ns;
    s->magic = 0;
    return error;
}
