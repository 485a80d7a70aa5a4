// test_cancel.c -- Cancelling, and what a task carries: name and labels.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

#define MS WEFT_MILLISECOND

static void *echo(void *arg)
{
    return arg;
}

static void *sleep_for_ever(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)weft_task_sleep(WEFT_NEVER);
}

// ---- Cancelling. ----

// Every blocking call of a cancelled task says so, whether or not it would have
// to wait; but for those that serve to clean up.
struct world {
    weft_channel *empty;
    weft_channel *full;
    weft_mutex held; // by the task that made the world
    weft_mutex free;
};

static void clean_up(struct world *world)
{
    weft_task other = spawn(sleep_for_ever, NULL);
    weft_scope scope;

    expect_is(weft_task_join(other, WEFT_NEVER, NULL), -ECANCELED);
    expect_is(weft_task_cancel(other), 0);
    while (weft_task_join(other, WEFT_NEVER, NULL) != 0)
        (void)weft_task_yield(); // it is joined once it has ended
    expect_is(weft_mutex_lock(&world->free, WEFT_NEVER), 0);
    expect_is(weft_mutex_unlock(&world->free), 0);
    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
    expect_is(weft_scope_leave(&scope), 0);
}

static void *block_in_every_way(void *arg)
{
    struct world *world = arg;
    int number = 0;

    for (int i = 0; i < 2; i++) {
        expect_is(weft_task_sleep(WEFT_NEVER), -ECANCELED);
        expect_is(weft_task_sleep(0), -ECANCELED);
        expect_is(weft_task_yield(), -ECANCELED);
        weft_channel *channels[] = {world->empty, world->full};
        for (int j = 0; j < 2; j++) {
            weft_channel *channel = channels[j];
            expect_is(weft_channel_recv(channel, &number, WEFT_NEVER),
                      -ECANCELED);
            expect_is(weft_channel_recv(channel, &number, 0), -ECANCELED);
            expect_is(weft_channel_send(channel, &number, WEFT_NEVER),
                      -ECANCELED);
            expect_is(weft_channel_send(channel, &number, 0), -ECANCELED);
        }
        expect_is(weft_mutex_lock(&world->held, WEFT_NEVER), -ECANCELED);
        clean_up(world);
    }
    return (void *)1;
}

static void *cancel_itself(void *arg)
{
    expect_is(weft_task_cancel(weft_task_self()), 0);
    return block_in_every_way(arg);
}

static void *wait_for_cancel(void *arg)
{
    expect_is(weft_task_sleep(WEFT_NEVER), -ECANCELED);
    return block_in_every_way(arg);
}

static void make_world(struct world *world)
{
    int number = 5;

    expect_is(weft_channel_new(sizeof number, 1, NULL, &world->empty), 0);
    expect_is(weft_channel_new(sizeof number, 1, NULL, &world->full), 0);
    expect_is(weft_channel_send(world->full, &number, WEFT_NEVER), 0);
    expect_is(weft_mutex_init(&world->held, NULL), 0);
    expect_is(weft_mutex_init(&world->free, NULL), 0);
    expect_is(weft_mutex_lock(&world->held, WEFT_NEVER), 0);
}

// Nothing in it has changed.
static void end_world(struct world *world)
{
    int number = 0;

    expect_is(weft_channel_recv(world->empty, &number, 0), -ETIMEDOUT);
    expect_is(weft_channel_recv(world->full, &number, 0), 0);
    expect_is(number, 5);
    expect_is(weft_channel_free(world->empty), 0);
    expect_is(weft_channel_free(world->full), 0);
    expect_is(weft_mutex_unlock(&world->held), 0);
    expect_is(weft_mutex_deinit(&world->held), 0);
    expect_is(weft_mutex_deinit(&world->free), 0);
}

static void *cancel_in_every_state(void *arg)
{
    struct world world;
    weft_task task;

    make_world(&world);
    expect_is(join(spawn(cancel_itself, &world)), 1);
    task = spawn(wait_for_cancel, &world); // most often before it first runs
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), 1);
    task = spawn(wait_for_cancel, &world);
    until_waiting(task, WEFT_WAIT_SLEEP);
    expect_is(weft_task_cancel(task), 0);
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), 1);
    end_world(&world);
    return arg;
}

static void test_every_blocking_call_ends(void **state)
{
    (void)state;
    run(cancel_in_every_state);
}

static void *count_and_wait(void *arg)
{
    (void)atomic_fetch_add((atomic_int *)arg, 1);
    return sleep_for_ever(NULL);
}

// On one worker, a task cancelled right after its spawn has not run yet; it
// runs all the same.
static void *cancel_before_the_first_run(void *arg)
{
    atomic_int runs = 0;
    weft_task task = spawn(count_and_wait, &runs);

    expect_is(runs, 0);
    expect_is(weft_task_cancel(task), 0);
    expect_is(runs, 0);
    expect_is(join(task), -ECANCELED);
    expect_is(runs, 1);
    return arg;
}

static void test_one_cancelled_before_it_runs(void **state)
{
    (void)state;
    run_with(1, cancel_before_the_first_run, NULL);
}

static void *cancel_the_ended(void *arg)
{
    weft_task task = spawn(echo, (void *)5);

    while (weft_task_join(task, 0, NULL) == -EBUSY)
        (void)weft_task_yield();
    task = spawn(echo, (void *)6);
    for (int i = 0; i < 100; i++) {
        expect_is(weft_task_cancel(task), 0); // ended at some time, not joined
        (void)weft_task_yield();
    }
    expect_is(join(task), 6);
    expect_is(weft_task_cancel(task), -ESRCH);
    return arg;
}

static void test_the_ended_count_as_cancelled(void **state)
{
    (void)state;
    run(cancel_the_ended);
}

static void *cancel_from_thread(void *arg)
{
    expect_is(weft_task_cancel(*(weft_task *)arg), 0);
    return NULL;
}

static void test_a_thread_cancels(void **state)
{
    (void)state;
    weft_runtime *runtime = start_with(2);

    for (int i = 0; i < 100; i++) {
        weft_task task = spawn_on(runtime, sleep_for_ever, NULL);
        pthread_t thread;
        assert_int_equal(
            pthread_create(&thread, NULL, cancel_from_thread, &task), 0);
        assert_int_equal(join(task), -ECANCELED);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    assert_int_equal(weft_runtime_free(runtime), 0);
}

// A sleep that ends at about the moment it is cancelled: one of both, and the
// cancelling is never forgotten.
static void *sleep_and_see(void *arg)
{
    int error = weft_task_sleep(*(int64_t *)arg);

    expect(error == 0 || error == -ECANCELED);
    expect_is(weft_task_sleep(WEFT_NEVER), -ECANCELED);
    return (void *)(intptr_t)error;
}

static void *cancel_at_the_end(void *arg)
{
    uint64_t chance = 1;

    for (int i = 0; i < scaled(500); i++) {
        int64_t at = weft_time_after(random_below(&chance, 30000));
        weft_task task = spawn(sleep_and_see, &at);
        expect_is(
            weft_task_sleep(weft_time_after(random_below(&chance, 30000))), 0);
        expect_is(weft_task_cancel(task), 0);
        join(task);
    }
    return arg;
}

static void test_cancelling_at_the_end_of_a_sleep(void **state)
{
    (void)state;
    run(cancel_at_the_end);
}

// Several cancel the same tasks, whose slots are used again and again.
struct targets {
    _Atomic(uint64_t) ids[16];
    atomic_int done;
};

static void *shoot(void *arg)
{
    struct targets *targets = arg;
    uint64_t chance = (uintptr_t)&chance;

    while (atomic_load(&targets->done) == 0) {
        weft_task task = {
            atomic_load(&targets->ids[random_below(&chance, 16)])};
        int error = weft_task_cancel(task);
        expect(error == 0 || error == -ESRCH);
        (void)weft_task_yield();
    }
    return NULL;
}

static void *be_shot_at(void *arg)
{
    struct targets targets = {.done = 0};
    weft_task shooters[3];
    weft_task tasks[16] = {{0}};

    for (int i = 0; i < 3; i++)
        shooters[i] = spawn(shoot, &targets);
    for (int i = 0; i < scaled(1500); i++) {
        weft_task *at = &tasks[i % 16];
        if (at->id != 0)
            expect_is(join(*at), -ECANCELED);
        *at = spawn(sleep_for_ever, NULL);
        atomic_store(&targets.ids[i % 16], at->id);
    }
    for (int i = 0; i < 16; i++)
        if (tasks[i].id != 0)
            expect_is(join(tasks[i]), -ECANCELED);
    atomic_store(&targets.done, 1);
    for (int i = 0; i < 3; i++)
        join(shooters[i]);
    return arg;
}

static void test_cancelling_from_all_sides(void **state)
{
    (void)state;
    run(be_shot_at);
}

// ---- Names and labels, as a dump shows them. ----

static size_t entry_of(const weft_dump *dump, weft_task task,
                       weft_dump_task *ret_entry)
{
    for (size_t i = 0; weft_dump_get_task(dump, i, ret_entry) == 0; i++)
        if (ret_entry->handle.id == task.id)
            return i;
    expect(!"in the dump");
    return 0;
}

static void expect_name(weft_task task, const char *name)
{
    weft_dump *dump;
    weft_dump_task entry;

    expect_is(weft_dump_take(weft_runtime_self(), &dump), 0);
    (void)entry_of(dump, task, &entry);
    expect((entry.name == NULL) == (name == NULL));
    expect(name == NULL || strcmp(entry.name, name) == 0);
    weft_dump_free(dump);
}

// The value of a task's label, or NULL; their number through *ret_count.
static bool has_label(weft_task task, const char *key, const char *value,
                      size_t count)
{
    weft_dump *dump;
    weft_dump_task entry;
    bool found = false;

    expect_is(weft_dump_take(weft_runtime_self(), &dump), 0);
    size_t index = entry_of(dump, task, &entry);
    expect_is(entry.labels, count);
    for (size_t i = 0; i < entry.labels; i++) {
        const char *k;
        const char *v;
        expect_is(weft_dump_get_label(dump, index, i, &k, &v), 0);
        found |= strcmp(k, key) == 0 && strcmp(v, value) == 0;
    }
    weft_dump_free(dump);
    return found;
}

static const char LONG[] = "0123456789012345678901234567890123456789"
                           "0123456789012345678901234567890123456789";

static void *have_names(void *arg)
{
    const char *no_format = NULL;
    weft_task_options options = {.size = sizeof options, .name = LONG};
    char cut[WEFT_NAME_MAX] = {0};
    weft_task task;

    memcpy(cut, LONG, WEFT_NAME_MAX - 1);
    expect_name(weft_task_self(), "main");
    expect_is(weft_task_spawn(&options, sleep_for_ever, arg, &task), 0);
    expect_name(task, cut);
    expect_is(weft_task_cancel(task), 0);
    join(task);
    expect_is(weft_task_set_name("short"), 0);
    expect_name(weft_task_self(), "short");
    expect_is(weft_task_set_name(LONG), 0);
    expect_name(weft_task_self(), cut);
    expect_is(weft_task_set_namef("%s %d", LONG, 7), 0);
    expect_is(weft_task_set_namef(no_format, 1), -EINVAL);
    expect_is(weft_task_set_name(NULL), 0);
    expect_name(weft_task_self(), NULL);
    task = spawn(sleep_for_ever, NULL);
    expect_name(task, NULL); // the slot's last one had a name
    expect_is(weft_task_cancel(task), 0);
    join(task);
    return NULL;
}

static void test_names(void **state)
{
    (void)state;
    run(have_names);
    assert_int_equal(weft_task_set_name("thread"), -EPERM);
    assert_int_equal(weft_task_set_namef("%d", 1), -EPERM);
}

static void *have_labels(void *arg)
{
    weft_task self = weft_task_self();
    char cut[WEFT_NAME_MAX] = {0};

    (void)arg;
    memcpy(cut, LONG, WEFT_NAME_MAX - 1);
    expect_is(weft_task_set_label(NULL, "x"), -EINVAL);
    expect_is(weft_task_set_label("", "x"), -EINVAL);
    expect_is(weft_task_set_label("none", NULL), 0);
    expect_is(weft_task_set_label("a", "1"), 0);
    expect_is(weft_task_set_label("b", "2"), 0);
    expect_is(weft_task_set_label("a", "3"), 0);
    expect(has_label(self, "a", "3", 2));
    expect(has_label(self, "b", "2", 2));
    expect_is(weft_task_set_label("a", NULL), 0);
    expect(has_label(self, "b", "2", 1));
    expect_is(weft_task_set_label(LONG, LONG), 0);
    expect(has_label(self, cut, cut, 2));
    expect_is(weft_task_set_label(cut, "same"), 0); // a key cut is the same
    expect(has_label(self, cut, "same", 2));
    return NULL;
}

static void *have_many_labels(void *arg)
{
    weft_task self = weft_task_self();
    char key[16];

    for (int i = 0; i < WEFT_LABELS_MAX; i++) {
        snprintf(key, sizeof key, "key %d", i);
        expect_is(weft_task_set_label(key, key), 0);
    }
    expect_is(weft_task_set_label("one more", "x"), -ENOSPC);
    expect_is(weft_task_set_label("key 3", "x"), 0);
    expect(has_label(self, "key 3", "x", WEFT_LABELS_MAX));
    expect_is(weft_task_set_label("key 7", NULL), 0);
    expect_is(weft_task_set_label("one more", "x"), 0);
    expect(has_label(self, "one more", "x", WEFT_LABELS_MAX));
    return arg;
}

// Children inherit labels as they are at their spawn, not what comes later.
static void *inherit_labels(void *arg)
{
    expect_is(weft_task_set_label("a", "1"), 0);
    expect_is(weft_task_set_label("b", "2"), 0);
    weft_task child = spawn(sleep_for_ever, NULL);
    expect_is(weft_task_set_label("a", "9"), 0);
    expect_is(weft_task_set_label("b", NULL), 0);
    expect(has_label(child, "a", "1", 2));
    expect(has_label(child, "b", "2", 2));
    expect_is(weft_task_cancel(child), 0);
    join(child);
    return arg;
}

static void test_labels(void **state)
{
    (void)state;
    run(have_labels);
    run(have_many_labels);
    run(inherit_labels);
    assert_int_equal(weft_task_set_label("a", "b"), -EPERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_blocking_call_ends),
        cmocka_unit_test(test_one_cancelled_before_it_runs),
        cmocka_unit_test(test_the_ended_count_as_cancelled),
        cmocka_unit_test(test_a_thread_cancels),
        cmocka_unit_test(test_cancelling_at_the_end_of_a_sleep),
        cmocka_unit_test(test_cancelling_from_all_sides),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_labels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
