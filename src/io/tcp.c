// tcp.c -- TCP: addresses, and listen, accept and connect.
//
// Every connection has TCP_NODELAY: whoever writes in whole messages gains
// nothing from Nagle's delay. Accepted connections inherit it from their
// listener, so it costs them no system call.
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weft/net.h>

#include "io/fd.h"
#include "port/socket.h"

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

// ---- Addresses. ----

static socklen_t length_of(const union address *address)
{
    return address->any.sa_family == AF_INET ? sizeof address->v4
                                             : sizeof address->v6;
}

// The interface behind the "%" of a link-local address, by name or number; 0
// if there is none such.
static uint32_t parse_scope(const char *text)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (*text >= '0' && *text <= '9' && *end == '\0' && number <= UINT32_MAX)
        return (uint32_t)number;
    return if_nametoindex(text);
}

static int parse_v6(const char *text, struct sockaddr_in6 *ret)
{
    char host[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "%");

    if (length >= sizeof host)
        return -EINVAL;
    memcpy(host, text, length);
    host[length] = '\0';
    ret->sin6_family = AF_INET6;
    if (inet_pton(AF_INET6, host, &ret->sin6_addr) != 1)
        return -EINVAL;
    if (text[length] == '\0')
        return 0;
    ret->sin6_scope_id = parse_scope(text + length + 1);
    return ret->sin6_scope_id == 0 ? -EINVAL : 0;
}

static int parse(const char *text, uint16_t port, union address *ret)
{
    memset(ret, 0, sizeof *ret);
    if (text == NULL)
        return -EINVAL;
    if (inet_pton(AF_INET, text, &ret->v4.sin_addr) == 1) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons(port);
        return 0;
    }
    int failure = parse_v6(text, &ret->v6);
    ret->v6.sin6_port = htons(port);
    return failure;
}

// The number of an interface, since its name would not fit WEFT_ADDRESS_MAX.
static void print_v6(const struct sockaddr_in6 *address, char *text)
{
    char host[INET6_ADDRSTRLEN];
    char scope[sizeof "%4294967295"] = "";

    inet_ntop(AF_INET6, &address->sin6_addr, host, sizeof host);
    if (address->sin6_scope_id != 0)
        snprintf(scope, sizeof scope, "%%%u", address->sin6_scope_id);
    snprintf(text, WEFT_ADDRESS_MAX, "[%s%s]:%u", host, scope,
             ntohs(address->sin6_port));
}

static void print(const union address *address, char *text)
{
    char host[INET_ADDRSTRLEN];

    if (address->any.sa_family == AF_INET6) {
        print_v6(&address->v6, text);
        return;
    }
    inet_ntop(AF_INET, &address->v4.sin_addr, host, sizeof host);
    snprintf(text, WEFT_ADDRESS_MAX, "%s:%u", host,
             ntohs(address->v4.sin_port));
}

// ---- Listen. ----

static int set_on(int number, int level, int option)
{
    int on = 1;

    return port_setsockopt(number, level, option, &on, sizeof on) < 0 ? -errno
                                                                      : 0;
}

// A socket for an address. Its number, or -errno.
static int new_socket(const union address *address)
{
    int number = port_socket(address->any.sa_family,
                             SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (number < 0)
        return -errno;
    int failure = set_on(number, IPPROTO_TCP, TCP_NODELAY);
    if (failure < 0)
        port_close(number);
    return failure < 0 ? failure : number;
}

static int start_listening(int number, const union address *address,
                           int backlog)
{
    // So that a restarted server gets its port although connections of its
    // predecessor linger.
    int failure = set_on(number, SOL_SOCKET, SO_REUSEADDR);

    if (failure < 0)
        return failure;
    if (port_bind(number, &address->any, length_of(address)) < 0 ||
        port_listen(number, backlog == 0 ? INT_MAX : backlog) < 0)
        return -errno;
    return 0;
}

int weft_tcp_listen(const char *address, uint16_t port, int backlog,
                    weft_fd *ret_listener)
{
    union address at;

    if (task_self() == NULL)
        return -EPERM;
    if (ret_listener == NULL || backlog < 0 || parse(address, port, &at) < 0)
        return -EINVAL;
    int number = new_socket(&at);
    if (number < 0)
        return number;
    int failure = start_listening(number, &at, backlog);
    if (failure < 0) {
        port_close(number);
        return failure;
    }
    return fd_open(number, ret_listener);
}

// ---- Accept. ----

// Whether accept4 failed for the sake of one connection, which is gone, and
// the next may be taken: Linux reports errors of that connection's network.
static bool goes_on(int error)
{
    static const int passing[] = {
        EINTR,       ECONNABORTED, EPROTO,       ENOPROTOOPT, ENETDOWN,
        ENETUNREACH, EHOSTDOWN,    EHOSTUNREACH, ENONET,
    };

    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
        if (error == passing[i])
            return true;
    return false;
}

__attribute__((noinline)) static ssize_t try_accept(int number, void *arg)
{
    int connection;

    (void)arg;
    do {
        connection =
            port_accept4(number, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (connection < 0 && goes_on(errno));
    return connection < 0 ? -errno : connection;
}

int weft_tcp_accept(weft_fd listener, int64_t deadline_ns,
                    weft_fd *ret_connection)
{
    if (task_self() == NULL)
        return -EPERM;
    if (ret_connection == NULL)
        return -EINVAL;
    ssize_t number = fd_run(listener, FD_READ, deadline_ns, try_accept, NULL);
    return number < 0 ? (int)number : fd_open((int)number, ret_connection);
}

// ---- Connect. ----

// The first call starts the connection; the later ones ask how it stands.
__attribute__((noinline)) static ssize_t try_connect(int number, void *arg)
{
    const union address *address = arg;

    if (port_connect(number, &address->any, length_of(address)) == 0)
        return 0;
    switch (errno) {
    case EISCONN:
        return 0;
    case EINPROGRESS:
    case EALREADY:
    case EINTR:
        return -EAGAIN;
    default:
        return -errno;
    }
}

int weft_tcp_connect(const char *address, uint16_t port, int64_t deadline_ns,
                     weft_fd *ret_connection)
{
    union address to;
    weft_fd connection;

    if (task_self() == NULL)
        return -EPERM;
    if (ret_connection == NULL || parse(address, port, &to) < 0)
        return -EINVAL;
    int number = new_socket(&to);
    if (number < 0)
        return number;
    // Started before the driver watches it: a socket that is not yet
    // connecting counts as hung up.
    ssize_t outcome = try_connect(number, &to);
    if (outcome < 0 && outcome != -EAGAIN) {
        port_close(number);
        return (int)outcome;
    }
    int failure = fd_open(number, &connection);
    if (failure < 0)
        return failure;
    failure = (int)fd_run(connection, FD_WRITE, deadline_ns, try_connect, &to);
    if (failure < 0)
        (void)weft_fd_close(connection);
    else
        *ret_connection = connection;
    return failure;
}

// ---- Addresses of sockets. ----

__attribute__((noinline)) static ssize_t get_own(int number, void *arg)
{
    socklen_t length = sizeof(union address);

    return port_getsockname(number, arg, &length) < 0 ? -errno : 0;
}

__attribute__((noinline)) static ssize_t get_peer(int number, void *arg)
{
    socklen_t length = sizeof(union address);

    return port_getpeername(number, arg, &length) < 0 ? -errno : 0;
}

int weft_tcp_address(weft_fd fd, bool peer, char *text, uint16_t *ret_port)
{
    union address address;
    ssize_t failure = fd_look(fd, peer ? get_peer : get_own, &address);

    if (failure < 0)
        return (int)failure;
    if (text != NULL)
        print(&address, text);
    if (ret_port != NULL) // at the same place in both
        *ret_port = ntohs(address.v4.sin_port);
    return 0;
}
