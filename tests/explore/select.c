// select.c -- Scenarios of selects, between threads.
#include <weft/weft.h>

#include <errno.h>

#include "explore/scheduler.h"
#include "sync/clause.h"

// Descriptors are not explored.
const struct clause_kind readable_clause;
const struct clause_kind writable_clause;

enum { LEFT, RIGHT, SIDES };

static weft_channel *channels[SIDES];
static weft_mutex mutex;
static weft_semaphore semaphore;
static int sent[SIDES];     // how often, by their own word
static int received[SIDES]; //
static int counter;         // under the mutex

static int64_t soon(void)
{
    return port_now() + 1000000;
}

static int item_of(int side)
{
    return 10 + side;
}

static void reset(size_t capacity)
{
    for (int i = 0; i < SIDES; i++) {
        explore_expect(
            weft_channel_new(sizeof(int), capacity, "c", &channels[i]) == 0);
        sent[i] = received[i] = 0;
    }
}

// Nobody may still know of them when the select is over.
static void forget(weft_clause clauses[2])
{
    clauses[0] = clauses[1] = weft_clause_none();
    __asm__ volatile("" : : "r"(clauses) : "memory"); // is not left out
}

// Each item is where it was said to go.
static void expect_accounted(void)
{
    int item;

    for (int i = 0; i < SIDES; i++) {
        while (weft_channel_recv(channels[i], &item, 0) == 0)
            received[i]++;
        explore_expect(sent[i] == received[i]);
        explore_expect(weft_channel_free(channels[i]) == 0);
    }
}

// From whichever comes first, both into one place.
static void receive_either(void *arg)
{
    int got = 0;
    weft_clause clauses[] = {
        weft_clause_recv(channels[LEFT], &got),
        weft_clause_recv(channels[RIGHT], &got),
    };
    int side = weft_select(clauses, SIDES, arg == NULL ? WEFT_NEVER : soon());

    explore_expect(side >= 0 || (arg != NULL && side == -ETIMEDOUT));
    if (side >= 0) {
        explore_expect(clauses[side].result == 0 && got == item_of(side));
        received[side]++;
    }
    forget(clauses);
}

static void send_to(void *arg)
{
    int side = (int)(uintptr_t)arg;
    int item = item_of(side);
    int error = weft_channel_send(channels[side], &item, soon());

    explore_expect(error == 0 || error == -ETIMEDOUT);
    sent[side] += error == 0;
}

static void select_two(void)
{
    reset(1);
    explore_start("chooser", receive_either, NULL);
    explore_start("left", send_to, (void *)LEFT);
    explore_start("right", send_to, (void *)RIGHT);
    explore_join_all();
    explore_expect(received[LEFT] + received[RIGHT] == 1);
    expect_accounted();
}

static void select_timed(void)
{
    reset(0);
    explore_start("chooser", receive_either, channels);
    explore_start("left", send_to, (void *)LEFT);
    explore_start("right", send_to, (void *)RIGHT);
    explore_join_all();
    expect_accounted();
}

// To whichever wants it first, both out of one place.
static void send_either(void *arg)
{
    int item = 0;
    weft_clause clauses[] = {
        weft_clause_send(channels[LEFT], &item),
        weft_clause_send(channels[RIGHT], &item),
    };
    int side = weft_select(clauses, SIDES, soon());

    (void)arg;
    explore_expect(side == -ETIMEDOUT ||
                   (side >= 0 && clauses[side].result == 0));
    if (side >= 0)
        sent[side]++;
    forget(clauses);
}

static void receive_from(void *arg)
{
    int side = (int)(uintptr_t)arg;
    int item;
    int error = weft_channel_recv(channels[side], &item, soon());

    explore_expect(error == 0 || error == -ETIMEDOUT);
    received[side] += error == 0;
}

static void select_send(void)
{
    reset(0);
    explore_start("left", receive_from, (void *)LEFT);
    explore_start("right", receive_from, (void *)RIGHT);
    explore_start("chooser", send_either, NULL);
    explore_join_all();
    explore_expect(sent[LEFT] + sent[RIGHT] <= 1);
    expect_accounted();
}

// Offers on one side and asks on the other.
static void trade(void *arg)
{
    int offered = (int)(uintptr_t)arg;
    int asked = SIDES - 1 - offered;
    int item = item_of(offered);
    int got = 0;
    weft_clause clauses[] = {
        weft_clause_send(channels[offered], &item),
        weft_clause_recv(channels[asked], &got),
    };
    int chosen = weft_select(clauses, 2, WEFT_NEVER);

    explore_expect(chosen >= 0 && clauses[chosen].result == 0);
    if (chosen == 0)
        sent[offered]++;
    else
        received[asked]++;
    explore_expect(chosen == 0 || got == item_of(asked));
    forget(clauses);
}

// Two selects that can only serve each other.
static void select_trade(void)
{
    reset(0);
    explore_start("A", trade, (void *)LEFT);
    explore_start("B", trade, (void *)RIGHT);
    explore_join_all();
    explore_expect(sent[LEFT] + sent[RIGHT] == 1);
    expect_accounted();
}

static void take_either(void *arg)
{
    weft_clause clauses[] = {
        weft_clause_lock(&mutex),
        weft_clause_acquire(&semaphore, 1),
    };
    int chosen = weft_select(clauses, 2, arg == NULL ? WEFT_NEVER : soon());

    explore_expect(chosen >= 0 || (arg != NULL && chosen == -ETIMEDOUT));
    if (chosen == 0) {
        counter++;
        explore_expect(weft_mutex_unlock(&mutex) == 0);
    } else if (chosen == 1) {
        explore_expect(weft_semaphore_release(&semaphore, 1) == 0);
    }
    forget(clauses);
}

static void lock_and_count(void *arg)
{
    (void)arg;
    explore_expect(weft_mutex_lock(&mutex, WEFT_NEVER) == 0);
    counter++;
    explore_expect(weft_mutex_unlock(&mutex) == 0);
}

static void give_permit(void *arg)
{
    (void)arg;
    explore_expect(weft_semaphore_release(&semaphore, 1) == 0);
}

// The mutex is never left held, and the permit is there in the end.
static void select_locks(void)
{
    explore_expect(weft_mutex_init(&mutex, "m") == 0);
    explore_expect(weft_semaphore_init(&semaphore, 0, "s") == 0);
    counter = 0;
    explore_start("holder", lock_and_count, NULL);
    explore_start("chooser", take_either, NULL);
    explore_start("giver", give_permit, NULL);
    explore_join_all();
    explore_expect(counter == 1 || counter == 2);
    explore_expect(weft_mutex_try_lock(&mutex) == 0);
    explore_expect(weft_mutex_unlock(&mutex) == 0);
    explore_expect(weft_semaphore_try_acquire(&semaphore, 1) == 0);
    explore_expect(weft_mutex_deinit(&mutex) == 0);
    explore_expect(weft_semaphore_deinit(&semaphore) == 0);
}

// ---- What was not chosen is left as it was ----

static weft_event event;
static int shown; // before the event is set
static weft_rwlock rwlock;

// A way to have the counter for oneself.
struct way {
    weft_clause (*clause)(void);
    int (*take)(int64_t deadline_ns);
    int (*give)(void);
};

static weft_clause mutex_clause(void)
{
    return weft_clause_lock(&mutex);
}

static int mutex_take(int64_t deadline_ns)
{
    return weft_mutex_lock(&mutex, deadline_ns);
}

static int mutex_give(void)
{
    return weft_mutex_unlock(&mutex);
}

static weft_clause permit_clause(void)
{
    return weft_clause_acquire(&semaphore, 1);
}

static int permit_take(int64_t deadline_ns)
{
    return weft_semaphore_acquire(&semaphore, 1, deadline_ns);
}

static int permit_give(void)
{
    return weft_semaphore_release(&semaphore, 1);
}

static weft_clause write_clause(void)
{
    return weft_clause_lock_write(&rwlock);
}

static int write_take(int64_t deadline_ns)
{
    return weft_rwlock_lock_write(&rwlock, deadline_ns);
}

static int write_give(void)
{
    return weft_rwlock_unlock(&rwlock);
}

static const struct way by_mutex = {mutex_clause, mutex_take, mutex_give};
static const struct way by_permit = {permit_clause, permit_take, permit_give};
static const struct way by_write = {write_clause, write_take, write_give};

static void count_once(void *arg)
{
    const struct way *way = arg;

    explore_expect(way->take(WEFT_NEVER) == 0);
    counter++;
    explore_expect(way->give() == 0);
}

static void count_or_hear(void *arg)
{
    const struct way *way = arg;
    weft_clause clauses[] = {way->clause(), weft_clause_event(&event)};
    int chosen = weft_select(clauses, 2, WEFT_NEVER);

    explore_expect(chosen >= 0 && clauses[chosen].result == 0);
    if (chosen == 1) {
        explore_expect(shown == 1);
    } else {
        counter++;
        explore_expect(way->give() == 0);
    }
    forget(clauses);
}

static void set_event(void)
{
    shown = 1;
    explore_expect(weft_event_set(&event) == 0);
}

// Takes it when the chooser may have gone for the event, but is still queued.
static void set_and_count(void *arg)
{
    set_event();
    count_once(arg);
}

static void leave_by(const struct way *way)
{
    explore_expect(weft_event_init(&event, "e") == 0);
    counter = shown = 0;
    explore_start("holder", count_once, (void *)(uintptr_t)way);
    explore_start("chooser", count_or_hear, (void *)(uintptr_t)way);
    explore_start("setter", set_and_count, (void *)(uintptr_t)way);
    explore_join_all();
    explore_expect(counter == 2 || counter == 3);
    explore_expect(way->take(0) == 0 && way->give() == 0);
    explore_expect(weft_event_deinit(&event) == 0);
}

static void select_mutex(void)
{
    explore_expect(weft_mutex_init(&mutex, "m") == 0);
    leave_by(&by_mutex);
    explore_expect(weft_mutex_deinit(&mutex) == 0);
}

static void select_permit(void)
{
    explore_expect(weft_semaphore_init(&semaphore, 1, "s") == 0);
    leave_by(&by_permit);
    explore_expect(weft_semaphore_deinit(&semaphore) == 0);
}

static void select_write(void)
{
    explore_expect(weft_rwlock_init(&rwlock, "r") == 0);
    leave_by(&by_write);
    explore_expect(weft_rwlock_deinit(&rwlock) == 0);
}

static weft_waitgroup group;

static void do_part(void *arg)
{
    (void)arg;
    shown = 1;
    explore_expect(weft_waitgroup_done(&group) == 0);
}

static void await_part(void *arg)
{
    weft_clause clauses[] = {weft_clause_waitgroup(&group),
                             weft_clause_time(soon())};
    int chosen = weft_select(clauses, 2, WEFT_NEVER);

    (void)arg;
    explore_expect(chosen == 1 || (chosen == 0 && shown == 1));
    forget(clauses);
}

static void select_group(void)
{
    explore_expect(weft_waitgroup_init(&group, "w") == 0);
    explore_expect(weft_waitgroup_add(&group, 1) == 0);
    shown = 0;
    explore_start("worker", do_part, NULL);
    explore_start("waiter", await_part, NULL);
    explore_join_all();
    explore_expect(weft_waitgroup_deinit(&group) == 0);
}

// ---- Joining ----

static weft_task joined;

static void *count_and_end(void *arg)
{
    counter++;
    return arg;
}

static void set_only(void *arg)
{
    (void)arg;
    set_event();
}

// The task is joined once, by the clause or after it.
static void join_or_hear(void *arg)
{
    void *result = NULL;
    weft_clause clauses[] = {weft_clause_join(joined, &result),
                             weft_clause_event(&event)};
    int chosen = weft_select(clauses, 2, WEFT_NEVER);

    (void)arg;
    explore_expect(chosen >= 0 && clauses[chosen].result == 0);
    if (chosen == 1)
        explore_expect(weft_task_join(joined, WEFT_NEVER, &result) == 0);
    explore_expect(result == &counter && counter == 1);
    explore_expect(weft_task_join(joined, 0, NULL) == -ESRCH);
    forget(clauses);
}

static void select_join(void)
{
    scheduler_begin(1);
    explore_expect(weft_event_init(&event, "e") == 0);
    counter = shown = 0;
    joined = scheduler_spawn(count_and_end, &counter);
    explore_start("chooser", join_or_hear, NULL);
    explore_start("setter", set_only, NULL);
    explore_join_all();
    explore_expect(weft_event_deinit(&event) == 0);
    const struct task *slot = table_at(&runtime.table, HANDLE_INDEX(joined));
    explore_expect(STATE_PHASE(load_relaxed(&slot->state)) == PHASE_FREE);
    scheduler_end();
}

const struct scenario select_scenarios[] = {
    {"select-two", "select", select_two, {2, 1}, {3, 2}, NULL, NULL},
    {"select-timed", "select", select_timed, {2, 0}, {2, 2}, NULL, NULL},
    {"select-trade", "select", select_trade, {2, 1}, {3, 2}, NULL, NULL},
    {"select-locks", "select", select_locks, {2, 0}, {3, 2}, NULL, NULL},
    {"select-send", "select", select_send, {2, 0}, {2, 1}, NULL, NULL},
    {"select-mutex", "select", select_mutex, {2, 0}, {2, 2}, NULL, NULL},
    {"select-permit", "select", select_permit, {2, 0}, {2, 2}, NULL, NULL},
    {"select-write", "select", select_write, {2, 0}, {2, 2}, NULL, NULL},
    {"select-group", "select", select_group, {1, 1}, {3, 2}, NULL, NULL},
    {"select-join", "select", select_join, {1, 0}, {2, 2}, NULL, NULL},
    {0},
};
