// kv-server.c -- A key-value server that speaks RESP, the protocol of Redis.
//
// Each connection is a task that takes a command, runs it and replies, as if it
// were alone: a call that waits parks the task, even from within stdio, and its
// worker runs others. TRANSFER locks two accounts in the order given, as a
// careless bank would: two opposite transfers deadlock. At `kill -QUIT` weft
// says so, and what every task does, on standard error, and as JSON in the file
// that WEFT_DUMP_FILE names.
#include <argp.h>
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

#define NOT_AN_INTEGER "value is not an integer or out of range"
#define PROTOCOL_ERROR "Protocol error: invalid "

enum {
    ARGS = 1024,            // most arguments of a command, its name included
    COMMAND_SIZE = 1 << 20, // bytes of all arguments
    OUT_FULL = 1 << 19,     // bytes of replies that are sent at once
    CHAINS = 1 << 20,       // more keys make longer ones
    LOCKS = 1 << 10,        // each for every so many chains
};

struct slice {
    char *data; // a zero follows; NULL: there is none
    size_t length;
};

struct conn {
    weft_fd fd;
    FILE *in, *out; // from `fd`; to `replies`
    struct slice replies, args[ARGS];
    size_t argc;
    bool closing; // no further command is taken
};

// A key. It is freed once it has no value, unless it has been an account.
struct entry {
    pthread_mutex_t *lock; // of the chain that it is in
    weft_mutex account;    // held throughout a transfer
    bool is_account;
    struct entry *next;
    struct slice value;
    int64_t expires_ns; // or WEFT_NEVER
    size_t length;
    char key[]; // a zero follows
};

enum { GET, MGET, TRANSFER, SET, INCR, EXPIRE, TTL, DEL, EXISTS, ON_KEYS };
enum { PING = ON_KEYS, ECHO, DBSIZE, INFO, COMMAND, QUIT, COMMANDS };
static const struct {
    const char *name;
    size_t least, most, keys; // arguments, the name included; which are keys
} commands[COMMANDS] = {
    {"get", 2, 2, 1},     {"mget", 2, ARGS, ARGS}, {"transfer", 4, 4, 2},
    {"set", 3, 3, 1},     {"incr", 2, 2, 1},       {"expire", 3, 3, 1},
    {"ttl", 2, 2, 1},     {"del", 2, ARGS, ARGS},  {"exists", 2, ARGS, ARGS},
    {"ping", 1, 2, 0},    {"echo", 2, 2, 0},       {"dbsize", 1, 1, 0},
    {"info", 1, ARGS, 0}, {"command", 1, ARGS, 0}, {"quit", 1, ARGS, 0}};

// Keys by hash. Nobody parks who holds a lock, so any kind of lock will do.
static struct entry *chains[CHAINS];
static pthread_mutex_t locks[LOCKS];
static const struct slice none;
static const char *address = "127.0.0.1";
static uint16_t port = 6380;
static _Atomic int64_t clients, keys, commands_run;

static void *allocate(size_t size)
{
    void *memory = reallocarray(NULL, 1, size);
    if (memory == NULL) // what could a server of data in memory do without?
        err(EXIT_FAILURE, "no memory");
    return memory;
}

// Reads an integer, as strictly as Redis: no blanks, no zeros in front.
static bool to_integer(struct slice text, int64_t *ret_value)
{
    const char *first = text.data + (*text.data == '-');
    char *end;
    errno = 0;
    *ret_value = strtol(text.data, &end, 10);
    return errno == 0 && end == text.data + text.length &&
           (*first > '0' || (*first == '0' && text.length == 1));
}

static void set(struct entry *entry, struct slice value, int64_t expires_ns)
{
    keys += (value.data != NULL) - (entry->value.data != NULL);
    free(entry->value.data);
    entry->value = value;
    entry->expires_ns = expires_ns;
}

// Locks a key's bucket and gives its entry, old or new; drops expired ones.
static struct entry *open_entry(struct slice key)
{
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a
    for (size_t i = 0; i < key.length; i++)
        hash = (hash ^ (unsigned char)key.data[i]) * 0x100000001b3;
    hash ^= hash >> 32;
    pthread_mutex_t *lock = &locks[hash % LOCKS];
    struct entry **link = &chains[hash % CHAINS], *entry;
    pthread_mutex_lock(lock);
    while ((entry = *link) != NULL) {
        if (entry->expires_ns < WEFT_NEVER &&
            entry->expires_ns <= weft_time_now())
            set(entry, none, WEFT_NEVER);
        if (entry->length == key.length &&
            memcmp(entry->key, key.data, key.length) == 0)
            return entry;
        if (entry->value.data == NULL && !entry->is_account) {
            *link = entry->next;
            free(entry);
        } else {
            link = &entry->next;
        }
    }
    *link = entry = allocate(sizeof(*entry) + key.length + 1);
    *entry = (struct entry){
        .lock = lock, .expires_ns = WEFT_NEVER, .length = key.length};
    memcpy(entry->key, key.data, key.length + 1);
    weft_mutex_init(&entry->account, entry->key);
    return entry;
}

// Adds to a key's number. False: it is none, or the sum is none.
static bool add(struct slice key, int64_t delta, int64_t *ret_sum)
{
    struct entry *entry = open_entry(key);
    *ret_sum = 0;
    bool fits = entry->value.data == NULL || to_integer(entry->value, ret_sum);
    fits = fits && !__builtin_add_overflow(*ret_sum, delta, ret_sum);
    if (fits) {
        struct slice text = {allocate(24), 0};
        text.length = (size_t)sprintf(text.data, "%ld", *ret_sum);
        set(entry, text, entry->expires_ns);
    }
    pthread_mutex_unlock(entry->lock);
    return fits;
}

// Locks in the order given: the mistake that this server is there to show.
static const char *transfer(struct conn *c, weft_mutex **accounts, int64_t sum)
{
    const char *error = "both accounts are the same";
    int64_t left;
    if (weft_mutex_lock(accounts[1], WEFT_NEVER) < 0)
        return "the server is stopping";
    weft_task_sleep(
        weft_time_after(50 * WEFT_MILLISECOND)); // a talk with the ledger
    if (weft_mutex_lock(accounts[0], WEFT_NEVER) == 0) {
        bool taken = add(c->args[1], -sum, &left), enough = left >= 0;
        bool given = taken && enough && add(c->args[2], sum, &left);
        if (taken && !given)
            add(c->args[1], sum, &left);
        error = given ? NULL : enough ? NOT_AN_INTEGER : "insufficient funds";
        weft_mutex_unlock(accounts[0]);
    }
    weft_mutex_unlock(accounts[1]);
    return error;
}

static void reply(FILE *out, struct slice text)
{
    fprintf(out, text.data == NULL ? "$-1" : "$%zu\r\n", text.length);
    fwrite_unlocked(text.data ? text.data : "", 1, text.length, out);
    fwrite_unlocked("\r\n", 1, 2, out);
}

// Sends the replies, then waits for input; stdio calls it when it has none.
static ssize_t exchange(void *conn, char *data, size_t size)
{
    struct conn *c = conn;
    fflush(c->out);
    weft_fd_write(c->fd, c->replies.data, c->replies.length, WEFT_NEVER);
    rewind(c->out);
    return size == 0 ? 0 : weft_fd_read(c->fd, data, size, WEFT_NEVER);
}

static void run_info(FILE *out)
{
    weft_runtime_metrics m = {0};
    char text[256];
    weft_runtime_metrics_get(weft_runtime_self(), &m);
    int length = snprintf(
        text, sizeof(text),
        "tcp_port:%d\r\nconnected_clients:%ld\r\ndb0:keys=%ld\r\nworkers:%u\r\n"
        "total_commands_processed:%ld\r\ntasks_live:%lu\r\ndumps:%lu\r\n",
        port, clients, keys, m.workers, commands_run, m.tasks_live, m.dumps);
    reply(out, (struct slice){text, (size_t)length});
}

// Runs a command on its keys.
static const char *run_on_keys(struct conn *c, int command)
{
    weft_mutex *accounts[2]; // of the last two keys
    const char *error = NULL;
    int64_t number = 0, amount = 0;
    if ((command == EXPIRE || command == TRANSFER) &&
        (!to_integer(c->args[c->argc - 1], &amount) ||
         amount != (int32_t)amount || (command == TRANSFER && amount <= 0)))
        return NOT_AN_INTEGER;
    for (size_t i = 1; i <= commands[command].keys && i < c->argc; i++) {
        struct entry *entry = open_entry(c->args[i]);
        bool found = entry->value.data != NULL;
        number += command == TTL ? found - 2 : found;
        accounts[i % 2] = &entry->account;
        entry->is_account |= command == TRANSFER;
        if (command <= MGET)
            reply(c->out, entry->value);
        else if (command == TTL && entry->expires_ns != WEFT_NEVER)
            number = 1 + (entry->expires_ns - weft_time_now()) / WEFT_SECOND;
        else if (command == EXPIRE && found)
            entry->expires_ns = weft_time_now() + amount * WEFT_SECOND;
        else if (command == SET || command == DEL)
            set(entry, command == SET ? c->args[2] : none, WEFT_NEVER);
        if (command == SET)
            c->args[2] = none; // it is the entry's now
        pthread_mutex_unlock(entry->lock);
        if (ftell(c->out) > OUT_FULL)
            exchange(c, NULL, 0);
    }
    if (command == TRANSFER)
        error = transfer(c, accounts, amount);
    else if (command == INCR && !add(c->args[1], 1, &number))
        error = NOT_AN_INTEGER;
    if (error == NULL && command >= TRANSFER)
        fprintf(c->out, command <= SET ? "+OK\r\n" : ":%ld\r\n", number);
    return error;
}

// Runs a command. Returns what is wrong with it, or NULL.
static const char *run(struct conn *c)
{
    int command = 0;
    while (strcasecmp(c->args[0].data, commands[command].name) != 0) {
        if (++command == COMMANDS)
            return "unknown command";
    }
    if (c->argc < commands[command].least || c->argc > commands[command].most)
        return "wrong number of arguments";
    size_t listed = c->argc == 1 ? COMMANDS : 0;
    if (command == MGET || command == COMMAND)
        fprintf(c->out, "*%zu\r\n", command == MGET ? c->argc - 1 : listed);
    if (commands[command].keys > 0)
        return run_on_keys(c, command);
    c->closing = command == QUIT;
    if (command == DBSIZE)
        fprintf(c->out, ":%ld\r\n", keys);
    else if (command == INFO)
        run_info(c->out);
    else if (command <= ECHO && c->argc > 1)
        reply(c->out, c->args[1]);
    else if (command == COMMAND)
        for (size_t i = 0; i < listed; i++)
            fprintf(c->out, "*6\r\n+%s\r\n:-%zu\r\n*0\r\n:0\r\n:0\r\n:0\r\n",
                    commands[i].name, commands[i].least);
    else
        fputs(command == QUIT ? "+OK\r\n" : "+PONG\r\n", c->out);
    return NULL;
}

// The number in a line such as "$5\r\n".
static struct slice number_in(char *line)
{
    return (struct slice){line + 1, strcspn(line + 1, "\r")};
}

// Takes a command: a line of words, or "*1\r\n", "$4\r\n" and "PING\r\n".
static const char *take_command(struct conn *c)
{
    char line[2 * ARGS], *rest = line, *word;
    int64_t count = 0, length, left = COMMAND_SIZE;
    if (fgets_unlocked(line, 2 * ARGS, c->in) == NULL || !strchr(line, '\n'))
        return PROTOCOL_ERROR "inline request";
    while (*line != '*' && (word = strsep(&rest, " \t\r\n")) != NULL) {
        if (*word != '\0') {
            struct slice *arg = &c->args[c->argc++];
            arg->length = strlen(word);
            arg->data = strcpy(allocate(arg->length + 1), word);
        }
    }
    if (*line == '*' && (!to_integer(number_in(line), &count) || count > ARGS))
        return PROTOCOL_ERROR "multibulk length";
    for (; count > 0; count--, left -= length) {
        if (fgets_unlocked(line, sizeof(line), c->in) == NULL || *line != '$' ||
            !to_integer(number_in(line), &length) || length < 0 ||
            length > left)
            return PROTOCOL_ERROR "bulk length";
        struct slice *arg = &c->args[c->argc++];
        size_t size = (size_t)length + 2;
        arg->length = (size_t)length;
        arg->data = allocate(size);
        if (fread_unlocked(arg->data, 1, size, c->in) < size)
            return PROTOCOL_ERROR "end";
        arg->data[length] = '\0';
    }
    return NULL;
}

static void *conn_main(void *id)
{
    struct conn c = {.fd = {(uint64_t)(uintptr_t)id}};
    char name[WEFT_ADDRESS_MAX + 8] = "conn (gone)"; // unless it has an address
    weft_tcp_address(c.fd, true, name + strlen("conn "), NULL);
    weft_task_set_name(name);
    c.in = fopencookie(&c, "r", (cookie_io_functions_t){.read = exchange});
    c.out = open_memstream(&c.replies.data, &c.replies.length);
    if (c.in == NULL || c.out == NULL)
        err(EXIT_FAILURE, "no memory");
    for (clients++; !c.closing; commands_run++) {
        const char *error = take_command(&c);
        c.closing = error != NULL;
        if (error == NULL && c.argc > 0)
            error = run(&c);
        if (error != NULL)
            fprintf(c.out, "-ERR %s\r\n", error);
        while (c.argc > 0)
            free(c.args[--c.argc].data);
    }
    exchange(&c, NULL, 0);
    clients--;
    fclose(c.in);
    fclose(c.out);
    free(c.replies.data);
    weft_fd_close(c.fd);
    return NULL;
}

static void *listen_main(void *unused)
{
    char text[WEFT_ADDRESS_MAX];
    weft_fd listener, fd;
    int error = weft_tcp_listen(address, port, 0, &listener);
    if (error < 0 ||
        (error = weft_tcp_address(listener, false, text, &port)) < 0)
        errx(EXIT_FAILURE, "%s port %d: %s", address, port, strerror(-error));
    printf("kv-server: listening on %s\n", text);
    fflush(stdout);
    while ((error = weft_tcp_accept(listener, WEFT_NEVER, &fd)) != -ECANCELED) {
        void *id = (void *)(uintptr_t)fd.id;
        if (error < 0) // out of descriptors
            weft_task_sleep(weft_time_after(50 * WEFT_MILLISECOND));
        else if (weft_task_spawn(NULL, conn_main, id, NULL) < 0)
            weft_fd_close(fd);
    }
    return unused;
}

static const struct argp_option names[] = {
    {"port", 'p', "N", 0, "Listen on port N (0: any, default 6380)", 0},
    {"bind", 'b', "ADDR", 0, "Listen on ADDR (default 127.0.0.1)", 0},
    {"workers", 'w', "N", 0, "Use N threads (0, default: one a CPU)", 0},
    {0}};

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    weft_runtime_options *options = state->input;
    int64_t number, most = key == 'p' ? UINT16_MAX : 1024;
    if (key == 'b')
        address = text;
    else if (key != 'p' && key != 'w')
        return ARGP_ERR_UNKNOWN;
    else if (!to_integer((struct slice){text, strlen(text)}, &number) ||
             number < 0 || number > most)
        argp_error(state, "not a number from 0 to %ld: '%s'", most, text);
    else if (key == 'p')
        port = (uint16_t)number;
    else
        options->workers = (unsigned)number;
    return 0;
}

int main(int argc, char **argv)
{
    const struct argp argp = {.options = names, .parser = parse_option};
    weft_runtime_options options = {
        .size = sizeof(options), .name = "kv-server", .dump_signal = SIGQUIT};
    weft_task_options of = {.size = sizeof(of), .name = "listener"};
    sigset_t stop;
    int signal, error;
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    if ((error = weft_runtime_new(&options, &of.runtime)) < 0 ||
        (error = weft_task_spawn(&of, listen_main, NULL, NULL)) < 0)
        errx(EXIT_FAILURE, "cannot start: %s", strerror(-error));
    sigwait(&stop, &signal);
    weft_runtime_free(of.runtime);
    return EXIT_SUCCESS;
}
