// park.c -- How a worker sleeps: in the driver if it is free, else on a futex.
//
//   K1  word is EMPTY, ON_FUTEX, IN_DRIVER or NOTIFIED. The owner moves EMPTY
//       -> ON_FUTEX or IN_DRIVER before it sleeps, and any -> EMPTY after;
//       others move any -> NOTIFIED. So a notification is never lost: it is
//       either found before the sleep (the CAS from EMPTY fails), or it finds
//       the owner's place and ends the sleep there.
//   K2  Notifying (xchg, acq_rel) -> the owner's taking it (xchg, acq_rel):
//       the owner sees what the notifier did before.
#include "sched/park.h"

enum {
    EMPTY,
    ON_FUTEX,
    IN_DRIVER,
    NOTIFIED,
};

static void sleep_on_futex(struct parker *parker)
{
    uint32_t word = EMPTY;

    if (!cas_acq_rel(&parker->word, &word, ON_FUTEX)) // K1
        return;
    while (load_relaxed(&parker->word) == ON_FUTEX) // the caller's xchg orders
        (void)port_futex_wait(&parker->word, ON_FUTEX, INT64_MAX);
}

static void sleep_in_driver(struct parker *parker, struct driver *driver,
                            struct task_list *ret_ready)
{
    uint32_t word = EMPTY;

    if (cas_acq_rel(&parker->word, &word, IN_DRIVER)) // K1
        driver_poll(driver, INT64_MAX, ret_ready);
}

void park_sleep(struct parker *parker, struct driver *driver,
                struct task_list *ret_ready)
{
    if (driver != NULL && driver_try_take(driver)) {
        sleep_in_driver(parker, driver, ret_ready);
        driver_give(driver);
    } else {
        sleep_on_futex(parker);
    }
    (void)xchg_acq_rel(&parker->word, EMPTY); // K1, K2
}

void park_wake(struct parker *parker, struct driver *driver)
{
    uint32_t word = xchg_acq_rel(&parker->word, NOTIFIED); // K1, K2

    if (word == ON_FUTEX)
        port_futex_wake(&parker->word, 1);
    else if (word == IN_DRIVER)
        driver_wake(driver);
}
