// weft.c -- The public runtime: puts the parts together, and takes them apart.
//
// The one file that knows all folders. Without its lines about dumps a
// runtime works as before, and has none.
#include <weft/weft.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "dump/overflow.h"
#include "dump/rendezvous.h"
#include "dump/rules.h"
#include "dump/standing.h"
#include "dump/trace.h"
#include "io/fd.h"
#include "report/settings.h"
#include "report/signal.h"
#include "report/watch.h"
#include "sched/runtime.h"
#include "sync/outside.h"

enum {
    PATIENCE_MAX_NS = 250000000,
    GRACE_NS = 5000000,
    STACK_DEFAULT = 64 << 10,
    SPARES_DEFAULT = 64,
    HANDOFF_NS = 20000000,
    POOL_MAX = 1 << 16,
    POOL_DEFAULT = 512,
};

static int64_t patience_ns(const weft_runtime_options *o)
{
    return o->dump_patience_ns == 0 ? PATIENCE_MAX_NS : o->dump_patience_ns;
}

static int64_t grace_ns(const weft_runtime_options *o)
{
    if (o->dump_grace_ns != 0)
        return o->dump_grace_ns;
    // Half of the time at least is for finding out about who did not come.
    return patience_ns(o) < 2 * GRACE_NS ? patience_ns(o) / 2 : GRACE_NS;
}

static int capture_signal(const weft_runtime_options *o)
{
    return o->capture_signal == 0 ? SIGURG : o->capture_signal;
}

// What the environment wants of a hostile build.
static unsigned hostile(const char *name, unsigned otherwise)
{
#ifdef WEFT_HOSTILE
    const char *value = getenv(name);

    return value == NULL ? otherwise : (unsigned)strtoul(value, NULL, 10);
#else
    (void)name;
    return otherwise;
#endif
}

// Before there are threads.
__attribute__((constructor)) static void compose(void)
{
    overflow_print = trace_print_pcs;
}

static int check(const weft_runtime_options *o)
{
    if (o->size != sizeof *o || o->workers > WORKERS_MAX)
        return -EINVAL;
    if (o->stack_size != 0 && stack_class(o->stack_size) == 0)
        return -EINVAL;
    if (o->max_tasks > TABLE_MAX || o->no_yield_ns < 0)
        return -EINVAL;
    if (o->handoff_ns < 0 || o->spare_workers > SPARES_MAX)
        return -EINVAL;
    if (o->blocking_threads > POOL_MAX || o->blocking_keep_ns < 0)
        return -EINVAL;
    if (o->dump_patience_ns < 0 || o->dump_patience_ns > PATIENCE_MAX_NS)
        return -EINVAL;
    if (o->dump_grace_ns < 0 || o->dump_grace_ns > patience_ns(o))
        return -EINVAL;
    if (o->dump_threads > DUMP_THREADS_MAX)
        return -EINVAL;
    if (!standing_can_use(capture_signal(o)) ||
        o->dump_signal == capture_signal(o))
        return -EINVAL;
    return signal_check(o->dump_signal) ? 0 : -EINVAL;
}

// What is said of findings and of the watch, here and by the environment.
struct settings {
    weft_finding_options find;
    weft_watch_options watch;
    int64_t no_yield_ns;
    bool watched;
};

static int read_settings(const weft_runtime_options *o,
                         struct settings *ret_settings)
{
    ret_settings->no_yield_ns = o->no_yield_ns;
    return settings_find(o->findings, &ret_settings->find,
                         &ret_settings->no_yield_ns) &&
                   settings_watch(o->watch, &ret_settings->watch,
                                  &ret_settings->watched)
               ? 0
               : -EINVAL;
}

static void settle(struct weft_runtime *runtime, const weft_runtime_options *o,
                   const struct settings *settings)
{
    const char *name = o->name == NULL ? "weft" : o->name;
    size_t stack = o->stack_size;

    if (stack == 0)
        stack = hostile("WEFT_HOSTILE_STACK", STACK_DEFAULT);

    memcpy(runtime->name, name, strnlen(name, WEFT_NAME_MAX - 1));
    runtime->stack_class = stack_class(stack);
    runtime->max_tasks = o->max_tasks == 0 ? TABLE_MAX : o->max_tasks;
    runtime->follows_cpus = o->workers == 0;
    runtime->spares = o->spare_workers == 0 ? SPARES_DEFAULT : o->spare_workers;
    runtime->handoff_ns = o->handoff_ns == 0 ? HANDOFF_NS : o->handoff_ns;
    runtime->no_yield_ns = settings->no_yield_ns == 0 ? 250 * WEFT_MILLISECOND
                                                      : settings->no_yield_ns;
    runtime->ready_ns = settings->find.ready_ns;
    runtime->asleep_ns = settings->find.asleep_ns;
    runtime->dump_patience_ns = patience_ns(o);
    runtime->dump_grace_ns = grace_ns(o);
    runtime->capture_signal = capture_signal(o);
    runtime->dump_threads = o->dump_threads;
    runtime->migrates = hostile("WEFT_HOSTILE_MIGRATION", 0) != 0;
}

static void settle_pool(struct blocking *pool, const weft_runtime_options *o)
{
    pool->limit = o->blocking_threads == 0 ? POOL_DEFAULT : o->blocking_threads;
    pool->queue_limit = o->blocking_queue == 0 ? UINT32_MAX : o->blocking_queue;
    pool->keep_ns =
        o->blocking_keep_ns == 0 ? 10 * WEFT_SECOND : o->blocking_keep_ns;
}

static unsigned workers(const weft_runtime_options *o)
{
    unsigned count = o->workers == 0 ? port_cpus() : o->workers;

    count = hostile("WEFT_HOSTILE_WORKERS", count);
    return count < WORKERS_MAX ? count : WORKERS_MAX;
}

// Everything between the memory and the threads.
static int start(struct weft_runtime *runtime, const weft_runtime_options *o,
                 const struct settings *settings)
{
    int error = runtime_init(runtime, workers(o));

    if (error != 0)
        return error;
    error = fd_table_new(&runtime->driver, runtime->tag, &runtime->fds);
    if (error != 0)
        goto no_fds;
    error = rules_new(runtime, &settings->find);
    if (error != 0)
        goto no_rules;
    error = rendezvous_new(runtime);
    if (error != 0)
        goto no_rendezvous;
    error = signal_begin(runtime, o->dump_signal, o->dump_path);
    if (error != 0)
        goto no_signal;
    if (settings->watched)
        error = watch_begin(runtime, &settings->watch);
    if (error != 0)
        goto no_watch;
    error = runtime_start(runtime);
    if (error == 0)
        return 0;
    watch_end(runtime);
no_watch:
    signal_end(runtime);
no_signal:
    rendezvous_free(runtime);
no_rendezvous:
    rules_free(runtime);
no_rules:
    fd_table_free(runtime->fds);
no_fds:
    runtime_close(runtime);
    runtime_deinit(runtime);
    return error;
}

int weft_runtime_new(const weft_runtime_options *options,
                     weft_runtime **ret_runtime)
{
    weft_runtime_options defaults = {.size = sizeof defaults};
    const weft_runtime_options *o = options == NULL ? &defaults : options;
    struct weft_runtime *runtime;
    struct settings settings;

    if (ret_runtime == NULL || check(o) != 0 ||
        read_settings(o, &settings) != 0)
        return -EINVAL;
    runtime = calloc(1, sizeof *runtime);
    if (runtime == NULL)
        return -ENOMEM;
    settle(runtime, o, &settings);
    settle_pool(&runtime->blocking, o);
    int error = start(runtime, o, &settings);
    if (error != 0) {
        free(runtime);
        return error;
    }
    *ret_runtime = runtime;
    return 0;
}

// With the place of the user's call.
static int run_main(weft_runtime *runtime, weft_task_fn *fn, void *arg,
                    uintptr_t site, void **ret_result)
{
    weft_task_options options = {
        .size = sizeof options, .runtime = runtime, .name = "main"};
    struct spawn spawn = {
        .site = site,
        .deadline_ns = WEFT_NEVER,
    };
    weft_task task;

    if (runtime == NULL || fn == NULL)
        return -EINVAL;
    if (worker_self() != NULL)
        return -EDEADLK;
    int error = task_spawn(&options, fn, arg, &spawn, &task);
    return error != 0 ? error : weft_task_join(task, WEFT_NEVER, ret_result);
}

int weft_runtime_run(weft_runtime *runtime, weft_task_fn *fn, void *arg,
                     void **ret_result)
{
    return run_main(runtime, fn, arg, (uintptr_t)__builtin_return_address(0),
                    ret_result);
}

int weft_runtime_free(weft_runtime *runtime)
{
    struct outsider outsider;

    if (worker_self() != NULL)
        return -EDEADLK;
    if (runtime == NULL)
        return 0;
    outside_enter(&outsider, NULL, runtime);
    runtime_stop(runtime);
    runtime_close(runtime);
    watch_end(runtime);
    signal_end(runtime);
    rendezvous_free(runtime);
    outside_leave(&outsider);
    rules_free(runtime);
    fd_table_free(runtime->fds);
    runtime_deinit(runtime);
    free(runtime);
    return 0;
}

// ---- An end that is not waited for ----
//
//   E1  Each of the two sets its bit of `word`, once it is done with all else:
//       seq_cst, so exactly one finds the other's there, and frees it.

// Who comes last frees it: the thread that ends the runtime, or who waits.
struct ending {
    weft_runtime *runtime;
    atomic_u32 word; // ENDED, LEFT
};

enum { ENDED = 1, LEFT = 2 };

static void *end_runtime(void *arg)
{
    struct ending *ending = arg;

    (void)weft_runtime_free(ending->runtime);     // a thread: cannot fail
    if (or_seq_cst(&ending->word, ENDED) == LEFT) // E1
        free(ending);
    else
        port_futex_wake(&ending->word, 1); // only the address is used
    return NULL;
}

static int await_end(struct ending *ending, int64_t deadline_ns)
{
    int error = 0;

    while (load_acquire(&ending->word) == 0 && error != -ETIMEDOUT) // E1
        error = port_futex_wait(&ending->word, 0, deadline_ns);
    if (or_seq_cst(&ending->word, LEFT) == 0) // E1
        return -ETIMEDOUT;
    free(ending);
    return 0;
}

int weft_runtime_free_by(weft_runtime *runtime, int64_t deadline_ns)
{
    if (worker_self() != NULL)
        return -EDEADLK;
    if (runtime == NULL)
        return 0;
    struct ending *ending = malloc(sizeof *ending);
    if (ending == NULL)
        return -ENOMEM;
    ending->runtime = runtime;
    store_relaxed(&ending->word, 0); // not shared yet
    if (port_thread_start(NULL, "weft-end", end_runtime, ending) != 0) {
        free(ending);
        return -EAGAIN;
    }
    return await_end(ending, deadline_ns);
}

int weft_run(const weft_runtime_options *options, weft_task_fn *fn, void *arg,
             void **ret_result)
{
    weft_runtime *runtime;

    if (fn == NULL)
        return -EINVAL;
    if (worker_self() != NULL)
        return -EDEADLK;
    int error = weft_runtime_new(options, &runtime);
    if (error != 0)
        return error;
    error = run_main(runtime, fn, arg, (uintptr_t)__builtin_return_address(0),
                     ret_result);
    int freed = weft_runtime_free(runtime);
    return error != 0 ? error : freed;
}
