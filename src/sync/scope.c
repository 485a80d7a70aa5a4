// scope.c -- Structured concurrency: a scope owns its children and joins them.
//
//   I1  children holds every task spawned in the scope that has not ended;
//       under the lock. A child leaves it in its last moment (task_owner's
//       `ended`), before its slot is free; so a slot in the list is always
//       that child's.
//   I2  The owner leaves only when children is empty, so no child ever meets
//       a scope that is gone: the last one wakes the owner under the lock.
//   I3  A task's open scopes form a stack through `outer`; only their owner
//       changes it.
//   I4  An ended child of a scope that keeps them goes to the owner if he waits
//       for it, else into `ended`. Its slot is not given back before the owner
//       has it: by task_reap, exactly once.
//   I5  running <= limit, if there is one. Whoever spawns takes a place first;
//       a child that ends, and a spawn that fails, hands it to the first of the
//       spawners, or gives it back if there is none. So nobody waits while a
//       place is free. Each of the others waits for one of the running children
//       to end; that they all wait here is refused.
//
//   C1  A cancel of the scope sets `canceled` under the lock and reaches every
//       child that is in the list; one that begins later finds it there.
//   C2  The owner's task->canceled has the highest level of its open scopes
//       that are canceled: raised by whoever cancels, under the lock, after
//       `canceled` was set; by a read-modify-write in any case. The owner, when
//       he leaves a canceled scope, clears the level, and then looks into the
//       scopes around under their locks: one that was canceled before is found,
//       one that is canceled later raises the level again.
#include "sync/scope.h"

#include <errno.h>

#include "sync/clause.h"

_Static_assert(sizeof(struct scope) <= sizeof(weft_scope), "opaque too small");

enum { ERROR_MAX = 4095 }; // no errno value is greater

uintptr_t scope_address(const struct task *task)
{
    struct task_owner *owner = task->owner;

    return owner == NULL ? 0
                         : (uintptr_t)container_of(owner, struct scope, tell);
}

void scope_describe(const struct scope *scope, struct object_facts *ret_facts)
{
    ret_facts->used = scope->running;
    ret_facts->limit = scope->limit;
}

static struct scope *inside(weft_scope *scope)
{
    return object_inside(scope, WEFT_OBJECT_SCOPE);
}

int weft_result_error(const void *result)
{
    intptr_t error = (intptr_t)result;

    return error < 0 && error >= -ERROR_MAX ? (int)error : 0;
}

// ---- Cancelling. ----

// C1, C2, I5. The lock is held.
static void cancel(struct scope *s)
{
    struct list *link;

    if (s->canceled)
        return;
    s->canceled = true;
    for (link = s->children.next; link != &s->children; link = link->next)
        task_cancel(container_of(link, struct task, siblings)); // I1
    while ((link = list_pop_front(&s->spawners)) != NULL)
        (void)wait_wake(container_of(link, struct waiter, link), ECANCELED);
    task_cancel_inside(s->owner, s->level);
}

static bool is_canceled(struct scope *s)
{
    lock_acquire(&s->object.lock);
    bool canceled = s->canceled;
    lock_release(&s->object.lock);
    return canceled;
}

// C2: the owner has left a canceled scope.
static void lower(struct task *task)
{
    task_cancel_outside(task);
    for (struct scope *s = task->scopes; s != NULL; s = s->outer) {
        if (is_canceled(s)) {
            task_cancel_inside(task, s->level);
            return;
        }
    }
}

// ---- Places. ----

// I5: the lock is held.
static void give_place(struct scope *s)
{
    struct list *link;

    while ((link = list_pop_front(&s->spawners)) != NULL)
        if (wait_wake(container_of(link, struct waiter, link), 0))
            return;
    s->running--;
}

// The lock is held, and held again.
static int wait_for_place(struct scope *s, bool child)
{
    struct waiter waiter;
    struct wait wait = {
        .kind = WEFT_WAIT_SCOPE_SPAWN,
        .object = s,
        .fd = -1,
        .deadline_ns = s->deadline_ns,
    };

    s->blocked += child;
    int error = wait_park(&wait, &s->object.lock, &s->spawners, &waiter);
    lock_acquire(&s->object.lock);
    s->blocked -= child;
    return error;
}

// 0: the caller has one.
static int take_place(struct scope *s, bool child, bool wait)
{
    int error = 0;

    lock_acquire(&s->object.lock);
    if (s->canceled)
        error = -ECANCELED;
    else if (s->limit == 0 || s->running < s->limit)
        s->running++;
    else if (!wait)
        error = -EBUSY;
    else if (child && s->blocked + 1 == s->running)
        error = -EDEADLK;
    else
        error = wait_for_place(s, child);
    lock_release(&s->object.lock);
    return error;
}

// ---- Children. ----

// I4, I2: a child has ended. The lock is held.
static void tell_owner(struct scope *s, struct task *child)
{
    struct waiter *owner = object_first(&s->object);
    struct task **ret_child = owner == NULL ? NULL : owner->data;

    if (ret_child != NULL) {
        *ret_child = child;
        if (object_wake_first(&s->object))
            return;
    }
    if (s->keep)
        list_push_back(&s->ended, &child->siblings);
    if (owner != NULL && ret_child == NULL && list_empty(&s->children))
        (void)object_wake_first(&s->object);
}

// A child that was canceled and says so has not failed.
static int failure_of(const struct task *child)
{
    int error = weft_result_error(child->arg);

    // Relaxed: what it was told, it has seen.
    return error == -ECANCELED && load_relaxed(&child->canceled) != 0 ? 0
                                                                      : error;
}

// By its worker.
static void ended(struct task_owner *owner, struct task *child)
{
    struct scope *s = container_of(owner, struct scope, tell);

    lock_acquire(&s->object.lock);
    list_remove(&child->siblings);
    if (child->ret_result != NULL)
        *child->ret_result = child->arg;
    if (s->fail_fast && s->error == 0)
        s->error = failure_of(child);
    tell_owner(s, child);
    if (s->error != 0)
        cancel(s);
    give_place(s);
    lock_release(&s->object.lock);
}

// C1: perhaps at the moment the scope is canceled.
static void begins(struct task_owner *owner, struct task *child)
{
    struct scope *s = container_of(owner, struct scope, tell);

    lock_acquire(&s->object.lock);
    list_push_back(&s->children, &child->siblings);
    if (s->canceled)
        store_relaxed(&child->canceled, TASK_CANCELED); // published with its
                                                        // state
    lock_release(&s->object.lock);
}

static int spawn(weft_scope *scope, const weft_task_options *options,
                 weft_task_fn *fn, void *arg, weft_task *ret_task,
                 uintptr_t site, bool wait)
{
    struct scope *s = inside(scope);
    struct task *task = task_self();

    if (s == NULL || (options != NULL && options->runtime != NULL))
        return -EINVAL;
    if (task == NULL || (task != s->owner && task->owner != &s->tell))
        return -EPERM;
    int error = take_place(s, task != s->owner, wait);
    if (error != 0)
        return error;
    struct spawn how = {
        .site = site,
        .owner = &s->tell,
        .deadline_ns = s->deadline_ns,
        .kept = s->keep,
    };
    error = task_spawn(options, fn, arg, &how, ret_task);
    if (error != 0) {
        lock_acquire(&s->object.lock);
        give_place(s);
        lock_release(&s->object.lock);
    }
    return error;
}

// ---- The next child to end. ----

// I4: 0, and one has been taken; -ENOENT; or -EAGAIN: one has to be waited
// for. The lock is held.
static int take_ended(struct scope *s, struct task **ret_child)
{
    struct list *link = list_pop_front(&s->ended);

    if (link == NULL)
        return list_empty(&s->children) ? -ENOENT : -EAGAIN;
    *ret_child = container_of(link, struct task, siblings);
    return 0;
}

// No lock is held.
static weft_scope_child reap(struct task *child)
{
    weft_task task = task_handle(child);

    return (weft_scope_child){task, task_reap(child)};
}

// Waits for the owner's sake: for the next child, put into *ret_child, or
// (NULL) for the last one to end. The lock is held, and given back if it
// returns 0.
static int wait_for_child(struct scope *s, struct task **ret_child,
                          int64_t deadline_ns, bool firm)
{
    struct waiter waiter = {.data = ret_child};
    struct wait wait = {
        .kind = ret_child != NULL ? WEFT_WAIT_SCOPE_NEXT : WEFT_WAIT_SCOPE,
        .object = s,
        .fd = -1,
        .deadline_ns = deadline_ns,
        .firm = firm,
    };

    return object_wait(&s->object, &wait, &waiter);
}

static int next(struct scope *s, int64_t deadline_ns, struct task **ret_child)
{
    lock_acquire(&s->object.lock);
    int error = take_ended(s, ret_child);
    if (error == -EAGAIN) {
        error = wait_for_child(s, ret_child, deadline_ns, false);
        if (error == 0)
            return 0;
    }
    lock_release(&s->object.lock);
    return error;
}

// Why the caller cannot ask for it; or 0.
static int check_next(const struct scope *s, const void *ret_child)
{
    if (s == NULL || !s->keep || ret_child == NULL)
        return -EINVAL;
    return s->owner == task_self() ? 0 : -EPERM;
}

// ---- Entering and leaving. ----

static bool is_open(const struct task *task, const struct scope *s)
{
    for (struct scope *open = task->scopes; open != NULL; open = open->outer)
        if (open == s)
            return true;
    return false;
}

static void init(struct scope *s, struct task *task,
                 const weft_scope_options *options, int64_t deadline_ns)
{
    bool earlier = deadline_ns < task->scope_deadline;

    *s = (struct scope){
        .tell = {.begins = begins, .ended = ended},
        .owner = task,
        .outer = task->scopes,
        .deadline_ns =
            earlier || options->shield ? deadline_ns : task->scope_deadline,
        .outer_deadline_ns = task->scope_deadline,
        .limit = options->limit,
        .level = task->scopes == NULL ? 1 : task->scopes->level + 1,
        .outer_shield = task->shield,
        .fail_fast = options->fail_fast,
        .keep = options->keep,
    };
    object_init(&s->object, WEFT_OBJECT_SCOPE, options->name);
    list_init(&s->children);
    list_init(&s->ended);
    list_init(&s->spawners);
}

int weft_scope_enter_with(weft_scope *scope, const weft_scope_options *options,
                          int64_t deadline_ns)
{
    static const weft_scope_options none = {.size = sizeof none};
    struct scope *s = (struct scope *)scope;
    struct task *task = task_self();

    if (options == NULL)
        options = &none;
    if (s == NULL || options->size != sizeof *options)
        return -EINVAL;
    if (task == NULL)
        return -EPERM;
    if (is_open(task, s))
        return -EINVAL;
    if (task->scopes != NULL && task->scopes->level == LEVEL_MAX)
        return -ENOSPC;
    init(s, task, options, deadline_ns);
    task->scopes = s;
    task->scope_deadline = s->deadline_ns;
    if (options->shield)
        task->shield = s->level;
    return 0;
}

int weft_scope_enter(weft_scope *scope, int64_t deadline_ns)
{
    return weft_scope_enter_with(scope, NULL, deadline_ns);
}

// Waits until no child is left; the lock is held, and held again.
static int wait_for_last(struct scope *s, bool firm)
{
    if (list_empty(&s->children))
        return 0;
    int error = wait_for_child(s, NULL, WEFT_NEVER, firm);
    if (error == 0)
        lock_acquire(&s->object.lock); // I2
    return error;
}

// The lock is taken even if there is no need to wait: the last child's worker
// may still hold it, and must be out of the scope before it goes.
static int wait_for_children(struct scope *s)
{
    lock_acquire(&s->object.lock);
    int error = wait_for_last(s, false);
    if (error != 0) {
        cancel(s);
        (void)wait_for_last(s, true);
    }
    lock_release(&s->object.lock);
    return error;
}

static void shut(struct scope *s, struct task *task)
{
    struct list *link;

    while ((link = list_pop_front(&s->ended)) != NULL)
        (void)reap(container_of(link, struct task, siblings));
    task->scopes = s->outer;
    task->scope_deadline = s->outer_deadline_ns;
    task->shield = s->outer_shield;
    if (s->canceled) // no child is left to change it
        lower(task);
    s->object.held.kind = 0;
}

// ---- Public. ----

int weft_scope_spawn(weft_scope *scope, const weft_task_options *options,
                     weft_task_fn *fn, void *arg, weft_task *ret_task)
{
    uintptr_t site = (uintptr_t)__builtin_return_address(0);

    return spawn(scope, options, fn, arg, ret_task, site, true);
}

int weft_scope_try_spawn(weft_scope *scope, const weft_task_options *options,
                         weft_task_fn *fn, void *arg, weft_task *ret_task)
{
    uintptr_t site = (uintptr_t)__builtin_return_address(0);

    return spawn(scope, options, fn, arg, ret_task, site, false);
}

int weft_scope_next(weft_scope *scope, int64_t deadline_ns,
                    weft_scope_child *ret_child)
{
    struct scope *s = inside(scope);
    struct task *child;
    int error = check_next(s, ret_child);

    if (error == 0)
        error = next(s, deadline_ns, &child);
    if (error == 0) {
        *ret_child = reap(child);
        sched_spend();
    }
    return error;
}

int weft_scope_cancel(weft_scope *scope)
{
    struct scope *s = inside(scope);

    if (s == NULL)
        return -EINVAL;
    lock_acquire(&s->object.lock);
    cancel(s);
    lock_release(&s->object.lock);
    return 0;
}

int weft_scope_leave(weft_scope *scope)
{
    struct scope *s = inside(scope);
    struct task *task = task_self();

    if (s == NULL || task == NULL || task->scopes != s)
        return -EINVAL;
    int error = wait_for_children(s);
    if (error == 0 && s->canceled) // no child is left to change it
        error = -ECANCELED;
    if (s->error != 0)
        error = s->error;
    shut(s, task);
    return error;
}

// ---- As a clause. ----

// One that was chosen is given back when no lock is held.
struct next {
    struct waiter waiter;
    struct task *child;
};

_Static_assert(sizeof(struct next) <= CLAUSE_WORDS * sizeof(uint64_t),
               "clause too small");

static int find(struct clause *clause)
{
    struct next *own = (struct next *)&clause->own;
    int error = check_next(inside(clause->object), clause->item);

    own->child = NULL;
    return error != 0 ? error : clause_find(clause, WEFT_OBJECT_SCOPE);
}

static bool try(struct clause *clause)
{
    struct next *own = (struct next *)&clause->own;

    clause->result = take_ended(clause->object, &own->child);
    return clause->result != -EAGAIN;
}

static bool enter(struct clause *clause)
{
    struct scope *s = clause->object;
    struct next *own = (struct next *)&clause->own;

    own->waiter.data = &own->child;
    object_enter(&s->object, &own->waiter);
    return false;
}

static void leave(struct clause *clause)
{
    struct scope *s = clause->object;
    struct next *own = (struct next *)&clause->own;

    object_leave(&s->object, &own->waiter);
    if (!own->waiter.won)
        own->child = NULL; // nor is it ours: I4
}

static void drop(struct clause *clause)
{
    struct next *own = (struct next *)&clause->own;

    if (own->child != NULL)
        *(weft_scope_child *)clause->item = reap(own->child);
}

const struct clause_kind next_clause = {
    WEFT_WAIT_SCOPE_NEXT, find, try, enter, leave, NULL, drop};
