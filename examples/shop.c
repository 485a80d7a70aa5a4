// shop.c -- Locks and events at work: clerks serve customers in a shop.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { CLERKS = 4, CUSTOMERS = 12, ROOM = 3 };

static weft_once opening = WEFT_ONCE_INIT("opening");
static weft_barrier start_of_day = WEFT_BARRIER_INIT("start of day", CLERKS);
static weft_event closed = WEFT_EVENT_INIT("closed");
static weft_waitgroup in_the_shop = WEFT_WAITGROUP_INIT("in the shop");
static weft_semaphore tills = WEFT_SEMAPHORE_INIT("tills", 2);

static weft_rwlock price_lock = WEFT_RWLOCK_INIT("price");
static int price = 1; // guarded by price_lock

static weft_mutex queue_lock = WEFT_MUTEX_INIT("queue");
static weft_cond queue_changed = WEFT_COND_INIT("queue changed");
static int queue; // customers in it, guarded by queue_lock
static bool last; // nobody comes after them

static int open_the_shop(void *unused)
{
    (void)unused;
    puts("the shop is open");
    return 0;
}

// Takes a customer from the queue; false: nobody will come any more.
static bool next_customer(void)
{
    weft_mutex_lock(&queue_lock, WEFT_NEVER);
    while (queue == 0 && !last)
        weft_cond_wait(&queue_changed, &queue_lock, WEFT_NEVER);
    bool found = queue > 0;
    queue -= found;
    weft_cond_broadcast(&queue_changed); // there is room
    weft_mutex_unlock(&queue_lock);
    return found;
}

static void *serve(void *unused)
{
    if (weft_barrier_wait(&start_of_day, WEFT_NEVER) < 0)
        return unused; // a clerk is missing: there will be no such day
    weft_once_run(&opening, open_the_shop, NULL, WEFT_NEVER);
    while (next_customer()) {
        weft_rwlock_lock_read(&price_lock, WEFT_NEVER);
        int asked = price;
        weft_rwlock_unlock(&price_lock);
        weft_semaphore_acquire(&tills, 1, WEFT_NEVER);
        weft_task_sleep(weft_time_after(asked * WEFT_MICROSECOND));
        weft_semaphore_release(&tills, 1);
        weft_waitgroup_done(&in_the_shop);
    }
    return unused;
}

// Raises the price every so often until the shop is closed.
static void *manage(void *unused)
{
    while (weft_event_wait(&closed, weft_time_after(50000)) == -ETIMEDOUT) {
        weft_rwlock_lock_write(&price_lock, WEFT_NEVER);
        price++;
        weft_rwlock_unlock(&price_lock);
    }
    return unused;
}

static int call_staff(weft_scope *day)
{
    int error = weft_scope_spawn(day, NULL, manage, NULL, NULL);

    for (int i = 0; i < CLERKS && error == 0; i++)
        error = weft_scope_spawn(day, NULL, serve, NULL, NULL);
    return error;
}

static void let_customers_in(void)
{
    for (int i = 0; i < CUSTOMERS; i++) {
        weft_waitgroup_add(&in_the_shop, 1);
        weft_mutex_lock(&queue_lock, WEFT_NEVER);
        while (queue == ROOM)
            weft_cond_wait(&queue_changed, &queue_lock, WEFT_NEVER);
        queue++;
        last = i == CUSTOMERS - 1;
        weft_cond_broadcast(&queue_changed);
        weft_mutex_unlock(&queue_lock);
    }
    weft_waitgroup_wait(&in_the_shop, WEFT_NEVER);
}

static void *start(void *ret_error)
{
    weft_scope day;
    int *error = ret_error;

    weft_scope_enter(&day, WEFT_NEVER);
    *error = call_staff(&day);
    if (*error == 0) {
        let_customers_in();
        printf("%d customers were served\n", CUSTOMERS);
        weft_event_set(&closed);
    } else {
        weft_scope_cancel(&day);
    }
    weft_scope_leave(&day);
    return NULL;
}

int main(void)
{
    int no_staff = 0;
    int error = weft_run(NULL, start, &no_staff, NULL);

    if (error == 0)
        error = no_staff;
    if (error < 0)
        fprintf(stderr, "shop: %s\n", strerror(-error));
    return error < 0;
}
