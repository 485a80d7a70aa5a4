// keeper.h -- A task that keeps its worker: what tests of its capture share.
#ifndef TESTS_SUPPORT_KEEPER_H
#define TESTS_SUPPORT_KEEPER_H

#include <errno.h>
#include <sys/socket.h>

#include "support/dumps.h"

#define NOINLINE __attribute__((noinline))

// Calls before `sink++` are no tail calls.
static volatile unsigned sink;

struct keeper {
    weft_runtime *runtime;
    weft_task task;
    int fd[2];         // a pair of sockets
    int extra;         // the task's own: a descriptor, a process, ...
    atomic_bool stop;  // it is to end
    atomic_uint turns; // what it does, counted
    int64_t began_ns;  // when it entered its call
    int64_t ended_ns;  // when that returned
    bool released;     // it is meant to have ended by then
    long result;       // of the call
    int error;         // its errno
};

// Starts it on a runtime of one worker, and waits for its first turn.
static inline void keep_on(struct keeper *keeper, weft_task_fn *fn,
                           int capture_signal)
{
    weft_runtime_options options = {.size = sizeof options,
                                    .workers = 1,
                                    .no_yield_ns = 1,
                                    .dump_patience_ns = 5 * MS,
                                    .capture_signal = capture_signal};

    expect_is(socketpair(AF_UNIX, SOCK_STREAM, 0, keeper->fd), 0);
    expect_is(weft_runtime_new(&options, &keeper->runtime), 0);
    keeper->task = spawn(keeper->runtime, "keeper", fn, keeper);
    while (atomic_load(&keeper->turns) == 0)
        doze();
}

static inline void keep(struct keeper *keeper, weft_task_fn *fn)
{
    *keeper = (struct keeper){.result = -1};
    keep_on(keeper, fn, 0);
}

// Waits for its end.
static inline void release(struct keeper *keeper)
{
    atomic_store(&keeper->stop, true);
    (void)join(keeper->task);
    expect_is(weft_runtime_free(keeper->runtime), 0);
    close(keeper->fd[0]);
    close(keeper->fd[1]);
}

// ---- What its dumps hold ----

static inline char *text_of(const weft_dump *dump, bool json)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    expect(file != NULL);
    expect_is(json ? weft_dump_print_json(dump, NULL, file)
                   : weft_dump_print_text(dump, NULL, file),
              0);
    expect_is(fclose(file), 0);
    return text;
}

static inline void expect_in(const char *text, const char *wanted)
{
    if (strstr(text, wanted) != NULL)
        return;
    fprintf(stderr, "not there: %s\nin: %s\n", wanted, text);
    abort();
}

// What holds of every dump with a task that keeps its worker.
static inline weft_dump_worker check_kept(const weft_dump *dump,
                                          weft_task handle)
{
    weft_dump_task task = task_of(dump, handle);

    expect_is(info_of(dump).complete, info_of(dump).problem == NULL);
    expect_is(task.state, WEFT_STATE_RUNNING);
    expect_is(task.worker, 0);
    expect_is(worker_at(dump, 0).state, WEFT_WORKER_MISSING);
    expect_is(worker_at(dump, 0).task, task.id);
    return worker_at(dump, 0);
}

static inline void check_stack(const weft_dump *dump, weft_task task,
                               const char *function)
{
    struct chain chain;

    chain_of_stack(dump, task_of(dump, task).stack, &chain);
    expect_is(chain.end, WEFT_STACK_WHOLE);
    expect(chain_has(&chain, function, NULL));
    expect(task_of(dump, task).stack_used > 0);
}

// Why a task has no stack; NULL: it has one.
static inline const char *why_no_stack(const weft_dump *dump, weft_task task)
{
    const uintptr_t *pcs;
    const char *error;
    size_t count;
    enum weft_stack_end end;

    expect_is(weft_dump_get_stack(dump, task_of(dump, task).stack, &pcs, &count,
                                  &end, &error),
              0);
    if (end != WEFT_STACK_UNKNOWN)
        return NULL;
    expect(error != NULL);
    return error;
}

// A machine under load may keep a task from running while it is asked.
static inline bool got_no_processor(const weft_dump *dump, weft_task task)
{
    const char *why = why_no_stack(dump, task);

    if (why == NULL)
        return false;
    printf("# %s\n", why);
    return strstr(why, "no processor") != NULL ||
           strstr(why, "in time") != NULL;
}

// A dump in which it was captured, running.
static inline weft_dump *take_running(const struct keeper *keeper)
{
    for (;;) {
        weft_dump *dump = take(keeper->runtime);
        (void)check_kept(dump, keeper->task);
        if (!got_no_processor(dump, keeper->task))
            return dump;
        weft_dump_free(dump);
    }
}

// ---- What it may do ----

__attribute__((unused)) NOINLINE static void *in_spin(void *arg)
{
    struct keeper *keeper = arg;

    while (!atomic_load(&keeper->stop))
        atomic_fetch_add(&keeper->turns, 1);
    sink++;
    return arg;
}

#endif
