// test_net_refuse.c -- TCP through the public interface: what is refused.
#include <dirent.h>
#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/net.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bad_addresses),
        cmocka_unit_test(test_stale_handles),
        cmocka_unit_test(test_handles_of_others),
        cmocka_unit_test(test_out_of_descriptors),
        cmocka_unit_test(test_failures_leave_nothing_open),
        cmocka_unit_test(test_the_end_closes_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
