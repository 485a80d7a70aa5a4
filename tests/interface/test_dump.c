// test_dump.c -- The meeting of a dump: who comes, who does not, who asks.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/dumps.h"

// Tokio's failures of these kinds: tokio-rs/tokio #7478, #8370, #8372, #8092.

enum { MANY = 64 };

static const unsigned worker_counts[] = {1, 2, 8};

#define EACH_WORKER_COUNT(w)                                                   \
    for (size_t w##_ = 0, w = worker_counts[0]; w##_ < 3;                      \
         w##_++, w = w##_ < 3 ? worker_counts[w##_] : 0)

// ---- Tasks ----

struct flag {
    atomic_bool up;
    atomic_uint seen; // tasks that have begun to look
};

// Busy, but between two yields for every meeting.
static void *yield_until(void *arg)
{
    struct flag *flag = arg;

    atomic_fetch_add(&flag->seen, 1);
    while (!atomic_load(&flag->up))
        (void)weft_task_yield();
    return arg;
}

// Never there for a meeting.
static void *spin_until(void *arg)
{
    struct flag *flag = arg;

    atomic_fetch_add(&flag->seen, 1);
    while (!atomic_load(&flag->up))
        continue;
    return arg;
}

static void *park_on(void *arg)
{
    char item;

    return (void *)(intptr_t)weft_channel_recv(arg, &item, WEFT_NEVER);
}

static weft_channel *new_channel(void)
{
    weft_channel *channel;

    expect_is(weft_channel_new(1, 1, "parked", &channel), 0);
    return channel;
}

static void *add_one(void *arg)
{
    return (void *)((intptr_t)arg + 1);
}

// Waits until so many tasks have begun.
static void await_seen(struct flag *flag, unsigned count)
{
    while (atomic_load(&flag->seen) < count)
        doze();
}

// ---- What holds of every dump ----

static void check_laws(const weft_dump *dump)
{
    weft_dump_info info = info_of(dump);
    size_t missing = workers_in_state(dump, WEFT_WORKER_MISSING);

    expect_is(info.complete, info.problem == NULL);
    expect(info.complete || missing > 0);
    expect(info.consistent);
    expect(tasks_in_state(dump, WEFT_STATE_RUNNING) <= missing);
    expect(info.total_ns >= 0 && info.pause_ns >= 0);
    for (size_t i = 0; i < info.workers; i++)
        expect_is(worker_at(dump, i).index, i);
}

// ---- All come ----

static void test_everyone_meets(void **state)
{
    (void)state;
    EACH_WORKER_COUNT(w)
    {
        struct flag flag = {0};
        weft_runtime *runtime = start_patient((unsigned)w);
        weft_task tasks[MANY];
        unsigned whole = 0;
        unsigned dumps = scaled(200);

        for (int i = 0; i < MANY; i++)
            tasks[i] = spawn(runtime, NULL, yield_until, &flag);
        await_seen(&flag, MANY);
        for (unsigned n = 0; n < dumps; n++) {
            weft_dump *dump = take(runtime);
            check_laws(dump);
            expect_is(info_of(dump).tasks, MANY);
            expect(info_of(dump).workers >= w); // spare ones, too
            for (int i = 0; i < MANY; i++)
                (void)task_of(dump, tasks[i]);
            whole += all_met(dump);
            weft_dump_free(dump);
        }
        // A machine under load may keep a worker from coming once.
        expect(whole > dumps / 2);
        atomic_store(&flag.up, true);
        for (int i = 0; i < MANY; i++)
            expect(join(tasks[i]) == (intptr_t)&flag);
        expect_is(weft_runtime_free(runtime), 0);
    }
}

// ---- Idle ----

struct rest {
    uint64_t parks, noop_parks, tasks_run;
};

static struct rest rest_of(weft_runtime *runtime, unsigned workers)
{
    struct rest rest = {0};

    for (unsigned i = 0; i < workers; i++) {
        weft_worker_metrics metrics;
        expect_is(weft_worker_metrics_get(runtime, i, &metrics), 0);
        rest.parks += metrics.parks;
        rest.noop_parks += metrics.noop_parks;
        rest.tasks_run += metrics.tasks_run;
    }
    return rest;
}

static bool same_rest(const struct rest *one, const struct rest *other)
{
    return memcmp(one, other, sizeof *one) == 0;
}

// Waits until all workers sleep, and have done so for a while.
static struct rest fall_asleep(weft_runtime *runtime, unsigned workers)
{
    for (;;) {
        weft_dump *dump = take(runtime);
        bool all_idle = workers_in_state(dump, WEFT_WORKER_IDLE) == workers;
        struct rest before = rest_of(runtime, workers);
        weft_dump_free(dump);
        for (int i = 0; i < 5; i++)
            doze();
        struct rest after = rest_of(runtime, workers);
        if (all_idle && same_rest(&before, &after))
            return after;
    }
}

// Takes dumps of a runtime that sleeps; whether it has slept through them.
static bool sleeps_on(weft_runtime *runtime, unsigned workers, weft_task parked)
{
    struct rest before = fall_asleep(runtime, workers);

    for (int i = 0; i < 20; i++) {
        weft_dump *dump = take(runtime);
        check_laws(dump);
        expect(info_of(dump).complete);
        (void)task_of(dump, parked);
        weft_dump_free(dump);
        doze(); // for who was woken to count it
    }
    struct rest after = rest_of(runtime, workers);
    return same_rest(&before, &after);
}

static void test_idle_is_not_woken(void **state)
{
    (void)state;
    EACH_WORKER_COUNT(w)
    {
        weft_runtime *runtime = start((unsigned)w);
        weft_channel *channel = new_channel();
        weft_task parked = spawn(runtime, NULL, park_on, channel);

        // A worker that was kept from falling asleep may spoil one try.
        bool slept = false;
        for (int i = 0; i < 5 && !slept; i++)
            slept = sleeps_on(runtime, (unsigned)w, parked);
        expect(slept);
        expect_is(weft_channel_close(channel), 0);
        expect_is(join(parked), -EPIPE);
        expect_is(weft_runtime_free(runtime), 0);
        expect_is(weft_channel_free(channel), 0);
    }
}

// After dumps of an idle runtime, tasks from outside must still be run: all
// workers are needed at once, so none may have got lost.
static void test_idle_then_work(void **state)
{
    unsigned rounds = scaled(300);

    (void)state;
    EACH_WORKER_COUNT(w)
    {
        weft_runtime *runtime = start((unsigned)w);

        for (unsigned n = 0; n < rounds; n++) {
            weft_task tasks[8];
            for (unsigned i = 0; i <= n % 3; i++)
                weft_dump_free(take(runtime));
            for (intptr_t i = 0; i < 8; i++)
                tasks[i] = spawn(runtime, NULL, add_one, (void *)i);
            for (intptr_t i = 0; i < 8; i++)
                expect_is(join(tasks[i]), i + 1);
        }
        expect_is(weft_runtime_free(runtime), 0);
    }
}

static void *spin_together(void *arg)
{
    struct flag *flag = arg;

    // Ends only if as many run at once.
    atomic_fetch_sub(&flag->seen, 1);
    while (atomic_load(&flag->seen) > 0)
        continue;
    return arg;
}

static void test_idle_then_all_needed(void **state)
{
    (void)state;
    EACH_WORKER_COUNT(w)
    {
        weft_runtime *runtime = start((unsigned)w);

        for (unsigned n = 0; n < scaled(50); n++) {
            weft_task tasks[8];
            struct flag flag = {.seen = (unsigned)w};
            weft_dump_free(take(runtime));
            for (size_t i = 0; i < w; i++)
                tasks[i] = spawn(runtime, NULL, spin_together, &flag);
            weft_dump_free(take(runtime));
            for (size_t i = 0; i < w; i++)
                (void)join(tasks[i]);
        }
        expect_is(weft_runtime_free(runtime), 0);
    }
}

// ---- Stuck ----

static weft_runtime *start_impatient(unsigned workers, int64_t patience_ns)
{
    weft_runtime_options options = {.size = sizeof options,
                                    .workers = workers,
                                    .dump_patience_ns = patience_ns};
    weft_runtime *runtime;

    expect_is(weft_runtime_new(&options, &runtime), 0);
    return runtime;
}

// The dump says of a stuck task which worker it keeps; in words, too, if it
// could not be captured.
static void check_stuck(const weft_dump *dump, weft_task stuck)
{
    weft_dump_task task = task_of(dump, stuck);
    const char *problem = info_of(dump).problem;
    struct chain chain;
    char wanted[64];

    expect_is(task.state, WEFT_STATE_RUNNING);
    expect_is(task.wait, WEFT_WAIT_NONE);
    expect(task.worker != WEFT_NONE);
    weft_dump_worker worker = worker_at(dump, task.worker);
    expect_is(worker.state, WEFT_WORKER_MISSING);
    expect_is(worker.task, task.id);
    expect(worker.tid != 0);
    expect(worker.busy_ns > 0);
    snprintf(wanted, sizeof wanted, "T%llu runs on worker %u (tid %d)",
             (unsigned long long)task.id, worker.index, worker.tid);
    chain_of_stack(dump, task.stack, &chain);
    bool unknown = chain.end == WEFT_STACK_UNKNOWN;
    expect_is(problem != NULL && strstr(problem, wanted) != NULL, unknown);
}

static void check_counts(weft_runtime *runtime, unsigned dumps,
                         unsigned incomplete)
{
    weft_runtime_metrics metrics;

    expect_is(weft_runtime_metrics_get(runtime, &metrics), 0);
    expect_is(metrics.dumps, dumps);
    expect_is(metrics.dumps_incomplete, incomplete);
}

// Without the workers that are stuck, at least: where the processors are too
// few for the others, one of these may come late, too.
static bool check_dump_without(const weft_dump *dump, const weft_task *tasks,
                               unsigned stuck, weft_task parked)
{
    unsigned missing = workers_in_state(dump, WEFT_WORKER_MISSING);

    check_laws(dump);
    expect(missing >= stuck);
    expect_is(info_of(dump).tasks, stuck + 1);
    for (unsigned i = 0; i < stuck; i++)
        check_stuck(dump, tasks[i]);
    expect_is(task_of(dump, parked).state, WEFT_STATE_WAITING);
    return missing == stuck;
}

// `stuck` tasks keep as many workers; ten dumps go on without these alone, then
// the workers come back and a dump is whole again.
static void be_stuck(unsigned workers, unsigned stuck, int64_t patience_ns)
{
    struct flag flag = {0};
    weft_runtime *runtime = start_impatient(workers, patience_ns);
    weft_channel *channel = new_channel();
    weft_task parked = spawn(runtime, NULL, park_on, channel);
    weft_task tasks[8];

    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 1));
    for (unsigned i = 0; i < stuck; i++)
        tasks[i] = spawn(runtime, "stuck", spin_until, &flag);
    await_seen(&flag, stuck);
    for (int exact = 0; exact < 10;) {
        weft_dump *dump = take(runtime);
        exact += check_dump_without(dump, tasks, stuck, parked);
        weft_dump_free(dump);
    }
    atomic_store(&flag.up, true);
    for (unsigned i = 0; i < stuck; i++)
        expect(join(tasks[i]) == (intptr_t)&flag);
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, 1);
    while (workers_in_state(dump, WEFT_WORKER_MISSING) > 0) {
        weft_dump_free(dump);
        dump = take(runtime);
    }
    expect_is(info_of(dump).tasks, 1);
    weft_dump_free(dump);
    // And it still works.
    expect_is(join(spawn(runtime, NULL, add_one, (void *)1)), 2);
    expect_is(weft_channel_close(channel), 0);
    expect_is(join(parked), -EPIPE);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_channel_free(channel), 0);
}

static void test_one_stuck(void **state)
{
    (void)state;
    be_stuck(2, 1, 0); // the 250 ms of the default
    be_stuck(8, 1, 30 * MS);
}

static void test_two_stuck(void **state)
{
    (void)state;
    be_stuck(3, 2, 30 * MS);
    be_stuck(8, 2, 30 * MS);
}

static void test_all_stuck(void **state)
{
    (void)state;
    be_stuck(1, 1, 30 * MS);
    be_stuck(2, 2, 30 * MS);
}

// Out of reach: it blocks the signal by which it would be captured.
static void *hide(void *arg)
{
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    spin_until(arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return arg;
}

static void test_incomplete_are_counted(void **state)
{
    struct flag flag = {0};
    weft_runtime *runtime = start_impatient(1, 5 * MS);

    (void)state;
    check_counts(runtime, 0, 0);
    weft_task task = spawn(runtime, NULL, hide, &flag);
    await_seen(&flag, 1);
    for (int i = 0; i < 3; i++)
        weft_dump_free(take(runtime));
    check_counts(runtime, 3, 3);
    atomic_store(&flag.up, true);
    (void)join(task);
    unsigned more = 0;
    for (bool whole = false; !whole; more++) {
        weft_dump *dump = take(runtime);
        whole = info_of(dump).complete;
        weft_dump_free(dump);
    }
    check_counts(runtime, 3 + more, 3 + more - 1);
    expect_is(weft_runtime_free(runtime), 0);
}

// One that is stuck behind others who work: what it has queued is in the dump,
// and so is everything else.
static void *spawn_and_spin(void *arg)
{
    weft_task *child = ((void **)arg)[0];
    struct flag *flag = ((void **)arg)[1];

    *child = spawn(NULL, "queued behind", add_one, NULL);
    return spin_until(flag);
}

static void test_queue_of_a_stuck_worker(void **state)
{
    struct flag flag = {0};
    weft_runtime *runtime = start_impatient(1, 5 * MS);
    weft_task child;
    void *arg[] = {&child, &flag};
    weft_task task = spawn(runtime, NULL, spawn_and_spin, arg);

    (void)state;
    await_seen(&flag, 1);
    for (int n = 0; n < 10; n++) {
        weft_dump *dump = take(runtime);
        weft_dump_task queued = task_of(dump, child);
        expect_is(queued.state, WEFT_STATE_NEW);
        expect_is(queued.worker, 0);
        expect_is(queued.queue_place, 0);
        expect_is(worker_at(dump, 0).queued, 1);
        check_stuck(dump, task);
        weft_dump_free(dump);
    }
    atomic_store(&flag.up, true);
    (void)join(task);
    (void)join(child);
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- Who asks ----

struct crowd {
    weft_runtime *runtime;
    weft_task *known;
    size_t known_count;
    unsigned rounds;
    atomic_uint answers;
};

// It waits for the dump; or the system has taken its worker's processor on the
// way there.
static void check_asker(const weft_dump *dump, weft_task self)
{
    weft_dump_task asker = task_of(dump, self);

    if (asker.state == WEFT_STATE_RUNNING) {
        expect_is(worker_at(dump, asker.worker).state, WEFT_WORKER_MISSING);
        return;
    }
    expect_is(asker.state, WEFT_STATE_WAITING);
    expect_is(asker.wait, WEFT_WAIT_DUMP);
}

static void ask_often(struct crowd *crowd, weft_task self)
{
    weft_dump_task found;

    for (unsigned n = 0; n < crowd->rounds; n++) {
        weft_dump *dump = take(crowd->runtime);
        check_laws(dump);
        for (size_t i = 0; i < crowd->known_count; i++)
            expect_is(times_in(dump, crowd->known[i], &found), 1);
        if (self.id != 0)
            check_asker(dump, self);
        weft_dump_free(dump);
        atomic_fetch_add(&crowd->answers, 1);
    }
}

static void *ask_in_thread(void *arg)
{
    ask_often(arg, (weft_task){0});
    return NULL;
}

static void *ask_in_task(void *arg)
{
    ask_often(arg, weft_task_self());
    return NULL;
}

static void *ask_from_elsewhere(void *arg)
{
    struct crowd *crowd = arg;

    expect(weft_runtime_self() != crowd->runtime);
    ask_often(crowd, (weft_task){0});
    return NULL;
}

static void test_simultaneous(void **state)
{
    (void)state;
    EACH_WORKER_COUNT(w)
    {
        struct flag flag = {0};
        weft_runtime *runtime = start((unsigned)w);
        weft_runtime *elsewhere = start(2);
        weft_task known[4];
        weft_task asking[6];
        pthread_t threads[6];
        struct crowd crowd = {runtime, known, 4, scaled(60), 0};

        for (int i = 0; i < 4; i++)
            known[i] = spawn(runtime, NULL, yield_until, &flag);
        await_seen(&flag, 4);
        for (int i = 0; i < 6; i++)
            expect_is(pthread_create(&threads[i], NULL, ask_in_thread, &crowd),
                      0);
        for (int i = 0; i < 4; i++)
            asking[i] = spawn(runtime, NULL, ask_in_task, &crowd);
        for (int i = 4; i < 6; i++)
            asking[i] = spawn(elsewhere, NULL, ask_from_elsewhere, &crowd);
        for (int i = 0; i < 6; i++)
            (void)pthread_join(threads[i], NULL);
        for (int i = 0; i < 6; i++)
            (void)join(asking[i]);
        expect_is(atomic_load(&crowd.answers), 12 * crowd.rounds);
        atomic_store(&flag.up, true);
        for (int i = 0; i < 4; i++)
            (void)join(known[i]);
        expect_is(weft_runtime_free(elsewhere), 0);
        expect_is(weft_runtime_free(runtime), 0);
    }
}

// Many ask while nobody inside can come.
static void test_simultaneous_all_stuck(void **state)
{
    struct flag flag = {0};
    weft_runtime *runtime = start_impatient(2, 10 * MS);
    weft_task known[2];
    pthread_t threads[6];
    struct crowd crowd = {runtime, known, 2, 10, 0};

    (void)state;
    for (int i = 0; i < 2; i++)
        known[i] = spawn(runtime, NULL, spin_until, &flag);
    await_seen(&flag, 2);
    for (int i = 0; i < 6; i++)
        expect_is(pthread_create(&threads[i], NULL, ask_in_thread, &crowd), 0);
    for (int i = 0; i < 6; i++)
        (void)pthread_join(threads[i], NULL);
    expect_is(atomic_load(&crowd.answers), 60);
    atomic_store(&flag.up, true);
    for (int i = 0; i < 2; i++)
        (void)join(known[i]);
    expect_is(weft_runtime_free(runtime), 0);
}

// Two runtimes whose only workers wait for each other's dump.
static void test_crosswise(void **state)
{
    weft_runtime *one = start_impatient(1, 5 * MS);
    weft_runtime *other = start_impatient(1, 5 * MS);
    struct crowd of_one = {one, NULL, 0, 20, 0};
    struct crowd of_other = {other, NULL, 0, 20, 0};
    weft_task in_one = spawn(one, NULL, ask_from_elsewhere, &of_other);
    weft_task in_other = spawn(other, NULL, ask_from_elsewhere, &of_one);

    (void)state;
    (void)join(in_one);
    (void)join(in_other);
    expect_is(atomic_load(&of_one.answers), 20);
    expect_is(atomic_load(&of_other.answers), 20);
    expect_is(weft_runtime_free(one), 0);
    expect_is(weft_runtime_free(other), 0);
}

// ---- When ----

static void test_zero_tasks(void **state)
{
    (void)state;
    EACH_WORKER_COUNT(w)
    {
        weft_runtime *runtime = start((unsigned)w);
        weft_dump *dump = take(runtime);

        check_laws(dump);
        expect_is(info_of(dump).tasks, 0);
        expect(info_of(dump).workers >= w); // spare ones, too
        expect_is(info_of(dump).findings, 0);
        expect(info_of(dump).complete && info_of(dump).consistent);
        weft_dump_free(dump);
        expect_is(weft_runtime_free(runtime), 0);
    }
}

static void test_start_up(void **state)
{
    (void)state;
    EACH_WORKER_COUNT(w)
    {
        for (unsigned n = 0; n < scaled(100); n++) {
            weft_runtime *runtime = start((unsigned)w);
            weft_task task = spawn(runtime, NULL, add_one, NULL);
            for (int i = 0; i < 3; i++) {
                weft_dump *dump = take(runtime);
                check_laws(dump);
                (void)task_of(dump, task);
                weft_dump_free(dump);
            }
            (void)join(task);
            expect_is(weft_runtime_free(runtime), 0);
        }
    }
}

struct farewell {
    weft_runtime *runtime;
    atomic_uint ready; // threads whose calls have begun
    atomic_uint left;  // threads whose last call has returned
    atomic_bool ending;
};

// Asks until the runtime is being ended, once more at least.
static void *ask_until_the_end(void *arg)
{
    struct farewell *farewell = arg;

    for (bool last = false; !last;) {
        weft_dump *dump;
        last = atomic_load(&farewell->ending);
        int error = weft_dump_take(farewell->runtime, &dump);
        atomic_fetch_add(&farewell->ready, 1);
        expect(error == 0 || error == -ESHUTDOWN);
        if (error == 0) {
            check_laws(dump);
            weft_dump_free(dump);
        }
    }
    atomic_fetch_add(&farewell->left, 1);
    return NULL;
}

enum { ASKING = 4 };

// Keeps the runtime from ending before the last call has returned.
static void *hold_the_door(void *arg)
{
    struct farewell *farewell = arg;

    while (atomic_load(&farewell->left) < ASKING)
        (void)weft_task_yield();
    return NULL;
}

static void test_shutdown(void **state)
{
    (void)state;
    EACH_WORKER_COUNT(w)
    {
        for (unsigned n = 0; n < scaled(50); n++) {
            weft_runtime *runtime = start((unsigned)w);
            weft_channel *channel = new_channel();
            struct farewell farewell = {.runtime = runtime};
            pthread_t threads[ASKING];
            weft_task tasks[2] = {
                spawn(runtime, NULL, hold_the_door, &farewell),
                spawn(runtime, NULL, park_on, channel),
            };

            for (int i = 0; i < 2; i++)
                expect_is(weft_task_detach(tasks[i]), 0);
            for (int i = 0; i < ASKING; i++)
                expect_is(pthread_create(&threads[i], NULL, ask_until_the_end,
                                         &farewell),
                          0);
            while (atomic_load(&farewell.ready) < ASKING)
                doze();
            atomic_store(&farewell.ending, true);
            expect_is(weft_runtime_free(runtime), 0);
            for (int i = 0; i < ASKING; i++)
                (void)pthread_join(threads[i], NULL);
            expect_is(weft_channel_free(channel), 0);
        }
    }
}

// Calls that are in progress, held up by a stuck worker, when the runtime is
// ended: workers leave while meetings are still wanted. The thread is known to
// be inside its call when the kernel says that it sleeps.
struct caller {
    weft_runtime *runtime;
    atomic_int tid;
    pthread_t thread;
};

static void *ask_once(void *arg)
{
    struct caller *caller = arg;
    weft_dump *dump;

    atomic_store(&caller->tid, (int)syscall(SYS_gettid));
    int error = weft_dump_take(caller->runtime, &dump);
    expect(error == 0 || error == -ESHUTDOWN);
    if (error == 0) {
        check_laws(dump);
        weft_dump_free(dump);
    }
    return NULL;
}

static void start_call(struct caller *caller, weft_runtime *runtime)
{
    caller->runtime = runtime;
    atomic_init(&caller->tid, 0);
    expect_is(pthread_create(&caller->thread, NULL, ask_once, caller), 0);
    while (atomic_load(&caller->tid) == 0 ||
           !sleeps_in_futex(atomic_load(&caller->tid)))
        doze();
}

static void test_leave_in_mid_protocol(void **state)
{
    (void)state;
    EACH_WORKER_COUNT(w)
    {
        for (unsigned n = 0; n < scaled(50); n++) {
            struct flag flag = {0};
            weft_runtime *runtime = start((unsigned)w);
            struct caller callers[ASKING];
            weft_task task = spawn(runtime, NULL, hide, &flag);

            expect_is(weft_task_detach(task), 0);
            await_seen(&flag, 1);
            for (int i = 0; i < ASKING; i++)
                start_call(&callers[i], runtime);
            atomic_store(&flag.up, true);
            expect_is(weft_runtime_free(runtime), 0);
            for (int i = 0; i < ASKING; i++)
                (void)pthread_join(callers[i].thread, NULL);
        }
    }
}

// ---- Bad arguments ----

static void test_bad_arguments(void **state)
{
    weft_runtime *runtime = start(1);
    weft_dump *dump = take(runtime);
    weft_dump_info info;
    weft_dump_task task;
    weft_dump_worker worker;
    weft_dump_object object;
    weft_dump_finding finding;
    size_t index;
    uint64_t id;
    uint32_t number;
    uintptr_t pc;

    (void)state;
    expect_is(weft_dump_take(NULL, &dump), -EINVAL);
    expect_is(weft_dump_take(runtime, NULL), -EINVAL);
    weft_dump_free(NULL);
    expect_is(weft_dump_get_info(NULL, &info), -EINVAL);
    expect_is(weft_dump_get_info(dump, NULL), -EINVAL);
    expect_is(weft_dump_get_task(dump, 0, &task), -ENOENT);
    expect_is(weft_dump_get_task(dump, SIZE_MAX, &task), -ENOENT);
    expect_is(weft_dump_get_task(NULL, 0, &task), -EINVAL);
    expect_is(weft_dump_find_task(dump, 1, &index), -ENOENT);
    expect_is(weft_dump_find_task(dump, 0, &index), -ENOENT);
    expect_is(weft_dump_get_worker(dump, 1, &worker), -ENOENT);
    expect_is(weft_dump_get_object(dump, 0, &object), -ENOENT);
    expect_is(weft_dump_get_finding(dump, 0, &finding), -ENOENT);
    expect_is(weft_dump_get_finding_task(dump, 0, 0, &id, &number), -ENOENT);
    expect_is(weft_dump_get_finding_behind(dump, 0, 0, &id), -ENOENT);
    expect_is(weft_dump_get_held(dump, 0, 0, &number), -ENOENT);
    expect_is(weft_dump_get_waiter(dump, 0, 0, &id), -ENOENT);
    expect_is(weft_dump_get_site(dump, WEFT_NONE, &pc), -ENOENT);
    expect_is(weft_dump_print_text(NULL, NULL, stderr), -EINVAL);
    expect_is(weft_dump_print_text(dump, NULL, NULL), -EINVAL);
    expect_is(weft_dump_print_json(dump, NULL, NULL), -EINVAL);
    weft_dump_free(dump);
    expect_is(weft_runtime_free(runtime), 0);
}

// A dump outlives its runtime, names and all.
static void test_outlives_runtime(void **state)
{
    struct flag flag = {0};
    weft_runtime *runtime = start(1);
    weft_task task = spawn(runtime, "looping", yield_until, &flag);
    struct chain chain;

    (void)state;
    await_seen(&flag, 1);
    weft_dump *dump = take(runtime);
    atomic_store(&flag.up, true);
    (void)join(task);
    expect_is(weft_runtime_free(runtime), 0);
    weft_dump_task found = task_of(dump, task);
    expect_text(found.name, "looping");
    chain_of_stack(dump, found.stack, &chain);
    expect(chain_has(&chain, "yield_until", NULL));
    weft_dump_free(dump);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everyone_meets),
        cmocka_unit_test(test_idle_is_not_woken),
        cmocka_unit_test(test_idle_then_work),
        cmocka_unit_test(test_idle_then_all_needed),
        cmocka_unit_test(test_one_stuck),
        cmocka_unit_test(test_two_stuck),
        cmocka_unit_test(test_all_stuck),
        cmocka_unit_test(test_incomplete_are_counted),
        cmocka_unit_test(test_queue_of_a_stuck_worker),
        cmocka_unit_test(test_simultaneous),
        cmocka_unit_test(test_simultaneous_all_stuck),
        cmocka_unit_test(test_crosswise),
        cmocka_unit_test(test_zero_tasks),
        cmocka_unit_test(test_start_up),
        cmocka_unit_test(test_shutdown),
        cmocka_unit_test(test_leave_in_mid_protocol),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_outlives_runtime),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
