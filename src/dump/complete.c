// complete.c -- What a dump still needs once the world runs on.
#include "dump/complete.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dump/finder.h"
#include "dump/findings.h"

// ---- Who waits for what, who holds what ----

static void count_edges(struct weft_dump *dump, uint32_t *owners)
{
    for (size_t i = 0; i < dump->task_count; i++)
        if (dump->tasks[i].object != WEFT_NONE) {
            dump->objects[dump->tasks[i].object].waiter_count++;
            dump->waiter_count++;
        }
    for (size_t i = 0; i < dump->object_count; i++) {
        owners[i] = WEFT_NONE;
        if (dump->objects[i].owner != 0)
            owners[i] = model_find(dump, dump->objects[i].owner);
        if (owners[i] != WEFT_NONE) {
            dump->tasks[owners[i]].held_count++;
            dump->held_count++;
        }
    }
}

// Gives every object and task its stretch of the two lists.
static void place_edges(struct weft_dump *dump)
{
    uint32_t at = 0;

    for (size_t i = 0; i < dump->object_count; i++) {
        dump->objects[i].waiter = at;
        at += dump->objects[i].waiter_count;
        dump->objects[i].waiter_count = 0;
    }
    at = 0;
    for (size_t i = 0; i < dump->task_count; i++) {
        struct model_task *m = &dump->tasks[i];
        m->held = m->held_count == 0 ? WEFT_NONE : at;
        at += m->held_count;
        m->held_count = 0;
    }
}

static void fill_edges(struct weft_dump *dump, const uint32_t *owners)
{
    for (size_t i = 0; i < dump->task_count; i++) {
        if (dump->tasks[i].object == WEFT_NONE)
            continue;
        struct model_object *o = &dump->objects[dump->tasks[i].object];
        dump->waiters[o->waiter + o->waiter_count++] = (uint32_t)i;
    }
    for (size_t i = 0; i < dump->object_count; i++) {
        if (owners[i] == WEFT_NONE)
            continue;
        struct model_task *m = &dump->tasks[owners[i]];
        dump->held[m->held + m->held_count++] = (uint32_t)i;
    }
}

static int add_edges(struct weft_dump *dump)
{
    uint32_t *owners = malloc((dump->object_count + 1) * sizeof *owners);

    if (owners == NULL)
        return -ENOMEM;
    count_edges(dump, owners);
    dump->waiters = malloc((dump->waiter_count + 1) * sizeof *dump->waiters);
    dump->held = malloc((dump->held_count + 1) * sizeof *dump->held);
    if (dump->waiters == NULL || dump->held == NULL) {
        free(owners);
        return -ENOMEM;
    }
    place_edges(dump);
    fill_edges(dump, owners);
    free(owners);
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
        dump->outsiders = finder_sees_outsiders();
        if (error == 0)
            error = findings_add(dump);
        dump->completed = error;
    }
    lock_release(&dump->complete_lock);
    return error;
}
