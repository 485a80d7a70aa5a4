// kv-server.c -- A key-value server that speaks RESP, the protocol of Redis.
//
// Each connection is a task that reads, runs every whole command that came and
// writes all replies at once, as if it were alone: a call that waits parks the
// task, and its worker runs others. TRANSFER locks two accounts in the order
// given, as a careless bank would: two opposite transfers deadlock. At
// `kill -QUIT` weft says so, and what every task does, on standard error, and
// as JSON in the file that WEFT_DUMP_FILE names.
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <weft/weft.h>

#include "resp.h"
#include "store.h"

#define NOT_AN_INTEGER "value is not an integer or out of range"
#define LEDGER_NS (50 * WEFT_MILLISECOND) // a transfer's talk with the ledger
#define RETRY_NS (50 * WEFT_MILLISECOND)  // after a failure to accept

enum { ECHO, PING, INCR, TRANSFER, DBSIZE, INFO, COMMAND, QUIT, SIMPLE };
enum { GET = SIMPLE, SET, EXPIRE, TTL, ONE_KEY };
enum { MGET = ONE_KEY, DEL, EXISTS, COMMANDS, ANY = RESP_ARGS_MAX };

// By command: name; fewest and most arguments, the name included.
static const struct {
    const char *name;
    size_t least, most;
} commands[COMMANDS] = {
    {"echo", 2, 2},   {"ping", 1, 2},   {"incr", 2, 2},      {"transfer", 4, 4},
    {"dbsize", 1, 1}, {"info", 1, ANY}, {"command", 1, ANY}, {"quit", 1, ANY},
    {"get", 2, 2},    {"set", 3, ANY},  {"expire", 3, 3},    {"ttl", 2, 2},
    {"mget", 2, ANY}, {"del", 2, ANY},  {"exists", 2, ANY}};

struct conn {
    weft_fd fd;
    struct resp resp;
};

static const char *address = "127.0.0.1";
static uint16_t port = 6380;
static int64_t started_ns;
static _Atomic int64_t clients, commands_run, exit_status;

// Locks in the order given: the mistake that this server is there to show.
static int transfer(struct slice from, struct slice to, int64_t sum)
{
    weft_mutex *first = store_lock_of(from), *second = store_lock_of(to);
    int error = weft_mutex_lock(first, WEFT_NEVER);
    if (error < 0)
        return error;
    error = weft_task_sleep(weft_time_after(LEDGER_NS));
    if (error == 0)
        error = weft_mutex_lock(second, WEFT_NEVER);
    if (error == 0) {
        error = store_add(from, -sum, 0, NULL);
        if (error == 0 && (error = store_add(to, sum, INT64_MIN, NULL)) < 0)
            store_add(from, sum, INT64_MIN, NULL);
        weft_mutex_unlock(second);
    }
    weft_mutex_unlock(first);
    return error;
}

static void reply_error(struct resp *resp, int error)
{
    if (error == -EDOM)
        resp_error(resp, NOT_AN_INTEGER);
    else if (error == -EOVERFLOW)
        resp_error(resp, "increment or decrement would overflow");
    else if (error == -ERANGE)
        resp_error(resp, "insufficient funds");
    else if (error == -EDEADLK)
        resp_error(resp, "both accounts are the same");
    else
        resp_error(resp, "%s", strerror(-error));
}

static void flush(struct conn *conn)
{
    size_t size = conn->resp.out_end;
    ssize_t sent = weft_fd_write(conn->fd, conn->resp.out, size, WEFT_NEVER);
    conn->resp.closing |= sent != (ssize_t)size;
    conn->resp.out_end = 0;
}

static void run_info(struct resp *resp)
{
    weft_runtime_metrics all = {0};
    uint64_t runs = 0, parks = 0, steals = 0;
    char text[1024];

    weft_runtime_metrics_get(weft_runtime_self(), &all);
    for (unsigned i = 0; i < all.workers; i++) {
        weft_worker_metrics one = {0};
        weft_worker_metrics_get(weft_runtime_self(), i, &one);
        runs += one.tasks_run;
        parks += one.parks;
        steals += one.steals;
    }
    int length = snprintf(
        text, sizeof(text),
        "# Server\r\nprocess_id:%d\r\ntcp_port:%d\r\nuptime_in_seconds:%ld\r\n"
        "\r\n# Clients\r\nconnected_clients:%ld\r\n"
        "\r\n# Stats\r\ntotal_commands_processed:%ld\r\n"
        "\r\n# Keyspace\r\ndb0:keys=%ld\r\n"
        "\r\n# Weft\r\nversion:%s\r\nworkers:%u\r\ntasks_live:%lu\r\n"
        "tasks_spawned:%lu\r\ntasks_run:%lu\r\nparks:%lu\r\nsteals:%lu\r\n"
        "dumps:%lu\r\n",
        getpid(), port, (weft_time_now() - started_ns) / WEFT_SECOND, clients,
        commands_run, store_count(), WEFT_VERSION, all.workers, all.tasks_live,
        all.tasks_spawned, runs, parks, steals, all.dumps);
    resp_reply_string(resp, (struct slice){text, (size_t)length});
}

static void run_simple(struct resp *resp, int command)
{
    int64_t number;
    int error;

    switch (command) {
    case PING:
    case ECHO:
        if (resp->argc > 1)
            return resp_reply_string(resp, resp->args[1]);
        return resp_reply(resp, "+PONG\r\n");
    case TRANSFER:
        if (!slice_to_integer(resp->args[3], &number) || number <= 0)
            return reply_error(resp, -EDOM);
        error = transfer(resp->args[1], resp->args[2], number);
        return error < 0 ? reply_error(resp, error) : resp_reply(resp, RESP_OK);
    case INCR:
        error = store_add(resp->args[1], 1, INT64_MIN, &number);
        return error < 0 ? reply_error(resp, error)
                         : resp_reply_integer(resp, number);
    case DBSIZE:
        return resp_reply_integer(resp, store_count());
    case INFO:
        return run_info(resp);
    case COMMAND:
        resp_reply(resp, "*%d\r\n", resp->argc == 1 ? COMMANDS : 0);
        for (int i = 0; resp->argc == 1 && i < COMMANDS; i++)
            resp_reply(resp, "*6\r\n+%s\r\n:-%zu\r\n*0\r\n:0\r\n:0\r\n:0\r\n",
                       commands[i].name, commands[i].least);
        return;
    case QUIT:
        resp->closing = true;
        return resp_reply(resp, RESP_OK);
    }
}

// Reads a delay: when it will have passed. False: the error is replied.
static bool read_delay(struct resp *resp, size_t which, int64_t unit_ns,
                       int64_t *ret_end)
{
    int64_t delay;
    bool in_set = which > 2;

    if (!slice_to_integer(resp->args[which], &delay))
        resp_error(resp, NOT_AN_INTEGER);
    else if ((in_set && delay <= 0) ||
             __builtin_mul_overflow(delay, unit_ns, &delay) ||
             __builtin_add_overflow(delay, weft_time_now(), ret_end))
        resp_error(resp, "invalid expire time in '%s' command",
                   in_set ? "set" : "expire");
    else
        return true;
    return false;
}

static void run_set(struct resp *resp, struct place *place)
{
    bool nx = false, xx = false;
    int64_t expires_ns = WEFT_NEVER;

    for (size_t i = 3; i < resp->argc; i++) {
        const char *option = resp->args[i].data;
        bool ms = strcasecmp(option, "PX") == 0;
        if (strcasecmp(option, "NX") == 0 && !xx)
            nx = true;
        else if (strcasecmp(option, "XX") == 0 && !nx)
            xx = true;
        else if ((!ms && strcasecmp(option, "EX") != 0) ||
                 expires_ns != WEFT_NEVER || ++i == resp->argc)
            return resp_error(resp, "syntax error");
        else if (!read_delay(resp, i, ms ? WEFT_MILLISECOND : WEFT_SECOND,
                             &expires_ns))
            return;
    }
    if (*place->link != NULL ? nx : xx)
        return resp_reply(resp, RESP_NONE);
    store_put(place, resp->args[2], expires_ns);
    resp_reply(resp, RESP_OK);
}

static void run_on_key(struct resp *resp, int command, struct place *place)
{
    struct entry *entry = *place->link;
    int64_t number;

    switch (command) {
    case GET:
    case MGET:
        if (entry != NULL)
            return resp_reply_string(resp, entry->value);
        return resp_reply(resp, RESP_NONE);
    case SET:
        return run_set(resp, place);
    case EXPIRE:
        if (!read_delay(resp, 2, WEFT_SECOND, &number))
            return;
        if (entry != NULL)
            entry->expires_ns = number;
        return resp_reply_integer(resp, entry != NULL);
    case TTL:
        if (entry == NULL || entry->expires_ns == WEFT_NEVER)
            return resp_reply_integer(resp, entry == NULL ? -2 : -1);
        number = entry->expires_ns - weft_time_now() + WEFT_SECOND / 2;
        return resp_reply_integer(resp, number / WEFT_SECOND);
    case DEL:
        if (entry != NULL)
            store_drop(place);
    }
}

static void run_on_keys(struct conn *conn, int command)
{
    struct resp *resp = &conn->resp;
    size_t end = command < ONE_KEY ? 2 : resp->argc;
    int64_t found = 0;

    if (command == MGET)
        resp_reply(resp, "*%zu\r\n", end - 1);
    for (size_t i = 1; i < end; i++) {
        struct place place;
        if (!store_open(resp->args[i], &place))
            return;
        found += *place.link != NULL;
        run_on_key(resp, command, &place);
        store_close(&place);
        if (resp->out_end > RESP_OUT_FULL)
            flush(conn);
    }
    if (command == DEL || command == EXISTS)
        resp_reply_integer(resp, found);
}

static void run(struct conn *conn)
{
    struct resp *resp = &conn->resp;
    const char *name = resp->args[0].data;
    int command = 0;

    while (command < COMMANDS && strcasecmp(name, commands[command].name) != 0)
        command++;
    if (command == COMMANDS)
        resp_error(resp,
                   "unknown command '%.128s', with args beginning with: %.128s",
                   name, resp->argc > 1 ? resp->args[1].data : "");
    else if (resp->argc < commands[command].least ||
             resp->argc > commands[command].most)
        resp_error(resp, "wrong number of arguments for '%s' command",
                   commands[command].name);
    else if (command < SIMPLE)
        run_simple(resp, command);
    else
        run_on_keys(conn, command);
}

static void serve(struct conn *conn)
{
    ssize_t count = 1;

    while (count > 0 && !conn->resp.closing) {
        struct slice space = resp_space(&conn->resp);
        count = weft_fd_read(conn->fd, space.data, space.length, WEFT_NEVER);
        conn->resp.in_end += count > 0 ? (size_t)count : 0;
        int64_t number = 0;
        for (; resp_next(&conn->resp); number++)
            run(conn);
        commands_run += number;
        flush(conn);
    }
}

static void *conn_main(void *arg)
{
    weft_fd fd = {(uint64_t)(uintptr_t)arg};
    char name[WEFT_ADDRESS_MAX + 8] = "conn ";
    struct conn *conn =
        mmap(NULL, sizeof(*conn), PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (conn != MAP_FAILED) {
        madvise(conn, sizeof(*conn), MADV_NOHUGEPAGE);
        weft_tcp_address(fd, true, name + strlen(name), NULL);
        weft_task_set_name(name);
        clients++;
        conn->fd = fd;
        serve(conn);
        clients--;
        munmap(conn, sizeof(*conn));
    }
    weft_fd_close(fd);
    return NULL;
}

static void *listener_main(void *unused)
{
    char text[WEFT_ADDRESS_MAX];
    weft_task_options sweeper = {.size = sizeof(sweeper), .name = "sweeper"};
    weft_fd listener, fd;
    int error = weft_tcp_listen(address, port, 0, &listener);

    if (error < 0) {
        fprintf(stderr, "kv-server: cannot listen on %s port %u: %s\n", address,
                port, strerror(-error));
        exit_status = EXIT_FAILURE;
        kill(getpid(), SIGTERM);
        return unused;
    }
    weft_tcp_address(listener, false, text, &port);
    printf("kv-server: listening on %s\n", text);
    fflush(stdout);
    weft_task_spawn(&sweeper, store_sweep, NULL, NULL);
    while (error != -ECANCELED) {
        error = weft_tcp_accept(listener, WEFT_NEVER, &fd);
        if (error == 0 && weft_task_spawn(NULL, conn_main,
                                          (void *)(uintptr_t)fd.id, NULL) < 0)
            error = weft_fd_close(fd);
        else if (error < 0 && error != -ECANCELED)
            error = weft_task_sleep(weft_time_after(RETRY_NS));
    }
    weft_fd_close(listener);
    return unused;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    weft_runtime_options *options = state->input;
    unsigned most = key == 'p' ? UINT16_MAX : 1024, number = 0;
    char rest;

    if ((key == 'p' || key == 'w') &&
        (sscanf(text, "%u%c", &number, &rest) != 1 || number > most))
        argp_error(state, "--%s: not a number from 0 to %u: %s",
                   key == 'p' ? "port" : "workers", most, text);
    if (key == 'p')
        port = (uint16_t)number;
    else if (key == 'w')
        options->workers = number;
    else if (key == 'b')
        address = text;
    else if (key == ARGP_KEY_ARG)
        argp_error(state, "unexpected argument: %s", text);
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

static const struct argp_option names[] = {
    {"port", 'p', "N", 0, "Listen on port N (0: any, default 6380)", 0},
    {"bind", 'b', "ADDR", 0, "Listen on ADDR (default 127.0.0.1)", 0},
    {"workers", 'w', "N", 0, "Use N threads (0, default: one a CPU)", 0},
    {0}};

int main(int argc, char **argv)
{
    const struct argp argp = {
        names, parse_option, NULL, "Serves keys and values by RESP.",
        NULL,  NULL,         NULL};
    weft_runtime_options options = {
        .size = sizeof(options), .name = "kv-server", .dump_signal = SIGQUIT};
    weft_task_options listener = {.size = sizeof(listener), .name = "listener"};
    sigset_t stop;
    int signal, error;

    argp_parse(&argp, argc, argv, 0, NULL, &options);
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    started_ns = weft_time_now();
    store_init();
    error = weft_runtime_new(&options, &listener.runtime);
    if (error == 0)
        error = weft_task_spawn(&listener, listener_main, NULL, NULL);
    if (error < 0) {
        fprintf(stderr, "kv-server: cannot start: %s\n", strerror(-error));
        return EXIT_FAILURE;
    }
    sigwait(&stop, &signal);
    weft_runtime_free(listener.runtime);
    return (int)exit_status;
}
