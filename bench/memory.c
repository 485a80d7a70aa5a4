// memory.c -- parked-memory: what a task that waits costs in memory.
//
//   parked-memory  bytes per task: by how much the process's resident memory
//                  (Rss of /proc/self/smaps_rollup, which is exact) and its
//                  page tables (VmPTE of /proc/self/status) have grown between
//                  a runtime that has run one task and the same with all tasks
//                  parked (parked.h), divided by the number of tasks.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "groups.h"
#include "parked.h"
#include "steady.h"

enum {
    TASKS = 1000000,
    NEEDED_GIB = 7,
};

// A figure in kB from a file of lines "key: value kB", in bytes.
static double read_figure(const char *path, const char *key)
{
    FILE *file = fopen(path, "r");
    size_t length = strlen(key);
    char line[256];
    double value = -1;

    if (file == NULL)
        bench_fail("cannot read %s", path);
    while (value < 0 && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, key, length) == 0 && line[length] == ':')
            value = strtod(line + length + 1, NULL) * 1024;
    fclose(file);
    if (value < 0)
        bench_fail("%s has no %s", path, key);
    return value;
}

static double used(void)
{
    return read_figure("/proc/self/smaps_rollup", "Rss") +
           read_figure("/proc/self/status", "VmPTE");
}

static void run_parked_memory(const struct point *point, double *ret_values)
{
    unsigned tasks = (unsigned)point_number(point, "tasks");
    weft_runtime *runtime =
        steady_runtime((unsigned)point_number(point, "workers"));

    parked_start(runtime, 1);
    double before = used();
    parked_start(runtime, tasks);
    ret_values[0] = (used() - before) / tasks;
}

void bench_parked_memory(const struct settings *settings)
{
    struct point point = {
        .names = {"parked-memory"},
        .unit = "bytes",
        .params = {{"tasks", TASKS, NULL},
                   {"workers", settings->workers, NULL}},
        .runs = 3,
        .run = run_parked_memory,
    };
    double free_gib = read_figure("/proc/meminfo", "MemAvailable") / (1 << 30);

    if (free_gib < NEEDED_GIB)
        return bench_skip("parked-memory", NULL,
                          "less than 7 GiB of memory are free");
    bench_measure(settings, &point);
    bench_peers(settings, &point);
}
