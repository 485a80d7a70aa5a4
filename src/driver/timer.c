// timer.c -- Deadlines of waiters, in the order they fall due.
//
// A wheel of wheels. A deadline is a number of ticks, written in digits of six
// bits; level l has a slot for each value of digit l. A timer lies at the
// highest digit in which its tick differs from `turned`, in the slot of its
// value there. When the time comes to that slot, its timers are dealt out to
// the levels below, until they lie at level 0, where a slot is one tick. So to
// arm and to cancel is to enter a list and to leave it, whatever else is armed,
// and a timer is moved once for each digit that its delay has: twice in 100 ms.
//
// Rejected: a heap of four children (what was here before) moves ten entries
// when an early one of a million timers goes, and writes to each of these
// timers, which lie on as many stacks.
//
//   I1  A tick not earlier than `turned` agrees with it above digit l, where l
//       is the timer's level, and is the greater one there (or the same one, at
//       level 0). So at each level the first slot filled is the next one, and
//       all of a level come before those above it.
//   I2  Save that a slot which is being dealt out is one that `turned` has just
//       reached: it begins where `turned` is, and goes before all else. Only
//       then does a level above 0 have timers in the slot of its own digit.
//   I3  A slot's bit in `filled` says whether it has timers.
//   T1  A timer fires under the lock, just after it was taken out of the wheel.
//       So whoever has found it out of it (timers_cancel) may let it and its
//       waiter die. A task that was woken by it need not even look: of its
//       timer, and of its waiter, nothing is touched once the firing has won.
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

// Timers moved or fired in one critical section, so that others get the lock.
enum { BATCH = 64 };

void timers_init(struct timers *timers)
{
    *timers = (struct timers){.asleep_until = AWAKE};
    for (int level = 0; level < TIMER_LEVELS; level++)
        for (int index = 0; index < TIMER_SLOTS; index++)
            list_init(&timers->slots[level][index].timers);
}

void timers_deinit(struct timers *timers)
{
    ensure(timers->count == 0);
}

// ---- Ticks. ----

// Never too early: rounded up.
static uint64_t to_tick(int64_t deadline_ns)
{
    uint64_t ns = deadline_ns < 0 ? 0 : (uint64_t)deadline_ns;

    return (ns + (1 << TIMER_TICK_BITS) - 1) >> TIMER_TICK_BITS;
}

static int64_t to_ns(uint64_t tick)
{
    return tick > INT64_MAX >> TIMER_TICK_BITS
               ? INT64_MAX
               : (int64_t)(tick << TIMER_TICK_BITS);
}

static uint32_t shift_of(uint32_t level)
{
    return level * TIMER_SLOT_BITS;
}

// ---- Slots. ----

static struct timer_slot *slot_at(struct timers *timers, uint32_t place)
{
    return &timers->slots[place / TIMER_SLOTS][place % TIMER_SLOTS];
}

static uint64_t bit_of(uint32_t place)
{
    return UINT64_C(1) << place % TIMER_SLOTS;
}

static uint32_t place_of(const struct timers *timers, uint64_t tick)
{
    uint64_t differs = (tick ^ timers->turned) | (TIMER_SLOTS - 1);
    uint32_t level =
        (63 - (uint32_t)__builtin_clzll(differs)) / TIMER_SLOT_BITS;

    return level * TIMER_SLOTS +
           (uint32_t)(tick >> shift_of(level) & (TIMER_SLOTS - 1));
}

// I1: one that is due already counts as due now.
static void put_in(struct timers *timers, struct timer *timer)
{
    uint64_t tick = timer->tick < timers->turned ? timers->turned : timer->tick;
    uint32_t place = place_of(timers, tick);
    struct timer_slot *slot = slot_at(timers, place);
    uint64_t *filled = &timers->filled[place / TIMER_SLOTS];

    if ((*filled & bit_of(place)) == 0 || tick < slot->first)
        slot->first = tick;
    *filled |= bit_of(place); // I3
    list_push_back(&slot->timers, &timer->link);
    timer->place = place;
}

static void take_out(struct timers *timers, struct timer *timer)
{
    uint32_t place = timer->place;

    list_remove(&timer->link);
    if (list_empty(&slot_at(timers, place)->timers))
        timers->filled[place / TIMER_SLOTS] &= ~bit_of(place); // I3
}

// The earliest tick, or one before it; UINT64_MAX if there is none.
static uint64_t first_tick(const struct timers *timers)
{
    uint64_t first = UINT64_MAX;

    for (int level = 0; level < TIMER_LEVELS; level++) {
        uint64_t filled = timers->filled[level];
        if (filled == 0)
            continue;
        int index = __builtin_ctzll(filled); // I1
        if (timers->slots[level][index].first < first)
            first = timers->slots[level][index].first;
    }
    return first;
}

// ---- Arming and sleeping. ----

bool timers_arm(struct timers *timers, struct timer *timer, int64_t deadline_ns,
                struct waiter *waiter)
{
    timer->tick = to_tick(deadline_ns);
    timer->waiter = waiter;
    lock_acquire(&timers->lock);
    timers->count++;
    put_in(timers, timer);
    bool wake = to_ns(timer->tick) < timers->asleep_until; // T2
    if (wake)
        timers->asleep_until = AWAKE;
    lock_release(&timers->lock);
    return wake;
}

void timers_cancel(struct timers *timers, struct timer *timer)
{
    lock_acquire(&timers->lock); // T1
    if (list_linked(&timer->link)) {
        take_out(timers, timer);
        timers->count--;
    }
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
    int64_t first_ns = to_ns(first_tick(timers));
    if (first_ns < deadline_ns)
        deadline_ns = first_ns;
    timers->asleep_until = deadline_ns;
    lock_release(&timers->lock);
    return deadline_ns;
}

// ---- Turning. ----

// The tick at which the next place with timers begins; UINT64_MAX: none has.
static uint64_t next_place(const struct timers *timers, uint32_t *ret_place)
{
    uint64_t next = UINT64_MAX;

    *ret_place = 0;
    for (uint32_t level = 0; level < TIMER_LEVELS; level++) {
        if (timers->filled[level] == 0)
            continue;
        uint32_t index = (uint32_t)__builtin_ctzll(timers->filled[level]);
        uint64_t above = timers->turned >> shift_of(level + 1);
        uint64_t begin = (above << TIMER_SLOT_BITS | index) << shift_of(level);
        if (begin > next) // I2: of two that begin together, the higher
            continue;
        *ret_place = level * TIMER_SLOTS + index;
        next = begin;
    }
    return next;
}

static void fire(struct timers *timers, struct timer *timer,
                 struct task_list *ret_ready)
{
    struct task *task;

    timers->count--;
    // Once this has won, whoever waited may run on, but not past its
    // timers_cancel: the lock is ours (T1).
    if (waiter_fire(timer->waiter, ETIMEDOUT, &task) == FIRED_READY)
        task_list_push(ret_ready, task);
}

// Takes the first timer of a slot that `turned` has reached: fires it, or deals
// it out to a lower level.
static void move_first(struct timers *timers, struct timer_slot *slot,
                       struct task_list *ret_ready)
{
    struct timer *timer = container_of(slot->timers.next, struct timer, link);
    bool due = timer->place < TIMER_SLOTS;

    take_out(timers, timer);
    if (due)
        fire(timers, timer, ret_ready);
    else
        put_in(timers, timer);
}

// Turns the wheel on by up to a batch of timers; true: there are more. The
// caller has the lock.
static bool turn_some(struct timers *timers, uint64_t now, uint32_t most,
                      struct task_list *ret_ready)
{
    uint32_t place;

    for (int moved = 0; moved < BATCH;) {
        uint64_t begin = next_place(timers, &place);
        if (begin > now) {
            if (now > timers->turned)
                timers->turned = now;
            return false;
        }
        timers->turned = begin;
        struct timer_slot *slot = slot_at(timers, place);
        for (; moved < BATCH && !list_empty(&slot->timers); moved++) {
            if (ret_ready->count >= most)
                return false;
            move_first(timers, slot, ret_ready);
        }
    }
    return true;
}

void timers_expire(struct timers *timers, int64_t now_ns, uint32_t most,
                   struct task_list *ret_ready)
{
    uint64_t now = (uint64_t)now_ns >> TIMER_TICK_BITS; // whole ticks
    bool more = true;

    while (more) {
        lock_acquire(&timers->lock);
        timers->asleep_until = AWAKE;
        more = turn_some(timers, now, most, ret_ready);
        lock_release(&timers->lock);
    }
}
