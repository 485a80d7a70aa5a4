// tour_net.c -- The tour's part about sockets: an echo server and its clients.
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tour.h"

enum { CLIENTS = 4, BYTES = 40000, PIECE = 3000 };

struct echo {
    weft_fd listener;
    uint16_t port;
    weft_scope *servers;
};

static void close_fd(weft_fd fd)
{
    must_hold(weft_fd_close(fd) == 0, "what was opened can be closed");
}

// ---- The server ----

static void *serve(void *id)
{
    weft_fd fd = {(uint64_t)(uintptr_t)id};
    char bytes[4096];
    char text[WEFT_ADDRESS_MAX];
    ssize_t got;

    went_well(weft_tcp_address(fd, true, text, NULL), "peer's address");
    while ((got = weft_fd_read(fd, bytes, sizeof bytes, WEFT_NEVER)) > 0)
        if (weft_fd_write(fd, bytes, (size_t)got, WEFT_NEVER) != got)
            break;
    if (got < 0 && got != -ECANCELED)
        went_well((int)got, "server's read");
    close_fd(fd);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct echo *echo = arg;
    weft_fd fd;
    int error;

    while ((error = weft_tcp_accept(echo->listener, WEFT_NEVER, &fd)) !=
           -ECANCELED) {
        // What comes again and again must not take the processor for itself.
        if (!went_well(error, "accept"))
            (void)weft_task_sleep(weft_time_after(WEFT_MILLISECOND));
        else if (!went_well(weft_scope_spawn(echo->servers, NULL, serve,
                                             (void *)(uintptr_t)fd.id, NULL),
                            "spawn a server"))
            close_fd(fd);
    }
    return NULL;
}

// ---- The clients ----

static char byte_at(size_t place)
{
    return (char)(place * 2654435761u >> 24);
}

// Sends a piece and reads it back; false: an error, or the end of the stream.
static bool exchange(weft_fd fd, size_t from, int64_t deadline_ns)
{
    char piece[PIECE];
    size_t got = 0;

    for (size_t i = 0; i < PIECE; i++)
        piece[i] = byte_at(from + i);
    ssize_t sent = weft_fd_write(fd, piece, PIECE, deadline_ns);
    if (!went_well((int)sent, "client's write"))
        return false;
    must_hold(sent <= PIECE, "no more is sent than was given");
    while (got < (size_t)sent) {
        ssize_t more = weft_fd_read(fd, piece, PIECE, deadline_ns);
        if (!went_well((int)more, "client's read") ||
            !went_well(more == 0 ? -EPIPE : 0, "client's read"))
            return false;
        for (size_t i = 0; i < (size_t)more; i++)
            must_hold(piece[i] == byte_at(from + got + i), "the same bytes");
        got += (size_t)more;
    }
    return sent == PIECE;
}

static void *visit(void *arg)
{
    const struct echo *echo = arg;
    // The server may have been unable to take it: then it waits in vain.
    int64_t deadline_ns = weft_time_after(2 * WEFT_SECOND);
    weft_fd fd;

    if (!went_well(weft_tcp_connect("127.0.0.1", echo->port, deadline_ns, &fd),
                   "connect"))
        return NULL;
    for (size_t i = 0; i < BYTES; i += PIECE)
        if (!exchange(fd, i, deadline_ns))
            break;
    close_fd(fd);
    return NULL;
}

static void visit_all(struct echo *echo)
{
    weft_scope clients;

    if (!went_well(weft_scope_enter(&clients, WEFT_NEVER), "scope"))
        return;
    for (int i = 0; i < CLIENTS; i++)
        went_well(weft_scope_spawn(&clients, NULL, visit, echo, NULL),
                  "spawn a client");
    must_hold(weft_scope_leave(&clients) == 0, "all clients end");
}

static void *all_of_it(void *unused)
{
    weft_scope servers;
    struct echo echo = {.servers = &servers};
    weft_task acceptor;

    if (!went_well(weft_tcp_listen("127.0.0.1", 0, 0, &echo.listener),
                   "listen"))
        return unused;
    if (went_well(weft_tcp_address(echo.listener, false, NULL, &echo.port),
                  "own address") &&
        went_well(weft_scope_enter(&servers, WEFT_NEVER), "scope")) {
        if (went_well(
                weft_scope_spawn(&servers, NULL, accept_all, &echo, &acceptor),
                "spawn the acceptor"))
            visit_all(&echo);
        must_hold(weft_scope_cancel(&servers) == 0, "cancel");
        (void)weft_scope_leave(&servers);
    }
    close_fd(echo.listener);
    return unused;
}

void tour_net(void)
{
    run_alone(2, all_of_it, NULL);
}
