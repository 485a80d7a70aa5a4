// harness.h -- How a benchmark says what it measures, and how it is measured.
//
// A point is one measurement with all its parameters. Every run of it happens
// in a child process of its own, so none finds what another left behind in
// memory, in the page tables or in the scheduler; the child hands its values
// over through a pipe. Of all runs the table and the JSON show median, least
// and most.
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PARAMS_MAX = 8,
    VALUES_MAX = 12,
    RUNS_MAX = 100,
};

// What the command line says.
struct settings {
    unsigned workers; // those of the largest runtime
    unsigned runs;    // of each point; 0: as the benchmark says
    bool peers;       // other runtimes too
};

// A number, or a text if that is not NULL.
struct param {
    const char *key;
    int64_t number;
    const char *text;
};

struct point {
    // The benchmark that each value of a run belongs to, in their order.
    const char *names[VALUES_MAX];
    const char *unit;              // of all of them, unless there are
    const char *units[VALUES_MAX]; // some for each
    const char *peer;              // what is measured in weft's place, or NULL
    struct param params[PARAMS_MAX];
    unsigned runs; // unless the command line says how many
    // One run, in a process of its own. Stores a value for each name.
    void (*run)(const struct point *point, double *ret_values);
};

// The number of a parameter, which must be there.
int64_t point_number(const struct point *point, const char *key);
const char *point_text(const struct point *point, const char *key);

// Measures a point and prints a line for each of its values that was asked
// for.
void bench_measure(const struct settings *settings, const struct point *point);

// Prints a line that says why a benchmark is left out.
void bench_skip(const char *name, const char *peer, const char *reason);

// In a run: ends it, and fails its point.
void bench_fail(const char *format, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

// In a run: fails unless a weft call, or another with -errno, has succeeded.
void bench_must(int error, const char *call);

// A benchmark that was asked for.
void bench_want(const char *name);

// Prints the machine and the head of the table. The JSON, unless `json_path`
// is NULL, is written by bench_end; that it can be is seen to here. 0 or
// -errno.
int bench_begin(const char *json_path);

// The exit status: 1 if any point failed.
int bench_end(void);

// The path of this program. False: it cannot be had.
bool bench_program(char *ret_path, size_t size);

// Waits in the calling thread.
void bench_sleep_ns(int64_t delay_ns);

#endif
