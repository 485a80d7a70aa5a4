// test_select_race.c -- Selects against each other and everything else: what
// is chosen happens once, what is not chosen does not happen.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"
#include "support/threads.h"

// ---- Items that wander between channels by selects. ----

enum { CHANNELS = 4, TOKENS = 6 };

// Some are rendezvous. Each token is in one channel or with one wanderer.
struct maze {
    weft_channel *channels[CHANNELS];
    weft_mutex mutex;
    weft_semaphore semaphore;
    weft_event event;
    atomic_uint seed;
    int rounds;
    long inside; // under the mutex
    atomic_int permits;
    atomic_long held; // tokens that a wanderer keeps at its end
};

struct wanderer {
    struct maze *maze;
    uint64_t chance;
    int token; // 0: none
    int got;
    weft_clause clauses[2 * CHANNELS + 3];
};

// With a token it offers that, without one it asks, both to all channels; and
// wants the mutex and a permit in any case.
static size_t list_wishes(struct wanderer *self)
{
    struct maze *maze = self->maze;
    size_t count = 0;

    for (int i = 0; i < CHANNELS; i++) {
        weft_channel *channel = maze->channels[i];
        self->clauses[count++] = self->token != 0
                                     ? weft_clause_send(channel, &self->token)
                                     : weft_clause_recv(channel, &self->got);
    }
    self->clauses[count++] = weft_clause_lock(&maze->mutex);
    self->clauses[count++] = weft_clause_acquire(&maze->semaphore, 1);
    self->clauses[count++] = weft_clause_event(&maze->event);
    return count;
}

static void do_with(struct wanderer *self, int chosen)
{
    struct maze *maze = self->maze;

    expect_is(self->clauses[chosen].result, 0);
    if (chosen < CHANNELS) {
        self->token = self->token != 0 ? 0 : self->got;
    } else if (chosen == CHANNELS) {
        maze->inside++;
        expect_is(weft_mutex_unlock(&maze->mutex), 0);
    } else if (chosen == CHANNELS + 1) {
        expect(atomic_fetch_add(&maze->permits, 1) < 2);
        (void)atomic_fetch_sub(&maze->permits, 1);
        expect_is(weft_semaphore_release(&maze->semaphore, 1), 0);
    } else {
        (void)weft_event_reset(&maze->event);
    }
}

static void disturb(struct wanderer *self)
{
    struct maze *maze = self->maze;
    uint32_t what = random_below(&self->chance, 16);

    if (what == 0)
        (void)weft_event_set(&maze->event);
    if (what == 1 && weft_mutex_try_lock(&maze->mutex) == 0) {
        maze->inside++;
        expect_is(weft_mutex_unlock(&maze->mutex), 0);
    }
    if (what == 2)
        (void)weft_task_yield();
}

// Returns how often it was in the mutex, by a select.
static void *wander(void *arg)
{
    struct maze *maze = arg;
    struct wanderer self = {.maze = maze};
    long locked = 0;

    self.chance = atomic_fetch_add(&maze->seed, 1);
    for (int i = 0; i < maze->rounds; i++) {
        size_t count = list_wishes(&self);
        int64_t deadline =
            random_below(&self.chance, 4) == 0
                ? weft_time_after(random_below(&self.chance, 30000))
                : weft_time_after(10 * WEFT_MILLISECOND);
        int chosen = weft_select(self.clauses, count, deadline);
        expect(chosen >= 0 || chosen == -ETIMEDOUT);
        if (chosen >= 0)
            do_with(&self, chosen);
        locked += chosen == CHANNELS;
        disturb(&self);
    }
    if (self.token != 0)
        (void)atomic_fetch_add(&maze->held, self.token);
    return (void *)locked;
}

static long drain(weft_channel *channel)
{
    long sum = 0;
    int token;

    while (weft_channel_recv(channel, &token, 0) == 0)
        sum += token;
    return sum;
}

static void run_maze(unsigned workers, int tasks, int threads)
{
    static const size_t capacities[CHANNELS] = {0, 1, 0, 3};
    struct maze maze = {
        .mutex = WEFT_MUTEX_INIT("maze"),
        .semaphore = WEFT_SEMAPHORE_INIT("two", 2),
        .event = WEFT_EVENT_INIT("now"),
        .rounds = scaled(1500),
    };
    long sum = 0;
    int put = 0;

    for (int i = 0; i < CHANNELS; i++)
        assert_int_equal(weft_channel_new(sizeof(int), capacities[i], "maze",
                                          &maze.channels[i]),
                         0);
    for (int token = 1; token <= TOKENS; token++)
        for (int i = 0; i < CHANNELS; i++)
            if (weft_channel_send(maze.channels[i], &token, 0) == 0) {
                put += token;
                break;
            }
    long locked = run_mixed(workers, tasks, threads, wander, &maze);
    assert_true(maze.inside >= locked);
    for (int i = 0; i < CHANNELS; i++) {
        sum += drain(maze.channels[i]);
        assert_int_equal(weft_channel_free(maze.channels[i]), 0);
    }
    assert_int_equal(sum + atomic_load(&maze.held), put);
    assert_int_equal(weft_semaphore_available(&maze.semaphore), 2);
    assert_int_equal(weft_mutex_deinit(&maze.mutex), 0);
    assert_int_equal(weft_semaphore_deinit(&maze.semaphore), 0);
    assert_int_equal(weft_event_deinit(&maze.event), 0);
}

static void test_nothing_is_lost(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 8; workers *= 2)
        run_maze(workers, 12, 0);
    run_maze(2, 8, 2);
}

// ---- Cancelled in the moment of being chosen. ----

struct offer {
    weft_channel *channels[2];
    weft_mutex mutex;
    int got;
};

// What it has taken: 1 an item, 2 the mutex, 0 nothing, as it says itself.
static void *take_any(void *arg)
{
    struct offer *offer = arg;
    weft_clause clauses[] = {
        weft_clause_recv(offer->channels[0], &offer->got),
        weft_clause_recv(offer->channels[1], &offer->got),
        weft_clause_lock(&offer->mutex),
    };
    int chosen = weft_select(clauses, 3, WEFT_NEVER);

    if (chosen == 2)
        expect_is(weft_mutex_unlock(&offer->mutex), 0);
    if (chosen < 0)
        expect_is(chosen, -ECANCELED);
    return (void *)(intptr_t)chosen;
}

static void *offer_and_cancel(void *arg)
{
    uint64_t chance = 11;

    for (int round = 0; round < scaled(1500); round++) {
        struct offer offer = {.mutex = WEFT_MUTEX_INIT("offer")};
        int item = round + 1;
        int left = 0;
        for (int i = 0; i < 2; i++)
            expect_is(
                weft_channel_new(sizeof(int), i, NULL, &offer.channels[i]), 0);
        expect_is(weft_mutex_lock(&offer.mutex, WEFT_NEVER), 0);
        weft_task task = spawn(take_any, &offer);
        if (random_below(&chance, 2) == 0)
            expect_is(weft_task_sleep(weft_time_after(20000)), 0);
        int which = (int)random_below(&chance, 3);
        bool first = random_below(&chance, 2) == 0;
        if (first)
            (void)weft_task_cancel(task);
        if (which == 2)
            expect_is(weft_mutex_unlock(&offer.mutex), 0);
        bool sent = which < 2 &&
                    weft_channel_send(offer.channels[which], &item, 0) == 0;
        if (!first)
            (void)weft_task_cancel(task);
        intptr_t chosen = join(task);
        if (chosen == 0 || chosen == 1)
            expect(sent && chosen == which && offer.got == item);
        else if (sent) // not taken: it must still be there
            expect(weft_channel_recv(offer.channels[which], &left, 0) == 0 &&
                   left == item);
        if (which != 2)
            expect_is(weft_mutex_unlock(&offer.mutex), 0);
        for (int i = 0; i < 2; i++)
            expect_is(weft_channel_free(offer.channels[i]), 0);
        expect_is(weft_mutex_deinit(&offer.mutex), 0);
    }
    return arg;
}

static void test_cancelled_or_chosen(void **state)
{
    (void)state;
    run(offer_and_cancel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost),
        cmocka_unit_test(test_cancelled_or_chosen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
