// test_net.c -- TCP through the public interface.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/skip.h"

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

static void run_with(unsigned workers, weft_task_fn *fn, void *arg)
{
    weft_runtime_options options = {.size = sizeof options, .workers = workers};

    assert_int_equal(weft_run(&options, fn, arg, NULL), 0);
}

// Each body runs alone on a worker, and with others.
static void run(weft_task_fn *fn)
{
    run_with(1, fn, NULL);
    run_with(2, fn, NULL);
    run_with(4, fn, NULL);
}

static weft_task spawn(weft_task_fn *fn, void *arg)
{
    weft_task task;

    expect_is(weft_task_spawn(NULL, fn, arg, &task), 0);
    return task;
}

static intptr_t join(weft_task task)
{
    void *result;

    expect_is(weft_task_join(task, weft_time_after(20 * WEFT_SECOND), &result),
              0);
    return (intptr_t)result;
}

// Gives other tasks time to park.
static void settle(void)
{
    expect_is(weft_task_sleep(weft_time_after(3 * MS)), 0);
}

static weft_fd listen_on(const char *address, uint16_t *ret_port)
{
    weft_fd listener;

    expect_is(weft_tcp_listen(address, 0, 0, &listener), 0);
    expect_is(weft_tcp_address(listener, false, NULL, ret_port), 0);
    return listener;
}

static weft_fd connect_to(uint16_t port)
{
    weft_fd fd;

    expect_is(weft_tcp_connect("127.0.0.1", port,
                               weft_time_after(10 * WEFT_SECOND), &fd),
              0);
    return fd;
}

static weft_fd accept_from(weft_fd listener)
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

static struct pair open_pair(void)
{
    struct pair pair;
    uint16_t port;
    weft_fd listener = listen_on("127.0.0.1", &port);

    pair.ours = connect_to(port);
    pair.theirs = accept_from(listener);
    expect_is(weft_fd_close(listener), 0);
    return pair;
}

static void close_pair(struct pair pair)
{
    expect_is(weft_fd_close(pair.ours), 0);
    expect_is(weft_fd_close(pair.theirs), 0);
}

// Byte number `at` of every stream.
static unsigned char byte_at(size_t at)
{
    return (unsigned char)(at * 7 + at / 251);
}

static void write_stream(weft_fd fd, size_t from, size_t count)
{
    unsigned char *bytes = malloc(count);

    for (size_t i = 0; i < count; i++)
        bytes[i] = byte_at(from + i);
    expect_is(weft_fd_write(fd, bytes, count, WEFT_NEVER), (long long)count);
    free(bytes);
}

// Reads and checks until `count` bytes have come, or the end; their number.
static size_t read_stream(weft_fd fd, size_t from, size_t count)
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

static weft_fd *boxed(weft_fd fd)
{
    weft_fd *box = malloc(sizeof *box);

    *box = fd;
    return box;
}

static weft_fd unboxed(void *box)
{
    weft_fd fd = *(weft_fd *)box;

    free(box);
    return fd;
}

// ---- Echo. ----

static void *echo(void *arg)
{
    weft_fd fd = unboxed(arg);
    char bytes[1000];
    ssize_t got;

    while ((got = weft_fd_read(fd, bytes, sizeof bytes, WEFT_NEVER)) > 0)
        expect_is(weft_fd_write(fd, bytes, (size_t)got, WEFT_NEVER), got);
    expect(got == 0 || got == -ECANCELED); // the runtime may end before it
    expect_is(weft_fd_close(fd), 0);
    return NULL;
}

static void *serve_echo(void *arg)
{
    weft_fd listener = *(weft_fd *)arg;
    weft_fd fd;
    int outcome;

    while ((outcome = weft_tcp_accept(listener, WEFT_NEVER, &fd)) == 0)
        expect_is(weft_task_spawn(NULL, echo, boxed(fd), NULL), 0);
    return (void *)(intptr_t)outcome;
}

static void *send_pieces(void *arg)
{
    static const size_t sizes[] = {1, 2, 999, 1000, 1001, 65536, 300000};
    weft_fd fd = *(weft_fd *)arg;
    size_t done = 0;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        write_stream(fd, done, sizes[i]);
        done += sizes[i];
    }
    return (void *)(intptr_t)done;
}

static void *echo_body(void *arg)
{
    uint16_t port;
    weft_fd listener = listen_on("127.0.0.1", &port);
    weft_task server = spawn(serve_echo, &listener);
    weft_fd fd = connect_to(port);
    weft_task sender = spawn(send_pieces, &fd);

    (void)arg;
    size_t got = read_stream(fd, 0, 368539);
    expect_is(join(sender), (long long)got);
    expect_is(weft_fd_close(fd), 0);
    expect_is(weft_fd_close(listener), 0);
    expect_is(join(server), -EBADF);
    return NULL;
}

static void test_echo(void **state)
{
    (void)state;
    run(echo_body);
}

enum { MANY = 1000 };

static void *talk(void *arg)
{
    uint16_t port = *(uint16_t *)arg;
    weft_fd fd = connect_to(port);

    for (size_t i = 0; i < 3; i++) {
        write_stream(fd, i * 100, 100);
        expect_is(read_stream(fd, i * 100, 100), 100);
        expect_is(weft_task_yield(), 0);
    }
    expect_is(weft_fd_close(fd), 0);
    return NULL;
}

static void *many_body(void *arg)
{
    uint16_t port;
    weft_fd listener = listen_on("127.0.0.1", &port);
    weft_task server = spawn(serve_echo, &listener);
    weft_task *talkers = malloc(MANY * sizeof *talkers);

    (void)arg;
    for (int i = 0; i < MANY; i++)
        talkers[i] = spawn(talk, &port);
    for (int i = 0; i < MANY; i++)
        (void)join(talkers[i]);
    free(talkers);
    expect_is(weft_fd_close(listener), 0);
    expect_is(join(server), -EBADF);
    return NULL;
}

static void test_a_thousand_connections(void **state)
{
    struct rlimit limit;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * MANY + 100)
        skip_because("fewer than 2,100 descriptors allowed");
    run(many_body);
}

// Both directions of one descriptor at once, by two tasks.
static void *send_much(void *arg)
{
    write_stream(*(weft_fd *)arg, 0, 3000000);
    return NULL;
}

static void *duplex_body(void *arg)
{
    struct pair pair = open_pair();
    weft_task one = spawn(send_much, &pair.ours);
    weft_task other = spawn(send_much, &pair.theirs);

    (void)arg;
    for (size_t i = 0; i < 30; i++) {
        expect_is(read_stream(pair.ours, i * 100000, 100000), 100000);
        expect_is(read_stream(pair.theirs, i * 100000, 100000), 100000);
    }
    (void)join(one);
    (void)join(other);
    close_pair(pair);
    return NULL;
}

static void test_both_directions_at_once(void **state)
{
    (void)state;
    run(duplex_body);
}

static void *slow_reader_body(void *arg)
{
    struct pair pair = open_pair();
    weft_task writer = spawn(send_much, &pair.ours);

    (void)arg;
    for (size_t i = 0; i < 30; i++) {
        if (i % 5 == 0)
            settle(); // the buffers fill up
        expect_is(read_stream(pair.theirs, i * 100000, 100000), 100000);
    }
    (void)join(writer);
    close_pair(pair);
    return NULL;
}

static void test_a_slow_reader_gets_it_all(void **state)
{
    (void)state;
    run(slow_reader_body);
}

// ---- Ends. ----

static void *half_close_body(void *arg)
{
    struct pair pair = open_pair();

    (void)arg;
    write_stream(pair.ours, 0, 10);
    expect_is(shutdown(weft_fd_number(pair.ours), SHUT_WR), 0);
    expect_is(read_stream(pair.theirs, 0, 100), 10);
    expect_is(read_stream(pair.theirs, 0, 100), 0); // and again
    write_stream(pair.theirs, 0, 20);
    expect_is(read_stream(pair.ours, 0, 20), 20);
    expect_is(weft_fd_write(pair.ours, "x", 1, WEFT_NEVER), -EPIPE);
    close_pair(pair);
    return NULL;
}

static void test_half_close(void **state)
{
    (void)state;
    run(half_close_body);
}

static void *read_once(void *arg)
{
    char byte;

    return (void *)(intptr_t)weft_fd_read(*(weft_fd *)arg, &byte, 1,
                                          WEFT_NEVER);
}

static void *reset_body(void *arg)
{
    struct pair pair = open_pair();
    struct linger linger = {.l_onoff = 1};
    weft_task reader = spawn(read_once, &pair.theirs);

    (void)arg;
    settle();
    expect_is(setsockopt(weft_fd_number(pair.ours), SOL_SOCKET, SO_LINGER,
                         &linger, sizeof linger),
              0);
    expect_is(weft_fd_close(pair.ours), 0);
    expect_is(join(reader), -ECONNRESET);
    expect_is(weft_fd_write(pair.theirs, "x", 1, WEFT_NEVER), -EPIPE);
    expect_is(weft_fd_close(pair.theirs), 0);
    return NULL;
}

static void test_reset(void **state)
{
    (void)state;
    run(reset_body);
}

// A writer that is parked on full buffers hears of the other end's reset.
static void *write_ever(void *arg)
{
    static char bytes[1 << 20];
    weft_fd fd = *(weft_fd *)arg;
    ssize_t sent;

    do {
        sent = weft_fd_write(fd, bytes, sizeof bytes, WEFT_NEVER);
    } while (sent > 0);
    return (void *)(intptr_t)sent;
}

static void *reset_writer_body(void *arg)
{
    struct pair pair = open_pair();
    weft_task writer = spawn(write_ever, &pair.ours);

    (void)arg;
    settle();
    expect_is(weft_fd_close(pair.theirs), 0); // with data unread: a reset
    intptr_t outcome = join(writer);
    expect(outcome == -ECONNRESET || outcome == -EPIPE);
    expect_is(weft_fd_close(pair.ours), 0);
    return NULL;
}

static void test_reset_under_a_writer(void **state)
{
    (void)state;
    run(reset_writer_body);
}

// Several readers of one descriptor: every byte goes to one of them, and all
// of them hear of the end.
static void *count_bytes(void *arg)
{
    weft_fd fd = *(weft_fd *)arg;
    char bytes[16];
    intptr_t sum = 0;
    ssize_t got;

    while ((got = weft_fd_read(fd, bytes, sizeof bytes, WEFT_NEVER)) > 0)
        sum += got;
    expect_is(got, 0);
    return (void *)sum;
}

static void *readers_body(void *arg)
{
    enum { READERS = 5 };
    struct pair pair = open_pair();
    weft_task readers[READERS];
    intptr_t sum = 0;

    (void)arg;
    for (int i = 0; i < READERS; i++)
        readers[i] = spawn(count_bytes, &pair.theirs);
    for (int i = 0; i < 200; i++) {
        write_stream(pair.ours, 0, 50);
        if (i % 20 == 0)
            settle();
    }
    expect_is(weft_fd_close(pair.ours), 0);
    for (int i = 0; i < READERS; i++)
        sum += join(readers[i]);
    expect_is(sum, 200 * 50);
    expect_is(weft_fd_close(pair.theirs), 0);
    return NULL;
}

static void test_several_readers(void **state)
{
    (void)state;
    run(readers_body);
}

// ---- Accept. ----

struct acceptors {
    weft_fd listener;
    atomic_int accepted;
};

static void *accept_ever(void *arg)
{
    struct acceptors *acceptors = arg;
    weft_fd fd;
    int outcome;

    while ((outcome = weft_tcp_accept(acceptors->listener, WEFT_NEVER, &fd)) ==
           0) {
        atomic_fetch_add(&acceptors->accepted, 1);
        expect_is(weft_fd_close(fd), 0);
    }
    return (void *)(intptr_t)outcome;
}

static void wait_accepted(struct acceptors *acceptors, int wanted)
{
    int64_t deadline = weft_time_after(20 * WEFT_SECOND);

    while (atomic_load(&acceptors->accepted) < wanted) {
        expect(weft_time_now() < deadline);
        settle();
    }
}

static void *acceptors_body(void *arg)
{
    enum { ACCEPTORS = 8, BURST = 100 };
    struct acceptors acceptors = {0};
    weft_task tasks[ACCEPTORS];
    weft_fd fds[BURST];
    uint16_t port;

    (void)arg;
    acceptors.listener = listen_on("127.0.0.1", &port);
    for (int i = 0; i < ACCEPTORS; i++)
        tasks[i] = spawn(accept_ever, &acceptors);
    settle();
    for (int round = 1; round <= 5; round++) {
        for (int i = 0; i < BURST; i++)
            fds[i] = connect_to(port);
        wait_accepted(&acceptors, round * BURST);
        for (int i = 0; i < BURST; i++)
            expect_is(weft_fd_close(fds[i]), 0);
    }
    expect_is(weft_fd_close(acceptors.listener), 0);
    for (int i = 0; i < ACCEPTORS; i++)
        expect_is(join(tasks[i]), -EBADF);
    expect_is(atomic_load(&acceptors.accepted), 5 * BURST);
    return NULL;
}

static void test_several_acceptors(void **state)
{
    (void)state;
    run(acceptors_body);
}

// ---- Closing. ----

static void *accept_once(void *arg)
{
    weft_fd fd;

    return (void *)(intptr_t)weft_tcp_accept(*(weft_fd *)arg, WEFT_NEVER, &fd);
}

static void *close_body(void *arg)
{
    struct pair pair = open_pair();
    uint16_t port;
    weft_fd listener = listen_on("127.0.0.1", &port);
    weft_task reader = spawn(read_once, &pair.theirs);
    weft_task other = spawn(read_once, &pair.theirs);
    weft_task writer = spawn(write_ever, &pair.ours);
    weft_task acceptor = spawn(accept_once, &listener);

    (void)arg;
    expect_is(join(reader), 1);
    expect_is(join(other), 1);
    reader = spawn(read_once, &listener); // not a connection
    expect_is(join(reader), -ENOTCONN);
    settle();
    expect_is(weft_fd_close(pair.ours), 0);
    expect_is(join(writer), -EBADF);
    expect_is(weft_fd_close(listener), 0);
    expect_is(join(acceptor), -EBADF);
    // The port is free at once, although a task was waiting on it.
    expect_is(weft_tcp_listen("127.0.0.1", port, 0, &listener), 0);
    expect_is(weft_fd_close(listener), 0);
    expect_is(weft_fd_close(pair.theirs), 0);
    expect_is(weft_fd_close(pair.theirs), -EBADF);
    return NULL;
}

static void test_close_under_waiters(void **state)
{
    (void)state;
    run(close_body);
}

static void *close_reader_body(void *arg)
{
    struct pair pair = open_pair();
    weft_task readers[3];

    (void)arg;
    for (int i = 0; i < 3; i++)
        readers[i] = spawn(read_once, &pair.theirs);
    settle();
    expect_is(weft_fd_close(pair.theirs), 0);
    for (int i = 0; i < 3; i++)
        expect_is(join(readers[i]), -EBADF);
    // The other end learns of it although tasks were waiting here.
    char byte;
    expect_is(weft_fd_read(pair.ours, &byte, 1, WEFT_NEVER), 0);
    expect_is(weft_fd_close(pair.ours), 0);
    return NULL;
}

static void test_close_under_readers(void **state)
{
    (void)state;
    run(close_reader_body);
}

// Closing races with reading, and slots are used again at once.
static void *close_race_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++) {
        struct pair pair = open_pair();
        weft_task readers[2];
        readers[0] = spawn(read_once, &pair.theirs);
        readers[1] = spawn(read_once, &pair.theirs);
        for (int j = 0; j < i % 4; j++)
            expect_is(weft_task_yield(), 0);
        if (i % 3 == 0)
            expect_is(weft_fd_write(pair.ours, "x", 1, WEFT_NEVER), 1);
        expect_is(weft_fd_close(pair.theirs), 0);
        intptr_t sum = 0;
        for (int j = 0; j < 2; j++) {
            intptr_t outcome = join(readers[j]);
            expect(outcome == -EBADF || outcome == 1);
            sum += outcome == 1;
        }
        expect(sum <= (i % 3 == 0));
        expect_is(weft_fd_close(pair.ours), 0);
    }
    return NULL;
}

static void test_close_races_with_reading(void **state)
{
    (void)state;
    run(close_race_body);
}

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
    expect_is(weft_fd_write(pair.ours, bytes, COUNT, 0), -ETIMEDOUT);
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

// ---- Bad input, and what the system refuses. ----

static void *refused_body(void *arg)
{
    uint16_t port;
    weft_fd listener = listen_on("127.0.0.1", &port);
    weft_fd fd;

    (void)arg;
    expect_is(weft_tcp_listen("127.0.0.1", port, 0, &fd), -EADDRINUSE);
    expect_is(weft_tcp_listen("192.0.2.1", 0, 0, &fd), -EADDRNOTAVAIL);
    expect_is(weft_fd_close(listener), 0);
    expect_is(weft_tcp_connect("127.0.0.1", port, WEFT_NEVER, &fd),
              -ECONNREFUSED);
    return NULL;
}

static void test_refused(void **state)
{
    (void)state;
    run(refused_body);
}

static void *bad_address_body(void *arg)
{
    static const char *const bad[] = {
        NULL,
        "",
        "localhost",
        "127.0.0.1:80",
        "127.0.0",
        "256.0.0.1",
        "[::1]",
        "::1%",
        "fe80::1%nosuch",
        "1:2:3",
        "::1 ",
        " ::1",
        "fe80::1%0",
        "fe80::1%1x",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001",
    };
    weft_fd fd;

    (void)arg;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        expect_is(weft_tcp_listen(bad[i], 0, 0, &fd), -EINVAL);
        expect_is(weft_tcp_connect(bad[i], 1, WEFT_NEVER, &fd), -EINVAL);
    }
    expect_is(weft_tcp_listen("127.0.0.1", 0, -1, &fd), -EINVAL);
    expect_is(weft_tcp_listen("127.0.0.1", 0, 0, NULL), -EINVAL);
    expect_is(weft_tcp_connect("127.0.0.1", 1, WEFT_NEVER, NULL), -EINVAL);
    return NULL;
}

static void test_bad_addresses(void **state)
{
    (void)state;
    run(bad_address_body);
}

static void expect_no_fd(weft_fd fd, int failure)
{
    char byte;
    weft_fd other;

    expect_is(weft_fd_read(fd, &byte, 1, 0), failure);
    expect_is(weft_fd_read(fd, &byte, 0, 0), failure);
    expect_is(weft_fd_write(fd, "x", 1, 0), failure);
    expect_is(weft_fd_write(fd, "x", 0, 0), failure);
    expect_is(weft_tcp_accept(fd, 0, &other), failure);
    expect_is(weft_fd_number(fd), failure);
    expect_is(weft_tcp_address(fd, false, NULL, NULL), failure);
    expect_is(weft_fd_close(fd), failure);
}

static void *stale_body(void *arg)
{
    struct pair pair = open_pair();
    weft_fd closed = pair.theirs;

    (void)arg;
    expect_no_fd((weft_fd){0}, -EBADF);
    expect_no_fd((weft_fd){UINT64_MAX}, -EBADF);
    expect_no_fd((weft_fd){pair.ours.id ^ UINT64_C(1) << 40}, -EBADF);
    expect_no_fd((weft_fd){pair.ours.id ^ UINT64_C(1) << 30}, -EBADF);
    expect_no_fd((weft_fd){pair.ours.id ^ UINT64_C(1) << 23}, -EBADF);
    close_pair(pair);
    expect_no_fd(closed, -EBADF);
    // All slots are in use again, the closed one's among them.
    struct pair again = open_pair();
    pair = open_pair();
    expect_no_fd(closed, -EBADF);
    close_pair(again);
    expect_is(weft_fd_read(pair.ours, NULL, 1, 0), -EINVAL);
    expect_is(weft_fd_write(pair.ours, NULL, 1, 0), -EINVAL);
    expect_is(weft_tcp_accept(pair.ours, 0, NULL), -EINVAL);
    expect_is(weft_tcp_accept(pair.ours, 0, &closed), -EINVAL); // no listener
    expect_is(weft_fd_read(pair.ours, NULL, 0, 0), 0);
    expect_is(weft_fd_write(pair.ours, NULL, 0, 0), 0);
    close_pair(pair);
    return NULL;
}

static void test_stale_handles(void **state)
{
    (void)state;
    run(stale_body);
}

static void *use_foreign(void *arg)
{
    expect_no_fd(*(weft_fd *)arg, -EBADF);
    return NULL;
}

static void *make_foreign(void *arg)
{
    uint16_t port;

    *(weft_fd *)arg = listen_on("127.0.0.1", &port);
    return NULL;
}

static void test_handles_of_others(void **state)
{
    weft_runtime_options options = {.size = sizeof options, .workers = 1};
    weft_runtime *one;
    weft_runtime *other;
    weft_fd fd;

    (void)state;
    assert_int_equal(weft_runtime_new(&options, &one), 0);
    assert_int_equal(weft_runtime_new(&options, &other), 0);
    assert_int_equal(weft_runtime_run(one, make_foreign, &fd, NULL), 0);
    assert_int_equal(weft_runtime_run(other, use_foreign, &fd, NULL), 0);
    expect_no_fd(fd, -EPERM); // a thread
    assert_int_equal(weft_tcp_listen("127.0.0.1", 0, 0, &fd), -EPERM);
    assert_int_equal(weft_tcp_connect("127.0.0.1", 1, 0, &fd), -EPERM);
    assert_int_equal(weft_runtime_free(one), 0);
    assert_int_equal(weft_runtime_free(other), 0);
}

// ---- Descriptors. ----

static int count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = -1; // the folder's own

    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static void *no_descriptors_body(void *arg)
{
    uint16_t port;
    weft_fd listener = listen_on("127.0.0.1", &port);
    weft_fd client = connect_to(port);
    weft_fd fd;
    struct rlimit before;

    (void)arg;
    expect_is(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {0, before.rlim_max};
    expect_is(setrlimit(RLIMIT_NOFILE, &none), 0);
    int accepted = weft_tcp_accept(listener, WEFT_NEVER, &fd);
    int again = weft_tcp_accept(listener, WEFT_NEVER, &fd);
    int connected = weft_tcp_connect("127.0.0.1", port, WEFT_NEVER, &fd);
    int listened = weft_tcp_listen("127.0.0.1", 0, 0, &fd);
    expect_is(setrlimit(RLIMIT_NOFILE, &before), 0);
    expect_is(accepted, -EMFILE);
    expect_is(again, -EMFILE);
    expect_is(connected, -EMFILE);
    expect_is(listened, -EMFILE);
    fd = accept_from(listener); // the connection has waited
    write_stream(client, 0, 5);
    expect_is(read_stream(fd, 0, 5), 5);
    expect_is(weft_fd_close(fd), 0);
    expect_is(weft_fd_close(client), 0);
    expect_is(weft_fd_close(listener), 0);
    return NULL;
}

static void test_out_of_descriptors(void **state)
{
    (void)state;
    int before = count_descriptors();
    run(no_descriptors_body);
    assert_int_equal(count_descriptors(), before);
}

static void *failing_connects_body(void *arg)
{
    uint16_t port;
    weft_fd listener = listen_on("127.0.0.1", &port);
    weft_fd fd;

    (void)arg;
    expect_is(weft_fd_close(listener), 0);
    int before = count_descriptors();
    for (int i = 0; i < 100; i++)
        expect_is(weft_tcp_connect("127.0.0.1", port, WEFT_NEVER, &fd),
                  -ECONNREFUSED);
    expect_is(count_descriptors(), before);
    return NULL;
}

static void test_failures_leave_nothing_open(void **state)
{
    (void)state;
    run(failing_connects_body);
}

static void *leave_open(void *arg)
{
    weft_fd *listener = arg;
    uint16_t port;

    *listener = listen_on("127.0.0.1", &port);
    for (int i = 0; i < 300; i++)
        (void)open_pair();
    // One is being waited on when the runtime ends.
    (void)weft_task_spawn(NULL, accept_once, listener, NULL);
    settle();
    return NULL;
}

static void test_the_end_closes_all(void **state)
{
    weft_fd listener;

    (void)state;
    int before = count_descriptors();
    run_with(1, leave_open, &listener);
    run_with(2, leave_open, &listener);
    assert_int_equal(count_descriptors(), before);
}

static void expect_settings(weft_fd fd)
{
    int number = weft_fd_number(fd);
    int on = 0;
    socklen_t size = sizeof on;

    expect(number >= 0);
    expect_is(getsockopt(number, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    expect(on != 0);
    expect(fcntl(number, F_GETFL) & O_NONBLOCK);
    expect(fcntl(number, F_GETFD) & FD_CLOEXEC);
}

static void *settings_body(void *arg)
{
    struct pair pair = open_pair();

    (void)arg;
    expect_settings(pair.ours);
    expect_settings(pair.theirs);
    close_pair(pair);
    return NULL;
}

static void test_settings_of_connections(void **state)
{
    (void)state;
    run(settings_body);
}

// ---- Addresses. ----

static void expect_address(weft_fd fd, bool peer, const char *format,
                           uint16_t port)
{
    char text[WEFT_ADDRESS_MAX];
    char wanted[WEFT_ADDRESS_MAX];
    uint16_t got;

    expect_is(weft_tcp_address(fd, peer, text, &got), 0);
    snprintf(wanted, sizeof wanted, format, got);
    expect(strcmp(text, wanted) == 0);
    if (port != 0)
        expect_is(got, port);
}

static void *address_body(void *arg)
{
    uint16_t port;
    weft_fd listener = listen_on("127.0.0.1", &port);
    weft_fd client = connect_to(port);
    weft_fd server = accept_from(listener);

    (void)arg;
    expect_address(listener, false, "127.0.0.1:%u", port);
    expect_address(client, true, "127.0.0.1:%u", port);
    expect_address(client, false, "127.0.0.1:%u", 0);
    expect_address(server, false, "127.0.0.1:%u", port);
    expect_is(weft_tcp_address(listener, true, NULL, NULL), -ENOTCONN);
    expect_is(weft_fd_close(client), 0);
    expect_is(weft_fd_close(server), 0);
    expect_is(weft_fd_close(listener), 0);
    return NULL;
}

static void test_addresses(void **state)
{
    (void)state;
    run(address_body);
}

static void *v6_body(void *arg)
{
    uint16_t port;
    weft_fd listener = listen_on("::1", &port);
    weft_fd client;

    (void)arg;
    expect_address(listener, false, "[::1]:%u", port);
    expect_is(weft_tcp_connect("::1", port, WEFT_NEVER, &client), 0);
    weft_fd server = accept_from(listener);
    expect_address(client, true, "[::1]:%u", port);
    write_stream(client, 0, 1000);
    expect_is(read_stream(server, 0, 1000), 1000);
    expect_is(weft_fd_close(client), 0);
    expect_is(weft_fd_close(server), 0);
    expect_is(weft_fd_close(listener), 0);
    // Both families at once.
    expect_is(weft_tcp_listen("::", 0, 0, &listener), 0);
    expect_is(weft_tcp_address(listener, false, NULL, &port), 0);
    client = connect_to(port);
    server = accept_from(listener);
    expect_address(server, false, "[::ffff:127.0.0.1]:%u", port);
    expect_is(weft_fd_close(client), 0);
    expect_is(weft_fd_close(server), 0);
    expect_is(weft_fd_close(listener), 0);
    return NULL;
}

static bool have_v6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6,
                                   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int number = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = bind(number, (struct sockaddr *)&address, sizeof address) == 0;

    close(number);
    return bound;
}

static void test_v6(void **state)
{
    (void)state;
    if (!have_v6())
        skip_because("no IPv6 on the loopback");
    run(v6_body);
}

// ---- Fairness. ----

struct fairness {
    struct pair pair;
    atomic_bool done;
};

static void *never_wait(void *arg)
{
    struct fairness *fairness = arg;
    char byte;

    // The loopback delivers within the write, so no read has to wait.
    for (int i = 0; i < 20000; i++) {
        expect_is(weft_fd_write(fairness->pair.ours, "x", 1, WEFT_NEVER), 1);
        expect_is(weft_fd_read(fairness->pair.theirs, &byte, 1, WEFT_NEVER), 1);
    }
    atomic_store(&fairness->done, true);
    return NULL;
}

static void *fairness_body(void *arg)
{
    struct fairness fairness = {.pair = open_pair()};
    weft_task busy = spawn(never_wait, &fairness);
    int turns = 0;

    (void)arg;
    while (!atomic_load(&fairness.done)) {
        turns++;
        expect_is(weft_task_yield(), 0);
    }
    expect(turns > 50);
    (void)join(busy);
    close_pair(fairness.pair);
    return NULL;
}

static void test_ready_operations_yield_at_times(void **state)
{
    (void)state;
    run_with(1, fairness_body, NULL);
}

int main(void)
{
    struct rlimit limit;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_a_thousand_connections),
        cmocka_unit_test(test_both_directions_at_once),
        cmocka_unit_test(test_a_slow_reader_gets_it_all),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_reset_under_a_writer),
        cmocka_unit_test(test_several_readers),
        cmocka_unit_test(test_several_acceptors),
        cmocka_unit_test(test_close_under_waiters),
        cmocka_unit_test(test_close_under_readers),
        cmocka_unit_test(test_close_races_with_reading),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_past_deadlines_try_once),
        cmocka_unit_test(test_a_write_ended_by_its_deadline),
        cmocka_unit_test(test_the_deadline_of_a_scope),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_a_cancelled_task_begins_nothing),
        cmocka_unit_test(test_cancel_races_with_data),
        cmocka_unit_test(test_cancel_races_with_connections),
        cmocka_unit_test(test_cancel_of_a_write),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bad_addresses),
        cmocka_unit_test(test_stale_handles),
        cmocka_unit_test(test_handles_of_others),
        cmocka_unit_test(test_out_of_descriptors),
        cmocka_unit_test(test_failures_leave_nothing_open),
        cmocka_unit_test(test_the_end_closes_all),
        cmocka_unit_test(test_settings_of_connections),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_v6),
        cmocka_unit_test(test_ready_operations_yield_at_times),
    };

    // A thousand connections have two thousand ends.
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
