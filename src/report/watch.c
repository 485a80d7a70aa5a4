// watch.c -- Dumps that a runtime takes by itself.
//
// A thread sleeps until the watchdog rings or a period is over. Then it looks:
// takes a dump, and hands it out if it has findings that count, and others than
// the last one. Signs are told again as long as they last, so one that comes
// too early after the last look is not lost.
//
//   P1  The watchdog changes `bell` (release), then wakes the thread; that
//       loads `bell` (acquire) before it sleeps on it, so it does not miss a
//       ring. `stop` is published the same way.
#include "report/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "dump/model.h"
#include "report/deliver.h"

enum { BACKOFF_MAX = 16 };

struct watch {
    struct weft_runtime *runtime;
    weft_watch_options options; // `path` owned, or NULL
    struct port_thread thread;
    atomic_u32 bell; // P1
    atomic_u32 stop; // P1

    // Of the thread alone.
    uint64_t told;     // the findings of the last dump that was handed out
    int64_t told_at;   // when that was
    bool any;          // whether there was one
    int64_t looked_at; // when it last looked
    int64_t gap_ns;    // until it may look at a sign again
};

// ---- A look ----

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9fb21c651e98df25);
    return hash ^ hash >> 31;
}

// What a finding is about: its rule, and the task, object or place.
static uint64_t hash_finding(const weft_dump *dump,
                             const struct model_finding *finding)
{
    uint64_t hash = mix(1, finding->rule);

    if (finding->task_count > 0)
        hash = mix(hash, model_task(dump, finding->tasks[0]).id);
    if (finding->object != WEFT_NONE)
        hash = mix(hash, dump->objects[finding->object].address);
    if (finding->site != WEFT_NONE)
        hash = mix(hash, dump->sites[finding->site]);
    return hash;
}

// All findings that count, in whatever order. 0: there is none.
static uint64_t hash_findings(const struct watch *watch, const weft_dump *dump)
{
    uint64_t sum = 0;
    bool any = false;

    for (size_t i = 0; i < dump->finding_count; i++) {
        if (dump->findings[i].severity > watch->options.severity)
            continue;
        sum += hash_finding(dump, &dump->findings[i]);
        any = true;
    }
    return any && sum == 0 ? 1 : sum;
}

static void hand_out(struct watch *watch, const weft_dump *dump)
{
    if (watch->options.fn != NULL)
        watch->options.fn(dump, watch->options.arg);
    else
        deliver_dump(dump, watch->options.path);
}

static void judge(struct watch *watch, const weft_dump *dump)
{
    uint64_t findings = hash_findings(watch, dump);
    int64_t now = port_now();

    if (findings == 0) {
        if (watch->gap_ns < BACKOFF_MAX * watch->options.look_ns)
            watch->gap_ns *= 2;
        return;
    }
    watch->gap_ns = watch->options.look_ns;
    if (watch->any && (findings == watch->told ||
                       now - watch->told_at < watch->options.every_ns))
        return;
    watch->any = true;
    watch->told = findings;
    watch->told_at = now;
    hand_out(watch, dump);
}

static void look(struct watch *watch)
{
    weft_dump *dump;
    int error = weft_dump_take(watch->runtime, &dump);

    watch->looked_at = port_now();
    if (error != 0) {
        warn("no dump of runtime \"%s\": %s", watch->runtime->name,
             strerror(-error));
        return;
    }
    judge(watch, dump);
    weft_dump_free(dump);
}

// ---- The thread ----

static int64_t next_period(const struct watch *watch)
{
    int64_t period_ns = watch->options.period_ns;

    return period_ns == 0 ? INT64_MAX : watch->looked_at + period_ns;
}

static bool stopped(struct watch *watch)
{
    return load_acquire(&watch->stop) != 0; // P1
}

// Until the bell is rung or the period is over. True: rung.
static bool await_sign(struct watch *watch)
{
    uint32_t seen = load_acquire(&watch->bell); // P1

    while (!stopped(watch) && load_acquire(&watch->bell) == seen) // P1
        if (port_futex_wait(&watch->bell, seen, next_period(watch)) ==
            -ETIMEDOUT)
            return false;
    return true;
}

// A sign that comes early: another will follow if it lasts.
static bool is_early(const struct watch *watch)
{
    return watch->looked_at != 0 &&
           port_now() - watch->looked_at < watch->gap_ns;
}

static void *serve(void *arg)
{
    struct watch *watch = arg;

    while (!stopped(watch)) {
        bool rung = await_sign(watch);
        if (!stopped(watch) && (!rung || !is_early(watch)))
            look(watch);
    }
    return NULL;
}

static void ring(struct watch *watch)
{
    store_release(&watch->bell, load_relaxed(&watch->bell) + 1); // P1
    port_futex_wake(&watch->bell, 1);
}

// Which sign it is does not matter: the dump will tell.
static void suspect(struct weft_runtime *runtime, enum suspicion suspicion)
{
    (void)suspicion;
    ring(runtime->watch);
}

// ---- Beginning and end ----

static void free_watch(struct watch *watch)
{
    free((char *)(uintptr_t)watch->options.path);
    free(watch);
}

int watch_begin(struct weft_runtime *runtime, const weft_watch_options *options)
{
    struct watch *watch = calloc(1, sizeof *watch);

    if (watch == NULL)
        return -ENOMEM;
    watch->runtime = runtime;
    watch->options = *options;
    watch->gap_ns = options->look_ns;
    if (options->period_ns > 0)
        watch->looked_at = port_now();
    watch->options.path = NULL;
    if (options->path != NULL && options->path[0] != '\0') {
        watch->options.path = strdup(options->path);
        if (watch->options.path == NULL) {
            free_watch(watch);
            return -ENOMEM;
        }
    }
    int error = port_thread_start(&watch->thread, "weft-watch", serve, watch);
    if (error != 0) {
        free_watch(watch);
        return error;
    }
    runtime->watch = watch;
    runtime->suspect = suspect;
    return 0;
}

void watch_end(struct weft_runtime *runtime)
{
    struct watch *watch = runtime->watch;

    if (watch == NULL)
        return;
    store_release(&watch->stop, 1); // P1
    ring(watch);
    port_thread_join(&watch->thread);
    runtime->watch = NULL;
    free_watch(watch);
}
