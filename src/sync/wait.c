// wait.c -- The one mechanism by which everything parks.
//
//   P1  wait_park announces the wait (task.h P2) before it puts the waiter
//       where a waker finds it, and gives the lock back after; so a waker
//       never meets a waiter whose task has not announced.
//   P2  A waiter is in its queue or its object's waker has taken it out; both
//       under the object's lock. One who was timed out or cancelled takes
//       itself out under that lock before it returns: wakers that lost have
//       then let go of it.
//   P3  A wait that has ended before the task leaves has no timer; so a task
//       that was timed out although it had one was so by that one.
#include "sync/wait.h"

#include <errno.h>

#include "sync/outside.h"

static void record(struct task *task, const struct wait *wait,
                   int64_t deadline_ns)
{
    task->wait_kind = (uint8_t)wait->kind;
    task->wait_object = wait->object;
    if (wait->kind == WEFT_WAIT_JOIN) // its slot may be another's by the time
        task->wait_object =           // that a dump reads this
            (const void *)(uintptr_t)((const struct task *)wait->object)->id;
    task->wait_fd = wait->fd;
    task->wait_write = wait->write;
    task->wait_deadline = deadline_ns;
}

// What is known to end the wait before it has begun: an outcome, or 0.
static int ended_already(struct task *task, const struct wait *wait,
                         int64_t deadline_ns)
{
    if (!wait->firm && task_is_canceled(task)) // the worker looks again
        return ECANCELED;
    if (deadline_ns != WEFT_NEVER && deadline_ns <= port_now())
        return ETIMEDOUT;
    return 0;
}

// Where one waiter goes.
struct place {
    struct lock *lock; // NULL: nowhere
    struct list *queue;
    struct waiter *waiter;
};

static void enqueue(void *arg)
{
    const struct place *place = arg;

    place->waiter->link = (struct list){0};
    if (place->lock == NULL)
        return;
    list_push_back(place->queue, &place->waiter->link); // P1
    lock_release(place->lock);
}

static void dequeue(const struct place *place)
{
    if (place->lock == NULL)
        return;
    lock_acquire(place->lock);
    if (list_linked(&place->waiter->link)) // P2
        list_remove(&place->waiter->link);
    lock_release(place->lock);
}

static int leave(struct worker *worker, struct task *task)
{
    sched_leave(worker, task, LEAVE_PARK);
    return STATE_OUTCOME(load_relaxed(&task->state)); // ours: RUNNING
}

// A timer that has ended the wait is done with: P3, timer.c T1.
static int leave_timed(struct worker *worker, struct task *task,
                       int64_t deadline_ns, struct waiter *waiter)
{
    struct driver *driver = &worker->runtime->driver;
    struct timer timer;

    driver_arm(driver, &timer, deadline_ns, waiter);
    int outcome = leave(worker, task);
    if (outcome != ETIMEDOUT)
        driver_cancel(driver, &timer);
    return outcome;
}

// A thread of the program's.
static int block_thread(const struct wait *wait, struct waiter *waiter,
                        void (*publish)(void *arg), void *arg)
{
    const struct task *joined =
        wait->kind == WEFT_WAIT_JOIN ? wait->object : NULL;
    bool forever = wait->deadline_ns == WEFT_NEVER;
    struct outsider outsider;

    if (DUMPS_SERVED)
        outside_enter(&outsider, wait,
                      joined == NULL ? NULL : runtime_of(joined));
    if (forever)
        (void)add_relaxed(&threads_blocked, 1);
    publish(arg);
    int outcome = waiter_block(waiter, wait->deadline_ns);
    if (forever)
        (void)sub_relaxed(&threads_blocked, 1);
    if (DUMPS_SERVED)
        outside_leave(&outsider);
    return outcome;
}

// Inlined, so that the usual `publish` is, too.
__attribute__((always_inline)) static inline int park(
    const struct wait *wait, struct waiter *waiter, void (*publish)(void *arg),
    void *arg)
{
    struct worker *worker = worker_self();
    struct task *task = worker == NULL ? NULL : load_relaxed(&worker->current);
    int64_t deadline_ns = wait->deadline_ns;

    if (task != NULL && !wait->firm && task->scope_deadline < deadline_ns)
        deadline_ns = task->scope_deadline;
    if (DUMPS_SERVED && task != NULL)
        record(task, wait, deadline_ns);
    waiter_arm(waiter, task, wait->firm); // P1
    if (task == NULL)
        return block_thread(wait, waiter, publish, arg);
    int outcome = ended_already(task, wait, deadline_ns);
    if (outcome != 0)
        (void)waiter_fire(waiter, outcome, &waiter->task); // or it was fired
    publish(arg);
    return outcome != 0 || deadline_ns == WEFT_NEVER // P3
               ? leave(worker, task)
               : leave_timed(worker, task, deadline_ns, waiter);
}

int wait_park(const struct wait *wait, struct lock *lock, struct list *queue,
              struct waiter *waiter)
{
    struct place place = {lock, queue, waiter};
    int outcome = park(wait, waiter, enqueue, &place);

    // Any other outcome is the object's own, by a waker that has taken the
    // waiter out; the object may be gone by now.
    if (outcome == ETIMEDOUT || outcome == ECANCELED)
        dequeue(&place);
    return -outcome;
}

int wait_park_among(const struct wait *wait, struct waiter *base,
                    void (*publish)(void *arg), void *arg)
{
    return -park(wait, base, publish, arg);
}

int wait_interrupted(const struct task *task)
{
    if (task == NULL)
        return 0;
    if (task_is_canceled(task)) // a later one ends the wait
        return -ECANCELED;
    if (task->scope_deadline != WEFT_NEVER &&
        task->scope_deadline <= port_now())
        return -ETIMEDOUT;
    return 0;
}

bool wait_wake(struct waiter *waiter, int outcome)
{
    struct task *task;
    enum fired fired = waiter_fire(waiter, outcome, &task);

    if (fired == FIRED_READY)
        sched_schedule(task);
    return fired != FIRED_LOST;
}
