// complete.c -- What a dump still needs once the world runs on.
#include "dump/complete.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dump/findings.h"

// ---- Who waits for what, who holds what ----

// Those who hold an object alone, beside those who hold it together.
static int add_owners(struct weft_dump *dump)
{
    size_t most = dump->hold_count + dump->object_count + 1;
    struct model_hold *holds = realloc(dump->holds, most * sizeof *holds);

    if (holds == NULL)
        return -ENOMEM;
    dump->holds = holds;
    for (size_t i = 0; i < dump->object_count; i++) {
        uint64_t owner = dump->objects[i].owner;
        uint32_t task = owner == 0 ? WEFT_NONE : model_find(dump, owner);
        if (task != WEFT_NONE)
            holds[dump->hold_count++] = (struct model_hold){task, (uint32_t)i};
    }
    return 0;
}

static void count_edges(struct weft_dump *dump)
{
    for (size_t i = 0; i < dump->task_count; i++)
        if (dump->tasks[i].object != WEFT_NONE) {
            dump->objects[dump->tasks[i].object].waiter_count++;
            dump->waiter_count++;
        }
    dump->held_count = dump->hold_count;
    for (size_t i = 0; i < dump->hold_count; i++) {
        dump->tasks[dump->holds[i].task].held_count++;
        dump->objects[dump->holds[i].object].holder_count++;
    }
}

// Gives every object and task its stretch of the lists.
static void place_edges(struct weft_dump *dump)
{
    uint32_t waiter = 0;
    uint32_t holder = 0;
    uint32_t held = 0;

    for (size_t i = 0; i < dump->object_count; i++) {
        struct model_object *o = &dump->objects[i];
        o->waiter = waiter;
        o->holder = holder;
        waiter += o->waiter_count;
        holder += o->holder_count;
        o->waiter_count = 0;
        o->holder_count = 0;
    }
    for (size_t i = 0; i < dump->task_count; i++) {
        struct model_task *m = &dump->tasks[i];
        m->held = m->held_count == 0 ? WEFT_NONE : held;
        held += m->held_count;
        m->held_count = 0;
    }
}

static void fill_edges(struct weft_dump *dump)
{
    for (size_t i = 0; i < dump->task_count; i++) {
        if (dump->tasks[i].object == WEFT_NONE)
            continue;
        struct model_object *o = &dump->objects[dump->tasks[i].object];
        dump->waiters[o->waiter + o->waiter_count++] = (uint32_t)i;
    }
    for (size_t i = 0; i < dump->hold_count; i++) {
        const struct model_hold *hold = &dump->holds[i];
        struct model_object *o = &dump->objects[hold->object];
        struct model_task *m = &dump->tasks[hold->task];
        dump->holders[o->holder + o->holder_count++] = hold->task;
        dump->held[m->held + m->held_count++] = hold->object;
    }
}

static int add_edges(struct weft_dump *dump)
{
    int error = add_owners(dump);

    if (error != 0)
        return error;
    count_edges(dump);
    dump->waiters = malloc((dump->waiter_count + 1) * sizeof *dump->waiters);
    dump->holders = malloc((dump->held_count + 1) * sizeof *dump->holders);
    dump->held = malloc((dump->held_count + 1) * sizeof *dump->held);
    if (dump->waiters == NULL || dump->holders == NULL || dump->held == NULL)
        return -ENOMEM;
    place_edges(dump);
    fill_edges(dump);
    return 0;
}

// ---- The process ----

static char *read_link(const char *path)
{
    char target[4096];
    ssize_t size = readlink(path, target, sizeof target - 1);

    if (size < 0)
        return NULL;
    target[size] = '\0';
    return strdup(target);
}

// A small file of the kernel's, whole, ended by zero; NULL if it cannot be
// read.
static char *read_file(const char *path, size_t *ret_size)
{
    char *bytes = NULL;
    FILE *from = fopen(path, "re");
    FILE *to = from == NULL ? NULL : open_memstream(&bytes, ret_size);
    int c;

    while (to != NULL && (c = getc(from)) != EOF)
        putc(c, to);
    if (to != NULL && fclose(to) != 0) {
        free(bytes);
        bytes = NULL;
    }
    if (from != NULL)
        (void)fclose(from);
    return bytes;
}

static char **read_args(void)
{
    size_t size = 0;
    size_t count = 0;
    char *bytes = read_file("/proc/self/cmdline", &size);
    char **args = calloc(bytes == NULL ? 1 : size + 1, sizeof *args);

    for (size_t at = 0; args != NULL && bytes != NULL && at < size;) {
        args[count] = strdup(bytes + at);
        if (args[count] == NULL)
            break;
        at += strlen(args[count++]) + 1;
    }
    free(bytes);
    return args;
}

// When the process began: field 22 of its stat line, in ticks since boot; the
// command in field 2 may contain anything, so count from its last bracket.
static int64_t process_start_ns(void)
{
    size_t size = 0;
    char *line = read_file("/proc/self/stat", &size);
    char *at = line == NULL ? NULL : strrchr(line, ')');
    long long ticks = -1;

    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at != NULL)
        ticks = strtoll(at, NULL, 10);
    free(line);
    long rate = sysconf(_SC_CLK_TCK);
    if (ticks < 0 || rate <= 0)
        return port_wall_now(); // no /proc: as if it had begun now
    return port_wall_now() - port_boot_now() + ticks * (1000000000 / rate);
}

static int add_process(struct weft_dump *dump)
{
    char host[256] = "";

    dump->pid = (int)getpid();
    dump->exe = read_link("/proc/self/exe");
    dump->args = read_args();
    (void)gethostname(host, sizeof host - 1); // empty if there is none
    dump->host = strdup(host);
    dump->process_start_ns = process_start_ns();
    return dump->args == NULL || dump->host == NULL ? -ENOMEM : 0;
}

int dump_complete(struct weft_dump *dump)
{
    lock_acquire(&dump->complete_lock);
    int error = dump->completed;
    if (error > 0) {
        error = model_add_modules(dump);
        if (error == 0)
            error = add_process(dump);
        if (error == 0)
            error = add_edges(dump);
        if (error == 0)
            error = findings_add(dump);
        dump->completed = error;
    }
    lock_release(&dump->complete_lock);
    return error;
}
