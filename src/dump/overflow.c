// overflow.c -- A task that overflows its stack is named before the process
// dies.
//
// The handler runs on the worker's alternate stack. If the fault lies in the
// guard of the running task's stack, or just below it, it prints the task and
// unwinds it from the interrupted registers. Names need memory and locks that
// the dying code may hold: so a forked child looks them up while the parent
// waits for a moment; plain addresses are printed first in any case. Then the
// handler that was there before has its turn, or the process dies of the
// signal as it would have.
#include "dump/overflow.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/panic.h"
#include "dump/capture.h"

enum {
    ALTERNATE_BYTES = 128 << 10,
    FRAMES = 48,
    TAIL = 12,
    NAMES_TRIES = 300,
    NAMES_STEP_NS = 10000000,
};

void (*overflow_print)(const uintptr_t *pcs, size_t count, size_t gap_at,
                       uint64_t gap);

static struct sigaction before_segv;
static struct sigaction before_bus;
static struct cfi_cache *cache; // made at install: the handler cannot allocate
static atomic_u32 dying;        // relaxed: only who is first matters

// ---- In the handler ----

static void print_addresses(const uintptr_t *pcs, int count, uint64_t gap)
{
    for (int i = 0; i < count; i++) {
        Dl_info info;
        void *pc = (void *)pcs[i];
        if (gap > 0 && i == FRAMES - TAIL)
            warn("  ... %llu frames are left out", (unsigned long long)gap);
        if (dladdr(pc, &info) != 0 && info.dli_fname != NULL)
            warn("  #%d %p (%s+0x%lx)", i, pc, info.dli_fname,
                 (unsigned long)((char *)pc - (char *)info.dli_fbase));
        else
            warn("  #%d %p", i, pc);
    }
}

// In a child, for it may hang or crash. Waits three seconds at most.
static bool print_names(const uintptr_t *pcs, int count, uint64_t gap)
{
    atomic_u32 never = 0;
    int status = 1;

    if (overflow_print == NULL)
        return false;
    pid_t child = _Fork();
    if (child < 0)
        return false;
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        overflow_print(pcs, (size_t)count, FRAMES - TAIL, gap);
        _exit(0);
    }
    for (int i = 0; i < NAMES_TRIES; i++) {
        if (waitpid(child, &status, WNOHANG) == child)
            return WIFEXITED(status) && WEXITSTATUS(status) == 0;
        (void)port_futex_wait(&never, 0, port_now() + NAMES_STEP_NS);
    }
    (void)kill(child, SIGKILL);
    (void)waitpid(child, &status, 0);
    return false;
}

static void report(const struct task *task, const void *context)
{
    char name[TASK_LABEL_MAX];
    uintptr_t pcs[FRAMES];
    struct unwind_regs regs;
    struct unwind_result result;
    struct unwind_memory memory = {
        .lo = (uintptr_t)stack_low(task) + stack_guard_size(),
        .hi = (uintptr_t)task->top,
    };

    warn("task %s overflowed its stack of %zu bytes; its backtrace:",
         task_describe(task, name), (size_t)1 << task->stack_class);
    if (cache == NULL)
        return;
    unwind_regs_of_signal(context, &regs);
    int count = unwind(cache, &regs, &memory, pcs, FRAMES, TAIL, &result);
    for (int i = 0; i < count; i++) // FRAMES < 64
        pcs[i] += result.exact >> i & 1;
    uint64_t gap = result.frames - (uint64_t)count;
    if (!print_names(pcs, count, gap))
        print_addresses(pcs, count, gap);
}

// Whether the fault is one of the running task's stack: its guard page, or so
// near below it that a large frame has jumped over.
static bool is_overflow(const struct task *task, const void *address)
{
    const char *low = stack_low(task);
    const char *at = address;

    return at < low + stack_guard_size() && at + stack_guard_size() >= low;
}

static void pass_on(int number, siginfo_t *info, void *context)
{
    struct sigaction *before = number == SIGSEGV ? &before_segv : &before_bus;

    if (before->sa_flags & SA_SIGINFO) {
        before->sa_sigaction(number, info, context);
    } else if (before->sa_handler == SIG_DFL || before->sa_handler == SIG_IGN) {
        (void)signal(number, SIG_DFL); // and fault again, at the same place
        if (info->si_code <= 0)        // unless it was sent by kill(2)
            (void)raise(number);
    } else {
        before->sa_handler(number);
    }
}

static void handle(int number, siginfo_t *info, void *context)
{
    int kept = errno;
    struct task *task = task_self();

    if (task != NULL && is_overflow(task, info->si_addr)) {
        while (add_relaxed(&dying, 1) > 0) // the process ends with the first
            (void)pause();
        report(task, context);
    }
    errno = kept;
    pass_on(number, info, context);
}

// ---- Installing ----

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

static void install(void)
{
    static bool done; // under once
    struct sigaction action = {
        .sa_sigaction = handle,
        .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER,
    };

    lock_acquire(&once);
    if (!done) {
        cache = cfi_cache_new(); // without it the backtrace is left out
        (void)sigemptyset(&action.sa_mask);
        ensure(sigaction(SIGSEGV, &action, &before_segv) == 0);
        ensure(sigaction(SIGBUS, &action, &before_bus) == 0);
        done = true;
    }
    lock_release(&once);
}

void overflow_begin(struct worker *worker)
{
    stack_t stack = {.ss_size = ALTERNATE_BYTES};

    install();
    stack.ss_sp = malloc(ALTERNATE_BYTES);
    if (stack.ss_sp == NULL)
        return; // an overflow will then end the process without a word
    if (sigaltstack(&stack, NULL) != 0)
        panic("sigaltstack: %s", strerror(errno));
    worker->alternate = stack.ss_sp;
}

void overflow_end(struct worker *worker)
{
    stack_t none = {.ss_flags = SS_DISABLE};

    (void)sigaltstack(&none, NULL);
    free(worker->alternate);
}
