// main.c -- weft-bench: runs the benchmarks that are named, or all.
//
// Their definitions stand at the heads of sched.c, sync.c, locks.c, select.c,
// channels.c, scope.c, time.c, memory.c, dump.c, names.c, hostile.c, broken.c
// and kv.c, and in
// doc/benchmarks.md.
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "groups.h"
#include "steady.h"

enum { EXIT_USAGE = 64, WORKERS_MAX = 1024 };

typedef void bench_fn(const struct settings *settings);

static const struct {
    const char *name;
    bench_fn *run; // twice in a row: measured together
} benches[] = {
    {"yield", bench_yield},
    {"longest-wait", bench_longest_wait},
    {"spawn-join", bench_spawn_join},
    {"chan-pingpong", bench_chan_pingpong},
    {"mutex", bench_mutex},
    {"mutex-contended", bench_mutex_contended},
    {"rwlock-read", bench_rwlock_read},
    {"rwlock-write", bench_rwlock_write},
    {"rwlock-shared", bench_rwlock_shared},
    {"semaphore", bench_semaphore},
    {"event", bench_event},
    {"cond-pingpong", bench_cond_pingpong},
    {"barrier", bench_barrier},
    {"once", bench_once},
    {"blocking", bench_blocking},
    {"waitgroup", bench_waitgroup},
    {"scope", bench_scope},
    {"scope-next", bench_scope_next},
    {"select-ready", bench_select_ready},
    {"select-pingpong", bench_select_pingpong},
    {"oneshot", bench_oneshot},
    {"broadcast", bench_broadcast},
    {"watch-pingpong", bench_watch_pingpong},
    {"timer-cancel", bench_timer_cancel},
    {"timer-churn", bench_timer_churn},
    {"timer-fire", bench_timer_fire},
    {"recv-deadline", bench_recv_deadline},
    {"sleep-late", bench_sleep_late},
    {"sleep-late-p99", bench_sleep_late},
    {"sleep-late-max", bench_sleep_late},
    {"skynet", bench_skynet},
    {"parked-memory", bench_parked_memory},
    {"dump-total", bench_dump},
    {"dump-pause", bench_dump},
    {"dump-slice", bench_dump},
    {"dump-gap", bench_dump},
    {"dump-gap-p999", bench_dump},
    {"dump-gap-p999-quiet", bench_dump},
    {"dump-gap-worst", bench_dump},
    {"dump-total-again", bench_dump},
    {"dump-memory", bench_dump_memory},
    {"dump-names", bench_dump_names},
    {"dump-hostile", bench_dump_hostile},
    {"dump-hostile-p99", bench_dump_hostile},
    {"dump-hostile-p999", bench_dump_hostile},
    {"dump-hostile-max", bench_dump_hostile},
    {"dump-hostile-alone", bench_dump_hostile},
    {"dump-hostile-answered", bench_dump_hostile},
    {"dump-hostile-refused", bench_dump_hostile},
    {"dump-hostile-incomplete", bench_dump_hostile},
    {"dump-hostile-lost", bench_dump_hostile},
    {"broken-naps", bench_broken_naps},
    {"remote-stopped", bench_remote},
    {"remote-total", bench_remote},
    {"kv-server", bench_kv_server},
};

enum { BENCHES = sizeof(benches) / sizeof(benches[0]) };

static bool chosen[BENCHES];

static const char usage[] =
    "usage: weft-bench [NAME...] [--json FILE] [--workers N] [--runs N]\n"
    "                  [--peers] [--cpu] [--list]\n"
    "\n"
    "  --json FILE  write the results to FILE too\n"
    "  --workers N  use N workers (default 2)\n"
    "  --runs N     run everything N times (default: 5, or 3 if it is slow)\n"
    "  --peers      measure other runtimes too: Go, if it is installed\n"
    "  --cpu        of what repeats one operation, measure processor time\n"
    "  --list       print the names of the benchmarks\n";

static void print_names(FILE *file)
{
    for (size_t i = 0; i < BENCHES; i++)
        fprintf(file, "%s\n", benches[i].name);
}

static void choose(const char *name)
{
    for (size_t i = 0; i < BENCHES; i++) {
        if (strcmp(benches[i].name, name) != 0)
            continue;
        chosen[i] = true;
        return;
    }
    fprintf(stderr, "weft-bench: no benchmark \"%s\"; there are:\n", name);
    print_names(stderr);
    exit(EXIT_USAGE);
}

static unsigned read_number(const char *option, const char *text, unsigned most)
{
    unsigned number;
    char rest;

    if (sscanf(text, "%u%c", &number, &rest) == 1 && number >= 1 &&
        number <= most)
        return number;
    fprintf(stderr, "weft-bench: --%s: not a number from 1 to %u: %s\n", option,
            most, text);
    exit(EXIT_USAGE);
}

static const char *read_options(int argc, char **argv,
                                struct settings *ret_settings)
{
    static const struct option options[] = {
        {"json", required_argument, NULL, 'j'},
        {"workers", required_argument, NULL, 'w'},
        {"runs", required_argument, NULL, 'r'},
        {"peers", no_argument, NULL, 'p'},
        {"cpu", no_argument, NULL, 'c'},
        {"list", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *json = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'j':
            json = optarg;
            break;
        case 'w':
            ret_settings->workers = read_number("workers", optarg, WORKERS_MAX);
            break;
        case 'r':
            ret_settings->runs = read_number("runs", optarg, RUNS_MAX);
            break;
        case 'p':
            ret_settings->peers = true;
            break;
        case 'c':
            steady_by_cpu();
            break;
        case 'l':
            print_names(stdout);
            exit(EXIT_SUCCESS);
        case 'h':
            fputs(usage, stdout);
            exit(EXIT_SUCCESS);
        default:
            fputs(usage, stderr);
            exit(EXIT_USAGE);
        }
    }
    return json;
}

int main(int argc, char **argv)
{
    struct settings settings = {.workers = 2};
    const char *json = read_options(argc, argv, &settings);

    for (int i = optind; i < argc; i++)
        choose(argv[i]);
    if (optind == argc)
        memset(chosen, true, sizeof(chosen));
    for (size_t i = 0; i < BENCHES; i++)
        if (chosen[i])
            bench_want(benches[i].name);
    int error = bench_begin(json);
    if (error < 0) {
        fprintf(stderr, "weft-bench: cannot write %s: %s\n", json,
                strerror(-error));
        return EXIT_FAILURE;
    }
    bench_fn *last = NULL;
    for (size_t i = 0; i < BENCHES; i++) {
        if (!chosen[i] || benches[i].run == last)
            continue;
        last = benches[i].run;
        last(&settings);
    }
    return bench_end();
}
