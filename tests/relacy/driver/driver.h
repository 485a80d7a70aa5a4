// driver.h -- Stands for src/driver/driver.h: a poll that sleeps until woken.
#ifndef WEFT_TESTS_RELACY_DRIVER_H
#define WEFT_TESTS_RELACY_DRIVER_H

#include "task/task.h"

struct driver {
    atomic_u32 token; // 1: somebody polls
    rl::mutex mutex;
    rl::condition_variable_any woken;
    bool wakeup; // under the mutex; stays until it is seen, as an eventfd's
};

static inline bool driver_try_take(struct driver *driver)
{
    uint32_t none = 0;

    return driver->token.compare_exchange(rl::bool_t<false>(), none, 1,
                                          rl::mo_acquire, $);
}

static inline void driver_give(struct driver *driver)
{
    (void)driver->token.exchange(0, rl::mo_release, $);
}

static inline void driver_poll(struct driver *driver, int64_t deadline_ns,
                               struct task_list *ret_ready)
{
    (void)deadline_ns, (void)ret_ready;
    driver->mutex.lock($);
    while (!driver->wakeup)
        driver->woken.wait(driver->mutex, $);
    driver->wakeup = false;
    driver->mutex.unlock($);
}

static inline void driver_wake(struct driver *driver)
{
    driver->mutex.lock($);
    driver->wakeup = true;
    driver->woken.notify_all($);
    driver->mutex.unlock($);
}

#endif
