// test_dump_moment.c -- A dump is of one moment, however long its capture
// takes and whatever the tasks do meanwhile.
#include <errno.h>
#include <pthread.h>

#include "support/dumps.h"

// ---- A token goes round: at every moment one task has it, or a few ----

enum { RING = 3000, TOKENS_MAX = 2 };

struct ring {
    weft_runtime *runtime;
    weft_channel *channels[RING];
    weft_task tasks[RING];
    atomic_bool stop;
    atomic_ulong rounds;
};

struct seat {
    struct ring *ring;
    unsigned number;
};

static void *pass_on(void *arg)
{
    struct seat *seat = arg;
    struct ring *ring = seat->ring;
    weft_channel *in = ring->channels[seat->number];
    weft_channel *out = ring->channels[(seat->number + 1) % RING];
    unsigned token;

    while (weft_channel_recv(in, &token, WEFT_NEVER) == 0) {
        atomic_fetch_add(&ring->rounds, 1);
        if (atomic_load(&ring->stop))
            break;
        if (weft_channel_send(out, &token, WEFT_NEVER) != 0)
            expect(atomic_load(&ring->stop)); // closed just then
    }
    return NULL;
}

// With one token, who has it and who has just been given it may both be about
// to run; all others wait. A capture that followed the token around would find
// many who had it, or none.
static void check_ring(const weft_dump *dump)
{
    size_t tasks = info_of(dump).tasks;
    size_t waiting = tasks_in_state(dump, WEFT_STATE_WAITING);

    expect_is(tasks, RING);
    expect(waiting < tasks);
#ifndef WEFT_HOSTILE // there who has passed it on yields before it waits
    expect(waiting >= tasks - TOKENS_MAX);
#endif
}

static void run_ring(unsigned workers, unsigned threads)
{
    weft_runtime_options options = {
        .size = sizeof options, .workers = workers, .dump_threads = threads};
    static struct ring ring;
    static struct seat seats[RING];
    unsigned token = 7;

    expect_is(weft_runtime_new(&options, &ring.runtime), 0);
    atomic_store(&ring.stop, false);
    for (unsigned i = 0; i < RING; i++)
        expect_is(
            weft_channel_new(sizeof(unsigned), 1, NULL, &ring.channels[i]), 0);
    for (unsigned i = 0; i < RING; i++) {
        seats[i] = (struct seat){&ring, i};
        ring.tasks[i] = spawn(ring.runtime, NULL, pass_on, &seats[i]);
    }
    weft_dump_free(take_when(ring.runtime, WEFT_STATE_WAITING, RING));
    expect_is(weft_channel_send(ring.channels[0], &token, WEFT_NEVER), 0);
    for (unsigned n = 0; n < scaled(50); n++) {
        unsigned long before = atomic_load(&ring.rounds);
        weft_dump *dump = take(ring.runtime);
        check_ring(dump);
        weft_dump_free(dump);
        while (atomic_load(&ring.rounds) == before) // it goes round
            doze();
    }
    atomic_store(&ring.stop, true);
    for (unsigned i = 0; i < RING; i++)
        (void)weft_channel_close(ring.channels[i]);
    for (unsigned i = 0; i < RING; i++)
        (void)join(ring.tasks[i]);
    expect_is(weft_runtime_free(ring.runtime), 0);
    for (unsigned i = 0; i < RING; i++)
        expect_is(weft_channel_free(ring.channels[i]), 0);
}

static void test_token(void **state)
{
    (void)state;
    run_ring(1, 0);
    run_ring(2, 1);
    run_ring(2, 3);
    run_ring(4, 0);
}

// ---- Tasks that come and go: what is said of one is all of the same one ----

// Names are read from files anew for each dump: not for all of them.
enum { KINDS = 3, CHURNERS = 24, NAMED = 20 };

struct churn {
    weft_runtime *runtime;
    weft_channel *doors[KINDS];
    atomic_bool stop;
    atomic_ulong lives;
};

static struct churn churn;

static const char *const kinds[KINDS] = {"anna", "berta", "clara"};

// One chain of calls for each kind, so that a stack tells whose it is.
#define CHAIN(name, kind)                                                      \
    __attribute__((noinline)) static int name(void)                            \
    {                                                                          \
        int item;                                                              \
        int error = weft_channel_recv(churn.doors[kind], &item,                \
                                      weft_time_after(kind * MS));             \
        return error - 1;                                                      \
    }
CHAIN(wait_anna, 0)
CHAIN(wait_berta, 1)
CHAIN(wait_clara, 2)

static void *live(void *arg)
{
    static int (*const waits[KINDS])(void) = {wait_anna, wait_berta,
                                              wait_clara};
    unsigned kind = (unsigned)(uintptr_t)arg;
    weft_mutex mutex; // on the stack: gone with the task

    expect_is(weft_task_set_label("kind", kinds[kind]), 0);
    expect_is(weft_mutex_init(&mutex, kinds[kind]), 0);
    expect_is(weft_mutex_lock(&mutex, WEFT_NEVER), 0);
    (void)weft_task_yield();
    (void)waits[kind]();
    expect_is(weft_mutex_unlock(&mutex), 0);
    expect_is(weft_mutex_deinit(&mutex), 0);
    expect_is(weft_task_set_label("kind", NULL), 0);
    atomic_fetch_add(&churn.lives, 1);
    return NULL;
}

static unsigned next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (unsigned)(*random >> 33);
}

// Starts a task, wakes another, cancels one, joins or lets go.
static void *stir(void *arg)
{
    uint64_t random = (uintptr_t)arg * 2654435761u + 1;

    while (!atomic_load(&churn.stop)) {
        unsigned kind = next_random(&random) % KINDS;
        weft_task task =
            spawn(churn.runtime, kinds[kind], live, (void *)(uintptr_t)kind);
        unsigned what = next_random(&random);
        if (what & 1)
            (void)weft_task_yield();
        if (what & 2)
            (void)weft_channel_send(churn.doors[what % KINDS], &kind,
                                    weft_time_now());
        if (what & 4)
            (void)weft_task_cancel(task);
        if (what & 8)
            expect_is(weft_task_detach(task), 0);
        else
            (void)join(task);
    }
    return NULL;
}

static bool begins_with(const char *text, const char *start)
{
    return text != NULL && strncmp(text, start, strlen(start)) == 0;
}

static void check_words(const weft_dump *dump, size_t index,
                        const weft_dump_task *task)
{
    const char *key;
    const char *value;

    expect(task->labels <= 1);
    if (task->labels == 0)
        return;
    expect_is(weft_dump_get_label(dump, index, 0, &key, &value), 0);
    expect_text(key, "kind");
    expect_text(value, task->name);
}

// What it waits for, what it holds, and where: all by its name.
static void check_life(const weft_dump *dump, size_t index, bool names)
{
    weft_dump_task task = task_at(dump, index);
    struct chain chain;
    char function[32];
    uint32_t held;

    expect(task.state_ns >= 0 && task.age_ns >= task.state_ns);
    expect(task.schedules < 10);
    check_words(dump, index, &task);
    for (size_t i = 0; i < task.holds; i++) {
        expect_is(weft_dump_get_held(dump, index, i, &held), 0);
        expect_text(object_at(dump, held).name, task.name);
        expect_is(object_at(dump, held).owner, task.id);
    }
    if (task.state != WEFT_STATE_WAITING || task.wait != WEFT_WAIT_CHAN_RECV)
        return;
    expect_is(task.holds, 1);
    expect_is(task.labels, 1);
    expect_text(object_at(dump, task.object).name, task.name);
    if (!names)
        return;
    chain_of_stack(dump, task.stack, &chain);
    snprintf(function, sizeof function, "wait_%s", task.name);
    expect(chain_has(&chain, function, NULL));
}

static void check_churn(const weft_dump *dump, bool names)
{
    size_t tasks = info_of(dump).tasks;

    expect(info_of(dump).consistent);
    for (size_t i = 0; i < tasks; i++)
        if (!begins_with(task_at(dump, i).name, "stir") &&
            task_at(dump, i).state != WEFT_STATE_RUNNING)
            check_life(dump, i, names);
}

static void run_churn(unsigned workers)
{
    weft_task stirrers[CHURNERS];
    pthread_t thread;

    churn.runtime = start(workers);
    atomic_store(&churn.stop, false);
    for (int i = 0; i < KINDS; i++)
        expect_is(weft_channel_new(sizeof(int), 1, kinds[i], &churn.doors[i]),
                  0);
    for (uintptr_t i = 0; i < CHURNERS; i++)
        stirrers[i] = spawn(churn.runtime, "stir", stir, (void *)i);
    expect_is(pthread_create(&thread, NULL, stir, (void *)1000), 0);
    for (unsigned n = 0; n < scaled(100); n++) {
        unsigned long before = atomic_load(&churn.lives);
        weft_dump *dump = take(churn.runtime);
        check_churn(dump, n % NAMED == 0);
        weft_dump_free(dump);
        while (atomic_load(&churn.lives) == before)
            doze();
    }
    atomic_store(&churn.stop, true);
    expect_is(pthread_join(thread, NULL), 0);
    for (int i = 0; i < CHURNERS; i++)
        (void)join(stirrers[i]);
    expect_is(weft_runtime_free(churn.runtime), 0);
    for (int i = 0; i < KINDS; i++)
        expect_is(weft_channel_free(churn.doors[i]), 0);
}

static void test_churn(void **state)
{
    (void)state;
    run_churn(1);
    run_churn(2);
    run_churn(4);
}

// ---- Births and ends: as many children as the parent has counted ----

enum { CHILDREN = 4000, ROUNDS = 3 };

struct family {
    weft_runtime *runtime;
    weft_task children[CHILDREN];
    atomic_bool stop;
    atomic_ulong rounds;
};

static void *be_child(void *arg)
{
    return arg;
}

// Says how many children there are, in its name; between two yields a dump
// finds it so.
static void say(unsigned living)
{
    char name[32];

    snprintf(name, sizeof name, "parent of %u", living);
    expect_is(weft_task_set_name(name), 0);
    (void)weft_task_yield();
}

static void *be_parent(void *arg)
{
    struct family *family = arg;

    while (!atomic_load(&family->stop)) {
        for (unsigned i = 0; i < CHILDREN; i++) {
            family->children[i] = spawn(NULL, "child", be_child, NULL);
            say(i + 1);
        }
        for (unsigned i = 0; i < CHILDREN; i++) {
            (void)join(family->children[i]);
            say(CHILDREN - i - 1);
        }
        atomic_fetch_add(&family->rounds, 1);
    }
    return NULL;
}

static void check_family(const weft_dump *dump, weft_task parent)
{
    weft_dump_task task = task_of(dump, parent);
    unsigned living;

    // One who runs, on a worker that did not come, may be anywhere.
    if (task.state == WEFT_STATE_RUNNING || task.name == NULL ||
        sscanf(task.name, "parent of %u", &living) != 1)
        return;
    expect_is(info_of(dump).tasks, living + 1);
}

static void test_births_and_ends(void **state)
{
    static struct family family;

    (void)state;
    family.runtime = start(2);
    weft_task parent = spawn(family.runtime, NULL, be_parent, &family);
    for (unsigned n = 0;
         n < scaled(100) || atomic_load(&family.rounds) < ROUNDS; n++) {
        weft_dump *dump = take(family.runtime);
        check_family(dump, parent);
        weft_dump_free(dump);
    }
    atomic_store(&family.stop, true);
    (void)join(parent);
    expect_is(weft_runtime_free(family.runtime), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_churn),
        cmocka_unit_test(test_births_and_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
