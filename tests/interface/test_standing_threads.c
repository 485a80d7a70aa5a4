// test_standing_threads.c -- Threads that are no workers, in dumps: those of
// the pool, and those of the program that are blocked in a call of weft's.
#include <fcntl.h>
#include <pthread.h>

#include "support/keeper.h"
#include "support/skip.h"

static weft_dump_thread thread_at(const weft_dump *dump, size_t index)
{
    weft_dump_thread thread;

    expect_is(weft_dump_get_thread(dump, index, &thread), 0);
    return thread;
}

// The thread with a tid; false: there is none.
static bool find_thread(const weft_dump *dump, int tid,
                        weft_dump_thread *ret_thread)
{
    size_t count = info_of(dump).threads;

    for (size_t i = 0; i < count; i++) {
        *ret_thread = thread_at(dump, i);
        if (ret_thread->tid == tid)
            return true;
    }
    return false;
}

// Dumps until a thread is in one in a state, its stack whole and with a certain
// function.
static weft_dump *take_with(weft_runtime *runtime, atomic_int *tid,
                            enum weft_thread_state state, const char *function,
                            weft_dump_thread *ret_thread)
{
    for (;; doze()) {
        struct chain chain = {.count = 0, .end = WEFT_STACK_UNKNOWN};
        weft_dump *dump = take(runtime);
        bool there = find_thread(dump, atomic_load(tid), ret_thread) &&
                     ret_thread->state == state;
        if (there)
            chain_of_stack(dump, ret_thread->stack, &chain);
        if (there && chain.end == WEFT_STACK_WHOLE &&
            (function == NULL || chain_has(&chain, function, NULL)))
            return dump;
        weft_dump_free(dump);
    }
}

static void check_words(const weft_dump *dump, const char *text_words,
                        const char *json_words)
{
    char *text = text_of(dump, false);
    char *json = text_of(dump, true);

    expect_in(text, "THREADS besides the workers: ");
    expect_in(text, text_words);
    expect_in(json, json_words);
    free(text);
    free(json);
}

// ---- The pool ----

struct job {
    int fd[2];
    atomic_int tid;
    atomic_bool stop;
    weft_task task;
};

NOINLINE static void *read_in_pool(void *arg)
{
    struct job *job = arg;
    char byte;

    atomic_store(&job->tid, (int)syscall(SYS_gettid));
    ssize_t got = read(job->fd[0], &byte, 1);
    sink++;
    return (void *)(intptr_t)got;
}

NOINLINE static void *spin_in_pool(void *arg)
{
    struct job *job = arg;

    atomic_store(&job->tid, (int)syscall(SYS_gettid));
    while (!atomic_load(&job->stop))
        continue;
    sink++;
    return (void *)1;
}

static void *have_read(void *arg)
{
    void *result;

    expect_is(weft_blocking_run(read_in_pool, arg, &result), 0);
    return result;
}

static void *have_spun(void *arg)
{
    void *result;

    expect_is(weft_blocking_run(spin_in_pool, arg, &result), 0);
    return result;
}

static void test_pool(void **state)
{
    struct job job = {.tid = 0};
    weft_runtime *runtime = start(2);
    weft_dump_thread thread;
    char wanted[128];

    (void)state;
    expect_is(pipe2(job.fd, O_CLOEXEC), 0);
    job.task = spawn(runtime, "reader", have_read, &job);
    weft_dump *dump = take_with(runtime, &job.tid, WEFT_THREAD_CALLING,
                                "read_in_pool", &thread);
    expect_is(thread.kind, WEFT_THREAD_POOL);
    expect_text(thread.name, "weft-blocking");
    expect_is(thread.task, id_of(dump, job.task));
    expect_text(place_at(dump, thread.fn_pc).function, "read_in_pool");
    expect(thread.in_syscall);
    expect_is(thread.syscall, SYS_read);
    expect_is(thread.syscall_fd, job.fd[0]);
    expect(strncmp(thread.syscall_fd_name, "pipe:[", 6) == 0);
    expect(info_of(dump).complete);
    snprintf(wanted, sizeof wanted, "calling read_in_pool for T%llu \"reader\"",
             (unsigned long long)thread.task);
    check_words(dump, wanted, "\"state\": \"calling\"");
    weft_dump_free(dump);
    expect_is(write(job.fd[1], "x", 1), 1);
    expect_is(join(job.task), 1); // and not EINTR

    dump = take_with(runtime, &job.tid, WEFT_THREAD_IDLE, NULL, &thread);
    expect_is(thread.task, 0);
    expect_is(thread.fn_pc, 0);
    check_words(dump, "1 pool thread is idle", "\"state\": \"idle\"");
    weft_dump_free(dump);
    expect_is(weft_runtime_free(runtime), 0);
    close(job.fd[0]);
    close(job.fd[1]);
}

// One that runs is interrupted, as a worker is.
static void test_pool_running(void **state)
{
    struct job job = {.tid = 0};
    weft_runtime *runtime = start(2);
    weft_dump_thread thread;

    (void)state;
    if (UNDER_TSAN)
        skip_because("handlers run late under ThreadSanitizer");
    job.task = spawn(runtime, "spinner", have_spun, &job);
    for (unsigned i = 0; i < scaled(10); i++) {
        weft_dump *dump = take_with(runtime, &job.tid, WEFT_THREAD_CALLING,
                                    "spin_in_pool", &thread);
        expect(!thread.in_syscall);
        weft_dump_free(dump);
    }
    atomic_store(&job.stop, true);
    expect_is(join(job.task), 1);
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- The program's ----

struct visitor {
    weft_runtime *runtime;
    weft_channel *channel;
    weft_task task;
    pthread_t thread;
    atomic_int tid;
    int result;
};

static void begin(struct visitor *visitor, void *(*fn)(void *))
{
    expect_is(pthread_create(&visitor->thread, NULL, fn, visitor), 0);
    while (atomic_load(&visitor->tid) == 0)
        doze();
}

static void arrive(struct visitor *visitor)
{
    atomic_store(&visitor->tid, (int)syscall(SYS_gettid));
}

NOINLINE static void *receive_outside(void *arg)
{
    struct visitor *visitor = arg;
    int item;

    arrive(visitor);
    visitor->result = weft_channel_recv(visitor->channel, &item,
                                        weft_time_now() + 3600000 * MS);
    sink++;
    return NULL;
}

static void test_channel(void **state)
{
    struct visitor visitor = {.runtime = start(1)};
    weft_dump_thread thread;
    int item = 1;

    (void)state;
    expect_is(weft_channel_new(sizeof item, 1, "orders", &visitor.channel), 0);
    begin(&visitor, receive_outside);
    weft_dump *dump =
        take_with(visitor.runtime, &visitor.tid, WEFT_THREAD_WAITING,
                  "receive_outside", &thread);
    expect_is(thread.kind, WEFT_THREAD_FOREIGN);
    expect_is(thread.wait, WEFT_WAIT_CHAN_RECV);
    expect_text(thread.object_name, "orders");
    expect(thread.object == (uintptr_t)visitor.channel);
    expect(thread.timeout_in_ns > 0 && thread.timeout_in_ns <= 3600000 * MS);
    expect(thread.runtime == NULL);
    expect(thread.in_syscall && thread.syscall == SYS_futex);
    check_words(dump, ": receive on channel \"orders\", gives up in ",
                "\"object_name\": \"orders\"");
    weft_dump_free(dump);
    expect_is(weft_channel_send(visitor.channel, &item, WEFT_NEVER), 0);
    expect_is(pthread_join(visitor.thread, NULL), 0);
    expect_is(visitor.result, 0);

    dump = take(visitor.runtime); // it is gone
    expect(!find_thread(dump, atomic_load(&visitor.tid), &thread));
    weft_dump_free(dump);
    expect_is(weft_channel_free(visitor.channel), 0);
    expect_is(weft_runtime_free(visitor.runtime), 0);
}

NOINLINE static void *join_outside(void *arg)
{
    struct visitor *visitor = arg;
    void *result;

    arrive(visitor);
    visitor->result = weft_task_join(visitor->task, WEFT_NEVER, &result);
    sink++;
    return NULL;
}

NOINLINE static void *receive_briefly(void *arg)
{
    struct visitor *visitor = arg;
    int item;

    arrive(visitor);
    visitor->result =
        weft_channel_recv(visitor->channel, &item, weft_time_now() + 300 * MS);
    sink++;
    return NULL;
}

static void *receive_inside(void *arg)
{
    int item;

    expect_is(weft_channel_recv(arg, &item, WEFT_NEVER), 0);
    return arg;
}

// Of a task of its own runtime, and as another's dump tells it.
static void test_join(void **state)
{
    weft_runtime_options options = {
        .size = sizeof options, .name = "elsewhere", .workers = 1};
    struct visitor visitor = {.runtime = start(1)};
    weft_runtime *other;
    weft_dump_thread thread;
    int item = 1;

    (void)state;
    expect_is(weft_runtime_new(&options, &other), 0);
    expect_is(weft_channel_new(sizeof item, 1, NULL, &visitor.channel), 0);
    visitor.task = spawn(other, "slow", receive_inside, visitor.channel);
    begin(&visitor, join_outside);
    weft_dump *dump = take_with(other, &visitor.tid, WEFT_THREAD_WAITING,
                                "join_outside", &thread);
    expect_is(thread.wait, WEFT_WAIT_JOIN);
    expect_is(thread.wait_task, id_of(dump, visitor.task));
    expect(thread.runtime == NULL);
    expect_is(thread.timeout_in_ns, WEFT_NEVER);
    check_words(dump, "\"slow\"", "\"kind\": \"join\"");
    weft_dump_free(dump);

    dump = take_with(visitor.runtime, &visitor.tid, WEFT_THREAD_WAITING,
                     "join_outside", &thread);
    expect_text(thread.runtime, "elsewhere");
    check_words(dump, " of runtime \"elsewhere\"",
                "\"runtime\": \"elsewhere\"");
    weft_dump_free(dump);
    expect_is(weft_channel_send(visitor.channel, &item, WEFT_NEVER), 0);
    expect_is(pthread_join(visitor.thread, NULL), 0);
    expect_is(visitor.result, 0);
    expect_is(weft_channel_free(visitor.channel), 0);
    expect_is(weft_runtime_free(other), 0);
    expect_is(weft_runtime_free(visitor.runtime), 0);
}

// Being read does not end its wait early.
static void test_time_out(void **state)
{
    struct visitor visitor = {.runtime = start(1)};
    weft_dump_thread thread;

    (void)state;
    expect_is(weft_channel_new(sizeof(int), 1, NULL, &visitor.channel), 0);
    for (bool met = false; !met;) {
        int64_t began = weft_time_now();
        atomic_store(&visitor.tid, 0);
        begin(&visitor, receive_briefly);
        for (unsigned i = 0; i < 50; i++) {
            weft_dump *dump = take(visitor.runtime);
            met |= find_thread(dump, atomic_load(&visitor.tid), &thread);
            weft_dump_free(dump);
        }
        expect_is(pthread_join(visitor.thread, NULL), 0);
        expect_is(visitor.result, -ETIMEDOUT);
        expect(weft_time_now() - began >= 300 * MS);
    }
    expect_is(weft_channel_free(visitor.channel), 0);
    expect_is(weft_runtime_free(visitor.runtime), 0);
}

NOINLINE static void *end_outside(void *arg)
{
    struct visitor *visitor = arg;

    arrive(visitor);
    visitor->result = weft_runtime_free(visitor->runtime);
    sink++;
    return NULL;
}

static void *ignore_cancel(void *arg)
{
    struct keeper *keeper = arg;

    while (!atomic_load(&keeper->stop)) {
        (void)weft_task_yield();
        atomic_fetch_add(&keeper->turns, 1);
    }
    return arg;
}

// A runtime that cannot end, by its own dump and by another's.
static void test_end(void **state)
{
    weft_runtime_options options = {
        .size = sizeof options, .name = "endless", .workers = 1};
    struct keeper keeper = {.result = 0};
    struct visitor visitor = {.result = -1};
    weft_runtime *other = start(1);
    weft_dump_thread thread;

    (void)state;
    expect_is(weft_runtime_new(&options, &visitor.runtime), 0);
    (void)spawn(visitor.runtime, "stubborn", ignore_cancel, &keeper);
    begin(&visitor, end_outside);
    weft_dump *dump = take_with(other, &visitor.tid, WEFT_THREAD_ENDING,
                                "end_outside", &thread);
    expect_text(thread.runtime, "endless");
    check_words(dump, ": the end of runtime \"endless\"",
                "\"state\": \"ending\"");
    weft_dump_free(dump);
    dump = take_with(visitor.runtime, &visitor.tid, WEFT_THREAD_ENDING,
                     "end_outside", &thread);
    expect(thread.runtime == NULL);
    check_words(dump, ": this runtime's end", "\"state\": \"ending\"");
    weft_dump_free(dump);
    atomic_store(&keeper.stop, true);
    expect_is(pthread_join(visitor.thread, NULL), 0);
    expect_is(visitor.result, 0);
    expect_is(weft_runtime_free(other), 0);
}

NOINLINE static void *dump_outside(void *arg)
{
    struct visitor *visitor = arg;
    weft_dump *dump;

    arrive(visitor);
    visitor->result = weft_dump_take(visitor->runtime, &dump);
    if (visitor->result == 0)
        weft_dump_free(dump);
    sink++;
    return NULL;
}

// One that waits for its dump: of a runtime whose worker does not come for 250
// ms. It asks until it was met there.
static void test_dump(void **state)
{
    weft_runtime_options options = {.size = sizeof options, .workers = 1};
    weft_runtime *other = start(1);
    struct keeper keeper = {.result = 0};
    weft_dump_thread thread;
    bool met = false;

    (void)state;
    expect_is(weft_runtime_new(&options, &keeper.runtime), 0);
    keeper.task = spawn(keeper.runtime, NULL, in_spin, &keeper);
    while (atomic_load(&keeper.turns) == 0)
        doze();
    while (!met) {
        struct visitor visitor = {.runtime = keeper.runtime};
        begin(&visitor, dump_outside);
        weft_dump *dump = take(other);
        met = find_thread(dump, atomic_load(&visitor.tid), &thread);
        if (met) {
            expect_is(thread.wait, WEFT_WAIT_DUMP);
            check_words(dump, ": the dump that it has asked for",
                        "\"kind\": \"dump\"");
        }
        weft_dump_free(dump);
        expect_is(pthread_join(visitor.thread, NULL), 0);
        expect_is(visitor.result, 0);
    }
    atomic_store(&keeper.stop, true);
    (void)join(keeper.task);
    expect_is(weft_runtime_free(keeper.runtime), 0);
    expect_is(weft_runtime_free(other), 0);
}

// ---- Many, coming and going ----

static void *nap_in_pool(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    return arg;
}

static void *have_naps(void *arg)
{
    struct keeper *keeper = arg;

    while (!atomic_load(&keeper->stop)) {
        expect_is(weft_blocking_run(nap_in_pool, arg, NULL), 0);
        atomic_fetch_add(&keeper->turns, 1);
    }
    return arg;
}

static void *wait_again(void *arg)
{
    struct keeper *keeper = arg;
    weft_channel *channel;
    int item;

    expect_is(weft_channel_new(sizeof item, 1, "waits", &channel), 0);
    while (!atomic_load(&keeper->stop))
        expect_is(weft_channel_recv(channel, &item, weft_time_now() + 200000),
                  -ETIMEDOUT);
    expect_is(weft_channel_free(channel), 0);
    return arg;
}

static void *dump_again(void *arg)
{
    struct keeper *keeper = arg;

    for (unsigned i = 0; i < scaled(100); i++)
        weft_dump_free(take(keeper->runtime));
    return arg;
}

// Dumps by threads and by a task at once, of threads that begin, end and move
// on; each is there at most once, with a stack or a reason.
static void test_coming_and_going(void **state)
{
    struct keeper keeper = {.runtime = start(2)};
    pthread_t waiters[4], dumpers[2];
    weft_task nappers[8];

    (void)state;
    for (int i = 0; i < 8; i++)
        nappers[i] = spawn(keeper.runtime, NULL, have_naps, &keeper);
    for (int i = 0; i < 4; i++)
        expect_is(pthread_create(&waiters[i], NULL, wait_again, &keeper), 0);
    for (int i = 0; i < 2; i++)
        expect_is(pthread_create(&dumpers[i], NULL, dump_again, &keeper), 0);
    weft_task inside = spawn(keeper.runtime, NULL, dump_again, &keeper);
    for (unsigned n = 0; n < scaled(100); n++) {
        weft_dump *dump = take(keeper.runtime);
        size_t count = info_of(dump).threads;
        for (size_t i = 0; i < count; i++) {
            weft_dump_thread thread = thread_at(dump, i), first;
            struct chain chain;
            expect(find_thread(dump, thread.tid, &first));
            expect_is(first.stack, thread.stack);
            chain_of_stack(dump, thread.stack, &chain);
            expect((thread.fn_pc != 0) ==
                   (thread.state == WEFT_THREAD_CALLING));
        }
        weft_dump_free(dump);
    }
    (void)join(inside);
    atomic_store(&keeper.stop, true);
    for (int i = 0; i < 2; i++)
        expect_is(pthread_join(dumpers[i], NULL), 0);
    for (int i = 0; i < 4; i++)
        expect_is(pthread_join(waiters[i], NULL), 0);
    for (int i = 0; i < 8; i++)
        (void)join(nappers[i]);
    expect_is(weft_runtime_free(keeper.runtime), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_pool_running),
        cmocka_unit_test(test_channel),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_time_out),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_dump),
        cmocka_unit_test(test_coming_and_going),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
