// run.c -- weft_sim_run: a process for each run, and what is said of it.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weft/dump.h>
#include <weft/weft.h>

#include "sched/runtime.h"
#include "sim/sim.h"

static const uint64_t STEP_LIMIT = 1000000000;

// ---- In the simulation's process ----

// Each runtime's dump; those that end meanwhile have none.
static void *report(void *arg)
{
    for (uint32_t tag = 1; tag <= RUNTIMES_MAX; tag++) {
        struct weft_runtime *runtime = load_acquire(&runtime_registry[tag]);
        weft_dump *dump;
        if (runtime == NULL || weft_dump_take(runtime, &dump) != 0)
            continue;
        (void)weft_dump_print_text(dump, NULL, stderr);
        weft_dump_free(dump);
    }
    return arg;
}

static int simulate(uint64_t seed, weft_sim_fn *fn, void *arg,
                    const weft_sim_options *options, weft_sim_result *result)
{
    if (options->trace != NULL)
        setlinebuf(options->trace);
    int error = sim_begin(seed, options, result);
    if (error != 0)
        return error;
    error = sim_go(fn, arg, report);
    sim_end();
    (void)fflush(NULL);
    return error;
}

// ---- In the caller's ----

static void tell(uint64_t seed, const weft_sim_result *result)
{
    static const char *const ways[] = {
        [WEFT_SIM_PASSED] = "passed",
        [WEFT_SIM_FAILED] = "failed with status",
        [WEFT_SIM_STUCK] = "is stuck: nobody can go on",
        [WEFT_SIM_LATE] = "has reached its limit",
        [WEFT_SIM_LEFT] = "has left threads behind",
        [WEFT_SIM_CRASHED] = "crashed by signal",
        [WEFT_SIM_HUNG] = "hung: a loop or a call that is not weft's",
    };

    fprintf(stderr, "weft-sim: seed %llu %s", (unsigned long long)seed,
            ways[result->end]);
    if (result->end == WEFT_SIM_FAILED || result->end == WEFT_SIM_CRASHED)
        fprintf(stderr, " %d", result->status);
    fprintf(stderr, ", after %lld.%06lld s and %llu steps\n",
            (long long)(result->time_ns / WEFT_SECOND),
            (long long)(result->time_ns % WEFT_SECOND / 1000),
            (unsigned long long)result->steps);
}

// How the process ended, unless it says so itself, by status 0.
static void judge(int status, weft_sim_result *result)
{
    if (WIFSIGNALED(status)) {
        result->status = WTERMSIG(status);
        result->end =
            result->status == SIGALRM ? WEFT_SIM_HUNG : WEFT_SIM_CRASHED;
    } else if (WEXITSTATUS(status) != 0) { // the function has called exit(3)
        result->end = WEFT_SIM_FAILED;
        result->status = WEXITSTATUS(status);
    }
}

static int wait_for(pid_t child, weft_sim_result *result)
{
    int status;

    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    judge(status, result);
    return 0;
}

// SIGALRM ends the process after that time.
static void limit_to(int64_t span_ns)
{
    struct itimerval span = {
        .it_value = {.tv_sec = span_ns / WEFT_SECOND,
                     .tv_usec = span_ns % WEFT_SECOND / 1000 + 1}};

    (void)signal(SIGALRM, SIG_DFL);
    (void)setitimer(ITIMER_REAL, &span, NULL);
}

static int fork_and_simulate(uint64_t seed, weft_sim_fn *fn, void *arg,
                             const weft_sim_options *options,
                             weft_sim_result *result)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        return -errno;
    if (child == 0) {
        limit_to(options->real_limit_ns);
        _exit(simulate(seed, fn, arg, options, result) == 0 ? 0 : ENOMEM);
    }
    return wait_for(child, result);
}

// Memory that a forked child changes for its parent too.
static void *share(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static int check(weft_sim_fn *fn, const weft_sim_options *options)
{
    if (fn == NULL || options->size != sizeof *options ||
        options->time_limit_ns < 0 || options->real_limit_ns < 0)
        return -EINVAL;
    return sim != NULL ? -EBUSY : 0;
}

static weft_sim_options settle(const weft_sim_options *options)
{
    weft_sim_options settled = *options;

    if (settled.faults == 0)
        settled.faults = 2 * WEFT_SIM_DELAY - 1;
    if (settled.time_limit_ns == 0)
        settled.time_limit_ns = 3600 * WEFT_SECOND;
    if (settled.real_limit_ns == 0)
        settled.real_limit_ns = 120 * WEFT_SECOND;
    if (settled.step_limit == 0)
        settled.step_limit = STEP_LIMIT;
    return settled;
}

int weft_sim_run(uint64_t seed, weft_sim_fn *fn, void *arg,
                 const weft_sim_options *options, weft_sim_result *ret_result)
{
    weft_sim_options defaults = {.size = sizeof defaults};
    int error = check(fn, options == NULL ? &defaults : options);

    if (error != 0)
        return error;
    weft_sim_options o = settle(options == NULL ? &defaults : options);
    weft_sim_result *result = share(sizeof *result);
    if (result == NULL)
        return -ENOMEM;
    // What holds unless it gets as far as to say otherwise.
    *result = (weft_sim_result){.end = WEFT_SIM_FAILED};
    error = o.here ? simulate(seed, fn, arg, &o, result)
                   : fork_and_simulate(seed, fn, arg, &o, result);
    weft_sim_result end = *result;
    (void)munmap(result, sizeof *result);
    if (error != 0)
        return error;
    if (ret_result != NULL)
        *ret_result = end;
    if (end.end != WEFT_SIM_PASSED && !o.quiet)
        tell(seed, &end);
    return end.end == WEFT_SIM_PASSED ? 0 : 1;
}

bool weft_sim_active(void)
{
    return sim != NULL;
}

uint64_t weft_sim_random(void)
{
    return sim == NULL ? 0 : sim_random();
}

void weft_sim_set_clock(int64_t by_ns)
{
    if (sim == NULL)
        return;
    sim->wall_ns += by_ns;
    sim_note("clock", (uint64_t)by_ns);
    net_clock_set();
}

void weft_sim_note(uint64_t value)
{
    if (sim != NULL)
        sim_note("note", value);
}
