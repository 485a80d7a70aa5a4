// self.c -- The explorer tested on faults that it has to find.
#include <errno.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/panic.h"
#include "explore/explore.h"

static atomic_u32 flag;
static atomic_u32 word;
static int plain;

static void reset(void)
{
    store_relaxed(&flag, 0);
    store_relaxed(&word, 0);
    plain = 0;
}

static void two(void (*a)(void *), void (*b)(void *))
{
    reset();
    explore_start("A", a, NULL);
    explore_start("B", b, NULL);
    explore_join_all();
}

// ---- Data races ----

static void write_plain(void *arg)
{
    (void)arg;
    plain = 1;
    store_relaxed(&flag, 1);
}

static void publish_plain(void *arg)
{
    (void)arg;
    plain = 1;
    store_release(&flag, 1);
}

static void read_plain(void *arg)
{
    (void)arg;
    if (load_acquire(&flag) == 1)
        explore_expect(plain == 1);
}

static void race(void)
{
    two(write_plain, read_plain);
}

static void no_race(void)
{
    two(publish_plain, read_plain);
}

// ---- Sleeping ----

// The look and the sleep are two steps: a waking in between is lost.
static void sleep_badly(void *arg)
{
    (void)arg;
    if (load_acquire(&flag) == 0)
        (void)port_futex_wait(&word, 0, INT64_MAX);
}

static void wake_badly(void *arg)
{
    (void)arg;
    store_release(&flag, 1);
    port_futex_wake(&word, 1);
}

static void lost_waking(void)
{
    two(sleep_badly, wake_badly);
}

static void sleep_well(void *arg)
{
    (void)arg;
    while (load_acquire(&flag) == 0)
        (void)port_futex_wait(&flag, 0, INT64_MAX);
}

static void wake_well(void *arg)
{
    (void)arg;
    store_release(&flag, 1);
    port_futex_wake(&flag, 1);
}

static void kept_waking(void)
{
    two(sleep_well, wake_well);
}

static void sleep_for_a_while(void *arg)
{
    (void)arg;
    int error = port_futex_wait(&flag, 0, port_now() + 1000000);
    explore_outcome(error == -ETIMEDOUT ? 1 : error == -EAGAIN ? 2 : 3);
}

static void time_out(void)
{
    two(sleep_for_a_while, wake_well);
}

// ---- Others ----

static struct lock first;
static struct lock second;

static void lock_both(void *arg)
{
    struct lock *a = arg;
    struct lock *b = a == &first ? &second : &first;

    lock_acquire(a);
    lock_acquire(b);
    lock_release(b);
    lock_release(a);
}

static void deadlock(void)
{
    first = second = (struct lock){0};
    explore_start("A", lock_both, &first);
    explore_start("B", lock_both, &second);
    explore_join_all();
}

static void spin_for_ever(void *arg)
{
    (void)arg;
    while (load_relaxed(&flag) != 2)
        port_pause();
}

static void livelock(void)
{
    two(spin_for_ever, wake_well);
}

static void panics(void)
{
    ensure(false);
}

static int *memory;

static void free_it(void *arg)
{
    (void)arg;
    free(memory);
    store_release(&flag, 1);
}

static void use_it(void *arg)
{
    (void)arg;
    if (load_acquire(&flag) == 1)
        *memory = 1;
}

static void freed(void)
{
    memory = malloc(sizeof *memory);
    two(free_it, use_it);
}

// How many executions there are is known: two threads of one operation each.
static void one_step(void *arg)
{
    (void)arg;
    (void)add_relaxed(&word, 1);
}

static void all_orders(void)
{
    two(one_step, one_step);
}

#define MUST_FIND(name, fn, what)                                              \
    {                                                                          \
        name, "self", fn, {3, 2}, {3, 2}, what, NULL                           \
    }
#define MUST_PASS(name, fn, outcomes)                                          \
    {                                                                          \
        name, "self", fn, {3, 2}, {3, 2}, NULL, outcomes                       \
    }

const struct scenario self_scenarios[] = {
    MUST_FIND("finds-race", race, "data race"),
    MUST_PASS("no-race", no_race, ""),
    MUST_FIND("finds-lost-waking", lost_waking, "nobody can go on"),
    MUST_PASS("kept-waking", kept_waking, ""),
    MUST_PASS("time-out", time_out, "1 2 3"),
    MUST_FIND("finds-deadlock", deadlock, "nobody can go on"),
    MUST_FIND("finds-livelock", livelock, "for ever"),
    MUST_FIND("finds-crash", panics, "crashes"),
    MUST_FIND("finds-use-after-free", freed, "freed"),
    MUST_PASS("all-orders", all_orders, ""),
    {0},
};
