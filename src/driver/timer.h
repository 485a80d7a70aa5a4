// timer.h -- Deadlines of waiters, in the order they fall due.
#ifndef WEFT_DRIVER_TIMER_H
#define WEFT_DRIVER_TIMER_H

#include "task/waiter.h"

// A deadline of one waiter; lives on the stack of whoever waits. Written by
// arm and expire, under the timers' lock.
struct timer {
    int64_t deadline_ns;
    uint64_t number; // of its arming: equal deadlines fire in this order
    struct waiter *waiter;
    uint32_t place; // in the heap; TIMER_IDLE outside of it
};

#define TIMER_IDLE UINT32_MAX

// The most timers armed at once: one for every task there can be.
#ifdef WEFT_EXPLORE
#define TIMERS_MAX 16
#else
#define TIMERS_MAX (UINT32_C(1) << 24)
#endif

struct timer_entry {
    int64_t deadline_ns; // the timer's, here to be compared without a miss
    struct timer *timer;
};

// All timers of a runtime, and for how long the poller sleeps on them.
struct timers {
    struct lock lock;         // guards all below
    struct timer_entry *heap; // reserved for TIMERS_MAX, committed by touch
    uint32_t count;           //
    uint64_t armed;           // ever; numbers them
    int64_t asleep_until;     // T2 in timer.c
};

// 0, or -ENOMEM. Nothing else here can fail for want of memory.
int timers_init(struct timers *timers);
void timers_deinit(struct timers *timers);

// Adds a timer. True: the poller sleeps for longer than that and must be woken.
bool timers_arm(struct timers *timers, struct timer *timer, int64_t deadline_ns,
                struct waiter *waiter);

// Takes a timer out, if it is still in. After the return its waiter will not
// be fired by it.
void timers_cancel(struct timers *timers, struct timer *timer);

// Whether any is armed.
bool timers_any(struct timers *timers);

// Until when the poller may sleep: the deadline given, or the earliest timer.
// From here until timers_expire, an earlier arming says that it must be woken.
int64_t timers_sleep(struct timers *timers, int64_t deadline_ns);

// Fires all that are due with ETIMEDOUT; appends tasks that became ready. Ends
// what timers_sleep began.
void timers_expire(struct timers *timers, int64_t now_ns,
                   struct task_list *ret_ready);

#endif
