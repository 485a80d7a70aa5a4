// process.c -- What the kernel says of a process, for its dump.
#include "dump/process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_ROOM = 64 };

static void name_file(char path[PATH_ROOM], int pid, const char *file)
{
    if (pid == 0)
        snprintf(path, PATH_ROOM, "/proc/self/%s", file);
    else
        snprintf(path, PATH_ROOM, "/proc/%d/%s", pid, file);
}

static char *read_link(int pid, const char *file)
{
    char path[PATH_ROOM];
    char target[4096];

    name_file(path, pid, file);
    ssize_t size = readlink(path, target, sizeof target - 1);
    if (size < 0)
        return NULL;
    target[size] = '\0';
    return strdup(target);
}

// A small file of the kernel's, whole, ended by zero; NULL if it cannot be
// read.
static char *read_file(int pid, const char *file, size_t *ret_size)
{
    char path[PATH_ROOM];
    char *bytes = NULL;

    name_file(path, pid, file);
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

static char **read_args(int pid)
{
    size_t size = 0;
    size_t count = 0;
    char *bytes = read_file(pid, "cmdline", &size);
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
static int64_t start_ns(int pid)
{
    size_t size = 0;
    char *line = read_file(pid, "stat", &size);
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

char *process_descriptor(int pid, int fd)
{
    char file[PATH_ROOM];

    snprintf(file, sizeof file, "fd/%d", fd);
    return read_link(pid, file);
}

int process_describe(int pid, struct weft_dump *dump)
{
    char host[256] = "";

    dump->pid = pid == 0 ? (int)getpid() : pid;
    dump->exe = read_link(pid, "exe");
    dump->args = read_args(pid);
    (void)gethostname(host, sizeof host - 1); // empty if there is none
    dump->host = strdup(host);
    dump->process_start_ns = start_ns(pid);
    return dump->args == NULL || dump->host == NULL ? -ENOMEM : 0;
}
