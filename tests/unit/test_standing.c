// test_standing.c -- Threads that do not come, captured where they stand.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "dump/calls.h"
#include "dump/fp_search.h"
#include "dump/standing.h"
#include "port/port.h"
#include "support/skip.h"

#define NOINLINE __attribute__((noinline))
#define MS INT64_C(1000000)

#include "support/sanitizers.h"

// ---- A thread to be captured ----

struct model {
    pthread_t thread;
    struct standing *standing;
    void (*act)(struct model *);
    uintptr_t lo;
    uintptr_t hi;
    atomic_uint ready;
    atomic_uint stop;
    atomic_uint turns; // what it does, counted
    int fd[2];
    long result;
    int error;
};

static volatile unsigned sink;

static void *pose(void *arg)
{
    struct model *model = arg;

    assert_int_equal(port_own_stack(&model->lo, &model->hi), 0);
    model->standing = standing_begin(SIGURG);
    assert_non_null(model->standing);
    atomic_store(&model->ready, 1);
    model->act(model);
    while (!atomic_load(&model->stop)) // nobody captures it any more
        (void)usleep(100);
    standing_end(model->standing);
    standing_free(model->standing);
    return NULL;
}

static void start(struct model *model, void (*act)(struct model *))
{
    *model = (struct model){.act = act};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, model->fd), 0);
    assert_int_equal(pthread_create(&model->thread, NULL, pose, model), 0);
    while (!atomic_load(&model->ready))
        (void)usleep(100);
}

static void end(struct model *model)
{
    atomic_store(&model->stop, 1);
    assert_int_equal(pthread_join(model->thread, NULL), 0);
    close(model->fd[0]);
    close(model->fd[1]);
}

static void capture_on(struct model *model, uintptr_t lo, uintptr_t hi,
                       struct standing_result *ret_result)
{
    int64_t deadline_ns = port_now() + 5000 * MS;

    standing_ask(model->standing, lo, hi);
    while (!standing_advance(model->standing) && port_now() < deadline_ns)
        (void)usleep(50);
    standing_take(model->standing, ret_result);
}

static void capture(struct model *model, struct standing_result *ret_result)
{
    capture_on(model, model->lo, model->hi, ret_result);
}

static void assert_running(const struct standing_result *result)
{
    if (result->how != STANDING_RUNNING)
        print_message("# not seen running: %s\n",
                      result->why == NULL ? "in a call" : result->why);
    assert_int_equal(result->how, STANDING_RUNNING);
}

// Captures until the thread sits in a certain system call.
static void capture_in(struct model *model, long call,
                       struct standing_result *ret_result)
{
    do {
        (void)usleep(1000);
        capture(model, ret_result);
    } while (ret_result->how != STANDING_IN_CALL || ret_result->call != call);
}

// ---- What was captured ----

enum { FRAMES = 64 };

// Whether the trace holds a place in [function, function + 4096), and its end.
static bool has_frame(const struct standing_result *result,
                      const void *function, enum unwind_end *ret_end)
{
    static struct cfi_cache *cache;
    uintptr_t start = (uintptr_t)function;
    struct unwind_result unwound;
    uintptr_t pcs[FRAMES];
    bool found = false;

    if (cache == NULL)
        cache = cfi_cache_new();
    assert_non_null(cache);
    cfi_cache_refresh(cache);
    int count = fp_search_unwind(cache, &result->regs, &result->memory, pcs,
                                 FRAMES, 8, &unwound);
    for (int i = 0; i < count; i++) {
        bool exact = i < 64 && (unwound.exact >> i & 1); // not returned to
        found = found || cfi_function(cache, pcs[i] - !exact) == start;
    }
    *ret_end = unwound.end;
    return found;
}

static void assert_whole(const struct standing_result *result,
                         const void *function)
{
    enum unwind_end end;

    assert_true(has_frame(result, function, &end));
    assert_int_equal(end, UNWIND_OUTERMOST);
    assert_true(result->memory.hi - result->memory.lo <= 64 << 10);
    assert_null(result->why);
}

// ---- In system calls ----

NOINLINE static void do_read(struct model *model)
{
    char byte;

    model->result = read(model->fd[0], &byte, 1);
    sink++;
}

static void test_read(void **state)
{
    struct standing_result result;
    struct model model;
    int fd_arg;

    (void)state;
    start(&model, do_read);
    capture_in(&model, SYS_read, &result);
    assert_int_equal(result.args[0], model.fd[0]);
    assert_int_equal(result.args[2], 1);
    assert_whole(&result, do_read);
    assert_string_equal(calls_name(result.call, &fd_arg), "read");
    assert_int_equal(fd_arg, 0);
    assert_int_equal(write(model.fd[1], "x", 1), 1);
    end(&model);
    assert_int_equal(model.result, 1);
}

// A frame pointer that is not known has to be found: the locals' size is not
// known when it is compiled.
NOINLINE static void read_into(struct model *model, size_t bytes)
{
    char *room = __builtin_alloca(bytes);

    model->result = read(model->fd[0], room, bytes);
    sink += (unsigned char)room[0];
}

// Leaves records of calls that are over where the next call's frame lies.
NOINLINE static unsigned litter(unsigned depth)
{
    char *room = __builtin_alloca(16 + depth % 2);

    room[0] = (char)depth;
    sink += (unsigned char)room[0];
    return depth == 0 ? 0 : litter(depth - 1) + 1;
}

NOINLINE static void do_read_into(struct model *model)
{
    sink += litter(40);
    read_into(model, 100 + sink % 2);
    sink++;
}

static void test_frame_pointer_is_found(void **state)
{
    struct standing_result result;
    enum unwind_end end_;
    struct model model;

    (void)state;
    start(&model, do_read_into);
    capture_in(&model, SYS_read, &result);
    assert_int_equal(result.regs.valid, (uint64_t)1 << CFI_SP);
    assert_whole(&result, do_read_into);
    assert_true(has_frame(&result, read_into, &end_));
    assert_false(has_frame(&result, litter, &end_));
    assert_int_equal(write(model.fd[1], "x", 1), 1);
    end(&model);
}

// ---- No call is disturbed ----

static const struct timespec NAP = {.tv_nsec = 150 * MS};

// A call has returned, by the end of its time if all is well.
static void finish(struct model *model)
{
    model->error = model->result == 0 ? 0 : errno;
    if (model->error == EAGAIN)
        model->result = 0;
    atomic_fetch_add(&model->turns, 1);
}

static void do_nanosleep(struct model *model)
{
    model->result = nanosleep(&NAP, NULL);
    finish(model);
}

static void do_poll(struct model *model)
{
    struct pollfd fd = {.fd = model->fd[0], .events = POLLIN};

    model->result = poll(&fd, 1, 150);
    finish(model);
}

static void do_select(struct model *model)
{
    struct timeval wait = {.tv_usec = 150000};

    model->result = select(0, NULL, NULL, NULL, &wait);
    finish(model);
}

static void do_epoll_wait(struct model *model)
{
    struct epoll_event event;
    int epoll = epoll_create1(0);

    model->result = epoll_wait(epoll, &event, 1, 150);
    finish(model);
    close(epoll);
}

static void do_recv(struct model *model)
{
    struct timeval wait = {.tv_usec = 150000};
    char byte;

    setsockopt(model->fd[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    model->result = recv(model->fd[0], &byte, 1, 0);
    finish(model);
}

static void do_semtimedop(struct model *model)
{
    int set = semget(IPC_PRIVATE, 1, 0600);
    struct sembuf take = {.sem_op = -1};

    model->result = semtimedop(set, &take, 1, &NAP);
    finish(model);
    semctl(set, 0, IPC_RMID);
}

static void do_sigtimedwait(struct model *model)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    model->result = sigtimedwait(&set, NULL, &NAP);
    finish(model);
}

// Captured again and again until after its end, it never sees EINTR.
static void watch(void (*act)(struct model *), const char *name)
{
    unsigned broken = 0;
    unsigned rounds = 3;
    unsigned looks = 0;

    for (unsigned i = 0; i < rounds; i++) {
        struct standing_result result;
        struct model model;
        start(&model, act);
        (void)usleep(20000); // for it to have entered the call
        while (!atomic_load(&model.turns)) {
            capture(&model, &result);
            looks += result.how == STANDING_IN_CALL;
            (void)usleep(50);
        }
        end(&model);
        if (model.result != 0)
            print_message("# %s: errno %d\n", name, model.error);
        broken += model.result != 0;
    }
    assert_int_equal(broken, 0);
    assert_true(looks > rounds * 10);
}

static void test_calls_are_not_disturbed(void **state)
{
    (void)state;
    watch(do_nanosleep, "nanosleep");
    watch(do_poll, "poll");
    watch(do_select, "select");
    watch(do_epoll_wait, "epoll_wait");
    watch(do_recv, "recv");
    watch(do_semtimedop, "semtimedop");
    watch(do_sigtimedwait, "sigtimedwait");
}

// ---- Running ----

NOINLINE static void do_spin(struct model *model)
{
    while (!atomic_load(&model->stop))
        atomic_fetch_add(&model->turns, 1);
    sink++;
}

static void start_spinning(struct model *model, void (*act)(struct model *))
{
    start(model, act);
    while (!atomic_load(&model->turns))
        (void)usleep(100);
}

static void test_running(void **state)
{
    struct model model;

    (void)state;
    start_spinning(&model, do_spin);
    for (int i = 0; i < 200; i++) {
        struct standing_result result;
        capture(&model, &result);
        assert_running(&result);
        assert_int_equal(result.call, -1);
        if (!UNDER_TSAN) // standing.c
            assert_whole(&result, do_spin);
    }
    end(&model);
}

// errno and floating point are as they were.
static void do_figures(struct model *model)
{
    volatile double sum = 0;
    double exact = 0;

    for (unsigned i = 0; !atomic_load(&model->stop); i++) {
        errno = 4711;
        double here = (double)i * 0.5;
        exact += here;
        sum += here;
        if (errno != 4711 || sum != exact)
            model->error = 1;
        atomic_fetch_add(&model->turns, 1);
    }
}

static void test_nothing_changes(void **state)
{
    struct model model;

    (void)state;
    start(&model, do_figures);
    for (int i = 0; i < 500; i++) {
        struct standing_result result;
        capture(&model, &result);
        assert_int_not_equal(result.how, STANDING_UNREACHABLE);
    }
    end(&model);
    assert_int_equal(model.error, 0);
    assert_true(model.turns > 0);
}

NOINLINE static unsigned go_deep(struct model *model, unsigned depth)
{
    volatile char room[1000];
    unsigned sum = 0;

    room[0] = (char)depth;
    __asm__ volatile("" : : "r"(room) : "memory"); // all of it is needed
    if (depth == 0)
        do_spin(model);
    else
        sum = go_deep(model, depth - 1);
    return sum + (unsigned char)room[0];
}

static void do_deep(struct model *model)
{
    sink += go_deep(model, 100);
}

// No more is copied than there is room for; the trace says where it ends.
static void test_deep(void **state)
{
    struct standing_result result;
    enum unwind_end end_;
    struct model model;

    (void)state;
    if (UNDER_TSAN)
        skip_because("handlers run late under ThreadSanitizer");
    start_spinning(&model, do_deep);
    capture(&model, &result);
    assert_running(&result);
    assert_true(result.memory.hi < model.hi);
    assert_true(has_frame(&result, do_spin, &end_));
    assert_int_equal(end_, UNWIND_OUTSIDE);
    end(&model);
}

// ---- Out of reach ----

static void do_block_signal(struct model *model)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGURG);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    atomic_fetch_add(&model->turns, 1);
    do_spin(model);
    sigset_t pending;
    assert_int_equal(sigpending(&pending), 0);
    model->error = sigismember(&pending, SIGURG);
}

// A thread that blocks the signal is not sent one, and costs no time.
static void test_blocked(void **state)
{
    struct standing_result result;
    struct model model;

    (void)state;
    start(&model, do_block_signal);
    while (!atomic_load(&model.turns))
        (void)usleep(100);
    for (int i = 0; i < 20; i++) {
        capture(&model, &result);
        assert_int_equal(result.how, STANDING_UNREACHABLE);
        assert_non_null(strstr(result.why, "blocks SIGURG"));
    }
    end(&model);
    assert_int_equal(model.error, 0);
}

static atomic_uint strangers;

static void count_stranger(int number)
{
    (void)number;
    atomic_fetch_add(&strangers, 1);
}

// With a handler of the program's in place of ours none is sent.
static void test_handler_taken(void **state)
{
    struct sigaction action = {.sa_handler = count_stranger};
    struct standing_result result;
    struct sigaction ours;
    struct model model;

    (void)state;
    start_spinning(&model, do_spin);
    capture(&model, &result); // from then on ours is there
    assert_int_equal(sigaction(SIGURG, &action, &ours), 0);
    capture(&model, &result);
    assert_int_equal(result.how, STANDING_UNREACHABLE);
    assert_non_null(strstr(result.why, "another handler"));
    assert_int_equal(sigaction(SIGURG, &ours, NULL), 0);
    capture(&model, &result);
    assert_running(&result);
    end(&model);
    assert_int_equal(strangers, 0);
}

static atomic_uint earlier;

static void count_earlier(int number, siginfo_t *info, void *context)
{
    (void)context;
    (void)number;
    atomic_fetch_add(&earlier, info->si_signo == SIGURG);
}

// What others send goes to the handler that was there first.
static void test_chained(void **state)
{
    struct standing_result result;
    struct model model;

    (void)state;
    unsigned before = atomic_load(&earlier);
    start_spinning(&model, do_spin);
    capture(&model, &result);
    assert_int_equal(atomic_load(&earlier), before);
    assert_int_equal(pthread_kill(model.thread, SIGURG), 0);
    while (atomic_load(&earlier) == before)
        (void)usleep(100);
    capture(&model, &result);
    assert_running(&result);
    end(&model);
    assert_int_equal(atomic_load(&earlier), before + 1);
}

// Asked with a stack that it is not on.
static void test_elsewhere(void **state)
{
    struct standing_result result;
    uint64_t other[64];
    struct model model;

    (void)state;
    for (int i = 0; i < 2; i++) {
        start(&model, i == 0 ? do_spin : do_read);
        capture_on(&model, (uintptr_t)other, (uintptr_t)(other + 64), &result);
        assert_int_equal(result.how, STANDING_UNREACHABLE);
        assert_int_equal(write(model.fd[1], "x", 1), 1);
        end(&model);
    }
}

// The asker and the asked share one processor: so whoever has just sent the
// signal has not been answered.
static void share_processor(struct model *model, cpu_set_t *ret_before)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    assert_int_equal(sched_getaffinity(0, sizeof *ret_before, ret_before), 0);
    for (int i = 0; CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, ret_before))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(pthread_setaffinity_np(model->thread, sizeof one, &one),
                     0);
}

// A request that is withdrawn after so many steps, perhaps while the signal is
// on its way.
static void give_up(struct model *model, int steps,
                    struct standing_result *ret_result)
{
    standing_ask(model->standing, model->lo, model->hi);
    for (int i = 0; i < steps && !standing_advance(model->standing); i++)
        if (i + 1 < steps)
            (void)usleep(50);
    standing_take(model->standing, ret_result);
}

// Whether the handler comes first or not, the result is whole or none, and the
// next capture is whole.
static void test_late(void **state)
{
    unsigned late = 0;
    struct model model;
    cpu_set_t before;

    (void)state;
    start_spinning(&model, do_spin);
    share_processor(&model, &before);
    for (int i = 0; i < 200; i++) {
        struct standing_result result;
        give_up(&model, 1 + i % 5, &result);
        if (result.how == STANDING_UNREACHABLE)
            late +=
                strcmp(result.why, "it did not answer a signal in time") == 0;
        else if (!UNDER_TSAN) // standing.c
            assert_whole(&result, do_spin);
        capture(&model, &result);
        assert_running(&result);
        if (!UNDER_TSAN)
            assert_whole(&result, do_spin);
    }
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    end(&model);
    assert_true(late > 0);
}

// ---- On the move ----

NOINLINE static void do_move(struct model *model)
{
    struct timespec nap = {.tv_nsec = 1000};
    char byte = 'x';

    while (!atomic_load(&model->stop)) {
        assert_int_equal(write(model->fd[1], &byte, 1), 1);
        assert_int_equal(read(model->fd[0], &byte, 1), 1);
        model->error += nanosleep(&nap, NULL) != 0;
        for (unsigned i = 0; i < 500000; i++)
            sink++;
        atomic_fetch_add(&model->turns, 1);
    }
}

// Calls begin and end while they are read, and while a signal is on its way:
// each capture is whole, and no call is cut short.
static void test_on_the_move(void **state)
{
    unsigned seen[4] = {0};
    struct model model;

    (void)state;
    start(&model, do_move);
    for (int i = 0; i < 500 || seen[STANDING_RUNNING] == 0; i++) {
        struct standing_result result;
        enum unwind_end end_;
        capture(&model, &result);
        seen[result.how]++;
        if (result.how == STANDING_UNREACHABLE || UNDER_TSAN)
            continue;
        (void)has_frame(&result, do_move, &end_);
        assert_int_equal(end_, UNWIND_OUTERMOST);
    }
    end(&model);
    print_message("# in calls %u, held %u, running %u, not had %u; of %u naps "
                  "%d were broken\n",
                  seen[0], seen[1], seen[2], seen[3], atomic_load(&model.turns),
                  model.error);
    assert_true(seen[STANDING_IN_CALL] > 0);
    assert_int_equal(seen[STANDING_UNREACHABLE], 0);
#if defined(__x86_64__) // elsewhere kernels may cut one short: standing.c
    assert_int_equal(model.error, 0);
#endif
}

// ---- From outside alone ----

struct bystander {
    pthread_t thread;
    atomic_int tid;
    atomic_uint stop;
    int fd[2];
};

// Called by name, so that its frame is found without optimisation too: what a
// thread's start leaves on the stack may look like another caller.
NOINLINE static void sit_in_read(struct bystander *bystander)
{
    char byte;

    assert_int_equal(read(bystander->fd[0], &byte, 1), 1);
    sink++;
}

static void *stand_by(void *arg)
{
    struct bystander *bystander = arg;

    atomic_store(&bystander->tid, port_thread_id());
    sit_in_read(bystander);
    while (!atomic_load(&bystander->stop))
        sink++;
    sink++;
    return NULL;
}

// A thread with nothing set aside: asleep it is read, running it is let be, and
// when it has ended nothing happens.
static void test_read_outside(void **state)
{
    struct standing *reader = standing_reader_new();
    struct bystander bystander = {.tid = 0};
    struct standing_result result;

    (void)state;
    assert_non_null(reader);
    assert_int_equal(pipe(bystander.fd), 0);
    assert_int_equal(
        pthread_create(&bystander.thread, NULL, stand_by, &bystander), 0);
    do
        standing_read(reader, atomic_load(&bystander.tid), &result);
    while (result.how != STANDING_IN_CALL || result.call != SYS_read);
    assert_int_equal(result.args[0], bystander.fd[0]);
    assert_whole(&result, sit_in_read);
    assert_int_equal(write(bystander.fd[1], "x", 1), 1);
    do
        standing_read(reader, atomic_load(&bystander.tid), &result);
    while (result.how == STANDING_IN_CALL);
    assert_int_equal(result.how, STANDING_UNREACHABLE);
    assert_string_equal(result.why, "it runs");
    atomic_store(&bystander.stop, 1);
    assert_int_equal(pthread_join(bystander.thread, NULL), 0);
    standing_read(reader, atomic_load(&bystander.tid), &result);
    assert_int_equal(result.how, STANDING_UNREACHABLE);
    free(reader);
    close(bystander.fd[0]);
    close(bystander.fd[1]);
}

// ---- Which signal ----

static void test_signals(void **state)
{
    (void)state;
    assert_true(standing_can_use(SIGURG));
    assert_true(standing_can_use(SIGUSR1));
    assert_true(standing_can_use(SIGPROF));
    assert_true(standing_can_use(SIGRTMIN));
    assert_true(standing_can_use(SIGRTMAX));
    assert_false(standing_can_use(-1));
    assert_false(standing_can_use(0));
    assert_false(standing_can_use(SIGKILL));
    assert_false(standing_can_use(SIGSTOP));
    assert_false(standing_can_use(SIGCONT));
    assert_false(standing_can_use(SIGTSTP));
    assert_false(standing_can_use(SIGSEGV));
    assert_false(standing_can_use(SIGABRT));
    assert_false(standing_can_use(SIGRTMIN - 1)); // the C library's
    assert_false(standing_can_use(32));
    assert_false(standing_can_use(SIGRTMAX + 1));
}

// ---- Names ----

static void test_names(void **state)
{
    int fd_arg;

    (void)state;
    assert_string_equal(calls_name(SYS_futex, &fd_arg), "futex");
    assert_int_equal(fd_arg, -1);
    assert_string_equal(calls_name(SYS_recvfrom, &fd_arg), "recvfrom");
    assert_int_equal(fd_arg, 0);
    assert_null(calls_name(-1, &fd_arg));
    assert_int_equal(fd_arg, -1);
}

int main(void)
{
    struct sigaction first = {.sa_sigaction = count_earlier,
                              .sa_flags = SA_SIGINFO};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_frame_pointer_is_found),
        cmocka_unit_test(test_calls_are_not_disturbed),
        cmocka_unit_test(test_running),
        cmocka_unit_test(test_nothing_changes),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_handler_taken),
        cmocka_unit_test(test_chained),
        cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_on_the_move),
        cmocka_unit_test(test_read_outside),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_names),
    };

    (void)sigaction(SIGURG, &first, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
