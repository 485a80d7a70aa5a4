// clock.c -- Those who must know when the wall clock is set.
//
// Whoever waits for a time of the wall clock waits until the moment that it is
// now expected at, and is woken to reckon anew when the clock is set (by hand,
// by a daemon, by the system after a suspend).
//
//   K1  A waiter reckons and enters the list in one critical section, and the
//       setting comes before the poller's telling of it, which takes the same
//       lock: so one who has reckoned by the old clock is in the list by then.
#include "driver/clock.h"

void clock_init(struct clock *clock)
{
    *clock = (struct clock){0};
    list_init(&clock->waiters);
}

int clock_watch(struct clock *clock, struct port_poller *poller)
{
    int failure = 0;

    lock_acquire(&clock->lock);
    if (!clock->watched)
        failure = port_poller_watch_clock(poller);
    if (failure == 0)
        clock->watched = true;
    lock_release(&clock->lock);
    return failure;
}

void clock_was_set(struct clock *clock, struct task_list *ret_ready)
{
    struct list *link;
    struct task *task;

    lock_acquire(&clock->lock); // K1
    while ((link = list_pop_front(&clock->waiters)) != NULL)
        if (waiter_fire(container_of(link, struct waiter, link), 0, &task) ==
            FIRED_READY)
            task_list_push(ret_ready, task);
    lock_release(&clock->lock);
}
