// signal.c -- A dump on a signal: text to standard error, JSON to a file.
//
// One thread for the process serves the signals of all its runtimes. The
// handler only notes which signal came and wakes that thread (both
// async-signal-safe), so it does not matter what it interrupted.
//
//   P1  The handler adds to `pending[n]`, then to `bell` (seq_cst); the thread
//       reads `bell`, then takes all pending, then sleeps on that `bell`: a
//       signal that comes in between has changed it.
//   I1  runtimes, previous and users are guarded by `lock`. The thread holds it
//       while it dumps; so signal_end returns when no dump of that runtime is
//       in progress.
#include "report/signal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "report/deliver.h"

enum { SIGNALS = 65 };

// A runtime and its signal.
struct listener {
    struct listener *next;
    struct weft_runtime *runtime;
    int number;
    char *path; // owned; NULL: no JSON
};

static struct lock lock;
static struct listener *listeners;         // under lock
static struct sigaction previous[SIGNALS]; // under lock
static uint32_t users[SIGNALS];            // under lock: listeners of each
static struct port_thread thread;          // under lock
static bool running;                       // under lock
static atomic_u32 pending[SIGNALS];        // P1
static atomic_u32 bell;                    // P1
static atomic_u32 turn;                    // P1: of the thread that serves

// A forked child has neither the thread nor the runtimes: the signals do what
// they did before.
static void forget(void)
{
    lock = (struct lock){0};
    for (int i = 1; i < SIGNALS; i++) {
        if (users[i] > 0)
            (void)sigaction(i, &previous[i], NULL);
        users[i] = 0;
        store_relaxed(&pending[i], 0); // there is but one thread
    }
    listeners = NULL;
    running = false;
}

__attribute__((constructor)) static void announce_forks(void)
{
    (void)port_at_fork(NULL, NULL, forget); // as limbo.c
}

// ---- Numbers and names ----

static bool catchable(int number)
{
    if (number > SIGSYS && number < SIGRTMIN)
        return false; // the C library's own
    return number > 0 && number < SIGNALS && number != SIGKILL &&
           number != SIGSTOP && number != SIGSEGV && number != SIGBUS;
}

bool signal_check(int number)
{
    return number == 0 || number == -1 || catchable(number);
}

static int number_of_name(const char *name)
{
    if (strncasecmp(name, "SIG", 3) == 0)
        name += 3;
    for (int i = 1; i < SIGNALS; i++) {
        const char *abbreviation = sigabbrev_np(i);
        if (abbreviation != NULL && strcasecmp(abbreviation, name) == 0)
            return i;
    }
    char *end;
    long number = strtol(name, &end, 10);
    return *end == '\0' && number > 0 && number < SIGNALS ? (int)number : 0;
}

// The signal to listen to, or 0. A mistake of the environment's does not keep
// a program from running.
static int choose(const struct weft_runtime *runtime, int number)
{
    const char *name = getenv("WEFT_DUMP_SIGNAL");

    if (number != 0)
        return number == -1 ? 0 : number;
    if (name == NULL || name[0] == '\0')
        return 0;
    number = number_of_name(name);
    if (number == runtime->capture_signal) {
        warn("WEFT_DUMP_SIGNAL=%s is the signal by which tasks that run are "
             "captured: ignored",
             name);
        return 0;
    }
    if (catchable(number))
        return number;
    warn("WEFT_DUMP_SIGNAL=%s names no signal that can be caught: ignored",
         name);
    return 0;
}

static void dump(const struct listener *listener)
{
    weft_dump *taken;
    int error = weft_dump_take(listener->runtime, &taken);

    if (error != 0) {
        warn("no dump of runtime \"%s\": %s", listener->runtime->name,
             strerror(-error));
        return;
    }
    deliver_dump(taken, listener->path);
    weft_dump_free(taken);
}

// ---- The thread and the handler ----

static void *serve(void *arg)
{
    uint32_t mine = (uint32_t)(uintptr_t)arg;

    for (;;) {
        uint32_t seen = load_seq_cst(&bell); // P1
        if (load_seq_cst(&turn) != mine)     // P1
            return NULL;
        lock_acquire(&lock);
        for (int i = 1; i < SIGNALS; i++) {
            if (xchg_seq_cst(&pending[i], 0) == 0) // P1
                continue;
            for (struct listener *l = listeners; l != NULL; l = l->next)
                if (l->number == i)
                    dump(l);
        }
        lock_release(&lock);
        (void)port_futex_wait(&bell, seen, INT64_MAX);
    }
}

static void ring(void)
{
    (void)add_seq_cst(&bell, 1); // P1
    port_futex_wake(&bell, 1);
}

static void handle(int number)
{
    int kept = errno;

    (void)add_seq_cst(&pending[number], 1); // P1
    ring();
    errno = kept;
}

static void install(int number)
{
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};

    if (users[number]++ > 0)
        return;
    (void)sigfillset(&action.sa_mask);
    ensure(sigaction(number, &action, &previous[number]) == 0);
}

static void uninstall(int number)
{
    if (--users[number] == 0)
        ensure(sigaction(number, &previous[number], NULL) == 0);
}

// ---- Beginning and end; the lock is held ----

static int start_thread(void)
{
    if (running)
        return 0;
    uintptr_t mine = load_seq_cst(&turn); // P1
    int error = port_thread_start(&thread, "weft-dump", serve, (void *)mine);
    running = error == 0;
    return error;
}

static int add_listener(struct weft_runtime *runtime, int number,
                        const char *path)
{
    struct listener *listener = calloc(1, sizeof *listener);
    int error = listener == NULL ? -ENOMEM : 0;

    if (error == 0 && path != NULL && path[0] != '\0') {
        listener->path = strdup(path);
        error = listener->path == NULL ? -ENOMEM : 0;
    }
    if (error == 0)
        error = start_thread();
    if (error != 0) {
        free(listener == NULL ? NULL : listener->path);
        free(listener);
        return error;
    }
    listener->runtime = runtime;
    listener->number = number;
    listener->next = listeners;
    listeners = listener;
    install(number);
    return 0;
}

int signal_begin(struct weft_runtime *runtime, int number, const char *path)
{
    number = choose(runtime, number);
    if (number <= 0)
        return number;
    lock_acquire(&lock);
    int error = add_listener(runtime, number,
                             path == NULL ? getenv("WEFT_DUMP_FILE") : path);
    lock_release(&lock);
    return error;
}

static void remove_listener(struct weft_runtime *runtime)
{
    for (struct listener **at = &listeners; *at != NULL; at = &(*at)->next) {
        struct listener *listener = *at;
        if (listener->runtime != runtime)
            continue;
        uninstall(listener->number);
        *at = listener->next;
        free(listener->path);
        free(listener);
        return;
    }
}

void signal_end(struct weft_runtime *runtime)
{
    bool last = false;

    lock_acquire(&lock);
    remove_listener(runtime);
    if (running && listeners == NULL) {
        running = false;
        last = true;
        (void)add_seq_cst(&turn, 1); // P1
    }
    struct port_thread ended = thread;
    lock_release(&lock);
    if (last) {
        ring();
        port_thread_join(&ended);
    }
}
