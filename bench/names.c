// names.c -- dump-names: what the names in a dump cost.
//
// Each of 10,000 tasks waits at a place of its own, of which ten lie in each of
// 1,000 functions of this file.
//
//   dump-names  ms from the call of weft_dump_print_json, the first that asks
//               for names, to its return; it writes to /dev/null.
#include <stdio.h>
#include <weft/weft.h>

#include "groups.h"
#include "steady.h"

enum { FUNCTIONS = 1000, PLACES = 10 };

struct place {
    weft_channel *channel;
    unsigned number; // in its function
};

// What follows makes each call one of its own.
#define WAIT(n)                                                                \
    case n:                                                                    \
        (void)weft_channel_recv(place->channel, &item, WEFT_NEVER);            \
        __asm__ volatile("" : : "i"(n));                                       \
        break;

#define FUNCTION(n)                                                            \
    static __attribute__((noinline)) void *wait_##n(void *arg)                 \
    {                                                                          \
        const struct place *place = arg;                                       \
        char item;                                                             \
        switch (place->number) {                                               \
            WAIT(0)                                                            \
            WAIT(1)                                                            \
            WAIT(2)                                                            \
            WAIT(3)                                                            \
            WAIT(4)                                                            \
            WAIT(5)                                                            \
            WAIT(6)                                                            \
            WAIT(7)                                                            \
            WAIT(8)                                                            \
            WAIT(9)                                                            \
        }                                                                      \
        return NULL;                                                           \
    }

#define TEN(x, n)                                                              \
    x(n##0) x(n##1) x(n##2) x(n##3) x(n##4) x(n##5) x(n##6) x(n##7) x(n##8)    \
        x(n##9)
#define HUNDRED(x, n)                                                          \
    TEN(x, n##0)                                                               \
    TEN(x, n##1)                                                               \
    TEN(x, n##2)                                                               \
    TEN(x, n##3)                                                               \
    TEN(x, n##4)                                                               \
    TEN(x, n##5)                                                               \
    TEN(x, n##6)                                                               \
    TEN(x, n##7)                                                               \
    TEN(x, n##8)                                                               \
    TEN(x, n##9)
#define THOUSAND(x)                                                            \
    HUNDRED(x, 1)                                                              \
    HUNDRED(x, 2)                                                              \
    HUNDRED(x, 3)                                                              \
    HUNDRED(x, 4)                                                              \
    HUNDRED(x, 5)                                                              \
    HUNDRED(x, 6)                                                              \
    HUNDRED(x, 7)                                                              \
    HUNDRED(x, 8)                                                              \
    HUNDRED(x, 9)                                                              \
    HUNDRED(x, 10)

THOUSAND(FUNCTION)

#define ENTRY(n) wait_##n,

static weft_task_fn *const functions[FUNCTIONS] = {THOUSAND(ENTRY)};
static struct place places[PLACES];

static void start_tasks(weft_runtime *runtime)
{
    weft_task_options options = {.size = sizeof(options), .runtime = runtime};
    weft_channel *channel;

    bench_must(weft_channel_new(1, 1, "never", &channel), "weft_channel_new");
    for (unsigned i = 0; i < PLACES; i++) {
        places[i] = (struct place){channel, i};
        for (unsigned j = 0; j < FUNCTIONS; j++)
            bench_must(
                weft_task_spawn(&options, functions[j], &places[i], NULL),
                "weft_task_spawn");
    }
}

// A dump in which all of them wait.
static weft_dump *take(weft_runtime *runtime)
{
    weft_dump_task task;
    weft_dump *dump;

    for (;;) {
        unsigned waiting = 0;
        bench_must(weft_dump_take(runtime, &dump), "weft_dump_take");
        for (size_t i = 0; weft_dump_get_task(dump, i, &task) == 0; i++)
            waiting += task.state == WEFT_STATE_WAITING;
        if (waiting >= FUNCTIONS * PLACES)
            return dump;
        weft_dump_free(dump);
    }
}

static void run_names(const struct point *point, double *ret_values)
{
    weft_runtime *runtime =
        steady_runtime((unsigned)point_number(point, "workers"));
    FILE *nowhere = fopen("/dev/null", "w");

    if (nowhere == NULL)
        bench_fail("/dev/null cannot be opened");
    start_tasks(runtime);
    weft_dump *dump = take(runtime);
    int64_t start = weft_time_now();
    bench_must(weft_dump_print_json(dump, NULL, nowhere),
               "weft_dump_print_json");
    ret_values[0] = (double)(weft_time_now() - start) / WEFT_MILLISECOND;
    (void)fclose(nowhere);
}

void bench_dump_names(const struct settings *settings)
{
    struct point point = {
        .names = {"dump-names"},
        .unit = "ms",
        .params = {{"tasks", (int64_t)FUNCTIONS * PLACES, NULL},
                   {"workers", settings->workers, NULL}},
        .runs = 5,
        .run = run_names,
    };

    bench_measure(settings, &point);
}
