// target.c -- A process that is read from outside.
#include "remote/target.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/grow.h"
#include "base/list.h"
#include "dump/process.h"
#include "remote/regs.h"

enum { IOV_AT_ONCE = 512 };

static const int64_t STOP_NS = 250 * 1000000;
static const int64_t STOP_STEP_NS = 20000;

__attribute__((format(printf, 3, 4))) static int fail(struct target *target,
                                                      int error,
                                                      const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(target->problem, sizeof target->problem, format, args);
    va_end(args);
    return -error;
}

// ---- Memory ----

static size_t read_space(const struct space *space, uintptr_t address, void *to,
                         size_t bytes)
{
    const struct target *target = container_of(space, struct target, space);
    struct iovec local = {.iov_base = to, .iov_len = bytes};
    struct iovec remote = {.iov_base = (void *)address, .iov_len = bytes};
    ssize_t got = process_vm_readv(target->living, &local, 1, &remote, 1, 0);

    if (got < 0) // a kernel without it
        got = pread(target->memory, to, bytes, (off_t)address);
    return got < 0 ? 0 : (size_t)got;
}

// A call stops at the first byte that is not there: the next one begins after
// that span.
static size_t read_some(const struct target *target, struct span *spans,
                        size_t count)
{
    struct iovec local[IOV_AT_ONCE] = {0};
    struct iovec remote[IOV_AT_ONCE] = {0};
    size_t n = count < IOV_AT_ONCE ? count : IOV_AT_ONCE;

    for (size_t i = 0; i < n; i++) {
        local[i] = (struct iovec){spans[i].to, spans[i].bytes};
        remote[i] = (struct iovec){(void *)spans[i].address, spans[i].bytes};
    }
    ssize_t got = process_vm_readv(target->living, local, n, remote, n, 0);
    size_t left = got < 0 ? 0 : (size_t)got;
    size_t done = 0;
    while (done < n && left >= spans[done].bytes)
        left -= spans[done++].bytes;
    if (done < n)
        spans[done++].bytes = left;
    return done;
}

static void read_spans(const struct space *space, struct span *spans,
                       size_t count)
{
    const struct target *target = container_of(space, struct target, space);

    for (size_t done = 0; done < count;)
        done += read_some(target, spans + done, count - done);
}

// ---- Who may ----

// A small file of the kernel's, ended by zero; how much of it, or -1.
static ssize_t read_text(const char *path, char *ret_text, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -1;
    ssize_t size = read(fd, ret_text, room - 1);
    (void)close(fd);
    ret_text[size < 0 ? 0 : size] = '\0';
    return size;
}

static int read_number(const char *path)
{
    char text[32];

    return read_text(path, text, sizeof text) <= 0
               ? -1
               : (int)strtol(text, NULL, 10);
}

static int explain_refusal(struct target *target, int error)
{
    int scope = read_number("/proc/sys/kernel/yama/ptrace_scope");

    if (error == ESRCH || error == ENOENT)
        return fail(target, ESRCH, "there is no process %d", target->pid);
    if (error == EPERM && scope > 0)
        return fail(target, error,
                    "the system lets no process be traced but by its parent "
                    "(kernel.yama.ptrace_scope is %d): run this as root",
                    scope);
    if (error == EPERM || error == EACCES)
        return fail(target, error,
                    "it is another user's, has capabilities that this command "
                    "lacks, or is being debugged: run this as root, and alone");
    return fail(target, error, "%s", strerror(error));
}

// By a thread that has memory: the first may have ended before the others.
static int open_memory(struct target *target)
{
    char path[64];
    struct dirent *entry;
    int error = ESRCH;

    snprintf(path, sizeof path, "/proc/%d/task", target->pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return errno;
    while (target->memory < 0 && (entry = readdir(dir)) != NULL) {
        target->living = (int)strtol(entry->d_name, NULL, 10);
        if (target->living <= 0)
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%d/mem", target->pid,
                 target->living);
        target->memory = open(path, O_RDONLY | O_CLOEXEC);
        if (target->memory < 0)
            error = errno;
    }
    closedir(dir);
    return target->memory < 0 ? error : 0;
}

static const struct target_kind LIVING;

int target_open(struct target *target, int pid)
{
    *target =
        (struct target){.space = {.read = read_space, .read_many = read_spans},
                        .kind = &LIVING,
                        .method = MODEL_PTRACE,
                        .pid = pid,
                        .memory = -1};
    int error = open_memory(target);
    return error == 0 ? 0 : explain_refusal(target, error);
}

void target_close(struct target *target)
{
    target_resume(target);
    if (target->memory >= 0)
        (void)close(target->memory);
}

// ---- Stopping ----

static void read_call(struct target *target, struct target_thread *thread)
{
    char path[64];
    char text[256];
    char *at = text;

    snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", target->pid,
             thread->tid);
    if (read_text(path, text, sizeof text) <= 0)
        return;
    thread->call = strtol(text, &at, 10);
    thread->in_call = at != text && thread->call >= 0;
    for (int i = 0; thread->in_call && i < 6; i++)
        thread->args[i] = strtoull(at, &at, 16);
}

static void read_regs(struct target_thread *thread)
{
    struct iovec into = {.iov_base = &thread->user,
                         .iov_len = sizeof thread->user};

    if (ptrace(PTRACE_GETREGSET, thread->tid, (void *)NT_PRSTATUS, &into) == 0)
        regs_of_user(&thread->user, &thread->regs);
}

static bool is_known(const struct target *target, int tid)
{
    return target_thread(target, tid) != NULL;
}

// As the kernel names it: 'R', 'S', 'D', ...; 'X' if it is gone.
static char state_of(const struct target *target, int tid)
{
    char path[64];
    char text[256];

    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", target->pid, tid);
    if (read_text(path, text, sizeof text) <= 0)
        return 'X';
    const char *name_end = strrchr(text, ')');
    return name_end == NULL || name_end[1] == '\0' ? 'X' : name_end[2];
}

static bool has_ended(const struct target *target, int tid)
{
    return strchr("ZX", state_of(target, tid)) != NULL;
}

// Whether a thread that has not stopped so far will do so soon. One that waits
// for a disk, say, does not; it changes nothing until then, either.
static bool may_stop(const struct target *target, int tid, int64_t asked_ns)
{
    return port_now() < asked_ns + STOP_NS ||
           strchr("DZX", state_of(target, tid)) == NULL;
}

// It may stop because of a signal, too, that has come before our asking: that
// is handed on when it goes on.
static void await_stop(const struct target *target,
                       struct target_thread *thread)
{
    int64_t asked_ns = port_now();
    atomic_u32 never = 0;
    int status = 0;
    int got;

    while (((got = waitpid(thread->tid, &status, __WALL | WNOHANG)) == 0 ||
            (got < 0 && errno == EINTR)) &&
           may_stop(target, thread->tid, asked_ns))
        (void)port_futex_wait(&never, 0, port_now() + STOP_STEP_NS);
    thread->stopped = got == thread->tid && WIFSTOPPED(status);
    if (thread->stopped && status >> 16 == 0)
        thread->signal = WSTOPSIG(status);
}

// Asks a thread to stop; others may begin and end meanwhile.
static int seize(struct target *target, int tid, size_t *room)
{
    if (!grow(&target->threads, room, target->thread_count + 1,
              sizeof *target->threads))
        return ENOMEM;
    struct target_thread *thread = &target->threads[target->thread_count++];
    *thread = (struct target_thread){.tid = tid, .call = -1};
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0) {
        int error = errno;
        return has_ended(target, tid) ? 0 : error;
    }
    read_call(target, thread); // while it is undisturbed
    (void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
    await_stop(target, thread);
    if (thread->stopped)
        read_regs(thread);
    return 0;
}

// All threads that are not yet; false: there was none.
static int seize_new(struct target *target, size_t *room, bool *ret_some)
{
    char path[64];
    struct dirent *entry;
    int error = 0;

    snprintf(path, sizeof path, "/proc/%d/task", target->pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return errno;
    *ret_some = false;
    while (error == 0 && (entry = readdir(dir)) != NULL) {
        int tid = (int)strtol(entry->d_name, NULL, 10);
        if (tid <= 0 || is_known(target, tid))
            continue;
        error = seize(target, tid, room);
        *ret_some = true;
    }
    closedir(dir);
    return error;
}

int target_stop(struct target *target)
{
    size_t room = 0;
    bool some = true;
    int error = 0;

    target->stopped_ns = port_now();
    while (error == 0 && some)
        error = seize_new(target, &room, &some);
    if (error == 0)
        return 0;
    target_resume(target);
    return explain_refusal(target, error);
}

void target_resume(struct target *target)
{
    for (size_t i = 0; i < target->thread_count; i++)
        if (target->threads[i].stopped)
            (void)ptrace(PTRACE_DETACH, target->threads[i].tid, NULL,
                         (void *)(intptr_t)target->threads[i].signal);
    target->thread_count = 0;
    free(target->threads);
    target->threads = NULL;
    if (target->stopped_ns != 0)
        target->stood_ns = port_now() - target->stopped_ns;
    target->stopped_ns = 0;
}

const struct target_thread *target_thread(const struct target *target, int tid)
{
    for (size_t i = 0; i < target->thread_count; i++)
        if (target->threads[i].tid == tid)
            return &target->threads[i];
    return NULL;
}

// ---- What it says ----

static void read_moment(struct target *target, struct target_moment *ret_moment)
{
    (void)target;
    *ret_moment = (struct target_moment){.now = {port_ticks(), port_now()},
                                         .wall_ns = port_wall_now()};
}

static FILE *open_maps(struct target *target)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/task/%d/maps", target->pid,
             target->living);
    return fopen(path, "re");
}

static char *read_descriptor(struct target *target, int fd)
{
    return process_descriptor(target->pid, fd);
}

static int describe(struct target *target, struct weft_dump *dump)
{
    return process_describe(target->pid, dump);
}

static const struct target_kind LIVING = {
    .stop = target_stop,
    .resume = target_resume,
    .moment = read_moment,
    .maps = open_maps,
    .descriptor = read_descriptor,
    .describe = describe,
};
