// test_sim.c -- The simulator: equal runs, virtual time, faults, the network,
// and how a run can end.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <weft/sim.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

enum { SEEDS = 40 };

static const weft_sim_options QUIET = {.size = sizeof QUIET, .quiet = true};

static weft_sim_result simulate(uint64_t seed, weft_sim_fn *fn, void *arg)
{
    weft_sim_result result;
    int failed = weft_sim_run(seed, fn, arg, &QUIET, &result);

    assert_int_equal(failed, result.end == WEFT_SIM_PASSED ? 0 : 1);
    return result;
}

static void assert_passes(weft_sim_fn *fn, void *arg)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        weft_sim_result result;
        int failed = weft_sim_run(seed, fn, arg, NULL, &result);
        if (failed != 0)
            print_error("seed %d: end %d\n", (int)seed, (int)result.end);
        assert_int_equal(failed, 0);
    }
}

// ---- Equal runs ----

static void *talk(void *channel)
{
    for (int i = 0; i < 20; i++)
        expect_is(weft_channel_send(channel, &i, WEFT_NEVER), 0);
    return NULL;
}

static void *listen_to(void *channel)
{
    int sum = 0;
    int number;

    for (int i = 0; i < 20; i++) {
        expect_is(weft_channel_recv(channel, &number, WEFT_NEVER), 0);
        sum += number;
    }
    return (void *)(intptr_t)sum;
}

static void *converse(void *arg)
{
    weft_channel *channel;
    weft_task tasks[6];
    intptr_t sum = 0;

    expect_is(weft_channel_new(sizeof(int), 2, NULL, &channel), 0);
    for (int i = 0; i < 6; i++)
        tasks[i] = spawn(i % 2 == 0 ? talk : listen_to, channel);
    for (int i = 0; i < 6; i++)
        sum += join(tasks[i]);
    expect_is(sum, 3 * 190);
    expect_is(weft_channel_free(channel), 0);
    return arg;
}

static int run_conversation(void *arg)
{
    return weft_run(NULL, converse, arg, NULL) != 0;
}

static void test_a_seed_gives_one_run(void **state)
{
    (void)state;
    uint64_t seen = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        weft_sim_result first = simulate(seed, run_conversation, NULL);
        weft_sim_result second = simulate(seed, run_conversation, NULL);
        assert_int_equal(first.end, WEFT_SIM_PASSED);
        assert_memory_equal(&first, &second, sizeof first);
        assert_true(first.hash != seen); // and another seed another
        seen = first.hash;
    }
}

// Whatever a dump does is equal too, though it looks at addresses.
static void *converse_and_look(void *arg)
{
    weft_task task = spawn(converse, NULL);

    for (int i = 0; i < 5; i++) {
        weft_dump *dump;
        weft_dump_info info = {0};
        expect_is(weft_dump_take(weft_runtime_self(), &dump), 0);
        expect_is(weft_dump_get_info(dump, &info), 0);
        // Whoever is held up is read where it is.
        expect(info.complete || strstr(info.problem, "/proc") == NULL);
        weft_sim_note(info.tasks);
        weft_dump_free(dump);
    }
    (void)join(task);
    return arg;
}

static int run_with_dumps(void *arg)
{
    return weft_run(NULL, converse_and_look, arg, NULL) != 0;
}

static void test_dumps_are_equal_too(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        weft_sim_result first = simulate(seed, run_with_dumps, NULL);
        weft_sim_result second = simulate(seed, run_with_dumps, NULL);
        assert_int_equal(first.end, WEFT_SIM_PASSED);
        assert_memory_equal(&first, &second, sizeof first);
    }
}

static int note_it(void *arg)
{
    weft_sim_note((uint64_t)(uintptr_t)arg);
    return 0;
}

static void test_notes_tell_runs_apart(void **state)
{
    (void)state;
    assert_true(simulate(1, note_it, (void *)1).hash !=
                simulate(1, note_it, (void *)2).hash);
}

// ---- Time ----

static void *sleep_a_day(void *arg)
{
    int64_t until = weft_time_after(24 * 3600 * WEFT_SECOND);

    expect_is(weft_task_sleep(until), 0);
    expect(weft_time_now() >= until);
    return arg;
}

static int sleep_in_all_ways(void *arg)
{
    struct timespec before;
    struct timespec after;

    (void)arg;
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    expect_is(weft_run(NULL, sleep_a_day, NULL, NULL), 0);
    expect_is(usleep(500000), 0);
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    int64_t seconds = after.tv_sec - before.tv_sec;
    return seconds >= 24 * 3600 && seconds < 25 * 3600 ? 0 : 1;
}

static void test_time_is_virtual(void **state)
{
    (void)state;
    weft_sim_options options = QUIET;
    weft_sim_result result;

    options.time_limit_ns = 48 * 3600 * WEFT_SECOND;
    assert_int_equal(
        weft_sim_run(1, sleep_in_all_ways, NULL, &options, &result), 0);
    assert_true(result.time_ns > 24 * 3600 * WEFT_SECOND);
    options.time_limit_ns = 3600 * WEFT_SECOND;
    assert_int_equal(
        weft_sim_run(1, sleep_in_all_ways, NULL, &options, &result), 1);
    assert_int_equal(result.end, WEFT_SIM_LATE);
}

static int spin_for_ever(void *arg)
{
    while (arg == NULL)
        (void)weft_time_now();
    return 0;
}

static void test_steps_are_limited(void **state)
{
    (void)state;
    weft_sim_options options = QUIET;
    weft_sim_result result;

    options.step_limit = 100000;
    assert_int_equal(weft_sim_run(1, spin_for_ever, NULL, &options, &result),
                     1);
    assert_int_equal(result.end, WEFT_SIM_LATE);
    assert_true(result.steps > 100000 && result.steps < 200000);
}

// ---- Threads and locks of the program ----

struct counter {
    pthread_mutex_t lock;
    int number;
};

static void *count_up(void *arg)
{
    struct counter *counter = arg;

    for (int i = 0; i < 50; i++) {
        expect_is(pthread_mutex_lock(&counter->lock), 0);
        int number = counter->number;
        if (i % 10 == 0)
            (void)usleep(10);
        counter->number = number + 1;
        expect_is(pthread_mutex_unlock(&counter->lock), 0);
    }
    return arg;
}

static int count_together(void *arg)
{
    struct counter counter = {PTHREAD_MUTEX_INITIALIZER, 0};
    pthread_t threads[4];

    (void)arg;
    for (int i = 0; i < 4; i++)
        expect_is(pthread_create(&threads[i], NULL, count_up, &counter), 0);
    for (int i = 0; i < 4; i++) {
        void *result;
        expect_is(pthread_join(threads[i], &result), 0);
        expect(result == &counter);
    }
    return counter.number == 200 ? 0 : 1;
}

static void test_threads_and_mutexes(void **state)
{
    (void)state;
    assert_passes(count_together, NULL);
}

// What is wrong without the lock is found.
static void *count_carelessly(void *arg)
{
    int *number = arg;

    for (int i = 0; i < 10; i++) {
        int seen = *number;
        (void)weft_task_yield();
        *number = seen + 1;
    }
    return NULL;
}

static void *two_careless(void *arg)
{
    weft_task one = spawn(count_carelessly, arg);
    weft_task other = spawn(count_carelessly, arg);

    (void)join(one);
    (void)join(other);
    return NULL;
}

static int race(void *arg)
{
    int number = 0;

    (void)arg;
    expect_is(weft_run(NULL, two_careless, &number, NULL), 0);
    return number == 20 ? 0 : number;
}

static void test_a_race_is_found_and_replays(void **state)
{
    (void)state;
    uint64_t seed = 1;
    weft_sim_result found;

    while ((found = simulate(seed, race, NULL)).end == WEFT_SIM_PASSED)
        assert_true(++seed < 1000);
    weft_sim_result again = simulate(seed, race, NULL);
    assert_int_equal(found.end, WEFT_SIM_FAILED);
    assert_memory_equal(&found, &again, sizeof found);
}

// ---- How a run ends ----

static void *wait_for_nobody(void *arg)
{
    weft_channel *channel;
    int number;

    expect_is(weft_channel_new(sizeof(int), 1, "nobody's", &channel), 0);
    (void)weft_channel_recv(channel, &number, WEFT_NEVER);
    return arg;
}

static int get_stuck(void *arg)
{
    return weft_run(NULL, wait_for_nobody, arg, NULL);
}

static int leave_threads(void *arg)
{
    weft_runtime *runtime;

    (void)arg;
    return weft_runtime_new(NULL, &runtime);
}

static int crash(void *arg)
{
    (void)arg;
    abort();
}

static int hang(void *arg)
{
    volatile bool never = arg != NULL;

    while (!never)
        continue;
    return 0;
}

static int leave_the_process(void *arg)
{
    (void)arg;
    _exit(7);
}

static int return_five(void *arg)
{
    (void)arg;
    return 5;
}

static void test_ends(void **state)
{
    (void)state;
    assert_int_equal(simulate(1, get_stuck, NULL).end, WEFT_SIM_STUCK);
    assert_int_equal(simulate(1, leave_threads, NULL).end, WEFT_SIM_LEFT);
    weft_sim_result result = simulate(1, crash, NULL);
    assert_int_equal(result.end, WEFT_SIM_CRASHED);
    assert_int_equal(result.status, SIGABRT);
    result = simulate(1, leave_the_process, NULL);
    assert_int_equal(result.end, WEFT_SIM_FAILED);
    assert_int_equal(result.status, 7);
    weft_sim_options options = QUIET;
    options.real_limit_ns = 50 * WEFT_MILLISECOND;
    assert_int_equal(weft_sim_run(1, hang, NULL, &options, &result), 1);
    assert_int_equal(result.end, WEFT_SIM_HUNG);
    result = simulate(1, return_five, NULL);
    assert_int_equal(result.end, WEFT_SIM_FAILED);
    assert_int_equal(result.status, 5);
}

// What is said of one that is stuck: the dump names the task and the channel.
static void test_a_stuck_run_is_explained(void **state)
{
    (void)state;
    char text[1 << 16];
    FILE *file = tmpfile();
    int errors = dup(STDERR_FILENO);

    assert_non_null(file);
    (void)dup2(fileno(file), STDERR_FILENO);
    assert_int_equal(weft_sim_run(1, get_stuck, NULL, NULL, NULL), 1);
    (void)dup2(errors, STDERR_FILENO);
    (void)close(errors);
    ssize_t got = pread(fileno(file), text, sizeof text - 1, 0);
    assert_true(got > 0);
    text[got] = '\0';
    (void)fclose(file);
    assert_non_null(strstr(text, "nobody's"));
    assert_non_null(strstr(text, "wait_for_nobody"));
    assert_non_null(strstr(text, "seed 1 is stuck"));
}

static int nest(void *arg)
{
    (void)arg;
    expect(weft_sim_active());
    return weft_sim_run(1, return_five, NULL, NULL, NULL) == -EBUSY ? 0 : 1;
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    weft_sim_options options = {.size = 1};

    assert_int_equal(weft_sim_run(1, NULL, NULL, NULL, NULL), -EINVAL);
    assert_int_equal(weft_sim_run(1, nest, NULL, &options, NULL), -EINVAL);
    options = QUIET;
    options.time_limit_ns = -1;
    assert_int_equal(weft_sim_run(1, nest, NULL, &options, NULL), -EINVAL);
    assert_int_equal(weft_sim_run(1, nest, NULL, NULL, NULL), 0);
    assert_false(weft_sim_active());
    assert_int_equal(weft_sim_random(), 0);
}

static int see(void *arg)
{
    *(bool *)arg = weft_sim_active();
    return run_conversation(NULL);
}

// What a run does to memory stays in its process, unless that is the caller's.
static void test_here(void **state)
{
    (void)state;
    weft_sim_options options = QUIET;
    bool seen = false;

    assert_int_equal(weft_sim_run(1, see, &seen, &options, NULL), 0);
    assert_false(seen);
    options.here = true;
    assert_int_equal(weft_sim_run(1, see, &seen, &options, NULL), 0);
    assert_true(seen);
    assert_false(weft_sim_active());
}

// Outside a simulation the library is what it always is.
static void test_outside(void **state)
{
    (void)state;
    assert_int_equal(run_conversation(NULL), 0);
}

// ---- The network ----

enum { BYTES = 20000, PORT = 7000 };

static unsigned char byte_at(int place)
{
    return (unsigned char)(place * 7 + place / 256);
}

static void *echo_one(void *arg)
{
    weft_fd fd = {(uint64_t)(uintptr_t)arg};
    char bytes[3000];
    ssize_t got;

    while ((got = weft_fd_read(fd, bytes, sizeof bytes, WEFT_NEVER)) > 0)
        if (weft_fd_write(fd, bytes, (size_t)got, WEFT_NEVER) != got)
            break;
    weft_fd_close(fd);
    return NULL;
}

static void *echo_all(void *arg)
{
    weft_fd listener;
    weft_fd fd;

    expect_is(weft_tcp_listen("127.0.0.1", PORT, 3, &listener), 0);
    expect_is(weft_tcp_listen("127.0.0.1", PORT, 3, &fd), -EADDRINUSE);
    for (int error = 0; error != -ECANCELED;) {
        error = weft_tcp_accept(listener, WEFT_NEVER, &fd);
        if (error == 0)
            expect_is(
                weft_task_spawn(NULL, echo_one, (void *)(uintptr_t)fd.id, NULL),
                0);
    }
    weft_fd_close(listener);
    return arg;
}

static void *write_all(void *arg)
{
    weft_fd fd = {(uint64_t)(uintptr_t)arg};
    unsigned char bytes[BYTES];

    for (int i = 0; i < BYTES; i++)
        bytes[i] = byte_at(i);
    ssize_t sent = weft_fd_write(fd, bytes, BYTES, WEFT_NEVER);
    return (void *)(intptr_t)sent;
}

static int connect_patiently(weft_fd *ret_fd)
{
    int error;

    while ((error = weft_tcp_connect("127.0.0.1", PORT, WEFT_NEVER, ret_fd)) ==
           -ECONNREFUSED)
        expect_is(weft_task_sleep(weft_time_after(WEFT_MILLISECOND)), 0);
    return error;
}

// Reads back what was written, in whatever pieces. How much came whole.
static int read_back(weft_fd fd)
{
    unsigned char bytes[777];
    ssize_t got = 1;
    int at = 0;

    while (at < BYTES &&
           (got = weft_fd_read(fd, bytes, sizeof bytes, WEFT_NEVER)) > 0)
        for (int i = 0; i < got; i++, at++)
            expect_is(bytes[i], byte_at(at));
    return got < 0 ? (int)got : at;
}

static void *use_echo(void *arg)
{
    weft_fd fd;
    char text[WEFT_ADDRESS_MAX];
    uint16_t port;

    expect_is(connect_patiently(&fd), 0);
    expect_is(weft_tcp_address(fd, true, text, &port), 0);
    expect_is(port, PORT);
    weft_task writer = spawn(write_all, (void *)(uintptr_t)fd.id);
    expect_is(read_back(fd), BYTES);
    expect_is(join(writer), BYTES);
    weft_fd_close(fd);
    return arg;
}

static void *echo_with_clients(void *arg)
{
    weft_task server = spawn(echo_all, NULL);
    weft_task clients[5];

    for (int i = 0; i < 5; i++)
        clients[i] = spawn(use_echo, NULL);
    for (int i = 0; i < 5; i++)
        (void)join(clients[i]);
    expect_is(weft_task_cancel(server), 0);
    (void)join(server);
    return arg;
}

static int run_echo(void *arg)
{
    return weft_run(NULL, echo_with_clients, arg, NULL);
}

static void test_bytes_come_in_order(void **state)
{
    (void)state;
    assert_passes(run_echo, NULL);
}

// With connections that break: an error on both sides, and nobody hangs.
static void *use_shaky_echo(void *arg)
{
    atomic_int *broken = arg;
    weft_fd fd;
    int error = weft_tcp_connect("127.0.0.1", PORT, WEFT_NEVER, &fd);

    if (error != 0) {
        expect(error == -ECONNREFUSED || error == -ECONNRESET ||
               error == -EMFILE || error == -EPIPE);
        (void)atomic_fetch_add(broken, 1);
        return NULL;
    }
    weft_task writer = spawn(write_all, (void *)(uintptr_t)fd.id);
    int got = read_back(fd);
    if (got != BYTES)
        (void)atomic_fetch_add(broken, 1);
    weft_fd_close(fd);
    (void)join(writer);
    return NULL;
}

static void *shaky(void *arg)
{
    weft_task server = spawn(echo_all, NULL);
    weft_task clients[20];

    for (int i = 0; i < 20; i++)
        clients[i] = spawn(use_shaky_echo, arg);
    for (int i = 0; i < 20; i++)
        (void)join(clients[i]);
    expect_is(weft_task_cancel(server), 0);
    (void)join(server);
    return arg;
}

static int run_shaky(void *arg)
{
    atomic_int broken = 0;

    (void)arg;
    expect_is(weft_run(NULL, shaky, &broken, NULL), 0);
    return broken; // of the twenty
}

static void test_connections_break(void **state)
{
    (void)state;
    weft_sim_options options = QUIET;
    weft_sim_result result;
    int broken = 0;

    options.faults = 2 * WEFT_SIM_RESET - 1;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        (void)weft_sim_run(seed, run_shaky, NULL, &options, &result);
        assert_true(result.end == WEFT_SIM_PASSED ||
                    result.end == WEFT_SIM_FAILED);
        broken += result.status;
    }
    assert_in_range(broken, SEEDS, 19 * SEEDS); // some, but not all
}

// Without faults nothing goes wrong, and nothing is counted as such.
static void test_faults_are_chosen(void **state)
{
    (void)state;
    weft_sim_options options = QUIET;
    weft_sim_result result;

    assert_true(simulate(1, run_echo, NULL).faults > 0);
    options.faults = WEFT_SIM_NO_FAULT;
    assert_int_equal(weft_sim_run(1, run_echo, NULL, &options, &result), 0);
    assert_int_equal(result.faults, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_seed_gives_one_run),
        cmocka_unit_test(test_dumps_are_equal_too),
        cmocka_unit_test(test_notes_tell_runs_apart),
        cmocka_unit_test(test_time_is_virtual),
        cmocka_unit_test(test_steps_are_limited),
        cmocka_unit_test(test_threads_and_mutexes),
        cmocka_unit_test(test_a_race_is_found_and_replays),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_a_stuck_run_is_explained),
        cmocka_unit_test(test_misuse_is_refused),
        cmocka_unit_test(test_here),
        cmocka_unit_test(test_outside),
        cmocka_unit_test(test_bytes_come_in_order),
        cmocka_unit_test(test_connections_break),
        cmocka_unit_test(test_faults_are_chosen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
