// target.c -- A process that is read from outside.
//
// A thread of its own traces, as long as the process stands. For one that waits
// for a disk, say, does not stop, and can be let go only when it does: so long
// it stays traced, and would then stand. But when its tracer ends, the kernel
// lets go of all.
//
//   T1  `stage` goes to STANDS by the tracer (release), which has written the
//       threads and `refused` before, then to GOES by the caller (release),
//       who has read them before. Each waits for the other's (acquire).
#include "remote/target.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
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
#include "remote/refusal.h"
#include "remote/regs.h"

enum { IOV_AT_ONCE = 512 };

static const int64_t STOP_NS = 250 * 1000000;
static const int64_t STOP_STEP_NS = 20000;

// ---- Memory ----

static size_t read_space(const struct space *space, uintptr_t address, void *to,
                         size_t bytes)
{
    const struct target *target = container_of(space, struct target, space);
    struct iovec local = {.iov_base = to, .iov_len = bytes};
    struct iovec remote = {.iov_base = (void *)address, .iov_len = bytes};
    ssize_t got = process_vm_readv(target->living, &local, 1, &remote, 1, 0);

    if (got < 0) // a kernel, or a filter, that does not have it
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
    if (got < 0) { // a kernel, or a filter, that does not have it
        spans[0].bytes = read_space(&target->space, spans[0].address,
                                    spans[0].to, spans[0].bytes);
        return 1;
    }
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

// ---- Opening ----

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

static int refuse(struct target *target, int error, bool readable)
{
    struct refusal refusal;

    refusal_read(&refusal, target->pid);
    refusal.readable = readable;
    refusal.error = error;
    refusal_explain(&refusal, target->problem, sizeof target->problem);
    return -error;
}

// By a thread that has memory: the first may have ended before the others.
static int open_memory(struct target *target)
{
    char path[64];
    struct dirent *entry;
    int error = ESRCH;
    char byte;

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
        else if (pread(target->memory, &byte, 1, 0) == 0) {
            (void)close(target->memory); // it has none: it has ended
            target->memory = -1;
        }
    }
    closedir(dir);
    return target->memory < 0 ? error : 0;
}

// Whether threads have other numbers there.
static bool is_elsewhere(int pid)
{
    char path[64], own[64] = "", theirs[64] = "";

    snprintf(path, sizeof path, "/proc/%d/ns/pid", pid);
    return readlink("/proc/self/ns/pid", own, sizeof own - 1) > 0 &&
           readlink(path, theirs, sizeof theirs - 1) > 0 &&
           strcmp(own, theirs) != 0;
}

static const struct target_kind LIVING;

int target_open(struct target *target, int pid)
{
    struct refusal refusal;

    *target =
        (struct target){.space = {.read = read_space, .read_many = read_spans},
                        .kind = &LIVING,
                        .method = MODEL_PTRACE,
                        .pid = pid,
                        .memory = -1};
    refusal_read(&refusal, pid);
    int error = refusal.thread_of != 0 ? ESRCH : open_memory(target);
    if (error != 0)
        return refuse(target, error, false);
    target->elsewhere = is_elsewhere(pid);
    return 0;
}

void target_close(struct target *target)
{
    target_resume(target);
    if (target->memory >= 0)
        (void)close(target->memory);
    target->memory = -1;
}

// ---- One thread ----

// "running", or number, arguments, sp and pc of a system call that it sits in,
// or -1, sp and pc of one that stands elsewhere.
static void read_call(const struct target *target, struct target_thread *thread)
{
    char path[64];
    char text[256];
    char *at = text;
    uintptr_t sp, pc;

    snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", target->pid,
             thread->tid);
    if (read_text(path, text, sizeof text) <= 0)
        return;
    thread->call = strtol(text, &at, 10);
    if (at == text)
        return;
    thread->in_call = thread->call >= 0;
    for (int i = 0; thread->in_call && i < 6; i++)
        thread->args[i] = strtoull(at, &at, 16);
    sp = strtoull(at, &at, 16);
    pc = strtoull(at, &at, 16);
    thread->regs = (struct unwind_regs){.pc = pc, .valid = 1u << CFI_SP};
    thread->regs.reg[CFI_SP] = sp;
    thread->standing = sp != 0;
}

static void read_regs(struct target_thread *thread)
{
    struct iovec into = {.iov_base = &thread->user,
                         .iov_len = sizeof thread->user};

    if (ptrace(PTRACE_GETREGSET, thread->tid, (void *)NT_PRSTATUS, &into) != 0)
        return;
    thread->standing = true;
    regs_of_user(&thread->user, &thread->regs);
}

// The last number in its line of them is that of its own namespace.
static int inner_tid(const struct target *target, int tid)
{
    char path[64];
    char text[4096];

    snprintf(path, sizeof path, "/proc/%d/task/%d/status", target->pid, tid);
    if (!target->elsewhere || read_text(path, text, sizeof text) <= 0)
        return tid;
    char *line = strstr(text, "\nNSpid:");
    if (line == NULL)
        return tid;
    line++;
    line[strcspn(line, "\n")] = '\0';
    const char *last = strrchr(line, '\t');
    return last == NULL ? tid : (int)strtol(last, NULL, 10);
}

static bool is_known(const struct target *target, int tid)
{
    for (size_t i = 0; i < target->thread_count; i++)
        if (target->threads[i].tid == tid)
            return true;
    return false;
}

static struct target_thread *add_thread(struct target *target, int tid)
{
    if (!grow(&target->threads, &target->thread_room, target->thread_count + 1,
              sizeof *target->threads))
        return NULL;
    struct target_thread *thread = &target->threads[target->thread_count++];
    *thread = (struct target_thread){
        .tid = tid, .inner_tid = inner_tid(target, tid), .call = -1};
    read_call(target, thread);
    return thread;
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

// ---- All of them ----

// Calls a function for each that is not yet known; how many there were, or
// -errno.
static int for_new(struct target *target,
                   int (*act)(struct target *target, int tid))
{
    char path[64];
    struct dirent *entry;
    int error = 0;
    int count = 0;

    snprintf(path, sizeof path, "/proc/%d/task", target->pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -errno;
    while (error == 0 && (entry = readdir(dir)) != NULL) {
        int tid = (int)strtol(entry->d_name, NULL, 10);
        if (tid <= 0 || is_known(target, tid))
            continue;
        error = act(target, tid);
        count++;
    }
    closedir(dir);
    return error == 0 ? count : error;
}

static int look_at(struct target *target, int tid)
{
    return add_thread(target, tid) == NULL ? -ENOMEM : 0;
}

int target_look(struct target *target)
{
    return for_new(target, look_at) < 0 ? -ENOMEM : 0;
}

// Asks a thread to stop. What it does in a call of the system is read before,
// while it is undisturbed.
static int seize(struct target *target, int tid)
{
    struct target_thread *thread = add_thread(target, tid);

    if (thread == NULL)
        return -ENOMEM;
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0) {
        int error = errno;
        return strchr("ZX", state_of(target, tid)) != NULL ? 0 : -error;
    }
    thread->seized = true;
    (void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
    return 0;
}

// Whether a thread that has not stopped so far will do so soon. One that waits
// for a disk, say, does not; it changes nothing until then, either.
static bool may_stop(const struct target *target, int tid, int64_t deadline_ns)
{
    return port_now() < deadline_ns ||
           strchr("DZX", state_of(target, tid)) == NULL;
}

// It may stop because of a signal, too, that has come before our asking: that
// is handed on when it goes on.
static void await_stop(const struct target *target,
                       struct target_thread *thread, int64_t deadline_ns)
{
    atomic_u32 never = 0;
    int status = 0;
    int got;

    while (((got = waitpid(thread->tid, &status, __WALL | WNOHANG)) == 0 ||
            (got < 0 && errno == EINTR)) &&
           may_stop(target, thread->tid, deadline_ns))
        (void)port_futex_wait(&never, 0, port_now() + STOP_STEP_NS);
    thread->stopped = got == thread->tid && WIFSTOPPED(status);
    if (thread->stopped && status >> 16 == 0)
        thread->signal = WSTOPSIG(status);
    if (thread->stopped)
        read_regs(thread);
}

// They were asked one after the other, and come at the same time: so many
// threads, even such as cannot come, cost the time of one.
static int stop_new(struct target *target, size_t first)
{
    int count = for_new(target, seize);
    int64_t deadline_ns = port_now() + STOP_NS;

    for (size_t i = first; i < target->thread_count; i++)
        if (target->threads[i].seized)
            await_stop(target, &target->threads[i], deadline_ns);
    return count;
}

// 0 or -errno.
static int stop_all(struct target *target)
{
    int count;

    do // a thread not yet stopped may start others
        count = stop_new(target, target->thread_count);
    while (count > 0);
    return count;
}

static void detach_all(const struct target *target)
{
    for (size_t i = 0; i < target->thread_count; i++)
        if (target->threads[i].stopped)
            (void)ptrace(PTRACE_DETACH, target->threads[i].tid, NULL,
                         (void *)(intptr_t)target->threads[i].signal);
}

// ---- The thread that traces ----

enum { STAGE_STOPS, STAGE_STANDS, STAGE_GOES };

static void pass(struct target *target, uint32_t stage)
{
    store_release(&target->stage, stage); // T1
    port_futex_wake(&target->stage, 1);
}

static void await(struct target *target, uint32_t stage)
{
    uint32_t now;

    while ((now = load_acquire(&target->stage)) != stage) // T1
        (void)port_futex_wait(&target->stage, now, INT64_MAX);
}

static void *trace(void *arg)
{
    struct target *target = arg;

    target->refused = -stop_all(target);
    pass(target, STAGE_STANDS);
    await(target, STAGE_GOES);
    detach_all(target);
    return NULL;
}

int target_stop(struct target *target)
{
    sigset_t all;

    (void)sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, &target->signals);
    target->stopped_ns = port_now();
    store_relaxed(&target->stage, STAGE_STOPS); // it is not yet shared
    int error =
        port_thread_start(&target->tracer, "weft-tracer", trace, target);
    if (error != 0) {
        target->stopped_ns = 0;
        (void)sigprocmask(SIG_SETMASK, &target->signals, NULL);
        return error;
    }
    await(target, STAGE_STANDS);
    if (target->refused == 0)
        return 0;
    target_resume(target);
    return refuse(target, target->refused, true);
}

void target_resume(struct target *target)
{
    if (target->stopped_ns != 0) {
        pass(target, STAGE_GOES);
        port_thread_join(&target->tracer);
        target->stood_ns = port_now() - target->stopped_ns;
        target->stopped_ns = 0;
        (void)sigprocmask(SIG_SETMASK, &target->signals, NULL);
    }
    target->thread_count = target->thread_room = 0;
    free(target->threads);
    target->threads = NULL;
}

const struct target_thread *target_thread(const struct target *target,
                                          int inner_tid)
{
    for (size_t i = 0; i < target->thread_count; i++)
        if (target->threads[i].inner_tid == inner_tid)
            return &target->threads[i];
    return NULL;
}

bool target_still(const struct target *target,
                  const struct target_thread *thread)
{
    struct target_thread now = {.tid = thread->tid, .call = -1};

    if (thread->stopped)
        return true;
    read_call(target, &now);
    return now.standing == thread->standing && now.call == thread->call &&
           now.regs.pc == thread->regs.pc &&
           now.regs.reg[CFI_SP] == thread->regs.reg[CFI_SP] &&
           memcmp(now.args, thread->args, sizeof now.args) == 0;
}

// ---- What it says ----

static int stop(struct target *target)
{
    return target->method == MODEL_UNSTOPPED ? target_look(target)
                                             : target_stop(target);
}

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

// As the process sees it: it may have been removed, or lie in another mount
// namespace.
static int find_file(struct target *target, const char *path, bool is_exe,
                     char **ret_file)
{
    *ret_file = NULL;
    if (path[0] != '/') // the kernel's own module
        return 0;
    int size = is_exe
                   ? asprintf(ret_file, "/proc/%d/exe", target->pid)
                   : asprintf(ret_file, "/proc/%d/root%s", target->pid, path);

    return size < 0 ? -ENOMEM : 0;
}

static char *read_descriptor(struct target *target, int fd)
{
    return process_descriptor(target->pid, fd);
}

static void read_name(struct target *target, int tid, char *ret_name)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/task/%d/comm", target->pid, tid);
    ret_name[0] = '\0';
    (void)read_text(path, ret_name, 16);
    ret_name[strcspn(ret_name, "\n")] = '\0';
}

static int describe(struct target *target, struct weft_dump *dump)
{
    return process_describe(target->pid, dump);
}

static const struct target_kind LIVING = {
    .stop = stop,
    .resume = target_resume,
    .still = target_still,
    .moment = read_moment,
    .maps = open_maps,
    .file = find_file,
    .descriptor = read_descriptor,
    .thread_name = read_name,
    .describe = describe,
};
