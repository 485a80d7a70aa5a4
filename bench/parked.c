// parked.c -- Many tasks that wait, deep in calls, for what never comes.
#include "parked.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "harness.h"

// Real frames: each function is called, and does something with what it gets.
#define FRAME __attribute__((noinline)) static int

static _Atomic unsigned begun;

FRAME read_bytes(weft_channel *channel)
{
    uint64_t item = 0;
    int error = weft_channel_recv(channel, &item, WEFT_NEVER);

    return error < 0 ? error : (int)item;
}

FRAME read_header(weft_channel *channel)
{
    return read_bytes(channel) + 1;
}

FRAME read_request(weft_channel *channel)
{
    return read_header(channel) + 2;
}

static void *handle_connection(void *channel)
{
    atomic_fetch_add(&begun, 1);
    return (void *)(intptr_t)(read_request(channel) + 3);
}

static void *handle_request(void *channel)
{
    atomic_fetch_add(&begun, 1);
    return (void *)(intptr_t)(read_header(channel) + 4);
}

static void *handle_header(void *channel)
{
    atomic_fetch_add(&begun, 1);
    return (void *)(intptr_t)(read_bytes(channel) + 5);
}

static void *start(void *arg)
{
    static weft_task_fn *const bodies[] = {handle_connection, handle_request,
                                           handle_header};
    unsigned tasks = *(unsigned *)arg;
    weft_channel *channel = NULL;

    for (unsigned i = 0; i < tasks; i++) {
        if (i % PARKED_PER_CHANNEL == 0)
            bench_must(
                weft_channel_new(sizeof(uint64_t), 1, "requests", &channel),
                "weft_channel_new");
        bench_must(weft_task_spawn(NULL, bodies[i % 3], channel, NULL),
                   "weft_task_spawn");
    }
    return NULL;
}

void parked_start(weft_runtime *runtime, unsigned tasks)
{
    bench_must(weft_runtime_run(runtime, start, &tasks, NULL),
               "weft_runtime_run");
    while (atomic_load(&begun) < tasks)
        bench_sleep_ns(WEFT_MILLISECOND);
    bench_sleep_ns(50 * WEFT_MILLISECOND); // the last one parks
}
