// test_net_end.c -- TCP through the public interface: waits that end early.
#include <errno.h>

#include "support/net.h"

// ---- Deadlines. ----

// A port on which connections are neither taken nor refused.
static weft_fd listen_deaf(uint16_t *ret_port)
{
    weft_fd listener;
    weft_fd fd;
    int outcome = 0;

    expect_is(weft_tcp_listen("127.0.0.1", 0, 1, &listener), 0);
    expect_is(weft_tcp_address(listener, false, NULL, ret_port), 0);
    for (int i = 0; i < 16 && outcome == 0; i++)
        outcome = weft_tcp_connect("127.0.0.1", *ret_port,
                                   weft_time_after(30 * MS), &fd);
    expect_is(outcome, -ETIMEDOUT); // the backlog is full
    return listener;
}

static void *deadline_body(void *arg)
{
    struct pair pair = open_pair();
    char byte;
    weft_fd fd;
    uint16_t port;
    weft_fd listener = listen_deaf(&port);

    (void)arg;
    int64_t deadline = weft_time_after(10 * MS);
    expect_is(weft_fd_read(pair.ours, &byte, 1, deadline), -ETIMEDOUT);
    expect(weft_time_now() >= deadline);
    deadline = weft_time_after(10 * MS);
    expect_is(weft_tcp_connect("127.0.0.1", port, deadline, &fd), -ETIMEDOUT);
    expect(weft_time_now() >= deadline);
    expect_is(weft_fd_close(listener), 0);
    listener = listen_on("127.0.0.1", &port);
    deadline = weft_time_after(10 * MS);
    expect_is(weft_tcp_accept(listener, deadline, &fd), -ETIMEDOUT);
    expect(weft_time_now() >= deadline);
    expect_is(weft_fd_close(listener), 0);
    close_pair(pair);
    return NULL;
}

static void test_deadlines(void **state)
{
    (void)state;
    run(deadline_body);
}

// A deadline in the past: one try.
static void *past_body(void *arg)
{
    struct pair pair = open_pair();
    char byte;

    (void)arg;
    expect_is(weft_fd_read(pair.ours, &byte, 1, 0), -ETIMEDOUT);
    expect_is(weft_fd_write(pair.theirs, "x", 1, 0), 1);
    expect_is(weft_fd_read(pair.ours, &byte, 1, WEFT_NEVER), 1);
    expect_is(weft_fd_write(pair.theirs, "y", 1, -1), 1);
    settle();
    expect_is(weft_fd_read(pair.ours, &byte, 1, -1), 1);
    expect_is(byte, 'y');
    close_pair(pair);
    return NULL;
}

static void test_past_deadlines_try_once(void **state)
{
    (void)state;
    run(past_body);
}

// What a write has sent by its deadline is what the other end receives.
static void *write_deadline_body(void *arg)
{
    enum { COUNT = 16000000 };
    struct pair pair = open_pair();
    unsigned char *bytes = malloc(COUNT);

    (void)arg;
    for (size_t i = 0; i < COUNT; i++)
        bytes[i] = byte_at(i);
    ssize_t sent =
        weft_fd_write(pair.ours, bytes, COUNT, weft_time_after(20 * MS));
    expect(sent > 0 && sent < COUNT);
    // The kernel may have moved some on since, and have room for more.
    ssize_t more;
    while ((more = weft_fd_write(pair.ours, bytes + sent,
                                 (size_t)(COUNT - sent), 0)) > 0)
        sent += more;
    expect_is(more, -ETIMEDOUT);
    expect(sent < COUNT);
    expect_is(weft_fd_close(pair.ours), 0);
    expect_is(read_stream(pair.theirs, 0, COUNT), sent);
    expect_is(weft_fd_close(pair.theirs), 0);
    free(bytes);
    return NULL;
}

static void test_a_write_ended_by_its_deadline(void **state)
{
    (void)state;
    run(write_deadline_body);
}

static void *scope_deadline_body(void *arg)
{
    struct pair pair = open_pair();
    weft_scope scope;
    char byte;

    (void)arg;
    int64_t deadline = weft_time_after(10 * MS);
    expect_is(weft_scope_enter(&scope, deadline), 0);
    expect_is(weft_fd_read(pair.ours, &byte, 1, WEFT_NEVER), -ETIMEDOUT);
    expect(weft_time_now() >= deadline);
    // Past it, not even what would not have to wait begins.
    expect_is(weft_fd_write(pair.ours, "x", 1, WEFT_NEVER), -ETIMEDOUT);
    (void)weft_scope_leave(&scope);
    expect_is(weft_fd_write(pair.ours, "x", 1, WEFT_NEVER), 1);
    close_pair(pair);
    return NULL;
}

static void test_the_deadline_of_a_scope(void **state)
{
    (void)state;
    run(scope_deadline_body);
}

// ---- Cancelling. ----

static void *connect_once(void *arg)
{
    weft_fd fd;
    int outcome =
        weft_tcp_connect("127.0.0.1", *(uint16_t *)arg, WEFT_NEVER, &fd);

    return (void *)(intptr_t)outcome;
}

static void cancel(weft_task task)
{
    expect_is(weft_task_cancel(task), 0);
}

static void *cancel_body(void *arg)
{
    struct pair pair = open_pair();
    uint16_t port;
    weft_fd deaf = listen_deaf(&port);
    weft_task connector = spawn(connect_once, &port);
    weft_task reader = spawn(read_once, &pair.theirs);

    (void)arg;
    settle();
    cancel(reader);
    expect_is(join(reader), -ECANCELED);
    cancel(connector);
    expect_is(join(connector), -ECANCELED);
    expect_is(weft_fd_close(deaf), 0);
    weft_fd listener = listen_on("127.0.0.1", &port);
    weft_task acceptor = spawn(accept_once, &listener);
    settle();
    cancel(acceptor);
    expect_is(join(acceptor), -ECANCELED);
    // What comes later goes to others.
    weft_fd late = connect_to(port);
    weft_fd accepted = accept_from(listener);
    write_stream(pair.ours, 0, 5);
    expect_is(read_stream(pair.theirs, 0, 5), 5);
    expect_is(weft_fd_close(late), 0);
    expect_is(weft_fd_close(accepted), 0);
    expect_is(weft_fd_close(listener), 0);
    close_pair(pair);
    return NULL;
}

static void test_cancel(void **state)
{
    (void)state;
    run(cancel_body);
}

// A cancelled task begins nothing more, even if it would not have to wait.
static void *try_after_cancel(void *arg)
{
    struct pair *pair = arg;
    char byte;

    while (weft_task_yield() == 0)
        continue;
    expect_is(weft_fd_read(pair->theirs, &byte, 1, WEFT_NEVER), -ECANCELED);
    expect_is(weft_fd_write(pair->theirs, "x", 1, WEFT_NEVER), -ECANCELED);
    return NULL;
}

static void *after_cancel_body(void *arg)
{
    struct pair pair = open_pair();
    weft_task task = spawn(try_after_cancel, &pair);

    (void)arg;
    write_stream(pair.ours, 0, 1);
    cancel(task);
    (void)join(task);
    expect_is(read_stream(pair.theirs, 0, 1), 1);
    close_pair(pair);
    return NULL;
}

static void test_a_cancelled_task_begins_nothing(void **state)
{
    (void)state;
    run(after_cancel_body);
}

// Data and the cancelling come at the same time: the byte is either read by
// the one that was cancelled, or still there.
static void *cancel_read_body(void *arg)
{
    struct pair pair = open_pair();

    (void)arg;
    for (int i = 0; i < 1000; i++) {
        weft_task reader = spawn(read_once, &pair.theirs);
        for (int j = 0; j < i % 3; j++)
            expect_is(weft_task_yield(), 0);
        write_stream(pair.ours, 0, 1);
        if (i % 2 == 0)
            expect_is(weft_task_yield(), 0);
        cancel(reader);
        intptr_t outcome = join(reader);
        expect(outcome == 1 || outcome == -ECANCELED);
        if (outcome != 1)
            expect_is(read_stream(pair.theirs, 0, 1), 1);
    }
    char byte;
    expect_is(weft_fd_read(pair.theirs, &byte, 1, 0), -ETIMEDOUT);
    close_pair(pair);
    return NULL;
}

static void test_cancel_races_with_data(void **state)
{
    (void)state;
    run(cancel_read_body);
}

static void *accept_and_close(void *arg)
{
    weft_fd fd;
    int outcome = weft_tcp_accept(*(weft_fd *)arg, WEFT_NEVER, &fd);

    if (outcome == 0)
        expect_is(weft_fd_close(fd), 0);
    return (void *)(intptr_t)outcome;
}

static void *cancel_accept_body(void *arg)
{
    uint16_t port;
    weft_fd listener = listen_on("127.0.0.1", &port);
    weft_fd fd;

    (void)arg;
    for (int i = 0; i < 300; i++) {
        // Two wait; the one connection must reach one that is not cancelled.
        weft_task doomed = spawn(accept_and_close, &listener);
        weft_task other = spawn(accept_and_close, &listener);
        for (int j = 0; j < i % 3; j++)
            expect_is(weft_task_yield(), 0);
        fd = connect_to(port);
        cancel(doomed);
        intptr_t outcome = join(doomed);
        expect(outcome == 0 || outcome == -ECANCELED);
        if (outcome == 0)
            cancel(other);
        expect_is(join(other), outcome == 0 ? -ECANCELED : 0);
        expect_is(weft_fd_close(fd), 0);
    }
    expect_is(weft_tcp_accept(listener, 0, &fd), -ETIMEDOUT);
    expect_is(weft_fd_close(listener), 0);
    return NULL;
}

static void test_cancel_races_with_connections(void **state)
{
    (void)state;
    run(cancel_accept_body);
}

static void *write_much(void *arg)
{
    enum { COUNT = 16000000 };
    unsigned char *bytes = malloc(COUNT);

    for (size_t i = 0; i < COUNT; i++)
        bytes[i] = byte_at(i);
    ssize_t sent = weft_fd_write(*(weft_fd *)arg, bytes, COUNT, WEFT_NEVER);
    free(bytes);
    return (void *)sent;
}

static void *cancel_write_body(void *arg)
{
    struct pair pair = open_pair();
    weft_task writer = spawn(write_much, &pair.ours);

    (void)arg;
    expect_is(weft_task_sleep(weft_time_after(100 * MS)), 0);
    cancel(writer);
    intptr_t sent = join(writer);
    expect(sent > 0 || sent == -ECANCELED);
    expect_is(weft_fd_close(pair.ours), 0);
    expect_is(read_stream(pair.theirs, 0, SIZE_MAX), sent > 0 ? sent : 0);
    expect_is(weft_fd_close(pair.theirs), 0);
    return NULL;
}

static void test_cancel_of_a_write(void **state)
{
    (void)state;
    run(cancel_write_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_past_deadlines_try_once),
        cmocka_unit_test(test_a_write_ended_by_its_deadline),
        cmocka_unit_test(test_the_deadline_of_a_scope),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_a_cancelled_task_begins_nothing),
        cmocka_unit_test(test_cancel_races_with_data),
        cmocka_unit_test(test_cancel_races_with_connections),
        cmocka_unit_test(test_cancel_of_a_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
