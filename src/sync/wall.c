// wall.c -- Waiting for a time of the wall clock.
//
//   W1  Whoever waits is in the clock's list, and reckons when the time will
//       come under the list's lock (driver/clock.c K1): so it either reckons by
//       the clock as it was set, or is woken by the setting and reckons anew.
//   W2  Only the wall clock itself says that the time has come. The two clocks
//       are not read at the same moment, so a wait may end a little early; then
//       it goes on.
#include "sync/wall.h"

#include <errno.h>
#include <weft/task.h>

#include "sync/clause.h"

int64_t wall_deadline(int64_t until_ns)
{
    int64_t now_ns = port_now();
    int64_t wall_ns = port_wall_now();
    int64_t at_ns;

    if (until_ns == WEFT_NEVER)
        return WEFT_NEVER;
    if (until_ns <= wall_ns)
        return now_ns;
    // A clock before 1970 makes the difference overflow, too.
    if (__builtin_sub_overflow(until_ns, wall_ns, &at_ns) ||
        __builtin_add_overflow(at_ns, now_ns, &at_ns))
        return WEFT_NEVER;
    return at_ns;
}

static bool is_reached(int64_t until_ns)
{
    return until_ns != WEFT_NEVER && port_wall_now() >= until_ns;
}

static struct driver *driver_here(void)
{
    struct task *task = task_self();

    return task == NULL ? NULL : &runtime_of(task)->driver;
}

// Once: until the time is expected, or the clock is set. 0 or -errno.
static int wait_once(struct clock *clock, int64_t until_ns)
{
    struct waiter waiter = {.data = NULL};
    struct wait wait = {.kind = WEFT_WAIT_WALL, .fd = -1};

    lock_acquire(&clock->lock);
    wait.deadline_ns = wall_deadline(until_ns); // W1
    int error = wait_park(&wait, &clock->lock, &clock->waiters, &waiter);
    bool expected = error == -ETIMEDOUT && wait.deadline_ns <= port_now();
    return expected ? 0 : error;
}

int weft_task_sleep_wall(int64_t until_ns)
{
    struct driver *driver = driver_here();

    if (driver == NULL)
        return -EPERM;
    int error = wait_interrupted(task_self());
    if (error == 0)
        error = driver_watch_clock(driver);
    while (error == 0 && !is_reached(until_ns)) // W2
        error = wait_once(&driver->clock, until_ns);
    if (error == 0)
        sched_spend();
    return error;
}

// ---- As a clause. Its deadline is the select's part. ----

static int find_clause(struct clause *clause)
{
    struct driver *driver = driver_here();

    if (driver == NULL)
        return -EPERM;
    clause->object = &driver->clock;
    clause->lock = &driver->clock.lock;
    return driver_watch_clock(driver);
}

static bool try_clause(struct clause *clause)
{
    return is_reached((int64_t)clause->number);
}

static bool enter_clause(struct clause *clause)
{
    struct clock *clock = clause->object;

    list_push_back(&clock->waiters, &clause->own.waiter.link); // W1
    return false;
}

static void leave_clause(struct clause *clause)
{
    struct waiter *waiter = &clause->own.waiter;

    if (list_linked(&waiter->link))
        list_remove(&waiter->link);
}

const struct clause_kind wall_clause = {
    WEFT_WAIT_WALL, find_clause, try_clause, enter_clause,
    leave_clause,   try_clause,  NULL, // W2
};
