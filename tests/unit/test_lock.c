// test_lock.c -- The small lock: exclusion, sleeping, waking.
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/lock.h"

enum {
    THREADS = 6,
    ROUNDS = 20000,
};

// Plain numbers, so that ThreadSanitizer sees it too if two are inside.
struct shared {
    struct lock lock;
    long number;
    int inside;
    bool tries;
};

static void step(struct shared *shared)
{
    if (shared->inside++ != 0)
        abort();
    shared->number++;
    if (--shared->inside != 0)
        abort();
    lock_release(&shared->lock);
}

static void *add(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < ROUNDS;) {
        if (!shared->tries)
            lock_acquire(&shared->lock);
        else if (!lock_try(&shared->lock))
            continue;
        step(shared);
        i++;
    }
    return NULL;
}

static void exclude(bool tries)
{
    struct shared shared = {.tries = tries};
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add, &shared), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(shared.number, (long)THREADS * ROUNDS);
    assert_int_equal(load_relaxed(&shared.lock.word), 0);
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    exclude(false);
    exclude(true);
}

static void test_trying(void **state)
{
    (void)state;
    struct lock lock = {0};

    assert_true(lock_try(&lock));
    assert_false(lock_try(&lock));
    lock_release(&lock);
    assert_true(lock_try(&lock));
    lock_release(&lock);
    lock_acquire(&lock);
    assert_false(lock_try(&lock));
    lock_release(&lock);
}

// Several sleep on a lock that is held; one release after another wakes all.
static void *pass_through(void *arg)
{
    struct shared *shared = arg;

    lock_acquire(&shared->lock);
    step(shared);
    return NULL;
}

static void test_none_sleeps_for_ever(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        struct shared shared = {.number = 0};
        pthread_t threads[THREADS];
        lock_acquire(&shared.lock);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(
                pthread_create(&threads[i], NULL, pass_through, &shared), 0);
        while (load_relaxed(&shared.lock.word) != 2) // one is about to sleep
            (void)sched_yield();
        lock_release(&shared.lock);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(shared.number, THREADS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_trying),
        cmocka_unit_test(test_none_sleeps_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
