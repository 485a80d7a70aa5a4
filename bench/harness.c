// harness.c -- Runs points in processes of their own; the table and the JSON.
#include "harness.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <weft/base.h>

enum {
    WANTED_MAX = 64,
    RUN_SECONDS_MAX = 300, // then a run is ended by SIGALRM
};

static const char *wanted[WANTED_MAX];
static size_t wanted_count;
static const char *json_path;
static FILE *json_file;
static FILE *json; // in memory, until all is measured
static char *json_text;
static size_t json_size;
static bool any_failed;

// ---- Points. ----

static const struct param *find_param(const struct point *point,
                                      const char *key)
{
    for (size_t i = 0; i < PARAMS_MAX && point->params[i].key != NULL; i++)
        if (strcmp(point->params[i].key, key) == 0)
            return &point->params[i];
    bench_fail("%s has no parameter %s", point->names[0], key);
}

int64_t point_number(const struct point *point, const char *key)
{
    return find_param(point, key)->number;
}

const char *point_text(const struct point *point, const char *key)
{
    return find_param(point, key)->text;
}

static size_t count_names(const struct point *point)
{
    size_t count = 0;

    while (count < VALUES_MAX && point->names[count] != NULL)
        count++;
    return count;
}

void bench_want(const char *name)
{
    if (wanted_count < WANTED_MAX)
        wanted[wanted_count++] = name;
}

static bool is_wanted(const char *name)
{
    for (size_t i = 0; i < wanted_count; i++)
        if (strcmp(wanted[i], name) == 0)
            return true;
    return false;
}

// ---- One run. ----

void bench_fail(const char *format, ...)
{
    va_list arguments;

    fputs("weft-bench: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    _exit(EXIT_FAILURE);
}

void bench_must(int error, const char *call)
{
    if (error < 0)
        bench_fail("%s: %s", call, strerror(-error));
}

void bench_sleep_ns(int64_t delay_ns)
{
    struct timespec rest = {
        .tv_sec = delay_ns / WEFT_SECOND,
        .tv_nsec = delay_ns % WEFT_SECOND,
    };

    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        continue;
}

bool bench_program(char *ret_path, size_t size)
{
    ssize_t length = readlink("/proc/self/exe", ret_path, size - 1);

    if (length <= 0 || length == (ssize_t)size - 1)
        return false;
    ret_path[length] = '\0';
    return true;
}

// The child ends at once, with all its tasks as they are: taking a million of
// them down in order is no part of any measurement.
static void run_in_child(const struct point *point, int out)
{
    double values[VALUES_MAX] = {0};
    size_t bytes = count_names(point) * sizeof(values[0]);

    alarm(RUN_SECONDS_MAX);
    point->run(point, values);
    _exit(write(out, values, bytes) == (ssize_t)bytes ? EXIT_SUCCESS
                                                      : EXIT_FAILURE);
}

static bool explain(const struct point *point, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (WIFSIGNALED(status))
        fprintf(stderr, "weft-bench: a run of %s was ended by signal %d (%s)\n",
                point->names[0], WTERMSIG(status), strsignal(WTERMSIG(status)));
    return false;
}

static bool run_once(const struct point *point, double *ret_values)
{
    size_t bytes = count_names(point) * sizeof(*ret_values);
    int ends[2], status = 0;

    if (pipe(ends) != 0)
        return false;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        run_in_child(point, ends[1]);
    }
    close(ends[1]);
    ssize_t count = child < 0 ? -1 : read(ends[0], ret_values, bytes);
    close(ends[0]);
    if (child < 0 || waitpid(child, &status, 0) != child)
        return false;
    return explain(point, status) && count == (ssize_t)bytes;
}

// ---- What comes out. ----

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median_of(const double *sorted, unsigned count)
{
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

static void print_figure(double value)
{
    printf("%12.*f", value >= 1000 ? 0 : value >= 100 ? 1 : 2, value);
}

static void print_label(const char *name, const char *peer)
{
    char label[64];

    snprintf(label, sizeof(label), peer == NULL ? "%s" : "%s (%s)", name, peer);
    printf("%-23s ", label);
}

static void print_params(const struct point *point)
{
    char text[256] = "";
    size_t at = 0;

    for (size_t i = 0; i < PARAMS_MAX && point->params[i].key != NULL; i++) {
        const struct param *param = &point->params[i];
        const char *space = i == 0 ? "" : " ";
        at += (size_t)(param->text != NULL
                           ? snprintf(text + at, sizeof(text) - at, "%s%s=%s",
                                      space, param->key, param->text)
                           : snprintf(text + at, sizeof(text) - at,
                                      "%s%s=%" PRId64, space, param->key,
                                      param->number));
    }
    printf("%-46s ", text);
}

// Keys, names and texts are the benchmarks' own words: nothing to escape.
static void json_row(const struct point *point, const char *name,
                     const char *unit, const double *sorted, unsigned runs)
{
    fprintf(json, "%s\n  {\"name\": \"%s\", \"params\": {",
            ftell(json) > 1 ? "," : "", name);
    for (size_t i = 0; i < PARAMS_MAX && point->params[i].key != NULL; i++) {
        const struct param *param = &point->params[i];
        fprintf(json, "%s\"%s\": ", i == 0 ? "" : ", ", param->key);
        if (param->text != NULL)
            fprintf(json, "\"%s\"", param->text);
        else
            fprintf(json, "%" PRId64, param->number);
    }
    fprintf(json,
            "}, \"unit\": \"%s\", \"median\": %.6g, \"min\": %.6g, "
            "\"max\": %.6g, \"runs\": %u, \"peer\": ",
            unit, median_of(sorted, runs), sorted[0], sorted[runs - 1], runs);
    if (point->peer == NULL)
        fprintf(json, "null}");
    else
        fprintf(json, "\"%s\"}", point->peer);
}

// Of value `which` of the point.
static void report(const struct point *point, size_t which, double *samples,
                   unsigned runs)
{
    const char *name = point->names[which];
    const char *unit =
        point->units[which] == NULL ? point->unit : point->units[which];

    qsort(samples, runs, sizeof(*samples), compare);
    print_label(name, point->peer);
    print_params(point);
    print_figure(median_of(samples, runs));
    print_figure(samples[0]);
    print_figure(samples[runs - 1]);
    printf("  %-5s %4u\n", unit, runs);
    if (json != NULL)
        json_row(point, name, unit, samples, runs);
}

static void report_failure(const struct point *point, const char *name)
{
    any_failed = true;
    print_label(name, point->peer);
    print_params(point);
    printf("      failed\n");
}

void bench_skip(const char *name, const char *peer, const char *reason)
{
    print_label(name, peer);
    printf("skipped: %s\n", reason);
    fflush(stdout);
}

void bench_measure(const struct settings *settings, const struct point *point)
{
    static double samples[VALUES_MAX][RUNS_MAX];
    unsigned runs = settings->runs != 0 ? settings->runs : point->runs;
    size_t names = count_names(point);
    bool whole = true;

    for (unsigned run = 0; whole && run < runs; run++) {
        double values[VALUES_MAX];
        whole = run_once(point, values);
        for (size_t i = 0; whole && i < names; i++)
            samples[i][run] = values[i];
    }
    for (size_t i = 0; i < names; i++) {
        if (!is_wanted(point->names[i]))
            continue;
        if (whole)
            report(point, i, samples[i], runs);
        else
            report_failure(point, point->names[i]);
    }
    fflush(stdout);
}

// ---- Beginning and end. ----

static void read_model(char *ret_model, size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];

    snprintf(ret_model, size, "unknown CPU");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL)
            continue;
        snprintf(ret_model, size, "%s", colon + 2);
        ret_model[strcspn(ret_model, "\n")] = '\0';
        break;
    }
    if (file != NULL)
        fclose(file);
}

static void print_machine(void)
{
    struct utsname name;
    char model[128];
    double bytes =
        (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);

    read_model(model, sizeof(model));
    uname(&name);
    printf("weft %s; %s, %ld CPUs, %.1f GiB; %s %s %s\n\n", WEFT_VERSION, model,
           sysconf(_SC_NPROCESSORS_ONLN), bytes / (1 << 30), name.sysname,
           name.release, name.machine);
}

int bench_begin(const char *path)
{
    json_path = path;
    if (path != NULL) {
        json_file = fopen(path, "w");
        json =
            json_file == NULL ? NULL : open_memstream(&json_text, &json_size);
        if (json == NULL)
            return -errno;
        fputc('[', json);
    }
    print_machine();
    printf("%-23s %-46s %12s%12s%12s  %-5s %4s\n", "benchmark", "parameters",
           "median", "min", "max", "unit", "runs");
    fflush(stdout);
    return 0;
}

static bool write_json(void)
{
    bool written = fputs("\n]\n", json) >= 0 && fclose(json) == 0 &&
                   fwrite(json_text, 1, json_size, json_file) == json_size;

    if (fclose(json_file) != 0 || !written) {
        fprintf(stderr, "weft-bench: cannot write %s\n", json_path);
        return false;
    }
    return true;
}

int bench_end(void)
{
    if (json != NULL && !write_json())
        return EXIT_FAILURE;
    return any_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
