// hostile_programs.c -- The hostile programs themselves.
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "modules/plugin.h"
#include "support/hostile.h"
#include "support/tasks.h"

enum { PARKED = 32, FEW = 4 };

// Longer than a worker is waited for.
static const int64_t STRETCH_NS = 8 * WEFT_MILLISECOND;

static const struct role keeps_running = {BIT(WEFT_STATE_RUNNING), 0};
static const struct role runs = {
    BIT(WEFT_STATE_RUNNING) | BIT(WEFT_STATE_READY), 0};

static bool go_on(struct hostile *h)
{
    return !atomic_load_explicit(&h->stop, memory_order_relaxed);
}

static unsigned next_serial(struct hostile *h)
{
    return atomic_fetch_add(&h->serial, 1);
}

static void work_for(int64_t time_ns)
{
    int64_t until_ns = weft_time_now() + time_ns;

    while (weft_time_now() < until_ns)
        continue;
}

static void nap_for(long time_ns)
{
    struct timespec nap = {.tv_nsec = time_ns};

    while (nanosleep(&nap, &nap) != 0 && errno == EINTR)
        continue;
}

static void add_many(struct hostile *h, unsigned count, const char *name,
                     const struct role *role, weft_task_fn *fn)
{
    for (unsigned i = 0; i < count; i++)
        hostile_add(h, name, role, fn);
}

static void *keep_yielding(void *arg)
{
    while (go_on(arg))
        expect_is(weft_task_yield(), 0);
    return NULL;
}

// ---- Loops that do not yield, on all workers ----

static void *spin(void *arg)
{
    while (go_on(arg))
        continue;
    return NULL;
}

static void begin_busy(struct hostile *h)
{
    hostile_add_parked(h, PARKED);
    add_many(h, h->workers, "spinner", &keeps_running, spin);
}

// ---- Tasks that block the signal by which they would be asked ----

static void *block_and_work(void *arg)
{
    sigset_t set;

    expect_is(sigemptyset(&set), 0);
    expect_is(sigaddset(&set, SIGURG), 0);
    while (go_on(arg)) {
        expect_is(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
        work_for(STRETCH_NS);
        expect_is(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
        expect_is(weft_task_yield(), 0);
    }
    return NULL;
}

static void begin_blocked(struct hostile *h)
{
    hostile_add_parked(h, PARKED);
    add_many(h, h->workers, "blocker", &runs, block_and_work);
}

// ---- Signals from elsewhere, the dumps' own among them ----

static atomic_uint caught;

static void catch_signal(int number)
{
    (void)number;
    atomic_fetch_add_explicit(&caught, 1, memory_order_relaxed);
}

static void *admit_and_work(void *arg)
{
    sigset_t set;

    expect_is(sigemptyset(&set), 0);
    expect_is(sigaddset(&set, SIGUSR2), 0);
    while (go_on(arg)) {
        expect_is(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
        work_for(STRETCH_NS);
        expect_is(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
        expect_is(weft_task_yield(), 0);
    }
    return NULL;
}

static void begin_signals(struct hostile *h)
{
    struct sigaction action = {.sa_handler = catch_signal,
                               .sa_flags = SA_RESTART | SA_ONSTACK};

    expect_is(sigaction(SIGUSR2, &action, NULL), 0);
    hostile_add_parked(h, PARKED);
    add_many(h, h->workers, "admitter", &runs, admit_and_work);
}

static void *send_signals(void *arg)
{
    while (go_on(arg)) {
        expect_is(kill(getpid(), SIGUSR2), 0);
        expect_is(kill(getpid(), SIGURG), 0);
        nap_for(20000);
    }
    return NULL;
}

// ---- System calls that block, on all workers; none may end early ----

static void nap(struct hostile *h)
{
    struct timespec time = {.tv_nsec = WEFT_MILLISECOND};

    (void)h;
    expect_is(nanosleep(&time, NULL), 0);
}

static void poll_nothing(struct hostile *h)
{
    (void)h;
    expect_is(poll(NULL, 0, 1), 0);
}

static void select_nothing(struct hostile *h)
{
    struct timeval time = {.tv_usec = 1000};

    (void)h;
    expect_is(select(0, NULL, NULL, NULL, &time), 0);
}

static void wait_for_no_event(struct hostile *h)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event;

    (void)h;
    expect(epoll >= 0);
    expect_is(epoll_wait(epoll, &event, 1, 1), 0);
    expect_is(close(epoll), 0);
}

static void wait_for_no_wake(struct hostile *h)
{
    struct timespec time = {.tv_nsec = WEFT_MILLISECOND};
    unsigned word = 0;

    (void)h;
    expect_is(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &time, NULL, 0),
              -1);
    expect_is(errno, ETIMEDOUT);
}

static void receive_nothing(struct hostile *h)
{
    struct timeval time = {.tv_usec = 1000};
    int ends[2];
    char byte;

    (void)h;
    expect_is(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    expect_is(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time),
              0);
    expect_is(recv(ends[0], &byte, 1, 0), -1);
    expect_is(errno, EAGAIN);
    expect_is(close(ends[0]), 0);
    expect_is(close(ends[1]), 0);
}

static void read_byte(struct hostile *h)
{
    char byte;

    expect_is(read(h->pipe[0], &byte, 1), 1);
}

static void (*const calls[])(struct hostile *h) = {
    nap,
    poll_nothing,
    select_nothing,
    wait_for_no_event,
    wait_for_no_wake,
    receive_nothing,
    read_byte,
};

enum { CALLS = sizeof calls / sizeof *calls };

static void *make_calls(void *arg)
{
    struct hostile *h = arg;
    unsigned which = next_serial(h) % CALLS;

    while (go_on(h)) {
        calls[which](h);
        expect_is(weft_task_yield(), 0);
    }
    return NULL;
}

static void begin_calls(struct hostile *h)
{
    hostile_add_parked(h, PARKED);
    add_many(h, CALLS, "caller", &runs, make_calls);
}

static void write_bytes(struct hostile *h, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        expect_is(write(h->pipe[1], "", 1), 1);
}

static void *feed(void *arg)
{
    struct hostile *h = arg;

    while (go_on(h)) {
        write_bytes(h, 1);
        nap_for(WEFT_MILLISECOND);
    }
    return NULL;
}

static void let_readers_go(struct hostile *h)
{
    write_bytes(h, h->workers);
}

static void *read_once(void *arg)
{
    read_byte(arg);
    return NULL;
}

static void begin_stuck(struct hostile *h)
{
    hostile_add_parked(h, PARKED);
    add_many(h, h->workers, "reader", &keeps_running, read_once);
}

// ---- Calls in the pool's threads ----

static void *nap_in_pool(void *arg)
{
    nap_for(200000);
    return arg;
}

static void *call_often(void *arg)
{
    while (go_on(arg))
        expect_is(weft_blocking_run(nap_in_pool, NULL, NULL), 0);
    return NULL;
}

static void begin_pool(struct hostile *h)
{
    static const struct role calls_pool = {BIT(WEFT_STATE_RUNNING) |
                                               BIT(WEFT_STATE_READY) |
                                               BIT(WEFT_STATE_WAITING),
                                           BIT(WEFT_WAIT_BLOCKING)};

    hostile_add_parked(h, PARKED);
    add_many(h, 2 * FEW, "pool caller", &calls_pool, call_often);
}

// ---- Tasks that come and go, with names and labels ----

static const char CHILD[] = "child";
static const char KEY[] = "kind";
static const char VALUE[] = "churned";

static void *be_a_child(void *arg)
{
    int64_t deadline_ns = arg == NULL ? weft_time_now() : WEFT_NEVER;

    (void)weft_task_set_name(CHILD);
    (void)weft_task_set_label(KEY, VALUE);
    (void)weft_task_sleep(deadline_ns);
    (void)weft_task_set_label(KEY, NULL);
    (void)weft_task_set_name(NULL);
    return arg;
}

// Starts a child, and has done with it in one of three ways.
static void churn_once(struct hostile *h, unsigned way)
{
    void *for_ever = way == 2 ? h : NULL;
    weft_task child;

    expect_is(weft_task_spawn(NULL, be_a_child, for_ever, &child), 0);
    if (way == 0) {
        expect_is(weft_task_detach(child), 0);
        return;
    }
    if (way == 2)
        expect_is(weft_task_cancel(child), 0);
    expect(join(child) == (intptr_t)for_ever);
}

static void *churn(void *arg)
{
    for (unsigned i = 0; go_on(arg); i++) {
        churn_once(arg, i % 3);
        expect_is(weft_task_yield(), 0);
    }
    return NULL;
}

static bool is_child(const struct hostile *h, const weft_dump *dump,
                     size_t index, const weft_dump_task *task)
{
    const char *key;
    const char *value;

    (void)h;
    if (task->parent == 0 || task->labels > 1 ||
        (task->name != NULL && strcmp(task->name, CHILD) != 0))
        return false;
    return task->labels == 0 ||
           (weft_dump_get_label(dump, index, 0, &key, &value) == 0 &&
            strcmp(key, KEY) == 0 && strcmp(value, VALUE) == 0);
}

static void begin_churn(struct hostile *h)
{
    static const struct role churns = {BIT(WEFT_STATE_RUNNING) |
                                           BIT(WEFT_STATE_READY) |
                                           BIT(WEFT_STATE_WAITING),
                                       BIT(WEFT_WAIT_JOIN)};

    hostile_add_parked(h, PARKED);
    add_many(h, 2 * FEW, "parent", &churns, churn);
}

// ---- Deep recursion ----

static __attribute__((noinline)) unsigned descend(struct hostile *h,
                                                  unsigned depth, bool parks)
{
    volatile char room[32] = {1};
    char item;

    if (depth > 0)
        return descend(h, depth - 1, parks) + (unsigned)room[0];
    if (parks)
        expect_is(weft_channel_recv(h->gate, &item, WEFT_NEVER), -EPIPE);
    else
        (void)keep_yielding(h);
    return 0;
}

static void *go_deep(void *arg)
{
    struct hostile *h = arg;
    unsigned serial = next_serial(h);
    unsigned depth = 128 + serial * 50;

    expect_is(descend(h, depth, serial % 2 == 0), depth);
    return NULL;
}

static void begin_deep(struct hostile *h)
{
    static const struct role deep = {BIT(WEFT_STATE_RUNNING) |
                                         BIT(WEFT_STATE_READY) |
                                         BIT(WEFT_STATE_WAITING),
                                     BIT(WEFT_WAIT_CHAN_RECV)};

    add_many(h, 4 * FEW, "diver", &deep, go_deep);
}

// ---- Workers asleep ----

static void begin_asleep(struct hostile *h)
{
    hostile_add_parked(h, 100);
}

// ---- Timers ----

static void time_once(struct hostile *h, int64_t time_ns, bool sleeps)
{
    int64_t deadline_ns = weft_time_after(time_ns);
    char item;

    if (sleeps) {
        expect_is(weft_task_sleep(deadline_ns), 0);
        return;
    }
    int error = weft_channel_recv(h->gate, &item, deadline_ns);
    expect(error == -ETIMEDOUT || (error == -EPIPE && !go_on(h)));
}

static void *keep_timing(void *arg)
{
    struct hostile *h = arg;
    uint64_t chance = next_serial(h);

    while (go_on(h))
        time_once(h, random_below(&chance, 1000) * WEFT_MICROSECOND,
                  random_below(&chance, 2) == 0);
    return NULL;
}

static void begin_timers(struct hostile *h)
{
    static const struct role times = {
        BIT(WEFT_STATE_RUNNING) | BIT(WEFT_STATE_READY) |
            BIT(WEFT_STATE_WAITING),
        BIT(WEFT_WAIT_SLEEP) | BIT(WEFT_WAIT_CHAN_RECV)};

    hostile_add_parked(h, PARKED);
    add_many(h, 200, "timer", &times, keep_timing);
}

// ---- Many that are ready ----

static void begin_ready(struct hostile *h)
{
    add_many(h, 10000, "yielder", &runs, keep_yielding);
}

// ---- Runtimes that come and go ----

// One, of which a dump is asked while it is ended.
struct ephemeral {
    weft_runtime *runtime;
    weft_channel *gate;
    atomic_bool stop;
    atomic_bool answered;
    atomic_int asker; // its thread's id, once it is about to ask
    long linger_ns;   // from then to its end
};

static void *wait_or_be_cancelled(void *arg)
{
    struct ephemeral *e = arg;
    char item;

    expect_is(weft_channel_recv(e->gate, &item, WEFT_NEVER), -ECANCELED);
    return NULL;
}

// Asks, too, of what ends under it.
static void *ask_until_cancelled(void *arg)
{
    struct ephemeral *e = arg;

    do {
        weft_dump *dump;
        expect_is(weft_dump_take(e->runtime, &dump), 0);
        weft_dump_free(dump);
    } while (weft_task_yield() == 0);
    return NULL;
}

static void *spin_a_while(void *arg)
{
    struct ephemeral *e = arg;

    while (!atomic_load(&e->stop))
        continue;
    return NULL;
}

// Whether a thread sleeps in a futex: who was about to ask has asked.
static bool has_asked(struct ephemeral *e)
{
    char path[64];
    long call = -1;
    int tid = atomic_load(&e->asker);

    if (tid == 0)
        return false;
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
    FILE *file = fopen(path, "re");
    expect(file != NULL);
    if (fscanf(file, "%ld", &call) != 1)
        call = -1; // "running"
    (void)fclose(file);
    return call == SYS_futex;
}

static void *end_while_asked(void *arg)
{
    struct ephemeral *e = arg;

    while (!atomic_load(&e->answered) && !has_asked(e))
        (void)sched_yield();
    nap_for(e->linger_ns); // the meeting may be over, and the capture begun
    atomic_store(&e->stop, true);
    expect_is(weft_runtime_free(e->runtime), 0);
    return NULL;
}

// Every other one has no tasks but such as keep the workers from the meeting.
static void fill_ephemeral(struct ephemeral *e, unsigned workers, unsigned way)
{
    weft_task_options options = {.size = sizeof options, .runtime = e->runtime};
    static weft_task_fn *const fns[] = {wait_or_be_cancelled, spin_a_while,
                                        ask_until_cancelled, spin_a_while};
    weft_task_fn *fn = fns[way % 4];

    for (unsigned i = 0; i < FEW && fn != spin_a_while; i++)
        expect_is(weft_task_spawn(&options, wait_or_be_cancelled, e, NULL), 0);
    for (unsigned i = 0; i < workers; i++)
        expect_is(weft_task_spawn(&options, fn, e, NULL), 0);
}

static void start_ephemeral(struct ephemeral *e, unsigned workers, unsigned way)
{
    weft_runtime_options options = {
        .size = sizeof options, .workers = workers, .dump_signal = -1};
    uint64_t chance = way;

    *e = (struct ephemeral){.linger_ns = (long)random_below(&chance, 10000) *
                                         WEFT_MICROSECOND};
    expect_is(weft_channel_new(1, 1, NULL, &e->gate), 0);
    expect_is(weft_runtime_new(&options, &e->runtime), 0);
    fill_ephemeral(e, workers, way);
}

static int ask_one_that_ends(struct hostile *h, weft_dump **ret_dump)
{
    struct ephemeral e;
    pthread_t ender;

    start_ephemeral(&e, h->workers, next_serial(h));
    expect_is(pthread_create(&ender, NULL, end_while_asked, &e), 0);
    atomic_store(&e.asker, (int)syscall(SYS_gettid));
    int error = weft_dump_take(e.runtime, ret_dump);
    atomic_store(&e.answered, true);
    expect_is(pthread_join(ender, NULL), 0);
    expect_is(weft_channel_free(e.gate), 0);
    return error;
}

static void begin_runtimes(struct hostile *h)
{
    hostile_add_parked(h, PARKED);
}

// ---- Forks ----

static void fork_once(unsigned way)
{
    int status;
    pid_t pid = fork();

    expect(pid >= 0);
    if (pid == 0) {
        if (way % 2 == 0)
            execl("/bin/true", "true", (char *)NULL);
        _exit(0);
    }
    expect_is(waitpid(pid, &status, 0), pid);
    expect_is(status, 0);
}

static void *fork_in_task(void *arg)
{
    for (unsigned i = 0; go_on(arg); i++) {
        fork_once(i);
        expect_is(weft_task_yield(), 0);
    }
    return NULL;
}

static void *fork_in_thread(void *arg)
{
    for (unsigned i = 0; go_on(arg); i++)
        fork_once(i);
    return NULL;
}

static void begin_forks(struct hostile *h)
{
    hostile_add_parked(h, PARKED);
    add_many(h, FEW, "forker", &runs, fork_in_task);
}

// ---- Memory and threads that cannot be had ----

static void set_limit(int resource, rlim_t value)
{
    struct rlimit limit;

    expect_is(getrlimit(resource, &limit), 0);
    limit.rlim_cur = value < limit.rlim_max ? value : limit.rlim_max;
    expect_is(setrlimit(resource, &limit), 0);
}

static rlim_t mapped(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    expect(file != NULL);
    expect_is(fscanf(file, "%lu", &pages), 1);
    (void)fclose(file);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void begin_limited(struct hostile *h)
{
    hostile_add_parked(h, PARKED);
    add_many(h, FEW, "yielder", &runs, keep_yielding);
}

// From nothing to enough.
static void *limit_memory(void *arg)
{
    uint64_t chance = 1;

    while (go_on(arg)) {
        set_limit(RLIMIT_AS, mapped() + (random_below(&chance, 256) << 20));
        nap_for(2 * WEFT_MILLISECOND);
        set_limit(RLIMIT_AS, RLIM_INFINITY);
        nap_for(WEFT_MILLISECOND);
    }
    return NULL;
}

// A user of whom there is no other process: the privileged have no limit.
static void begin_without_threads(struct hostile *h)
{
    uid_t user = 61000 + (uid_t)getpid() % 4000;

    if (getuid() == 0) {
        expect_is(setresuid(user, user, user), 0);
        expect_is(prctl(PR_SET_DUMPABLE, 1), 0); // or /proc is closed to it
    }
    begin_limited(h);
}

static void *limit_threads(void *arg)
{
    while (go_on(arg)) {
        set_limit(RLIMIT_NPROC, 1);
        nap_for(2 * WEFT_MILLISECOND);
        set_limit(RLIMIT_NPROC, RLIM_INFINITY);
        nap_for(WEFT_MILLISECOND);
    }
    return NULL;
}

// ---- Modules that are opened and closed ----

// Beside the program, in the build tree.
static void find_plugin(char *ret_path, size_t size)
{
    static const char PLUGIN[] = "/../tests/modules/plugin.so";
    ssize_t length = readlink("/proc/self/exe", ret_path, size);

    expect(length > 0 && (size_t)length < size);
    ret_path[length] = '\0';
    char *name = strrchr(ret_path, '/');
    expect(name + sizeof PLUGIN < ret_path + size);
    strcpy(name, PLUGIN);
}

static void yield_in_module(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++)
        (void)weft_task_yield(); // -EPERM in a thread
}

static void use_module(void)
{
    char path[4096];

    find_plugin(path, sizeof path);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    expect(module != NULL);
    plugin_entry *entry = (plugin_entry *)dlsym(module, "plugin_asm_told");
    expect(entry != NULL);
    entry(yield_in_module, NULL);
    expect_is(dlclose(module), 0);
}

static void *use_modules(void *arg)
{
    while (go_on(arg)) {
        use_module();
        (void)weft_task_yield(); // -EPERM in a thread
    }
    return NULL;
}

static void begin_modules(struct hostile *h)
{
    hostile_add_parked(h, PARKED);
    add_many(h, FEW, "module user", &runs, use_modules);
}

// ---- Mappings that come and go ----

static void *map_often(void *arg)
{
    static const size_t SIZE = 1 << 20;

    while (go_on(arg)) {
        char *bytes = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        expect(bytes != MAP_FAILED);
        bytes[0] = 1;
        expect_is(mprotect(bytes, SIZE / 2, PROT_READ), 0);
        bytes[SIZE - 1] = 1;
        expect_is(munmap(bytes, SIZE), 0);
        (void)weft_task_yield(); // -EPERM in a thread
    }
    return NULL;
}

static void begin_mappings(struct hostile *h)
{
    hostile_add_parked(h, PARKED);
    add_many(h, FEW, "mapper", &runs, map_often);
}

// ---- All ----

const struct hostile_program hostile_programs[] = {
    {.name = "memory-limit",
     .begin = begin_limited,
     .nuisance = limit_memory,
     .refuses = true,
     .spoils = true},
    {.name = "thread-limit",
     .begin = begin_without_threads,
     .nuisance = limit_threads,
     .spoils = true},
    {.name = "busy", .begin = begin_busy, .keeps_workers = true},
    {.name = "blocked-signal", .begin = begin_blocked},
    {.name = "signals", .begin = begin_signals, .nuisance = send_signals},
    {.name = "calls",
     .begin = begin_calls,
     .nuisance = feed,
     .end = let_readers_go},
    {.name = "stuck",
     .begin = begin_stuck,
     .end = let_readers_go,
     .keeps_workers = true},
    {.name = "pool", .begin = begin_pool},
    {.name = "churn", .begin = begin_churn, .allows = is_child},
    {.name = "deep", .begin = begin_deep, .stack_size = 1 << 20},
    {.name = "asleep", .begin = begin_asleep},
    {.name = "timers", .begin = begin_timers},
    {.name = "ready", .begin = begin_ready},
    {.name = "runtimes", .begin = begin_runtimes, .ask = ask_one_that_ends},
    {.name = "forks", .begin = begin_forks, .nuisance = fork_in_thread},
    {.name = "modules", .begin = begin_modules, .nuisance = use_modules},
    {.name = "mappings", .begin = begin_mappings, .nuisance = map_often},
};

const size_t hostile_program_count =
    sizeof hostile_programs / sizeof *hostile_programs;
