// clock.c -- A body for many seeds: the wall clock is set while tasks wait for
// its times, in sleeps and in selects.
//
// Virtual time moves on by itself only when nobody can run, so a task that
// missed a setting would be seen hours late, or never.
#include <stdio.h>
#include <weft/weft.h>

#include "sim/seeds.h"

#define LONG (100 * WEFT_SECOND)
#define SLACK (10 * WEFT_SECOND) // that faults may hold a thread up for

const unsigned seeds_faults = 0;

static int wrong;

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "clock: %s\n", what);
    wrong = 1;
}

struct sleeper {
    int64_t until_ns;
    bool by_select;
    int64_t woke_ns; // monotonic
};

static void *sleep_until(void *arg)
{
    struct sleeper *sleeper = arg;
    weft_clause clauses[] = {
        weft_clause_time(WEFT_NEVER),
        weft_clause_wall(sleeper->until_ns),
    };

    if (sleeper->by_select)
        check(weft_select(clauses, 2, WEFT_NEVER) == 1, "select");
    else
        check(weft_task_sleep_wall(sleeper->until_ns) == 0, "sleep");
    sleeper->woke_ns = weft_time_now();
    return NULL;
}

// Two sleepers for a time; the clock is set a while after they have begun, or
// while they begin.
static void set_while_waiting(int64_t span_ns, int64_t after_ns, int64_t by_ns,
                              int64_t expected_ns)
{
    struct sleeper sleepers[2];
    weft_task tasks[2];
    int64_t start_ns = weft_time_now();
    int64_t until_ns = weft_time_wall_now() + span_ns;

    for (int i = 0; i < 2; i++) {
        sleepers[i] =
            (struct sleeper){.until_ns = until_ns, .by_select = i == 1};
        check(weft_task_spawn(NULL, sleep_until, &sleepers[i], &tasks[i]) == 0,
              "spawn");
    }
    if (after_ns > 0)
        check(weft_task_sleep(start_ns + after_ns) == 0, "sleep");
    weft_sim_set_clock(by_ns);
    for (int i = 0; i < 2; i++) {
        check(weft_task_join(tasks[i], WEFT_NEVER, NULL) == 0, "join");
        int64_t took_ns = sleepers[i].woke_ns - start_ns;
        check(took_ns >= expected_ns, "woken before the time");
        check(took_ns < expected_ns + SLACK, "woken long after the time");
    }
    check(weft_time_wall_now() >= until_ns, "the clock does not show it");
}

static void *set_it(void *arg)
{
    // Forward past the time: at once. To before it: so much earlier.
    set_while_waiting(10 * LONG, LONG, 20 * LONG, LONG);
    set_while_waiting(10 * LONG, LONG, 4 * LONG, 6 * LONG);
    // Back: so much later.
    set_while_waiting(2 * LONG, LONG, -3 * LONG, 5 * LONG);
    // As they begin to wait.
    set_while_waiting(10 * LONG, 0, 20 * LONG, 0);
    set_while_waiting(LONG, 0, -LONG, 2 * LONG);
    return arg;
}

// Set at random: whoever wakes does so because the clock shows the time.
static void *set_often(void *arg)
{
    struct sleeper sleeper = {.until_ns = weft_time_wall_now() + LONG};
    weft_task task;

    check(weft_task_spawn(NULL, sleep_until, &sleeper, &task) == 0, "spawn");
    for (int i = 0; i < 10; i++) {
        int64_t by_ns = (int64_t)(weft_sim_random() % (uint64_t)LONG);
        check(weft_task_sleep(weft_time_after(by_ns / 16)) == 0, "sleep");
        weft_sim_set_clock(i % 2 == 0 ? -by_ns : by_ns / 2);
    }
    check(weft_task_join(task, WEFT_NEVER, NULL) == 0, "join");
    return arg;
}

// Whatever the wall clock does, other sleeps do not hear of it.
static void *sleep_beside(void *arg)
{
    int64_t until_ns = weft_time_after(LONG);

    weft_sim_set_clock(10 * LONG);
    check(weft_task_sleep(until_ns) == 0, "sleep");
    check(weft_time_now() >= until_ns, "a sleep ended early");
    check(weft_time_now() < until_ns + SLACK, "a sleep ended late");
    return arg;
}

int seeds_body(void *arg)
{
    (void)arg;
    check(weft_run(NULL, set_it, NULL, NULL) == 0, "run");
    check(weft_run(NULL, set_often, NULL, NULL) == 0, "run");
    check(weft_run(NULL, sleep_beside, NULL, NULL) == 0, "run");
    return wrong;
}
