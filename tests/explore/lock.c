// lock.c -- Scenarios of the small lock (base/lock.c).
#include "base/lock.h"

#include "explore/explore.h"

static struct lock lock;
static int counter; // under it

static void reset(void)
{
    lock = (struct lock){0};
    counter = 0;
}

static void add_one(void *arg)
{
    (void)arg;
    lock_acquire(&lock);
    counter++;
    lock_release(&lock);
}

static void add_two(void *arg)
{
    add_one(arg);
    add_one(arg);
}

static void try_to_add(void *arg)
{
    (void)arg;
    if (!lock_try(&lock))
        return;
    counter += 10;
    lock_release(&lock);
}

static void lock_twice(void)
{
    reset();
    explore_start("A", add_two, NULL);
    explore_start("B", add_two, NULL);
    explore_join_all();
    explore_expect(counter == 4);
}

static void lock_three(void)
{
    reset();
    explore_start("A", add_one, NULL);
    explore_start("B", add_one, NULL);
    explore_start("C", add_one, NULL);
    explore_join_all();
    explore_expect(counter == 3);
}

static void lock_tried(void)
{
    reset();
    explore_start("A", add_one, NULL);
    explore_start("B", try_to_add, NULL);
    explore_start("C", add_one, NULL);
    explore_join_all();
    explore_expect(counter == 2 || counter == 12);
}

const struct scenario lock_scenarios[] = {
    {"lock-twice", "lock", lock_twice, {2, 1}, {3, 2}, NULL, NULL},
    {"lock-three", "lock", lock_three, {2, 1}, {3, 2}, NULL, NULL},
    {"lock-tried", "lock", lock_tried, {2, 1}, {3, 2}, NULL, NULL},
    {0},
};
