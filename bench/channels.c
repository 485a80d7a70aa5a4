// channels.c -- oneshot, broadcast, watch-pingpong: channels that are no queue.
//
//   oneshot         one request: a one-shot is made, given to another task
//                   through a channel with room for one, answered through,
//                   received from and freed. Wall time.
//   broadcast       one item from one task to `tasks` that wait for it, and the
//                   word, by a wait group, that all have it. Wall time.
//   watch-pingpong  one round trip between two tasks over two watches: two
//                   values put, two waited for. Wall time.
#include "groups.h"
#include "steady.h"

// ---- oneshot ----

static void *ask_or_answer(void *arg)
{
    struct doer *doer = arg;
    weft_channel *requests = doer->shared;
    weft_channel *reply;
    uint64_t number = 1;

    if (doer->index == 1)
        while (weft_channel_recv(requests, &reply, WEFT_NEVER) == 0 &&
               weft_channel_send(reply, &number, WEFT_NEVER) == 0)
            continue;
    else
        while (weft_oneshot_new(sizeof number, NULL, &reply) == 0 &&
               weft_channel_send(requests, &reply, WEFT_NEVER) == 0 &&
               weft_channel_recv(reply, &number, WEFT_NEVER) == 0 &&
               weft_channel_free(reply) == 0)
            doer_count(doer);
    bench_fail("oneshot: a call has failed");
}

static void run_oneshot(const struct point *point, double *ret_values)
{
    unsigned workers = (unsigned)point_number(point, "workers");
    weft_channel *requests;

    bench_must(weft_channel_new(sizeof(weft_channel *), 1, NULL, &requests),
               "weft_channel_new");
    ret_values[0] = steady_ns(workers, 2, ask_or_answer, requests);
}

// ---- broadcast ----

struct audience {
    weft_broadcast *broadcast;
    weft_waitgroup received;
    weft_waitgroup seated;
    unsigned listeners;
};

static void *listen_to_all(struct audience *audience)
{
    weft_receiver receiver;
    uint64_t item;

    bench_must(weft_broadcast_subscribe(audience->broadcast, &receiver),
               "weft_broadcast_subscribe");
    bench_must(weft_waitgroup_done(&audience->seated), "weft_waitgroup_done");
    while (weft_broadcast_recv(&receiver, &item, WEFT_NEVER) == 0 &&
           weft_waitgroup_done(&audience->received) == 0)
        continue;
    bench_fail("broadcast: a listener's call has failed");
}

static void *speak_or_listen(void *arg)
{
    struct doer *doer = arg;
    struct audience *audience = doer->shared;
    uint64_t item = 0;

    if (doer->index > 0)
        return listen_to_all(audience);
    bench_must(weft_waitgroup_wait(&audience->seated, WEFT_NEVER),
               "weft_waitgroup_wait");
    while (weft_waitgroup_add(&audience->received, audience->listeners) == 0 &&
           weft_broadcast_send(audience->broadcast, &item) == 0 &&
           weft_waitgroup_wait(&audience->received, WEFT_NEVER) == 0)
        doer_count(doer);
    bench_fail("broadcast: the speaker's call has failed");
}

static void run_broadcast(const struct point *point, double *ret_values)
{
    unsigned workers = (unsigned)point_number(point, "workers");
    static struct audience audience; // outlives this call

    audience.listeners = (unsigned)point_number(point, "tasks");
    bench_must(
        weft_broadcast_new(sizeof(uint64_t), 16, NULL, &audience.broadcast),
        "weft_broadcast_new");
    bench_must(weft_waitgroup_init(&audience.received, NULL),
               "weft_waitgroup_init");
    bench_must(weft_waitgroup_init(&audience.seated, NULL),
               "weft_waitgroup_init");
    bench_must(weft_waitgroup_add(&audience.seated, audience.listeners),
               "weft_waitgroup_add");
    ret_values[0] =
        steady_ns(workers, 1 + audience.listeners, speak_or_listen, &audience);
}

// ---- watch-pingpong ----

static void *put_and_follow(void *arg)
{
    struct doer *doer = arg;
    weft_watch **watches = doer->shared;
    weft_watch *own = watches[doer->index];
    weft_watch *other = watches[1 - doer->index];
    uint64_t version = 0;
    uint64_t ball = 0;

    if (doer->index == 0)
        bench_must(weft_watch_send(own, &ball), "weft_watch_send");
    while (weft_watch_recv(other, &version, &ball, WEFT_NEVER) == 0 &&
           weft_watch_send(own, &ball) == 0)
        if (doer->index == 0)
            doer_count(doer);
    bench_fail("watch-pingpong: a call has failed");
}

static void run_watch_pingpong(const struct point *point, double *ret_values)
{
    unsigned workers = (unsigned)point_number(point, "workers");
    static weft_watch *watches[2]; // outlives this call

    for (int i = 0; i < 2; i++)
        bench_must(weft_watch_new(sizeof(uint64_t), NULL, NULL, &watches[i]),
                   "weft_watch_new");
    ret_values[0] = steady_ns(workers, 2, put_and_follow, watches);
}

// ---- The points. ----

// `tasks`: 0 if there is no such parameter.
static void measure(const struct settings *settings, const char *name,
                    int64_t tasks, void (*run)(const struct point *, double *))
{
    unsigned most = settings->workers;

    for (unsigned workers = 1;; workers = most) {
        struct point point = {
            .names = {name},
            .unit = "ns",
            .params = {{"workers", workers, NULL},
                       {tasks > 0 ? "tasks" : NULL, tasks, NULL}},
            .runs = 5,
            .run = run,
        };
        bench_measure(settings, &point);
        bench_peers(settings, &point);
        if (workers == most)
            break;
    }
}

void bench_oneshot(const struct settings *settings)
{
    measure(settings, "oneshot", 0, run_oneshot);
}

void bench_broadcast(const struct settings *settings)
{
    measure(settings, "broadcast", 10, run_broadcast);
}

void bench_watch_pingpong(const struct settings *settings)
{
    measure(settings, "watch-pingpong", 0, run_watch_pingpong);
}
