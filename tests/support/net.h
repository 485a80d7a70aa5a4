// net.h -- What the tests of TCP share: tasks, connections, known streams.
#ifndef WEFT_TESTS_NET_H
#define WEFT_TESTS_NET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#define MS WEFT_MILLISECOND

// cmocka's assertions jump to another thread's stack, so tasks have their own.
#define expect(condition)                                                      \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

// A value that is to be equal, shown if it is not.
#define expect_is(value, wanted)                                               \
    do {                                                                       \
        long long got_ = (value);                                              \
        if (got_ != (wanted)) {                                                \
            fprintf(stderr, "%s:%d: %s is %lld\n", __FILE__, __LINE__, #value, \
                    got_);                                                     \
            abort();                                                           \
        }                                                                      \
    } while (0)

static inline void run_with(unsigned workers, weft_task_fn *fn, void *arg)
{
    weft_runtime_options options = {.size = sizeof options, .workers = workers};

    assert_int_equal(weft_run(&options, fn, arg, NULL), 0);
}

// Each body runs alone on a worker, and with others.
static inline void run(weft_task_fn *fn)
{
    run_with(1, fn, NULL);
    run_with(2, fn, NULL);
    run_with(4, fn, NULL);
}

static inline weft_task spawn(weft_task_fn *fn, void *arg)
{
    weft_task task;

    expect_is(weft_task_spawn(NULL, fn, arg, &task), 0);
    return task;
}

static inline intptr_t join(weft_task task)
{
    void *result;

    expect_is(weft_task_join(task, weft_time_after(20 * WEFT_SECOND), &result),
              0);
    return (intptr_t)result;
}

// Gives other tasks time to park.
static inline void settle(void)
{
    expect_is(weft_task_sleep(weft_time_after(3 * MS)), 0);
}

static inline weft_fd listen_on(const char *address, uint16_t *ret_port)
{
    weft_fd listener;

    expect_is(weft_tcp_listen(address, 0, 0, &listener), 0);
    expect_is(weft_tcp_address(listener, false, NULL, ret_port), 0);
    return listener;
}

static inline weft_fd connect_to(uint16_t port)
{
    weft_fd fd;

    expect_is(weft_tcp_connect("127.0.0.1", port,
                               weft_time_after(10 * WEFT_SECOND), &fd),
              0);
    return fd;
}

static inline weft_fd accept_from(weft_fd listener)
{
    weft_fd fd;

    expect_is(weft_tcp_accept(listener, weft_time_after(10 * WEFT_SECOND), &fd),
              0);
    return fd;
}

// Two ends of one connection.
struct pair {
    weft_fd ours;
    weft_fd theirs;
};

static inline struct pair open_pair(void)
{
    struct pair pair;
    uint16_t port;
    weft_fd listener = listen_on("127.0.0.1", &port);

    pair.ours = connect_to(port);
    pair.theirs = accept_from(listener);
    expect_is(weft_fd_close(listener), 0);
    return pair;
}

static inline void close_pair(struct pair pair)
{
    expect_is(weft_fd_close(pair.ours), 0);
    expect_is(weft_fd_close(pair.theirs), 0);
}

// Byte number `at` of every stream.
static inline unsigned char byte_at(size_t at)
{
    return (unsigned char)(at * 7 + at / 251);
}

static inline void write_stream(weft_fd fd, size_t from, size_t count)
{
    unsigned char *bytes = malloc(count);

    for (size_t i = 0; i < count; i++)
        bytes[i] = byte_at(from + i);
    expect_is(weft_fd_write(fd, bytes, count, WEFT_NEVER), (long long)count);
    free(bytes);
}

// Reads and checks until `count` bytes have come, or the end; their number.
static inline size_t read_stream(weft_fd fd, size_t from, size_t count)
{
    unsigned char bytes[4096];
    size_t done = 0;

    while (done < count) {
        size_t room = count - done < sizeof bytes ? count - done : sizeof bytes;
        ssize_t got = weft_fd_read(fd, bytes, room, WEFT_NEVER);
        expect(got >= 0);
        if (got == 0)
            break;
        for (ssize_t i = 0; i < got; i++)
            expect_is(bytes[i], byte_at(from + done + (size_t)i));
        done += (size_t)got;
    }
    return done;
}

static inline void *read_once(void *arg)
{
    char byte;

    return (void *)(intptr_t)weft_fd_read(*(weft_fd *)arg, &byte, 1,
                                          WEFT_NEVER);
}

static inline void *accept_once(void *arg)
{
    weft_fd fd;

    return (void *)(intptr_t)weft_tcp_accept(*(weft_fd *)arg, WEFT_NEVER, &fd);
}

#endif
