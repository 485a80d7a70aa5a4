// test_watch.c -- Watches: the latest value, and who follows it.
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

static weft_watch *watch_of(const int *initial)
{
    weft_watch *watch;

    expect_is(weft_watch_new(sizeof(int), initial, "settings", &watch), 0);
    return watch;
}

static int send_number(weft_watch *watch, int number)
{
    return weft_watch_send(watch, &number);
}

struct follower {
    weft_watch *watch;
    uint64_t version;
};

// The next number, or what went wrong.
static void *follow(void *arg)
{
    struct follower *follower = arg;
    int number = -1;
    int error = weft_watch_recv(follower->watch, &follower->version, &number,
                                WEFT_NEVER);

    return (void *)(intptr_t)(error != 0 ? error : number);
}

static intptr_t followed(struct follower *follower)
{
    return (intptr_t)follow(follower);
}

static int follow_at_once(struct follower *follower)
{
    int number = -1;
    int error =
        weft_watch_recv(follower->watch, &follower->version, &number, 0);

    return error != 0 ? error : number;
}

// The value as it is.
static int value_of(weft_watch *watch)
{
    struct follower follower = {watch, 0};

    return follow_at_once(&follower);
}

// ---- The value. ----

static void *see_the_latest(void *arg)
{
    int initial = 10;
    weft_watch *watch = watch_of(&initial);
    struct follower follower = {watch, 0};

    expect_is(value_of(watch), 10);
    expect_is(followed(&follower), 10);
    expect_is(follow_at_once(&follower), -ETIMEDOUT);
    for (int i = 0; i < 5; i++)
        expect_is(send_number(watch, i), 0);
    expect_is(value_of(watch), 4);
    expect_is(followed(&follower), 4); // the others were skipped
    expect_is(follow_at_once(&follower), -ETIMEDOUT);
    expect_is(value_of(watch), 4); // there as often as one looks
    expect_is(send_number(watch, 4), 0);
    expect_is(followed(&follower), 4); // new, though the same
    expect_is(weft_watch_free(watch), 0);
    return arg;
}

static void *begin_without(void *arg)
{
    weft_watch *watch = watch_of(NULL);

    expect_is(value_of(watch), -ETIMEDOUT);
    expect_is(send_number(watch, 6), 0);
    expect_is(value_of(watch), 6);
    expect_is(weft_watch_free(watch), 0);
    watch = watch_of(NULL);
    expect_is(weft_watch_close(watch), 0);
    expect_is(value_of(watch), -EPIPE);
    expect_is(weft_watch_free(watch), 0);
    return arg;
}

static void test_the_latest_counts(void **state)
{
    (void)state;
    run(see_the_latest);
    run(begin_without);
    (void)see_the_latest(NULL);
}

// ---- Waiters. ----

enum { CROWD = 10 };

static void *wake_all(void *arg)
{
    int initial = 0;
    weft_watch *watch = watch_of(&initial);
    struct follower followers[CROWD];
    weft_task tasks[CROWD];

    for (int i = 0; i < CROWD; i++) {
        followers[i] = (struct follower){watch, 0};
        expect_is(followed(&followers[i]), 0);
        tasks[i] = spawn(follow, &followers[i]);
        until_waiting(tasks[i], WEFT_WAIT_CHAN_RECV);
    }
    expect_is(weft_watch_free(watch), -EBUSY);
    expect_is(send_number(watch, 1), 0);
    expect_is(send_number(watch, 2), 0);
    for (int i = 0; i < CROWD; i++) {
        expect_is(join(tasks[i]), 1); // by which it was woken
        expect_is(followed(&followers[i]), 2);
        expect_is(follow_at_once(&followers[i]), -ETIMEDOUT);
    }
    expect_is(weft_watch_free(watch), 0);
    return arg;
}

static void test_all_who_wait_see_it(void **state)
{
    (void)state;
    run(wake_all);
}

static void *give_up(void *arg)
{
    weft_watch *watch = watch_of(NULL);
    struct follower follower = {watch, 0};
    int number = -1;
    int64_t until = weft_time_after(2 * MS);

    expect_is(weft_watch_recv(watch, &follower.version, &number, until),
              -ETIMEDOUT);
    expect(weft_time_now() >= until);
    weft_task task = spawn(follow, &follower);
    until_waiting(task, WEFT_WAIT_CHAN_RECV);
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), -ECANCELED);
    expect_is(send_number(watch, 1), 0);
    expect_is(followed(&follower), 1);
    expect_is(weft_watch_free(watch), 0);
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
    int initial = 1;
    weft_watch *watch = watch_of(&initial);
    struct follower fresh = {watch, 0};
    struct follower waiting = {watch, 0};

    expect_is(followed(&waiting), 1);
    weft_task task = spawn(follow, &waiting);
    until_waiting(task, WEFT_WAIT_CHAN_RECV);
    expect_is(weft_watch_close(watch), 0);
    expect_is(join(task), -EPIPE);
    expect_is(weft_watch_close(watch), 0);
    expect_is(send_number(watch, 2), -EPIPE);
    expect_is(followed(&fresh), 1); // it still gets the last
    expect_is(followed(&fresh), -EPIPE);
    expect_is(value_of(watch), 1);
    expect_is(weft_watch_free(watch), 0);
    return arg;
}

static void test_closing(void **state)
{
    (void)state;
    run(close_it);
}

// ---- In a select. ----

static void *choose_at_once(void *arg)
{
    int initial = 5;
    int got = 0;
    uint64_t version = 0;
    weft_watch *watch = watch_of(&initial);
    weft_clause clauses[] = {
        weft_clause_watch(watch, &version, &got),
        weft_clause_none(),
    };

    expect_is(weft_select(clauses, 2, WEFT_NEVER), 0);
    expect(clauses[0].result == 0 && got == 5);
    expect_is(weft_select(clauses, 2, 0), -ETIMEDOUT);
    clauses[1] = weft_clause_time(weft_time_after(MS));
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 1);
    expect_is(send_number(watch, 6), 0);
    expect_is(send_number(watch, 7), 0);
    clauses[1] = weft_clause_none();
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 0);
    expect(clauses[0].result == 0 && got == 7);
    expect_is(weft_watch_close(watch), 0);
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 0);
    expect_is(clauses[0].result, -EPIPE);
    expect_is(weft_watch_free(watch), 0);
    return arg;
}

struct settings {
    weft_watch *left, *right;
    atomic_int seen; // of the left: the latest
};

// Follows two, until both are closed.
static void *follow_both(void *arg)
{
    struct settings *settings = arg;
    uint64_t versions[2] = {0, 0};
    int got[2] = {-1, -1};
    int open = 2;
    weft_clause clauses[] = {
        weft_clause_watch(settings->left, &versions[0], &got[0]),
        weft_clause_watch(settings->right, &versions[1], &got[1]),
    };

    while (open > 0) {
        int before[2] = {got[0], got[1]};
        int which = weft_select(clauses, 2, WEFT_NEVER);
        expect(which >= 0);
        if (clauses[which].result == 0) {
            expect(got[which] > before[which]);
            if (which == 0)
                atomic_store(&settings->seen, got[0]);
            continue;
        }
        expect_is(clauses[which].result, -EPIPE);
        clauses[which] = weft_clause_none();
        open--;
    }
    return (void *)(intptr_t)(got[0] * 1000 + got[1]);
}

static void *choose_and_wait(void *arg)
{
    enum { ROUNDS = 50 };
    struct settings settings = {watch_of(NULL), watch_of(NULL), 0};
    weft_task task = spawn(follow_both, &settings);

    until_waiting(task, WEFT_WAIT_SELECT);
    for (int i = 1; i <= ROUNDS; i++) {
        expect_is(send_number(settings.right, i), 0);
        expect_is(send_number(settings.left, i), 0);
        until_reached(&settings.seen, i); // none is missed in the end
    }
    expect_is(weft_watch_close(settings.left), 0);
    expect_is(weft_watch_close(settings.right), 0);
    expect_is(join(task), ROUNDS * 1001);
    expect_is(weft_watch_free(settings.left), 0);
    expect_is(weft_watch_free(settings.right), 0);
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

enum { FOLLOWERS = 6, WRITERS = 2 };

struct value {
    int64_t number[WRITERS]; // each writer's own, of which none goes back
    int64_t check;           // their sum: a torn copy shows
};

struct race {
    weft_watch *watch;
    weft_mutex lock; // of the writers
    struct value value;
    atomic_int writers; // begun
};

// None goes back, and the last comes to all.
static void *follow_all(void *arg)
{
    struct race *race = arg;
    struct value last = {0};
    uint64_t version = 0;
    uint64_t before = 0;
    int error;

    for (;;) {
        struct value value;
        error = weft_watch_recv(race->watch, &version, &value,
                                weft_time_after(50 * WEFT_MICROSECOND));
        if (error == -ETIMEDOUT)
            continue;
        if (error != 0)
            break;
        expect(version > before);
        before = version;
        for (int i = 0; i < WRITERS; i++)
            expect(value.number[i] >= last.number[i]);
        expect_is(value.check, value.number[0] + value.number[1]);
        last = value;
    }
    expect_is(error, -EPIPE);
    return (void *)(intptr_t)last.check;
}

static void *write_all(void *arg)
{
    struct race *race = arg;
    int writer = atomic_fetch_add(&race->writers, 1);

    for (int i = 1; i <= scaled(1000); i++) {
        expect_is(weft_mutex_lock(&race->lock, WEFT_NEVER), 0);
        race->value.number[writer] = i;
        race->value.check = race->value.number[0] + race->value.number[1];
        expect_is(weft_watch_send(race->watch, &race->value), 0);
        expect_is(weft_mutex_unlock(&race->lock), 0);
        (void)weft_task_yield();
    }
    return NULL;
}

static void test_many_follow_many(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(2);
    struct race race = {.lock = WEFT_MUTEX_INIT("writers")};
    weft_task followers[FOLLOWERS];
    pthread_t threads[2];

    expect_is(
        weft_watch_new(sizeof(struct value), &race.value, "race", &race.watch),
        0);
    for (int i = 0; i < FOLLOWERS; i++)
        followers[i] = spawn_on(runtime, follow_all, &race);
    threads[0] = start_thread(follow_all, &race);
    threads[1] = start_thread(write_all, &race);
    (void)join(spawn_on(runtime, write_all, &race));
    (void)join_thread(threads[1]);
    expect_is(weft_watch_close(race.watch), 0);
    for (int i = 0; i < FOLLOWERS; i++)
        expect_is(join(followers[i]), 2 * scaled(1000));
    expect_is(join_thread(threads[0]), 2 * scaled(1000));
    expect_is(weft_watch_free(race.watch), 0);
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- Misuse. ----

static void *misuse(void *arg)
{
    weft_watch *watch = watch_of(NULL);
    uint64_t version = 0;
    int number = 0;
    weft_clause clause = weft_clause_watch(NULL, &version, &number);

    expect_is(weft_watch_new(0, NULL, NULL, &watch), -EINVAL);
    expect_is(weft_watch_new((1 << 30) + 1, NULL, NULL, &watch), -EINVAL);
    expect_is(weft_watch_new(1, NULL, NULL, NULL), -EINVAL);
    expect_is(weft_watch_send(NULL, &number), -EINVAL);
    expect_is(weft_watch_send(watch, NULL), -EINVAL);
    expect_is(weft_watch_recv(NULL, &version, &number, 0), -EINVAL);
    expect_is(weft_watch_recv(watch, NULL, &number, 0), -EINVAL);
    expect_is(weft_watch_recv(watch, &version, NULL, 0), -EINVAL);
    expect_is(weft_watch_close(NULL), -EINVAL);
    expect_is(weft_watch_free(NULL), 0);
    expect_is(weft_select(&clause, 1, 0), -EINVAL);
    clause = weft_clause_watch(watch, NULL, &number);
    expect_is(weft_select(&clause, 1, 0), -EINVAL);
    clause = weft_clause_watch(watch, &version, NULL);
    expect_is(weft_select(&clause, 1, 0), -EINVAL);
    version = 1; // it has had none so far
    expect_is(weft_watch_recv(watch, &version, &number, 0), -EINVAL);
    expect_is(weft_watch_free(watch), 0);
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
        cmocka_unit_test(test_the_latest_counts),
        cmocka_unit_test(test_all_who_wait_see_it),
        cmocka_unit_test(test_waiters_give_up),
        cmocka_unit_test(test_closing),
        cmocka_unit_test(test_in_a_select),
        cmocka_unit_test(test_many_follow_many),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
