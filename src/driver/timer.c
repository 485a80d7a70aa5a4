// timer.c -- Deadlines of waiters, in the order they fall due.
//
// A heap with four children a node: flatter than a binary one, and four
// entries are a cache line. The array is reserved in whole at the start (256
// MiB of addresses, no memory), since no caller could handle a failure to arm.
// Rejected: a pairing heap, whose links need no array, but which restructures
// everything under the lock, in one go, when the first of a million timers
// goes.
//
//   I1  Below `count`, no entry is earlier than its parent (earlier: by its
//       deadline, then by the number of its arming); entry i's timer has
//       place i. All other timers have place TIMER_IDLE.
//   T1  A timer fires under the lock and while it is in the heap. So whoever
//       has taken it out (timers_cancel) may let it and its waiter die.
//   T2  `asleep_until` is the moment until which a poller sleeps or is about
//       to, AWAKE if none does. timers_sleep sets it to the earliest timer or
//       before; timers_arm finds out, in the same critical section in which
//       the timer goes in, whether it is earlier than that. Both are under the
//       lock: either the poller counts the new timer, or the armer wakes it.
//       After that one waking it counts as awake, so there is no second one.
#include "driver/timer.h"

#include <errno.h>

#include "base/panic.h"

#define AWAKE INT64_MIN // no deadline is earlier
#define CHILDREN 4

// The children of entry i are 4 i + 1 to 4 i + 4; with entry 0 at the fourth
// place of the array they share a cache line.
#define SKIPPED 3
#define HEAP_BYTES ((TIMERS_MAX + SKIPPED) * sizeof(struct timer_entry))

// Timers fired in one critical section.
enum { BATCH = 64 };

int timers_init(struct timers *timers)
{
    struct timer_entry *array = port_reserve(HEAP_BYTES, 1, false);

    if (array == NULL)
        return -ENOMEM;
    *timers = (struct timers){
        .heap = array + SKIPPED,
        .asleep_until = AWAKE,
    };
    return 0;
}

void timers_deinit(struct timers *timers)
{
    ensure(timers->count == 0);
    port_unreserve(timers->heap - SKIPPED, HEAP_BYTES);
}

static bool earlier(const struct timer_entry *a, const struct timer_entry *b)
{
    if (a->deadline_ns != b->deadline_ns)
        return a->deadline_ns < b->deadline_ns;
    return a->timer->number < b->timer->number;
}

static void put(struct timers *timers, uint32_t place, struct timer_entry entry)
{
    timers->heap[place] = entry;
    entry.timer->place = place;
}

// Puts an entry at a free place or above it, moving down what is later.
static void rise(struct timers *timers, uint32_t place,
                 struct timer_entry entry)
{
    while (place > 0) {
        uint32_t parent = (place - 1) / CHILDREN;
        if (!earlier(&entry, &timers->heap[parent]))
            break;
        put(timers, place, timers->heap[parent]);
        place = parent;
    }
    put(timers, place, entry);
}

// The earliest child of a place, or `count` if it has none.
static uint32_t first_child(const struct timers *timers, uint32_t place)
{
    uint32_t first = place * CHILDREN + 1;

    if (first >= timers->count)
        return timers->count;
    uint32_t end = first + CHILDREN;
    if (end > timers->count)
        end = timers->count;
    for (uint32_t i = first + 1; i < end; i++)
        if (earlier(&timers->heap[i], &timers->heap[first]))
            first = i;
    return first;
}

// Puts an entry at a free place or below it, moving up what is earlier.
static void sink(struct timers *timers, uint32_t place,
                 struct timer_entry entry)
{
    for (;;) {
        uint32_t child = first_child(timers, place);
        if (child == timers->count || !earlier(&timers->heap[child], &entry))
            break;
        put(timers, place, timers->heap[child]);
        place = child;
    }
    put(timers, place, entry);
}

// Takes a timer out; the last entry fills its place.
static void take_out(struct timers *timers, struct timer *timer)
{
    uint32_t place = timer->place;
    struct timer_entry last = timers->heap[--timers->count];

    timer->place = TIMER_IDLE;
    if (place == timers->count)
        return;
    if (place > 0 && earlier(&last, &timers->heap[(place - 1) / CHILDREN]))
        rise(timers, place, last);
    else
        sink(timers, place, last);
}

bool timers_arm(struct timers *timers, struct timer *timer, int64_t deadline_ns,
                struct waiter *waiter)
{
    lock_acquire(&timers->lock);
    ensure(timers->count < TIMERS_MAX);
    timer->deadline_ns = deadline_ns;
    timer->number = timers->armed++;
    timer->waiter = waiter;
    rise(timers, timers->count++, (struct timer_entry){deadline_ns, timer});
    bool wake = deadline_ns < timers->asleep_until; // T2
    if (wake)
        timers->asleep_until = AWAKE;
    lock_release(&timers->lock);
    return wake;
}

void timers_cancel(struct timers *timers, struct timer *timer)
{
    lock_acquire(&timers->lock); // T1
    if (timer->place != TIMER_IDLE)
        take_out(timers, timer);
    lock_release(&timers->lock);
}

bool timers_any(struct timers *timers)
{
    lock_acquire(&timers->lock);
    bool any = timers->count > 0;
    lock_release(&timers->lock);
    return any;
}

int64_t timers_sleep(struct timers *timers, int64_t deadline_ns)
{
    lock_acquire(&timers->lock); // T2
    if (timers->count > 0 && timers->heap[0].deadline_ns < deadline_ns)
        deadline_ns = timers->heap[0].deadline_ns;
    timers->asleep_until = deadline_ns;
    lock_release(&timers->lock);
    return deadline_ns;
}

// Takes out the earliest timer and fires its waiter. The caller has the lock.
static void fire_first(struct timers *timers, struct task_list *ret_ready)
{
    struct timer *timer = timers->heap[0].timer;
    struct task *task;

    take_out(timers, timer);
    // Once this has won, whoever waited may run on, but not past its
    // timers_cancel: the lock is ours (T1).
    if (waiter_fire(timer->waiter, ETIMEDOUT, &task) == FIRED_READY)
        task_list_push(ret_ready, task);
}

// Fires up to a batch; true: there are more.
static bool fire_some(struct timers *timers, int64_t now_ns,
                      struct task_list *ret_ready)
{
    bool due = true;

    lock_acquire(&timers->lock);
    timers->asleep_until = AWAKE;
    for (int i = 0; i < BATCH && due; i++) {
        due = timers->count > 0 && timers->heap[0].deadline_ns <= now_ns;
        if (due)
            fire_first(timers, ret_ready);
    }
    lock_release(&timers->lock);
    return due;
}

void timers_expire(struct timers *timers, int64_t now_ns,
                   struct task_list *ret_ready)
{
    // In batches, so that others get the lock between them.
    while (fire_some(timers, now_ns, ret_ready))
        continue;
}
