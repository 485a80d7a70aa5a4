// test_queue_volume.c -- Items through the run queues by the million: each one
// comes out exactly once.
//
// Some threads are workers as far as queues go: each has a queue of its own,
// adds items to it, takes from it, steals from the others, and moves a batch to
// the shared queue when its own is full. An item is a number that is given out
// once. A plain store writes it beside the task that carries it, so a taker who
// is not synchronised with the giver reads a wrong one, and ThreadSanitizer
// sees it. Whoever takes an item sets its bit, which must be clear. Tasks are
// used again and again, for each queue's slots to see the same pointers.
//
// WEFT_VOLUME is the number of items; 10 million without it, and 2 under
// ThreadSanitizer.
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/panic.h"
#include "sched/inject.h"
#include "sched/queue.h"
#include "support/sanitizers.h"

enum {
    THREADS = 4,
    TASKS = 3 * QUEUE_CAP * THREADS + 4096,
    BURST = 2 * QUEUE_CAP, // items added in a row, at most
    SHORT = 8,             // the same, most of the time
    ROUNDS = 20,           // of adding and taking in a row, at most
    BATCH = 64,            // tasks that go to and from the spare ones at once
    STOLEN = 0,
    POPPED,
    INJECTED,
    WAYS,
};

struct worker {
    struct queue queue;
    struct volume *volume;
    uint64_t next, end; // the items that are still to be given out
    uint64_t chance;
    struct task_list spare;
    uint64_t taken[WAYS]; // how many, by where from
    uint64_t overflows;
    uint64_t moved; // items that were in a queue that was stolen from
};

struct volume {
    struct worker workers[THREADS];
    struct inject inject;
    struct lock lock;       // of `spare`
    struct task_list spare; // carry no item
    struct task tasks[TASKS];
    uint64_t items[TASKS]; // plain: what each task carries
    atomic_u64 *seen;      // a bit for each item; relaxed: orders nothing
    atomic_u64 out;        // items that have been taken; relaxed: a count
    uint64_t count;
};

static uint32_t random_below(uint64_t *state, uint32_t limit)
{
    *state = *state * 6364136223846793005 + 1442695040888963407;
    return (uint32_t)(*state >> 33) % limit;
}

// ---- Tasks that carry nothing. ----

static void move(struct task_list *from, struct task_list *to, int count)
{
    struct task *task;

    while (count-- > 0 && (task = task_list_pop(from)) != NULL)
        task_list_push(to, task);
}

static struct task *take_spare(struct worker *worker)
{
    struct volume *volume = worker->volume;

    if (worker->spare.count == 0) {
        lock_acquire(&volume->lock);
        move(&volume->spare, &worker->spare, BATCH);
        lock_release(&volume->lock);
    }
    return task_list_pop(&worker->spare);
}

static void give_spare(struct worker *worker, struct task *task)
{
    struct volume *volume = worker->volume;

    task_list_push(&worker->spare, task);
    if (worker->spare.count < 2 * BATCH)
        return;
    lock_acquire(&volume->lock);
    move(&worker->spare, &volume->spare, BATCH);
    lock_release(&volume->lock);
}

// ---- In and out. ----

static void take_out(struct worker *worker, struct task *task, int way)
{
    struct volume *volume = worker->volume;
    uint64_t item = volume->items[task - volume->tasks];

    ensure(item < volume->count);
    uint64_t bit = UINT64_C(1) << item % 64;
    uint64_t before = atomic_fetch_or_explicit(&volume->seen[item / 64], bit,
                                               memory_order_relaxed);
    ensure(!(before & bit));
    volume->items[task - volume->tasks] = UINT64_MAX;
    worker->taken[way]++;
    give_spare(worker, task);
}

// Makes room as a worker does: a batch of the oldest, and the one that found
// none, go to the shared queue.
static void overflow(struct worker *worker, struct task *task)
{
    struct task_list batch = {0};

    queue_pop_batch(&worker->queue, &batch);
    task_list_push(&batch, task);
    inject_push(&worker->volume->inject, &batch);
    worker->overflows++;
}

static void put_in(struct worker *worker, uint32_t count)
{
    for (; count > 0 && worker->next < worker->end; count--) {
        struct task *task = take_spare(worker);
        if (task == NULL)
            return; // all are on their way
        worker->volume->items[task - worker->volume->tasks] = worker->next++;
        if (!queue_push(&worker->queue, task, count % 2))
            overflow(worker, task);
    }
}

static void pop(struct worker *worker, uint32_t count)
{
    struct task *task;

    while (count-- > 0 && (task = queue_pop(&worker->queue)) != NULL)
        take_out(worker, task, POPPED);
}

// Takes what the thief has in hand; the rest lies in his own queue now. False:
// there was nothing.
static bool steal(struct worker *worker)
{
    uint32_t other = random_below(&worker->chance, THREADS - 1);
    struct worker *victim =
        &worker->volume
             ->workers[(worker - worker->volume->workers + 1 + other) %
                       THREADS];
    uint32_t count;
    struct task *task = queue_steal(&victim->queue, &worker->queue, &count);

    ensure((task != NULL) == (count > 0) && count <= QUEUE_BATCH);
    if (task != NULL)
        take_out(worker, task, STOLEN);
    worker->moved += count;
    return task != NULL;
}

static void take_injected(struct worker *worker, uint32_t count)
{
    struct task_list list = {0};
    struct task *task;

    inject_pop(&worker->volume->inject, count, &list);
    ensure(list.count <= count);
    while ((task = task_list_pop(&list)) != NULL)
        take_out(worker, task, INJECTED);
}

static uint64_t sum_taken(const struct worker *worker)
{
    uint64_t sum = 0;

    for (int i = 0; i < WAYS; i++)
        sum += worker->taken[i];
    return sum;
}

// Short queues are stolen from all the time, long ones overflow.
static void own(struct worker *worker)
{
    uint32_t most = random_below(&worker->chance, 2000) == 0 ? BURST : SHORT;

    for (uint32_t i = random_below(&worker->chance, ROUNDS); i > 0; i--) {
        put_in(worker, random_below(&worker->chance, most));
        pop(worker, random_below(&worker->chance, most));
    }
}

// Tries, whether there is anything or not.
static void rob(struct worker *worker)
{
    for (uint32_t i = random_below(&worker->chance, 10 * ROUNDS); i > 0; i--)
        if (steal(worker))
            pop(worker, random_below(&worker->chance, QUEUE_BATCH));
}

// Goes on until every item is out, whoever has taken it.
static void *work(void *arg)
{
    struct worker *worker = arg;
    struct volume *volume = worker->volume;
    uint64_t told = 0;

    while (load_relaxed(&volume->out) < volume->count) {
        own(worker);
        rob(worker);
        take_injected(worker, random_below(&worker->chance, 2 * QUEUE_BATCH));
        ensure(queue_length(&worker->queue) <= QUEUE_CAP);
        uint64_t taken = sum_taken(worker);
        (void)add_relaxed(&volume->out, taken - told);
        told = taken;
    }
    return NULL;
}

// ---- All of it. ----

static uint64_t wanted(void)
{
    const char *text = getenv("WEFT_VOLUME");

    if (text != NULL)
        return strtoull(text, NULL, 10);
    return UNDER_TSAN ? 2000000 : 10000000;
}

static struct volume *prepare(uint64_t count)
{
    struct volume *volume = calloc(1, sizeof *volume);

    assert_non_null(volume);
    volume->count = count;
    volume->seen = calloc(count / 64 + 1, sizeof *volume->seen);
    assert_non_null(volume->seen);
    for (size_t i = 0; i < TASKS; i++)
        task_list_push(&volume->spare, &volume->tasks[i]);
    for (uint64_t i = 0; i < THREADS; i++) {
        struct worker *worker = &volume->workers[i];
        worker->volume = volume;
        worker->next = count / THREADS * i;
        worker->end = i + 1 == THREADS ? count : count / THREADS * (i + 1);
        worker->chance = i + 1;
        uint64_t begin = UINT64_MAX - count / (2 * THREADS); // and over the end
        store_relaxed(&worker->queue.head, begin);
        store_relaxed(&worker->queue.tail, begin);
    }
    return volume;
}

static void check_all_seen(const struct volume *volume)
{
    for (uint64_t i = 0; i < volume->count / 64; i++)
        assert_true(load_relaxed(&volume->seen[i]) == UINT64_MAX);
    uint64_t last = load_relaxed(&volume->seen[volume->count / 64]);
    assert_true(last == (UINT64_C(1) << volume->count % 64) - 1);
}

static void check_empty(struct volume *volume)
{
    struct task_list list = {0};

    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(queue_length(&volume->workers[i].queue), 0);
        task_list_append(&volume->spare, &volume->workers[i].spare);
    }
    inject_pop(&volume->inject, UINT32_MAX, &list);
    assert_int_equal(list.count, 0);
    assert_int_equal(volume->spare.count, TASKS);
}

static void tell(const struct volume *volume, const struct timespec *began)
{
    uint64_t sums[WAYS] = {0}, overflows = 0, moved = 0;
    struct timespec now;

    for (int i = 0; i < THREADS; i++) {
        overflows += volume->workers[i].overflows;
        moved += volume->workers[i].moved;
        for (int way = 0; way < WAYS; way++)
            sums[way] += volume->workers[i].taken[way];
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    print_message("# %" PRIu64 " items: %" PRIu64
                  " out by their owner, %" PRIu64 " by a thief, %" PRIu64
                  " by the shared queue; %" PRIu64 " moved by thieves, %" PRIu64
                  " overflows; %.1f s\n",
                  volume->count, sums[POPPED], sums[STOLEN], sums[INJECTED],
                  moved, overflows,
                  (double)(now.tv_sec - began->tv_sec) +
                      (double)(now.tv_nsec - began->tv_nsec) / 1e9);
    assert_true(sums[POPPED] > 0 && sums[STOLEN] > 0 && sums[INJECTED] > 0);
}

static void test_each_item_comes_out_once(void **state)
{
    (void)state;
    struct volume *volume = prepare(wanted());
    pthread_t threads[THREADS];
    struct timespec began;

    clock_gettime(CLOCK_MONOTONIC, &began);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, work, &volume->workers[i]), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(load_relaxed(&volume->out) == volume->count);
    check_all_seen(volume);
    check_empty(volume);
    tell(volume, &began);
    free(volume->seen);
    free(volume);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_item_comes_out_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
