// dumps.h -- What the tests of dumps share: checks, runs, looking things up.
//
// Checks abort: cmocka's own jump to another stack, so that tasks cannot use
// them. Nothing here measures time; what takes its time is waited for, and the
// test's time-out ends what never comes.
#ifndef TESTS_SUPPORT_DUMPS_H
#define TESTS_SUPPORT_DUMPS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <weft/weft.h>

#include <cmocka.h>

#define MS WEFT_MILLISECOND

#include "support/sanitizers.h"
#include "support/scale.h"

#define expect(condition)                                                      \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

// A number that is to be equal, shown if it is not.
#define expect_is(value, wanted)                                               \
    do {                                                                       \
        long long got_ = (long long)(value);                                   \
        long long wanted_ = (long long)(wanted);                               \
        if (got_ != wanted_) {                                                 \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__,         \
                    __LINE__, #value, got_, wanted_);                          \
            abort();                                                           \
        }                                                                      \
    } while (0)

// A string that is to be equal; NULL is none.
#define expect_text(value, wanted)                                             \
    do {                                                                       \
        const char *got_ = (value);                                            \
        const char *wanted_ = (wanted);                                        \
        if (got_ == NULL || strcmp(got_, wanted_) != 0) {                      \
            fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__,     \
                    __LINE__, #value, got_ == NULL ? "(null)" : got_,          \
                    wanted_);                                                  \
            abort();                                                           \
        }                                                                      \
    } while (0)

#ifdef WEFT_HOSTILE
#define UNDER_HOSTILE 1
#else
#define UNDER_HOSTILE 0
#endif

// How often to do what is done `often` by default: a tenth of it under TSan, a
// fifth under ASan, half in hostile builds, which are slow.
static inline unsigned scaled(unsigned often)
{
    return (unsigned)scale_times((int)often, UNDER_TSAN      ? 0.1
                                             : UNDER_ASAN    ? 0.2
                                             : UNDER_HOSTILE ? 0.5
                                                             : 1);
}

// ---- Threads and runtimes ----

// Lets a little time pass, between two looks at something.
static inline void doze(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

// Whether a thread of this process sleeps in a futex, or has ended: one that
// was about to ask for a dump has done so.
static inline bool sleeps_in_futex(int tid)
{
    char path[64];
    long number = -1;

    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return true;
    if (fscanf(file, "%ld", &number) != 1)
        number = -1; // "running"
    (void)fclose(file);
    return number == SYS_futex;
}

static inline weft_runtime *start(unsigned workers)
{
    weft_runtime_options options = {.size = sizeof options, .workers = workers};
    weft_runtime *runtime;

    expect_is(weft_runtime_new(&options, &runtime), 0);
    return runtime;
}

// The same, waiting for its workers at a dump as long as can be: a busy machine
// may keep one away for longer than the default.
static inline weft_runtime *start_patient(unsigned workers)
{
    weft_runtime_options options = {
        .size = sizeof options, .workers = workers, .dump_grace_ns = 250 * MS};
    weft_runtime *runtime;

    expect_is(weft_runtime_new(&options, &runtime), 0);
    return runtime;
}

// Starts a joinable task from any thread; `name` may be NULL.
static inline weft_task spawn(weft_runtime *runtime, const char *name,
                              weft_task_fn *fn, void *arg)
{
    weft_task_options options = {
        .size = sizeof options, .runtime = runtime, .name = name};
    weft_task task;

    expect_is(weft_task_spawn(&options, fn, arg, &task), 0);
    return task;
}

static inline intptr_t join(weft_task task)
{
    void *result;

    expect_is(weft_task_join(task, WEFT_NEVER, &result), 0);
    return (intptr_t)result;
}

// ---- Dumps ----

static inline weft_dump *take(weft_runtime *runtime)
{
    weft_dump *dump = NULL;

    expect_is(weft_dump_take(runtime, &dump), 0);
    expect(dump != NULL);
    return dump;
}

static inline weft_dump_info info_of(const weft_dump *dump)
{
    weft_dump_info info;

    expect_is(weft_dump_get_info(dump, &info), 0);
    return info;
}

static inline weft_dump_task task_at(const weft_dump *dump, size_t index)
{
    weft_dump_task task;

    expect_is(weft_dump_get_task(dump, index, &task), 0);
    return task;
}

static inline weft_dump_worker worker_at(const weft_dump *dump, size_t index)
{
    weft_dump_worker worker;

    expect_is(weft_dump_get_worker(dump, index, &worker), 0);
    return worker;
}

// How often a task is in a dump.
static inline unsigned times_in(const weft_dump *dump, weft_task handle,
                                weft_dump_task *ret_task)
{
    size_t count = info_of(dump).tasks;
    unsigned times = 0;

    for (size_t i = 0; i < count; i++) {
        weft_dump_task task = task_at(dump, i);
        if (task.handle.id == handle.id) {
            *ret_task = task;
            times++;
        }
    }
    return times;
}

// A task that is in the dump, exactly once.
static inline weft_dump_task task_of(const weft_dump *dump, weft_task handle)
{
    weft_dump_task task;

    expect_is(times_in(dump, handle, &task), 1);
    return task;
}

// The same for many tasks of one dump, in time n log n: all of it by handle.
struct listing {
    weft_dump_task *tasks;
    size_t count;
};

static inline int by_handle(const void *left, const void *right)
{
    uint64_t a = ((const weft_dump_task *)left)->handle.id;
    uint64_t b = ((const weft_dump_task *)right)->handle.id;

    return (a > b) - (a < b);
}

static inline struct listing list_tasks(const weft_dump *dump)
{
    struct listing listing = {.count = info_of(dump).tasks};

    listing.tasks = malloc((listing.count + 1) * sizeof *listing.tasks);
    expect(listing.tasks != NULL);
    for (size_t i = 0; i < listing.count; i++)
        listing.tasks[i] = task_at(dump, i);
    qsort(listing.tasks, listing.count, sizeof *listing.tasks, by_handle);
    for (size_t i = 1; i < listing.count; i++)
        expect(by_handle(&listing.tasks[i - 1], &listing.tasks[i]) < 0);
    return listing;
}

static inline weft_dump_task listed(const struct listing *listing,
                                    weft_task handle)
{
    weft_dump_task wanted = {.handle = handle};
    const weft_dump_task *found =
        bsearch(&wanted, listing->tasks, listing->count, sizeof *listing->tasks,
                by_handle);

    expect(found != NULL);
    return *found;
}

static inline uint64_t id_of(const weft_dump *dump, weft_task handle)
{
    return task_of(dump, handle).id;
}

static inline weft_dump_object object_at(const weft_dump *dump, uint32_t index)
{
    weft_dump_object object;

    expect_is(weft_dump_get_object(dump, index, &object), 0);
    return object;
}

static inline size_t workers_in_state(const weft_dump *dump,
                                      enum weft_worker_state state)
{
    size_t count = info_of(dump).workers;
    size_t found = 0;

    for (size_t i = 0; i < count; i++)
        found += worker_at(dump, i).state == state;
    return found;
}

static inline size_t tasks_in_state(const weft_dump *dump,
                                    enum weft_task_state state)
{
    size_t count = info_of(dump).tasks;
    size_t found = 0;

    for (size_t i = 0; i < count; i++)
        found += task_at(dump, i).state == state;
    return found;
}

// Whether every worker was at the meeting, or slept.
static inline bool all_met(const weft_dump *dump)
{
    return workers_in_state(dump, WEFT_WORKER_MISSING) == 0;
}

// Takes dumps until one shows `count` tasks in a state, and returns that one.
static inline weft_dump *take_when(weft_runtime *runtime,
                                   enum weft_task_state state, size_t count)
{
    for (;; doze()) {
        weft_dump *dump = take(runtime);
        if (all_met(dump) && tasks_in_state(dump, state) == count)
            return dump;
        weft_dump_free(dump);
    }
}

// ---- Stacks ----

enum { CHAIN_MAX = 192 };

// The frames of a stack, leaf first, without weft's own.
struct chain {
    size_t count;
    enum weft_stack_end end;
    weft_frame frames[CHAIN_MAX];
};

static inline void chain_add(struct chain *chain, const weft_frame *frames,
                             int count)
{
    for (int i = 0; i < count; i++)
        if (!frames[i].runtime) {
            expect(chain->count < CHAIN_MAX);
            chain->frames[chain->count++] = frames[i];
        }
}

static inline void chain_of_stack(const weft_dump *dump, uint32_t stack,
                                  struct chain *ret_chain)
{
    weft_frame frames[16];
    const uintptr_t *pcs;
    const char *error;
    size_t count;

    ret_chain->count = 0;
    expect_is(
        weft_dump_get_stack(dump, stack, &pcs, &count, &ret_chain->end, &error),
        0);
    for (size_t i = 0; i < count; i++) {
        int got = weft_dump_get_frames(dump, pcs[i], frames, 16);
        expect(got > 0 && got <= 16);
        chain_add(ret_chain, frames, got);
    }
}

static inline void chain_of_trace(const weft_trace *trace,
                                  struct chain *ret_chain)
{
    weft_frame frames[16];
    const uintptr_t *pcs;
    size_t count;

    ret_chain->count = 0;
    expect_is(weft_trace_get_pcs(trace, &pcs, &count, &ret_chain->end), 0);
    for (size_t i = 0; i < count; i++) {
        int got = weft_trace_get_frames(trace, pcs[i], frames, 16);
        expect(got > 0 && got <= 16);
        chain_add(ret_chain, frames, got);
    }
}

// Whether a chain holds a function; its first frame goes to *ret_frame unless
// that is NULL.
static inline bool chain_has(const struct chain *chain, const char *function,
                             weft_frame *ret_frame)
{
    for (size_t i = 0; i < chain->count; i++) {
        const weft_frame *frame = &chain->frames[i];
        if (frame->function == NULL || strcmp(frame->function, function) != 0)
            continue;
        if (ret_frame != NULL)
            *ret_frame = *frame;
        return true;
    }
    return false;
}

// The innermost function at a place, and its line.
static inline weft_frame place_at(const weft_dump *dump, uintptr_t pc)
{
    weft_frame frame;

    expect(weft_dump_get_frames(dump, pc, &frame, 1) >= 1);
    return frame;
}

#endif
