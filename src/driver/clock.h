// clock.h -- Those who must know when the wall clock is set.
#ifndef WEFT_DRIVER_CLOCK_H
#define WEFT_DRIVER_CLOCK_H

#include "task/waiter.h"

// One a driver.
struct clock {
    struct lock lock;    // guards all below
    struct list waiters; // to be fired with 0 when it is set
    bool watched;        // the poller tells of it
};

void clock_init(struct clock *clock);

// Has the poller tell of it, if it does not yet. 0, or -errno: the system has
// no descriptor or no memory for it.
int clock_watch(struct clock *clock, struct port_poller *poller);

// It was set: fires all waiters; appends tasks that became ready.
void clock_was_set(struct clock *clock, struct task_list *ret_ready);

#endif
