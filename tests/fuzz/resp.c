// resp.c -- Fuzzes the key-value server of the examples: what a peer may send.
//
// The example itself is compiled here, over stand-ins for weft's calls: a peer
// that sends the input and goes, in pieces of a size that the input's first
// byte says. Whatever it sends, the replies must be RESP, complete to the last
// byte, and every key must be accounted for in the end.
int kv_server_main(int argc, char **argv);
#define main kv_server_main
#include "kv-server.c" // its functions are all its own: there is no header
#undef main

#include "support/fuzz.h"

enum { HELD = 4 };

static struct input wire; // what the peer is yet to send
static size_t piece;      // how much of it comes at a time
static struct slice said; // what the server has replied
static size_t said_room;
static int64_t now_ns;
static weft_mutex *held[HELD];  // the locks that the connection holds
static size_t touched[1 << 16]; // chains with a key of this run
static size_t touched_count;

// ---- Stand-ins. ----

ssize_t weft_fd_read(weft_fd fd, void *buffer, size_t count,
                     int64_t deadline_ns)
{
    (void)fd, (void)deadline_ns;
    struct input part = input_part(&wire, count < piece ? count : piece);
    if (part.left > 0)
        memcpy(buffer, part.at, part.left);
    return (ssize_t)part.left;
}

ssize_t weft_fd_write(weft_fd fd, const void *buffer, size_t count,
                      int64_t deadline_ns)
{
    (void)fd, (void)deadline_ns;
    if (said.length + count > said_room) {
        said_room = 2 * (said.length + count);
        said.data = realloc(said.data, said_room);
        must(said.data);
    }
    if (count > 0)
        memcpy(said.data + said.length, buffer, count);
    said.length += count;
    return (ssize_t)count;
}

int weft_fd_close(weft_fd fd)
{
    must(fd.id == 1);
    return 0;
}

// Of a key that is made just now: notes its chain, by the server's own hash.
int weft_mutex_init(weft_mutex *mutex, const char *name)
{
    const struct entry *entry =
        (const void *)((char *)mutex - offsetof(struct entry, account));
    uint64_t hash = 0xcbf29ce484222325;

    must(name == entry->key &&
         touched_count < sizeof touched / sizeof *touched);
    for (size_t i = 0; i < entry->length; i++)
        hash = (hash ^ (unsigned char)entry->key[i]) * 0x100000001b3;
    hash ^= hash >> 32;
    touched[touched_count++] = hash % CHAINS;
    return 0;
}

int weft_mutex_lock(weft_mutex *mutex, int64_t deadline_ns)
{
    (void)deadline_ns;
    for (size_t i = 0; i < HELD; i++)
        if (held[i] == mutex)
            return -EDEADLK;
    for (size_t i = 0; i < HELD; i++)
        if (held[i] == NULL) {
            held[i] = mutex;
            return 0;
        }
    must(!"the connection holds no more than two");
    return 0;
}

int weft_mutex_unlock(weft_mutex *mutex)
{
    for (size_t i = 0; i < HELD; i++)
        if (held[i] == mutex) {
            held[i] = NULL;
            return 0;
        }
    must(!"it is held");
    return 0;
}

int64_t weft_time_now(void)
{
    return now_ns += WEFT_MILLISECOND;
}

int64_t weft_time_after(int64_t delay_ns)
{
    return now_ns + delay_ns;
}

int weft_task_sleep(int64_t deadline_ns)
{
    now_ns = deadline_ns;
    return 0;
}

int weft_task_set_name(const char *name)
{
    must(strlen(name) < WEFT_ADDRESS_MAX + 8);
    return 0;
}

weft_runtime *weft_runtime_self(void)
{
    return NULL;
}

int weft_runtime_metrics_get(const weft_runtime *runtime,
                             weft_runtime_metrics *ret_metrics)
{
    (void)runtime;
    ret_metrics->workers = 2;
    return 0;
}

int weft_tcp_address(weft_fd fd, bool peer, char *text, uint16_t *ret_port)
{
    must(fd.id == 1 && peer && ret_port == NULL);
    strcpy(text, "192.0.2.1:50000");
    return 0;
}

// What only the server's main and its listener call, which do not run here.

int weft_tcp_listen(const char *ip, uint16_t number, int backlog,
                    weft_fd *ret_listener)
{
    (void)ip, (void)number, (void)backlog, (void)ret_listener;
    return -EPERM;
}

int weft_tcp_accept(weft_fd listener, int64_t deadline_ns,
                    weft_fd *ret_connection)
{
    (void)listener, (void)deadline_ns, (void)ret_connection;
    return -EPERM;
}

int weft_task_spawn(const weft_task_options *options, weft_task_fn *fn,
                    void *arg, weft_task *ret_task)
{
    (void)options, (void)fn, (void)arg, (void)ret_task;
    return -EPERM;
}

int weft_runtime_new(const weft_runtime_options *options,
                     weft_runtime **ret_runtime)
{
    (void)options, (void)ret_runtime;
    return -EPERM;
}

int weft_runtime_free(weft_runtime *runtime)
{
    (void)runtime;
    return -EPERM;
}

// ---- The replies. ----

static int64_t take_line(struct input *in)
{
    const uint8_t *end = in->left ? memchr(in->at, '\r', in->left) : NULL;
    must(end && in->at + in->left > end + 1 && end[1] == '\n');
    struct input line = input_part(in, (size_t)(end - in->at));
    char number[24] = "";

    (void)input_part(in, 2);
    must(memchr(line.at, '\n', line.left) == NULL);
    if (line.left < sizeof number)
        memcpy(number, line.at, line.left);
    return strtol(number, NULL, 10);
}

static void take_reply(struct input *in, int depth)
{
    char kind = (char)input_number(in, 1);
    int64_t number = take_line(in);

    must(depth < 4 && strchr("+-:$*", kind) != NULL);
    if (kind == '$' && number >= 0) {
        must((uint64_t)number + 2 <= in->left);
        (void)input_part(in, (size_t)number);
        must(input_number(in, 2) == ('\r' | '\n' << 8));
    }
    for (; kind == '*' && number > 0; number--)
        take_reply(in, depth + 1);
}

// ---- One connection, and what is left of it. ----

static void forget_keys(void)
{
    for (size_t i = 0; i < touched_count; i++) {
        struct entry *entry;
        while ((entry = chains[touched[i]]) != NULL) {
            chains[touched[i]] = entry->next;
            set(entry, none, WEFT_NEVER);
            free(entry);
        }
    }
    touched_count = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wire = (struct input){data, size};
    piece = input_number(&wire, 1) + 1;
    said.length = 0;
    now_ns = WEFT_SECOND;
    must(conn_main((void *)1) == NULL);
    struct input replies = {(const uint8_t *)said.data, said.length};
    while (replies.left > 0)
        take_reply(&replies, 0);
    for (size_t i = 0; i < HELD; i++)
        must(held[i] == NULL);
    forget_keys();
    must(keys == 0 && clients == 0);
    return 0;
}
