// timer.h -- Deadlines of waiters, in the order they fall due.
#ifndef WEFT_DRIVER_TIMER_H
#define WEFT_DRIVER_TIMER_H

#include "task/waiter.h"

// A deadline of one waiter; lives on the stack of whoever waits. Written by
// arm, cancel and expire, under the timers' lock.
struct timer {
    struct list link;      // in a slot of the wheel; not linked: not armed
    struct waiter *waiter; //
    uint64_t tick;         // when it is due
    uint32_t place;        // of the slot: TIMER_SLOTS * level + index
};

enum {
    TIMER_TICK_BITS = 10, // a tick is 1,024 ns: a deadline is rounded up to it
    TIMER_SLOT_BITS = 6,
    TIMER_SLOTS = 1 << TIMER_SLOT_BITS, // of a level
    TIMER_LEVELS = 9,                   // 54 bits; the latest tick has 53
};

struct timer_slot {
    struct list timers; // in the order of arming
    uint64_t first;     // no tick in it is earlier; if any is in it
};

// All timers of one worker's tasks, and for how long the poller sleeps on them.
struct timers {
    struct lock lock; // guards all below
    uint64_t turned;  // the tick up to which all have fired
    uint64_t count;
    int64_t asleep_until;          // T2 in timer.c
    uint64_t filled[TIMER_LEVELS]; // a bit for each slot that is not empty
    struct timer_slot slots[TIMER_LEVELS][TIMER_SLOTS];
} __attribute__((aligned(64))); // no line shared with the next

void timers_init(struct timers *timers);
void timers_deinit(struct timers *timers);

// Adds a timer. True: the poller sleeps for longer than that and must be woken.
// Cannot fail.
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

// Fires those that are due with ETIMEDOUT, and appends tasks that became ready,
// until the list has `most`: what is left then is due at once again. Ends what
// timers_sleep began.
void timers_expire(struct timers *timers, int64_t now_ns, uint32_t most,
                   struct task_list *ret_ready);

#endif
