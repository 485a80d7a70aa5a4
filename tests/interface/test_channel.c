// test_channel.c -- Channels between tasks and threads: order, limits, misuse.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/numbers.h"

#define MS WEFT_MILLISECOND

// ---- Order and limits. ----

struct stream {
    weft_channel *channel;
    int count;
};

static void *send_stream(void *arg)
{
    struct stream *stream = arg;

    for (int i = 0; i < stream->count; i++)
        expect_is(send_number(stream->channel, i), 0);
    return NULL;
}

static void *receive_in_order(void *arg)
{
    static const size_t capacities[] = {0, 1, 2, 3, 64, 5000};

    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        struct stream stream = {channel_of(capacities[i]), scaled(2000)};
        weft_task task = spawn(send_stream, &stream);
        for (int j = 0; j < stream.count; j++)
            expect_is(recv_number(stream.channel), j);
        join(task);
        expect_is(weft_channel_free(stream.channel), 0);
    }
    return arg;
}

static void test_items_come_in_order(void **state)
{
    (void)state;
    run(receive_in_order);
}

// It holds as many items as was said, and not one more.
static void *fill(void *arg)
{
    weft_channel *channel = channel_of(7);
    int number = 100;

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 7; i++)
            expect_is(send_number(channel, i), 0);
        expect_is(weft_channel_send(channel, &number, 0), -ETIMEDOUT);
        for (int i = 0; i < 7; i++)
            expect_is(recv_number(channel), i);
        expect_is(weft_channel_recv(channel, &number, 0), -ETIMEDOUT);
        for (int i = 0; i < 3; i++) { // so that the ring begins elsewhere
            expect_is(send_number(channel, i), 0);
            expect_is(recv_number(channel), i);
        }
    }
    expect_is(number, 100);
    expect_is(weft_channel_free(channel), 0);
    return arg;
}

static void test_the_capacity_is_kept(void **state)
{
    (void)state;
    run(fill);
    (void)fill(NULL); // a thread does it as well
}

// Items of any size come out as they went in.
static void *pass_sizes(void *arg)
{
    static const size_t sizes[] = {1, 3, 8, 17, 100, 4096, 100001};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i];
        unsigned char *in = malloc(size);
        unsigned char *out = malloc(size);
        weft_channel *channel;
        expect_is(weft_channel_new(size, 3, NULL, &channel), 0);
        for (int j = 0; j < 10; j++) {
            memset(in, j + 1, size);
            expect_is(weft_channel_send(channel, in, WEFT_NEVER), 0);
            memset(out, 0, size);
            expect_is(weft_channel_recv(channel, out, WEFT_NEVER), 0);
            expect(memcmp(in, out, size) == 0);
        }
        expect_is(weft_channel_free(channel), 0);
        free(in);
        free(out);
    }
    return arg;
}

static void test_items_of_any_size(void **state)
{
    (void)state;
    run(pass_sizes);
}

static void test_bad_sizes_are_refused(void **state)
{
    (void)state;
    weft_channel *channel = (weft_channel *)&channel;
    static const size_t sizes[][2] = {
        {0, 1},
        {0, 0},
        {SIZE_MAX, 0},
        {(1 << 30) + 1, 0},
        {SIZE_MAX, 1},
        {1, SIZE_MAX},
        {1 << 30, 2},
        {2, 1 << 30},
        {(size_t)1 << 32, 1},
        {SIZE_MAX / 2 + 1, 2},
        {(size_t)1 << 31, (size_t)1 << 33},
    };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_int_equal(
            weft_channel_new(sizes[i][0], sizes[i][1], NULL, &channel),
            -EINVAL);
    assert_ptr_equal(channel, &channel); // nothing was stored
    assert_int_equal(weft_channel_new(1, 1, NULL, NULL), -EINVAL);
    assert_int_equal(weft_channel_new(1 << 10, 1 << 20, NULL, &channel), 0);
    assert_int_equal(weft_channel_free(channel), 0);
}

// ---- Memory ----

static long resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long pages = 0;

    expect(file != NULL && fscanf(file, "%*d %ld", &pages) == 1);
    expect_is(fclose(file), 0);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

// A large channel that is hardly used costs little, also if it is never empty.
static void *pass_through(void *arg)
{
    enum { ITEM = 4096, ROOM = 32768 }; // 128 MiB
    static char item[ITEM];
    weft_channel *channel;
    long before = resident_kib();

    expect_is(weft_channel_new(ITEM, ROOM, "roomy", &channel), 0);
    expect_is(weft_channel_send(channel, item, WEFT_NEVER), 0);
    for (int i = 0; i < ROOM; i++) {
        expect_is(weft_channel_send(channel, item, WEFT_NEVER), 0);
        expect_is(weft_channel_recv(channel, item, WEFT_NEVER), 0);
    }
    expect(resident_kib() - before < 64 * 1024);
    expect_is(weft_channel_free(channel), 0);
    return arg;
}

static void test_memory_comes_as_it_fills(void **state)
{
    (void)state;
    run_with(1, pass_through, NULL);
}

static void fill_from(int capacity, int begin)
{
    weft_channel *channel = channel_of((size_t)capacity);

    for (int i = 0; i < begin; i++) {
        expect_is(send_number(channel, i), 0);
        expect_is(recv_number(channel), i);
    }
    for (int i = 0; i < capacity; i++)
        expect_is(send_number(channel, i), 0);
    expect_is(weft_channel_send(channel, &begin, 0), -ETIMEDOUT);
    for (int i = 0; i < capacity; i++)
        expect_is(recv_number(channel), i);
    expect_is(weft_channel_recv(channel, &begin, 0), -ETIMEDOUT);
    expect_is(weft_channel_free(channel), 0);
}

// The ring becomes larger wherever it begins, and keeps the order.
static void test_the_ring_grows(void **state)
{
    (void)state;
    for (int capacity = 1; capacity <= 70; capacity++)
        for (int begin = 0; begin < 9; begin++)
            fill_from(capacity, begin);
}

// Without room: an item goes from hand to hand, or not at all.
static void *send_and_tell(void *arg)
{
    struct stream *stream = arg;

    expect_is(send_number(stream->channel, 5), 0);
    stream->count = 1; // it has been received
    return NULL;
}

static void *meet(void *arg)
{
    weft_channel *channel = channel_of(0);
    struct stream stream = {channel, 0};
    int number = 1;

    expect_is(weft_channel_send(channel, &number, 0), -ETIMEDOUT);
    expect_is(weft_channel_recv(channel, &number, 0), -ETIMEDOUT);
    weft_task task = spawn(send_and_tell, &stream);
    until_waiting(task, WEFT_WAIT_CHAN_SEND);
    expect_is(stream.count, 0);
    expect_is(weft_channel_free(channel), -EBUSY);
    expect_is(recv_number(channel), 5);
    (void)join(task);
    expect_is(stream.count, 1);
    expect_is(weft_channel_close(channel), 0);
    expect_is(weft_channel_recv(channel, &number, 0), -EPIPE);
    expect_is(weft_channel_send(channel, &number, 0), -EPIPE);
    expect_is(weft_channel_free(channel), 0);
    return arg;
}

static void test_rendezvous(void **state)
{
    (void)state;
    run(meet);
}

static void *misuse(void *arg)
{
    weft_channel *channel = channel_of(1);
    int number = 0;

    expect_is(weft_channel_send(NULL, &number, WEFT_NEVER), -EINVAL);
    expect_is(weft_channel_send(channel, NULL, WEFT_NEVER), -EINVAL);
    expect_is(weft_channel_recv(NULL, &number, WEFT_NEVER), -EINVAL);
    expect_is(weft_channel_recv(channel, NULL, WEFT_NEVER), -EINVAL);
    expect_is(weft_channel_close(NULL), -EINVAL);
    expect_is(weft_channel_free(NULL), 0);
    expect_is(send_number(channel, 1), 0);
    expect_is(weft_channel_free(channel), 0); // with an item inside
    return arg;
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    run(misuse);
    (void)misuse(NULL);
}

// ---- Waiters. ----

struct party {
    weft_channel *channel;
    int number; // sent, or received
};

static void *send_in_turn(void *arg)
{
    struct party *party = arg;

    return (void *)(intptr_t)send_number(party->channel, party->number);
}

static void *recv_in_turn(void *arg)
{
    struct party *party = arg;
    int error = weft_channel_recv(party->channel, &party->number, WEFT_NEVER);

    return (void *)(intptr_t)error;
}

static void *wait_in_line(void *arg)
{
    enum { COUNT = 10 };
    weft_channel *channel = channel_of(1);
    struct party parties[COUNT];
    weft_task tasks[COUNT];

    for (int i = 0; i < COUNT; i++) { // receivers
        parties[i] = (struct party){.channel = channel, .number = -1};
        tasks[i] = spawn(recv_in_turn, &parties[i]);
        until_waiting(tasks[i], WEFT_WAIT_CHAN_RECV);
    }
    expect_is(weft_channel_free(channel), -EBUSY);
    for (int i = 0; i < COUNT; i++)
        expect_is(send_number(channel, i), 0);
    for (int i = 0; i < COUNT; i++) {
        expect_is(join(tasks[i]), 0);
        expect_is(parties[i].number, i);
    }
    expect_is(send_number(channel, -1), 0);
    for (int i = 0; i < COUNT; i++) { // senders
        parties[i] = (struct party){.channel = channel, .number = i};
        tasks[i] = spawn(send_in_turn, &parties[i]);
        until_waiting(tasks[i], WEFT_WAIT_CHAN_SEND);
    }
    expect_is(weft_channel_free(channel), -EBUSY);
    for (int i = -1; i < COUNT; i++)
        expect_is(recv_number(channel), i);
    for (int i = 0; i < COUNT; i++)
        expect_is(join(tasks[i]), 0);
    expect_is(weft_channel_free(channel), 0);
    return arg;
}

static void test_first_come_first_served(void **state)
{
    (void)state;
    run(wait_in_line);
}

// Those who give up leave no item behind and take none along.
static void *give_up(void *arg)
{
    weft_channel *channel = channel_of(1);
    struct party party = {.channel = channel, .number = 77};
    int number = -1;
    int64_t until = weft_time_after(2 * MS);

    expect_is(weft_channel_recv(channel, &number, until), -ETIMEDOUT);
    expect(weft_time_now() >= until);
    weft_task task = spawn(recv_in_turn, &party);
    until_waiting(task, WEFT_WAIT_CHAN_RECV);
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), -ECANCELED);
    expect_is(send_number(channel, 1), 0); // goes to nobody who has left
    until = weft_time_after(2 * MS);
    number = 2;
    expect_is(weft_channel_send(channel, &number, until), -ETIMEDOUT);
    expect(weft_time_now() >= until);
    task = spawn(send_in_turn, &party);
    until_waiting(task, WEFT_WAIT_CHAN_SEND);
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), -ECANCELED);
    expect_is(recv_number(channel), 1);
    expect_is(weft_channel_recv(channel, &number, 0), -ETIMEDOUT);
    expect_is(weft_channel_free(channel), 0);
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
    weft_channel *channel = channel_of(3);
    int number;

    for (int i = 0; i < 3; i++)
        expect_is(send_number(channel, i), 0);
    expect_is(weft_channel_close(channel), 0);
    expect_is(weft_channel_close(channel), 0);
    expect_is(send_number(channel, 9), -EPIPE);
    expect_is(weft_channel_send(channel, &number, 0), -EPIPE);
    for (int i = 0; i < 3; i++)
        expect_is(recv_number(channel), i);
    expect_is(weft_channel_recv(channel, &number, WEFT_NEVER), -EPIPE);
    expect_is(weft_channel_recv(channel, &number, 0), -EPIPE);
    expect_is(weft_channel_free(channel), 0);
    return arg;
}

static void *close_on_waiters(void *arg)
{
    weft_channel *empty = channel_of(1);
    weft_channel *full = channel_of(1);
    struct party receivers[5];
    struct party senders[5];
    weft_task tasks[10];

    expect_is(send_number(full, 1), 0);
    for (int i = 0; i < 5; i++) {
        receivers[i] = (struct party){.channel = empty, .number = -1};
        senders[i] = (struct party){.channel = full, .number = 5};
        tasks[i] = spawn(recv_in_turn, &receivers[i]);
        tasks[5 + i] = spawn(send_in_turn, &senders[i]);
        until_waiting(tasks[i], WEFT_WAIT_CHAN_RECV);
        until_waiting(tasks[5 + i], WEFT_WAIT_CHAN_SEND);
    }
    expect_is(weft_channel_close(empty), 0);
    expect_is(weft_channel_close(full), 0);
    for (int i = 0; i < 10; i++)
        expect_is(join(tasks[i]), -EPIPE);
    for (int i = 0; i < 5; i++)
        expect_is(receivers[i].number, -1);
    expect_is(recv_number(full), 1); // of the waiting ones none was sent
    expect_is(weft_channel_recv(full, &senders[0].number, 0), -EPIPE);
    expect_is(weft_channel_free(empty), 0);
    expect_is(weft_channel_free(full), 0);
    return arg;
}

static void test_closing(void **state)
{
    (void)state;
    run(close_it);
    run(close_on_waiters);
    (void)close_it(NULL);
}

// Who was woken by the closing needs the channel no more: if it can be freed,
// nobody will touch it.
static void *close_and_free(void *arg)
{
    for (int i = 0; i < scaled(300); i++) {
        weft_channel *channel = channel_of(1);
        struct party parties[3];
        weft_task tasks[3];
        for (int j = 0; j < 3; j++) {
            parties[j] = (struct party){.channel = channel};
            tasks[j] = spawn(recv_in_turn, &parties[j]);
        }
        for (int j = 0; j < 3; j++)
            until_waiting(tasks[j], WEFT_WAIT_CHAN_RECV);
        expect_is(weft_channel_close(channel), 0);
        while (weft_channel_free(channel) == -EBUSY)
            (void)weft_task_yield();
        for (int j = 0; j < 3; j++)
            expect_is(join(tasks[j]), -EPIPE);
    }
    return arg;
}

static void test_freeing_right_after_closing(void **state)
{
    (void)state;
    run(close_and_free);
}

// ---- Threads. ----

static void *thread_sends(void *arg)
{
    return send_stream(arg);
}

static void *thread_receives(void *arg)
{
    struct stream *stream = arg;

    for (int i = 0; i < stream->count; i++)
        expect_is(recv_number(stream->channel), i);
    return NULL;
}

static void test_threads_and_tasks(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(2);
    struct stream stream = {channel_of(2), scaled(1000)};
    pthread_t thread;
    weft_task task;

    task = spawn_on(runtime, thread_receives, &stream);
    assert_int_equal(pthread_create(&thread, NULL, thread_sends, &stream), 0);
    join(task);
    assert_int_equal(pthread_join(thread, NULL), 0);
    task = spawn_on(runtime, send_stream, &stream);
    assert_int_equal(pthread_create(&thread, NULL, thread_receives, &stream),
                     0);
    join(task);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, thread_receives, &stream),
                     0);
    (void)thread_sends(&stream);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(weft_channel_free(stream.channel), 0);
    assert_int_equal(weft_runtime_free(runtime), 0);
}

static void *receive_until_closed(void *arg)
{
    int number;

    expect_is(weft_channel_recv(arg, &number, WEFT_NEVER), -EPIPE);
    return NULL;
}

static void test_threads_give_up_too(void **state)
{
    (void)state;
    weft_channel *channel = channel_of(1);
    pthread_t thread;
    int number = 3;
    int64_t until = weft_time_after(2 * MS);

    assert_int_equal(weft_channel_recv(channel, &number, until), -ETIMEDOUT);
    assert_true(weft_time_now() >= until);
    assert_int_equal(weft_channel_recv(channel, &number, INT64_MIN),
                     -ETIMEDOUT);
    assert_int_equal(send_number(channel, 4), 0);
    assert_int_equal(weft_channel_send(channel, &number, weft_time_after(MS)),
                     -ETIMEDOUT);
    assert_int_equal(recv_number(channel), 4);
    assert_int_equal(
        pthread_create(&thread, NULL, receive_until_closed, channel), 0);
    assert_int_equal(weft_channel_close(channel), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(weft_channel_free(channel), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_come_in_order),
        cmocka_unit_test(test_the_capacity_is_kept),
        cmocka_unit_test(test_items_of_any_size),
        cmocka_unit_test(test_rendezvous),
        cmocka_unit_test(test_memory_comes_as_it_fills),
        cmocka_unit_test(test_the_ring_grows),
        cmocka_unit_test(test_bad_sizes_are_refused),
        cmocka_unit_test(test_misuse_is_refused),
        cmocka_unit_test(test_first_come_first_served),
        cmocka_unit_test(test_waiters_give_up),
        cmocka_unit_test(test_closing),
        cmocka_unit_test(test_freeing_right_after_closing),
        cmocka_unit_test(test_threads_and_tasks),
        cmocka_unit_test(test_threads_give_up_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
