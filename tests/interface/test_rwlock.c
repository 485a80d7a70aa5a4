// test_rwlock.c -- The read-write lock: who may be inside together, order,
// deadlines, cancelling, threads, misuse.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/child.h"
#include "support/tasks.h"
#include "support/threads.h"

#define MS WEFT_MILLISECOND

// ---- Exclusion. ----

// Plain numbers, so that the sanitizer sees it too if a writer is not alone.
struct shared {
    weft_rwlock lock;
    long number;
    long twice; // 2 * number, whenever no writer is inside
    atomic_int readers;
    atomic_int writers;
    atomic_int most; // readers seen inside together
    atomic_int seed;
    int rounds;
};

static void read_inside(struct shared *shared)
{
    int readers = atomic_fetch_add(&shared->readers, 1) + 1;

    if (readers > atomic_load(&shared->most))
        atomic_store(&shared->most, readers);
    expect_is(atomic_load(&shared->writers), 0);
    long number = shared->number;
    (void)weft_task_yield();
    expect_is(shared->twice, 2 * number);
    atomic_fetch_sub(&shared->readers, 1);
}

static void write_inside(struct shared *shared)
{
    expect_is(atomic_fetch_add(&shared->writers, 1), 0);
    expect_is(atomic_load(&shared->readers), 0);
    shared->number++;
    (void)weft_task_yield();
    shared->twice += 2;
    atomic_fetch_sub(&shared->writers, 1);
}

// Takes it in every way there is; how often it wrote. What was refused was not
// taken.
static void *use(void *arg)
{
    struct shared *shared = arg;
    uint64_t chance = (uint64_t)atomic_fetch_add(&shared->seed, 1) + 1;
    long written = 0;

    for (int i = 0; i < shared->rounds; i++) {
        bool writes = random_below(&chance, 4) == 0;
        int64_t until = random_below(&chance, 2)
                            ? WEFT_NEVER
                            : weft_time_after(random_below(&chance, 20000));
        int error;
        if (random_below(&chance, 4) == 0)
            error = writes ? weft_rwlock_try_lock_write(&shared->lock)
                           : weft_rwlock_try_lock_read(&shared->lock);
        else
            error = writes ? weft_rwlock_lock_write(&shared->lock, until)
                           : weft_rwlock_lock_read(&shared->lock, until);
        if (error == -ECANCELED)
            break;
        if (error != 0) {
            expect(error == -EBUSY || error == -ETIMEDOUT);
            expect_is(weft_rwlock_unlock(&shared->lock), -EPERM);
            continue;
        }
        if (writes)
            write_inside(shared);
        else
            read_inside(shared);
        written += writes;
        expect_is(weft_rwlock_unlock(&shared->lock), 0);
    }
    return (void *)written;
}

static void expect_free(struct shared *shared, long written)
{
    expect_is(shared->number, written);
    expect_is(weft_rwlock_try_lock_write(&shared->lock), 0);
    expect_is(weft_rwlock_unlock(&shared->lock), 0);
    expect_is(weft_rwlock_deinit(&shared->lock), 0);
}

static void *exclude(void *arg)
{
    enum { TASKS = 12 };
    struct shared shared = {.rounds = scaled(1000)};
    weft_task tasks[TASKS];
    long written = 0;

    expect_is(weft_rwlock_init(&shared.lock, "shared"), 0);
    for (int i = 0; i < TASKS; i++)
        tasks[i] = spawn(use, &shared);
    for (int i = 0; i < TASKS; i++)
        written += join(tasks[i]);
    expect(atomic_load(&shared.most) > 1);
    expect_free(&shared, written);
    return arg;
}

static void test_one_writer_or_many_readers(void **state)
{
    (void)state;
    run(exclude);
}

static void test_tasks_and_threads(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 4; workers *= 2) {
        struct shared shared = {.rounds = scaled(500)};
        assert_int_equal(weft_rwlock_init(&shared.lock, "mixed"), 0);
        expect_free(&shared, run_mixed(workers, 6, 3, use, &shared));
    }
}

static void *cancel_some(void *arg)
{
    enum { TASKS = 10 };
    uint64_t chance = 1;

    for (int round = 0; round < scaled(30); round++) {
        struct shared shared = {.rounds = 50};
        weft_task tasks[TASKS];
        long written = 0;
        expect_is(weft_rwlock_init(&shared.lock, "hasty"), 0);
        for (int i = 0; i < TASKS; i++)
            tasks[i] = spawn(use, &shared);
        cancel_half(tasks, TASKS, &chance);
        for (int i = 0; i < TASKS; i++)
            written += join(tasks[i]);
        expect_free(&shared, written);
    }
    return arg;
}

static void test_cancelling_under_way(void **state)
{
    (void)state;
    run(cancel_some);
}

// ---- Order. ----

// Each notes its number when it is let in, and stays until it is told to go.
struct line {
    weft_rwlock lock;
    atomic_int inside;
    int order[10];
    weft_event go[10];
};

struct member {
    struct line *line;
    int number;
    bool writes;
    int64_t until;
};

static void *stand_in_line(void *arg)
{
    struct member *member = arg;
    struct line *line = member->line;
    int error =
        (member->writes ? weft_rwlock_lock_write
                        : weft_rwlock_lock_read)(&line->lock, member->until);

    if (error != 0)
        return (void *)(intptr_t)error;
    line->order[atomic_fetch_add(&line->inside, 1)] = member->number;
    expect_is(weft_event_wait(&line->go[member->number], WEFT_NEVER), 0);
    expect_is(weft_rwlock_unlock(&line->lock), 0);
    return NULL;
}

static weft_task join_line(struct line *line, struct member *member, int number,
                           bool writes, int64_t until)
{
    *member = (struct member){line, number, writes, until};
    return spawn(stand_in_line, member);
}

static void line_init(struct line *line)
{
    *line = (struct line){.inside = 0};
    expect_is(weft_rwlock_init(&line->lock, "line"), 0);
    for (int i = 0; i < 10; i++)
        expect_is(weft_event_init(&line->go[i], NULL), 0);
}

static void line_deinit(struct line *line)
{
    expect_is(weft_rwlock_deinit(&line->lock), 0);
    for (int i = 0; i < 10; i++)
        expect_is(weft_event_deinit(&line->go[i]), 0);
}

// Reader 0 is in; then come writer 1, readers 2 and 3, writer 4, reader 5.
static void *serve_in_order(void *arg)
{
    static const bool writes[] = {false, true, false, false, true, false};
    struct member members[6];
    weft_task tasks[6];
    struct line line;

    line_init(&line);
    for (int i = 0; i < 6; i++) {
        tasks[i] = join_line(&line, &members[i], i, writes[i], WEFT_NEVER);
        if (i == 0)
            until_reached(&line.inside, 1);
        else
            until_waiting(tasks[i], writes[i] ? WEFT_WAIT_RWLOCK_WRITE
                                              : WEFT_WAIT_RWLOCK_READ);
    }
    expect_is(weft_rwlock_try_lock_read(&line.lock), -EBUSY); // a writer waits
    expect_is(weft_rwlock_lock_read(&line.lock, 0), -ETIMEDOUT);
    expect_is(weft_event_set(&line.go[0]), 0);
    until_reached(&line.inside, 2);
    expect_is(weft_event_set(&line.go[1]), 0);
    until_reached(&line.inside, 4); // both readers, and not the writer
    expect_is(weft_rwlock_try_lock_read(&line.lock), -EBUSY);
    expect_is(weft_event_set(&line.go[2]), 0);
    join(tasks[2]);
    expect_is(atomic_load(&line.inside), 4);
    expect_is(weft_event_set(&line.go[3]), 0);
    until_reached(&line.inside, 5);
    expect_is(weft_event_set(&line.go[4]), 0);
    expect_is(weft_event_set(&line.go[5]), 0);
    for (int i = 0; i < 6; i++)
        if (i != 2)
            expect_is(join(tasks[i]), 0);
    expect(line.order[1] == 1 && line.order[4] == 4 && line.order[5] == 5);
    expect_is(line.order[2] + line.order[3], 2 + 3);
    line_deinit(&line);
    return arg;
}

static void test_writers_keep_later_readers_out(void **state)
{
    (void)state;
    run(serve_in_order);
}

// A writer that gives up lets those in whom only it has kept waiting.
static void *give_up_before_readers(void *arg)
{
    for (int way = 0; way < 2; way++) {
        struct member members[4];
        weft_task tasks[4];
        struct line line;
        line_init(&line);
        tasks[0] = join_line(&line, &members[0], 0, false, WEFT_NEVER);
        until_reached(&line.inside, 1);
        tasks[1] = join_line(&line, &members[1], 1, true,
                             way ? WEFT_NEVER : weft_time_after(20 * MS));
        if (way)
            until_waiting(tasks[1], WEFT_WAIT_RWLOCK_WRITE);
        for (int i = 2; i < 4; i++)
            tasks[i] = join_line(&line, &members[i], i, false, WEFT_NEVER);
        if (way) {
            until_waiting(tasks[3], WEFT_WAIT_RWLOCK_READ);
            expect_is(weft_task_cancel(tasks[1]), 0);
        }
        expect_is(join(tasks[1]), way ? -ECANCELED : -ETIMEDOUT);
        until_reached(&line.inside, 3);
        for (int i = 0; i < 4; i++)
            expect_is(weft_event_set(&line.go[i]), 0);
        for (int i = 0; i < 4; i++)
            if (i != 1)
                expect_is(join(tasks[i]), 0);
        line_deinit(&line);
    }
    return arg;
}

static void test_a_writer_that_gives_up(void **state)
{
    (void)state;
    run(give_up_before_readers);
}

// From the unlock on the waiter holds it, though it has not run yet.
static void *hand_on(void *arg)
{
    struct member members[2];
    weft_task tasks[2];
    struct line line;

    line_init(&line);
    expect_is(weft_event_set(&line.go[0]), 0);
    for (int writes = 0; writes < 2; writes++) {
        expect_is(weft_rwlock_lock_write(&line.lock, WEFT_NEVER), 0);
        tasks[0] = join_line(&line, &members[0], 0, writes, WEFT_NEVER);
        until_waiting(tasks[0],
                      writes ? WEFT_WAIT_RWLOCK_WRITE : WEFT_WAIT_RWLOCK_READ);
        expect_is(weft_rwlock_unlock(&line.lock), 0);
        expect_is(weft_rwlock_try_lock_write(&line.lock), -EBUSY);
        expect_is(weft_rwlock_deinit(&line.lock), -EBUSY);
        if (!writes) { // readers come in together
            expect_is(weft_rwlock_try_lock_read(&line.lock), 0);
            expect_is(weft_rwlock_unlock(&line.lock), 0);
        }
        expect_is(join(tasks[0]), 0);
    }
    line_deinit(&line);
    return arg;
}

static void test_it_is_handed_on(void **state)
{
    (void)state;
    run_with(1, hand_on, NULL);
}

// ---- Many held at once: more than a task has records for. ----

static void *hold_many(void *arg)
{
    enum { MANY = 40 };
    static weft_rwlock locks[MANY];
    weft_runtime *runtime = arg;

    (void)runtime;
    for (int i = 0; i < MANY; i++)
        expect_is(weft_rwlock_init(&locks[i], NULL), 0);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < MANY; i++)
            expect_is(i % 5 == 4 ? weft_rwlock_lock_write(&locks[i], WEFT_NEVER)
                                 : weft_rwlock_lock_read(&locks[i], WEFT_NEVER),
                      0);
        for (int i = 0; i < MANY; i++)
            expect_is(weft_rwlock_lock_read(&locks[i], WEFT_NEVER), -EDEADLK);
        for (int i = 0; i < MANY; i++)
            expect_is(weft_rwlock_unlock(&locks[(i * 7 + round) % MANY]), 0);
    }
    for (int i = 0; i < MANY; i++)
        expect_is(weft_rwlock_deinit(&locks[i]), 0);
    return arg;
}

static void test_many_held_at_once(void **state)
{
    (void)state;
    run(hold_many);
    hold_many(NULL);
}

// ---- Misuse. ----

static weft_rwlock at_file_scope = WEFT_RWLOCK_INIT("static");

static void *unlock_it(void *lock)
{
    return (void *)(intptr_t)weft_rwlock_unlock(lock);
}

static void *misuse_nothing(void *arg)
{
    static weft_rwlock zero;

    for (int i = 0; i < 2; i++) {
        weft_rwlock *none = i == 0 ? NULL : &zero;
        expect_is(weft_rwlock_lock_read(none, WEFT_NEVER), -EINVAL);
        expect_is(weft_rwlock_lock_write(none, WEFT_NEVER), -EINVAL);
        expect_is(weft_rwlock_try_lock_read(none), -EINVAL);
        expect_is(weft_rwlock_try_lock_write(none), -EINVAL);
        expect_is(weft_rwlock_unlock(none), -EINVAL);
        expect_is(weft_rwlock_deinit(none), -EINVAL);
    }
    expect_is(weft_rwlock_init(NULL, "none"), -EINVAL);
    return arg;
}

static void *misuse(void *arg)
{
    weft_rwlock *lock = &at_file_scope;

    misuse_nothing(arg);
    expect_is(weft_rwlock_unlock(lock), -EPERM);
    for (int writes = 0; writes < 2; writes++) {
        expect_is(writes ? weft_rwlock_lock_write(lock, 0)
                         : weft_rwlock_lock_read(lock, 0),
                  0); // free: the past will do
        expect_is(weft_rwlock_lock_read(lock, WEFT_NEVER), -EDEADLK);
        expect_is(weft_rwlock_lock_write(lock, WEFT_NEVER), -EDEADLK);
        expect_is(weft_rwlock_try_lock_read(lock), -EDEADLK);
        expect_is(weft_rwlock_try_lock_write(lock), -EDEADLK);
        expect_is(join_thread(start_thread(unlock_it, lock)), -EPERM);
        expect_is(weft_rwlock_deinit(lock), -EBUSY);
        expect_is(weft_rwlock_unlock(lock), 0);
        expect_is(weft_rwlock_unlock(lock), -EPERM);
    }
    expect_is(weft_rwlock_deinit(lock), 0);
    expect_is(weft_rwlock_lock_read(lock, WEFT_NEVER), -EINVAL);
    expect_is(weft_rwlock_init(lock, "again"), 0);
    return arg;
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    run(misuse);
    misuse(NULL); // a thread's turn
}

static void *keep_reading(void *arg)
{
    (void)weft_task_set_name("keeper");
    expect_is(weft_rwlock_lock_read(arg, WEFT_NEVER), 0);
    return arg;
}

static void *start_keeper(void *arg)
{
    static weft_rwlock kept = WEFT_RWLOCK_INIT("treasure");

    join(spawn(keep_reading, &kept));
    return arg;
}

static void end_while_reading(void)
{
    run_with(1, start_keeper, NULL);
}

static void test_ending_while_holding_is_told(void **state)
{
    (void)state;
    static struct child child;

    child_run(end_while_reading, &child);
    assert_true(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGABRT);
    assert_true(child_says(&child, "\"keeper\""));
    assert_true(child_says(&child, "rwlock \"treasure\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_writer_or_many_readers),
        cmocka_unit_test(test_tasks_and_threads),
        cmocka_unit_test(test_cancelling_under_way),
        cmocka_unit_test(test_writers_keep_later_readers_out),
        cmocka_unit_test(test_a_writer_that_gives_up),
        cmocka_unit_test(test_it_is_handed_on),
        cmocka_unit_test(test_many_held_at_once),
        cmocka_unit_test(test_misuse_is_refused),
        cmocka_unit_test(test_ending_while_holding_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
