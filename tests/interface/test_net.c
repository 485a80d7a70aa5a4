// test_net.c -- TCP through the public interface: what it does.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/net.h"
#include "support/skip.h"

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

// ---- Addresses and settings. ----

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
