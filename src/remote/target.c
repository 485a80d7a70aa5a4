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
    ssize_t got = process_vm_readv(target->pid, &local, 1, &remote, 1, 0);

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
    ssize_t got = process_vm_readv(target->pid, local, n, remote, n, 0);
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

static int read_number(const char *path)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -1;
    ssize_t size = read(fd, text, sizeof text - 1);
    (void)close(fd);
    return size <= 0 ? -1 : (int)strtol(text, NULL, 10);
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
                    "it is another user's, or has capabilities that this "
                    "command lacks: run this as that user or as root");
    return fail(target, error, "%s", strerror(error));
}

int target_open(struct target *target, int pid)
{
    char path[64];

    *target =
        (struct target){.space = {.read = read_space, .read_many = read_spans},
                        .pid = pid,
                        .memory = -1};
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    target->memory = open(path, O_RDONLY | O_CLOEXEC);
    return target->memory < 0 ? explain_refusal(target, errno) : 0;
}

void target_close(struct target *target)
{
    target_resume(target);
    free(target->threads);
    if (target->memory >= 0)
        (void)close(target->memory);
}

// ---- Stopping ----

static void read_call(struct target *target, struct target_thread *thread)
{
    char path[64];
    char text[256] = "";

    snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", target->pid,
             thread->tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t size = read(fd, text, sizeof text - 1);
    (void)close(fd);
    char *at = text;
    thread->call = size <= 0 ? -1 : strtol(text, &at, 10);
    thread->in_call = at != text && thread->call >= 0;
    for (int i = 0; thread->in_call && i < 6; i++)
        thread->args[i] = strtoull(at, &at, 16);
}

static void read_regs(struct target_thread *thread)
{
    struct user_regs_struct user;
    struct iovec into = {.iov_base = &user, .iov_len = sizeof user};
    struct unwind_regs *regs = &thread->regs;

    *regs = (struct unwind_regs){0};
    if (ptrace(PTRACE_GETREGSET, thread->tid, (void *)NT_PRSTATUS, &into) != 0)
        return;
#if defined(__x86_64__)
    const uint64_t values[] = {user.rax, user.rdx, user.rcx, user.rbx,
                               user.rsi, user.rdi, user.rbp, user.rsp,
                               user.r8,  user.r9,  user.r10, user.r11,
                               user.r12, user.r13, user.r14, user.r15};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        regs->reg[i] = values[i];
    regs->valid = 0xffff;
    regs->pc = user.rip;
#else
    for (int i = 0; i < 31; i++)
        regs->reg[i] = user.regs[i];
    regs->reg[CFI_SP] = user.sp;
    regs->valid = 0xffffffff;
    regs->pc = user.pc;
#endif
}

static bool is_known(const struct target *target, int tid)
{
    return target_thread(target, tid) != NULL;
}

// One that waits for a disk, say, stops only after that: it changes nothing
// until then, and is not waited for. False: it has ended, or that long.
static bool await_stop(int tid)
{
    int64_t deadline_ns = port_now() + STOP_NS;
    atomic_u32 never = 0;
    int status = 0;
    int got;

    while (((got = waitpid(tid, &status, __WALL | WNOHANG)) == 0 ||
            (got < 0 && errno == EINTR)) &&
           port_now() < deadline_ns)
        (void)port_futex_wait(&never, 0, port_now() + STOP_STEP_NS);
    return got == tid && WIFSTOPPED(status);
}

// Asks a thread to stop; others may begin and end meanwhile.
static int seize(struct target *target, int tid, size_t *room)
{
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0)
        return errno == ESRCH && tid != target->pid ? 0 : errno;
    if (!grow(&target->threads, room, target->thread_count + 1,
              sizeof *target->threads))
        return ENOMEM;
    struct target_thread *thread = &target->threads[target->thread_count++];
    *thread = (struct target_thread){.tid = tid, .call = -1};
    read_call(target, thread); // while it is undisturbed
    (void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
    thread->stopped = await_stop(tid);
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
            (void)ptrace(PTRACE_DETACH, target->threads[i].tid, NULL, NULL);
    for (size_t i = 0; i < target->thread_count; i++)
        target->threads[i].stopped = false;
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
