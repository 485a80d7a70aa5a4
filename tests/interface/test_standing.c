// test_standing.c -- Tasks that keep their worker: where the dump says they
// stand.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/dumps.h"
#include "support/skip.h"

#define NOINLINE __attribute__((noinline))

static volatile unsigned sink;

// ---- Keeping a worker ----

struct keeper {
    weft_runtime *runtime;
    weft_task task;
    int fd[2];
    atomic_bool stop;
    atomic_uint turns;
    long result;
    int error;
};

static void keep(struct keeper *keeper, weft_task_fn *fn)
{
    weft_runtime_options options = {
        .size = sizeof options, .workers = 1, .no_yield_ns = 1};

    *keeper = (struct keeper){.result = -1};
    expect_is(socketpair(AF_UNIX, SOCK_STREAM, 0, keeper->fd), 0);
    expect_is(weft_runtime_new(&options, &keeper->runtime), 0);
    keeper->task = spawn(keeper->runtime, "keeper", fn, keeper);
    while (atomic_load(&keeper->turns) == 0)
        doze();
}

static void release(struct keeper *keeper)
{
    atomic_store(&keeper->stop, true);
    expect_is(write(keeper->fd[1], "x", 1), 1);
    (void)join(keeper->task);
    expect_is(weft_runtime_free(keeper->runtime), 0);
    close(keeper->fd[0]);
    close(keeper->fd[1]);
}

static char *text_of(const weft_dump *dump, bool json)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    expect(file != NULL);
    expect_is(json ? weft_dump_print_json(dump, NULL, file)
                   : weft_dump_print_text(dump, NULL, file),
              0);
    expect_is(fclose(file), 0);
    return text;
}

static void expect_in(const char *text, const char *wanted)
{
    if (strstr(text, wanted) != NULL)
        return;
    fprintf(stderr, "not there: %s\nin: %s\n", wanted, text);
    abort();
}

// What holds of every dump with a task that keeps its worker.
static weft_dump_worker check_kept(const weft_dump *dump, weft_task handle)
{
    weft_dump_task task = task_of(dump, handle);

    expect_is(info_of(dump).complete, info_of(dump).problem == NULL);
    expect_is(task.state, WEFT_STATE_RUNNING);
    expect_is(task.worker, 0);
    expect_is(worker_at(dump, 0).state, WEFT_WORKER_MISSING);
    expect_is(worker_at(dump, 0).task, task.id);
    return worker_at(dump, 0);
}

static void check_stack(const weft_dump *dump, weft_task task,
                        const char *function)
{
    struct chain chain;

    chain_of_stack(dump, task_of(dump, task).stack, &chain);
    expect_is(chain.end, WEFT_STACK_WHOLE);
    expect(chain_has(&chain, function, NULL));
    expect(task_of(dump, task).stack_used > 0);
}

// ---- In system calls ----

static void done(struct keeper *keeper, long result)
{
    keeper->result = result;
    keeper->error = result < 0 ? errno : 0;
}

NOINLINE static void *in_read(void *arg)
{
    struct keeper *keeper = arg;
    char byte;

    atomic_fetch_add(&keeper->turns, 1);
    done(keeper, read(keeper->fd[0], &byte, 1));
    sink++;
    return arg;
}

NOINLINE static void *in_recv(void *arg)
{
    struct keeper *keeper = arg;
    struct timeval wait = {.tv_sec = 30};
    char byte;

    setsockopt(keeper->fd[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    atomic_fetch_add(&keeper->turns, 1);
    done(keeper, recv(keeper->fd[0], &byte, 1, 0));
    sink++;
    return arg;
}

NOINLINE static void *in_poll(void *arg)
{
    struct keeper *keeper = arg;
    struct pollfd fd = {.fd = keeper->fd[0], .events = POLLIN};

    atomic_fetch_add(&keeper->turns, 1);
    done(keeper, syscall(SYS_ppoll, &fd, 1, NULL, NULL, 0));
    sink++;
    return arg;
}

NOINLINE static void *in_epoll(void *arg)
{
    struct keeper *keeper = arg;
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(0);

    expect_is(epoll_ctl(epoll, EPOLL_CTL_ADD, keeper->fd[0], &event), 0);
    atomic_fetch_add(&keeper->turns, 1);
    done(keeper, epoll_pwait(epoll, &event, 1, 30000, NULL));
    close(epoll);
    return arg;
}

NOINLINE static void *in_nanosleep(void *arg)
{
    struct keeper *keeper = arg;
    struct timespec nap = {.tv_sec = 1};

    atomic_fetch_add(&keeper->turns, 1);
    done(keeper, clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL) == 0);
    sink++;
    return arg;
}

static const struct {
    weft_task_fn *fn;
    const char *function;
    long call;
    const char *name;
    bool fd; // the keeper's
} calls[] = {
    {in_read, "in_read", SYS_read, "read", true},
    {in_recv, "in_recv", SYS_recvfrom, "recvfrom", true},
    {in_poll, "in_poll", SYS_ppoll, "ppoll", false},
    {in_epoll, "in_epoll", SYS_epoll_pwait, "epoll_pwait", false},
    {in_nanosleep, "in_nanosleep", SYS_clock_nanosleep, "clock_nanosleep",
     false},
};

// Takes a dump in which the task has entered its call.
static weft_dump *take_in_call(const struct keeper *keeper, long call)
{
    for (;; doze()) {
        weft_dump *dump = take(keeper->runtime);
        if (worker_at(dump, 0).in_syscall && worker_at(dump, 0).syscall == call)
            return dump;
        weft_dump_free(dump);
    }
}

static void check_words(const weft_dump *dump, const char *name, int fd)
{
    char wanted[128];
    char *text = text_of(dump, false);
    char *json = text_of(dump, true);

    snprintf(wanted, sizeof wanted, fd < 0 ? "%s" : "%s(fd %d)", name, fd);
    expect_in(text, wanted);
    expect_in(text, ", in system call ");
    expect_in(text, " inside ");
    expect_in(text, ", now in ");
    snprintf(wanted, sizeof wanted, "\"name\": \"%s\"", name);
    expect_in(json, wanted);
    free(text);
    free(json);
}

static void test_in_system_calls(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct keeper keeper;
        weft_dump *dumps[5];
        keep(&keeper, calls[i].fn);
        for (int n = 0; n < 5; n++) // names take their time: afterwards
            dumps[n] = take_in_call(&keeper, calls[i].call);
        for (int n = 0; n < 5; n++) {
            weft_dump *dump = dumps[n];
            weft_dump_worker worker = check_kept(dump, keeper.task);
            if (calls[i].fd)
                expect_is(worker.syscall_fd, keeper.fd[0]);
            check_stack(dump, keeper.task, calls[i].function);
            if (n == 0)
                check_words(dump, calls[i].name,
                            calls[i].fd ? keeper.fd[0] : -1);
            weft_dump_free(dump);
        }
        release(&keeper);
        expect_is(keeper.error, 0); // no EINTR
        expect_is(keeper.result, 1);
    }
}

// ---- Running ----

NOINLINE static void *in_spin(void *arg)
{
    struct keeper *keeper = arg;

    while (!atomic_load(&keeper->stop))
        atomic_fetch_add(&keeper->turns, 1);
    sink++;
    return arg;
}

NOINLINE static int compare(const void *one, const void *other)
{
    sink++;
    return *(const int *)one - *(const int *)other;
}

// In the C library, and in what it calls.
NOINLINE static void *in_sort(void *arg)
{
    struct keeper *keeper = arg;

    while (!atomic_load(&keeper->stop)) {
        int numbers[100];
        for (int i = 0; i < 100; i++)
            numbers[i] = i * 7919 % 100;
        qsort(numbers, 100, sizeof *numbers, compare);
        atomic_fetch_add(&keeper->turns, 1);
    }
    sink++;
    return arg;
}

NOINLINE static void *in_malloc(void *arg)
{
    struct keeper *keeper = arg;

    while (!atomic_load(&keeper->stop)) {
        char *volatile some = malloc(1 + atomic_load(&keeper->turns) % 5000);
        expect(some != NULL);
        free(some);
        atomic_fetch_add(&keeper->turns, 1);
    }
    sink++;
    return arg;
}

NOINLINE static void *in_copy(void *arg)
{
    static char from[1 << 16], to[1 << 16];
    struct keeper *keeper = arg;

    while (!atomic_load(&keeper->stop)) {
        memcpy(to, from, sizeof to);
        atomic_fetch_add(&keeper->turns, 1);
        __asm__ volatile("" ::: "memory");
    }
    sink++;
    return arg;
}

// The clock is read in the vDSO.
NOINLINE static void *in_clock(void *arg)
{
    struct keeper *keeper = arg;
    struct timespec now;

    while (!atomic_load(&keeper->stop)) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        atomic_fetch_add(&keeper->turns, 1);
    }
    sink++;
    return arg;
}

static void *raise_in_handler;

static void spin_in_handler(int number)
{
    (void)number;
    (void)in_spin(raise_in_handler);
    sink++;
}

NOINLINE static void *in_handler(void *arg)
{
    struct sigaction action = {.sa_handler = spin_in_handler};

    raise_in_handler = arg;
    expect_is(sigaction(SIGTRAP, &action, NULL), 0);
    expect_is(raise(SIGTRAP), 0);
    sink++;
    return arg;
}

NOINLINE static unsigned fill_stack(void *arg, unsigned depth)
{
    volatile char room[512];

    room[0] = (char)depth;
    if (depth == 0)
        (void)in_spin(arg);
    unsigned more = depth == 0 ? 0 : fill_stack(arg, depth - 1);
    return more + (unsigned char)room[0];
}

NOINLINE static void *in_depth(void *arg)
{
    sink += fill_stack(arg, 50);
    return arg;
}

static const struct {
    weft_task_fn *fn;
    const char *function;
} runs[] = {
    {in_spin, "in_spin"},   {in_sort, "in_sort"},   {in_malloc, "in_malloc"},
    {in_copy, "in_copy"},   {in_clock, "in_clock"}, {in_handler, "in_handler"},
    {in_depth, "in_depth"},
};

// A machine under load may keep a task from running while it is asked.
static bool got_no_processor(const weft_dump *dump, weft_task task)
{
    const uintptr_t *pcs;
    const char *error;
    size_t count;
    enum weft_stack_end end;

    expect_is(weft_dump_get_stack(dump, task_of(dump, task).stack, &pcs, &count,
                                  &end, &error),
              0);
    if (end != WEFT_STACK_UNKNOWN)
        return false;
    expect(error != NULL);
    printf("# %s\n", error);
    return strstr(error, "no processor") != NULL ||
           strstr(error, "in time") != NULL;
}

static void test_running(void **state)
{
    (void)state;
    if (UNDER_TSAN)
        skip_because("handlers run late under ThreadSanitizer");
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct keeper keeper;
        unsigned whole = 0;
        keep(&keeper, runs[i].fn);
        for (unsigned n = 0; n < scaled(20); n++) {
            weft_dump *dump = take(keeper.runtime);
            (void)check_kept(dump, keeper.task);
            if (!got_no_processor(dump, keeper.task)) {
                check_stack(dump, keeper.task, runs[i].function);
                whole++;
            }
            weft_dump_free(dump);
        }
        expect(whole > scaled(20) / 2);
        release(&keeper);
    }
}

static void test_running_in_words(void **state)
{
    struct keeper keeper;

    (void)state;
    if (UNDER_TSAN)
        skip_because("handlers run late under ThreadSanitizer");
    keep(&keeper, in_spin);
    weft_dump *dump = take(keeper.runtime);
    while (got_no_processor(dump, keeper.task)) {
        weft_dump_free(dump);
        dump = take(keeper.runtime);
    }
    char *text = text_of(dump, false);
    char *json = text_of(dump, true);
    expect_in(text, "NO YIELD");
    expect_in(text, ", now in in_spin ");
    expect_in(json, "\"syscall\": null");
    free(text);
    free(json);
    weft_dump_free(dump);
    release(&keeper);
}

// ---- Out of reach ----

static void *in_blocked_spin(void *arg)
{
    sigset_t set, before;

    sigfillset(&set);
    expect_is(sigprocmask(SIG_BLOCK, &set, &before), 0);
    (void)in_spin(arg);
    expect_is(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    return arg;
}

// The dump says so, and is there all the same.
static void test_blocked(void **state)
{
    struct keeper keeper;
    const uintptr_t *pcs;
    const char *error;
    size_t count;
    enum weft_stack_end end;

    (void)state;
    keep(&keeper, in_blocked_spin);
    weft_dump *dump = take(keeper.runtime);
    (void)check_kept(dump, keeper.task);
    expect_is(weft_dump_get_stack(dump, task_of(dump, keeper.task).stack, &pcs,
                                  &count, &end, &error),
              0);
    expect_is(end, WEFT_STACK_UNKNOWN);
    expect(error != NULL && strstr(error, "blocks SIGURG") != NULL);
    char *text = text_of(dump, false);
    expect_in(text, "where it stands is not known: it blocks SIGURG");
    expect_in(text, "(no stack: it blocks SIGURG");
    free(text);
    weft_dump_free(dump);
    release(&keeper);
}

// ---- Many workers, tasks that come and go ----

static void *in_out(void *arg)
{
    struct keeper *keeper = arg;

    while (!atomic_load(&keeper->stop)) {
        struct timespec nap = {.tv_nsec = 20 * MS};
        for (volatile unsigned i = 0; i < 2000000;)
            i++;
        (void)nanosleep(&nap, NULL);
        (void)weft_task_yield();
    }
    return arg;
}

// Workers that leave their task, or come late, while they are captured.
static void test_coming_and_going(void **state)
{
    weft_runtime_options options = {
        .size = sizeof options, .workers = 4, .dump_patience_ns = MS};
    struct keeper keeper = {0};
    weft_task tasks[8];
    unsigned whole = 0;
    unsigned had = 0;

    (void)state;
    expect_is(weft_runtime_new(&options, &keeper.runtime), 0);
    for (int i = 0; i < 8; i++)
        tasks[i] = spawn(keeper.runtime, NULL, in_out, &keeper);
    for (unsigned n = 0; n < scaled(100) || whole == 0; n++) {
        weft_dump *dump = take(keeper.runtime);
        expect_is(info_of(dump).tasks, 8);
        for (int i = 0; i < 8; i++) {
            struct chain chain;
            if (task_of(dump, tasks[i]).state != WEFT_STATE_RUNNING)
                continue;
            chain_of_stack(dump, task_of(dump, tasks[i]).stack, &chain);
            had++;
            whole += chain.end == WEFT_STACK_WHOLE &&
                     chain_has(&chain, "in_out", NULL);
        }
        weft_dump_free(dump);
    }
    atomic_store(&keeper.stop, true);
    for (int i = 0; i < 8; i++)
        (void)join(tasks[i]);
    expect_is(weft_runtime_free(keeper.runtime), 0);
    print_message("# %u of %u running tasks were had whole\n", whole, had);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_system_calls),  cmocka_unit_test(test_running),
        cmocka_unit_test(test_running_in_words), cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_coming_and_going),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
