// port_real.c -- The boundary to machine and system: the real one.
//
// Every function is a thin cover of one system facility; what needs thought is
// the rate of the tick counter and the count of guards.
//
//   P1  measure stores the rate, then `measured_for` (release) -> whoever loads
//       `measured_for` (acquire) has a rate at least as good. Without it the
//       first caller's rate of 0 could be used.
#include "port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define SECOND_NS INT64_C(1000000000)

// ---- Atomics ----

enum { MEMBARRIER_EXPEDITED = 1 << 3, MEMBARRIER_REGISTER = 1 << 4 };

// Once, before there are threads: later it takes the kernel milliseconds.
__attribute__((constructor)) static void register_membarrier(void)
{
    (void)syscall(SYS_membarrier, MEMBARRIER_REGISTER, 0, 0);
}

void port_barrier_heavy(void)
{
    // Fails on kernels before 4.14 and where seccomp forbids it: the caller
    // then relies on stores being seen in good time.
    (void)syscall(SYS_membarrier, MEMBARRIER_EXPEDITED, 0, 0);
}

// The error of the system call that has just failed, as -errno. Never inlined:
// errno is a thread's own, compilers keep its address, and a caller may be a
// task that has parked, and changed threads, since it was last looked up.
__attribute__((noinline)) static int last_error(void)
{
    int error = errno;

    __asm__ volatile("" : "+r"(error));
    return -error;
}

static struct timespec to_timespec(int64_t ns)
{
    if (ns < 0)
        ns = 0;
    return (struct timespec){.tv_sec = ns / SECOND_NS,
                             .tv_nsec = ns % SECOND_NS};
}

// Reads a small file of the kernel's as a string; its length, or -errno.
static int read_text(const char *path, char *text, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return last_error();
    ssize_t got = read(fd, text, room - 1);
    int failure = got < 0 ? last_error() : 0;
    close(fd);
    text[got < 0 ? 0 : got] = '\0';
    return failure < 0 ? failure : (int)got;
}

// ---- Waiting. ----

int port_futex_wait(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
    struct timespec until = to_timespec(deadline_ns);

    // WAIT_BITSET, since its time-out is absolute and on CLOCK_MONOTONIC.
    if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                deadline_ns == INT64_MAX ? NULL : &until, NULL,
                FUTEX_BITSET_MATCH_ANY) == 0)
        return 0;
    int failure = last_error();
    return failure == -EINTR ? 0 : failure;
}

void port_futex_wake(atomic_u32 *word, uint32_t count)
{
    int kept = errno; // a signal handler's caller must not see it change

    if (count > INT_MAX)
        count = INT_MAX;
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
    errno = kept;
}

// ---- Time. ----

static int64_t now(clockid_t clock)
{
    struct timespec at;

    clock_gettime(clock, &at);
    return at.tv_sec * SECOND_NS + at.tv_nsec;
}

int64_t port_now(void)
{
    return now(CLOCK_MONOTONIC);
}

int64_t port_wall_now(void)
{
    return now(CLOCK_REALTIME);
}

int64_t port_boot_now(void)
{
    return now(CLOCK_BOOTTIME);
}

#if defined(__x86_64__)

// The same moment on both clocks.
struct moment {
    uint64_t ticks;
    int64_t ns;
};

bool port_has_counter;

static struct moment start;     // set before main begins
static atomic_u64 rate;         // ns a tick, times 2^32; P1
static atomic_u64 measured_for; // the longest span that it is good for; P1

// Whether the counter runs evenly, and alike on all processors. The kernel has
// tested both before it lets the clock rest on it.
static bool trust_counter(void)
{
    unsigned a, b, c, d = 0;
    char source[32];

    if (read_text("/sys/devices/system/clocksource/clocksource0/"
                  "current_clocksource",
                  source, sizeof source) < 0)
        return false;
    if (strcmp(source, "tsc\n") == 0)
        return true;
    // These are computed from it by a hypervisor that keeps it in step when it
    // presents it as invariant (bit 8).
    if (strcmp(source, "kvm-clock\n") != 0 &&
        strcmp(source, "hyperv_clocksource_tsc_page\n") != 0)
        return false;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d >> 8 & 1) != 0;
}

// Of some tries the one in whose midst the least time passed, so that losing
// the processor in one does not spoil the pair.
static struct moment look(void)
{
    struct moment best = {0, 0};
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < 5; i++) {
        uint64_t before = port_ticks();
        int64_t ns = port_now();
        uint64_t span = port_ticks() - before;
        if (span < least) {
            least = span;
            best = (struct moment){before + span / 2, ns};
        }
    }
    return best;
}

__attribute__((constructor)) static void note_start(void)
{
    port_has_counter = trust_counter();
    start = look();
}

// A pair of looks is known to about 50 ns, so a millisecond between them gives
// 1 in 10,000. A span of up to twice that between the looks is thus converted
// to 100 ns; a longer one has the rate measured anew.
static void measure(void)
{
    struct moment end;

    do {
        port_pause();
        end = look();
    } while (end.ns - start.ns < SECOND_NS / 1000);
    uint64_t ticks = end.ticks - start.ticks;
    uint64_t ns = (uint64_t)(end.ns - start.ns);
    // Relaxed will do: any rate ever stored is good enough; P1 orders it.
    store_relaxed(&rate, (uint64_t)(((unsigned __int128)ns << 32) / ticks));
    store_release(&measured_for, 2 * ticks); // P1
}

int64_t port_ticks_to_ns(uint64_t ticks)
{
    if (!port_has_counter)
        return (int64_t)ticks;
    if (ticks > load_acquire(&measured_for)) // P1
        measure();
    return (int64_t)(((unsigned __int128)ticks * load_relaxed(&rate)) >> 32);
}

#elif defined(__aarch64__)

bool port_has_counter = true; // the architecture guarantees all of it

int64_t port_ticks_to_ns(uint64_t ticks)
{
    uint64_t hertz;

    __asm__("mrs %0, cntfrq_el0" : "=r"(hertz));
    return (int64_t)((unsigned __int128)ticks * SECOND_NS / hertz);
}

#else
#error "weft runs on x86-64 and aarch64"
#endif

// ---- Memory for stacks and tables. ----

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 // Linux 6.13
#endif

// How many mappings the process may have when the next guard by mprotect is
// set, at most; INT64_MAX: not counted so far. Relaxed: an estimate; threads
// that race over it are off by a few, with half of the limit left.
static _Atomic(int64_t) mappings = INT64_MAX;
// Whether memory was given back since the last count. Relaxed: as above.
static atomic_u32 shrunk = 1;

size_t port_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void unmap(void *start_at, size_t bytes)
{
    // Fails only past the limit of mappings, when it would split one; then the
    // range stays reserved, which costs address space and nothing else.
    if (bytes > 0)
        (void)munmap(start_at, bytes);
}

// Maps a range and cuts it down to the aligned part of it.
static void *map_aligned(size_t bytes, size_t align, int flags)
{
    size_t slack = align > port_page_size() ? align : 0;

    if (bytes > SIZE_MAX - slack)
        return NULL;
    char *whole =
        mmap(NULL, bytes + slack, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
    if (whole == MAP_FAILED)
        return NULL;
    if (slack == 0)
        return whole;
    size_t before = -(uintptr_t)whole & (align - 1);
    unmap(whole, before);
    unmap(whole + before + bytes, slack - before);
    return whole + before;
}

size_t port_read_memory(uintptr_t address, void *to, size_t bytes)
{
    struct iovec local = {.iov_base = to, .iov_len = bytes};
    struct iovec remote = {.iov_base = (void *)address, .iov_len = bytes};
    ssize_t got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

    return got < 0 ? 0 : (size_t)got;
}

void port_small_pages(void *start_at, size_t bytes)
{
    // Kernels without huge pages refuse it, and need it not.
    (void)madvise(start_at, bytes, MADV_NOHUGEPAGE);
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 // Linux 5.14
#endif

void port_commit(void *start_at, size_t bytes)
{
    const uintptr_t huge = (uintptr_t)2 << 20;
    uintptr_t at = (uintptr_t)start_at;
    uintptr_t first = (at + huge - 1) & ~(huge - 1);
    uintptr_t last = (at + bytes) & ~(huge - 1);

    if (first < last)
        (void)madvise((void *)first, last - first, MADV_HUGEPAGE);
    bytes = (bytes + port_page_size() - 1) & ~(port_page_size() - 1);
    (void)madvise(start_at, bytes, MADV_POPULATE_WRITE);
}

void *port_reserve(size_t bytes, size_t align, bool stacks)
{
    size_t page = port_page_size();

    if (bytes > SIZE_MAX - page)
        return NULL;
    bytes = (bytes + page - 1) & ~(page - 1);
    void *range = map_aligned(bytes, align, stacks ? MAP_STACK : 0);
    if (range != NULL && stacks) {
        port_small_pages(range, bytes);
        (void)madvise(range, bytes, MADV_DONTFORK);
    }
    return range;
}

void port_unreserve(void *start_at, size_t bytes)
{
    size_t page = port_page_size();

    unmap(start_at, (bytes + page - 1) & ~(page - 1));
    store_relaxed(&shrunk, 1);
}

// Lines of /proc/self/maps; INT64_MAX if it cannot be read.
static int64_t count_mappings(void)
{
    char text[4096];
    int64_t lines = 0;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return INT64_MAX;
    while ((got = read(fd, text, sizeof text)) > 0)
        for (ssize_t i = 0; i < got; i++)
            lines += text[i] == '\n';
    close(fd);
    return got < 0 ? INT64_MAX : lines;
}

static int64_t mapping_limit(void)
{
    char text[32];

    if (read_text("/proc/sys/vm/max_map_count", text, sizeof text) <= 0)
        return 65530; // the kernel's own default
    return strtoll(text, NULL, 10);
}

// Whether two more mappings leave the process below half of the limit. Counts
// anew only when the estimate says no and memory was given back since.
static bool take_mappings(void)
{
    static _Atomic(int64_t) half; // 0: not read so far

    if (load_relaxed(&half) == 0)
        store_relaxed(&half, mapping_limit() / 2);
    if (load_relaxed(&mappings) > load_relaxed(&half) - 2) {
        uint32_t yes = 1;
        if (!cas_relaxed(&shrunk, &yes, 0))
            return false;
        store_relaxed(&mappings, count_mappings());
        if (load_relaxed(&mappings) > load_relaxed(&half) - 2)
            return false;
    }
    add_relaxed(&mappings, 2);
    return true;
}

int port_guard(void *start_at, size_t bytes)
{
    if (madvise(start_at, bytes, MADV_GUARD_INSTALL) == 0)
        return 0;
    // An older kernel, or locked memory.
    if (!take_mappings() || mprotect(start_at, bytes, PROT_NONE) < 0)
        return -ENOSPC;
    return 0;
}

void port_discard(void *start_at, size_t bytes)
{
    // Fails on locked memory, which then has to be zeroed by hand.
    if (madvise(start_at, bytes, MADV_DONTNEED) < 0)
        memset(start_at, 0, bytes);
}

void port_inherit(void *start_at, size_t bytes, bool inherit)
{
    (void)madvise(start_at, bytes, inherit ? MADV_DOFORK : MADV_DONTFORK);
}

// ---- Threads and the machine. ----

// All but those that the thread's own instructions raise, and abort.
static void block_signals(sigset_t *ret_before)
{
    static const int kept[] = {SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
                               SIGTRAP, SIGABRT, SIGSYS};
    sigset_t blocked;

    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        sigdelset(&blocked, kept[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, ret_before);
}

static atomic_u32 started; // threads that have not ended; relaxed: a figure

// What a thread is to do, until it has begun. Not from malloc, of which each
// thread that calls it takes an arena of its own.
struct beginning {
    atomic_u32 taken; // CAS (acquire) by who starts, release by who has begun
    void *(*fn)(void *);
    void *arg;
    char name[16]; // what the kernel keeps of one
};

static struct beginning beginnings[64];

static struct beginning *take_beginning(void)
{
    for (size_t i = 0;; i = (i + 1) % 64) {
        uint32_t no = 0;
        if (cas_acquire(&beginnings[i].taken, &no, 1)) // `taken`
            return &beginnings[i];
        if (i == 63)
            sched_yield(); // 64 at once have not begun yet
    }
}

static void *begin_thread(void *arg)
{
    struct beginning *beginning = arg;
    void *(*fn)(void *) = beginning->fn;
    void *fn_arg = beginning->arg;

    // A thread without a name runs as well.
    (void)pthread_setname_np(pthread_self(), beginning->name);
    store_release(&beginning->taken, 0); // `taken`
    void *result = fn(fn_arg);
    (void)sub_relaxed(&started, 1);
    return result;
}

int port_thread_start(struct port_thread *thread, const char *name,
                      void *(*fn)(void *), void *arg)
{
    struct beginning *beginning = take_beginning();
    pthread_attr_t attributes;
    pthread_t handle;
    sigset_t before;

    beginning->fn = fn;
    beginning->arg = arg;
    snprintf(beginning->name, sizeof beginning->name, "%s", name);
    (void)pthread_attr_init(&attributes); // these two cannot fail on Linux
    if (thread == NULL)
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    block_signals(&before); // the new thread inherits the mask
    (void)add_relaxed(&started, 1);
    int failure = pthread_create(&handle, &attributes, begin_thread, beginning);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0) {
        (void)sub_relaxed(&started, 1);
        store_release(&beginning->taken, 0); // `taken`
        return -failure;
    }
    if (thread != NULL)
        thread->handle = handle;
    return 0;
}

bool port_threads(uint32_t *ret_all, uint32_t *ret_started)
{
    char text[4096];
    const char *at = NULL;

    *ret_started = load_relaxed(&started);
    if (read_text("/proc/self/status", text, sizeof text) > 0)
        at = strstr(text, "\nThreads:");
    *ret_all = at == NULL ? 0 : (uint32_t)strtoul(at + 9, NULL, 10);
    return at != NULL;
}

void port_threads_forget(void)
{
    store_relaxed(&started, 0);
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        store_relaxed(&beginnings[i].taken, 0); // there is but one thread
}

// The kernel's encoding: ~TID, of one thread (4), in nanoseconds (2).
static clockid_t clock_of_thread(int tid)
{
    return (clockid_t)(~(unsigned)tid << 3 | 4 | 2);
}

int port_alarm_arm(struct port_alarm *alarm, int tid, int number,
                   const void *value)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID,
                             .sigev_signo = number};
    struct itimerspec at_once = {.it_value.tv_nsec = 1};
    timer_t timer;

    event.sigev_value.sival_ptr = (void *)(uintptr_t)value;
    event._sigev_un._tid = tid; // the C library has no other name for it
    if (timer_create(clock_of_thread(tid), &event, &timer) != 0)
        return last_error();
    alarm->timer = timer;
    if (timer_settime(timer, 0, &at_once, NULL) == 0)
        return 0;
    int error = last_error(); // it has just ended
    (void)timer_delete(timer);
    return error;
}

void port_alarm_cancel(struct port_alarm *alarm)
{
    (void)timer_delete(alarm->timer);
}

int64_t port_thread_cpu(int tid)
{
    struct timespec at;

    if (clock_gettime(clock_of_thread(tid), &at) != 0)
        return -1;
    return at.tv_sec * SECOND_NS + at.tv_nsec;
}

bool port_thread_sleeps(int tid)
{
    char path[64];
    char text[256];

    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    if (read_text(path, text, sizeof text) <= 0)
        return true;
    const char *name_end = strrchr(text, ')'); // a name may hold anything
    return name_end == NULL || name_end[1] == '\0' || name_end[2] == 'S' ||
           name_end[2] == 'D';
}

void port_signal_admit(int number, bool admit)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(admit ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

int port_own_stack(uintptr_t *ret_low, uintptr_t *ret_high)
{
    pthread_attr_t attributes;
    void *low;
    size_t size;

    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return -ENOMEM;
    (void)pthread_attr_getstack(&attributes, &low, &size); // cannot fail
    (void)pthread_attr_destroy(&attributes);
    *ret_low = (uintptr_t)low;
    *ret_high = *ret_low + size;
    return 0;
}

void port_thread_join(struct port_thread *thread)
{
    pthread_join(thread->handle, NULL);
}

int port_thread_id(void)
{
    return (int)syscall(SYS_gettid);
}

// Processors in the affinity mask of the calling thread; 0 if unknown.
static unsigned count_allowed(void)
{
    for (int room = 1024; room <= 1 << 20; room *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)room);
        if (set == NULL)
            return 0;
        size_t bytes = CPU_ALLOC_SIZE((size_t)room);
        int failure = sched_getaffinity(0, bytes, set) < 0 ? errno : 0;
        int count = failure == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (failure != EINVAL) // EINVAL: the machine has more
            return (unsigned)count;
    }
    return 0;
}

// The processors that one control group grants, rounded up; UINT_MAX without
// a quota.
static unsigned group_quota(const char *root, const char *group)
{
    char path[2 * PATH_MAX + 64];
    char text[64];
    long long quota;
    long long period;

    snprintf(path, sizeof path, "%s%s/cpu.max", root, group);
    if (read_text(path, text, sizeof text) <= 0 ||
        sscanf(text, "%lld %lld", &quota, &period) != 2 || quota <= 0 ||
        period <= 0)
        return UINT_MAX;
    long long cpus = quota / period + (quota % period != 0);
    return cpus > UINT_MAX ? UINT_MAX : (unsigned)cpus;
}

// The least that the process's group and those around it grant.
static unsigned count_granted(const char *groups, const char *root)
{
    char text[PATH_MAX + 256];
    unsigned least = UINT_MAX;

    if (read_text(groups, text, sizeof text) <= 0)
        return UINT_MAX;
    char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (line == NULL)
        return UINT_MAX;
    char *group = strchr(line, '/');
    if (group == NULL)
        return UINT_MAX;
    group[strcspn(group, "\n")] = '\0';
    for (char *cut = group + strlen(group); cut != NULL;
         cut = strrchr(group, '/')) {
        *cut = '\0';
        unsigned granted = group_quota(root, group);
        least = granted < least ? granted : least;
    }
    return least;
}

unsigned port_cpus_by(const char *groups, const char *root)
{
    unsigned allowed = count_allowed();
    unsigned granted = count_granted(groups, root);
    unsigned cpus = granted < allowed ? granted : allowed;

    return cpus < 1 ? 1 : cpus;
}

unsigned port_cpus(void)
{
    return port_cpus_by("/proc/self/cgroup", "/sys/fs/cgroup");
}

uint64_t port_random(void)
{
    uint64_t value;

    if (getrandom(&value, sizeof value, 0) == (ssize_t)sizeof value)
        return value;
    // Forbidden by a filter: what is wanted is spread, not secrecy.
    value = ((uint64_t)port_now() ^ (uintptr_t)&value) * 0x9e3779b97f4a7c15;
    return value ^ value >> 32;
}

int port_at_fork(void (*before)(void), void (*in_parent)(void),
                 void (*in_child)(void))
{
    return -pthread_atfork(before, in_parent, in_child);
}

// ---- Event source: readiness of descriptors. ----

#define WAKEUP_TOKEN UINT64_MAX

// The eventfd is edge-triggered too: each write is an edge of its own, so it
// is never read. Its count would overflow after 2^64 wakings.
static int watch(struct port_poller *poller, int fd, uint32_t what,
                 uint64_t token)
{
    struct epoll_event event = {.events = what | EPOLLET, .data.u64 = token};

    if (epoll_ctl(poller->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return last_error();
    return 0;
}

int port_poller_init(struct port_poller *poller)
{
    int failure;

    poller->clock = -1;
    poller->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (poller->epoll < 0)
        return last_error();
    poller->wakeup = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (poller->wakeup < 0) {
        failure = last_error();
        close(poller->epoll);
        return failure;
    }
    failure = watch(poller, poller->wakeup, EPOLLIN, WAKEUP_TOKEN);
    if (failure < 0)
        port_poller_deinit(poller);
    return failure;
}

void port_poller_deinit(struct port_poller *poller)
{
    if (poller->clock >= 0)
        close(poller->clock);
    close(poller->wakeup);
    close(poller->epoll);
}

int port_poller_add(struct port_poller *poller, int fd, uint64_t token)
{
    return watch(poller, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, token);
}

void port_poller_remove(struct port_poller *poller, int fd)
{
    struct epoll_event unused;

    (void)epoll_ctl(poller->epoll, EPOLL_CTL_DEL, fd, &unused);
}

// A timer that never expires, for the sake of being cancelled.
static int arm_clock(int timer)
{
    struct itimerspec never = {.it_value = {.tv_sec = INT64_MAX / SECOND_NS}};

    if (timerfd_settime(timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
                        &never, NULL) < 0)
        return last_error();
    return 0;
}

int port_poller_watch_clock(struct port_poller *poller)
{
    int timer = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);

    if (timer < 0)
        return last_error();
    int failure = arm_clock(timer);
    if (failure == 0)
        failure = watch(poller, timer, EPOLLIN, PORT_CLOCK_TOKEN);
    if (failure < 0)
        close(timer);
    else
        poller->clock = timer;
    return failure;
}

// Milliseconds until a deadline, rounded up so as not to wake before it.
static int to_milliseconds(int64_t left_ns)
{
    int64_t ms = left_ns / 1000000 + (left_ns % 1000000 != 0);

    return ms > INT_MAX ? INT_MAX : (int)ms;
}

static int wait_events(int epoll, struct epoll_event *events, int max,
                       int64_t deadline_ns)
{
    static atomic_u32 coarse; // relaxed: whoever misses it asks once more

    if (deadline_ns == INT64_MAX)
        return epoll_wait(epoll, events, max, -1);
    int64_t left_ns = deadline_ns <= 0 ? 0 : deadline_ns - port_now();
    if (left_ns <= 0)
        return epoll_wait(epoll, events, max, 0);
    if (load_relaxed(&coarse) == 0) {
        struct timespec left = to_timespec(left_ns);
        int got = (int)syscall(SYS_epoll_pwait2, epoll, events, max, &left,
                               NULL, (size_t)0);
        port_filled(events, got < 0 ? 0 : (size_t)got * sizeof *events);
        // Before Linux 5.11, or kept away by a filter that knows it not.
        if (got >= 0 || (errno != ENOSYS && errno != EPERM))
            return got;
        store_relaxed(&coarse, 1);
    }
    return epoll_wait(epoll, events, max, to_milliseconds(left_ns));
}

static uint32_t to_ready(uint32_t what)
{
    uint32_t ready = 0;

    if ((what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        ready |= PORT_READABLE;
    if ((what & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0)
        ready |= PORT_WRITABLE;
    return ready;
}

int port_poller_wait(struct port_poller *poller, struct port_event *events,
                     int max, int64_t deadline_ns)
{
    struct epoll_event raw[PORT_EVENTS_MAX];
    int count = 0;

    if (max > PORT_EVENTS_MAX)
        max = PORT_EVENTS_MAX;
    int got = wait_events(poller->epoll, raw, max, deadline_ns);
    for (int i = 0; i < got; i++) {
        if (raw[i].data.u64 == WAKEUP_TOKEN)
            continue;
        events[count++] =
            (struct port_event){raw[i].data.u64, to_ready(raw[i].events)};
    }
    return count;
}

void port_poller_wake(struct port_poller *poller)
{
    uint64_t one = 1;
    int kept = errno; // a signal handler's caller must not see it change

    if (write(poller->wakeup, &one, sizeof one) < 0)
        errno = kept;
}
