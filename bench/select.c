// select.c -- select-ready, select-pingpong: waiting for the first of several.
//
//   select-ready     ns for one select of which one clause, the last, can be
//                    carried out: it receives from a channel which the task
//                    has filled itself before; the send counts in. All other
//                    clauses receive from empty channels. Wall time * workers
//                    / selects. One task per worker.
//   select-pingpong  as chan-pingpong, but each receive is a select of two: of
//                    the ball, and of a channel through which nothing comes.
#include <stdlib.h>

#include "groups.h"
#include "steady.h"

// ---- select-ready ----

static unsigned clause_count;

static weft_channel *make_channel(void)
{
    weft_channel *channel;

    bench_must(weft_channel_new(8, 1, NULL, &channel), "weft_channel_new");
    return channel;
}

static void *select_own(void *arg)
{
    struct doer *doer = arg;
    weft_clause *clauses = malloc(clause_count * sizeof *clauses);
    weft_channel *last = NULL;
    uint64_t item = 1;

    if (clauses == NULL)
        bench_fail("select-ready: no memory");
    for (unsigned i = 0; i < clause_count; i++) {
        last = make_channel();
        clauses[i] = weft_clause_recv(last, &item);
    }
    while (weft_channel_send(last, &item, WEFT_NEVER) == 0 &&
           weft_select(clauses, clause_count, WEFT_NEVER) >= 0)
        doer_count(doer);
    bench_fail("select-ready: a select has failed");
}

static void run_ready(const struct point *point, double *ret_values)
{
    unsigned workers = (unsigned)point_number(point, "workers");

    clause_count = (unsigned)point_number(point, "clauses");
    ret_values[0] = steady_ns(workers, workers, select_own, NULL) * workers;
}

void bench_select_ready(const struct settings *settings)
{
    static const unsigned counts[] = {1, 2, 8, 1000};

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct point point = {
            .names = {"select-ready"},
            .unit = "ns",
            .params = {{"clauses", counts[i], NULL},
                       {"workers", settings->workers, NULL}},
            .runs = 5,
            .run = run_ready,
        };
        bench_measure(settings, &point);
        bench_peers(settings, &point);
    }
}

// ---- select-pingpong ----

struct table {
    weft_channel *there;
    weft_channel *back;
    weft_channel *silent;
};

static int receive(weft_channel *channel, weft_channel *silent, uint64_t *ball)
{
    weft_clause clauses[] = {
        weft_clause_recv(channel, ball),
        weft_clause_recv(silent, ball),
    };

    return weft_select(clauses, 2, WEFT_NEVER);
}

static void *play(void *arg)
{
    struct doer *doer = arg;
    struct table *table = doer->shared;
    uint64_t ball = 0;

    if (doer->index % 2 == 0)
        while (weft_channel_send(table->there, &ball, WEFT_NEVER) == 0 &&
               receive(table->back, table->silent, &ball) == 0)
            doer_count(doer);
    else
        while (receive(table->there, table->silent, &ball) == 0 &&
               weft_channel_send(table->back, &ball, WEFT_NEVER) == 0)
            ball++;
    bench_fail("select-pingpong: a call has failed");
}

static void run_pingpong(const struct point *point, double *ret_values)
{
    unsigned workers = (unsigned)point_number(point, "workers");
    static struct table table; // outlives this call

    table = (struct table){make_channel(), make_channel(), make_channel()};
    ret_values[0] = steady_ns(workers, 2, play, &table);
}

void bench_select_pingpong(const struct settings *settings)
{
    unsigned most = settings->workers;

    for (unsigned workers = 1;; workers = most) {
        struct point point = {
            .names = {"select-pingpong"},
            .unit = "ns",
            .params = {{"workers", workers, NULL}},
            .runs = 5,
            .run = run_pingpong,
        };
        bench_measure(settings, &point);
        bench_peers(settings, &point);
        if (workers == most)
            break;
    }
}
