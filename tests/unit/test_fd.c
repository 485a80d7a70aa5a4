// test_fd.c -- Edges that come at the worst moment: none is lost.
//
// The windows of fd.c's laws are a few instructions wide, so these tests open
// them by hand: with a try that has the edge come before it returns, and by
// polling the driver between a cancelling and the end of the wait.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "io/fd.h"

// cmocka's assertions jump to another thread's stack, so tasks have their own.
#define expect(condition)                                                      \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

// One worker, so that nothing happens but what the test does.
static void run(weft_task_fn *fn)
{
    weft_runtime_options options = {.size = sizeof options, .workers = 1};

    assert_int_equal(weft_run(&options, fn, NULL, NULL), 0);
}

struct line {
    weft_fd fd;
    int far; // the other end, a plain descriptor
    int tries;
};

static struct line open_line(void)
{
    struct line line = {0};
    int ends[2];

    expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    expect(fd_open(ends[0], &line.fd) == 0);
    line.far = ends[1];
    return line;
}

static void close_line(struct line *line)
{
    expect(weft_fd_close(line->fd) == 0);
    close(line->far);
}

// What an idle worker does: lets the driver deliver what has come so far.
static void poll_driver(void)
{
    struct weft_runtime *runtime = worker_self()->runtime;
    struct task_list ready = {0};

    expect(driver_try_take(&runtime->driver));
    driver_poll(&runtime->driver, 0, &ready);
    driver_give(&runtime->driver);
    sched_schedule_list(runtime, &ready);
}

__attribute__((noinline)) static ssize_t read_byte(int number)
{
    char byte;
    ssize_t got = recv(number, &byte, 1, 0);

    return got < 0 ? -errno : got;
}

// ---- R2, R3: the edge comes between the failed try and the wait. ----

static ssize_t try_too_early(int number, void *arg)
{
    struct line *line = arg;
    ssize_t got = read_byte(number);

    if (line->tries++ == 0) {
        expect(got == -EAGAIN);
        expect(write(line->far, "x", 1) == 1);
        poll_driver();
    }
    return got;
}

static void *edge_after_try(void *arg)
{
    struct line line = open_line();

    (void)arg;
    poll_driver(); // the edge of being writable
    int64_t deadline = weft_time_after(10 * WEFT_SECOND);
    expect(fd_run(line.fd, FD_READ, deadline, try_too_early, &line) == 1);
    expect(line.tries == 2);
    close_line(&line);
    return NULL;
}

static void test_an_edge_after_the_try(void **state)
{
    (void)state;
    run(edge_after_try);
}

// ---- R4: another takes the edge between the failed try and the wait. ----

static ssize_t try_read(int number, void *arg)
{
    struct line *line = arg;

    line->tries++;
    return read_byte(number);
}

// The edge stands for two bytes. The other takes one, so there is one left.
static ssize_t try_then_share(int number, void *arg)
{
    struct line *line = arg;
    struct line other = *line;
    ssize_t got = read_byte(number);

    if (line->tries++ == 0) {
        expect(got == -EAGAIN);
        expect(write(line->far, "xy", 2) == 2);
        poll_driver();
        expect(fd_run(line->fd, FD_READ, 0, try_read, &other) == 1);
    }
    return got;
}

static void *edge_shared(void *arg)
{
    struct line line = open_line();

    (void)arg;
    poll_driver();
    int64_t deadline = weft_time_after(10 * WEFT_SECOND);
    expect(fd_run(line.fd, FD_READ, deadline, try_then_share, &line) == 1);
    expect(line.tries == 2);
    close_line(&line);
    return NULL;
}

static void test_an_edge_that_another_took(void **state)
{
    (void)state;
    run(edge_shared);
}

// ---- R1: the oldest waiter has been cancelled, but not left the queue. ----

static void *read_line(void *arg)
{
    struct line *line = arg;

    return (void *)fd_run(line->fd, FD_READ, weft_time_after(10 * WEFT_SECOND),
                          try_read, line);
}

static weft_task park_reader(struct line *line)
{
    weft_task task;
    int before = line->tries;

    expect(weft_task_spawn(NULL, read_line, line, &task) == 0);
    while (line->tries == before)
        expect(weft_task_yield() == 0);
    return task;
}

static ssize_t join(weft_task task)
{
    void *result;

    expect(weft_task_join(task, WEFT_NEVER, &result) == 0);
    return (ssize_t)result;
}

static void *edge_for_the_cancelled(void *arg)
{
    struct line line = open_line();
    weft_task first = park_reader(&line);
    weft_task second = park_reader(&line);

    (void)arg;
    poll_driver();
    expect(weft_task_cancel(first) == 0); // it has not run since
    expect(write(line.far, "x", 1) == 1);
    poll_driver();
    expect(join(first) == -ECANCELED);
    expect(join(second) == 1);
    close_line(&line);
    return NULL;
}

static void test_an_edge_for_a_cancelled_waiter(void **state)
{
    (void)state;
    run(edge_for_the_cancelled);
}

// The same with nobody else to wake: the edge waits for the next reader.
static void *edge_for_nobody(void *arg)
{
    struct line line = open_line();
    weft_task first = park_reader(&line);

    (void)arg;
    poll_driver();
    expect(weft_task_cancel(first) == 0);
    expect(write(line.far, "x", 1) == 1);
    poll_driver();
    expect(join(first) == -ECANCELED);
    expect(join(park_reader(&line)) == 1);
    close_line(&line);
    return NULL;
}

static void test_an_edge_for_nobody(void **state)
{
    (void)state;
    run(edge_for_nobody);
}

// ---- R4: one edge for much data, and several who wait for it. ----

static void *edge_for_two(void *arg)
{
    struct line line = open_line();
    weft_task first = park_reader(&line);
    weft_task second = park_reader(&line);
    weft_task third = park_reader(&line);

    (void)arg;
    poll_driver();
    expect(write(line.far, "xyz", 3) == 3);
    poll_driver();
    expect(join(first) == 1);
    expect(join(second) == 1);
    expect(join(third) == 1);
    close_line(&line);
    return NULL;
}

static void test_one_edge_for_several(void **state)
{
    (void)state;
    run(edge_for_two);
}

// The cancelling comes to one whom the edge has woken already: what it took is
// its own, and what is left is passed on.
static void *cancel_after_edge(void *arg)
{
    struct line line = open_line();
    weft_task first = park_reader(&line);
    weft_task second = park_reader(&line);

    (void)arg;
    poll_driver();
    expect(write(line.far, "xy", 2) == 2);
    poll_driver();
    expect(weft_task_cancel(first) == 0);
    expect(join(first) == 1);
    expect(join(second) == 1);
    close_line(&line);
    return NULL;
}

static void test_a_cancelling_after_the_edge(void **state)
{
    (void)state;
    run(cancel_after_edge);
}

// ---- I2: closing while a system call is in progress. ----

static ssize_t try_and_close(int number, void *arg)
{
    struct line *line = arg;
    char byte;

    line->tries++;
    expect(weft_fd_close(line->fd) == 0);
    expect(weft_fd_close(line->fd) == -EBADF);
    // Not closed under our hands, nor given to another file.
    expect(fd_look(line->fd, try_read, line) == -EBADF);
    expect(send(number, "z", 1, 0) == 1);
    expect(recv(line->far, &byte, 1, 0) == 1 && byte == 'z');
    return -EAGAIN;
}

static void *close_in_try(void *arg)
{
    struct line line = open_line();
    char byte;

    (void)arg;
    expect(fd_run(line.fd, FD_READ, WEFT_NEVER, try_and_close, &line) ==
           -EBADF);
    expect(line.tries == 1);
    expect(recv(line.far, &byte, 1, 0) == 0); // and now it is closed
    close(line.far);
    return NULL;
}

static void test_closing_during_a_system_call(void **state)
{
    (void)state;
    run(close_in_try);
}

// ---- A slot's next descriptor has nothing of the one before. ----

static void *use_slot_again(void *arg)
{
    struct line line = open_line();
    weft_fd before = line.fd;

    (void)arg;
    expect(write(line.far, "x", 1) == 1);
    poll_driver(); // it is ready, and nobody has asked
    close_line(&line);
    line = open_line();
    expect(HANDLE_INDEX(line.fd) == HANDLE_INDEX(before));
    poll_driver();
    int64_t deadline = weft_time_after(5 * WEFT_MILLISECOND);
    expect(fd_run(line.fd, FD_READ, deadline, try_read, &line) == -ETIMEDOUT);
    expect(line.tries == 1);
    expect(weft_fd_number(before) == -EBADF);
    close_line(&line);
    return NULL;
}

static void test_a_slot_used_again(void **state)
{
    (void)state;
    run(use_slot_again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_edge_after_the_try),
        cmocka_unit_test(test_an_edge_that_another_took),
        cmocka_unit_test(test_an_edge_for_a_cancelled_waiter),
        cmocka_unit_test(test_an_edge_for_nobody),
        cmocka_unit_test(test_one_edge_for_several),
        cmocka_unit_test(test_a_cancelling_after_the_edge),
        cmocka_unit_test(test_closing_during_a_system_call),
        cmocka_unit_test(test_a_slot_used_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
