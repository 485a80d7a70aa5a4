// barrier.c -- Scenarios of a dump's two barriers (dump/barrier.c).
#include "dump/barrier.h"

#include <string.h>

#include "explore/explore.h"

enum { WHO_MAX = 3, DEADLINE_NS = 5000000 };

static struct barrier barrier;
static int before[WHO_MAX]; // written before one comes
static int shown;           // by the leader, while the others stand still
static int leaders;         // under the barrier's lock
static int meetings;        // to be begun when one ends; under the lock

static void reset(uint32_t count, int more)
{
    memset(&barrier, 0, sizeof barrier);
    memset(before, 0, sizeof before);
    shown = leaders = 0;
    meetings = more;
    explore_set_step_ns(100000); // longer than the barrier looks before a sleep
    explore_expect(barrier_init(&barrier, count) == 0);
    barrier_begin(&barrier, port_now() + DEADLINE_NS);
}

// I2: what those that have come did before is seen. I4: nobody goes on.
static void lead(void)
{
    for (uint32_t i = 0; i < barrier.count; i++)
        if (barrier_place(&barrier, i) == PLACE_ARRIVED)
            explore_expect(before[i] > 0);
    shown++;
    lock_acquire(&barrier.lock);
    leaders++;
    barrier_end(&barrier);
    if (meetings-- > 0)
        barrier_begin(&barrier, port_now() + DEADLINE_NS);
    lock_release(&barrier.lock);
    barrier_wake(&barrier);
}

static void come(uint32_t who)
{
    before[who]++;
    enum pass pass = barrier_meet(&barrier, who);
    if (pass == PASS_LEADER)
        lead();
    else
        explore_expect(pass == PASS_NONE || barrier.count > 0);
}

static void come_once(void *arg)
{
    come((uint32_t)(uintptr_t)arg);
}

static void come_twice(void *arg)
{
    come((uint32_t)(uintptr_t)arg);
    come((uint32_t)(uintptr_t)arg);
}

// Stands outside; leads if nobody can.
static void conduct(void *arg)
{
    (void)arg;
    for (;;) {
        lock_acquire(&barrier.lock);
        bool active = barrier.active;
        bool leads = active && barrier_lead_outside(&barrier);
        uint32_t ended = load_relaxed(&barrier.ended); // under the lock
        lock_release(&barrier.lock);
        if (!active)
            return;
        if (leads)
            lead();
        else
            (void)port_futex_wait(&barrier.ended, ended,
                                  port_now() + DEADLINE_NS);
    }
}

static void expect_led(int times)
{
    explore_expect(leaders == times && shown == times);
    explore_expect(!barrier.active && !barrier.open);
}

static void barrier_of_two(void)
{
    reset(2, 0);
    explore_start("A", come_once, (void *)0);
    explore_start("B", come_once, (void *)1);
    explore_join_all();
    expect_led(1);
}

// The other never comes.
static void barrier_alone(void)
{
    reset(2, 0);
    explore_start("A", come_once, (void *)0);
    explore_join_all();
    expect_led(1);
}

// Nobody's time is ever up: only the last to come lets them go.
static void barrier_untimed(void)
{
    reset(2, 0);
    barrier.deadline_ns = INT64_MAX;
    explore_start("A", come_once, (void *)0);
    explore_start("B", come_once, (void *)1);
    explore_join_all();
    expect_led(1);
}

static void barrier_of_three(void)
{
    reset(3, 0);
    explore_start("A", come_once, (void *)0);
    explore_start("B", come_once, (void *)1);
    explore_start("C", come_once, (void *)2);
    explore_join_all();
    expect_led(1);
}

static void barrier_again(void)
{
    reset(2, 1);
    explore_start("A", come_twice, (void *)0);
    explore_start("B", come_twice, (void *)1);
    explore_join_all();
    expect_led(2);
}

static void barrier_outside(void)
{
    reset(2, 0);
    barrier_count_away(&barrier, 1);
    explore_start("A", come_once, (void *)0);
    explore_start("conductor", conduct, NULL);
    explore_join_all();
    expect_led(1);
}

const struct scenario barrier_scenarios[] = {
    {"barrier-alone",
     "dump barrier",
     barrier_alone,
     {2, 1},
     {3, 2},
     NULL,
     NULL},
    {"barrier-two", "dump barrier", barrier_of_two, {2, 1}, {3, 2}, NULL, NULL},
    {"barrier-three",
     "dump barrier",
     barrier_of_three,
     {2, 0},
     {3, 1},
     NULL,
     NULL},
    {"barrier-untimed",
     "dump barrier",
     barrier_untimed,
     {2, 1},
     {3, 2},
     NULL,
     NULL},
    {"barrier-again",
     "dump barrier",
     barrier_again,
     {2, 1},
     {3, 2},
     NULL,
     NULL},
    {"barrier-outside",
     "dump barrier",
     barrier_outside,
     {2, 1},
     {3, 2},
     NULL,
     NULL},
    {0},
};
