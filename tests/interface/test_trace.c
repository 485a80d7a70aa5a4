// test_trace.c -- Traces of single tasks and of the caller itself.
#include <errno.h>
#include <pthread.h>

#include "support/dumps.h"

#define NO_INLINE static __attribute__((noinline))
#define KEEP_FRAME __asm__ volatile("")

// ---- Tasks to be traced ----

NO_INLINE int wait_here(weft_channel *gate)
{
    char item;
    int result = weft_channel_recv(gate, &item, WEFT_NEVER);

    KEEP_FRAME;
    return result;
}

static void *parked(void *arg)
{
    int result = wait_here(arg);

    KEEP_FRAME;
    return (void *)(intptr_t)result;
}

static atomic_bool stop;
static atomic_uint laps;

static void *spin(void *arg)
{
    while (!atomic_load(&stop))
        atomic_fetch_add(&laps, 1);
    return arg;
}

static void *nothing(void *arg)
{
    return arg;
}

// Traces until the task stands still; it must, for it is parked or queued.
static weft_trace *trace_of(weft_task task)
{
    weft_trace *trace;
    int error;

    while ((error = weft_trace_task(task, &trace)) == -EBUSY)
        doze();
    expect_is(error, 0);
    return trace;
}

// Traces a task until it is at a function.
static weft_trace *trace_at(weft_task task, const char *function)
{
    struct chain chain;

    for (;; doze()) {
        weft_trace *trace = trace_of(task);
        chain_of_trace(trace, &chain);
        if (chain_has(&chain, function, NULL))
            return trace;
        weft_trace_free(trace);
    }
}

// ---- A parked task ----

static void check_parked(weft_task task)
{
    weft_trace *trace = trace_at(task, "wait_here");
    struct chain chain;

    chain_of_trace(trace, &chain);
    expect_is(chain.end, WEFT_STACK_WHOLE);
    expect_is(chain.count, 2);
    expect_text(chain.frames[0].function, "wait_here");
    expect_text(chain.frames[1].function, "parked");
    expect(chain.frames[0].line > 0 && chain.frames[1].line > 0);
    weft_trace_free(trace);
}

// The trace says where the dump says that the task is.
static void check_as_in_dump(weft_runtime *runtime, weft_task task)
{
    weft_dump *dump = take(runtime);
    weft_trace *trace = trace_of(task);
    const uintptr_t *in_dump, *in_trace;
    size_t dump_count, trace_count;
    enum weft_stack_end end;
    const char *error;

    expect_is(weft_dump_get_stack(dump, task_of(dump, task).stack, &in_dump,
                                  &dump_count, &end, &error),
              0);
    expect_is(weft_trace_get_pcs(trace, &in_trace, &trace_count, &end), 0);
    expect_is(trace_count, dump_count);
    expect(memcmp(in_dump, in_trace, dump_count * sizeof *in_dump) == 0);
    weft_trace_free(trace);
    weft_dump_free(dump);
}

static void test_parked(void **state)
{
    weft_runtime *runtime = start(2);
    weft_channel *gate;

    (void)state;
    expect_is(weft_channel_new(1, 1, "gate", &gate), 0);
    weft_task task = spawn(runtime, NULL, parked, gate);
    check_parked(task);
    check_as_in_dump(runtime, task);
    expect_is(weft_channel_close(gate), 0);
    expect_is(join(task), -EPIPE);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_channel_free(gate), 0);
}

static void *trace_parked(void *arg)
{
    check_parked(*(weft_task *)arg);
    return NULL;
}

// By a task, of its own runtime and of another.
static void test_by_tasks(void **state)
{
    weft_runtime *runtime = start(1);
    weft_runtime *other = start(1);
    weft_channel *gate;

    (void)state;
    expect_is(weft_channel_new(1, 1, "gate", &gate), 0);
    weft_task task = spawn(runtime, NULL, parked, gate);
    weft_trace_free(trace_at(task, "wait_here"));
    expect_is(weft_runtime_run(runtime, trace_parked, &task, NULL), 0);
    expect_is(weft_runtime_run(other, trace_parked, &task, NULL), 0);
    expect_is(weft_channel_close(gate), 0);
    expect_is(join(task), -EPIPE);
    expect_is(weft_runtime_free(other), 0);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_channel_free(gate), 0);
}

// A trace neither runs nor wakes the task: its runs are counted.
static void test_changes_nothing(void **state)
{
    weft_runtime *runtime = start(1);
    weft_channel *gate;

    (void)state;
    expect_is(weft_channel_new(1, 1, "gate", &gate), 0);
    weft_task task = spawn(runtime, NULL, parked, gate);
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 1));
    for (int i = 0; i < 100; i++)
        weft_trace_free(trace_of(task));
    weft_dump *dump = take(runtime);
    expect_is(task_of(dump, task).schedules, 1);
    expect_is(task_of(dump, task).state, WEFT_STATE_WAITING);
    weft_dump_free(dump);
    expect_is(weft_channel_close(gate), 0);
    expect_is(join(task), -EPIPE);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_channel_free(gate), 0);
}

// ---- New, running, ended tasks ----

static void test_new_and_running(void **state)
{
    weft_runtime *runtime = start(1);
    weft_trace *trace;
    struct chain chain;

    (void)state;
    atomic_store(&stop, false);
    atomic_store(&laps, 0);
    weft_task spinner = spawn(runtime, NULL, spin, NULL);
    while (atomic_load(&laps) == 0)
        doze();
    weft_task fresh = spawn(runtime, NULL, nothing, NULL);
    expect_is(weft_trace_task(spinner, &trace), -EBUSY);
    trace = trace_of(fresh);
    chain_of_trace(trace, &chain);
    expect_is(chain.count, 1);
    expect_is(chain.end, WEFT_STACK_WHOLE);
    expect_text(chain.frames[0].function, "nothing");
    weft_trace_free(trace);
    atomic_store(&stop, true);
    (void)join(spinner);
    (void)join(fresh);
    expect_is(weft_runtime_free(runtime), 0);
}

static void test_stale(void **state)
{
    weft_runtime *runtime = start(1);
    weft_task task = spawn(runtime, NULL, nothing, NULL);
    weft_trace *trace;

    (void)state;
    (void)join(task);
    expect_is(weft_trace_task(task, &trace), -ESRCH);
    // The slot is used again by now, by another task.
    weft_task next = spawn(runtime, NULL, nothing, NULL);
    expect_is(weft_trace_task(task, &trace), -ESRCH);
    (void)join(next);
    expect_is(weft_trace_task((weft_task){0}, &trace), -ESRCH);
    expect_is(weft_trace_task((weft_task){UINT64_MAX}, &trace), -ESRCH);
    weft_task far = task;
    far.id |= 0xffffff; // a slot that there never was
    expect_is(weft_trace_task(far, &trace), -ESRCH);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_trace_task(task, &trace), -ESRCH);
}

static void test_bad_arguments(void **state)
{
    const uintptr_t *pcs;
    size_t count;
    enum weft_stack_end end;
    weft_trace *trace;
    weft_frame frame;

    (void)state;
    expect_is(weft_trace_self(NULL), -EINVAL);
    expect_is(weft_trace_task((weft_task){0}, NULL), -EINVAL);
    expect_is(weft_trace_self(&trace), 0);
    expect_is(weft_trace_get_pcs(NULL, &pcs, &count, &end), -EINVAL);
    expect_is(weft_trace_get_pcs(trace, NULL, &count, &end), -EINVAL);
    expect_is(weft_trace_get_frames(NULL, 0, &frame, 1), -EINVAL);
    expect_is(weft_trace_print(NULL, stderr), -EINVAL);
    expect_is(weft_trace_print(trace, NULL), -EINVAL);
    weft_trace_free(trace);
    weft_trace_free(NULL);
}

// ---- Oneself ----

static atomic_int own_line; // several write it: all the same

NO_INLINE weft_trace *trace_oneself(void)
{
    weft_trace *trace;

    atomic_store(&own_line, __LINE__ + 1);
    expect_is(weft_trace_self(&trace), 0);
    KEEP_FRAME;
    return trace;
}

NO_INLINE weft_trace *trace_by_way(void)
{
    weft_trace *trace = trace_oneself();

    KEEP_FRAME;
    return trace;
}

static void check_own(weft_trace *trace, const char *outermost)
{
    struct chain chain;

    chain_of_trace(trace, &chain);
    expect(chain.count >= 3);
    expect_text(chain.frames[0].function, "trace_oneself");
    expect_is(chain.frames[0].line, atomic_load(&own_line));
    expect_text(chain.frames[1].function, "trace_by_way");
    expect_text(chain.frames[2].function, outermost);
    expect_is(chain.end, WEFT_STACK_WHOLE);
    weft_trace_free(trace);
}

static void *self_in_task(void *arg)
{
    for (int i = 0; i < 3; i++) {
        check_own(trace_by_way(), "self_in_task");
        expect_is(weft_task_yield(), 0);
    }
    return arg;
}

static void *self_in_thread(void *arg)
{
    check_own(trace_by_way(), "self_in_thread");
    return arg;
}

static void test_self(void **state)
{
    weft_runtime *runtime = start(2);
    pthread_t thread;
    weft_task tasks[4];

    (void)state;
    check_own(trace_by_way(), "test_self"); // the main thread
    expect_is(pthread_create(&thread, NULL, self_in_thread, NULL), 0);
    (void)pthread_join(thread, NULL);
    for (int i = 0; i < 4; i++)
        tasks[i] = spawn(runtime, NULL, self_in_task, NULL);
    for (int i = 0; i < 4; i++)
        (void)join(tasks[i]);
    expect_is(weft_runtime_free(runtime), 0);
}

static void test_print(void **state)
{
    weft_trace *trace = trace_by_way();
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    (void)state;
    expect(file != NULL);
    expect_is(weft_trace_print(trace, file), 0);
    (void)fclose(file);
    const char *first = strstr(text, "trace_oneself");
    const char *second = strstr(text, "trace_by_way");
    expect(first != NULL && second != NULL && first < second);
    expect(strstr(text, "test_trace.c:") != NULL);
    expect(strstr(second, "test_print") != NULL);
    free(text);
    weft_trace_free(trace);
}

// ---- Against a task that runs ----

enum { STEPS = 6 };

static atomic_ulong turns;

// Stands at other depths all the time, and leaves the stack full of old ones.
NO_INLINE void step(int depth, volatile int *sum)
{
    if (depth > 0)
        step(depth - 1, sum);
    else
        (void)weft_task_yield();
    *sum += depth;
    KEEP_FRAME;
}

static void *wander(void *arg)
{
    volatile int sum = 0;

    for (int i = 0; !atomic_load(&stop); i++) {
        step(i % STEPS, &sum);
        atomic_fetch_add_explicit(&turns, 1, memory_order_relaxed);
    }
    return arg;
}

// What a pc of such a task is; names take long, so they are remembered.
enum kind { KIND_RUNTIME, KIND_STEP, KIND_WANDER };

struct kinds {
    size_t count;
    struct {
        uintptr_t pc;
        enum kind kind;
    } known[64];
};

static enum kind look_up(const weft_trace *trace, uintptr_t pc)
{
    weft_frame frame;

    expect(weft_trace_get_frames(trace, pc, &frame, 1) >= 1);
    if (frame.runtime)
        return KIND_RUNTIME;
    expect(frame.function != NULL);
    if (strcmp(frame.function, "step") == 0)
        return KIND_STEP;
    expect_text(frame.function, "wander");
    return KIND_WANDER;
}

static enum kind kind_of(const weft_trace *trace, uintptr_t pc,
                         struct kinds *kinds)
{
    for (size_t i = 0; i < kinds->count; i++)
        if (kinds->known[i].pc == pc)
            return kinds->known[i].kind;
    expect(kinds->count < sizeof kinds->known / sizeof *kinds->known);
    kinds->known[kinds->count].pc = pc;
    kinds->known[kinds->count].kind = look_up(trace, pc);
    return kinds->known[kinds->count++].kind;
}

// A trace that was kept is of one moment: weft's own frames, then one step
// within another, then their caller; or the task is new.
static void check_wandering(const weft_trace *trace, struct kinds *kinds)
{
    const uintptr_t *pcs;
    size_t count;
    enum weft_stack_end end;
    size_t at = 0;
    size_t steps = 0;

    expect_is(weft_trace_get_pcs(trace, &pcs, &count, &end), 0);
    expect_is(end, WEFT_STACK_WHOLE);
    while (at < count && kind_of(trace, pcs[at], kinds) == KIND_RUNTIME)
        at++;
    for (; at < count && kind_of(trace, pcs[at], kinds) == KIND_STEP; at++)
        steps++;
    expect(at < count && kind_of(trace, pcs[at], kinds) == KIND_WANDER);
    expect(count == 1 || (steps >= 1 && steps <= STEPS));
    while (++at < count) // those in which every task begins
        expect_is(kind_of(trace, pcs[at], kinds), KIND_RUNTIME);
}

struct tracer {
    weft_task *tasks;
    unsigned count;
    atomic_uint kept;
};

static void *trace_many(void *arg)
{
    struct tracer *tracer = arg;
    struct kinds kinds = {0};
    unsigned times = scaled(30000);

    for (unsigned n = 0; n < times; n++) {
        weft_trace *trace;
        int error = weft_trace_task(tracer->tasks[n % tracer->count], &trace);
        expect(error == 0 || error == -EBUSY);
        if (error != 0)
            continue;
        check_wandering(trace, &kinds);
        weft_trace_free(trace);
        atomic_fetch_add(&tracer->kept, 1);
    }
    return NULL;
}

static void test_against_running(void **state)
{
    weft_runtime *runtime = start(2);
    weft_task tasks[8];
    pthread_t threads[2];
    struct tracer tracer = {tasks, 8, 0};

    (void)state;
    atomic_store(&stop, false);
    for (int i = 0; i < 8; i++)
        tasks[i] = spawn(runtime, NULL, wander, NULL);
    while (atomic_load(&turns) < 8)
        doze();
    for (int i = 0; i < 2; i++)
        expect_is(pthread_create(&threads[i], NULL, trace_many, &tracer), 0);
    weft_task asker = spawn(runtime, NULL, trace_many, &tracer);
    for (int i = 0; i < 2; i++)
        (void)pthread_join(threads[i], NULL);
    (void)join(asker);
    expect(atomic_load(&tracer.kept) > 0);
    atomic_store(&stop, true);
    for (int i = 0; i < 8; i++)
        (void)join(tasks[i]);
    expect_is(weft_runtime_free(runtime), 0);
}

// Against tasks that come and go in the same slots.
static void *come_and_go(void *arg)
{
    _Atomic(uint64_t) *current = arg;

    while (!atomic_load(&stop)) {
        weft_task task = spawn(NULL, NULL, nothing, NULL);
        atomic_store(current, task.id);
        (void)join(task);
    }
    return NULL;
}

static void test_against_ending(void **state)
{
    weft_runtime *runtime = start(2);
    _Atomic(uint64_t) current = 0;
    struct chain chain;

    (void)state;
    atomic_store(&stop, false);
    weft_task parent = spawn(runtime, NULL, come_and_go, &current);
    for (unsigned n = 0; n < scaled(5000); n++) {
        weft_trace *trace;
        weft_task task = {atomic_load(&current)};
        int error = weft_trace_task(task, &trace);
        expect(error == 0 || error == -EBUSY || error == -ESRCH);
        if (error != 0)
            continue;
        if (n % 50 == 0) {
            chain_of_trace(trace, &chain);
            expect_is(chain.count, 1);
            expect_text(chain.frames[0].function, "nothing");
        }
        weft_trace_free(trace);
    }
    atomic_store(&stop, true);
    (void)join(parent);
    expect_is(weft_runtime_free(runtime), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parked),
        cmocka_unit_test(test_by_tasks),
        cmocka_unit_test(test_changes_nothing),
        cmocka_unit_test(test_new_and_running),
        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_self),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_against_running),
        cmocka_unit_test(test_against_ending),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
