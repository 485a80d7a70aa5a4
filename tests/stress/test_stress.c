// test_stress.c -- Everything at random and at once; what must hold is counted.
//
// Tasks of a few generations do whatever can be done with tasks, under
// deadlines, and are cancelled at any moment. Tokens go round through channels
// and must all be there in the end; plain numbers grow under mutexes; each task
// that was started ends. WEFT_TEST_SCALE says how long it lasts.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

enum {
    CHANNELS = 4,
    MUTEXES = 4,
    TOKENS = 40,
    HANDLES = 64,
    STEPS = 30,
    GENERATIONS = 4,
};

struct world {
    weft_channel *channels[CHANNELS]; // each has room for all tokens
    weft_mutex mutexes[MUTEXES];
    long numbers[MUTEXES];      // plain: under the mutexes
    int inside[MUTEXES];        // plain: likewise
    atomic_long added[MUTEXES]; // what the numbers must be
    atomic_int seen[TOKENS];    // 1 while somebody has the token
    atomic_int kept;            // tokens that their holders kept
    atomic_long budget;         // tasks that may yet be started
    atomic_long started;
    atomic_long ended;
    _Atomic(uint64_t) handles[HANDLES]; // of any tasks, also of old ones
};

struct life {
    struct world *world;
    int generation;
    uint64_t chance;
};

static void *live(void *arg);

// ---- Starting. ----

static struct life *new_life(struct life *parent)
{
    struct world *world = parent->world;

    if (parent->generation >= GENERATIONS ||
        atomic_fetch_sub(&world->budget, 1) <= 0)
        return NULL;
    struct life *life = malloc(sizeof *life);
    *life = (struct life){
        .world = world,
        .generation = parent->generation + 1,
        .chance = random_below(&parent->chance, UINT32_MAX),
    };
    (void)atomic_fetch_add(&world->started, 1);
    return life;
}

static void not_started(struct life *life)
{
    (void)atomic_fetch_sub(&life->world->started, 1);
    free(life);
}

static void note_handle(struct life *life, weft_task task)
{
    atomic_store(&life->world->handles[random_below(&life->chance, HANDLES)],
                 task.id);
}

// False: the runtime is ending.
static bool start(struct life *life, struct life *child, weft_task *ret_task)
{
    static const size_t sizes[] = {0, 0, 0, 16 << 10, 128 << 10};
    weft_task_options options = {
        .size = sizeof options,
        .name = random_below(&life->chance, 2) ? "named" : NULL,
        .stack_size = sizes[random_below(&life->chance, 5)],
    };
    int error = weft_task_spawn(&options, live, child, ret_task);

    expect(error == 0 || error == -ESHUTDOWN);
    if (error != 0)
        not_started(child);
    return error == 0;
}

static int64_t soon(struct life *life)
{
    return weft_time_after(random_below(&life->chance, 300000));
}

// ---- What a task does. ----

static void start_detached(struct life *life)
{
    struct life *child = new_life(life);

    if (child != NULL)
        (void)start(life, child, NULL);
}

// Joins in time, or cancels and joins, or lets it go.
static void start_and_join(struct life *life)
{
    struct life *child = new_life(life);
    weft_task task;
    void *result;

    if (child == NULL || !start(life, child, &task))
        return;
    note_handle(life, task);
    int error = weft_task_join(task, soon(life), &result);
    if (error == -ETIMEDOUT) {
        expect_is(weft_task_cancel(task), 0);
        error = weft_task_join(task, WEFT_NEVER, &result);
    }
    expect(error == 0 || error == -ECANCELED || error == -ETIMEDOUT);
    if (error == 0)
        expect(result == life->world);
    else // we are to end ourselves
        expect_is(weft_task_detach(task), 0);
}

static void open_scope(struct life *life)
{
    weft_scope scope;
    uint32_t how = random_below(&life->chance, 4);

    expect_is(weft_scope_enter(&scope, how == 0 ? soon(life) : WEFT_NEVER), 0);
    for (int i = 0; i < 3; i++) {
        struct life *child = new_life(life);
        weft_task task;
        if (child == NULL)
            break;
        if (weft_scope_spawn(&scope, NULL, live, child, &task) == 0)
            note_handle(life, task);
        else
            not_started(child);
        if (how == 1 && i == 1)
            expect_is(weft_scope_cancel(&scope), 0);
    }
    int error = weft_scope_leave(&scope);
    expect(error == 0 || error == -ECANCELED || error == -ETIMEDOUT);
}

static weft_channel *any_channel(struct life *life)
{
    return life->world->channels[random_below(&life->chance, CHANNELS)];
}

// Carries a token from one channel to another.
static void carry(struct life *life)
{
    struct world *world = life->world;
    uint32_t token = UINT32_MAX;

    if (weft_channel_recv(any_channel(life), &token, soon(life)) != 0)
        return;
    expect(token < TOKENS);
    expect_is(atomic_fetch_add(&world->seen[token], 1), 0);
    if (random_below(&life->chance, 4) == 0)
        (void)weft_task_yield();
    expect_is(atomic_fetch_sub(&world->seen[token], 1), 1);
    int error = weft_channel_send(any_channel(life), &token, WEFT_NEVER);
    if (error != 0) { // there is always room: so we are to end
        expect(error == -ECANCELED || error == -ETIMEDOUT);
        (void)atomic_fetch_add(&world->kept, 1);
    }
}

static void add_under(struct life *life, uint32_t which)
{
    struct world *world = life->world;

    expect_is(world->inside[which]++, 0);
    long number = world->numbers[which];
    if (random_below(&life->chance, 4) == 0)
        (void)weft_task_yield();
    world->numbers[which] = number + 1;
    (void)atomic_fetch_add(&world->added[which], 1);
    expect_is(--world->inside[which], 0);
}

// One mutex, or two in the order that all keep.
static void lock_some(struct life *life)
{
    struct world *world = life->world;
    uint32_t first = random_below(&life->chance, MUTEXES);
    uint32_t second = random_below(&life->chance, MUTEXES);

    if (weft_mutex_lock(&world->mutexes[first], soon(life)) != 0)
        return;
    add_under(life, first);
    if (second > first &&
        weft_mutex_lock(&world->mutexes[second], soon(life)) == 0) {
        add_under(life, second);
        expect_is(weft_mutex_unlock(&world->mutexes[second]), 0);
    }
    expect_is(weft_mutex_unlock(&world->mutexes[first]), 0);
}

// Whoever it is: one that runs, waits, has ended, or was another's.
static void meddle(struct life *life)
{
    weft_task task = {atomic_load(
        &life->world->handles[random_below(&life->chance, HANDLES)])};
    int error = weft_task_cancel(task);

    expect(error == 0 || error == -ESRCH);
}

static void *add_outside(void *arg)
{
    return (char *)arg + 1;
}

static void block(struct life *life)
{
    char place[2];
    void *result = NULL;
    int error = weft_blocking_run(add_outside, place, &result);

    expect(error == -ECANCELED || (error == 0 && result == place + 1));
    (void)life;
}

static void label(struct life *life)
{
    char key[8];

    snprintf(key, sizeof key, "%u", random_below(&life->chance, 20));
    int error = weft_task_set_label(key, key);
    expect(error == 0 || error == -ENOSPC);
    expect_is(weft_task_set_name(key), 0);
    expect_is(weft_task_set_label(key, NULL), 0);
}

static void step(struct life *life)
{
    switch (random_below(&life->chance, 24)) {
    case 0:
        start_detached(life);
        break;
    case 1:
    case 2:
        start_and_join(life);
        break;
    case 3:
        open_scope(life);
        break;
    case 4:
        (void)weft_task_sleep(soon(life));
        break;
    case 5:
        label(life);
        break;
    case 6:
        block(life);
        break;
    case 7:
        if (random_below(&life->chance, 8) == 0)
            meddle(life);
        break;
    case 8:
    case 9:
    case 10:
        (void)weft_task_yield();
        break;
    case 11:
    case 12:
    case 13:
    case 14:
    case 15:
        lock_some(life);
        break;
    default:
        carry(life);
        break;
    }
}

static void *live(void *arg)
{
    struct life life = *(struct life *)arg;

    free(arg);
    for (int i = 0; i < STEPS; i++)
        step(&life);
    (void)atomic_fetch_add(&life.world->ended, 1);
    return life.world;
}

// ---- The world. ----

static struct world *make_world(long budget)
{
    struct world *world = calloc(1, sizeof *world);

    world->budget = budget;
    for (int i = 0; i < CHANNELS; i++)
        expect_is(weft_channel_new(sizeof(uint32_t), TOKENS, NULL,
                                   &world->channels[i]),
                  0);
    for (int i = 0; i < MUTEXES; i++)
        expect_is(weft_mutex_init(&world->mutexes[i], "stressed"), 0);
    for (uint32_t i = 0; i < TOKENS; i++)
        expect_is(weft_channel_send(world->channels[i % CHANNELS], &i, 0), 0);
    return world;
}

// Everything is as it must be. All tasks have ended.
static void judge(struct world *world)
{
    bool seen[TOKENS] = {false};
    int tokens = world->kept;
    uint32_t token;

    for (int i = 0; i < CHANNELS; i++) {
        while (weft_channel_recv(world->channels[i], &token, 0) == 0) {
            expect(token < TOKENS && !seen[token]);
            seen[token] = true;
            tokens++;
        }
        expect_is(weft_channel_free(world->channels[i]), 0);
    }
    expect_is(tokens, TOKENS);
    for (int i = 0; i < MUTEXES; i++) {
        expect_is(world->numbers[i], world->added[i]);
        expect_is(weft_mutex_deinit(&world->mutexes[i]), 0);
    }
    free(world);
}

static void *stress(void *arg)
{
    struct world *world = make_world(scaled(4000));
    uint64_t seed = (uint64_t)(intptr_t)arg;

    for (int i = 0; atomic_load(&world->budget) > 0; i++) {
        struct life root = {.world = world, .chance = seed + (uint64_t)i};
        weft_task task;
        struct life *first = new_life(&root);
        if (first == NULL)
            break;
        expect_is(weft_task_spawn(NULL, live, first, &task), 0);
        if (i % 8 == 7) // some at a time
            join(task);
        else
            expect_is(weft_task_detach(task), 0);
    }
    while (atomic_load(&world->ended) < atomic_load(&world->started))
        (void)weft_task_sleep(weft_time_after(100000));
    judge(world);
    weft_runtime_metrics metrics;
    do // the last ones may be on their way out
        expect_is(weft_runtime_metrics_get(weft_runtime_self(), &metrics), 0);
    while (metrics.tasks_live > 1 && weft_task_yield() == 0);
    return arg;
}

static void stress_with(unsigned workers)
{
    for (intptr_t seed = 1; seed <= 3; seed++)
        run_with(workers, stress, (void *)(seed * 1000 + workers));
}

static void test_one_worker(void **state)
{
    (void)state;
    stress_with(1);
}

static void test_two_workers(void **state)
{
    (void)state;
    stress_with(2);
}

static void test_eight_workers(void **state)
{
    (void)state;
    stress_with(8);
}

// The runtime is ended in the middle of it: all tasks end, whatever they do.
static void test_ended_in_the_middle(void **state)
{
    (void)state;
    for (int i = 0; i < scaled(20); i++) {
        weft_runtime *runtime = start_with(1u << i % 4);
        struct world *world = make_world(1000000);
        atomic_store(&world->started, 0);
        for (int j = 0; j < 20; j++) {
            struct life root = {.world = world,
                                .chance = (uint64_t)(100 * i + j)};
            weft_task task = spawn_on(runtime, live, new_life(&root));
            expect_is(weft_task_detach(task), 0);
        }
        while (atomic_load(&world->ended) < 10)
            continue;
        expect_is(weft_runtime_free(runtime), 0);
        expect_is(world->ended, world->started);
        judge(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_worker),
        cmocka_unit_test(test_two_workers),
        cmocka_unit_test(test_eight_workers),
        cmocka_unit_test(test_ended_in_the_middle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
