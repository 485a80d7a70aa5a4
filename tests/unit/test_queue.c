// test_queue.c -- The run queue: order, bounds, and every task exactly once.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/queue.h"

enum { TASKS = 4 * QUEUE_CAP + 4 };

static struct task tasks[TASKS];

static struct queue *queue_new(void)
{
    return calloc(1, sizeof(struct queue));
}

// Has its counts begin anywhere, as if so many had gone through already.
static struct queue *queue_from(uint64_t begin)
{
    struct queue *queue = queue_new();

    store_relaxed(&queue->head, begin);
    store_relaxed(&queue->tail, begin);
    return queue;
}

// ---- One thread. ----

static void test_first_in_first_out(void **state)
{
    (void)state;
    struct queue *queue = queue_new();

    assert_null(queue_pop(queue));
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < QUEUE_CAP; i++) {
            assert_int_equal(queue_length(queue), i);
            assert_true(queue_push(queue, &tasks[i], i % 2));
        }
        assert_int_equal(queue_length(queue), QUEUE_CAP);
        for (int i = 0; i < QUEUE_CAP; i++)
            assert_ptr_equal(queue_pop(queue), &tasks[i]);
        assert_null(queue_pop(queue));
    }
    free(queue);
}

static void test_a_full_one_says_so(void **state)
{
    (void)state;
    struct queue *queue = queue_new();

    for (int i = 0; i < QUEUE_CAP; i++)
        assert_true(queue_push(queue, &tasks[i], true));
    assert_false(queue_push(queue, &tasks[QUEUE_CAP], true));
    assert_false(queue_push(queue, &tasks[QUEUE_CAP], false));
    assert_ptr_equal(queue_pop(queue), &tasks[0]);
    assert_true(queue_push(queue, &tasks[QUEUE_CAP], true));
    for (int i = 1; i <= QUEUE_CAP; i++)
        assert_ptr_equal(queue_pop(queue), &tasks[i]);
    free(queue);
}

// Slots wrap wherever the counts stand; and the counts themselves, if ever.
static void test_it_wraps(void **state)
{
    (void)state;
    static const uint64_t begins[] = {1, QUEUE_CAP - 1, UINT32_MAX - 1,
                                      UINT64_MAX - 1};

    for (size_t b = 0; b < sizeof begins / sizeof *begins; b++) {
        struct queue *queue = queue_from(begins[b]);
        for (int i = 0; i < 3 * QUEUE_CAP; i++) {
            assert_true(queue_push(queue, &tasks[i], true));
            if (i > 0) // one stays inside, so that every place is met
                assert_ptr_equal(queue_pop(queue), &tasks[i - 1]);
        }
        assert_int_equal(queue_length(queue), 1);
        free(queue);
    }
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

// The sizes to try: every small one, some between, and the capacity itself.
static int larger(int size)
{
    if (size < 2 * QUEUE_BATCH + 2 || size == QUEUE_CAP)
        return size + 1;
    return least(size + 997, QUEUE_CAP);
}

static void test_popping_a_batch(void **state)
{
    (void)state;
    for (int count = 0; count <= QUEUE_CAP; count = larger(count)) {
        struct queue *queue = queue_from((uint64_t)count * 7);
        struct task_list half = {0};
        for (int i = 0; i < count; i++)
            assert_true(queue_push(queue, &tasks[i], true));
        queue_pop_batch(queue, &half);
        int expected = least(count, QUEUE_BATCH);
        assert_int_equal(half.count, expected);
        for (int i = 0; i < expected; i++)
            assert_ptr_equal(task_list_pop(&half), &tasks[i]);
        assert_null(task_list_pop(&half));
        for (int i = expected; i < count; i++) // the younger ones stay
            assert_ptr_equal(queue_pop(queue), &tasks[i]);
        assert_null(queue_pop(queue));
        free(queue);
    }
}

// A thief takes the older half, rounded up, runs the newest of it, and has the
// others in his own queue, in their order, behind what was there.
static void test_stealing_half(void **state)
{
    (void)state;
    uint32_t taken;

    for (int count = 0; count <= QUEUE_CAP; count = larger(count)) {
        struct queue *victim = queue_from((uint64_t)count * 3);
        struct queue *thief = queue_from((uint64_t)count * 5);
        for (int i = 0; i < count; i++)
            assert_true(queue_push(victim, &tasks[i], true));
        struct task *task = queue_steal(victim, thief, &taken);
        int expected = least((count + 1) / 2, QUEUE_BATCH);
        assert_int_equal(taken, expected);
        assert_ptr_equal(task, count == 0 ? NULL : &tasks[expected - 1]);
        for (int i = 0; i < expected - 1; i++)
            assert_ptr_equal(queue_pop(thief), &tasks[i]);
        assert_null(queue_pop(thief));
        for (int i = expected; i < count; i++)
            assert_ptr_equal(queue_pop(victim), &tasks[i]);
        assert_null(queue_pop(victim));
        free(victim);
        free(thief);
    }
}

static void test_a_thief_takes_what_he_has_room_for(void **state)
{
    (void)state;
    uint32_t taken;

    for (int room = 0; room <= QUEUE_CAP; room = larger(room)) {
        struct queue *victim = queue_new();
        struct queue *thief = queue_from((uint64_t)room);
        for (int i = 0; i < QUEUE_CAP; i++)
            assert_true(queue_push(victim, &tasks[i], true));
        for (int i = 0; i < QUEUE_CAP - room; i++)
            assert_true(queue_push(thief, &tasks[QUEUE_CAP + i], true));
        struct task *task = queue_steal(victim, thief, &taken);
        int expected = least(least(room, QUEUE_CAP / 2), QUEUE_BATCH);
        assert_int_equal(taken, expected);
        assert_ptr_equal(task, expected == 0 ? NULL : &tasks[expected - 1]);
        for (int i = 0; i < QUEUE_CAP - room; i++)
            assert_ptr_equal(queue_pop(thief), &tasks[QUEUE_CAP + i]);
        for (int i = 0; i < expected - 1; i++)
            assert_ptr_equal(queue_pop(thief), &tasks[i]);
        assert_null(queue_pop(thief));
        assert_ptr_equal(queue_pop(victim), &tasks[expected]);
        free(victim);
        free(thief);
    }
}

static void test_peeking_takes_nothing(void **state)
{
    (void)state;
    struct queue *queue = queue_from(UINT64_MAX - 1);
    struct task *seen[QUEUE_CAP];

    assert_int_equal(queue_peek(queue, seen, QUEUE_CAP), 0);
    for (int i = 0; i < QUEUE_CAP; i++)
        assert_true(queue_push(queue, &tasks[i], true));
    assert_int_equal(queue_peek(queue, seen, 1), 1);
    assert_ptr_equal(seen[0], &tasks[0]);
    assert_int_equal(queue_peek(queue, seen, QUEUE_CAP), QUEUE_CAP);
    for (int i = 0; i < QUEUE_CAP; i++) {
        assert_ptr_equal(seen[i], &tasks[i]);
        assert_ptr_equal(queue_pop(queue), &tasks[i]);
    }
    free(queue);
}

// ---- An owner and thieves. ----

enum {
    THIEVES = 3,
    CROWD = 64, // tasks that go round
    TURNS = 10000,
};

// Tasks go round between the owner and the thieves. Whoever has one marks it
// as his by plain writes, so that two who have the same one at a time are seen,
// by the test and by ThreadSanitizer.
struct round {
    struct queue *owned;
    struct lock lock;          // of `returned`
    struct task_list returned; // by thieves
    struct task crowd[CROWD];
    int holders[CROWD]; // plain: 1 while somebody has it
    long turns[CROWD];  // plain: how often somebody had it
    atomic_u32 done;
    atomic_u32 stolen; // by all thieves
};

struct thief {
    struct round *round;
    int number;
};

static void hold(struct round *round, struct task *task)
{
    size_t i = (size_t)(task - round->crowd);

    if (i >= CROWD || round->holders[i]++ != 0)
        abort();
    round->turns[i]++;
    round->holders[i]--;
}

static void give_back(struct round *round, struct task *task)
{
    lock_acquire(&round->lock);
    task_list_push(&round->returned, task);
    lock_release(&round->lock);
}

static void *steal_all(void *arg)
{
    struct thief *thief = arg;
    struct round *round = thief->round;
    struct queue *own = queue_from((uint64_t)thief->number);

    while (load_acquire(&round->done) == 0) {
        uint32_t taken;
        struct task *task = queue_steal(round->owned, own, &taken);
        uint32_t seen = 0;
        while (task != NULL) {
            hold(round, task);
            give_back(round, task);
            seen++;
            task = queue_pop(own);
        }
        if (seen != taken)
            abort();
        (void)add_relaxed(&round->stolen, seen);
    }
    free(own);
    return NULL;
}

// Puts what comes back into the queue again; what finds no room goes aside.
static void refill(struct round *round, struct task_list *aside)
{
    struct task *task;

    lock_acquire(&round->lock);
    task_list_append(aside, &round->returned);
    lock_release(&round->lock);
    while ((task = task_list_pop(aside)) != NULL) {
        if (queue_push(round->owned, task, true))
            continue;
        queue_pop_batch(round->owned, aside); // overflow
        task_list_push(aside, task);
        break;
    }
}

static void own(struct round *round)
{
    struct task_list aside = {0};

    for (int i = 0; i < CROWD; i++)
        task_list_push(&aside, &round->crowd[i]);
    for (int turn = 0; turn < TURNS || load_relaxed(&round->stolen) < TURNS;
         turn++) {
        refill(round, &aside);
        for (int i = 0; i < 3; i++) {
            struct task *task = queue_pop(round->owned);
            if (task == NULL)
                break;
            hold(round, task);
            task_list_push(&aside, task);
        }
        if (queue_length(round->owned) > QUEUE_CAP)
            abort();
    }
    store_release(&round->done, 1);
    lock_acquire(&round->lock);
    task_list_append(&round->returned, &aside);
    lock_release(&round->lock);
}

// Everyone is there again, once.
static void count_in(struct round *round)
{
    bool seen[CROWD] = {false};
    int count = 0;
    struct task *task;

    while ((task = queue_pop(round->owned)) != NULL)
        task_list_push(&round->returned, task);
    while ((task = task_list_pop(&round->returned)) != NULL) {
        size_t i = (size_t)(task - round->crowd);
        assert_true(i < CROWD && !seen[i]);
        seen[i] = true;
        count++;
    }
    assert_int_equal(count, CROWD);
}

static void test_thieves_take_each_once(void **state)
{
    (void)state;
    struct round *round = calloc(1, sizeof *round);
    struct thief thieves[THIEVES];
    pthread_t threads[THIEVES];

    round->owned = queue_from(UINT64_MAX - 100000); // and over the end
    for (int i = 0; i < THIEVES; i++) {
        thieves[i] = (struct thief){round, i};
        assert_int_equal(
            pthread_create(&threads[i], NULL, steal_all, &thieves[i]), 0);
    }
    own(round);
    for (int i = 0; i < THIEVES; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    count_in(round);
    free(round->owned);
    free(round);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_in_first_out),
        cmocka_unit_test(test_a_full_one_says_so),
        cmocka_unit_test(test_it_wraps),
        cmocka_unit_test(test_popping_a_batch),
        cmocka_unit_test(test_stealing_half),
        cmocka_unit_test(test_a_thief_takes_what_he_has_room_for),
        cmocka_unit_test(test_peeking_takes_nothing),
        cmocka_unit_test(test_thieves_take_each_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
