// waiter.c -- Scenarios of one who waits (task/waiter.c): threads.
#include "task/waiter.h"

#include <errno.h>
#include <string.h>

#include "explore/explore.h"

static struct waiter waiter;
static int gift[2]; // written before a firing, read by who was fired
static int won[2];  // who has won
static int outcome; // of the wait

static void reset(void)
{
    memset(&waiter, 0, sizeof waiter);
    memset(gift, 0, sizeof gift);
    memset(won, 0, sizeof won);
    waiter_arm(&waiter, NULL, false);
}

static void fire(void *arg)
{
    int who = arg != NULL;
    struct task *task;

    gift[who] = 1;
    won[who] = waiter_fire(&waiter, EPIPE + who, &task) == FIRED_WON;
}

static void wait_until(int64_t deadline_ns)
{
    outcome = waiter_block(&waiter, deadline_ns);
    if (outcome != ETIMEDOUT)
        explore_expect(gift[outcome - EPIPE] == 1);
}

static void wait_for_ever(void *arg)
{
    (void)arg;
    wait_until(INT64_MAX);
}

static void wait_for_a_while(void *arg)
{
    (void)arg;
    wait_until(port_now() + 1000000);
}

static void expect_one_winner(void)
{
    explore_expect(won[0] + won[1] + (outcome == ETIMEDOUT) == 1);
    if (outcome != ETIMEDOUT)
        explore_expect(won[outcome - EPIPE]);
}

static void fired_by_two(void)
{
    reset();
    explore_start("waiter", wait_for_ever, NULL);
    explore_start("A", fire, NULL);
    explore_start("B", fire, gift);
    explore_join_all();
    expect_one_winner();
}

static void fired_in_time(void)
{
    reset();
    explore_start("waiter", wait_for_a_while, NULL);
    explore_start("A", fire, NULL);
    explore_start("B", fire, gift);
    explore_join_all();
    expect_one_winner();
    explore_outcome((uint32_t)outcome);
}

// ---- A task: whoever fires it may run it, and sees what was saved (W3) ----

static struct task parked;
static int saved; // stands for its stack

static void park(void *arg)
{
    uint64_t word = STATE(1, 0, PHASE_PARKING);

    (void)arg;
    saved = 1;
    (void)cas_seq_cst(&parked.state, &word, STATE(1, 0, PHASE_WAITING));
}

static void fire_parked(void *arg)
{
    (void)arg;
    if (waiter_fire_word(&parked, STATE(1, 0, PHASE_PARKING), 0) == FIRED_READY)
        explore_expect(saved == 1);
}

static void fired_when_saved(void)
{
    memset(&parked, 0, sizeof parked);
    store_relaxed(&parked.state, STATE(1, 0, PHASE_PARKING));
    saved = 0;
    explore_start("worker", park, NULL);
    explore_start("waker", fire_parked, NULL);
    explore_join_all();
}

// ---- A task that waits again: a firing of its first wait is late (W2) ----

static void fire_first(void *arg)
{
    int who = arg != NULL;
    enum fired fired =
        waiter_fire_word(&parked, STATE(1, 0, PHASE_PARKING), who);

    won[who] = fired != FIRED_LOST;
}

static void wait_again(void *arg)
{
    (void)arg;
    while (STATE_PHASE(load_acquire(&parked.state)) != PHASE_READY)
        port_pause();
    store_release(&parked.state, STATE(2, 0, PHASE_RUNNING));
    store_release(&parked.state, STATE(2, 0, PHASE_WAITING));
}

static void fired_late(void)
{
    memset(&parked, 0, sizeof parked);
    memset(won, 0, sizeof won);
    store_relaxed(&parked.state, STATE(1, 0, PHASE_WAITING));
    explore_start("worker", wait_again, NULL);
    explore_start("waker", fire_first, NULL);
    explore_start("timer", fire_first, won);
    explore_join_all();
    explore_expect(won[0] + won[1] == 1);
}

const struct scenario waiter_scenarios[] = {
    {"waiter-late", "waiter", fired_late, {2, 1}, {3, 2}, NULL, NULL},
    {"waiter-task", "waiter", fired_when_saved, {2, 1}, {3, 2}, NULL, NULL},
    {"waiter-two", "waiter", fired_by_two, {2, 1}, {3, 2}, NULL, NULL},
    {"waiter-timed", "waiter", fired_in_time, {2, 1}, {3, 2}, NULL, "20 21 6e"},
    {0},
};
