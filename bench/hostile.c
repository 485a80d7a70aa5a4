// hostile.c -- dump-hostile: dumps of programs that make it hard.
//
// The programs are those of tests/support/hostile_programs.c. While each goes
// on, three threads, two tasks of another runtime and, if they get to run, two
// tasks of its own ask for one dump after another, 60 in all times the runs
// that the command line says; so `--runs 100` is 102,000 dumps. All of them
// happen in one process for each program. Why dumps were refused or incomplete
// is printed above the figures.
//
//   dump-hostile             ms from a call of weft_dump_take to its return,
//                            the median; of "runtimes" with the start and the
//                            end of the runtime,
//   dump-hostile-p99, -p999  the 99th and the 99.9th percentile,
//   dump-hostile-max         the longest.
//   dump-hostile-alone       ms: the longest that a dump took from its begin,
//                            without what its askers waited for the one before
//                            it, and for a processor to return on.
//   dump-hostile-answered    calls that returned a dump.
//   dump-hostile-refused     calls that returned an error which the program
//                            brought about: no memory.
//   dump-hostile-incomplete  dumps that say of a task that runs where it is
//                            not known to be.
//   dump-hostile-lost        dumps in which a task that must be there is not,
//                            or is twice, or does what it cannot be doing.
#include "support/hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "groups.h"

enum { DUMPS_PER_RUN = 60 };

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static double quantile_ms(const struct tally *tally, double share)
{
    size_t at = (size_t)(share * (double)tally->asked);

    if (at >= tally->asked)
        at = tally->asked - 1;
    return (double)tally->times_ns[at] / WEFT_MILLISECOND;
}

static void print_reasons(const struct point *point, const struct tally *tally)
{
    for (size_t i = 0; i < tally->reason_count; i++)
        printf("  %s, %lu times: %s\n", point_text(point, "program"),
               tally->reasons[i].count, tally->reasons[i].text);
    fflush(stdout);
}

static const struct hostile_program *find_program(const char *name)
{
    for (size_t i = 0; i < hostile_program_count; i++)
        if (strcmp(hostile_programs[i].name, name) == 0)
            return &hostile_programs[i];
    bench_fail("no program %s", name);
}

static void run_hostile(const struct point *point, double *ret_values)
{
    struct tally tally;

    hostile_run(find_program(point_text(point, "program")),
                (unsigned)point_number(point, "workers"),
                (unsigned)point_number(point, "dumps"), &tally);
    qsort(tally.times_ns, tally.asked, sizeof *tally.times_ns, compare);
    print_reasons(point, &tally);
    ret_values[0] = quantile_ms(&tally, 0.5);
    ret_values[1] = quantile_ms(&tally, 0.99);
    ret_values[2] = quantile_ms(&tally, 0.999);
    ret_values[3] = quantile_ms(&tally, 1);
    ret_values[4] = (double)tally.longest_ns / WEFT_MILLISECOND;
    ret_values[5] = (double)tally.answered;
    ret_values[6] = (double)tally.refused;
    ret_values[7] = (double)tally.incomplete;
    ret_values[8] = (double)tally.lost;
    tally_deinit(&tally);
}

void bench_dump_hostile(const struct settings *settings)
{
    struct settings once = *settings;
    unsigned runs = settings->runs == 0 ? 1 : settings->runs;
    struct point point = {
        .names = {"dump-hostile", "dump-hostile-p99", "dump-hostile-p999",
                  "dump-hostile-max", "dump-hostile-alone",
                  "dump-hostile-answered", "dump-hostile-refused",
                  "dump-hostile-incomplete", "dump-hostile-lost"},
        .units = {"ms", "ms", "ms", "ms", "ms", "dumps", "dumps", "dumps",
                  "dumps"},
        .params = {{"program", 0, NULL},
                   {"dumps", DUMPS_PER_RUN * runs, NULL},
                   {"workers", settings->workers, NULL}},
        .run = run_hostile,
    };

    once.runs = 1;
    for (size_t i = 0; i < hostile_program_count; i++) {
        point.params[0].text = hostile_programs[i].name;
        bench_measure(&once, &point);
    }
}
