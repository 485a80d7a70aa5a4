// driver.h -- Where a runtime waits for the world: descriptors and timers.
//
// One driver a runtime. Whoever holds its token (the worker that polls) calls
// driver_poll; arming, cancelling, adding and waking may be done by any thread
// at any time. The driver schedules nothing itself: it fires waiters and hands
// the tasks that became ready back to its caller.
#ifndef WEFT_DRIVER_DRIVER_H
#define WEFT_DRIVER_DRIVER_H

#include "driver/clock.h"
#include "driver/timer.h"
#include "port/port.h"
#include "task/waiter.h"

// Something with a descriptor, embedded by whoever owns it (src/io). `ready`
// is called by driver_poll, under no lock of the driver's, with PORT_READABLE
// and PORT_WRITABLE; it fires waiters and pushes tasks that became ready. A
// source lives until the driver is deinitialised (its owner recycles it).
struct driver_source {
    void (*ready)(struct driver_source *source, uint32_t ready,
                  struct task_list *ret_ready);
};

struct driver {
    struct port_poller poller;
    struct timers timers;
    struct clock clock;
    struct lock token; // held by whoever polls
    atomic_u64 added;  // sources so far; D2 in driver.c
};

// 0, -EMFILE, -ENFILE, -ENOMEM.
int driver_init(struct driver *driver);
void driver_deinit(struct driver *driver);

// The right to poll. A worker that fails to get it sleeps elsewhere.
bool driver_try_take(struct driver *driver);
void driver_give(struct driver *driver);

// Whether somebody polls; a moment old.
bool driver_is_taken(const struct driver *driver);

// Waits until a descriptor is ready, a timer is due, driver_wake is called or
// the deadline passes (in the past: only looks). Appends what became ready.
// The caller holds the token.
void driver_poll(struct driver *driver, int64_t deadline_ns,
                 struct task_list *ret_ready);

// Ends a poll that sleeps, or the next one. Async-signal-safe.
void driver_wake(struct driver *driver);

// Watches a descriptor. 0, or -errno (-EPERM: this kind of descriptor cannot
// be waited for, for instance a plain file).
int driver_add(struct driver *driver, int fd, struct driver_source *source);
void driver_remove(struct driver *driver, int fd);

// From now on a poll ends, and fires the clock's waiters, when the wall clock
// is set. 0, -EMFILE, -ENFILE, -ENOMEM, or what epoll_ctl(2) gives.
int driver_watch_clock(struct driver *driver);

// Has the waiter fired with ETIMEDOUT once the deadline has passed. The timer
// lives on the stack of whoever waits, who must cancel it before it goes. A
// poll that sleeps for longer than that is woken; otherwise this costs no
// system call. Cannot fail.
void driver_arm(struct driver *driver, struct timer *timer, int64_t deadline_ns,
                struct waiter *waiter);
void driver_cancel(struct driver *driver, struct timer *timer);

#endif
