// test_broadcast.c -- Broadcasts: to every receiver all, or the word how much
// it has lost.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"
#include "support/threads.h"

#define MS WEFT_MILLISECOND

static weft_broadcast *broadcast_of(size_t capacity)
{
    weft_broadcast *broadcast;

    expect_is(weft_broadcast_new(sizeof(int), capacity, "news", &broadcast), 0);
    return broadcast;
}

static weft_receiver receiver_of(weft_broadcast *broadcast)
{
    weft_receiver receiver;

    expect_is(weft_broadcast_subscribe(broadcast, &receiver), 0);
    return receiver;
}

static int send_number(weft_broadcast *broadcast, int number)
{
    return weft_broadcast_send(broadcast, &number);
}

// The next number, or what went wrong.
static void *recv_number(void *receiver)
{
    int number = -1;
    int error = weft_broadcast_recv(receiver, &number, WEFT_NEVER);

    return (void *)(intptr_t)(error != 0 ? error : number);
}

static intptr_t received(weft_receiver *receiver)
{
    return (intptr_t)recv_number(receiver);
}

static int recv_at_once(weft_receiver *receiver)
{
    int number = -1;
    int error = weft_broadcast_recv(receiver, &number, 0);

    return error != 0 ? error : number;
}

// ---- What is kept. ----

// Each gets all that was sent since it began.
static void *get_all(void *arg)
{
    weft_broadcast *broadcast = broadcast_of(4);
    expect_is(send_number(broadcast, 100), 0); // for nobody
    weft_receiver first = receiver_of(broadcast);

    expect_is(recv_at_once(&first), -ETIMEDOUT);
    expect_is(send_number(broadcast, 1), 0);
    weft_receiver second = receiver_of(broadcast);
    expect_is(send_number(broadcast, 2), 0);
    weft_receiver copy = first;
    expect_is(received(&first), 1);
    expect_is(received(&first), 2);
    expect_is(received(&second), 2);
    expect_is(received(&copy), 1);
    expect_is(recv_at_once(&first), -ETIMEDOUT);
    expect_is(recv_at_once(&second), -ETIMEDOUT);
    expect_is(received(&copy), 2);
    expect_is(weft_broadcast_free(broadcast), 0);
    return arg;
}

static void test_each_gets_all(void **state)
{
    (void)state;
    run(get_all);
    (void)get_all(NULL);
}

// One that is slower than the sender is told how much it has lost, once, and
// goes on with the oldest that is kept.
static void *fall_back(void *arg)
{
    static const size_t capacities[] = {1, 2, 3, 7, 64};

    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        int capacity = (int)capacities[i];
        weft_broadcast *broadcast = broadcast_of(capacities[i]);
        weft_receiver slow = receiver_of(broadcast);
        for (int lost = 1; lost < 40; lost += 3) {
            for (int j = 0; j < capacity + lost; j++)
                expect_is(send_number(broadcast, j), 0);
            expect_is(received(&slow), -EOVERFLOW);
            expect_is(slow.lost, lost);
            for (int j = lost; j < capacity + lost; j++)
                expect_is(received(&slow), j);
            expect_is(recv_at_once(&slow), -ETIMEDOUT);
        }
        for (int j = 0; j < capacity; j++) // as far behind as may be
            expect_is(send_number(broadcast, j), 0);
        for (int j = 0; j < capacity; j++)
            expect_is(received(&slow), j);
        expect_is(weft_broadcast_free(broadcast), 0);
    }
    return arg;
}

// More is lost after it was told, before it comes again.
static void *fall_back_again(void *arg)
{
    weft_broadcast *broadcast = broadcast_of(2);
    weft_receiver slow = receiver_of(broadcast);

    for (int i = 0; i < 5; i++)
        expect_is(send_number(broadcast, i), 0);
    expect_is(recv_at_once(&slow), -EOVERFLOW);
    expect_is(slow.lost, 3);
    for (int i = 5; i < 9; i++)
        expect_is(send_number(broadcast, i), 0);
    expect_is(recv_at_once(&slow), -EOVERFLOW);
    expect_is(slow.lost, 4);
    expect_is(received(&slow), 7);
    expect_is(received(&slow), 8);
    expect_is(weft_broadcast_free(broadcast), 0);
    return arg;
}

static void test_who_lags_is_told(void **state)
{
    (void)state;
    run(fall_back);
    run(fall_back_again);
    (void)fall_back(NULL);
}

// ---- Waiters. ----

enum { CROWD = 10 };

static void *wake_all(void *arg)
{
    weft_broadcast *broadcast = broadcast_of(1);
    weft_receiver receivers[CROWD];
    weft_task tasks[CROWD];

    for (int i = 0; i < CROWD; i++) {
        receivers[i] = receiver_of(broadcast);
        tasks[i] = spawn(recv_number, &receivers[i]);
        until_waiting(tasks[i], WEFT_WAIT_CHAN_RECV);
    }
    expect_is(weft_broadcast_free(broadcast), -EBUSY);
    expect_is(send_number(broadcast, 3), 0);
    expect_is(send_number(broadcast, 4), 0); // they have the first already
    for (int i = 0; i < CROWD; i++) {
        expect_is(join(tasks[i]), 3);
        expect_is(received(&receivers[i]), 4);
        expect_is(recv_at_once(&receivers[i]), -ETIMEDOUT);
    }
    expect_is(weft_broadcast_free(broadcast), 0);
    return arg;
}

static void test_all_who_wait_get_it(void **state)
{
    (void)state;
    run(wake_all);
}

// Who gives up has lost nothing.
static void *give_up(void *arg)
{
    weft_broadcast *broadcast = broadcast_of(4);
    weft_receiver receiver = receiver_of(broadcast);
    int number = -1;
    int64_t until = weft_time_after(2 * MS);

    expect_is(weft_broadcast_recv(&receiver, &number, until), -ETIMEDOUT);
    expect(weft_time_now() >= until);
    weft_task task = spawn(recv_number, &receiver);
    until_waiting(task, WEFT_WAIT_CHAN_RECV);
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), -ECANCELED);
    for (int i = 1; i <= 3; i++)
        expect_is(send_number(broadcast, i), 0);
    task = spawn(recv_number, &receiver);
    expect_is(weft_task_cancel(task), 0);
    intptr_t got = join(task);
    expect(got == 1 || got == -ECANCELED);
    for (int i = got == 1 ? 2 : 1; i <= 3; i++)
        expect_is(received(&receiver), i);
    expect_is(weft_broadcast_free(broadcast), 0);
    return arg;
}

static void test_waiters_give_up(void **state)
{
    (void)state;
    run(give_up);
}

// ---- Closing. ----

static void *close_it(void *arg)
{
    weft_broadcast *broadcast = broadcast_of(2);
    weft_receiver early = receiver_of(broadcast);

    for (int i = 0; i < 3; i++)
        expect_is(send_number(broadcast, i), 0);
    weft_receiver late = receiver_of(broadcast);
    expect_is(weft_broadcast_close(broadcast), 0);
    expect_is(weft_broadcast_close(broadcast), 0);
    expect_is(send_number(broadcast, 9), -EPIPE);
    expect_is(received(&early), -EOVERFLOW);
    expect_is(early.lost, 1);
    expect_is(received(&early), 1);
    expect_is(received(&early), 2);
    expect_is(received(&early), -EPIPE);
    expect_is(received(&early), -EPIPE);
    expect_is(received(&late), -EPIPE);
    weft_receiver after = receiver_of(broadcast);
    expect_is(received(&after), -EPIPE);
    expect_is(weft_broadcast_free(broadcast), 0);
    return arg;
}

static void *close_on_waiters(void *arg)
{
    weft_broadcast *broadcast = broadcast_of(2);
    weft_receiver receivers[CROWD];
    weft_task tasks[CROWD];

    for (int i = 0; i < CROWD; i++) {
        receivers[i] = receiver_of(broadcast);
        tasks[i] = spawn(recv_number, &receivers[i]);
        until_waiting(tasks[i], WEFT_WAIT_CHAN_RECV);
    }
    expect_is(weft_broadcast_close(broadcast), 0);
    expect_is(weft_broadcast_free(broadcast), 0); // they need it no more
    for (int i = 0; i < CROWD; i++)
        expect_is(join(tasks[i]), -EPIPE);
    return arg;
}

static void test_closing(void **state)
{
    (void)state;
    run(close_it);
    run(close_on_waiters);
    (void)close_it(NULL);
}

// ---- One that never waits. ----

static void *ring(void *bell)
{
    atomic_store((atomic_int *)bell, 1);
    return NULL;
}

// Whoever finds an item at every call lets others run all the same.
static void *receive_without_waiting(void *arg)
{
    weft_broadcast *broadcast = broadcast_of(1);
    weft_receiver receiver = receiver_of(broadcast);
    atomic_int bell = 0;
    weft_task task = spawn(ring, &bell);

    while (atomic_load(&bell) == 0) {
        expect_is(send_number(broadcast, 1), 0);
        expect_is(received(&receiver), 1);
    }
    join(task);
    expect_is(weft_broadcast_free(broadcast), 0);
    return arg;
}

static void test_others_run_too(void **state)
{
    (void)state;
    run_with(1, receive_without_waiting, NULL);
}

// ---- In a select. ----

static void *choose_at_once(void *arg)
{
    weft_broadcast *broadcast = broadcast_of(2);
    weft_receiver receiver = receiver_of(broadcast);
    int got = 0;
    weft_clause clause = weft_clause_broadcast(&receiver, &got);

    expect_is(weft_select(&clause, 1, 0), -ETIMEDOUT);
    for (int i = 1; i <= 3; i++)
        expect_is(send_number(broadcast, i), 0);
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect_is(clause.result, -EOVERFLOW);
    expect_is(receiver.lost, 1);
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect(clause.result == 0 && got == 2);
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect(clause.result == 0 && got == 3);
    expect_is(weft_select(&clause, 1, weft_time_after(MS)), -ETIMEDOUT);
    expect_is(weft_broadcast_close(broadcast), 0);
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect_is(clause.result, -EPIPE);
    expect_is(weft_broadcast_free(broadcast), 0);
    return arg;
}

struct choice {
    weft_receiver left, right;
};

// From either, until both have ended: the sum of what came.
static void *receive_both(void *arg)
{
    struct choice *choice = arg;
    int got = 0;
    int sum = 0;
    int open = 2;
    weft_clause clauses[] = {
        weft_clause_broadcast(&choice->left, &got),
        weft_clause_broadcast(&choice->right, &got),
    };

    while (open > 0) {
        int which = weft_select(clauses, 2, WEFT_NEVER);
        expect(which >= 0);
        if (clauses[which].result == 0) {
            sum += got;
        } else {
            expect_is(clauses[which].result, -EPIPE);
            expect_is(received(which == 0 ? &choice->left : &choice->right),
                      -EPIPE); // it is where it was
            clauses[which] = weft_clause_none();
            open--;
        }
    }
    return (void *)(intptr_t)sum;
}

static void *choose_and_wait(void *arg)
{
    enum { ROUNDS = 50 };
    weft_broadcast *left = broadcast_of(ROUNDS);
    weft_broadcast *right = broadcast_of(ROUNDS);
    struct choice choices[3];
    weft_task tasks[3];

    for (int i = 0; i < 3; i++) {
        choices[i] = (struct choice){receiver_of(left), receiver_of(right)};
        tasks[i] = spawn(receive_both, &choices[i]);
        until_waiting(tasks[i], WEFT_WAIT_SELECT);
    }
    expect_is(weft_broadcast_free(right), -EBUSY);
    for (int i = 1; i <= ROUNDS; i++) {
        expect_is(send_number(left, i), 0);
        expect_is(send_number(right, 1000 * i), 0);
        (void)weft_task_yield();
    }
    expect_is(weft_broadcast_close(left), 0);
    expect_is(weft_broadcast_close(right), 0);
    for (int i = 0; i < 3; i++)
        expect_is(join(tasks[i]), 1001 * ROUNDS * (ROUNDS + 1) / 2);
    expect_is(weft_broadcast_free(left), 0);
    expect_is(weft_broadcast_free(right), 0);
    return arg;
}

static void test_in_a_select(void **state)
{
    (void)state;
    run(choose_at_once);
    run(choose_and_wait);
    (void)choose_at_once(NULL);
}

// ---- Everything at once. ----

enum { READERS = 6 };

struct race {
    weft_broadcast *broadcast;
    int items;
    bool hasty;
    weft_waitgroup readers; // that have not begun
};

struct item {
    int64_t number;
    int64_t again; // the same: a torn copy shows
};

struct reader {
    struct race *race;
    weft_receiver receiver;
    int number;
};

static int64_t deadline_of(const struct reader *reader, uint64_t *chance)
{
    return reader->race->hasty ? weft_time_after(random_below(chance, 20000))
                               : WEFT_NEVER;
}

static int read_one(struct reader *reader, struct item *ret_item,
                    uint64_t *chance)
{
    int64_t deadline_ns = deadline_of(reader, chance);
    weft_clause clause = weft_clause_broadcast(&reader->receiver, ret_item);

    if (reader->number % 2 == 0)
        return weft_broadcast_recv(&reader->receiver, ret_item, deadline_ns);
    int chosen = weft_select(&clause, 1, deadline_ns);
    return chosen == 0 ? clause.result : chosen;
}

// What came and what was lost make up all that was sent, in order.
static void *read_all(void *arg)
{
    struct reader *reader = arg;
    uint64_t chance = (uint64_t)reader->number;
    int64_t next = 0;
    int error;

    expect_is(
        weft_broadcast_subscribe(reader->race->broadcast, &reader->receiver),
        0);
    expect_is(weft_waitgroup_done(&reader->race->readers), 0);
    do {
        struct item item = {-1, -2};
        error = read_one(reader, &item, &chance);
        if (error == 0) {
            expect_is(item.number, next);
            expect_is(item.again, next);
            next++;
        } else if (error == -EOVERFLOW) {
            next += (int64_t)reader->receiver.lost;
        }
    } while (error == 0 || error == -EOVERFLOW || error == -ETIMEDOUT);
    expect(error == -EPIPE || error == -ECANCELED);
    if (error == -EPIPE)
        expect_is(next, reader->race->items);
    else // what it has not received is still its own
        expect_is(reader->receiver.next, next);
    return NULL;
}

static void send_all(struct race *race)
{
    expect_is(weft_waitgroup_wait(&race->readers, WEFT_NEVER), 0);
    for (int64_t i = 0; i < race->items; i++) {
        struct item item = {i, i};
        expect_is(weft_broadcast_send(race->broadcast, &item), 0);
        if (i % 3 == 0)
            (void)weft_task_yield();
    }
    expect_is(weft_broadcast_close(race->broadcast), 0);
}

// An item for each that is cancelled.
static void send_and_cancel(struct race *race, const weft_task *tasks)
{
    expect_is(weft_waitgroup_wait(&race->readers, WEFT_NEVER), 0);
    for (int i = 0; i < race->items; i++) {
        struct item item = {i, i};
        expect_is(weft_broadcast_send(race->broadcast, &item), 0);
        expect_is(weft_task_cancel(tasks[i]), 0);
    }
    expect_is(weft_broadcast_close(race->broadcast), 0);
}

static void start_race(struct race *race, size_t capacity)
{
    expect_is(weft_broadcast_new(sizeof(struct item), capacity, "race",
                                 &race->broadcast),
              0);
    expect_is(weft_waitgroup_init(&race->readers, "readers"), 0);
    expect_is(weft_waitgroup_add(&race->readers, READERS), 0);
}

static void hold(size_t capacity, bool hasty, bool cancelling)
{
    struct race race = {
        .items = cancelling ? READERS / 2 : scaled(1000),
        .hasty = hasty,
    };
    struct reader readers[READERS];
    weft_task tasks[READERS];

    start_race(&race, capacity);
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.race = &race, .number = i};
        tasks[i] = spawn(read_all, &readers[i]);
    }
    if (cancelling)
        send_and_cancel(&race, tasks);
    else
        send_all(&race);
    for (int i = 0; i < READERS; i++)
        join(tasks[i]);
    expect_is(weft_broadcast_free(race.broadcast), 0);
}

static void *race_of_tasks(void *arg)
{
    hold(1, false, false);
    hold(16, false, false);
    hold(16, true, false);
    for (int i = 0; i < scaled(20); i++)
        hold(2, false, true);
    return arg;
}

static void test_nothing_is_lost_in_silence(void **state)
{
    (void)state;
    run(race_of_tasks);
}

// Half of the readers are threads, and so is the sender.
static void test_threads_among_the_tasks(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(2);
    struct race race = {.items = scaled(1000)};
    struct reader readers[READERS];
    weft_task tasks[READERS];
    pthread_t threads[READERS];

    start_race(&race, 8);
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.race = &race, .number = i};
        if (i < READERS / 2)
            tasks[i] = spawn_on(runtime, read_all, &readers[i]);
        else
            threads[i] = start_thread(read_all, &readers[i]);
    }
    send_all(&race);
    for (int i = 0; i < READERS; i++) {
        if (i < READERS / 2)
            (void)join(tasks[i]);
        else
            (void)join_thread(threads[i]);
    }
    expect_is(weft_broadcast_free(race.broadcast), 0);
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- Misuse. ----

static void *misuse(void *arg)
{
    weft_broadcast *broadcast = broadcast_of(1);
    weft_receiver receiver = {0};
    weft_clause clause = weft_clause_broadcast(&receiver, &receiver);
    int number = 0;

    expect_is(weft_broadcast_new(0, 1, NULL, &broadcast), -EINVAL);
    expect_is(weft_broadcast_new(1, 0, NULL, &broadcast), -EINVAL);
    expect_is(weft_broadcast_new(1, SIZE_MAX, NULL, &broadcast), -EINVAL);
    expect_is(weft_broadcast_new(1 << 20, 1025, NULL, &broadcast), -EINVAL);
    expect_is(weft_broadcast_new(1, 1, NULL, NULL), -EINVAL);
    expect_is(weft_broadcast_subscribe(NULL, &receiver), -EINVAL);
    expect_is(weft_broadcast_subscribe(broadcast, NULL), -EINVAL);
    expect_is(weft_broadcast_send(NULL, &number), -EINVAL);
    expect_is(weft_broadcast_send(broadcast, NULL), -EINVAL);
    expect_is(weft_broadcast_close(NULL), -EINVAL);
    expect_is(weft_broadcast_free(NULL), 0);
    expect_is(weft_broadcast_recv(NULL, &number, 0), -EINVAL);
    expect_is(weft_broadcast_recv(&receiver, &number, 0), -EINVAL);
    expect_is(weft_select(&clause, 1, 0), -EINVAL);
    receiver = receiver_of(broadcast);
    expect_is(weft_broadcast_recv(&receiver, NULL, 0), -EINVAL);
    clause = weft_clause_broadcast(NULL, &number);
    expect_is(weft_select(&clause, 1, 0), -EINVAL);
    clause = weft_clause_broadcast(&receiver, NULL);
    expect_is(weft_select(&clause, 1, 0), -EINVAL);
    receiver.next = 7; // what was never sent
    expect_is(weft_broadcast_recv(&receiver, &number, 0), -EINVAL);
    clause = weft_clause_broadcast(&receiver, &number);
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect_is(clause.result, -EINVAL);
    expect_is(weft_broadcast_free(broadcast), 0);
    return arg;
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    run(misuse);
    (void)misuse(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_gets_all),
        cmocka_unit_test(test_who_lags_is_told),
        cmocka_unit_test(test_all_who_wait_get_it),
        cmocka_unit_test(test_waiters_give_up),
        cmocka_unit_test(test_closing),
        cmocka_unit_test(test_others_run_too),
        cmocka_unit_test(test_in_a_select),
        cmocka_unit_test(test_nothing_is_lost_in_silence),
        cmocka_unit_test(test_threads_among_the_tasks),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
