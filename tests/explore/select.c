// select.c -- Scenarios of selects, between threads.
#include <weft/weft.h>

#include <errno.h>

#include "explore/explore.h"
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
    if (side < 0)
        return;
    explore_expect(clauses[side].result == 0 && got == item_of(side));
    received[side]++;
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

const struct scenario select_scenarios[] = {
    {"select-two", "select", select_two, {2, 1}, {3, 2}, NULL, NULL},
    {"select-timed", "select", select_timed, {2, 0}, {2, 1}, NULL, NULL},
    {"select-trade", "select", select_trade, {2, 1}, {3, 2}, NULL, NULL},
    {"select-locks", "select", select_locks, {2, 0}, {3, 2}, NULL, NULL},
    {0},
};
