// test_dump_queues.c -- Run queues after a dump are what they were before it.
//
// On one worker without outside influence a program runs in one order only. So
// whatever a dump did to the queues would show in the order of execution.
#include <errno.h>
#include <pthread.h>

#include "support/dumps.h"
#include "support/skip.h"

enum {
    RUNNERS = 24,
    LAPS = 60,
    LOG_MAX = RUNNERS * LAPS,
    CROWD = 2500, // more than any worker's queue holds
    SHARE = 4,    // no more than a worker takes at once from the shared queue
};

// ---- The order of a deterministic program ----

struct record {
    unsigned count;
    uint8_t log[LOG_MAX];        // who took a step
    uint64_t schedules[RUNNERS]; // runs of each
    weft_worker_metrics metrics;
    unsigned dumps; // taken while it ran
};

struct runner {
    struct record *record;
    uint8_t number;
    weft_mutex *mutex;
    weft_channel *channel;
};

// Steps of several kinds, so that tasks come into the queues by every way: by
// yielding, from the next slot, by being handed a mutex or an item.
static void *run_laps(void *arg)
{
    struct runner *runner = arg;
    char item = 1;

    for (int lap = 0; lap < LAPS; lap++) {
        runner->record->log[runner->record->count++] = runner->number;
        if (runner->number % 3 == 0) {
            expect_is(weft_task_yield(), 0);
        } else if (runner->number % 3 == 1) {
            expect_is(weft_mutex_lock(runner->mutex, WEFT_NEVER), 0);
            expect_is(weft_task_yield(), 0);
            expect_is(weft_mutex_unlock(runner->mutex), 0);
        } else if (runner->number % 2 == 0) {
            expect_is(weft_channel_send(runner->channel, &item, WEFT_NEVER), 0);
        } else {
            expect_is(weft_channel_recv(runner->channel, &item, WEFT_NEVER), 0);
        }
    }
    return NULL;
}

struct program {
    struct record *record;
    weft_task tasks[RUNNERS];
};

static void *run_all(void *arg)
{
    static struct runner runners[RUNNERS];
    static weft_mutex mutex;
    static weft_channel *channel;
    struct program *program = arg;
    weft_runtime_metrics metrics;

    expect_is(weft_mutex_init(&mutex, "order"), 0);
    expect_is(weft_channel_new(1, 2, "order", &channel), 0);
    // Not before the other thread takes dumps, if it does.
    do
        expect_is(weft_runtime_metrics_get(weft_runtime_self(), &metrics), 0);
    while (metrics.dumps < program->record->dumps && weft_task_yield() == 0);
    for (uint8_t i = 0; i < RUNNERS; i++) {
        runners[i] = (struct runner){program->record, i, &mutex, channel};
        program->tasks[i] = spawn(NULL, NULL, run_laps, &runners[i]);
    }
    // Not woken meanwhile: it would be one more in the queues.
    for (int i = 0; i < RUNNERS; i++)
        (void)join(program->tasks[i]);
    expect_is(weft_channel_free(channel), 0);
    expect_is(weft_mutex_deinit(&mutex), 0);
    return NULL;
}

// Takes dumps until told to stop.
struct dumper {
    weft_runtime *runtime;
    atomic_bool stop;
    unsigned count;
    pthread_t thread;
};

static void *dump_on(void *arg)
{
    struct dumper *dumper = arg;

    while (!atomic_load(&dumper->stop)) {
        weft_dump_free(take(dumper->runtime));
        dumper->count++;
    }
    return NULL;
}

static void run_program(bool dumps, struct record *ret_record)
{
    weft_runtime *runtime = start(1);
    struct dumper dumper = {.runtime = runtime};
    struct program program = {.record = ret_record};

    *ret_record = (struct record){.dumps = dumps ? 1 : 0};
    if (dumps)
        expect_is(pthread_create(&dumper.thread, NULL, dump_on, &dumper), 0);
    expect_is(weft_runtime_run(runtime, run_all, &program, NULL), 0);
    atomic_store(&dumper.stop, true);
    if (dumps)
        (void)pthread_join(dumper.thread, NULL);
    ret_record->dumps = dumper.count;
    expect_is(weft_worker_metrics_get(runtime, 0, &ret_record->metrics), 0);
    expect_is(weft_runtime_free(runtime), 0);
}

static void test_same_order(void **state)
{
    static struct record without, with;
    unsigned dumps = 0;

    (void)state;
#ifdef WEFT_HOSTILE
    skip_because("queues of two overflow into the shared one, whose turn "
                 "depends on time");
#endif
    run_program(false, &without);
    expect_is(without.count, LOG_MAX);
    for (unsigned n = 0; n < scaled(60) || dumps < 20; n++) {
        run_program(true, &with);
        expect_is(with.count, LOG_MAX);
        expect(memcmp(with.log, without.log, LOG_MAX) == 0);
        expect_is(with.metrics.steals, without.metrics.steals);
        expect_is(with.metrics.overflows, without.metrics.overflows);
        dumps += with.dumps;
    }
}

// ---- The next slot ----

// A chain of tasks, each of which starts the next, and two that yield. The
// worker prefers the chain's task, in its next slot, but not for ever: from
// time to time it takes a yielder and leaves the next slot full. A thread asks
// for a dump while a task of the chain runs, so that it meets the worker right
// after that task: with the next slot full or not, and with nothing else that
// could change the order.
struct relay {
    unsigned count;
    uint8_t log[1024];
    unsigned left;       // of the chain
    weft_task queued[3]; // the yielders, and the chain's newest
    bool dumps;
    weft_runtime *runtime;
    pthread_t thread;
    atomic_int tid;       // of the thread
    atomic_uint asked;    // dumps that the chain wants
    atomic_uint answered; // of these, taken and checked
    unsigned whole;       // of these
};

static struct relay relay;

static void relay_log(uint8_t who)
{
    expect(relay.count < sizeof relay.log);
    relay.log[relay.count++] = who;
}

// All three are in the worker's queue, and each has another place.
static void check_relay(void)
{
    weft_dump *dump = take(relay.runtime);
    uint32_t places = 0;

    if (all_met(dump)) {
        for (size_t i = 0; i < 3; i++) {
            weft_dump_task task = task_of(dump, relay.queued[i]);
            expect_is(task.worker, 0);
            expect(task.queue_place < 3);
            places |= 1u << task.queue_place;
        }
        expect_is(places, 7);
        expect_is(worker_at(dump, 0).queued, 3);
        relay.whole++;
    }
    weft_dump_free(dump);
}

static void *relay_thread(void *arg)
{
    unsigned dumps = relay.left - 1;

    atomic_store(&relay.tid, (int)syscall(SYS_gettid));
    while (atomic_load(&relay.answered) < dumps) {
        if (atomic_load(&relay.asked) == atomic_load(&relay.answered)) {
            doze();
            continue;
        }
        check_relay();
        atomic_fetch_add(&relay.answered, 1);
    }
    return arg;
}

// Until the thread is inside its call; or out of it again, since a loaded
// machine may keep the worker away for so long.
static void await_call(void)
{
    atomic_fetch_add(&relay.asked, 1);
    while (!sleeps_in_futex(atomic_load(&relay.tid)) &&
           atomic_load(&relay.asked) != atomic_load(&relay.answered))
        continue;
}

static void *relay_run(void *arg)
{
    relay_log(0);
    if (--relay.left == 0)
        return arg;
    if (relay.dumps) // the one before may still be being checked
        while (atomic_load(&relay.asked) != atomic_load(&relay.answered))
            continue;
    relay.queued[2] = spawn(NULL, NULL, relay_run, NULL);
    if (relay.dumps)
        await_call();
    expect_is(weft_task_detach(relay.queued[2]), 0);
    return arg;
}

static void *relay_yield(void *arg)
{
    while (relay.left > 0) {
        relay_log((uint8_t)(intptr_t)arg);
        expect_is(weft_task_yield(), 0);
    }
    return NULL;
}

static void *relay_main(void *arg)
{
    for (intptr_t i = 0; i < 2; i++)
        relay.queued[i] = spawn(NULL, NULL, relay_yield, (void *)(i + 1));
    // Not joined: its end would put this task into the next slot.
    expect_is(weft_task_spawn(NULL, relay_run, NULL, NULL), 0);
    for (int i = 0; i < 2; i++)
        (void)join(relay.queued[i]);
    return arg;
}

static void run_relay(bool dumps)
{
    memset(&relay, 0, sizeof relay);
    relay.runtime = start(1);
    relay.left = 100;
    relay.dumps = dumps;
    if (dumps) {
        expect_is(pthread_create(&relay.thread, NULL, relay_thread, NULL), 0);
        while (atomic_load(&relay.tid) == 0)
            doze();
    }
    expect_is(weft_runtime_run(relay.runtime, relay_main, NULL, NULL), 0);
    if (dumps)
        (void)pthread_join(relay.thread, NULL);
    expect_is(weft_runtime_free(relay.runtime), 0);
}

static void test_next_slot(void **state)
{
    uint8_t log[sizeof relay.log];
    unsigned count;

    (void)state;
    run_relay(false);
    count = relay.count;
    memcpy(log, relay.log, sizeof log);
    run_relay(true);
    expect_is(relay.count, count);
    expect(memcmp(relay.log, log, count) == 0);
    expect(relay.whole > 0); // a loaded machine may keep the worker away
}

// ---- How often each runs ----

struct lap_counter {
    unsigned laps;
};

static void *yield_laps(void *arg)
{
    struct lap_counter *counter = arg;

    for (unsigned i = 0; i < counter->laps; i++)
        expect_is(weft_task_yield(), 0);
    return NULL;
}

// Each task says in the last dump how often it was given a worker: once, and
// once more for every yield, however many dumps came in between.
static void test_same_number_of_runs(void **state)
{
    weft_runtime *runtime = start(2);
    struct dumper dumper = {.runtime = runtime};
    struct lap_counter counters[RUNNERS];
    weft_task tasks[RUNNERS];

    (void)state;
    expect_is(pthread_create(&dumper.thread, NULL, dump_on, &dumper), 0);
    for (unsigned i = 0; i < RUNNERS; i++) {
        counters[i].laps = i * 100;
        tasks[i] = spawn(runtime, NULL, yield_laps, &counters[i]);
    }
    weft_dump *dump = take_when(runtime, WEFT_STATE_DONE, RUNNERS);
    atomic_store(&dumper.stop, true);
    (void)pthread_join(dumper.thread, NULL);
    for (unsigned i = 0; i < RUNNERS; i++) {
        expect_is(task_of(dump, tasks[i]).schedules, 1 + i * 100);
        (void)join(tasks[i]);
    }
    weft_dump_free(dump);
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- More than a queue holds; the next slot ----

struct crowd {
    weft_task tasks[CROWD];
    unsigned order[CROWD]; // in which they have run
    unsigned count;
    weft_dump *dump; // the last before they ran
};

static struct crowd *the_crowd; // of the test that runs

static void *nothing(void *arg)
{
    return arg;
}

static void *note_turn(void *arg)
{
    the_crowd->order[the_crowd->count++] = (unsigned)(intptr_t)arg;
    return NULL;
}

static void *spawn_crowd(void *arg)
{
    struct crowd *crowd = arg;

    for (intptr_t i = 0; i < CROWD; i++)
        crowd->tasks[i] = spawn(NULL, NULL, note_turn, (void *)i);
    return NULL;
}

// Spawns the crowd, and asks for dumps before it has run.
static void *spawn_crowd_and_dump(void *arg)
{
    struct crowd *crowd = arg;

    (void)spawn_crowd(crowd);
    crowd->dump = take(weft_runtime_self());
    return NULL;
}

// Whether places 0, 1, ... of a queue are taken once each, by so many tasks.
static void check_places(const weft_dump *dump, uint32_t worker, size_t count)
{
    static bool taken[2 * CROWD];
    size_t tasks = info_of(dump).tasks;
    size_t found = 0;

    memset(taken, 0, sizeof taken);
    for (size_t i = 0; i < tasks; i++) {
        weft_dump_task task = task_at(dump, i);
        if (task.queue_place == WEFT_NONE || task.worker != worker)
            continue;
        expect(task.queue_place < 2 * CROWD && !taken[task.queue_place]);
        taken[task.queue_place] = true;
        found++;
    }
    expect_is(found, count);
    for (size_t i = 0; i < count; i++)
        expect(taken[i]);
}

static void check_crowd(const weft_dump *dump, const struct crowd *crowd)
{
    struct listing listing = list_tasks(dump);
    size_t local = 0;
    size_t shared = 0;

    for (int i = 0; i < CROWD; i++) {
        weft_dump_task task = listed(&listing, crowd->tasks[i]);
        expect_is(task.state, WEFT_STATE_NEW);
        expect_is(task.schedules, 0);
        expect(task.queue_place != WEFT_NONE);
        *(task.worker == WEFT_NONE ? &shared : &local) += 1;
    }
    expect(local > 0 && shared > 0);
    expect_is(local + shared, CROWD);
    expect_is(worker_at(dump, 0).queued, local);
    check_places(dump, 0, local);
    check_places(dump, WEFT_NONE, shared);
    free(listing.tasks);
}

// The tasks of the worker's own queue have run in its order. (Those of the
// shared queue may overtake each other: the worker takes some in advance.)
static void check_turns(const weft_dump *dump, const struct crowd *crowd)
{
    struct listing listing = list_tasks(dump);
    uint32_t place = 0;

    expect_is(crowd->count, CROWD);
    for (int i = 0; i < CROWD; i++) {
        weft_dump_task task = listed(&listing, crowd->tasks[crowd->order[i]]);
        if (task.worker != WEFT_NONE)
            expect_is(task.queue_place, place++);
    }
    free(listing.tasks);
}

static void test_more_than_a_queue_holds(void **state)
{
    static struct crowd crowd;

    (void)state;
    for (unsigned n = 0; n < scaled(10); n++) {
        weft_runtime *runtime = start(1);

        crowd = (struct crowd){0};
        the_crowd = &crowd;
        expect_is(weft_runtime_run(runtime, spawn_crowd_and_dump, &crowd, NULL),
                  0);
        for (int i = 0; i < CROWD; i++)
            (void)join(crowd.tasks[i]);
        check_crowd(crowd.dump, &crowd);
        check_turns(crowd.dump, &crowd);
        // The newest is in the next slot.
        weft_dump_task newest = task_of(crowd.dump, crowd.tasks[CROWD - 1]);
        expect_is(newest.worker, 0);
        expect_is(newest.queue_place, 0);
        weft_dump_free(crowd.dump);
        expect_is(weft_runtime_free(runtime), 0);
    }
}

// A worker keeps its queue in order through dumps led by itself, and by a
// thread, for it is stuck meanwhile.
struct stuck_crowd {
    struct crowd crowd;
    atomic_bool spawned;
    atomic_bool go_on;
};

static void *spawn_crowd_and_spin(void *arg)
{
    struct stuck_crowd *stuck = arg;

    (void)spawn_crowd(&stuck->crowd);
    atomic_store(&stuck->spawned, true);
    while (!atomic_load(&stuck->go_on))
        continue;
    return NULL;
}

static bool same_metrics(const weft_runtime *runtime,
                         const weft_worker_metrics *before)
{
    weft_worker_metrics now;

    expect_is(weft_worker_metrics_get(runtime, 0, &now), 0);
    return now.tasks_run == before->tasks_run && now.parks == before->parks &&
           now.noop_parks == before->noop_parks &&
           now.steals == before->steals &&
           now.steal_operations == before->steal_operations &&
           now.local_schedules == before->local_schedules &&
           now.overflows == before->overflows &&
           now.queue_depth == before->queue_depth;
}

static bool same_runtime_metrics(const weft_runtime *runtime,
                                 const weft_runtime_metrics *before)
{
    weft_runtime_metrics now;

    expect_is(weft_runtime_metrics_get(runtime, &now), 0);
    return now.tasks_live == before->tasks_live &&
           now.tasks_spawned == before->tasks_spawned &&
           now.inject_depth == before->inject_depth &&
           now.remote_schedules == before->remote_schedules;
}

static void test_figures_stay(void **state)
{
    static struct stuck_crowd stuck;
    weft_runtime_options options = {
        .size = sizeof options, .workers = 1, .dump_patience_ns = 5 * MS};
    weft_runtime *runtime;
    weft_worker_metrics before;
    weft_runtime_metrics runtime_before;

    (void)state;
    stuck = (struct stuck_crowd){0};
    the_crowd = &stuck.crowd;
    expect_is(weft_runtime_new(&options, &runtime), 0);
    weft_task task = spawn(runtime, NULL, spawn_crowd_and_spin, &stuck);
    while (!atomic_load(&stuck.spawned))
        doze();
    expect_is(weft_worker_metrics_get(runtime, 0, &before), 0);
    expect_is(weft_runtime_metrics_get(runtime, &runtime_before), 0);
    for (int n = 0; n < 10; n++) {
        weft_dump_free(stuck.crowd.dump);
        stuck.crowd.dump = take(runtime);
        check_crowd(stuck.crowd.dump, &stuck.crowd);
        expect(same_metrics(runtime, &before));
        expect(same_runtime_metrics(runtime, &runtime_before));
    }
    atomic_store(&stuck.go_on, true);
    (void)join(task);
    for (int i = 0; i < CROWD; i++)
        (void)join(stuck.crowd.tasks[i]);
    check_turns(stuck.crowd.dump, &stuck.crowd);
    weft_dump_free(stuck.crowd.dump);
    expect_is(weft_runtime_free(runtime), 0);
}

// The same with a worker that comes to the meeting and has its queue emptied.
static void *ask_with_queue(void *arg)
{
    weft_runtime *runtime = weft_runtime_self();
    weft_worker_metrics before, after;
    weft_task tasks[3]; // one in the next slot, two in the queue

    for (int i = 0; i < 3; i++)
        tasks[i] = spawn(NULL, NULL, nothing, NULL);
    expect_is(weft_worker_metrics_get(runtime, 0, &before), 0);
    weft_dump *dump = take(runtime);
    expect_is(weft_worker_metrics_get(runtime, 0, &after), 0);
    expect_is(worker_at(dump, 0).queued, 3);
    weft_dump_free(dump);
    expect_is(after.local_schedules, before.local_schedules);
    expect_is(after.overflows, before.overflows);
    expect_is(after.steals, before.steals);
    expect_is(after.steal_operations, before.steal_operations);
    expect_is(after.tasks_run, before.tasks_run + 1 + 3);
    for (int i = 0; i < 3; i++)
        (void)join(tasks[i]);
    return arg;
}

static void test_figures_stay_when_met(void **state)
{
    weft_runtime *runtime = start(1);

    (void)state;
    expect_is(weft_runtime_run(runtime, ask_with_queue, NULL, NULL), 0);
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- The shared queue ----

static void *spin_until(void *arg)
{
    atomic_uint *phase = arg;

    atomic_store(phase, 1);
    while (atomic_load(phase) != 2)
        continue;
    return NULL;
}

static void share(unsigned count)
{
    static struct crowd crowd;
    weft_runtime_options options = {
        .size = sizeof options, .workers = 1, .dump_patience_ns = 5 * MS};
    weft_runtime *runtime;
    atomic_uint phase = 0;

    crowd = (struct crowd){0};
    the_crowd = &crowd;
    expect_is(weft_runtime_new(&options, &runtime), 0);
    weft_task task = spawn(runtime, NULL, spin_until, &phase);
    while (atomic_load(&phase) != 1)
        doze();
    for (intptr_t i = 0; i < (intptr_t)count; i++)
        crowd.tasks[i] = spawn(runtime, NULL, note_turn, (void *)i);
    for (int n = 0; n < 10; n++) {
        weft_dump *dump = take(runtime);
        struct listing listing = list_tasks(dump);
        for (unsigned i = 0; i < count; i++) {
            weft_dump_task found = listed(&listing, crowd.tasks[i]);
            expect_is(found.worker, WEFT_NONE);
            expect_is(found.queue_place, i);
        }
        free(listing.tasks);
        weft_dump_free(dump);
    }
    atomic_store(&phase, 2);
    (void)join(task);
    for (unsigned i = 0; i < count; i++)
        (void)join(crowd.tasks[i]);
    expect_is(crowd.count, count);
    for (unsigned i = 0; count <= SHARE && i < count; i++)
        expect_is(crowd.order[i], i);
    expect_is(weft_runtime_free(runtime), 0);
}

static void test_shared_queue_in_order(void **state)
{
    (void)state;
    share(SHARE);
    share(CROWD);
}

// Nothing runs in a dump: a user's task asks, and finds the world as it left
// it, but for what other workers did: on one worker, nothing.
static void *count_up(void *arg)
{
    atomic_uint *count = arg;

    for (int i = 0; i < 1000; i++) {
        atomic_fetch_add(count, 1);
        expect_is(weft_task_yield(), 0);
    }
    return NULL;
}

static void *ask_among(void *arg)
{
    atomic_uint *count = arg;
    weft_task tasks[8];
    unsigned runs = 0;

    for (int i = 0; i < 8; i++)
        tasks[i] = spawn(NULL, NULL, count_up, count);
    for (unsigned n = 0; n < 200; n++) {
        expect_is(weft_task_yield(), 0);
        weft_dump *dump = take(weft_runtime_self());
        runs = 0;
        for (int i = 0; i < 8; i++) {
            weft_dump_task task = task_of(dump, tasks[i]);
            // Every step was one run; who stands at a yield has made its step.
            if (task.state != WEFT_STATE_DONE)
                runs += (unsigned)task.schedules;
        }
        weft_dump_free(dump);
    }
    expect(runs <= atomic_load(count));
    for (int i = 0; i < 8; i++)
        (void)join(tasks[i]);
    return NULL;
}

static void test_asked_by_a_task(void **state)
{
    weft_runtime *runtime = start(1);
    atomic_uint count = 0;

    (void)state;
    expect_is(weft_runtime_run(runtime, ask_among, &count, NULL), 0);
    expect_is(atomic_load(&count), 8000);
    expect_is(weft_runtime_free(runtime), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_order),
        cmocka_unit_test(test_next_slot),
        cmocka_unit_test(test_same_number_of_runs),
        cmocka_unit_test(test_more_than_a_queue_holds),
        cmocka_unit_test(test_figures_stay),
        cmocka_unit_test(test_figures_stay_when_met),
        cmocka_unit_test(test_shared_queue_in_order),
        cmocka_unit_test(test_asked_by_a_task),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
