// shim.c -- Makes calls of the library fail: which, when and how says the
// environment.
//
// It is linked into a libweft of its own, with --wrap for each function that it
// names: so what it sees are the calls of the library alone, not those of the
// program or of libc. It counts them by name, and by the place of the call.
//
// WEFT_FAULT is a list of rules NAME:FIRST:EVERY:ACTION, separated by commas.
// Of the calls of NAME, the one numbered FIRST (from 1) is concerned, and after
// it each EVERY-th (0: none, 1: all from then on). NAME@WAY is concerned with
// the calls that come by one way alone: a hash of the place of the call and of
// those that the library's functions on the way to it were called from. The
// ACTION is the number of an error, or `short`: half of the bytes are moved, or
// `jump`: the clock goes wrong. WEFT_FAULT_REPORT is a file to which every
// fault is added when it happens, and what was counted when the process exits.
// WEFT_FAULT_SIGNALS is a number of microseconds: so often every thread is sent
// two signals.
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

// As WEFT_FAULT names them: the functions that are stood in for.
#define CALLS(X)                                                               \
    X(malloc)                                                                  \
    X(calloc)                                                                  \
    X(realloc)                                                                 \
    X(aligned_alloc)                                                           \
    X(strdup)                                                                  \
    X(strndup)                                                                 \
    X(asprintf)                                                                \
    X(open_memstream)                                                          \
    X(__getdelim)                                                              \
    X(realpath)                                                                \
    X(__sched_cpualloc)                                                        \
    X(mmap64)                                                                  \
    X(munmap)                                                                  \
    X(mprotect)                                                                \
    X(madvise)                                                                 \
    X(process_vm_readv)                                                        \
    X(pthread_create)                                                          \
    X(pthread_setname_np)                                                      \
    X(pthread_getattr_np)                                                      \
    X(__register_atfork)                                                       \
    X(sched_getaffinity)                                                       \
    X(open64)                                                                  \
    X(fopen64)                                                                 \
    X(fclose)                                                                  \
    X(close)                                                                   \
    X(read)                                                                    \
    X(pread64)                                                                 \
    X(write)                                                                   \
    X(fstat64)                                                                 \
    X(lstat64)                                                                 \
    X(access)                                                                  \
    X(readlink)                                                                \
    X(getcwd)                                                                  \
    X(gethostname)                                                             \
    X(rename)                                                                  \
    X(unlink)                                                                  \
    X(epoll_create1)                                                           \
    X(epoll_ctl)                                                               \
    X(epoll_wait)                                                              \
    X(eventfd)                                                                 \
    X(timerfd_create)                                                          \
    X(timerfd_settime)                                                         \
    X(socket)                                                                  \
    X(setsockopt)                                                              \
    X(bind)                                                                    \
    X(listen)                                                                  \
    X(connect)                                                                 \
    X(accept4)                                                                 \
    X(getsockname)                                                             \
    X(getpeername)                                                             \
    X(recv)                                                                    \
    X(send)                                                                    \
    X(timer_create)                                                            \
    X(timer_settime)                                                           \
    X(clock_gettime)                                                           \
    X(getrandom)                                                               \
    X(dlopen)                                                                  \
    X(dlsym)                                                                   \
    X(dladdr)                                                                  \
    X(_Fork)                                                                   \
    X(waitpid)                                                                 \
    X(syscall)

// What some of them are asked to do, which is counted by another name.
#define DEEDS(X)                                                               \
    X(futex)                                                                   \
    X(membarrier)                                                              \
    X(epoll_pwait2)                                                            \
    X(thread_clock)                                                            \
    X(guard_install)

enum call {
#define NUMBER(name) CALL_##name,
    CALLS(NUMBER) DEEDS(NUMBER) CALL_COUNT
};

static const char *const names[] = {
#define NAME(name) #name,
    CALLS(NAME) DEEDS(NAME)};

enum {
    RULES_MAX = 32,
    SITES = 4096,
    WAYS = 1 << 14,
    WAY_FRAMES = 4,     // how far back two ways can differ
    WATCHED_MAX = 1024, // descriptors
    ACTION_SHORT = -1,
    ACTION_JUMP = -2,
};

struct rule {
    unsigned long way; // 0: any
    unsigned long first;
    unsigned long every;
    enum call call;
    int action;
};

// Written by the constructor, before there are threads.
static struct rule rules[RULES_MAX];
static unsigned rule_count;
static const char *report_path;
static long storm_us;

static atomic_ulong counts[CALL_COUNT];
static atomic_long mapped; // bytes that the library has and has not given back

// A place that calls, as an offset in the library, or a way; 0: free.
struct site {
    atomic_ulong key;
    atomic_ulong count;
    enum call call;
};
static struct site sites[SITES];
static struct site ways[WAYS];

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));

// The true functions that are used here before they are wrapped below.
int __real_open64(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *bytes, size_t count);
int __real_close(int fd);

// ---- What is said ----

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
    char line[160];
    va_list args;
    int kept = errno;

    if (report_path == NULL)
        return;
    va_start(args, format);
    int size = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    int fd = __real_open64(report_path,
                           O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        ssize_t ignored = __real_write(fd, line, (size_t)size);
        (void)ignored;
        __real_close(fd);
    }
    errno = kept;
}

static void tell_keys(const char *word, const struct site *table, int room)
{
    for (int i = 0; i < room; i++)
        if (atomic_load(&table[i].key) != 0)
            tell("%s %s %lx %lu\n", word, names[table[i].call],
                 atomic_load(&table[i].key), atomic_load(&table[i].count));
}

// Last: what is called from now on is no longer the library's.
__attribute__((destructor)) static void tell_all(void)
{
    rule_count = 0;
    for (int i = 0; i < CALL_COUNT; i++)
        if (atomic_load(&counts[i]) > 0)
            tell("count %s %lu\n", names[i], atomic_load(&counts[i]));
    tell_keys("site", sites, SITES);
    tell_keys("way", ways, WAYS);
    tell("mapped %ld\n", atomic_load(&mapped));
}

// ---- What is to be done ----

static enum call call_of(const char *name, size_t length)
{
    for (int i = 0; i < CALL_COUNT; i++)
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
            return (enum call)i;
    fprintf(stderr, "shim: nothing is called %.*s\n", (int)length, name);
    _exit(96);
}

static void add_rule(const char *text)
{
    struct rule *rule = &rules[rule_count++];
    size_t length = strcspn(text, ":@");
    char *at = (char *)text + length;

    rule->call = call_of(text, length);
    rule->way = *at == '@' ? strtoul(at + 1, &at, 16) : 0;
    rule->first = strtoul(at + 1, &at, 10);
    rule->every = strtoul(at + 1, &at, 10);
    if (strncmp(at + 1, "short", 5) == 0)
        rule->action = ACTION_SHORT;
    else if (strncmp(at + 1, "jump", 4) == 0)
        rule->action = ACTION_JUMP;
    else
        rule->action = atoi(at + 1);
}

// Counts a call in a table; how many it has had from there.
static unsigned long count_in(struct site *table, unsigned long room,
                              enum call call, unsigned long key)
{
    for (unsigned long i = key; i < key + room; i++) {
        struct site *site = &table[i % room];
        unsigned long found = 0;
        if (atomic_compare_exchange_strong(&site->key, &found, key))
            site->call = call;
        else if (found != key)
            continue;
        return atomic_fetch_add(&site->count, 1) + 1;
    }
    return 0; // there is no place left
}

struct walk {
    unsigned long hash;
    unsigned frames;
};

// Takes the library's own frames, up to the first that is another's.
static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *arg)
{
    struct walk *walk = arg;
    uintptr_t at = _Unwind_GetIP(context);
    uintptr_t start = (uintptr_t)__ehdr_start;

    if (at < start || at >= (uintptr_t)etext || walk->frames == WAY_FRAMES + 3)
        return _URC_END_OF_STACK;
    if (walk->frames++ > 1) // this file's own are the same each time
        walk->hash = (walk->hash ^ (at - start)) * 0x9e3779b97f4a7c15;
    return _URC_NO_REASON;
}

// By which way a call has come. Not asked of the calls that only storms concern
// and that come too often, or in the middle of a signal.
static unsigned long way_of(enum call call)
{
    struct walk walk = {0};

    if (call == CALL_clock_gettime || call == CALL_futex)
        return 0;
    (void)_Unwind_Backtrace(step, &walk);
    return walk.hash >> 16;
}

static bool concerns(const struct rule *rule, enum call call,
                     unsigned long number)
{
    if (rule->call != call || number < rule->first)
        return false;
    if (rule->every == 0)
        return number == rule->first;
    return (number - rule->first) % rule->every == 0;
}

// Counts a call; what is to become of it: 0: let it be, or the number of an
// error, which is in errno too, or an ACTION.
__attribute__((noinline)) static int fault(enum call call, const void *from)
{
    unsigned long number = atomic_fetch_add(&counts[call], 1) + 1;
    unsigned long offset = (unsigned long)((const char *)from - __ehdr_start);
    unsigned long way = way_of(call);
    unsigned long by_way = way == 0 ? 0 : count_in(ways, WAYS, call, way);

    (void)count_in(sites, SITES, call, offset);
    for (unsigned i = 0; i < rule_count; i++) {
        const struct rule *rule = &rules[i];
        unsigned long which = rule->way == 0 ? number : by_way;
        if ((rule->way != 0 && rule->way != way) ||
            !concerns(rule, call, which))
            continue;
        if (rule->every != 1 || which == rule->first)
            tell("fault %s %lu %lx\n", names[call], number, offset);
        if (rule->action > 0)
            errno = rule->action;
        return rule->action;
    }
    return 0;
}

// ---- Calls that fail or do not ----

#define FROM __builtin_return_address(0)

// Declares the true function, and defines the one that stands in its place,
// whose result is `failed` when it is to fail with `error`.
#define WRAP(result, name, parameters, arguments, failed)                      \
    result __real_##name parameters;                                           \
    result __wrap_##name parameters;                                           \
    result __wrap_##name parameters                                            \
    {                                                                          \
        int error = fault(CALL_##name, FROM);                                  \
        if (error != 0)                                                        \
            return failed;                                                     \
        return __real_##name arguments;                                        \
    }

WRAP(void *, malloc, (size_t size), (size), NULL)
WRAP(void *, calloc, (size_t count, size_t size), (count, size), NULL)
WRAP(void *, realloc, (void *old, size_t size), (old, size), NULL)
WRAP(void *, aligned_alloc, (size_t align, size_t size), (align, size), NULL)
WRAP(char *, strdup, (const char *text), (text), NULL)
WRAP(char *, strndup, (const char *text, size_t most), (text, most), NULL)
WRAP(FILE *, open_memstream, (char **text, size_t *size), (text, size), NULL)
WRAP(ssize_t, __getdelim, (char **line, size_t *room, int end, FILE *file),
     (line, room, end, file), -1)
WRAP(char *, realpath, (const char *path, char *full), (path, full), NULL)
WRAP(cpu_set_t *, __sched_cpualloc, (size_t count), (count), NULL)
WRAP(int, mprotect, (void *start, size_t size, int what), (start, size, what),
     -1)
WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *how, void *(*fn)(void *),
      void *arg),
     (thread, how, fn, arg), error)
WRAP(int, pthread_setname_np, (pthread_t thread, const char *name),
     (thread, name), error)
WRAP(int, pthread_getattr_np, (pthread_t thread, pthread_attr_t *how),
     (thread, how), error)
WRAP(int, __register_atfork,
     (void (*before)(void), void (*parent)(void), void (*child)(void),
      void *whose),
     (before, parent, child, whose), error)
WRAP(int, sched_getaffinity, (pid_t who, size_t size, cpu_set_t *set),
     (who, size, set), -1)
WRAP(FILE *, fopen64, (const char *path, const char *how), (path, how), NULL)
WRAP(int, fstat64, (int fd, struct stat *ret), (fd, ret), -1)
WRAP(int, lstat64, (const char *path, struct stat *ret), (path, ret), -1)
WRAP(int, access, (const char *path, int how), (path, how), -1)
WRAP(ssize_t, readlink, (const char *path, char *to, size_t room),
     (path, to, room), -1)
WRAP(char *, getcwd, (char *to, size_t room), (to, room), NULL)
WRAP(int, gethostname, (char *to, size_t room), (to, room), -1)
WRAP(int, rename, (const char *from, const char *to), (from, to), -1)
WRAP(int, unlink, (const char *path), (path), -1)
WRAP(int, epoll_create1, (int flags), (flags), -1)
WRAP(int, epoll_wait, (int epoll, struct epoll_event *events, int max, int ms),
     (epoll, events, max, ms), -1)
WRAP(int, socket, (int domain, int type, int protocol),
     (domain, type, protocol), -1)
WRAP(int, setsockopt,
     (int fd, int level, int name, const void *value, socklen_t size),
     (fd, level, name, value, size), -1)
WRAP(int, bind, (int fd, const struct sockaddr *to, socklen_t size),
     (fd, to, size), -1)
WRAP(int, listen, (int fd, int backlog), (fd, backlog), -1)
WRAP(int, connect, (int fd, const struct sockaddr *to, socklen_t size),
     (fd, to, size), -1)
WRAP(int, getsockname, (int fd, struct sockaddr *ret, socklen_t *size),
     (fd, ret, size), -1)
WRAP(int, getpeername, (int fd, struct sockaddr *ret, socklen_t *size),
     (fd, ret, size), -1)
WRAP(int, timerfd_create, (int clock, int flags), (clock, flags), -1)
WRAP(int, timerfd_settime,
     (int fd, int flags, const struct itimerspec *value,
      struct itimerspec *ret),
     (fd, flags, value, ret), -1)
WRAP(int, timer_create, (clockid_t clock, struct sigevent *event, timer_t *ret),
     (clock, event, ret), -1)
WRAP(int, timer_settime,
     (timer_t timer, int flags, const struct itimerspec *value,
      struct itimerspec *ret),
     (timer, flags, value, ret), -1)
WRAP(ssize_t, getrandom, (void *to, size_t size, unsigned flags),
     (to, size, flags), -1)
WRAP(void *, dlopen, (const char *path, int how), (path, how), NULL)
WRAP(void *, dlsym, (void *library, const char *name), (library, name), NULL)
WRAP(int, dladdr, (const void *address, Dl_info *ret), (address, ret), 0)
WRAP(pid_t, _Fork, (void), (), -1)
WRAP(pid_t, waitpid, (pid_t child, int *status, int how), (child, status, how),
     -1)

int __wrap_asprintf(char **text, const char *format, ...);
int __wrap_asprintf(char **text, const char *format, ...)
{
    va_list args;

    if (fault(CALL_asprintf, FROM) != 0) {
        *text = (char *)(uintptr_t)0x5a5a; // it is undefined then
        return -1;
    }
    va_start(args, format);
    int size = vasprintf(text, format, args);
    va_end(args);
    return size;
}

int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    // The library creates no files by open.
    return fault(CALL_open64, FROM) != 0 ? -1 : __real_open64(path, flags);
}

// Of each descriptor, whether it is an eventfd: one that does not overflow
// takes what is written to it.
static atomic_int eventfds[WATCHED_MAX];

// These two have done their work when they say that they failed.
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    int error = fault(CALL_close, FROM);
    if (fd >= 0 && fd < WATCHED_MAX)
        atomic_store(&eventfds[fd], 0);
    int result = __real_close(fd);

    if (error == 0)
        return result;
    errno = error;
    return -1;
}

int __real_fclose(FILE *file);
int __wrap_fclose(FILE *file);
int __wrap_fclose(FILE *file)
{
    int error = fault(CALL_fclose, FROM);
    int result = __real_fclose(file);

    if (error == 0)
        return result;
    errno = error;
    return EOF;
}

void *__real_mmap64(void *at, size_t size, int what, int how, int fd,
                    off_t from);
void *__wrap_mmap64(void *at, size_t size, int what, int how, int fd,
                    off_t from);
void *__wrap_mmap64(void *at, size_t size, int what, int how, int fd,
                    off_t from)
{
    if (fault(CALL_mmap64, FROM) != 0)
        return MAP_FAILED;
    void *got = __real_mmap64(at, size, what, how, fd, from);
    if (got != MAP_FAILED)
        atomic_fetch_add(&mapped, (long)size);
    return got;
}

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

int __real_madvise(void *start, size_t size, int what);
int __wrap_madvise(void *start, size_t size, int what);
int __wrap_madvise(void *start, size_t size, int what)
{
    bool guard = what == MADV_GUARD_INSTALL;

    if (fault(guard ? CALL_guard_install : CALL_madvise, FROM) != 0)
        return -1;
    return __real_madvise(start, size, what);
}

int __real_munmap(void *start, size_t size);
int __wrap_munmap(void *start, size_t size);
int __wrap_munmap(void *start, size_t size)
{
    // The library could do nothing more: so it is no leak of its own.
    atomic_fetch_sub(&mapped, (long)size);
    return fault(CALL_munmap, FROM) != 0 ? -1 : __real_munmap(start, size);
}

// ---- Calls that may move less than they were asked to ----

static size_t fewer(int action, size_t count)
{
    return action == ACTION_SHORT && count > 1 ? (count + 1) / 2 : count;
}

#define WRAP_MOVING(name, parameters, arguments)                               \
    ssize_t __real_##name parameters;                                          \
    ssize_t __wrap_##name parameters;                                          \
    ssize_t __wrap_##name parameters                                           \
    {                                                                          \
        int action = fault(CALL_##name, FROM);                                 \
        if (action > 0)                                                        \
            return -1;                                                         \
        count = fewer(action, count);                                          \
        return __real_##name arguments;                                        \
    }

WRAP_MOVING(read, (int fd, void *to, size_t count), (fd, to, count))
WRAP_MOVING(pread64, (int fd, void *to, size_t count, off_t from),
            (fd, to, count, from))

int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags)
{
    if (fault(CALL_eventfd, FROM) != 0)
        return -1;
    int fd = __real_eventfd(value, flags);
    if (fd >= 0 && fd < WATCHED_MAX)
        atomic_store(&eventfds[fd], 1);
    return fd;
}

ssize_t __wrap_write(int fd, const void *bytes, size_t count);
ssize_t __wrap_write(int fd, const void *bytes, size_t count)
{
    if (fd >= 0 && fd < WATCHED_MAX && atomic_load(&eventfds[fd]))
        return __real_write(fd, bytes, count);
    int action = fault(CALL_write, FROM);
    return action > 0 ? -1 : __real_write(fd, bytes, fewer(action, count));
}

ssize_t __real_process_vm_readv(pid_t process, const struct iovec *to,
                                unsigned long to_count,
                                const struct iovec *from,
                                unsigned long from_count, unsigned long flags);
ssize_t __wrap_process_vm_readv(pid_t process, const struct iovec *to,
                                unsigned long to_count,
                                const struct iovec *from,
                                unsigned long from_count, unsigned long flags);
ssize_t __wrap_process_vm_readv(pid_t process, const struct iovec *to,
                                unsigned long to_count,
                                const struct iovec *from,
                                unsigned long from_count, unsigned long flags)
{
    int action = fault(CALL_process_vm_readv, FROM);
    struct iovec half = *from;

    if (action > 0)
        return -1;
    half.iov_len = fewer(action, half.iov_len);
    return __real_process_vm_readv(process, to, to_count, &half, from_count,
                                   flags);
}

// ---- Sockets ----
//
// A socket that is ready does not say EAGAIN; if it does here, it must become
// ready once more, or whoever waits for that would wait in vain.

static struct {
    atomic_int epoll; // plus one; 0: it is not watched
    struct epoll_event event;
} watched[WATCHED_MAX];

int __real_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    if (fault(CALL_epoll_ctl, FROM) != 0)
        return -1;
    if (what == EPOLL_CTL_ADD && fd < WATCHED_MAX) {
        watched[fd].event = *event;
        atomic_store(&watched[fd].epoll, epoll + 1);
    }
    return __real_epoll_ctl(epoll, what, fd, event);
}

static void ready_again(int fd)
{
    int epoll = fd < WATCHED_MAX ? atomic_load(&watched[fd].epoll) : 0;
    int kept = errno;

    if (kept != EAGAIN || epoll == 0)
        return;
    struct epoll_event event = watched[fd].event;
    (void)__real_epoll_ctl(epoll - 1, EPOLL_CTL_MOD, fd, &event);
    errno = kept;
}

int __real_accept4(int fd, struct sockaddr *ret, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *ret, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *ret, socklen_t *size, int flags)
{
    if (fault(CALL_accept4, FROM) == 0)
        return __real_accept4(fd, ret, size, flags);
    ready_again(fd);
    return -1;
}

ssize_t __real_recv(int fd, void *to, size_t count, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t count, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t count, int flags)
{
    int action = fault(CALL_recv, FROM);

    if (action <= 0)
        return __real_recv(fd, to, fewer(action, count), flags);
    ready_again(fd);
    return -1;
}

ssize_t __real_send(int fd, const void *bytes, size_t count, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t count, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t count, int flags)
{
    int action = fault(CALL_send, FROM);

    if (action <= 0)
        return __real_send(fd, bytes, fewer(action, count), flags);
    ready_again(fd);
    return -1;
}

// ---- Clocks, and system calls by number ----

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    if (clock < 0 && fault(CALL_thread_clock, FROM) != 0)
        return -1;
    int action = clock < 0 ? 0 : fault(CALL_clock_gettime, FROM);
    int result = __real_clock_gettime(clock, ret);
    // The monotonic clock is the kernel's word; the others can be set.
    if (action == ACTION_JUMP && clock == CLOCK_REALTIME)
        ret->tv_sec += ret->tv_nsec % 2 == 0 ? 86400 : -86400;
    if (action == ACTION_JUMP && clock == CLOCK_BOOTTIME)
        ret->tv_sec += 3600;
    return result;
}

long __real_syscall(long number, long a, long b, long c, long d, long e,
                    long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e,
                    long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    int action = 0;

    // A wake-up cannot fail.
    if (number == SYS_futex && (b & FUTEX_CMD_MASK) != FUTEX_WAKE)
        action = fault(CALL_futex, FROM);
    else if (number == SYS_membarrier)
        action = fault(CALL_membarrier, FROM);
    else if (number == SYS_epoll_pwait2)
        action = fault(CALL_epoll_pwait2, FROM);
    return action != 0 ? -1 : __real_syscall(number, a, b, c, d, e, f);
}

// ---- Signals ----

static void heed(int number)
{
    (void)number;
}

// SIGUSR2 breaks calls of the program's own threads. SIGURG is what the library
// captures running tasks by, so it comes to workers too.
static void *send_signals(void *directory)
{
    struct timespec pause = {.tv_nsec = storm_us * 1000};
    pid_t own = gettid();
    DIR *tasks = directory;

    for (;;) {
        struct dirent *entry;
        while ((entry = readdir(tasks)) != NULL) {
            pid_t tid = atoi(entry->d_name);
            if (tid <= 0 || tid == own)
                continue;
            (void)tgkill(getpid(), tid, SIGUSR2);
            (void)tgkill(getpid(), tid, SIGURG);
        }
        rewinddir(tasks);
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

static void begin_storm(const char *text)
{
    struct sigaction action = {.sa_handler = heed};
    pthread_t thread;
    DIR *tasks = opendir("/proc/self/task"); // before the program counts them
    sigset_t all, before;

    storm_us = atol(text);
    (void)sigaction(SIGUSR2, &action, NULL);
    (void)sigaction(SIGURG, &action, NULL);
    (void)sigfillset(&all); // what the program waits for is not the thread's
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    if (tasks == NULL ||
        __real_pthread_create(&thread, NULL, send_signals, tasks) != 0)
        _exit(96);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

__attribute__((constructor(101))) static void begin(void)
{
    const char *list = getenv("WEFT_FAULT");

    report_path = getenv("WEFT_FAULT_REPORT");
    while (list != NULL && *list != '\0' && rule_count < RULES_MAX) {
        add_rule(list);
        list += strcspn(list, ",");
        list += *list == ',';
    }
    if (getenv("WEFT_FAULT_SIGNALS") != NULL)
        begin_storm(getenv("WEFT_FAULT_SIGNALS"));
}
