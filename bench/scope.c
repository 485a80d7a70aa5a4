// scope.c -- scope, scope-next: what scopes cost.
//
//   scope       ns of a worker's time for one child that does nothing, in a
//               scope of a hundred that fails fast: wall time * workers /
//               children. One task per worker enters such a scope, starts the
//               children and leaves it, again and again. limit: how many may
//               run at once; 0: all.
//   scope-next  the same where the task takes the result of each child as it
//               ends, in the order of ending, and then leaves the scope.
#include <string.h>

#include "groups.h"
#include "steady.h"

enum { CHILDREN = 100, FEW = 8 };

static void *do_nothing(void *arg)
{
    (void)arg;
    return NULL;
}

static int one_scope(const weft_scope_options *options, struct doer *doer)
{
    weft_scope scope;
    weft_scope_child child;
    int error = weft_scope_enter_with(&scope, options, WEFT_NEVER);

    if (error != 0)
        return error;
    for (unsigned i = 0; i < CHILDREN && error == 0; i++)
        error = weft_scope_spawn(&scope, NULL, do_nothing, NULL, NULL);
    for (unsigned i = 0; i < CHILDREN && error == 0; i++) {
        if (options->keep)
            error = weft_scope_next(&scope, WEFT_NEVER, &child);
        doer_count(doer);
    }
    int left = weft_scope_leave(&scope);
    return error != 0 ? error : left;
}

static void *use_scopes(void *arg)
{
    struct doer *doer = arg;
    const weft_scope_options *options = doer->shared;
    int error = 0;

    while (error == 0)
        error = one_scope(options, doer);
    bench_fail("a scope: %s", strerror(-error));
}

static double measure_scopes(const struct point *point, bool keep)
{
    unsigned workers = (unsigned)point_number(point, "workers");
    static weft_scope_options options; // outlives this call

    options = (weft_scope_options){
        .size = sizeof options,
        .limit = (uint32_t)point_number(point, "limit"),
        .fail_fast = true,
        .keep = keep,
    };
    return steady_ns(workers, workers, use_scopes, &options) * workers;
}

static void run_scope(const struct point *point, double *ret_values)
{
    ret_values[0] = measure_scopes(point, false);
}

static void run_scope_next(const struct point *point, double *ret_values)
{
    ret_values[0] = measure_scopes(point, true);
}

static void measure(const struct settings *settings, const char *name,
                    void (*run)(const struct point *, double *),
                    unsigned workers, unsigned limit)
{
    struct point point = {
        .names = {name},
        .unit = "ns",
        .params = {{"limit", limit, NULL}, {"workers", workers, NULL}},
        .runs = 5,
        .run = run,
    };

    bench_measure(settings, &point);
    bench_peers(settings, &point);
}

void bench_scope(const struct settings *settings)
{
    unsigned most = settings->workers;

    for (unsigned workers = 1;; workers = most) {
        measure(settings, "scope", run_scope, workers, 0);
        measure(settings, "scope", run_scope, workers, FEW);
        if (workers == most)
            break;
    }
}

void bench_scope_next(const struct settings *settings)
{
    measure(settings, "scope-next", run_scope_next, settings->workers, 0);
}
