// tour_names.c -- The tour's parts about what a dump looks like, and about
// dumps that come by themselves.
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tour.h"

// ---- A deadlock, to have findings ----

static weft_mutex one = WEFT_MUTEX_INIT("one");
static weft_mutex two = WEFT_MUTEX_INIT("two");
static weft_event both = WEFT_EVENT_INIT("both are taken");
static atomic_int taken;

static void *embrace(void *is_first)
{
    weft_mutex *mine = is_first ? &one : &two;
    weft_mutex *other = is_first ? &two : &one;

    if (weft_mutex_lock(mine, WEFT_NEVER) != 0)
        return NULL;
    if (atomic_fetch_add(&taken, 1) == 1)
        weft_event_set(&both);
    (void)weft_task_set_label("role", "deadlocked");
    if (weft_event_wait(&both, WEFT_NEVER) == 0 &&
        weft_mutex_lock(other, WEFT_NEVER) == 0)
        weft_mutex_unlock(other);
    weft_mutex_unlock(mine);
    return NULL;
}

static void start_deadlock(weft_runtime *runtime)
{
    weft_task_options options = {
        .size = sizeof options, .runtime = runtime, .name = "embracing"};

    for (int i = 0; i < 2; i++)
        went_well(
            weft_task_spawn(&options, embrace, i ? (void *)1 : NULL, NULL),
            "spawn");
}

// ---- As text and as JSON ----

typedef int print_fn(const weft_dump *dump, const weft_print_options *options,
                     FILE *file);

static void print(const weft_dump *dump, print_fn *fn, const char *end)
{
    weft_print_options options = {.size = sizeof options, .verbose = true};
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    need(file != NULL, "memory");
    bool good = went_well(fn(dump, &options, file), "print");
    need(fclose(file) == 0, "memory");
    if (good)
        must_hold(size > 100 && strcmp(text + size - strlen(end), end) == 0,
                  "what was printed is whole");
    free(text);
}

// A disk that is full from the beginning.
static void print_in_vain(const weft_dump *dump, print_fn *fn)
{
    FILE *file = fopen("/dev/full", "we");

    need(file != NULL, "a full disk");
    setbuf(file, NULL);
    must_hold(fn(dump, NULL, file) < 0, "a full disk is an error");
    fclose(file);
}

static void print_trace(void)
{
    weft_trace *trace = NULL;
    char *text = NULL;
    size_t size = 0;

    if (!went_well(weft_trace_self(&trace), "trace"))
        return;
    FILE *file = open_memstream(&text, &size);
    need(file != NULL, "memory");
    went_well(weft_trace_print(trace, file), "print a trace");
    need(fclose(file) == 0, "memory");
    weft_trace_free(trace);
    free(text);
}

static void show(weft_runtime *runtime)
{
    weft_dump *dump;

    if (!went_well(weft_dump_take(runtime, &dump), "dump"))
        return;
    print(dump, weft_dump_print_text, "\n");
    print(dump, weft_dump_print_json, "}\n");
    print_in_vain(dump, weft_dump_print_text);
    print_in_vain(dump, weft_dump_print_json);
    weft_dump_free(dump);
    print_trace();
}

static void *show_inside(void *unused)
{
    show(weft_runtime_self());
    return unused;
}

void tour_names(void)
{
    weft_runtime *runtime = begin_runtime(2);

    if (runtime == NULL)
        return;
    start_deadlock(runtime);
    show(runtime);
    went_well(weft_runtime_run(runtime, show_inside, NULL, NULL), "run");
    must_hold(weft_runtime_free(runtime) == 0, "free");
}

// ---- By themselves ----

static atomic_int seen;

static void note(const weft_dump *dump, void *unused)
{
    weft_dump_info info;

    (void)unused;
    must_hold(weft_dump_get_info(dump, &info) == 0 && info.findings > 0,
              "a watch hands out what has findings");
    atomic_fetch_add(&seen, 1);
}

// Waits for something that errors may have kept from coming.
static void await(bool (*come)(const char *), const char *path,
                  const char *what)
{
    for (int i = 0; i < 200 && !come(path); i++)
        usleep(5000);
    went_well(come(path) ? 0 : -ETIMEDOUT, what);
}

static bool file_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static bool watch_spoke(const char *unused)
{
    (void)unused;
    return seen > 0;
}

void tour_signal(void)
{
    const char *folder = getenv("TMPDIR");
    char path[256];
    weft_watch_options watch = {
        .size = sizeof watch, .period_ns = 30 * WEFT_MILLISECOND, .fn = note};
    weft_runtime_options options = {.size = sizeof options,
                                    .workers = 2,
                                    .dump_signal = SIGUSR1,
                                    .dump_path = path,
                                    .watch = &watch};
    weft_runtime *runtime;

    snprintf(path, sizeof path, "%s/weft-tour-%d.json",
             folder == NULL ? "/tmp" : folder, (int)getpid());
    if (!went_well(weft_runtime_new(&options, &runtime), "new"))
        return;
    start_deadlock(runtime);
    must_hold(kill(getpid(), SIGUSR1) == 0, "kill");
    await(file_there, path, "the signal's dump");
    await(watch_spoke, NULL, "the watch's dump");
    must_hold(weft_runtime_free(runtime) == 0, "free");
    (void)unlink(path);
}
