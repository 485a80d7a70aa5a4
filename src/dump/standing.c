// standing.c -- Captures a thread that does not come, where it stands.
//
// The kernel is asked first: /proc/self/task/TID/syscall says whether the
// thread sleeps in a system call, in which, and with what pc and sp. Its stack
// does not move then; so the bytes are copied and the file read again, and
// what was copied is good if both readings are equal. (Had it left the call
// and come back to the very same one, the frames above would be the same.)
//
// Only a thread found running is sent a signal, whose handler copies registers
// and bytes into memory set aside: SIGURG unless the program chooses another,
// because one that does not ask for it never sees it, and nothing happens if it
// comes unasked. What comes from others goes to the handler that was there
// before. If the program has put another in its place, none is sent; nor to a
// thread that blocks it, where it would stay pending.
//
// A signal must not meet the thread in a call: even with SA_RESTART nanosleep,
// poll, select, epoll_wait, recv with a time-out, semop and io_uring_enter
// return EINTR. However quickly it follows the look, the thread may have
// entered a call in between. So it is not sent, but left to a timer on the
// thread's own processor time, armed to go off at once. The kernel looks at
// such timers in the tick of the processor that the thread runs on, and puts
// the signal off to the thread's next return to user code (since Linux 5.10 on
// x86-64: CONFIG_POSIX_CPU_TIMERS_TASK_WORK). It never wakes one that has gone
// to sleep: a call in which the tick comes ends by itself, and the handler runs
// after it. Price: up to a tick, 4 ms with most kernels. A thread that is asked
// is looked at all the same, and if it has gone to sleep in a call, the timer
// is taken back and it is read there.
//
// Naps cut short per 1,000 interruptions of a task that works and naps in turn
// (./dev bench broken-naps): by a signal right after the look 3 to 44; by the
// timer 0, nor one in 3,000 interruptions and 230,000 naps of a longer run.
// What is left: a kernel without that option sends the signal in the tick
// itself; if that comes in the microsecond in which the thread enters a call,
// the call is cut short.
//
// Under ThreadSanitizer handlers of asynchronous signals run late, in the
// thread's next call of its run-time: the bytes are then not those of the
// registers, and the trace is short or wrong, but never more than that.
//
//   S1  word: IDLE -> ASKED by the asker; ASKED -> WRITING by the handler or
//       ASKED -> IDLE by the asker, by CAS: so exactly one of a late handler
//       and a time-out wins, and a handler that lost writes nothing. WRITING
//       -> DONE by the handler. IDLE and DONE: the rest is the asker's;
//       WRITING: the handler's, even if nobody waits for it any more.
//   P1  The asker stores lo and hi, then ASKED (release) -> the handler's CAS
//       (acquire). Without it, it could copy by the bounds of another task.
//   P2  The handler stores what it captured, then DONE (release) -> the asker
//       (acquire).
//
// Rejected: a signal for all (it breaks waiting calls); going back to the call
// in the handler (the saved registers no longer tell which it was); ptrace by a
// child (it breaks fewer, but needs a process); perf events (often forbidden);
// unwinding in the handler (the loader's lock).
#include "dump/standing.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/panic.h"
#include "dump/capture.h"
#include "port/port.h"

enum {
    BYTES_MAX = 64 << 10, // of a stack, from its innermost frame
    READS_MAX = 4,
    SIGNALS = 65,
#if defined(__x86_64__)
    RED_ZONE = 128, // unwind.h
#else
    RED_ZONE = 0,
#endif
};

static const int64_t GRACE_NS = 20000000;
// Of a thread's own time: longer than it takes to leave a handler, in a virtual
// machine that is kept waiting, too.
static const int64_t HANDLER_NS = 10000000;

enum word { IDLE, ASKED, WRITING, DONE };

struct standing {
    atomic_u32 word;               // enum word: S1
    int tid;                       // written before it is shared
    int number;                    // the signal's; the same
    char blocks[64];               // what to say of it; the same
    int fd;                        // the asker's: the thread's `syscall`, or -1
    bool blocked;                  // the asker's: so it was seen last, and
    int64_t blocked_cpu_ns;        // since it had used so much
    bool stale;                    // the asker's: see standing_ask
    bool reader;                   // of others, whose stacks may go away
    bool armed;                    // the asker's: `alarm`
    struct port_alarm alarm;       //
    int64_t cpu_ns;                // the asker's: used when it was armed
    uintptr_t lo;                  // P1
    uintptr_t hi;                  //
    struct standing_result result; // P2
    uint64_t bytes[BYTES_MAX / sizeof(uint64_t)];
};

PORT_THREAD_VARIABLE(struct standing *, mine);

// ---- Copying ----

#if defined(__clang__)
#define UNCHECKED __attribute__((no_sanitize("address", "thread", "memory")))
#else
#define UNCHECKED __attribute__((no_sanitize_address, no_sanitize_thread))
#endif

// Another thread's locals, which the kernel may be filling; or our own, with
// whatever sanitizers have put between them.
UNCHECKED static void copy_words(uint64_t *to, uintptr_t from, size_t bytes)
{
    const volatile uint64_t *source = (const volatile uint64_t *)from;

    for (size_t i = 0; i < bytes / sizeof *to; i++)
        to[i] = source[i];
}

// The same by the kernel, to where memory ends; how many were copied.
static size_t copy_by_kernel(uint64_t *to, uintptr_t from, size_t bytes)
{
    struct iovec local = {.iov_base = to, .iov_len = bytes};
    struct iovec remote = {.iov_base = (void *)from, .iov_len = bytes};
    ssize_t got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

    return got < 0 ? 0 : (size_t)got & ~(sizeof *to - 1);
}

static bool is_inside(const struct standing *s, uintptr_t sp)
{
    return sp >= s->lo && sp < s->hi;
}

// The live bytes of a stack whose sp is inside.
static void copy_stack(struct standing *s, uintptr_t sp)
{
    uintptr_t lo = sp - s->lo > RED_ZONE ? sp - RED_ZONE : s->lo;
    uintptr_t hi = s->hi;

    lo &= ~(uintptr_t)(sizeof *s->bytes - 1);
    if (hi - lo > BYTES_MAX)
        hi = lo + BYTES_MAX;
    if (s->reader)
        hi = lo + copy_by_kernel(s->bytes, lo, hi - lo);
    else
        copy_words(s->bytes, lo, hi - lo);
    s->result.memory =
        (struct unwind_memory){.lo = lo, .hi = hi, .copy = s->bytes};
}

static void refuse(struct standing_result *ret_result, const char *why)
{
    *ret_result = (struct standing_result){
        .how = STANDING_UNREACHABLE, .why = why, .call = -1};
}

static void fail(struct standing *s, const char *why)
{
    refuse(&s->result, why);
}

static const char ELSEWHERE[] = "it was not on its task's stack";

// ---- In the handler ----

static struct sigaction before[SIGNALS]; // under install's lock, then constant
static const char token; // its address tells our signals from others

// S1. The thread is the one that `s` is of.
static void answer(struct standing *s, const void *context)
{
    uint32_t word = ASKED;

    if (!cas_acquire(&s->word, &word, WRITING)) // S1, P1
        return;                                 // withdrawn: too late
    s->result = (struct standing_result){.how = STANDING_RUNNING, .call = -1};
    unwind_regs_of_signal(context, &s->result.regs);
    if (is_inside(s, s->result.regs.reg[CFI_SP]))
        copy_stack(s, s->result.regs.reg[CFI_SP]);
    else
        fail(s, ELSEWHERE);
    store_release(&s->word, DONE); // P2
    port_futex_wake(&s->word, 1);
}

static void pass_on(int number, siginfo_t *info, void *context)
{
    const struct sigaction *other = &before[number];

    if (other->sa_flags & SA_SIGINFO)
        other->sa_sigaction(number, info, context);
    else if (other->sa_handler != SIG_DFL && other->sa_handler != SIG_IGN)
        other->sa_handler(number);
}

static void handle(int number, siginfo_t *info, void *context)
{
    int kept = errno;

    if (info->si_code != SI_TIMER || info->si_value.sival_ptr != &token)
        pass_on(number, info, context);
    else if (mine != NULL)
        answer(mine, context);
    errno = kept;
}

// ---- Asking the kernel ----

// One look at a thread.
struct look {
    bool runs;
    long call; // -1: none
    uint64_t args[6];
    uintptr_t sp;
    uintptr_t pc;
    char text[256]; // what the kernel said, to be compared
};

static int open_file(const struct standing *s, const char *name)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/task/%d/%s", s->tid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static bool read_text(int fd, char *text, size_t room)
{
    ssize_t got = pread(fd, text, room - 1, 0);

    text[got < 0 ? 0 : got] = '\0';
    return got > 0;
}

// The next number of a line, false if there is none.
static bool take(char **at, uint64_t *ret_number)
{
    char *start = *at;

    *ret_number = strtoull(start, at, 0);
    return *at != start;
}

// "running", "-1 SP PC", or "NUMBER ARGUMENT... SP PC".
static bool look_at(int fd, struct look *ret_look)
{
    char *at = ret_look->text;
    uint64_t number;
    bool good = read_text(fd, at, sizeof ret_look->text);

    ret_look->runs = strncmp(at, "running", 7) == 0;
    if (!good || ret_look->runs)
        return good;
    good = take(&at, &number);
    ret_look->call = (long)number;
    for (int i = 0; i < 6 && ret_look->call >= 0; i++)
        good = good && take(&at, &ret_look->args[i]);
    good = good && take(&at, &number);
    ret_look->sp = number;
    good = good && take(&at, &number);
    ret_look->pc = number;
    return good;
}

static void fill_in(struct standing *s, const struct look *look)
{
    struct standing_result *r = &s->result;

    r->how = look->call >= 0 ? STANDING_IN_CALL : STANDING_HELD;
    r->why = NULL;
    r->call = look->call;
    memcpy(r->args, look->args, sizeof r->args);
    r->regs = (struct unwind_regs){
        .pc = look->pc,
        .reg[CFI_SP] = look->sp,
        .valid = (uint64_t)1 << CFI_SP,
    };
}

// Copies the stack of a thread that sleeps; false if it moved meanwhile, then
// *look is a new one.
static bool copy_asleep(struct standing *s, int fd, struct look *look)
{
    char seen[sizeof look->text];

    if (look->pc == 0) {
        fail(s, "it has ended");
        return true;
    }
    if (!is_inside(s, look->sp)) {
        fail(s, ELSEWHERE);
        return true;
    }
    memcpy(seen, look->text, sizeof seen);
    copy_stack(s, look->sp);
    if (!look_at(fd, look) || strcmp(seen, look->text) != 0)
        return false;
    fill_in(s, look);
    return true;
}

// One of a simulation's, which does not run while another looks at it.
static bool read_simulated(struct standing *s)
{
    const struct switch_frame *frame = port_thread_saved(s->tid);

    if (frame == NULL)
        return false;
    s->result = (struct standing_result){.how = STANDING_HELD, .call = -1};
    capture_regs(frame, frame, &s->result.regs);
    if (is_inside(s, s->result.regs.reg[CFI_SP]))
        copy_stack(s, s->result.regs.reg[CFI_SP]);
    else
        fail(s, ELSEWHERE);
    return true;
}

// ---- Signalling ----

static struct lock once;

// A forked child has none of the threads that may have held it.
static void forget(void)
{
    once = (struct lock){0};
}

__attribute__((constructor)) static void announce_forks(void)
{
    (void)port_at_fork(NULL, NULL, forget); // as limbo.c
}

// Once for each signal, when somebody is to be interrupted by it for the first
// time. `before` first: one may come at once.
static void install(int number)
{
    static bool done[SIGNALS]; // under once
    struct sigaction action = {
        .sa_sigaction = handle,
        .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART,
    };

    lock_acquire(&once);
    if (!done[number]) {
        (void)sigfillset(&action.sa_mask); // nothing may jump out of it
        ensure(sigaction(number, NULL, &before[number]) == 0);
        ensure(sigaction(number, &action, NULL) == 0);
        done[number] = true;
    }
    lock_release(&once);
}

static bool owns_signal(int number)
{
    struct sigaction now;

    return sigaction(number, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
           now.sa_sigaction == handle;
}

// Whether the thread blocks the signal; also if the kernel does not say.
static bool blocks_signal(const struct standing *s)
{
    static const char KEY[] = "\nSigBlk:";
    char text[4096];
    int fd = open_file(s, "status");
    const char *line = NULL;

    if (fd < 0)
        return true;
    if (read_text(fd, text, sizeof text))
        line = strstr(text, KEY);
    (void)close(fd);
    if (line == NULL)
        return true;
    return strtoull(line + sizeof KEY - 1, NULL, 16) >> (s->number - 1) & 1;
}

// It may just be about to leave a handler that we have asked for.
static bool blocks_for_long(struct standing *s)
{
    int64_t cpu_ns = port_thread_cpu(s->tid);

    if (!s->blocked)
        s->blocked_cpu_ns = cpu_ns;
    s->blocked = true;
    return cpu_ns - s->blocked_cpu_ns >= HANDLER_NS || cpu_ns < 0;
}

static void disarm(struct standing *s)
{
    if (s->armed)
        port_alarm_cancel(&s->alarm);
    s->armed = false;
}

// S1. False: the handler is at it, or has done it.
static bool withdraw(struct standing *s)
{
    uint32_t word = ASKED;

    if (!s->armed)
        return true;
    disarm(s);
    return cas_acquire(&s->word, &word, IDLE); // S1
}

// Has a thread that runs interrupted. True: that cannot be, `fail` says why.
static bool summon(struct standing *s)
{
    install(s->number);
    if (!owns_signal(s->number)) {
        fail(s, "it runs, and its signal has another handler than weft's");
        return true;
    }
    if (blocks_signal(s)) {
        fail(s, s->blocks);
        return blocks_for_long(s);
    }
    s->blocked = false;
    s->cpu_ns = port_thread_cpu(s->tid);
    store_release(&s->word, ASKED); // S1, P1
    s->armed = port_alarm_arm(&s->alarm, s->tid, s->number, &token) == 0;
    if (s->armed)
        return false;
    store_relaxed(&s->word, IDLE); // nobody has been asked
    fail(s, "the system has no timer for it");
    return true;
}

// ---- The interface ----

static bool finish(struct standing *s)
{
    disarm(s);
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
    return true;
}

void standing_ask(struct standing *s, uintptr_t lo, uintptr_t hi)
{
    s->stale = load_acquire(&s->word) == WRITING; // S1, P2
    if (s->stale)
        return;
    store_relaxed(&s->word, IDLE); // S1: ours
    s->lo = lo;
    s->hi = hi;
    s->blocked = false;
    if (read_simulated(s))
        return;
    s->fd = open_file(s, "syscall");
    fail(s, "/proc cannot be read");
}

// Looks once. True: there is an answer; false: look again, or wait for the
// handler.
static bool look_once(struct standing *s)
{
    struct look look;
    bool known = look_at(s->fd, &look);

    if (known && look.runs)
        return s->armed ? false : summon(s);
    if (!withdraw(s))
        return false;
    if (known)
        return copy_asleep(s, s->fd, &look);
    fail(s, "the kernel does not say where it stands");
    return true;
}

bool standing_advance(struct standing *s)
{
    if (s->stale)
        return true;
    uint32_t word = load_acquire(&s->word); // P2
    if (word == WRITING)
        return false;
    return word == DONE || s->fd < 0 || look_once(s) ? finish(s) : false;
}

void standing_take(struct standing *s, struct standing_result *ret_result)
{
    uint32_t word = ASKED;
    int64_t deadline_ns = port_now() + GRACE_NS;
    const char *late = "it did not answer a signal in time";
    int error = 0;

    if (s->armed && port_thread_cpu(s->tid) == s->cpu_ns)
        late = "it got no processor";
    (void)finish(s);
    if (s->stale) {
        refuse(ret_result, "an earlier capture of it has not ended");
        return;
    }
    if (cas_acquire(&s->word, &word, IDLE)) { // S1
        refuse(ret_result, late);
        return;
    }
    while ((word = load_acquire(&s->word)) == WRITING && // P2
           error != -ETIMEDOUT)
        error = port_futex_wait(&s->word, WRITING, deadline_ns);
    if (word == WRITING)
        refuse(ret_result, "it was held up while it was captured");
    else
        *ret_result = s->result;
    ret_result->elsewhere = ret_result->why == ELSEWHERE;
}

// ---- From outside ----

// One that leaves its call while it is read is looked at again.
static void try_read(struct standing *s)
{
    struct look look;

    fail(s, "it runs");
    for (int i = 0; i < READS_MAX; i++) {
        if (!look_at(s->fd, &look)) {
            fail(s, "the kernel does not say where it stands");
            return;
        }
        if (!look.runs && copy_asleep(s, s->fd, &look))
            return;
    }
}

void standing_read(struct standing *s, int tid,
                   struct standing_result *ret_result)
{
    s->tid = tid;
    if (!read_simulated(s)) {
        s->fd = open_file(s, "syscall");
        if (s->fd < 0)
            fail(s, "/proc cannot be read, or it has ended");
        else
            try_read(s);
    }
    (void)finish(s);
    *ret_result = s->result;
}

struct standing *standing_reader_new(void)
{
    struct standing *s = malloc(sizeof *s);

    if (s == NULL)
        return NULL;
    s->fd = -1;
    s->reader = true;
    s->armed = false;
    s->lo = 0;
    s->hi = UINTPTR_MAX;
    return s;
}

// ---- Beginning and end ----

bool standing_can_use(int number)
{
    static const int no[] = {SIGKILL, SIGSTOP, SIGCONT, SIGTSTP, SIGTTIN,
                             SIGTTOU, SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,
                             SIGTRAP, SIGABRT, SIGSYS};

    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (number == no[i])
            return false;
    // Those between are the C library's own.
    return number > 0 && number < SIGNALS &&
           (number <= SIGSYS || number >= SIGRTMIN);
}

static void name_signal(int number, char *ret_name, size_t room)
{
    const char *name = sigabbrev_np(number);

    if (name != NULL)
        snprintf(ret_name, room, "SIG%s", name);
    else
        snprintf(ret_name, room, "signal %d", number);
}

struct standing *standing_begin(int number)
{
    struct standing *s = malloc(sizeof *s);
    char name[24];

    if (s == NULL)
        return NULL;
    name_signal(number, name, sizeof name);
    snprintf(s->blocks, sizeof s->blocks,
             "it blocks %s, by which it would be asked", name);
    s->tid = port_thread_id();
    s->number = number;
    s->fd = -1;
    s->stale = false;
    s->reader = false;
    s->armed = false;
    store_relaxed(&s->word, IDLE); // not shared yet
    mine = s;
    port_signal_admit(number, true);
    return s;
}

void standing_end(struct standing *s)
{
    if (s == NULL)
        return;
    port_signal_admit(s->number, false);
    mine = NULL;
}

void standing_free(struct standing *s)
{
    free(s);
}
