// test_dump_equivalence.c -- A dump changes nothing: the same seeded program,
// with and without dumps, does the same things in the same order.
//
// On one worker the order in which tasks run is the order of the queues. Every
// step of every task is written down, so two runs are equal if and only if the
// queues were in the same order all the time, every task was run as often, and
// every operation had the same result.
#include <errno.h>
#include <pthread.h>

#include "support/dumps.h"
#include "support/skip.h"

enum {
    ACTORS = 40,
    STEPS = 150,
    DOORS = 5,
    LOG_MAX = 4 * ACTORS * STEPS + 1000,
    DUMPS = 1000,
};

struct program {
    uint64_t seed;
    weft_channel *doors[DOORS];
    weft_mutex keys[DOORS];
    unsigned present; // actors that have not ended
    uint32_t log[LOG_MAX];
    size_t logged;
    uint64_t runs; // that the worker has counted
};

struct actor {
    struct program *program;
    unsigned number;
    uint64_t random;
};

static void note(struct actor *actor, unsigned what, int result)
{
    struct program *p = actor->program;

    expect(p->logged < LOG_MAX);
    p->log[p->logged++] =
        actor->number << 24 | what << 16 | ((unsigned)-result & 0xffff);
}

static unsigned next_random(struct actor *actor)
{
    actor->random ^= actor->random << 13;
    actor->random ^= actor->random >> 7;
    actor->random ^= actor->random << 17;
    return (unsigned)(actor->random >> 33);
}

static void *be_child(void *arg)
{
    (void)weft_task_yield();
    return arg;
}

static int under_key(struct actor *actor, unsigned which)
{
    weft_mutex *key = &actor->program->keys[which];
    int error = weft_mutex_lock(key, WEFT_NEVER);

    if (error != 0)
        return error;
    (void)weft_task_yield();
    return weft_mutex_unlock(key);
}

static int through_door(struct actor *actor, unsigned which, bool send)
{
    weft_channel *door = actor->program->doors[which];
    unsigned item = actor->number;

    // Who would be the last to wait goes on instead.
    if (actor->program->present == 1)
        return -EAGAIN;
    actor->program->present--;
    int error = send ? weft_channel_send(door, &item, WEFT_NEVER)
                     : weft_channel_recv(door, &item, WEFT_NEVER);
    actor->program->present++;
    return error;
}

static int with_child(struct actor *actor)
{
    weft_task child = spawn(NULL, NULL, be_child, actor);

    if (next_random(actor) % 2)
        (void)weft_task_yield();
    return join(child) == (intptr_t)actor ? 0 : -EIO;
}

static int step(struct actor *actor, unsigned what)
{
    switch (what) {
    case 0:
    case 1:
        return weft_task_yield();
    case 2:
        return under_key(actor, next_random(actor) % DOORS);
    case 3:
        return with_child(actor);
    default:
        return through_door(actor, next_random(actor) % DOORS, what == 4);
    }
}

static void *act(void *arg)
{
    struct actor *actor = arg;
    struct program *p = actor->program;

    for (int i = 0; i < STEPS; i++) {
        unsigned what = next_random(actor) % 6;
        note(actor, what, step(actor, what));
    }
    p->present--;
    note(actor, 99, 0);
    return actor;
}

static void *direct(void *arg)
{
    static struct actor actors[ACTORS];
    struct program *p = arg;
    weft_task tasks[ACTORS];

    p->present = ACTORS;
    for (unsigned i = 0; i < ACTORS; i++) {
        actors[i] = (struct actor){p, i, (p->seed + i) * 2654435761u + 1};
        tasks[i] = spawn(NULL, NULL, act, &actors[i]);
    }
    for (int i = 0; i < 20 * STEPS; i++)
        (void)weft_task_yield();
    // Who still waits is let go, once nobody can go on.
    for (int i = 0; i < DOORS; i++)
        expect_is(weft_channel_close(p->doors[i]), 0);
    for (unsigned i = 0; i < ACTORS; i++) {
        void *result;
        while (weft_task_join(tasks[i], weft_time_now(), &result) != 0)
            (void)weft_task_yield();
        expect(result == &actors[i]);
    }
    return NULL;
}

static uint64_t runs_of(weft_runtime *runtime)
{
    weft_worker_metrics metrics;

    expect_is(weft_worker_metrics_get(runtime, 0, &metrics), 0);
    return metrics.tasks_run;
}

static void set_up(struct program *p, uint64_t seed)
{
    memset(p, 0, sizeof *p);
    p->seed = seed;
    for (int i = 0; i < DOORS; i++) {
        expect_is(weft_channel_new(sizeof(unsigned), (size_t)i + 1, NULL,
                                   &p->doors[i]),
                  0);
        expect_is(weft_mutex_init(&p->keys[i], NULL), 0);
    }
}

static void tear_down(struct program *p)
{
    for (int i = 0; i < DOORS; i++) {
        expect_is(weft_channel_free(p->doors[i]), 0);
        expect_is(weft_mutex_deinit(&p->keys[i]), 0);
    }
}

struct dumper {
    weft_runtime *runtime;
    atomic_bool stop;
    unsigned dumps;
};

static void *dump_on(void *arg)
{
    struct dumper *dumper = arg;

    while (!atomic_load(&dumper->stop)) {
        weft_dump_free(take(dumper->runtime));
        dumper->dumps++;
    }
    return NULL;
}

// Runs the program once; how many dumps were taken meanwhile.
static unsigned run(struct program *p, uint64_t seed, bool dumps)
{
    struct dumper dumper = {.runtime = start(1)};
    pthread_t thread;

    set_up(p, seed);
    if (dumps)
        expect_is(pthread_create(&thread, NULL, dump_on, &dumper), 0);
    (void)join(spawn(dumper.runtime, "director", direct, p));
    p->runs = runs_of(dumper.runtime);
    if (dumps) {
        atomic_store(&dumper.stop, true);
        expect_is(pthread_join(thread, NULL), 0);
    }
    expect_is(weft_runtime_free(dumper.runtime), 0);
    tear_down(p);
    return dumper.dumps;
}

static void compare(const struct program *with, const struct program *without)
{
    expect_is(with->logged, without->logged);
    for (size_t i = 0; i < with->logged; i++)
        if (with->log[i] != without->log[i]) {
            fprintf(stderr, "step %zu is %x with dumps, %x without\n", i,
                    with->log[i], without->log[i]);
            abort();
        }
    expect_is(with->runs, without->runs);
}

static void test_same_trace(void **state)
{
    static struct program without;
    static struct program with;
    unsigned dumps = 0;

    (void)state;
#ifdef WEFT_HOSTILE
    skip_because("its tiny queues overflow, which changes the order");
#endif
    for (uint64_t seed = 1; dumps < scaled(DUMPS); seed++) {
        (void)run(&without, seed, false);
        dumps += run(&with, seed, true);
        compare(&with, &without);
    }
    printf("# %u dumps\n", dumps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_trace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
