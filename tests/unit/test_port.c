// test_port.c -- The boundary to machine and system: the real back-end.
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/port.h"
#include "support/skip.h"

#define MS INT64_C(1000000)

// ---- Children: what must not happen in the test's own process. ----

// Runs fn(arg) in a forked child: its exit status, or minus the signal that
// ended it.
static int in_child(int (*fn)(void *), void *arg)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL); // a sanitizer's would report and exit
        signal(SIGBUS, SIG_DFL);
        _exit(fn(arg));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

__attribute__((no_sanitize("address", "thread", "undefined"))) static int
read_byte(void *at)
{
    return *(volatile char *)at;
}

// Makes a system call fail with an error from now on, if its argument number
// `which` has the low word `value` (which < 0: always).
static void forbid(int call, int which, uint32_t value, int error)
{
    uint32_t offset = (uint32_t)offsetof(struct seccomp_data, nr);
    uint32_t at = which < 0 ? offset
                            : (uint32_t)(offsetof(struct seccomp_data, args) +
                                         8 * (unsigned)which);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, which < 0 ? (uint32_t)call : value,
                 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(99);
}

// ---- Time. ----

static void test_clocks(void **state)
{
    (void)state;
    int64_t before = port_now();
    assert_true(port_now() >= before);
    assert_true(before > 0);
    assert_true(llabs(port_wall_now() / 1000000000 - time(NULL)) <= 1);
}

static void test_ticks_never_go_back(void **state)
{
    (void)state;
    uint64_t last = port_ticks();
    for (int i = 0; i < 100000; i++) {
        uint64_t ticks = port_ticks();
        assert_true(ticks >= last);
        last = ticks;
    }
}

// The clock read outside of the ticks bounds their span from above, the clock
// read inside of them from below.
static void test_ticks_measure_time(void **state)
{
    (void)state;
    int64_t outer = port_now();
    uint64_t first = port_ticks();
    int64_t inner = port_now();
    while (port_now() < inner + 50 * MS)
        port_pause();
    inner = port_now() - inner;
    uint64_t span = port_ticks() - first;
    outer = port_now() - outer;
    int64_t ns = port_ticks_to_ns(span);
    assert_true(ns >= inner - inner / 10000);
    assert_true(ns <= outer + outer / 10000);
}

static void test_ticks_of_long_spans(void **state)
{
    (void)state;
    int64_t second = port_ticks_to_ns(UINT64_C(1) << 30);
    int64_t day = port_ticks_to_ns(UINT64_C(100000) << 30);
    assert_true(llabs(day / 100000 - second) <= second / 10000 + 1);
    assert_int_equal(port_ticks_to_ns(0), 0);
}

// ---- Waiting. ----

static void test_futex_does_not_wait_for_another_value(void **state)
{
    (void)state;
    atomic_u32 word = 1;
    assert_int_equal(port_futex_wait(&word, 0, INT64_MAX), -EAGAIN);
}

static void test_futex_keeps_its_deadline(void **state)
{
    (void)state;
    atomic_u32 word = 0;
    int64_t deadline = port_now() + 20 * MS;
    assert_int_equal(port_futex_wait(&word, 0, deadline), -ETIMEDOUT);
    assert_true(port_now() >= deadline);
    assert_int_equal(port_futex_wait(&word, 0, 1), -ETIMEDOUT);
    assert_int_equal(port_futex_wait(&word, 0, -1), -ETIMEDOUT);
}

struct sleeper {
    atomic_u32 word;
    atomic_u32 tid;
    int outcome;
};

static void *sleep_on_word(void *arg)
{
    struct sleeper *sleeper = arg;

    store_release(&sleeper->tid, (uint32_t)port_thread_id());
    sleeper->outcome = port_futex_wait(&sleeper->word, 0, INT64_MAX);
    return NULL;
}

// Waits until a thread of this process sleeps in the kernel.
static void wait_asleep(atomic_u32 *tid)
{
    char path[64];
    char text[256];

    for (;;) {
        sched_yield();
        snprintf(path, sizeof path, "/proc/self/task/%u/syscall",
                 load_acquire(tid));
        FILE *file = fopen(path, "re");
        if (file == NULL)
            continue;
        bool asleep = fgets(text, sizeof text, file) != NULL &&
                      strtol(text, NULL, 10) == SYS_futex &&
                      strncmp(text, "running", 7) != 0;
        fclose(file);
        if (asleep)
            return;
    }
}

static void test_futex_wakes(void **state)
{
    (void)state;
    struct sleeper sleeper = {0};
    struct port_thread thread;

    assert_int_equal(
        port_thread_start(&thread, "sleeper", sleep_on_word, &sleeper), 0);
    wait_asleep(&sleeper.tid);
    port_futex_wake(&sleeper.word, 1);
    port_thread_join(&thread);
    assert_int_equal(sleeper.outcome, 0);
}

static void take_note(int signal)
{
    (void)signal;
}

static void test_futex_counts_a_signal_as_waking(void **state)
{
    (void)state;
    struct sleeper sleeper = {0};
    struct sigaction action = {.sa_handler = take_note}; // no SA_RESTART
    struct sigaction before;
    pthread_t thread;

    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    assert_int_equal(pthread_create(&thread, NULL, sleep_on_word, &sleeper), 0);
    wait_asleep(&sleeper.tid);
    assert_int_equal(pthread_kill(thread, SIGUSR1), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(sleeper.outcome, 0);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
}

// ---- Memory. ----

static void test_reserve_is_aligned_and_zeroed(void **state)
{
    (void)state;
    for (size_t align = 1; align <= 1 << 24; align *= 16) {
        char *range = port_reserve(100000, align, false);
        assert_non_null(range);
        assert_int_equal((uintptr_t)range & (align - 1), 0);
        for (size_t i = 0; i < 100000; i++)
            assert_int_equal(range[i], 0);
        range[99999] = 1;
        port_unreserve(range, 100000);
    }
}

static void test_reserve_commits_nothing(void **state)
{
    (void)state;
    size_t bytes = (size_t)1 << 36;
    char *range = port_reserve(bytes, 1 << 16, true);
    assert_non_null(range);
    range[bytes - 1] = 1;
    port_unreserve(range, bytes);
}

static void test_reserve_refuses_the_absurd(void **state)
{
    (void)state;
    assert_null(port_reserve(SIZE_MAX, 1, false));
    assert_null(port_reserve(SIZE_MAX - 100000, 1 << 20, false));
    assert_null(port_reserve((size_t)1 << 60, 1, true));
}

static void test_discard_zeroes(void **state)
{
    (void)state;
    size_t page = port_page_size();
    char *range = port_reserve(4 * page, page, true);
    memset(range, 7, 4 * page);
    port_discard(range + page, 2 * page);
    assert_int_equal(range[page - 1], 7);
    assert_int_equal(range[page], 0);
    assert_int_equal(range[3 * page - 1], 0);
    assert_int_equal(range[3 * page], 7);
    port_unreserve(range, 4 * page);
}

static void test_discard_zeroes_locked_memory(void **state)
{
    (void)state;
    size_t page = port_page_size();
    char *range = port_reserve(page, page, false);
    assert_int_equal(mlock(range, page), 0);
    range[5] = 7;
    port_discard(range, page);
    assert_int_equal(range[5], 0);
    port_unreserve(range, page);
}

static void test_guard_faults(void **state)
{
    (void)state;
    size_t page = port_page_size();
    char *range = port_reserve(3 * page, page, false);
    assert_int_equal(port_guard(range + page, page), 0);
    assert_int_equal(in_child(read_byte, range + page), -SIGSEGV);
    assert_int_equal(in_child(read_byte, range + page - 1), 0);
    assert_int_equal(in_child(read_byte, range + 2 * page), 0);
    port_discard(range, 3 * page);
    assert_int_equal(in_child(read_byte, range + page), -SIGSEGV);
    port_unreserve(range, 3 * page);
}

// Locked memory takes no guard of the first kind.
static void test_guard_in_locked_memory(void **state)
{
    (void)state;
    size_t page = port_page_size();
    char *range = port_reserve(3 * page, page, false);
    assert_int_equal(mlock(range, 3 * page), 0);
    assert_int_equal(port_guard(range + page, page), 0);
    assert_int_equal(in_child(read_byte, range + page), -SIGSEGV);
    assert_int_equal(in_child(read_byte, range), 0);
    port_unreserve(range, 3 * page);
}

static long limit_of_mappings(void)
{
    long limit = 0;
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");

    if (file == NULL || fscanf(file, "%ld", &limit) != 1)
        _exit(98);
    fclose(file);
    return limit;
}

static long count_lines(const char *path)
{
    long lines = 0;
    int byte;
    FILE *file = fopen(path, "re");

    if (file == NULL)
        _exit(97);
    while ((byte = getc(file)) != EOF)
        lines += byte == '\n';
    fclose(file);
    return lines;
}

// As on a kernel before 6.13: guards end at half of the limit, and go on once
// memory was given back.
static int use_up_guards(void *arg)
{
    size_t page = port_page_size();
    size_t bytes = (size_t)limit_of_mappings() * page;
    char *range = port_reserve(bytes, page, true);
    int failure = 0;
    long guards = 0;

    (void)arg;
    forbid(SYS_madvise, 2, 102, EINVAL);
    for (; failure == 0 && guards < limit_of_mappings() / 2; guards++)
        failure = port_guard(range + (size_t)(2 * guards) * page, page);
    long lines = count_lines("/proc/self/maps");
    if (failure != -ENOSPC)
        return 1;
    if (labs(lines - limit_of_mappings() / 2) > 16)
        return 2;
    char *other = port_reserve(2 * page, page, true);
    if (other == NULL || port_guard(other, page) != -ENOSPC)
        return 3;
    port_unreserve(range, bytes);
    if (port_guard(other, page) != 0)
        return 4;
    return 0;
}

static void test_guards_end_before_mappings(void **state)
{
    (void)state;
    assert_int_equal(in_child(use_up_guards, NULL), 0);
}

static void test_stacks_are_not_inherited(void **state)
{
    (void)state;
    size_t page = port_page_size();
    char *range = port_reserve(2 * page, page, true);
    memset(range, 7, 2 * page);
    assert_int_equal(in_child(read_byte, range), -SIGSEGV);
    port_inherit(range, page, true);
    assert_int_equal(in_child(read_byte, range), 7);
    assert_int_equal(in_child(read_byte, range + page), -SIGSEGV);
    port_inherit(range, page, false);
    assert_int_equal(in_child(read_byte, range), -SIGSEGV);
    port_unreserve(range, 2 * page);
}

// ---- Threads and the machine. ----

struct seen {
    sigset_t blocked;
    char name[16];
    int tid;
    atomic_u32 named;
};

static void *look_around(void *arg)
{
    struct seen *seen = arg;

    pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
    seen->tid = port_thread_id();
    while (load_acquire(&seen->named) == 0)
        (void)port_futex_wait(&seen->named, 0, INT64_MAX);
    prctl(PR_GET_NAME, seen->name);
    return NULL;
}

static void test_thread_blocks_signals(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct port_thread thread;
    sigset_t own;

    assert_int_equal(
        port_thread_start(&thread, "a-name-longer-than-15", look_around, &seen),
        0);
    store_release(&seen.named, 1);
    port_futex_wake(&seen.named, 1);
    port_thread_join(&thread);
    assert_true(sigismember(&seen.blocked, SIGINT));
    assert_true(sigismember(&seen.blocked, SIGQUIT));
    assert_true(sigismember(&seen.blocked, SIGUSR1));
    assert_true(sigismember(&seen.blocked, SIGRTMIN));
    assert_false(sigismember(&seen.blocked, SIGSEGV));
    assert_false(sigismember(&seen.blocked, SIGABRT));
    assert_false(sigismember(&seen.blocked, SIGSYS));
    assert_string_equal(seen.name, "a-name-longer-t");
    assert_int_not_equal(seen.tid, port_thread_id());
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    assert_false(sigismember(&own, SIGINT)); // the caller's mask is as before
}

static int start_beyond_limit(void *arg)
{
    struct rlimit none = {0, 0};
    struct port_thread thread;
    struct seen seen = {0};

    (void)arg;
    // Root is above the limit, so it has to be somebody else.
    if (setrlimit(RLIMIT_NPROC, &none) != 0 || setuid(65534) != 0)
        return 1;
    return port_thread_start(&thread, "one", look_around, &seen) == -EAGAIN ? 0
                                                                            : 2;
}

static void test_thread_start_fails(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip_because("only root can become somebody else");
    assert_int_equal(in_child(start_beyond_limit, NULL), 0);
}

static atomic_u32 signals_taken;
static void *signal_value;

static void take_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code == SI_TIMER && number == SIGUSR2)
        signal_value = info->si_value.sival_ptr;
    (void)add_seq_cst(&signals_taken, 1);
}

static void test_alarm(void **state)
{
    struct sigaction action = {.sa_sigaction = take_signal,
                               .sa_flags = SA_SIGINFO};
    struct sigaction before;
    struct port_alarm alarm;
    int tid = port_thread_id();

    (void)state;
    assert_int_equal(sigaction(SIGUSR2, &action, &before), 0);
    port_signal_admit(SIGUSR2, true);
    assert_int_equal(port_alarm_arm(&alarm, tid, SIGUSR2, &before), 0);
    while (load_seq_cst(&signals_taken) == 0)
        continue; // it needs processor time
    port_alarm_cancel(&alarm);
    assert_int_equal(load_seq_cst(&signals_taken), 1);
    assert_ptr_equal(signal_value, &before);
    assert_int_equal(sigaction(SIGUSR2, &before, NULL), 0);
    assert_int_equal(port_alarm_arm(&alarm, 0x0fffffff, SIGUSR2, NULL),
                     -EINVAL);
}

static void test_thread_cpu(void **state)
{
    int64_t before = port_thread_cpu(port_thread_id());

    (void)state;
    assert_true(before >= 0);
    while (port_thread_cpu(port_thread_id()) < before + 1000000)
        continue;
    assert_int_equal(port_thread_cpu(0x0fffffff), -1);
}

static int cpus_when_pinned(void *arg)
{
    cpu_set_t set;

    (void)arg;
    CPU_ZERO(&set);
    CPU_SET((size_t)sched_getcpu(), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        return 99;
    return (int)port_cpus();
}

static void test_cpus(void **state)
{
    (void)state;
    assert_in_range(port_cpus(), 1, sysconf(_SC_NPROCESSORS_ONLN));
    assert_int_equal(in_child(cpus_when_pinned, NULL), 1);
}

// A hierarchy of control groups that is made up: /a/b, in a folder of our own.
static char made_up[] = "/tmp/weft-cgroups-XXXXXX";

static void write_made_up(const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", made_up, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static unsigned cpus_by_made_up(const char *groups)
{
    char path[256];

    write_made_up("groups", groups);
    snprintf(path, sizeof path, "%s/groups", made_up);
    return port_cpus_by(path, made_up);
}

static void remove_made_up(void)
{
    static const char *const names[] = {"a/b/cpu.max", "a/b", "a/cpu.max", "a",
                                        "groups"};
    char path[256];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", made_up, names[i]);
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(rmdir(made_up), 0);
}

// The least that the group and those around it grant, but no more than the
// affinity allows; whatever cannot be read limits nothing.
static void test_quotas(void **state)
{
    unsigned allowed = port_cpus_by("/dev/null", "/nowhere");
    unsigned two = allowed < 2 ? allowed : 2;
    char path[256];

    (void)state;
    assert_non_null(mkdtemp(made_up));
    snprintf(path, sizeof path, "%s/a", made_up);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/a/b", made_up);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(cpus_by_made_up("0::/a/b\n"), allowed);
    write_made_up("a/b/cpu.max", "max 100000\n");
    write_made_up("a/cpu.max", "50000 100000\n");
    assert_int_equal(cpus_by_made_up("0::/a/b\n"), 1);
    assert_int_equal(cpus_by_made_up("4:cpu:/x\n0::/a/b\n"), 1);
    write_made_up("a/cpu.max", "150000 100000\n"); // rounded up
    assert_int_equal(cpus_by_made_up("0::/a/b\n"), two);
    write_made_up("a/b/cpu.max", "100000 100000\n");
    assert_int_equal(cpus_by_made_up("0::/a/b\n"), 1);
    assert_int_equal(cpus_by_made_up("0::/a\n"), two);
    assert_int_equal(cpus_by_made_up("0::/\n"), allowed);
    assert_int_equal(cpus_by_made_up("7:cpu:/a/b\n"), allowed); // version 1
    assert_int_equal(cpus_by_made_up("0::nonsense"), allowed);
    assert_int_equal(cpus_by_made_up(""), allowed);
    write_made_up("a/b/cpu.max", "-5 100000\n");
    write_made_up("a/cpu.max", "nonsense\n");
    assert_int_equal(cpus_by_made_up("0::/a/b\n"), allowed);
    remove_made_up();
}

static void test_random_differs(void **state)
{
    (void)state;
    uint64_t first = port_random();
    assert_true(port_random() != first || port_random() != first);
}

static char forks[8];

static void before_fork(void)
{
    strcat(forks, "b");
}

static void in_parent_of_fork(void)
{
    strcat(forks, "p");
}

static void in_child_of_fork(void)
{
    strcat(forks, "c");
}

static int fork_once(void *arg)
{
    int status;

    (void)arg;
    if (port_at_fork(before_fork, in_parent_of_fork, in_child_of_fork) != 0)
        return 1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(strcmp(forks, "bc") == 0 ? 0 : 1);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        return 2;
    return strcmp(forks, "bp") == 0 ? 0 : 3;
}

static void test_at_fork(void **state)
{
    (void)state;
    assert_int_equal(in_child(fork_once, NULL), 0);
}

// ---- Event source. ----

struct pair {
    struct port_poller poller;
    int ours;
    int theirs;
    struct port_event events[8];
};

static void pair_init(struct pair *pair)
{
    int ends[2];

    assert_int_equal(port_poller_init(&pair->poller), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends),
                     0);
    pair->ours = ends[0];
    pair->theirs = ends[1];
}

static void pair_deinit(struct pair *pair)
{
    close(pair->ours);
    close(pair->theirs);
    port_poller_deinit(&pair->poller);
}

static int look(struct pair *pair)
{
    return port_poller_wait(&pair->poller, pair->events, 8, 0);
}

static void test_poller_reports_edges_once(void **state)
{
    (void)state;
    struct pair pair;

    pair_init(&pair);
    assert_int_equal(port_poller_add(&pair.poller, pair.ours, 42), 0);
    assert_int_equal(look(&pair), 1);
    assert_int_equal(pair.events[0].token, 42);
    assert_int_equal(pair.events[0].ready, PORT_WRITABLE);
    assert_int_equal(look(&pair), 0);
    assert_int_equal(write(pair.theirs, "x", 1), 1);
    assert_int_equal(look(&pair), 1);
    assert_int_equal(pair.events[0].ready & PORT_READABLE, PORT_READABLE);
    assert_int_equal(look(&pair), 0);
    assert_int_equal(write(pair.theirs, "y", 1), 1);
    assert_int_equal(look(&pair), 1);
    pair_deinit(&pair);
}

static void test_poller_reports_the_other_ends_end(void **state)
{
    (void)state;
    struct pair pair;

    pair_init(&pair);
    assert_int_equal(port_poller_add(&pair.poller, pair.ours, 1), 0);
    assert_int_equal(look(&pair), 1);
    assert_int_equal(shutdown(pair.theirs, SHUT_WR), 0);
    assert_int_equal(look(&pair), 1);
    assert_int_equal(pair.events[0].ready & PORT_READABLE, PORT_READABLE);
    close(pair.theirs);
    assert_int_equal(look(&pair), 1);
    assert_int_equal(pair.events[0].ready, PORT_READABLE | PORT_WRITABLE);
    pair.theirs = -1;
    pair_deinit(&pair);
}

static void test_poller_forgets_the_removed(void **state)
{
    (void)state;
    struct pair pair;

    pair_init(&pair);
    assert_int_equal(port_poller_add(&pair.poller, pair.ours, 1), 0);
    port_poller_remove(&pair.poller, pair.ours);
    assert_int_equal(look(&pair), 0);
    pair_deinit(&pair);
}

static void test_poller_refuses_files(void **state)
{
    (void)state;
    struct pair pair;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    pair_init(&pair);
    assert_int_equal(port_poller_add(&pair.poller, file, 1), -EPERM);
    assert_int_equal(port_poller_add(&pair.poller, -1, 1), -EBADF);
    close(file);
    pair_deinit(&pair);
}

static void test_poller_keeps_its_deadline(void **state)
{
    (void)state;
    struct pair pair;

    pair_init(&pair);
    for (int64_t wait = 1; wait < 30 * MS; wait = wait * 7 + 1) {
        int64_t deadline = port_now() + wait;
        assert_int_equal(
            port_poller_wait(&pair.poller, pair.events, 8, deadline), 0);
        assert_true(port_now() >= deadline);
    }
    pair_deinit(&pair);
}

// On a kernel before 5.11.
static int keep_deadline_without_pwait2(void *arg)
{
    struct port_poller poller;
    struct port_event event;

    (void)arg;
    forbid(SYS_epoll_pwait2, -1, 0, ENOSYS);
    if (port_poller_init(&poller) != 0)
        return 1;
    for (int64_t wait = 1; wait < 30 * MS; wait = wait * 7 + 1) {
        int64_t deadline = port_now() + wait;
        if (port_poller_wait(&poller, &event, 1, deadline) != 0)
            return 2;
        if (port_now() < deadline)
            return 3;
    }
    return 0;
}

static void test_poller_without_pwait2(void **state)
{
    (void)state;
    assert_int_equal(in_child(keep_deadline_without_pwait2, NULL), 0);
}

static void *wake_later(void *arg)
{
    usleep(20000);
    port_poller_wake(arg);
    return NULL;
}

static void test_poller_wakes(void **state)
{
    (void)state;
    struct pair pair;
    struct port_thread thread;

    pair_init(&pair);
    for (int i = 0; i < 3; i++) {
        port_poller_wake(&pair.poller); // before the wait
        assert_int_equal(
            port_poller_wait(&pair.poller, pair.events, 8, INT64_MAX), 0);
    }
    assert_int_equal(
        port_thread_start(&thread, "waker", wake_later, &pair.poller), 0);
    assert_int_equal(port_poller_wait(&pair.poller, pair.events, 8, INT64_MAX),
                     0);
    port_thread_join(&thread);
    // Nothing is left over: the next wait lasts.
    int64_t deadline = port_now() + 5 * MS;
    (void)port_poller_wait(&pair.poller, pair.events, 8, deadline);
    assert_true(port_now() >= deadline);
    pair_deinit(&pair);
}

static int init_without_descriptors(void *arg)
{
    struct port_poller poller;
    int next = dup(0);

    (void)arg;
    close(next);
    for (int spare = 0; spare < 2; spare++) { // for none of the two, for one
        struct rlimit limit = {(rlim_t)(next + spare), (rlim_t)(next + 8)};
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            return 1;
        if (port_poller_init(&poller) != -EMFILE)
            return 2;
        if (spare == 1 && dup(0) != next) // nothing was left open
            return 3;
    }
    return 0;
}

static void test_poller_init_fails(void **state)
{
    (void)state;
    assert_int_equal(in_child(init_without_descriptors, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_ticks_never_go_back),
        cmocka_unit_test(test_ticks_measure_time),
        cmocka_unit_test(test_ticks_of_long_spans),
        cmocka_unit_test(test_futex_does_not_wait_for_another_value),
        cmocka_unit_test(test_futex_keeps_its_deadline),
        cmocka_unit_test(test_futex_wakes),
        cmocka_unit_test(test_futex_counts_a_signal_as_waking),
        cmocka_unit_test(test_reserve_is_aligned_and_zeroed),
        cmocka_unit_test(test_reserve_commits_nothing),
        cmocka_unit_test(test_reserve_refuses_the_absurd),
        cmocka_unit_test(test_discard_zeroes),
        cmocka_unit_test(test_discard_zeroes_locked_memory),
        cmocka_unit_test(test_guard_faults),
        cmocka_unit_test(test_guard_in_locked_memory),
        cmocka_unit_test(test_guards_end_before_mappings),
        cmocka_unit_test(test_stacks_are_not_inherited),
        cmocka_unit_test(test_thread_blocks_signals),
        cmocka_unit_test(test_thread_start_fails),
        cmocka_unit_test(test_alarm),
        cmocka_unit_test(test_thread_cpu),
        cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_quotas),
        cmocka_unit_test(test_random_differs),
        cmocka_unit_test(test_at_fork),
        cmocka_unit_test(test_poller_reports_edges_once),
        cmocka_unit_test(test_poller_reports_the_other_ends_end),
        cmocka_unit_test(test_poller_forgets_the_removed),
        cmocka_unit_test(test_poller_refuses_files),
        cmocka_unit_test(test_poller_keeps_its_deadline),
        cmocka_unit_test(test_poller_without_pwait2),
        cmocka_unit_test(test_poller_wakes),
        cmocka_unit_test(test_poller_init_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
