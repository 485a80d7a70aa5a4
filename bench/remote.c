// remote.c -- What a dump from outside costs the program, and how long it is.
//
// Parked tasks as in parked.h, and one that works for 1 us and yields; then
// `weft dump PID` of this very process, as text to nowhere. The figures are
// what the command says in its third line, in three digits.
//
//   remote-stopped  ms for which the process stood.
//   remote-total    ms that the dump took, names and printing left out.
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "groups.h"
#include "parked.h"
#include "steady.h"

enum { WORK_NS = 1000, MOST_TASKS = 1000000 };

static char command_path[4096];

// The command lies in the same build tree as this program.
static bool find_command(void)
{
    char program[4000];

    if (!bench_program(program, sizeof(program)))
        return false;
    snprintf(command_path, sizeof(command_path), "%s/../src/weft",
             dirname(program));
    return access(command_path, X_OK) == 0;
}

static void *work_and_yield(void *unused)
{
    do {
        int64_t until_ns = weft_time_now() + WORK_NS;
        while (weft_time_now() < until_ns)
            continue;
    } while (weft_task_yield() == 0);
    return unused;
}

// The time that stands behind some words of a line, in ms; -1: there is none.
static double time_behind(const char *line, const char *words)
{
    const char *at = strstr(line, words);
    double value;
    char unit[8];

    if (at == NULL ||
        sscanf(at + strlen(words), "%lf %3[a-z]", &value, unit) < 2)
        return -1;
    return strcmp(unit, "s") == 0 ? 1000 * value : value;
}

static void run_remote(const struct point *point, double *ret_values)
{
    weft_task_options options = {
        .size = sizeof(options),
        .runtime = steady_runtime((unsigned)point_number(point, "workers")),
    };
    char shell[4200], line[512];

    parked_start(options.runtime, (unsigned)point_number(point, "tasks"));
    bench_must(weft_task_spawn(&options, work_and_yield, NULL, NULL),
               "weft_task_spawn");
    (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    snprintf(shell, sizeof(shell), "exec '%s' dump %d", command_path,
             (int)getpid());
    FILE *out = popen(shell, "r");
    ret_values[0] = ret_values[1] = -1;
    while (out != NULL && fgets(line, sizeof(line), out) != NULL)
        if (ret_values[0] < 0) {
            ret_values[0] = time_behind(line, "stopped for ");
            ret_values[1] = time_behind(line, "all took ");
        }
    if (out == NULL || pclose(out) != 0 || ret_values[0] < 0 ||
        ret_values[1] < 0)
        bench_fail("%s gave no dump", command_path);
}

void bench_remote(const struct settings *settings)
{
    struct point point = {
        .names = {"remote-stopped", "remote-total"},
        .unit = "ms",
        .params = {{"tasks", 0, NULL}, {"workers", settings->workers, NULL}},
        .runs = 5,
        .run = run_remote,
    };

    if (!find_command()) {
        bench_skip("remote-total", NULL, "src/weft is not built");
        return;
    }
    for (unsigned tasks = 1000; tasks <= MOST_TASKS; tasks *= 10) {
        point.params[0].number = tasks;
        bench_measure(settings, &point);
    }
}
