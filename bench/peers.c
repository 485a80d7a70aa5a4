// peers.c -- The same benchmarks on other runtimes, for scale.
//
// A peer's program takes the benchmark's name and its parameters as key=value,
// does one run, and prints a number for each value, in the point's unit, one a
// line. It is built when first needed, beside this program.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "groups.h"

static char go_program[4096];

static bool supported(const struct point *point)
{
    static const char *const names[] = {
        "yield",           "spawn-join",      "chan-pingpong", "mutex",
        "mutex-contended", "skynet",          "parked-memory", "dump-total",
        "rwlock-read",     "rwlock-write",    "rwlock-shared", "semaphore",
        "event",           "cond-pingpong",   "once",          "waitgroup",
        "select-ready",    "select-pingpong", "oneshot",       "broadcast",
        "watch-pingpong",  "scope",           "scope-next",    "timer-cancel",
        "timer-churn",     "recv-deadline",   "sleep-late",    "longest-wait",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(point->names[0], names[i]) == 0)
            return true;
    return false;
}

// Builds the program if it can be built; NULL, or why not.
static const char *build_go(void)
{
    char shell[3 * sizeof(go_program)], program[4000];

    if (system("command -v go >/dev/null 2>&1") != 0)
        return "there is no go (Debian: golang-go)";
    if (!bench_program(program, sizeof(program)))
        return "/proc/self/exe cannot be read";
    snprintf(go_program, sizeof(go_program), "%s-go", program);
    snprintf(shell, sizeof(shell), "go build -o '%s' '%s/peers/go.go' >&2",
             go_program, WEFT_BENCH_SOURCE);
    return system(shell) == 0 ? NULL : "go build has failed";
}

static void run_go(const struct point *point, double *ret_values)
{
    char shell[2 * sizeof(go_program)], line[128];
    size_t at = (size_t)snprintf(shell, sizeof(shell), "exec '%s' %s",
                                 go_program, point->names[0]);

    for (size_t i = 0; i < PARAMS_MAX && point->params[i].key != NULL; i++)
        at += (size_t)snprintf(shell + at, sizeof(shell) - at, " %s=%lld",
                               point->params[i].key,
                               (long long)point->params[i].number);
    FILE *out = popen(shell, "r");
    for (size_t i = 0; i < VALUES_MAX && point->names[i] != NULL; i++) {
        if (out == NULL || fgets(line, sizeof(line), out) == NULL)
            bench_fail("failed: %s", shell);
        ret_values[i] = strtod(line, NULL);
    }
    if (pclose(out) != 0)
        bench_fail("failed: %s", shell);
}

void bench_peers(const struct settings *settings, const struct point *point)
{
    static bool tried;
    static const char *problem;
    struct point peer = *point;

    if (!settings->peers || !supported(point))
        return;
    if (!tried)
        problem = build_go();
    tried = true;
    if (problem != NULL)
        return bench_skip(point->names[0], "go", problem);
    peer.peer = "go";
    peer.run = run_go;
    bench_measure(settings, &peer);
}
