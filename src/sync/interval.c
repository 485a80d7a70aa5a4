// interval.c -- Something to be done again and again, a period apart.
//
// There is no timer of its own: whoever waits for a tick sleeps until it is
// due. So an interval that nobody waits for costs nothing.
//
//   I1  `next_ns` is when the next tick is due, WEFT_NEVER if there is none. It
//       changes only when a tick is taken, and only forward.
//   I2  A tick is missed if the one after it is due as well when it is taken.
//       A late waking alone misses none: so under all three rules the ticks
//       stay where they were ordered, and lateness does not add up.
#include "sync/interval.h"

#include <errno.h>
#include <limits.h>

#include "sync/wait.h"

struct interval {
    int64_t next_ns;
    int64_t period_ns;
    int64_t mark; // MARK + enum weft_interval_missed
};

_Static_assert(sizeof(struct interval) == sizeof(weft_interval),
               "opaque has another size");

static const int64_t MARK = INT64_C(0x77656674) << 8;

static struct interval *inside(const weft_interval *interval)
{
    struct interval *i = (struct interval *)(uintptr_t)interval;

    return i != NULL && i->mark >= MARK && i->mark <= MARK + WEFT_INTERVAL_SKIP
               ? i
               : NULL;
}

// Never rather than past the end of time.
static int64_t sum(int64_t time_ns, int64_t span_ns)
{
    int64_t at_ns;

    return __builtin_add_overflow(time_ns, span_ns, &at_ns) ? WEFT_NEVER
                                                            : at_ns;
}

int weft_interval_init(weft_interval *interval, int64_t first_ns,
                       int64_t period_ns, enum weft_interval_missed missed)
{
    struct interval *i = (struct interval *)interval;

    if (i == NULL || period_ns < 1 || (unsigned)missed > WEFT_INTERVAL_SKIP)
        return -EINVAL;
    *i = (struct interval){
        .next_ns = first_ns < 0 ? 0 : first_ns,
        .period_ns = period_ns,
        .mark = MARK + missed,
    };
    return 0;
}

int64_t weft_interval_next(const weft_interval *interval)
{
    const struct interval *i = inside(interval);

    return i == NULL ? -EINVAL : i->next_ns;
}

int interval_take(weft_interval *interval, int64_t now_ns)
{
    struct interval *i = (struct interval *)interval;
    uint64_t late_ns = (uint64_t)now_ns - (uint64_t)i->next_ns;
    uint64_t missed = late_ns / (uint64_t)i->period_ns; // I2
    enum weft_interval_missed rule =
        (enum weft_interval_missed)(i->mark - MARK);

    if (missed == 0 || rule == WEFT_INTERVAL_BURST) {
        i->next_ns = sum(i->next_ns, i->period_ns);
        return 0;
    }
    int64_t from_ns = now_ns;
    if (rule == WEFT_INTERVAL_SKIP)
        from_ns -= (int64_t)(late_ns % (uint64_t)i->period_ns);
    i->next_ns = sum(from_ns, i->period_ns);
    return missed > INT_MAX ? INT_MAX : (int)missed;
}

// Until the tick or the deadline, whichever is first. 0 or -errno.
static int wait_for(const struct interval *i, int64_t deadline_ns)
{
    struct waiter waiter = {.data = NULL};
    struct wait wait = {
        .kind = WEFT_WAIT_INTERVAL,
        .fd = -1,
        .deadline_ns = i->next_ns < deadline_ns ? i->next_ns : deadline_ns,
    };

    return wait_park(&wait, NULL, NULL, &waiter);
}

int weft_interval_tick(weft_interval *interval, int64_t deadline_ns)
{
    struct interval *i = inside(interval);

    if (i == NULL)
        return -EINVAL;
    int error = wait_interrupted(task_self());
    if (error != 0)
        return error;
    if (i->next_ns <= port_now())
        sched_spend();
    else if (wait_for(i, deadline_ns) == -ECANCELED)
        return -ECANCELED;
    int64_t now_ns = port_now();
    return i->next_ns <= now_ns ? interval_take(interval, now_ns) : -ETIMEDOUT;
}
