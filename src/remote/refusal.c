// refusal.c -- Why one process may not look into another, in words.
//
// The kernel answers with EPERM or EACCES, whatever the rule was. So all that
// its rules look at (ptrace(2), "Ptrace access mode checking") is read from
// /proc, and the first rule that does not hold is named, in the order in which
// the kernel asks.
#include "remote/refusal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TEXT_ROOM = 8192,
    CAP_PTRACE = 19,          // linux/capability.h
    KERNEL_THREAD = 0x200000, // PF_KTHREAD, in field 9 of a stat line
};

// ---- What the kernel says ----

// False, and an empty text: it is not there.
static bool read_text(const char *path, char text[TEXT_ROOM])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, TEXT_ROOM - 1);

    if (fd >= 0)
        (void)close(fd);
    text[size < 0 ? 0 : size] = '\0';
    return size > 0;
}

static bool read_of(int pid, const char *file, char text[TEXT_ROOM])
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    return read_text(path, text);
}

// The number of a line of a status file; -1: there is none.
static int64_t number_of(const char *status, const char *key, int base)
{
    const char *at = strstr(status, key);
    char *end;

    if (at == NULL)
        return -1;
    at += strlen(key);
    int64_t number = (int64_t)strtoull(at, &end, base);
    return end == at ? -1 : number;
}

static uint64_t capabilities(const char *status)
{
    int64_t all = number_of(status, "\nCapPrm:", 16);

    return all < 0 ? 0 : (uint64_t)all;
}

// Flags and state stand behind the name, which may contain anything.
static void read_stat(struct refusal *r)
{
    char text[TEXT_ROOM];
    unsigned flags = 0;
    char state = '?';

    if (!read_of(r->pid, "stat", text))
        return;
    const char *at = strrchr(text, ')');
    if (at == NULL ||
        sscanf(at + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
        return;
    r->kernel = (flags & KERNEL_THREAD) != 0;
    r->ended = state == 'Z' || state == 'X';
}

static void read_tracer(struct refusal *r)
{
    char text[TEXT_ROOM];

    if (r->tracer <= 0 || !read_of(r->tracer, "comm", text))
        return;
    text[strcspn(text, "\n")] = '\0';
    snprintf(r->tracer_name, sizeof r->tracer_name, "%.31s", text);
}

// Not in the first user namespace, in which each number of a user is itself.
static bool is_apart(void)
{
    unsigned inside, outside, count;
    char text[TEXT_ROOM];

    return read_text("/proc/self/uid_map", text) &&
           (sscanf(text, "%u %u %u", &inside, &outside, &count) != 3 ||
            inside != 0 || outside != 0 || count != UINT32_MAX);
}

static void read_own(struct refusal *r, uint64_t theirs)
{
    char text[TEXT_ROOM];

    (void)read_text("/proc/self/status", text);
    uint64_t ours = capabilities(text);
    r->own_user = (int64_t)geteuid();
    r->lacking = theirs & ~ours;
    r->may_trace = (ours >> CAP_PTRACE & 1) != 0;
    r->filtered = number_of(text, "\nSeccomp:", 10) > 0;
    r->apart = is_apart();
    r->yama = read_text("/proc/sys/kernel/yama/ptrace_scope", text)
                  ? (int)strtol(text, NULL, 10)
                  : -1;
}

// The files of an undumpable process are root's.
static bool is_sealed(const struct refusal *r)
{
    char path[64];
    struct stat stat_of;

    snprintf(path, sizeof path, "/proc/%d/status", r->pid);
    return r->user > 0 && stat(path, &stat_of) == 0 && stat_of.st_uid == 0;
}

void refusal_read(struct refusal *r, int pid)
{
    char text[TEXT_ROOM];

    *r = (struct refusal){.pid = pid, .user = -1, .own_user = -1, .yama = -1};
    r->exists = read_of(pid, "status", text) || kill(pid, 0) == 0;
    int64_t group = number_of(text, "\nTgid:", 10);
    r->thread_of = group > 0 && group != pid ? (int)group : 0;
    int64_t tracer = number_of(text, "\nTracerPid:", 10);
    r->tracer = tracer > 0 ? (int)tracer : 0;
    r->user = number_of(text, "\nUid:", 10);
    read_tracer(r);
    read_stat(r);
    read_own(r, capabilities(text));
    r->sealed = is_sealed(r);
}

// ---- In words ----

// Nothing of it can be had by anybody.
static int explain_what(const struct refusal *r, char *text, size_t room)
{
    if (!r->exists)
        return snprintf(text, room, "there is no such process");
    if (r->thread_of != 0)
        return snprintf(text, room,
                        "it is a thread: give the number of its process, %d",
                        r->thread_of);
    if (r->kernel)
        return snprintf(text, room,
                        "it is a thread of the kernel, which runs no program");
    if (r->ended)
        return snprintf(text, room,
                        "it has ended, and only waits for its parent to take "
                        "note (a zombie): nothing of it is left");
    return 0;
}

// Its memory can be read, so the access rules hold.
static int explain_stop(const struct refusal *r, char *text, size_t room)
{
    if (r->tracer != 0)
        return snprintf(text, room,
                        "process %d (%s) traces it already, and only one can: "
                        "end that, or read without stopping by --no-stop",
                        r->tracer, r->tracer_name);
    if (r->filtered)
        return snprintf(text, room,
                        "a filter of system calls (seccomp, as containers have "
                        "it) keeps this command from ptrace: run it outside of "
                        "that, or read without stopping by --no-stop");
    return snprintf(text, room,
                    "it cannot be stopped by ptrace (%s): read without "
                    "stopping by --no-stop",
                    strerror(r->error));
}

static int explain_yama(const struct refusal *r, char *text, size_t room)
{
    if (r->yama >= 3)
        return snprintf(text, room,
                        "kernel.yama.ptrace_scope is 3: until the next boot "
                        "nobody may look into a process; let it take its dump "
                        "by itself (WEFT_DUMP_SIGNAL)");
    if (r->yama == 2)
        return snprintf(text, room,
                        "kernel.yama.ptrace_scope is 2: only who has the "
                        "capability SYS_PTRACE may look into a process; run "
                        "this as root");
    return snprintf(text, room,
                    "kernel.yama.ptrace_scope is 1: only a process's own "
                    "ancestors may look into it; run this as root, or set that "
                    "to 0");
}

static int explain_access(const struct refusal *r, char *text, size_t room)
{
    static const char ask[] = "run this as root with the capability SYS_PTRACE";

    if (r->user >= 0 && r->user != r->own_user && r->own_user != 0)
        return snprintf(text, room,
                        "it is run by user %lld, and this command by user "
                        "%lld: run this as that user, or as root",
                        (long long)r->user, (long long)r->own_user);
    if (r->user >= 0 && r->user != r->own_user)
        return snprintf(text, room,
                        "it is run by user %lld, and this root lacks the "
                        "capability SYS_PTRACE, as in a container: give it "
                        "that, or run this as that user",
                        (long long)r->user);
    if (r->sealed)
        return snprintf(text, room,
                        "it is not dumpable (prctl PR_SET_DUMPABLE, or it "
                        "changed its user or its file cannot be read): %s",
                        ask);
    if (r->lacking != 0)
        return snprintf(text, room,
                        "it has capabilities that this command lacks (`capsh "
                        "--decode=%llx` has their names): %s",
                        (unsigned long long)r->lacking, ask);
    if (r->yama > 0)
        return explain_yama(r, text, room);
    return snprintf(text, room,
                    "the system refuses access to it (%s), by a security "
                    "module or a namespace it may be: %s",
                    strerror(r->error), ask);
}

void refusal_explain(const struct refusal *r, char *ret_text, size_t room)
{
    if (explain_what(r, ret_text, room) > 0)
        return;
    if (r->readable)
        (void)explain_stop(r, ret_text, room);
    else if (r->may_trace && r->apart)
        snprintf(ret_text, room,
                 "this command is in a user namespace (as in a container "
                 "without root), where its capability SYS_PTRACE is of no use "
                 "for what is outside: run this outside of it");
    else if (r->yama == 3 || !r->may_trace)
        (void)explain_access(r, ret_text, room);
    else
        snprintf(ret_text, room,
                 "the system refuses access to it (%s), though this command "
                 "has the capability SYS_PTRACE: it may lie in another user "
                 "namespace, or a security module forbids it",
                 strerror(r->error));
}
