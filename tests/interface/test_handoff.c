// test_handoff.c -- Tasks that block their thread do not keep a worker's place.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

#define MS WEFT_MILLISECOND

static void run_so(unsigned workers, unsigned spares, int64_t handoff_ns,
                   weft_task_fn *fn, void *arg)
{
    weft_runtime_options options = {
        .size = sizeof options,
        .workers = workers,
        .spare_workers = spares,
        .handoff_ns = handoff_ns,
    };

    expect_is(weft_run(&options, fn, arg, NULL), 0);
}

static weft_runtime_metrics metrics(void)
{
    weft_runtime_metrics found;

    expect_is(weft_runtime_metrics_get(weft_runtime_self(), &found), 0);
    return found;
}

// ---- A pipe that blocks who reads until a task behind it has written ----

static int ends[2];

static void *read_byte(void *arg)
{
    char byte = 0;

    expect_is(read(ends[0], &byte, 1), 1);
    expect_is(byte, 'x');
    return arg;
}

static void *write_byte(void *arg)
{
    expect_is(write(ends[1], "x", 1), 1);
    return arg;
}

static void *read_in_place(void *arg)
{
    void *result = NULL;

    expect_is(weft_blocking_run_here(read_byte, &ends, &result), 0);
    expect(result == &ends);
    return arg;
}

// What waits behind the reader is in its own worker's queue.
static void *read_before_writing(void *arg)
{
    weft_task_fn **reads = arg;

    for (int i = 0; i < scaled(20); i++) {
        weft_task writer = spawn(write_byte, NULL);
        (*reads)(NULL);
        join(writer);
    }
    return NULL;
}

static void with_pipe(unsigned workers, int64_t handoff_ns, weft_task_fn *fn,
                      void *arg)
{
    expect_is(pipe(ends), 0);
    run_so(workers, 0, handoff_ns, fn, arg);
    close(ends[0]);
    close(ends[1]);
}

static void test_section_hands_the_place_on(void **state)
{
    weft_task_fn *reads = read_in_place;

    (void)state;
    with_pipe(1, WEFT_NEVER, read_before_writing, &reads);
    with_pipe(2, WEFT_NEVER, read_before_writing, &reads);
    with_pipe(8, WEFT_NEVER, read_before_writing, &reads);
}

static void test_stuck_worker_loses_its_place(void **state)
{
    weft_task_fn *reads = read_byte;

    (void)state;
    with_pipe(1, 2 * MS, read_before_writing, &reads);
    with_pipe(2, 2 * MS, read_before_writing, &reads);
    with_pipe(1, 0, read_before_writing, &reads);
}

// The same where no other worker is ever idle.
static atomic_int busy;

static void *keep_busy(void *arg)
{
    while (atomic_load(&busy) > 0)
        (void)weft_task_yield();
    return arg;
}

static void *read_among_busy(void *arg)
{
    weft_task tasks[4];

    atomic_store(&busy, 1);
    for (int i = 0; i < 4; i++)
        tasks[i] = spawn(keep_busy, NULL);
    read_before_writing(arg);
    atomic_store(&busy, 0);
    for (int i = 0; i < 4; i++)
        join(tasks[i]);
    return NULL;
}

static void test_busy_workers_come_for_what_is_kept(void **state)
{
    weft_task_fn *reads = read_byte;

    (void)state;
    with_pipe(2, 2 * MS, read_among_busy, &reads);
    reads = read_in_place;
    with_pipe(2, WEFT_NEVER, read_among_busy, &reads);
}

// What computes without a break keeps its place, but not those behind it.
static atomic_int ran;

static void *run_once(void *arg)
{
    atomic_fetch_add(&ran, 1);
    return arg;
}

static void *compute(void *arg)
{
    weft_task behind = spawn(run_once, NULL);

    while (atomic_load(&ran) == 0)
        ;
    join(behind);
    return arg;
}

static void *compute_among_busy(void *arg)
{
    weft_task tasks[4];

    atomic_store(&busy, 1);
    atomic_store(&ran, 0);
    for (int i = 0; i < 4; i++)
        tasks[i] = spawn(keep_busy, NULL);
    join(spawn(compute, NULL));
    atomic_store(&busy, 0);
    for (int i = 0; i < 4; i++)
        join(tasks[i]);
    return arg;
}

static void test_hog_does_not_keep_others(void **state)
{
    (void)state;
    run_so(2, 0, 2 * MS, compute_among_busy, NULL);
}

// ---- Many at once ----

enum { MANY = 30 };

static pthread_barrier_t all;

static void *meet_all(void *arg)
{
    (void)pthread_barrier_wait(&all);
    return arg;
}

static void *meet_here(void *arg)
{
    expect_is(weft_blocking_run_here(meet_all, NULL, NULL), 0);
    return arg;
}

static void *meet_twice(void *arg)
{
    weft_task tasks[MANY];

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++)
            tasks[i] = spawn(meet_here, NULL);
        for (int i = 0; i < MANY; i++)
            join(tasks[i]);
    }
    expect(metrics().workers <= MANY + 8 + 1);
    expect(metrics().hand_offs >= MANY);
    return arg;
}

static void test_as_many_block_as_there_are_spares(void **state)
{
    (void)state;
    pthread_barrier_init(&all, NULL, MANY);
    run(meet_twice);
    pthread_barrier_destroy(&all);
}

// With fewer spares the rest wait their turn.
static atomic_bool gate;

static void *pass_gate(void *arg)
{
    while (!atomic_load(&gate))
        usleep(100);
    atomic_fetch_add(&ran, 1);
    return arg;
}

static void *pass_here(void *arg)
{
    atomic_fetch_add(&busy, 1);
    expect_is(weft_blocking_run_here(pass_gate, NULL, NULL), 0);
    return arg;
}

static void *open_gate(void *arg)
{
    (void)arg;
    while (atomic_load(&busy) < 3)
        usleep(100);
    atomic_store(&gate, true);
    return NULL;
}

static void *pass_many(void *arg)
{
    weft_task tasks[20];

    for (int i = 0; i < 20; i++)
        tasks[i] = spawn(pass_here, NULL);
    for (int i = 0; i < 20; i++)
        join(tasks[i]);
    expect_is(atomic_load(&ran), 20);
    expect(metrics().workers <= 3);
    return arg;
}

static void test_spares_are_limited(void **state)
{
    pthread_t opener;

    (void)state;
    atomic_store(&busy, 0);
    atomic_store(&ran, 0);
    atomic_store(&gate, false);
    assert_int_equal(pthread_create(&opener, NULL, open_gate, NULL), 0);
    run_so(1, 2, WEFT_NEVER, pass_many, NULL);
    pthread_join(opener, NULL);
}

// ---- What a section may do ----

static weft_local local = WEFT_LOCAL_INIT(NULL);
static weft_channel *channel;

static void *spawn_and_wake(void *arg)
{
    int number = 1;

    expect(weft_local_get(&local) == &local);
    expect(weft_task_self().id != 0);
    expect_is(weft_channel_send(channel, &number, 0), 0); // has room
    join(spawn(run_once, NULL)); // parks: the section ends here
    expect_is(weft_task_yield(), 0);
    expect_is(weft_task_sleep(weft_time_after(MS)), 0);
    return arg;
}

static void *nest(void *arg)
{
    void *result = NULL;

    expect_is(weft_blocking_run_here(spawn_and_wake, arg, &result), 0);
    expect(result == arg);
    usleep(100);
    return arg;
}

static void *take_number(void *arg)
{
    int number = 0;

    expect_is(weft_channel_recv(channel, &number, WEFT_NEVER), 0);
    expect_is(number, 1);
    return arg;
}

static void *live_in_section(void *arg)
{
    expect_is(weft_local_set(&local, &local), 0);
    expect_is(weft_channel_new(sizeof(int), 1, NULL, &channel), 0);
    for (int i = 0; i < 10; i++) {
        weft_task taker = spawn(take_number, NULL);
        expect_is(weft_blocking_run_here(nest, &i, NULL), 0);
        join(taker);
    }
    expect_is(weft_channel_free(channel), 0);
    return arg;
}

static void test_section_is_in_its_task(void **state)
{
    (void)state;
    run(live_in_section);
}

// ---- Never more at once than there are places ----

static atomic_int at_once;
static atomic_int most;

static void *nap(void *arg)
{
    usleep(50);
    return arg;
}

static void note_inside(void)
{
    int now = atomic_fetch_add(&at_once, 1) + 1;
    int before = atomic_load(&most);

    while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
        ;
    for (int i = 0; i < 200; i++)
        (void)atomic_load(&at_once);
    atomic_fetch_sub(&at_once, 1);
}

static void *nap_often(void *arg)
{
    for (int i = 0; i < scaled(100); i++) {
        note_inside();
        expect_is(weft_blocking_run_here(nap, NULL, NULL), 0);
        note_inside();
        expect_is(weft_task_yield(), 0);
    }
    return arg;
}

static void *nap_from_many(void *arg)
{
    weft_task tasks[12];

    for (int i = 0; i < 12; i++)
        tasks[i] = spawn(nap_often, NULL);
    for (int i = 0; i < 12; i++)
        join(tasks[i]);
    return arg;
}

static void test_places_are_not_exceeded(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 3; workers++) {
        atomic_store(&most, 0);
        run_so(workers, 0, WEFT_NEVER, nap_from_many, NULL);
        assert_in_range(atomic_load(&most), 1, workers);
    }
}

// ---- Dumps and the end ----

static void *dump_behind(void *arg)
{
    weft_dump_worker worker;
    weft_dump_info info;
    weft_dump *dump;
    bool found = false;

    expect_is(weft_dump_take(weft_runtime_self(), &dump), 0);
    for (size_t i = 0; weft_dump_get_worker(dump, i, &worker) == 0; i++)
        if (worker.handed_off && worker.in_syscall)
            found = worker.task == ((weft_dump_task *)arg)->id;
    expect(found);
    expect_is(weft_dump_get_info(dump, &info), 0);
    expect(info.complete);
    expect_is(info.findings, 0);
    weft_dump_free(dump);
    return write_byte(NULL);
}

static void *read_while_dumped(void *arg)
{
    weft_task_fn *reads = *(weft_task_fn **)arg;
    weft_dump_task self = {0};
    weft_dump *dump;

    expect_is(weft_dump_take(weft_runtime_self(), &dump), 0);
    expect_is(weft_dump_get_task(dump, 0, &self), 0);
    weft_dump_free(dump);
    weft_task dumper = spawn(dump_behind, &self);
    reads(NULL);
    join(dumper);
    return NULL;
}

static void test_dump_sees_who_is_away(void **state)
{
    weft_task_fn *reads = read_in_place;

    (void)state;
    with_pipe(1, WEFT_NEVER, read_while_dumped, &reads);
    reads = read_byte;
    with_pipe(1, 2 * MS, read_while_dumped, &reads);
}

static void *leave_readers(void *arg)
{
    weft_task_fn *reads = *(weft_task_fn **)arg;

    for (int i = 0; i < 3; i++)
        expect_is(weft_task_spawn(NULL, reads, NULL, NULL), 0);
    return NULL;
}

static void *write_late(void *arg)
{
    usleep(20000);
    for (int i = 0; i < 3; i++)
        (void)write_byte(NULL);
    return arg;
}

// The end waits for those who are away.
static void test_end_waits_for_sections(void **state)
{
    weft_task_fn *kinds[] = {read_in_place, read_byte};
    pthread_t writer;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(pthread_create(&writer, NULL, write_late, NULL), 0);
        run_so(1, 0, 2 * MS, leave_readers, &kinds[i]);
        pthread_join(writer, NULL);
        close(ends[0]);
        close(ends[1]);
    }
}

// ---- Misuse ----

static void *misuse(void *arg)
{
    expect_is(weft_blocking_run_here(NULL, arg, NULL), -EINVAL);
    return arg;
}

static void test_misuse_is_refused(void **state)
{
    weft_runtime_options options = {.size = sizeof options, .handoff_ns = -1};
    weft_runtime *runtime;

    (void)state;
    run(misuse);
    assert_int_equal(weft_blocking_run_here(run_once, NULL, NULL), -EPERM);
    assert_int_equal(weft_runtime_new(&options, &runtime), -EINVAL);
    options.handoff_ns = 0;
    options.spare_workers = 1025;
    assert_int_equal(weft_runtime_new(&options, &runtime), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_section_hands_the_place_on),
        cmocka_unit_test(test_stuck_worker_loses_its_place),
        cmocka_unit_test(test_busy_workers_come_for_what_is_kept),
        cmocka_unit_test(test_hog_does_not_keep_others),
        cmocka_unit_test(test_as_many_block_as_there_are_spares),
        cmocka_unit_test(test_spares_are_limited),
        cmocka_unit_test(test_section_is_in_its_task),
        cmocka_unit_test(test_places_are_not_exceeded),
        cmocka_unit_test(test_dump_sees_who_is_away),
        cmocka_unit_test(test_end_waits_for_sections),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
