// kv-server.c -- A key-value server that speaks RESP, the protocol of Redis.
//
// Each connection is a task that reads, runs every whole command that came and
// writes all replies at once, as if it were alone: a call that waits parks the
// task, and its worker runs others. TRANSFER locks two accounts in the order
// given, as a careless bank would: two opposite transfers deadlock. After
// `kill -QUIT` weft says so on stderr, and as JSON in $WEFT_DUMP_FILE.
#include <argp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <weft/weft.h>

#define PAUSE_NS (50 * WEFT_MILLISECOND) // a transfer's talk with the ledger
#define NOT_AN_INTEGER "-ERR value is not an integer or out of range\r\n"

enum { SHARDS = 64, BUCKETS = 1 << 14, ACCOUNTS = 1024, ARGS_MAX = 1024 };
enum { IN_SIZE = 1 << 20, OUT_SIZE = 2 * IN_SIZE }; // no command is larger

struct slice {
    char *data; // a zero follows, whatever is inside
    size_t length;
};

struct entry {
    struct entry *next;
    int64_t expires_ns;
    struct slice key, value;
    char bytes[]; // of both
};

struct shard {
    weft_mutex mutex; // guards the entries
    char name[16];
    struct entry *buckets[BUCKETS];
};

struct account {
    weft_mutex mutex;
    char name[WEFT_NAME_MAX];
};

struct conn {
    weft_fd fd;
    bool closing;
    size_t start, in_end, out_end; // `start`: of what is not yet run
    size_t argc, found;
    struct slice args[ARGS_MAX], key;
    struct shard *shard; // of the key, locked
    struct entry **link; // to the key's entry, or NULL where it would be
    char in[IN_SIZE], out[OUT_SIZE];
};

static struct shard shards[SHARDS];
static struct account accounts[ACCOUNTS]; // those in use come first
static weft_mutex accounts_mutex;
static const char *address = "127.0.0.1";
static uint16_t port = 6380;
static int64_t started_ns;
static _Atomic int64_t clients, keys, commands_run;
static atomic_int status;

// As strict as Redis: what prints otherwise than it reads is no integer.
static bool parse_integer(struct slice text, int64_t *ret_value)
{
    char back[24];
    *ret_value = strtoll(text.data, NULL, 10);
    return sprintf(back, "%jd", *ret_value) == (int)text.length &&
           memcmp(back, text.data, text.length) == 0;
}

__attribute__((format(printf, 2, 3))) static void
reply(struct conn *conn, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    conn->out_end += (size_t)vsprintf(conn->out + conn->out_end, format, values);
    va_end(values);
}

static void reply_string(struct conn *conn, struct slice text)
{
    reply(conn, "$%zu\r\n", text.length);
    memcpy(conn->out + conn->out_end, text.data, text.length);
    conn->out_end += text.length;
    reply(conn, "\r\n");
}

static void flush(struct conn *conn)
{
    ssize_t size = (ssize_t)conn->out_end;
    conn->out_end = 0;
    conn->closing |= weft_fd_write(conn->fd, conn->out, size, WEFT_NEVER) != size;
}

// Drops what has expired in a chain, as far as `key`; returns its place.
static struct entry **find(struct entry **link, struct slice key)
{
    for (struct entry *entry; (entry = *link) != NULL;) {
        if (entry->expires_ns != WEFT_NEVER &&
            entry->expires_ns <= weft_time_now()) {
            *link = entry->next;
            free(entry);
            keys--;
        } else if (entry->key.length == key.length &&
                   memcmp(entry->key.data, key.data, key.length) == 0) {
            break;
        } else {
            link = &entry->next;
        }
    }
    return link;
}

// Locks a key's shard and finds its entry. False: this task is cancelled.
static bool open_key(struct conn *conn, struct slice key)
{
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a
    for (size_t i = 0; i < key.length; i++)
        hash = (hash ^ (unsigned char)key.data[i]) * 0x100000001b3;
    conn->key = key;
    conn->shard = &shards[hash % SHARDS];
    conn->closing |= weft_mutex_lock(&conn->shard->mutex, WEFT_NEVER) < 0;
    if (!conn->closing)
        conn->link = find(&conn->shard->buckets[(hash >> 32) % BUCKETS], key);
    return !conn->closing;
}

// Gives the open key a value. Without memory a server can only end.
static void put(struct conn *conn, struct slice value, int64_t expires_ns)
{
    size_t length = conn->key.length;
    struct entry *old = *conn->link, *entry;
    if ((entry = malloc(sizeof(*entry) + length + value.length + 1)) == NULL)
        abort();
    entry->next = old != NULL ? old->next : NULL;
    entry->expires_ns = expires_ns;
    entry->key = (struct slice){entry->bytes, length};
    entry->value = (struct slice){entry->bytes + length, value.length};
    memcpy(entry->key.data, conn->key.data, length);
    memcpy(entry->value.data, value.data, value.length + 1);
    *conn->link = entry;
    keys += old == NULL;
    free(old);
}

// Adds to a key's number. Returns NULL, or the error to reply.
static const char *add(struct conn *conn, struct slice key, int64_t delta,
                       int64_t *ret_sum)
{
    char text[24];
    const char *problem = NULL;
    *ret_sum = 0;
    if (!open_key(conn, key))
        return "";
    struct entry *entry = *conn->link;
    if (entry != NULL && !parse_integer(entry->value, ret_sum))
        problem = NOT_AN_INTEGER;
    else if (__builtin_add_overflow(*ret_sum, delta, ret_sum))
        problem = "-ERR increment or decrement would overflow\r\n";
    else if (delta < 0 && *ret_sum < 0)
        problem = "-ERR insufficient funds\r\n";
    else
        put(conn, (struct slice){text, (size_t)sprintf(text, "%jd", *ret_sum)},
            entry != NULL ? entry->expires_ns : WEFT_NEVER);
    weft_mutex_unlock(&conn->shard->mutex);
    return problem;
}

static weft_mutex *find_lock(const char *name)
{
    struct account *account = accounts, *end = accounts + ACCOUNTS;
    if (strlen(name) >= WEFT_NAME_MAX ||
        weft_mutex_lock(&accounts_mutex, WEFT_NEVER) < 0)
        return NULL;
    while (account < end && account->name[0] && strcmp(account->name, name))
        account++;
    if (account < end && account->name[0] == '\0')
        weft_mutex_init(&account->mutex, strcpy(account->name, name));
    weft_mutex_unlock(&accounts_mutex);
    return account < end ? &account->mutex : NULL;
}

// Locks in the order given: the mistake that this server is there to show.
static void transfer(struct conn *conn)
{
    struct slice *args = conn->args;
    weft_mutex *from = find_lock(args[1].data), *to = find_lock(args[2].data);
    const char *problem = "-ERR the two accounts are the same\r\n";
    int64_t sum, rest;
    if (!parse_integer(args[3], &sum) || sum <= 0)
        return reply(conn, NOT_AN_INTEGER);
    if (from == NULL || to == NULL || weft_mutex_lock(from, WEFT_NEVER) < 0)
        return reply(conn, "-ERR no such account can be opened\r\n");
    weft_task_sleep(weft_time_after(PAUSE_NS));
    if (weft_mutex_lock(to, WEFT_NEVER) == 0) {
        problem = add(conn, args[1], -sum, &rest);
        if (problem == NULL && (problem = add(conn, args[2], sum, &rest)))
            add(conn, args[1], sum, &rest);
        weft_mutex_unlock(to);
    }
    weft_mutex_unlock(from);
    reply(conn, "%s", problem != NULL ? problem : "+OK\r\n");
}

static void incr(struct conn *conn)
{
    int64_t sum;
    const char *problem = add(conn, conn->args[1], 1, &sum);
    reply(conn, problem != NULL ? "%s" : ":%2$jd\r\n", problem, sum);
}

static void ping(struct conn *conn)
{
    if (conn->argc == 1)
        return reply(conn, "+PONG\r\n");
    reply_string(conn, conn->args[1]);
}

static void get(struct conn *conn)
{
    if (*conn->link == NULL)
        return reply(conn, "$-1\r\n");
    reply_string(conn, (*conn->link)->value);
}

static void exists(struct conn *conn)
{
    conn->found += *conn->link != NULL;
}

static void del(struct conn *conn)
{
    if (*conn->link == NULL)
        return;
    conn->found++;
    (*conn->link)->expires_ns = 0;
    find(conn->link, conn->key);
}

// Reads a delay; returns its end, or 0 after replying what is wrong with it.
static int64_t parse_delay(struct conn *conn, struct slice text, int64_t unit)
{
    int64_t delay;
    if (!parse_integer(text, &delay))
        reply(conn, NOT_AN_INTEGER);
    else if (__builtin_mul_overflow(delay, unit, &delay) ||
             __builtin_add_overflow(delay, weft_time_now(), &delay))
        reply(conn, "-ERR invalid expire time in '%s' command\r\n",
              conn->args[0].data);
    else
        return delay;
    return 0;
}

static void set(struct conn *conn)
{
    int64_t expires_ns = WEFT_NEVER;
    bool wanted = true;
    for (size_t i = 3; i < conn->argc; i++) {
        const char *option = conn->args[i].data;
        bool seconds = strcasecmp(option, "EX") == 0;
        if (strcasecmp(option, "NX") == 0)
            wanted &= *conn->link == NULL;
        else if (strcasecmp(option, "XX") == 0)
            wanted &= *conn->link != NULL;
        else if ((!seconds && strcasecmp(option, "PX") != 0) ||
                 ++i == conn->argc)
            return reply(conn, "-ERR syntax error\r\n");
        else if ((expires_ns = parse_delay(conn, conn->args[i], seconds ? WEFT_SECOND : WEFT_MILLISECOND)) == 0)
            return;
    }
    if (wanted)
        put(conn, conn->args[2], expires_ns);
    reply(conn, wanted ? "+OK\r\n" : "$-1\r\n");
}

static void expire(struct conn *conn)
{
    int64_t when = parse_delay(conn, conn->args[2], WEFT_SECOND);
    if (when == 0) return;
    if (*conn->link != NULL)
        (*conn->link)->expires_ns = when;
    reply(conn, ":%d\r\n", *conn->link != NULL);
}

static void ttl(struct conn *conn)
{
    int64_t when = *conn->link != NULL ? (*conn->link)->expires_ns : 0;
    int64_t left = (when - weft_time_now() + WEFT_SECOND / 2) / WEFT_SECOND;
    reply(conn, ":%jd\r\n", when == 0 ? -2 : when == WEFT_NEVER ? -1 : left);
}

static void dbsize(struct conn *conn)
{
    reply(conn, ":%jd\r\n", keys);
}

static void quit(struct conn *conn)
{
    conn->closing = true;
    reply(conn, "+OK\r\n");
}

static void info(struct conn *conn)
{
    ...
}
