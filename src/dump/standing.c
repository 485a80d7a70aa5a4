// standing.c -- Captures a thread that does not come, where it stands.
//
// The kernel is asked first: /proc/self/task/TID/syscall says whether the
// thread sleeps in a system call, in which, and with what pc and sp. Its stack
// does not move then; so the bytes are copied and the file read again, and
// what was copied is good if both readings are equal. (Had it left the call
// and come back to the very same one, the frames above would be the same.)
//
// Only a thread found running gets SIGURG, whose handler copies registers and
// bytes into memory set aside. That signal, because a program that does not
// ask for it never sees one, and nothing happens if one comes unasked.
// What comes from others goes to the handler that was there before. If the
// program has put another in its place, none is sent; nor to a thread that
// blocks it, where it would stay pending and disturb a later call.
//
// To the kernel "running" is also one that has just been woken in a call and
// waits for a processor: a signal then makes select return EINTR though its
// time was up. So the thread must have used RAN_NS of processor time between
// two looks without having gone to sleep, and run at a third one right before
// the signal. What is left: one that enters a call between that look and the
// signal, a few microseconds, or in which the kernel works without sleeping,
// may see it cut short. SA_RESTART makes most calls go on; those that never
// restart (nanosleep, poll, select, epoll_wait, recv with a time-out, semop,
// io_uring_enter) return EINTR.
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
// Rejected: a signal for all (it breaks waiting calls); ptrace by a child (it
// breaks fewer, but needs a process); unwinding in the handler (the loader's
// lock).
#include "dump/standing.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/panic.h"
#include "port/port.h"

enum {
    CAPTURE_SIGNAL = SIGURG,
    BYTES_MAX = 64 << 10, // of a stack, from its innermost frame
    BLOCKED_MAX = 16,     // looks in a row: longer than in a handler
#if defined(__x86_64__)
    RED_ZONE = 128, // unwind.h
#else
    RED_ZONE = 0,
#endif
};

static const int64_t RAN_NS = 50000;
static const int64_t GRACE_NS = 20000000;

enum word { IDLE, ASKED, WRITING, DONE };

// What a thread had done when it was found running.
struct run {
    uint64_t switches; // times it went to sleep
    int64_t cpu_ns;
    bool blocks; // the signal
    bool known;
};

struct standing {
    atomic_u32 word;  // enum word: S1
    int tid;          // written before it is shared
    int fd;           // the asker's: the thread's `syscall`, or -1: no looks
    struct run run;   // the asker's: at the last look, or before it slept
    unsigned blocked; // the asker's: looks that saw it block
    bool stale;       // the asker's: see standing_ask
    uintptr_t lo;     // P1
    uintptr_t hi;     //
    struct standing_result result; // P2
    uint64_t bytes[BYTES_MAX / sizeof(uint64_t)];
};

static __thread struct standing *mine
    __attribute__((tls_model("initial-exec")));

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

static struct sigaction before; // under install's lock, then constant
static const char token;        // its address tells our signals from others

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
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(number, info, context);
    else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        before.sa_handler(number);
}

static void handle(int number, siginfo_t *info, void *context)
{
    int kept = errno;

    if (info->si_code != SI_QUEUE || info->si_value.sival_ptr != &token)
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

// ---- Signalling ----

// Once in the process, when somebody is to be interrupted for the first time.
// `before` first: a signal may come at once.
static void install(void)
{
    static struct lock once;
    static bool done; // under once
    struct sigaction action = {
        .sa_sigaction = handle,
        .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART,
    };

    lock_acquire(&once);
    if (!done) {
        (void)sigfillset(&action.sa_mask); // nothing may jump out of it
        ensure(sigaction(CAPTURE_SIGNAL, NULL, &before) == 0);
        ensure(sigaction(CAPTURE_SIGNAL, &action, NULL) == 0);
        done = true;
    }
    lock_release(&once);
}

static bool find_number(const char *text, const char *key, int base,
                        uint64_t *ret_number)
{
    const char *line = strstr(text, key);

    if (line != NULL)
        *ret_number = strtoull(line + strlen(key), NULL, base);
    return line != NULL;
}

static bool read_run(const struct standing *s, struct run *ret_run)
{
    char text[4096];
    uint64_t blocked = 0;
    int fd = open_file(s, "status");

    *ret_run = (struct run){0};
    if (fd < 0)
        return false;
    ret_run->known =
        read_text(fd, text, sizeof text) &&
        find_number(text, "\nSigBlk:", 16, &blocked) &&
        find_number(text, "\nvoluntary_ctxt_switches:", 10, &ret_run->switches);
    (void)close(fd);
    if (!ret_run->known)
        return false;
    ret_run->blocks = blocked >> (CAPTURE_SIGNAL - 1) & 1;
    ret_run->cpu_ns = port_thread_cpu(s->tid);
    return true;
}

static bool owns_signal(void)
{
    struct sigaction now;

    return sigaction(CAPTURE_SIGNAL, NULL, &now) == 0 &&
           (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == handle;
}

static void interrupt(struct standing *s)
{
    store_release(&s->word, ASKED); // S1, P1
    if (port_thread_signal(s->tid, CAPTURE_SIGNAL, &token) == 0)
        return;
    store_relaxed(&s->word, IDLE); // nobody has been asked
    fail(s, "the system refused to send it a signal");
}

// Whether a thread that has just been found running has worked since the last
// look, and may be sent the signal. Takes down why it has no answer so far.
static bool has_run(struct standing *s)
{
    struct run before_it = s->run;

    if (!read_run(s, &s->run)) {
        fail(s, "the kernel does not say what it does");
        return false;
    }
    s->blocked = s->run.blocks ? s->blocked + 1 : 0;
    fail(s, s->run.blocks ? "it blocks SIGURG, by which it would be asked"
                          : "it got no processor, or went from call to call");
    if (!before_it.known || before_it.switches != s->run.switches)
        return false;
    if (s->run.cpu_ns - before_it.cpu_ns >= RAN_NS)
        return !s->run.blocks;
    s->run.cpu_ns = before_it.cpu_ns; // let it add up
    return false;
}

// ---- The interface ----

static bool finish(struct standing *s)
{
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
    s->run.known = false;
    s->blocked = 0;
    s->fd = open_file(s, "syscall");
    fail(s, "/proc cannot be read");
}

// Looks once. True: there is an answer; false: look again, or wait for the
// handler.
static bool look_once(struct standing *s)
{
    struct look look;

    if (!look_at(s->fd, &look)) {
        fail(s, "the kernel does not say where it stands");
        return true;
    }
    if (!look.runs) {
        s->run.known = false;
        return copy_asleep(s, s->fd, &look);
    }
    install();
    if (!owns_signal()) {
        fail(s, "it runs, and SIGURG has another handler than weft's");
        return true;
    }
    if (has_run(s) && look_at(s->fd, &look) && look.runs)
        interrupt(s);
    return s->blocked == BLOCKED_MAX;
}

bool standing_advance(struct standing *s)
{
    if (s->stale)
        return true;
    uint32_t word = load_acquire(&s->word); // P2
    if (word == IDLE && s->fd >= 0 && !look_once(s))
        return false;
    return word == IDLE || word == DONE ? finish(s) : false;
}

void standing_take(struct standing *s, struct standing_result *ret_result)
{
    uint32_t word = ASKED;
    int64_t deadline_ns = port_now() + GRACE_NS;
    int error = 0;

    (void)finish(s);
    if (s->stale) {
        refuse(ret_result, "an earlier capture of it has not ended");
        return;
    }
    if (cas_acquire(&s->word, &word, IDLE)) { // S1
        refuse(ret_result, "it did not answer a signal in time");
        return;
    }
    while ((word = load_acquire(&s->word)) == WRITING && // P2
           error != -ETIMEDOUT)
        error = port_futex_wait(&s->word, WRITING, deadline_ns);
    if (word == WRITING)
        refuse(ret_result, "it was held up while it was captured");
    else
        *ret_result = s->result;
}

// ---- Beginning and end ----

struct standing *standing_begin(void)
{
    struct standing *s = malloc(sizeof *s);

    if (s == NULL)
        return NULL;
    s->tid = port_thread_id();
    s->fd = -1;
    s->stale = false;
    store_relaxed(&s->word, IDLE); // not shared yet
    mine = s;
    port_signal_admit(CAPTURE_SIGNAL, true);
    return s;
}

void standing_end(struct standing *s)
{
    if (s == NULL)
        return;
    port_signal_admit(CAPTURE_SIGNAL, false);
    mine = NULL;
    free(s);
}
