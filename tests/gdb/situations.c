// situations.c -- Tasks in every state that gdb can meet: for test_gdb.py.
//
// One worker. Task "waits" is parked, with values that must be the same
// afterwards; "ended" is to be joined; "main" keeps the worker, in a read of
// standard input; "turns" could run; "fresh" has not been run. When a line has
// come, "waits" is woken, and the sum of what it has is printed: 4711 times 6.
// With an argument, there is a second runtime, with two tasks that sleep.
#include <weft/weft.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "situations.c:%d: %s\n", __LINE__, #condition);    \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

#define NO_INLINE __attribute__((noinline))

static weft_channel *gate;
static weft_mutex mutex;
volatile int figure = 4711; // what the compiler does not know
static bool released;       // who takes turns may end
static int arrived;         // tasks that have come to where they wait or end

// As a debugger may call it.
NO_INLINE int twice(int number);

int twice(int number)
{
    return 2 * number;
}

// Values live across the call: all registers that a callee must keep.
static NO_INLINE int wait_here(int depth)
{
    int a = figure, b = figure, c = figure, d = figure, e = figure;
    volatile int local = figure;
    char item;

    arrived++;
    CHECK(weft_channel_recv(gate, &item, WEFT_NEVER) == 0);
    return a + b + c + d + e + local + depth;
}

static void *waits(void *arg)
{
    (void)arg;
    int sum = wait_here(0);
    printf("sum %d\n", sum);
    return NULL;
}

static void *wait_for_mutex(void *arg)
{
    (void)arg;
    arrived++;
    CHECK(weft_mutex_lock(&mutex, WEFT_NEVER) == 0);
    CHECK(weft_mutex_unlock(&mutex) == 0);
    return NULL;
}

static void *end(void *arg)
{
    arrived++;
    return arg;
}

static void *take_turns(void *arg)
{
    arrived++;
    while (!released)
        CHECK(weft_task_yield() == 0);
    return arg;
}

NO_INLINE void at_work(int round);

void at_work(int round)
{
    char line[16];

    printf("at work %d\n", round);
    (void)fflush(stdout);
    (void)!read(0, line, sizeof line);
}

static void *sleep_on(void *arg)
{
    (void)weft_task_sleep(WEFT_NEVER);
    return arg;
}

static weft_task spawn(weft_task_fn *fn, const char *name)
{
    weft_task_options options = {.size = sizeof options, .name = name};
    weft_task task;

    CHECK(weft_task_spawn(&options, fn, NULL, &task) == 0);
    return task;
}

static void *busy(void *arg)
{
    weft_task tasks[5];
    int count = 0;

    (void)arg;
    CHECK(weft_mutex_lock(&mutex, WEFT_NEVER) == 0);
    tasks[count++] = spawn(waits, "waits");
    tasks[count++] = spawn(wait_for_mutex, "locks");
    tasks[count++] = spawn(end, "ended");
    tasks[count++] = spawn(take_turns, "turns");
    while (arrived < count)
        CHECK(weft_task_yield() == 0);
    tasks[count++] = spawn(end, "fresh");
    at_work(1);
    released = true;
    CHECK(weft_channel_send(gate, "x", WEFT_NEVER) == 0);
    CHECK(weft_mutex_unlock(&mutex) == 0);
    for (int i = 0; i < count; i++)
        CHECK(weft_task_join(tasks[i], WEFT_NEVER, NULL) == 0);
    return NULL;
}

static void sleep_in(weft_runtime *runtime, const char *name)
{
    weft_task_options options = {
        .size = sizeof options, .runtime = runtime, .name = name};

    CHECK(weft_task_spawn(&options, sleep_on, NULL, NULL) == 0);
}

// Until they do.
static void await_sleepers(weft_runtime *runtime, int wanted)
{
    weft_dump *dump;
    weft_dump_task task;
    int asleep = 0;

    while (asleep < wanted) {
        asleep = 0;
        CHECK(weft_dump_take(runtime, &dump) == 0);
        for (size_t i = 0; weft_dump_get_task(dump, i, &task) == 0; i++)
            asleep += task.wait == WEFT_WAIT_SLEEP;
        weft_dump_free(dump);
    }
}

static weft_runtime *start(const char *name)
{
    weft_runtime_options options = {.size = sizeof options,
                                    .name = name,
                                    .workers = 1,
                                    .handoff_ns = WEFT_NEVER};
    weft_runtime *runtime;

    CHECK(weft_runtime_new(&options, &runtime) == 0);
    return runtime;
}

int main(int argc, char **argv)
{
    weft_runtime *runtime = start("situations");
    weft_runtime *other = argc > 1 ? start("other") : NULL;

    (void)argv;
    CHECK(weft_channel_new(1, 1, "gate", &gate) == 0);
    CHECK(weft_mutex_init(&mutex, "counter") == 0);
    if (other != NULL) {
        sleep_in(other, "one");
        sleep_in(other, "two");
        await_sleepers(other, 2);
    }
    CHECK(weft_runtime_run(runtime, busy, NULL, NULL) == 0);
    if (other != NULL)
        CHECK(weft_runtime_free(other) == 0);
    CHECK(weft_runtime_free(runtime) == 0);
    CHECK(twice(figure) == 2 * figure);
    CHECK(weft_mutex_deinit(&mutex) == 0);
    CHECK(weft_channel_free(gate) == 0);
    return 0;
}
