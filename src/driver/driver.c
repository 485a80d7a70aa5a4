// driver.c -- Where a runtime waits for the world: descriptors and timers.
//
// A poll asks the timers until when it may sleep, sleeps in the poller, lets
// the sources of the events take note, and fires the timers that are due.
//
//   D1  Whoever arms a timer earlier than a poll sleeps for wakes it: timer.c
//       T2. The waking is an event that stays until a poll has seen it, so it
//       also ends a poll that has yet to fall asleep.
//   D2  driver_add counts `added` up (release), then registers -> a poll that
//       got an event loads it (acquire): it sees the source as it was when it
//       was added. The kernel orders the two as well, but neither C nor
//       ThreadSanitizer knows that.
//   D3  An event may reach a source after its removal: it was in the batch
//       already. So sources are not freed, and `ready` is called for nothing.
#include "driver/driver.h"

// Tasks whose time has come that one poll hands out: whoever gets them shall
// run the first before the last is found, and others shall have their share.
enum { READY_MAX = 128 };

int driver_init(struct driver *driver)
{
    timers_init(&driver->timers);
    clock_init(&driver->clock);
    store_relaxed(&driver->token.word, 0);
    store_relaxed(&driver->added, 0);
    return port_poller_init(&driver->poller);
}

void driver_deinit(struct driver *driver)
{
    port_poller_deinit(&driver->poller);
    timers_deinit(&driver->timers);
}

bool driver_try_take(struct driver *driver)
{
    return lock_try(&driver->token);
}

bool driver_is_taken(const struct driver *driver)
{
    return load_relaxed(&driver->token.word) != 0; // only a hint
}

void driver_give(struct driver *driver)
{
    lock_release(&driver->token);
}

static void deliver(struct driver *driver, const struct port_event *events,
                    int count, struct task_list *ret_ready)
{
    (void)load_acquire(&driver->added); // D2
    for (int i = 0; i < count; i++) {
        struct driver_source *source =
            (struct driver_source *)(uintptr_t)events[i].token;
        if (events[i].token == PORT_CLOCK_TOKEN)
            clock_was_set(&driver->clock, ret_ready);
        else
            source->ready(source, events[i].ready, ret_ready);
    }
}

void driver_poll(struct driver *driver, int64_t deadline_ns,
                 struct task_list *ret_ready)
{
    struct port_event events[PORT_EVENTS_MAX];
    int64_t now_ns = port_now();

    // One that only looks does not sleep, so nobody need wake it.
    if (deadline_ns > now_ns)
        deadline_ns = timers_sleep(&driver->timers, deadline_ns); // D1
    int count = port_poller_wait(&driver->poller, events, PORT_EVENTS_MAX,
                                 deadline_ns > now_ns ? deadline_ns : 0);
    deliver(driver, events, count, ret_ready);
    timers_expire(&driver->timers, port_now(), READY_MAX, ret_ready);
}

void driver_wake(struct driver *driver)
{
    port_poller_wake(&driver->poller);
}

int driver_add(struct driver *driver, int fd, struct driver_source *source)
{
    add_acq_rel(&driver->added, 1); // D2
    return port_poller_add(&driver->poller, fd, (uintptr_t)source);
}

void driver_remove(struct driver *driver, int fd)
{
    port_poller_remove(&driver->poller, fd);
}

int driver_watch_clock(struct driver *driver)
{
    return clock_watch(&driver->clock, &driver->poller);
}

void driver_arm(struct driver *driver, struct timer *timer, int64_t deadline_ns,
                struct waiter *waiter)
{
    if (timers_arm(&driver->timers, timer, deadline_ns, waiter)) // D1
        driver_wake(driver);
}

void driver_cancel(struct driver *driver, struct timer *timer)
{
    timers_cancel(&driver->timers, timer);
}
