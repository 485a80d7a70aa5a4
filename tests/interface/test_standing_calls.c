// test_standing_calls.c -- Tasks that keep their worker in a system call: what
// dumps say of it, and that no call ends early, or otherwise, because of them.
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "support/keeper.h"
#include "support/skip.h"

#define TIME_OUT_MS 300
#define TIME_OUT_NS (TIME_OUT_MS * MS)

static const struct timespec time_out = {.tv_nsec = TIME_OUT_NS};

// A call is entered; it has returned.
static void enter(struct keeper *keeper)
{
    keeper->began_ns = weft_time_now();
    atomic_fetch_add(&keeper->turns, 1);
}

static void leave(struct keeper *keeper, long result)
{
    keeper->result = result;
    keeper->error = result < 0 ? errno : 0;
    keeper->ended_ns = weft_time_now();
    keeper->released = atomic_load(&keeper->stop);
    sink++;
}

// ---- Calls that something ends ----

NOINLINE static void *in_read(void *arg)
{
    struct keeper *keeper = arg;
    char byte;

    enter(keeper);
    leave(keeper, read(keeper->fd[0], &byte, 1));
    return arg;
}

NOINLINE static void *in_recv(void *arg)
{
    struct keeper *keeper = arg;
    struct timeval wait = {.tv_sec = 100};
    char byte;

    setsockopt(keeper->fd[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    enter(keeper);
    leave(keeper, recv(keeper->fd[0], &byte, 1, 0));
    return arg;
}

static void send_byte(struct keeper *keeper)
{
    expect_is(write(keeper->fd[1], "x", 1), 1);
}

NOINLINE static void *in_write(void *arg)
{
    static char much[4 << 20]; // more than the sockets take
    struct keeper *keeper = arg;

    enter(keeper);
    leave(keeper, write(keeper->fd[0], much, sizeof much));
    return arg;
}

static void drain(struct keeper *keeper)
{
    static char room[1 << 16];

    for (size_t left = 4 << 20; left > 0;) {
        ssize_t got = read(keeper->fd[1], room, sizeof room);
        expect(got > 0);
        left -= (size_t)got;
    }
}

NOINLINE static void *in_semop(void *arg)
{
    struct keeper *keeper = arg;
    struct sembuf take_one = {.sem_op = -1};

    keeper->extra = semget(IPC_PRIVATE, 1, 0600);
    expect(keeper->extra >= 0);
    enter(keeper);
    leave(keeper, semop(keeper->extra, &take_one, 1));
    semctl(keeper->extra, 0, IPC_RMID);
    return arg;
}

static void post(struct keeper *keeper)
{
    struct sembuf give_one = {.sem_op = 1};

    expect_is(semop(keeper->extra, &give_one, 1), 0);
}

static struct sockaddr_un address_of(const struct keeper *keeper,
                                     socklen_t *ret_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length =
        snprintf(address.sun_path + 1, sizeof address.sun_path - 1,
                 "weft-standing-%d-%p", (int)getpid(), (const void *)keeper);

    *ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                            (size_t)length);
    return address;
}

static int listen_there(const struct keeper *keeper)
{
    socklen_t size;
    struct sockaddr_un address = address_of(keeper, &size);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    expect(fd >= 0);
    expect_is(bind(fd, (struct sockaddr *)&address, size), 0);
    expect_is(listen(fd, 0), 0);
    return fd;
}

static int connect_there(const struct keeper *keeper)
{
    socklen_t size;
    struct sockaddr_un address = address_of(keeper, &size);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    expect(fd >= 0);
    expect_is(connect(fd, (struct sockaddr *)&address, size), 0);
    return fd;
}

NOINLINE static void *in_accept(void *arg)
{
    struct keeper *keeper = arg;

    keeper->extra = listen_there(keeper);
    enter(keeper);
    int fd = accept(keeper->extra, NULL, NULL);
    leave(keeper, fd < 0 ? fd : 1);
    close(fd);
    close(keeper->extra);
    return arg;
}

static void call_up(struct keeper *keeper)
{
    close(connect_there(keeper));
}

// The listener's queue is full, so the second one has to wait.
NOINLINE static void *in_connect(void *arg)
{
    struct keeper *keeper = arg;
    socklen_t size;
    struct sockaddr_un address = address_of(keeper, &size);
    int second = socket(AF_UNIX, SOCK_STREAM, 0);

    keeper->extra = listen_there(keeper);
    int first = connect_there(keeper);
    enter(keeper);
    leave(keeper, connect(second, (struct sockaddr *)&address, size));
    close(first);
    close(second);
    close(keeper->extra);
    return arg;
}

static void answer(struct keeper *keeper)
{
    int fd = accept(keeper->extra, NULL, NULL);

    expect(fd >= 0);
    close(fd);
}

NOINLINE static void *in_wait(void *arg)
{
    struct keeper *keeper = arg;

    keeper->extra = fork();
    if (keeper->extra == 0)
        for (;;)
            pause();
    expect(keeper->extra > 0);
    enter(keeper);
    leave(keeper, waitpid(keeper->extra, NULL, 0) == keeper->extra);
    return arg;
}

static void end_child(struct keeper *keeper)
{
    expect_is(kill(keeper->extra, SIGKILL), 0);
}

NOINLINE static void *in_msgrcv(void *arg)
{
    struct keeper *keeper = arg;
    struct {
        long type;
        char text[8];
    } message;

    keeper->extra = msgget(IPC_PRIVATE, 0600);
    expect(keeper->extra >= 0);
    enter(keeper);
    leave(keeper, msgrcv(keeper->extra, &message, sizeof message.text, 0, 0));
    msgctl(keeper->extra, IPC_RMID, NULL);
    return arg;
}

static void send_message(struct keeper *keeper)
{
    struct {
        long type;
        char text[8];
    } message = {.type = 1};

    expect_is(msgsnd(keeper->extra, &message, 1, 0), 0);
}

// Two files open on what is then one lock.
static int open_lock(void)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);

    expect(fd >= 0);
    return fd;
}

static int open_again(int fd)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int other = open(path, O_RDWR);
    expect(other >= 0);
    return other;
}

NOINLINE static void *in_flock(void *arg)
{
    struct keeper *keeper = arg;

    keeper->extra = open_lock();
    int fd = open_again(keeper->extra);
    expect_is(flock(keeper->extra, LOCK_EX), 0);
    enter(keeper);
    leave(keeper, flock(fd, LOCK_EX));
    close(fd);
    close(keeper->extra);
    return arg;
}

static void unlock_file(struct keeper *keeper)
{
    expect_is(flock(keeper->extra, LOCK_UN), 0);
}

NOINLINE static void *in_fcntl(void *arg)
{
    struct keeper *keeper = arg;
    struct flock lock = {.l_type = F_WRLCK};

    keeper->extra = open_lock();
    int fd = open_again(keeper->extra);
    expect_is(fcntl(keeper->extra, F_OFD_SETLK, &lock), 0);
    enter(keeper);
    leave(keeper, fcntl(fd, F_OFD_SETLKW, &lock));
    close(fd);
    close(keeper->extra);
    return arg;
}

static void unlock_record(struct keeper *keeper)
{
    struct flock lock = {.l_type = F_UNLCK};

    expect_is(fcntl(keeper->extra, F_OFD_SETLK, &lock), 0);
}

NOINLINE static void *in_mq_receive(void *arg)
{
    struct keeper *keeper = arg;
    struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8};
    char name[64];
    char message[8];

    snprintf(name, sizeof name, "/weft-standing-%d", (int)getpid());
    keeper->extra = mq_open(name, O_RDWR | O_CREAT, 0600, &attributes);
    expect(keeper->extra >= 0);
    (void)mq_unlink(name);
    enter(keeper);
    leave(keeper, mq_receive(keeper->extra, message, sizeof message, NULL));
    (void)mq_close(keeper->extra);
    return arg;
}

static void send_to_queue(struct keeper *keeper)
{
    expect_is(mq_send(keeper->extra, "x", 1, 0), 0);
}

// ---- Calls that end when their time is up ----

NOINLINE static void *in_recv_timed(void *arg)
{
    struct keeper *keeper = arg;
    struct timeval wait = {.tv_usec = TIME_OUT_MS * 1000};
    char byte;

    setsockopt(keeper->fd[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    enter(keeper);
    leave(keeper, recv(keeper->fd[0], &byte, 1, 0));
    return arg;
}

NOINLINE static void *in_nanosleep(void *arg)
{
    struct keeper *keeper = arg;

    enter(keeper);
    leave(keeper, nanosleep(&time_out, NULL));
    return arg;
}

NOINLINE static void *in_clock_nanosleep(void *arg)
{
    struct keeper *keeper = arg;
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TIME_OUT_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    enter(keeper);
    leave(keeper,
          -clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
    return arg;
}

NOINLINE static void *in_poll(void *arg)
{
    struct keeper *keeper = arg;
    struct pollfd fd = {.fd = keeper->fd[0], .events = POLLIN};

    enter(keeper);
    leave(keeper, poll(&fd, 1, TIME_OUT_MS));
    return arg;
}

NOINLINE static void *in_ppoll(void *arg)
{
    struct keeper *keeper = arg;
    struct pollfd fd = {.fd = keeper->fd[0], .events = POLLIN};

    enter(keeper);
    leave(keeper, ppoll(&fd, 1, &time_out, NULL));
    return arg;
}

NOINLINE static void *in_select(void *arg)
{
    struct keeper *keeper = arg;
    struct timeval wait = {.tv_usec = TIME_OUT_MS * 1000};
    fd_set set;

    FD_ZERO(&set);
    FD_SET(keeper->fd[0], &set);
    enter(keeper);
    leave(keeper, select(keeper->fd[0] + 1, &set, NULL, NULL, &wait));
    return arg;
}

NOINLINE static void *in_epoll_wait(void *arg)
{
    struct keeper *keeper = arg;
    struct epoll_event event = {.events = EPOLLIN};

    keeper->extra = epoll_create1(0);
    expect_is(epoll_ctl(keeper->extra, EPOLL_CTL_ADD, keeper->fd[0], &event),
              0);
    enter(keeper);
    leave(keeper, epoll_wait(keeper->extra, &event, 1, TIME_OUT_MS));
    close(keeper->extra);
    return arg;
}

NOINLINE static void *in_semtimedop(void *arg)
{
    struct keeper *keeper = arg;
    struct sembuf take_one = {.sem_op = -1};
    int set = semget(IPC_PRIVATE, 1, 0600);

    expect(set >= 0);
    enter(keeper);
    leave(keeper, semtimedop(set, &take_one, 1, &time_out));
    semctl(set, 0, IPC_RMID);
    return arg;
}

NOINLINE static void *in_futex(void *arg)
{
    struct keeper *keeper = arg;
    uint32_t word = 0;

    enter(keeper);
    leave(keeper,
          syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &time_out, NULL, 0));
    return arg;
}

NOINLINE static void *in_sigtimedwait(void *arg)
{
    struct keeper *keeper = arg;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    enter(keeper);
    leave(keeper, sigtimedwait(&set, NULL, &time_out));
    return arg;
}

static int open_ring(void)
{
    struct io_uring_params params = {0};

    return (int)syscall(SYS_io_uring_setup, 4, &params);
}

// Waits for a completion, with nothing submitted.
NOINLINE static void *in_io_uring_enter(void *arg)
{
    struct keeper *keeper = arg;
    struct __kernel_timespec wait = {.tv_nsec = TIME_OUT_NS};
    struct io_uring_getevents_arg more = {.ts = (uintptr_t)&wait};

    keeper->extra = open_ring();
    expect(keeper->extra >= 0);
    enter(keeper);
    leave(keeper, syscall(SYS_io_uring_enter, keeper->extra, 0, 1,
                          IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &more,
                          sizeof more));
    close(keeper->extra);
    return arg;
}

// ---- What they are, and how they end ----

#ifdef SYS_epoll_wait
#define POLL SYS_poll
#define SELECT SYS_select
#define EPOLL SYS_epoll_wait
#else
#define POLL SYS_ppoll
#define SELECT SYS_pselect6
#define EPOLL SYS_epoll_pwait
#endif

enum fd { NO_FD, FIRST, EXTRA, SOME };

static const struct call {
    weft_task_fn *fn;
    const char *function;
    long numbers[2];
    const char *names[2];
    enum fd fd;
    void (*end)(struct keeper *); // NULL: its time is up
    long result;
    int error;
} calls[] = {
    {in_read, "in_read", {SYS_read}, {"read"}, FIRST, send_byte, 1, 0},
    {in_recv, "in_recv", {SYS_recvfrom}, {"recvfrom"}, FIRST, send_byte, 1, 0},
    {in_write, "in_write", {SYS_write}, {"write"}, FIRST, drain, 4 << 20, 0},
    {in_semop,
     "in_semop",
     {SYS_semop, SYS_semtimedop},
     {"semop", "semtimedop"},
     NO_FD,
     post,
     0,
     0},
    {in_accept, "in_accept", {SYS_accept}, {"accept"}, EXTRA, call_up, 1, 0},
    {in_connect, "in_connect", {SYS_connect}, {"connect"}, SOME, answer, 0, 0},
    {in_wait, "in_wait", {SYS_wait4}, {"wait4"}, NO_FD, end_child, 1, 0},
    {in_msgrcv,
     "in_msgrcv",
     {SYS_msgrcv},
     {"msgrcv"},
     NO_FD,
     send_message,
     1,
     0},
    {in_flock, "in_flock", {SYS_flock}, {"flock"}, SOME, unlock_file, 0, 0},
    {in_fcntl, "in_fcntl", {SYS_fcntl}, {"fcntl"}, SOME, unlock_record, 0, 0},
    {in_mq_receive,
     "in_mq_receive",
     {SYS_mq_timedreceive},
     {"mq_timedreceive"},
     EXTRA,
     send_to_queue,
     1,
     0},
    {in_recv_timed,
     "in_recv_timed",
     {SYS_recvfrom},
     {"recvfrom"},
     FIRST,
     NULL,
     -1,
     EAGAIN},
    {in_nanosleep,
     "in_nanosleep",
     {SYS_clock_nanosleep, SYS_nanosleep},
     {"clock_nanosleep", "nanosleep"},
     NO_FD,
     NULL,
     0,
     0},
    {in_clock_nanosleep,
     "in_clock_nanosleep",
     {SYS_clock_nanosleep},
     {"clock_nanosleep"},
     NO_FD,
     NULL,
     0,
     0},
    {in_poll,
     "in_poll",
     {POLL, SYS_ppoll},
     {"poll", "ppoll"},
     NO_FD,
     NULL,
     0,
     0},
    {in_ppoll, "in_ppoll", {SYS_ppoll}, {"ppoll"}, NO_FD, NULL, 0, 0},
    {in_select,
     "in_select",
     {SELECT, SYS_pselect6},
     {"select", "pselect6"},
     NO_FD,
     NULL,
     0,
     0},
    {in_epoll_wait,
     "in_epoll_wait",
     {EPOLL, SYS_epoll_pwait},
     {"epoll_wait", "epoll_pwait"},
     EXTRA,
     NULL,
     0,
     0},
    {in_semtimedop,
     "in_semtimedop",
     {SYS_semtimedop},
     {"semtimedop"},
     NO_FD,
     NULL,
     -1,
     EAGAIN},
    {in_futex, "in_futex", {SYS_futex}, {"futex"}, NO_FD, NULL, -1, ETIMEDOUT},
    {in_sigtimedwait,
     "in_sigtimedwait",
     {SYS_rt_sigtimedwait},
     {"rt_sigtimedwait"},
     NO_FD,
     NULL,
     -1,
     EAGAIN},
    {in_io_uring_enter,
     "in_io_uring_enter",
     {SYS_io_uring_enter},
     {"io_uring_enter"},
     EXTRA,
     NULL,
     -1,
     ETIME},
};

// ---- What dumps say ----

static int fd_of(const struct call *call, const struct keeper *keeper)
{
    return call->fd == FIRST ? keeper->fd[0] : keeper->extra;
}

static void check_fd_name(const weft_dump_worker *worker)
{
    char path[64];
    char target[256];

    snprintf(path, sizeof path, "/proc/self/fd/%d", worker->syscall_fd);
    ssize_t size = readlink(path, target, sizeof target - 1);
    expect(size > 0);
    target[size] = '\0';
    expect_text(worker->syscall_fd_name, target);
}

static bool is_in(const weft_dump_worker *worker, const struct call *call)
{
    return worker->in_syscall &&
           (worker->syscall == call->numbers[0] ||
            (call->names[1] != NULL && worker->syscall == call->numbers[1]));
}

// False: the task has not entered its call yet, or has left it.
static bool check_dump(const weft_dump *dump, const struct call *call,
                       const struct keeper *keeper)
{
    weft_dump_worker worker = worker_at(dump, 0);

    if (worker.state != WEFT_WORKER_MISSING || !is_in(&worker, call))
        return false;
    (void)check_kept(dump, keeper->task);
    check_stack(dump, keeper->task, call->function);
    expect((worker.syscall_fd >= 0) == (call->fd != NO_FD));
    if (call->fd == FIRST || call->fd == EXTRA)
        expect_is(worker.syscall_fd, fd_of(call, keeper));
    expect(worker.syscall_ns >= 0 && worker.syscall_ns <= worker.busy_ns);
    return true;
}

static void check_words(const weft_dump *dump, const struct call *call)
{
    weft_dump_worker worker = worker_at(dump, 0);
    const char *name = call->names[worker.syscall != call->numbers[0]];
    char *text = text_of(dump, false);
    char *json = text_of(dump, true);
    char wanted[256];

    if (worker.syscall_fd < 0)
        snprintf(wanted, sizeof wanted, "%s for ", name);
    else
        snprintf(wanted, sizeof wanted, "%s(fd %d = ", name, worker.syscall_fd);
    expect_in(text, wanted);
    expect_in(text, ", in system call ");
    expect_in(text, " inside ");
    expect_in(text, " now in ");
    snprintf(wanted, sizeof wanted, "\"name\": \"%s\"", name);
    expect_in(json, wanted);
    expect_in(json, "\"fd_name\": ");
    free(text);
    free(json);
}

// Dumps until one tells of the call, and for how long it lasts.
static void watch_until_known(const struct call *call,
                              const struct keeper *keeper)
{
    bool known = false;

    while (!known) {
        weft_dump *dump = take(keeper->runtime);
        weft_dump_worker worker = worker_at(dump, 0);
        known = check_dump(dump, call, keeper) && worker.syscall_ns > 0;
        if (known && call->fd != NO_FD)
            check_fd_name(&worker);
        if (known)
            check_words(dump, call);
        weft_dump_free(dump);
    }
}

// Dumps until the task has ended; how often it was met in its call.
static unsigned watch_to_the_end(const struct call *call,
                                 const struct keeper *keeper)
{
    weft_dump_task task;
    unsigned met = 0;
    bool ended = false;

    while (!ended) {
        weft_dump *dump = take(keeper->runtime);
        met += check_dump(dump, call, keeper);
        ended = times_in(dump, keeper->task, &task) == 1 &&
                task.state == WEFT_STATE_DONE;
        weft_dump_free(dump);
    }
    return met;
}

static void check_end(const struct call *call, const struct keeper *keeper)
{
    if (keeper->result != call->result || keeper->error != call->error)
        fprintf(stderr, "%s\n", call->function);
    expect_is(keeper->result, call->result);
    expect_is(keeper->error, call->error);
    if (call->end != NULL)
        expect(keeper->released);
    else
        expect(keeper->ended_ns - keeper->began_ns >= TIME_OUT_NS);
}

// How often it was met in its call.
static unsigned watch_once(const struct call *call)
{
    struct keeper keeper;
    unsigned met = 0;

    keep(&keeper, call->fn);
    if (call->end != NULL) {
        watch_until_known(call, &keeper);
        while (met < scaled(10)) {
            weft_dump *dump = take(keeper.runtime);
            met += check_dump(dump, call, &keeper);
            weft_dump_free(dump);
        }
        atomic_store(&keeper.stop, true);
        call->end(&keeper);
    }
    met += watch_to_the_end(call, &keeper);
    release(&keeper);
    check_end(call, &keeper);
    return met;
}

// On a busy machine a call may end before it has been looked at.
static void watch(const struct call *call)
{
    for (unsigned met = 0; met < 3;)
        met += watch_once(call);
}

static void test_calls_that_something_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i].end != NULL)
            watch(&calls[i]);
}

static void test_calls_with_a_time_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i].end == NULL && calls[i].fn != in_io_uring_enter)
            watch(&calls[i]);
}

static void test_io_uring(void **state)
{
    int ring = open_ring();

    (void)state;
    if (ring < 0)
        skip_because("io_uring is not to be had here");
    close(ring);
    watch(&calls[sizeof calls / sizeof *calls - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_that_something_ends),
        cmocka_unit_test(test_calls_with_a_time_out),
        cmocka_unit_test(test_io_uring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
