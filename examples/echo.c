// echo.c -- Sockets: a server that sends back what it gets, and its clients.
//
// Each connection is a task, and its code reads as if it blocked.
//
// Prints: 3 clients had 300 lines back
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { CLIENTS = 3, LINES = 100 };

static const char line[] = "to and fro\n";
static uint16_t port;
static atomic_int lines;

static void *echo(void *arg)
{
    weft_fd *fd = arg;
    char buffer[256];
    ssize_t count;

    while ((count = weft_fd_read(*fd, buffer, sizeof buffer, WEFT_NEVER)) > 0)
        if (weft_fd_write(*fd, buffer, (size_t)count, WEFT_NEVER) < count)
            break;
    weft_fd_close(*fd);
    return NULL;
}

static int read_line(weft_fd fd, char *buffer)
{
    for (size_t got = 0; got < sizeof line - 1;) {
        ssize_t count =
            weft_fd_read(fd, buffer + got, sizeof line - 1 - got, WEFT_NEVER);

        if (count <= 0)
            return -1;
        got += (size_t)count;
    }
    return memcmp(buffer, line, sizeof line - 1);
}

static void *talk(void *unused)
{
    char buffer[sizeof line];
    weft_fd fd;

    (void)unused;
    if (weft_tcp_connect("127.0.0.1", port, WEFT_NEVER, &fd) < 0)
        return NULL;
    for (int i = 0; i < LINES; i++) {
        if (weft_fd_write(fd, line, sizeof line - 1, WEFT_NEVER) < 0 ||
            read_line(fd, buffer) != 0)
            break;
        atomic_fetch_add(&lines, 1);
    }
    weft_fd_close(fd);
    return NULL;
}

static void *run(void *ret_error)
{
    int *error = ret_error;
    weft_fd listener, fds[CLIENTS];
    weft_scope scope;

    if ((*error = weft_tcp_listen("127.0.0.1", 0, 0, &listener)) < 0)
        return NULL;
    weft_tcp_address(listener, false, NULL, &port);
    weft_scope_enter(&scope, WEFT_NEVER);
    for (int i = 0; i < CLIENTS && *error == 0; i++)
        *error = weft_scope_spawn(&scope, NULL, talk, NULL, NULL);
    for (int i = 0; i < CLIENTS && *error == 0; i++) {
        if ((*error = weft_tcp_accept(listener, WEFT_NEVER, &fds[i])) < 0)
            break;
        *error = weft_scope_spawn(&scope, NULL, echo, &fds[i], NULL);
        if (*error < 0)
            weft_fd_close(fds[i]);
    }
    weft_fd_close(listener); // who has no server yet is hung up on
    weft_scope_leave(&scope);
    printf("%d clients had %d lines back\n", CLIENTS, atomic_load(&lines));
    return NULL;
}

int main(void)
{
    int in_run = 0;
    int error = weft_run(NULL, run, &in_run, NULL);

    if (error == 0)
        error = in_run;
    if (error < 0)
        fprintf(stderr, "echo: %s\n", strerror(-error));
    return error < 0;
}
