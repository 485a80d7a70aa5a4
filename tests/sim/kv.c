// kv.c -- The key-value server and its clients in simulations of many seeds.
//
// The server is the example's own source, or a copy with a fault planted. Each
// client checks the replies to what nobody else touches; at the end the sums of
// what all have touched must be right.
#include <stdarg.h>

int kv_main(int argc, char **argv);
#define main kv_main
#include KV_SERVER
#undef main

#include "sim/seeds.h"

#define check(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            wrong = true;                                                      \
        }                                                                      \
    } while (0)

enum { CLIENTS = 6, ROUNDS = 12, ACCOUNTS = 4, BALANCE = 100 };

const unsigned seeds_faults = 0;

static bool wrong;

// ---- A client's end ----

struct client {
    weft_fd fd;
    char input[512];
    size_t at;
    size_t end;
    long number;
};

static void put(struct client *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put(struct client *c, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    check(weft_fd_write(c->fd, text, (size_t)length, WEFT_NEVER) == length);
}

static int next_byte(struct client *c)
{
    if (c->at == c->end) {
        ssize_t got =
            weft_fd_read(c->fd, c->input, sizeof c->input, WEFT_NEVER);
        if (got <= 0)
            return -1;
        c->at = 0;
        c->end = (size_t)got;
    }
    return (unsigned char)c->input[c->at++];
}

// A line of a reply, without its end.
static void take_line(struct client *c, char *line, size_t room)
{
    size_t length = 0;
    int byte;

    while ((byte = next_byte(c)) >= 0 && byte != '\n')
        if (byte != '\r' && length + 1 < room)
            line[length++] = (char)byte;
    line[length] = '\0';
}

static bool takes(struct client *c, const char *wanted)
{
    char line[512];

    take_line(c, line, sizeof line);
    if (strcmp(line, wanted) == 0)
        return true;
    fprintf(stderr, "got \"%s\" for \"%s\"\n", line, wanted);
    return false;
}

static long take_number(struct client *c)
{
    char line[64];

    take_line(c, line, sizeof line);
    check(line[0] == ':');
    return strtol(line + 1, NULL, 10);
}

static long take_value(struct client *c)
{
    char line[64];

    take_line(c, line, sizeof line);
    check(line[0] == '$');
    take_line(c, line, sizeof line);
    return strtol(line, NULL, 10);
}

static void open_client(struct client *c)
{
    int error = weft_tcp_connect(address, port, WEFT_NEVER, &c->fd);

    while (error == -ECONNREFUSED) { // it does not listen so far
        check(weft_task_sleep(weft_time_after(WEFT_MILLISECOND)) == 0);
        error = weft_tcp_connect(address, port, WEFT_NEVER, &c->fd);
    }
    check(error == 0);
    c->at = c->end = 0;
}

// ---- What clients do ----

// Several at once, so that requests and replies meet in any pieces.
static void increment(struct client *c)
{
    int count = 1 + (int)(weft_sim_random() % 5);
    long before = 0;

    for (int i = 0; i < count; i++)
        put(c, "*2\r\n$4\r\nINCR\r\n$5\r\ntotal\r\n");
    put(c, "INCRBY nothing\r\n");
    for (int i = 0; i < count; i++) {
        long now = take_number(c);
        check(now > before);
        before = now;
    }
    check(takes(c, "-ERR unknown command"));
    c->number += count;
}

static void set_and_get(struct client *c, int id)
{
    char value[300], header[16];
    int length = (int)(weft_sim_random() % sizeof value);

    memset(value, 'a' + id, sizeof value);
    put(c, "SET own%d x\r\n*3\r\n$3\r\nSET\r\n$4\r\nown%d\r\n$%d\r\n%.*s\r\n",
        id, id, length, length, value);
    put(c, "GET own%d\r\n", id);
    check(takes(c, "+OK") && takes(c, "+OK"));
    snprintf(header, sizeof header, "$%d", length);
    value[length] = '\0';
    check(takes(c, header) && takes(c, value));
}

// From the lower to the higher account, which cannot deadlock; with OPPOSITE
// the other way too, which can.
static void pay(struct client *c)
{
    int low = (int)(weft_sim_random() % (ACCOUNTS - 1));
    int turned = OPPOSITE ? (int)(weft_sim_random() % 2) : 0;
    char line[64];

    put(c, "TRANSFER acc%d acc%d 30\r\n", low + turned, low + !turned);
    take_line(c, line, sizeof line);
    check(strcmp(line, "+OK") == 0 ||
          strcmp(line, "-ERR insufficient funds") == 0);
}

// A key lives as long as it is said, and no longer.
static void expire(struct client *c, int id)
{
    put(c, "SET short%d 1\r\nEXPIRE short%d 2\r\n", id, id);
    check(takes(c, "+OK") && take_number(c) == 1);
    check(weft_task_sleep(weft_time_after(WEFT_SECOND / 2)) == 0);
    put(c, "TTL short%d\r\n", id);
    check(take_number(c) <= 2);
    check(weft_task_sleep(weft_time_after(2 * WEFT_SECOND)) == 0);
    put(c, "GET short%d\r\n", id);
    check(takes(c, "$-1"));
}

static void *client_main(void *arg)
{
    struct client c = {.number = 0};
    int id = (int)(intptr_t)arg;

    open_client(&c);
    for (int i = 0; i < ROUNDS && !wrong; i++)
        switch (weft_sim_random() % 4) {
        case 0:
            increment(&c);
            break;
        case 1:
            set_and_get(&c, id);
            break;
        case 2:
            pay(&c);
            break;
        default:
            expire(&c, id);
            break;
        }
    weft_fd_close(c.fd);
    return (void *)c.number;
}

// ---- The whole ----

static void open_accounts(struct client *c)
{
    for (int i = 0; i < ACCOUNTS; i++) {
        put(c, "SET acc%d %d\r\n", i, BALANCE);
        check(takes(c, "+OK"));
    }
}

static void check_sums(struct client *c, long total)
{
    long sum = 0;

    for (int i = 0; i < ACCOUNTS; i++) {
        put(c, "GET acc%d\r\n", i);
        sum += take_value(c);
    }
    check(sum == ACCOUNTS * BALANCE);
    put(c, "INCR total\r\n");
    check(take_number(c) == total + 1);
    weft_sim_note((uint64_t)total);
}

static void *all_clients(void *arg)
{
    struct client c;
    weft_task tasks[CLIENTS];
    long total = 0;

    open_client(&c);
    open_accounts(&c);
    for (intptr_t i = 0; i < CLIENTS; i++)
        check(weft_task_spawn(NULL, client_main, (void *)i, &tasks[i]) == 0);
    for (int i = 0; i < CLIENTS; i++) {
        void *number = NULL;
        check(weft_task_join(tasks[i], WEFT_NEVER, &number) == 0);
        total += (long)number;
    }
    check_sums(&c, total);
    weft_fd_close(c.fd);
    return arg;
}

int seeds_body(void *arg)
{
    weft_runtime_options options = {.size = sizeof options, .name = "server"};
    weft_task_options of = {.size = sizeof of, .name = "listener"};

    (void)arg;
    check(freopen("/dev/null", "w", stdout) != NULL); // the server's greeting
    check(weft_runtime_new(&options, &of.runtime) == 0);
    check(weft_task_spawn(&of, listen_main, NULL, NULL) == 0);
    options.name = "clients";
    check(weft_run(&options, all_clients, NULL, NULL) == 0);
    check(weft_runtime_free(of.runtime) == 0);
    return wrong;
}
