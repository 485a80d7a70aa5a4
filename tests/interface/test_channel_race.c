// test_channel_race.c -- Every item that was sent is received, exactly once.
//
// Senders and receivers give up and are cancelled at any moment. What a send
// has confirmed must come out of the channel once, what it has not must never.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

enum {
    SENDERS = 6,
    RECEIVERS = 6,
    ITEMS_MAX = 4096,
};

struct item {
    uint32_t sender;
    uint32_t number;
    uint64_t check; // of the two: a torn copy shows
};

struct race {
    weft_channel *channel;
    int items;  // each sender has
    bool hasty; // with deadlines
    atomic_int sent[SENDERS][ITEMS_MAX];
    atomic_int received[SENDERS][ITEMS_MAX];
    atomic_int progress;
};

struct runner {
    struct race *race;
    uint32_t number;
};

static uint64_t check_of(const struct item *item)
{
    return ((uint64_t)item->sender << 32 | item->number) *
           UINT64_C(0x9e3779b97f4a7c15);
}

static int64_t deadline(const struct race *race, uint64_t *chance)
{
    if (!race->hasty)
        return WEFT_NEVER;
    uint32_t how = random_below(chance, 10);
    return how == 0   ? 0
           : how == 1 ? WEFT_NEVER
                      : weft_time_after(random_below(chance, 20000));
}

static void *send_all(void *arg)
{
    struct runner *runner = arg;
    struct race *race = runner->race;
    uint64_t chance = runner->number + 1;

    for (int i = 0; i < race->items;) {
        struct item item = {.sender = runner->number, .number = (uint32_t)i};
        item.check = check_of(&item);
        int error =
            weft_channel_send(race->channel, &item, deadline(race, &chance));
        memset(&item, 0xff, sizeof item); // nobody may read it any more
        if (error == -ECANCELED || error == -EPIPE)
            break;
        (void)atomic_fetch_add(&race->progress, 1);
        if (error == -ETIMEDOUT)
            continue; // the same again
        expect_is(error, 0);
        (void)atomic_fetch_add(&race->sent[runner->number][i], 1);
        i++;
    }
    return NULL;
}

static void take(struct race *race, const struct item *item)
{
    expect(item->check == check_of(item));
    expect(item->sender < SENDERS && item->number < ITEMS_MAX);
    expect_is(atomic_fetch_add(&race->received[item->sender][item->number], 1),
              0);
}

static void *receive_all(void *arg)
{
    struct runner *runner = arg;
    struct race *race = runner->race;
    uint64_t chance = runner->number + 100;

    for (;;) {
        struct item item = {0};
        int error =
            weft_channel_recv(race->channel, &item, deadline(race, &chance));
        if (error == -ECANCELED || error == -EPIPE)
            break;
        (void)atomic_fetch_add(&race->progress, 1);
        if (error == -ETIMEDOUT)
            continue;
        expect_is(error, 0);
        take(race, &item);
    }
    return NULL;
}

static struct race *new_race(size_t capacity, int items, bool hasty)
{
    struct race *race = calloc(1, sizeof *race);

    expect(items <= ITEMS_MAX);
    expect_is(
        weft_channel_new(sizeof(struct item), capacity, "race", &race->channel),
        0);
    race->items = items;
    race->hasty = hasty;
    return race;
}

// Takes out what was left, and compares. Everybody has ended.
static void judge(struct race *race, bool all_sent)
{
    struct item item;

    while (weft_channel_recv(race->channel, &item, 0) == 0)
        take(race, &item);
    for (int i = 0; i < SENDERS; i++)
        for (int j = 0; j < race->items; j++) {
            expect_is(race->received[i][j], race->sent[i][j]);
            expect(!all_sent || race->sent[i][j] == 1);
        }
    expect_is(weft_channel_free(race->channel), 0);
    free(race);
}

static void hold(struct race *race, bool cancelling)
{
    struct runner runners[SENDERS + RECEIVERS];
    weft_task tasks[SENDERS + RECEIVERS];
    uint64_t chance = 1;

    for (uint32_t i = 0; i < SENDERS + RECEIVERS; i++) {
        runners[i] = (struct runner){race, i % SENDERS};
        tasks[i] = spawn(i < SENDERS ? send_all : receive_all, &runners[i]);
    }
    for (int i = 0; cancelling && i < 6; i++) {
        until_reached(&race->progress, (int)random_below(&chance, 60) + 60 * i);
        expect_is(weft_task_cancel(tasks[2 * i]), 0);
    }
    for (int i = 0; i < SENDERS; i++)
        join(tasks[i]);
    expect_is(weft_channel_close(race->channel), 0);
    for (int i = SENDERS; i < SENDERS + RECEIVERS; i++)
        join(tasks[i]);
    judge(race, !cancelling);
}

static void *race_plainly(void *arg)
{
    hold(new_race(1, scaled(500), false), false);
    hold(new_race(3, scaled(500), false), false);
    hold(new_race(100, scaled(500), false), false);
    return arg;
}

static void test_many_senders_and_receivers(void **state)
{
    (void)state;
    run(race_plainly);
}

static void *race_hastily(void *arg)
{
    hold(new_race(1, scaled(300), true), false);
    hold(new_race(4, scaled(300), true), false);
    return arg;
}

static void test_with_deadlines(void **state)
{
    (void)state;
    run(race_hastily);
}

static void *race_and_cancel(void *arg)
{
    for (int i = 0; i < scaled(10); i++) {
        hold(new_race(1, 400, true), true);
        hold(new_race(3, 400, false), true);
    }
    return arg;
}

static void test_with_cancelling(void **state)
{
    (void)state;
    run(race_and_cancel);
}

// Threads send and receive among the tasks, with deadlines.
static void *mix(void *arg)
{
    struct race *race = new_race(2, scaled(200), true);
    struct runner runners[SENDERS + RECEIVERS];
    weft_task tasks[SENDERS + RECEIVERS];
    pthread_t threads[SENDERS + RECEIVERS];

    for (uint32_t i = 0; i < SENDERS + RECEIVERS; i++) {
        weft_task_fn *fn = i < SENDERS ? send_all : receive_all;
        runners[i] = (struct runner){race, i % SENDERS};
        if (i % 2 == 0)
            tasks[i] = spawn_on(arg, fn, &runners[i]);
        else
            expect_is(pthread_create(&threads[i], NULL, fn, &runners[i]), 0);
    }
    for (int i = 0; i < SENDERS + RECEIVERS; i++) {
        if (i == SENDERS)
            expect_is(weft_channel_close(race->channel), 0);
        if (i % 2 == 0)
            join(tasks[i]);
        else
            expect_is(pthread_join(threads[i], NULL), 0);
    }
    judge(race, true);
    return NULL;
}

static void test_threads_among_the_tasks(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 4; workers *= 2) {
        weft_runtime *runtime = start_with(workers);
        (void)mix(runtime);
        expect_is(weft_runtime_free(runtime), 0);
    }
}

// Closed at any moment: what was confirmed is still inside.
static void *close_in_between(void *arg)
{
    uint64_t chance = 7;

    for (int i = 0; i < scaled(30); i++) {
        struct race *race = new_race(1 + random_below(&chance, 5), 400, true);
        struct runner runners[SENDERS + RECEIVERS];
        weft_task tasks[SENDERS + RECEIVERS];
        for (uint32_t j = 0; j < SENDERS + RECEIVERS; j++) {
            runners[j] = (struct runner){race, j % SENDERS};
            tasks[j] = spawn(j < SENDERS ? send_all : receive_all, &runners[j]);
        }
        until_reached(&race->progress, (int)random_below(&chance, 500));
        expect_is(weft_channel_close(race->channel), 0);
        for (int j = 0; j < SENDERS + RECEIVERS; j++)
            join(tasks[j]);
        judge(race, false);
    }
    return arg;
}

static void test_closed_in_between(void **state)
{
    (void)state;
    run(close_in_between);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_senders_and_receivers),
        cmocka_unit_test(test_with_deadlines),
        cmocka_unit_test(test_with_cancelling),
        cmocka_unit_test(test_threads_among_the_tasks),
        cmocka_unit_test(test_closed_in_between),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
