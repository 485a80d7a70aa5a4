// park.h -- How a worker sleeps: in the driver if it is free, else on a futex.
#ifndef WEFT_SCHED_PARK_H
#define WEFT_SCHED_PARK_H

#include "driver/driver.h"

struct parker {
    atomic_u32 word; // K1 in park.c
};

// The owner sleeps until unparked, or until the driver brings something, unless
// that is NULL; tasks that it made ready are appended. May return for nothing.
void park_sleep(struct parker *parker, struct driver *driver,
                struct task_list *ret_ready);

// Any thread: ends the owner's sleep, present or next.
void park_wake(struct parker *parker, struct driver *driver);

#endif
