// test_dump_findings.c -- What a dump finds wrong, and what it must not.
#include <errno.h>

#include "support/dumps.h"

enum { MEMBERS_MAX = 5 };

// ---- Making things stuck ----

// Each locks its own mutex, waits until all of its circle have theirs, then
// takes the next; the runtime's end cancels whoever still waits.
struct member {
    weft_mutex *own;
    weft_mutex *next;    // or NULL: it joins `target`
    weft_task target;    //
    atomic_uint *taken;  // members of the circle that have their own
    unsigned count;      // members of the circle
    int64_t patience_ns; // of the second lock; 0: without limit
};

static void *lock_two(void *arg)
{
    struct member *member = arg;
    int64_t deadline_ns = member->patience_ns == 0
                              ? WEFT_NEVER
                              : weft_time_after(member->patience_ns);

    expect_is(weft_mutex_lock(member->own, WEFT_NEVER), 0);
    atomic_fetch_add(member->taken, 1);
    while (atomic_load(member->taken) < member->count)
        (void)weft_task_yield();
    int error = member->next != NULL
                    ? weft_mutex_lock(member->next, deadline_ns)
                    : weft_task_join(member->target, deadline_ns, NULL);
    expect(error == 0 || error == -ECANCELED);
    if (error == 0 && member->next != NULL)
        expect_is(weft_mutex_unlock(member->next), 0);
    expect_is(weft_mutex_unlock(member->own), 0);
    return NULL;
}

struct circle {
    unsigned count;
    weft_mutex mutexes[MEMBERS_MAX];
    struct member members[MEMBERS_MAX];
    weft_task tasks[MEMBERS_MAX];
    atomic_uint taken;
};

static void circle_init(struct circle *circle, unsigned count)
{
    static const char *const names[] = {"m0", "m1", "m2", "m3", "m4"};

    *circle = (struct circle){.count = count};
    for (unsigned i = 0; i < count; i++) {
        expect_is(weft_mutex_init(&circle->mutexes[i], names[i]), 0);
        circle->members[i] = (struct member){
            .own = &circle->mutexes[i],
            .next = &circle->mutexes[(i + 1) % count],
            .taken = &circle->taken,
            .count = count,
        };
    }
}

static void circle_start(struct circle *circle, weft_runtime *runtime)
{
    for (unsigned i = 0; i < circle->count; i++)
        circle->tasks[i] = spawn(runtime, NULL, lock_two, &circle->members[i]);
}

// Ends the runtime, whose tasks must have been released first.
static void circle_deinit(struct circle *circle)
{
    for (unsigned i = 0; i < circle->count; i++)
        expect_is(weft_mutex_deinit(&circle->mutexes[i]), 0);
}

static void *wait_for_mutex(void *arg)
{
    int error = weft_mutex_lock(arg, WEFT_NEVER);

    if (error == 0)
        expect_is(weft_mutex_unlock(arg), 0);
    return (void *)(intptr_t)error;
}

static void *wait_for_task(void *arg)
{
    return (void *)(intptr_t)weft_task_join(*(weft_task *)arg, WEFT_NEVER,
                                            NULL);
}

// ---- Looking at findings ----

static weft_dump_finding finding_at(const weft_dump *dump, size_t index)
{
    weft_dump_finding finding;

    expect_is(weft_dump_get_finding(dump, index, &finding), 0);
    return finding;
}

static uint64_t member_id(const weft_dump *dump, size_t finding, size_t which)
{
    uint32_t object;
    uint64_t id;

    expect_is(weft_dump_get_finding_task(dump, finding, which, &id, &object),
              0);
    return id;
}

static bool has_member(const weft_dump *dump, size_t finding, uint64_t id)
{
    size_t count = finding_at(dump, finding).tasks;

    for (size_t i = 0; i < count; i++)
        if (member_id(dump, finding, i) == id)
            return true;
    return false;
}

static bool is_behind(const weft_dump *dump, size_t finding, uint64_t id)
{
    size_t count = finding_at(dump, finding).behind;
    uint64_t found;
    unsigned times = 0;

    for (size_t i = 0; i < count; i++) {
        expect_is(weft_dump_get_finding_behind(dump, finding, i, &found), 0);
        times += found == id;
    }
    expect(times <= 1);
    return times == 1;
}

// Each member waits for the next: for the mutex that the next holds, which the
// finding names, or for its end.
static void check_edge(const weft_dump *dump, size_t finding, size_t which)
{
    size_t count = finding_at(dump, finding).tasks;
    size_t next = (which + 1) % count;
    uint64_t id, next_id;
    uint32_t object;
    size_t at;

    expect_is(weft_dump_get_finding_task(dump, finding, which, &id, &object),
              0);
    expect_is(
        weft_dump_get_finding_task(dump, finding, next, &next_id, &object), 0);
    expect_is(weft_dump_find_task(dump, id, &at), 0);
    weft_dump_task task = task_at(dump, at);
    expect_is(task.state, WEFT_STATE_WAITING);
    if (object == WEFT_NONE) {
        expect_is(task.wait, WEFT_WAIT_JOIN);
        expect_is(task.wait_task, next_id);
        return;
    }
    expect_is(task.wait, WEFT_WAIT_MUTEX);
    expect_is(task.object, object);
    expect_is(object_at(dump, object).owner, next_id);
}

static void check_deadlock(const weft_dump *dump, size_t index,
                           const weft_task *tasks, size_t count)
{
    weft_dump_finding finding = finding_at(dump, index);
    int64_t youngest = INT64_MAX;

    expect_is(finding.rule, WEFT_RULE_DEADLOCK);
    expect_is(finding.severity, WEFT_SEVERITY_ERROR);
    expect_is(finding.tasks, count);
    expect(finding.worker == WEFT_NONE);
    for (size_t i = 0; i < count; i++) {
        weft_dump_task task = task_of(dump, tasks[i]);
        expect(has_member(dump, index, task.id));
        expect(!is_behind(dump, index, task.id));
        check_edge(dump, index, i);
        expect(member_id(dump, index, 0) <= task.id);
        if (task.state_ns < youngest)
            youngest = task.state_ns;
    }
    expect_is(finding.since_ns, youngest);
}

// Ends the runtime and gives back what it would otherwise hold: handles.
static void end(weft_runtime *runtime, weft_task *tasks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)weft_task_detach(tasks[i]); // -EBUSY: joined by another
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- Deadlocks ----

static void be_locked(unsigned workers, unsigned count)
{
    weft_runtime *runtime = start(workers);
    struct circle circle;

    circle_init(&circle, count);
    circle_start(&circle, runtime);
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, count);
    expect_is(info_of(dump).findings, 1);
    check_deadlock(dump, 0, circle.tasks, count);
    expect_is(finding_at(dump, 0).certainty, WEFT_CERTAINTY_PROVEN);
    expect_is(finding_at(dump, 0).behind, 0);
    weft_dump_free(dump);
    end(runtime, circle.tasks, count);
    circle_deinit(&circle);
}

static void test_two_mutexes(void **state)
{
    (void)state;
    be_locked(1, 2);
    be_locked(2, 2);
}

static void test_three_mutexes(void **state)
{
    (void)state;
    be_locked(1, 3);
    be_locked(2, 3);
}

static void test_five_mutexes(void **state)
{
    (void)state;
    be_locked(1, 5);
    be_locked(8, 5);
}

// The last member joins the first instead of taking its mutex.
static void test_join_in_the_cycle(void **state)
{
    (void)state;
    for (unsigned count = 2; count <= 4; count++) {
        weft_runtime *runtime = start(2);
        struct circle circle;

        circle_init(&circle, count);
        struct member *last = &circle.members[count - 1];
        last->next = NULL;
        for (unsigned i = 0; i < count - 1; i++)
            circle.tasks[i] =
                spawn(runtime, NULL, lock_two, &circle.members[i]);
        last->target = circle.tasks[0];
        circle.tasks[count - 1] = spawn(runtime, NULL, lock_two, last);
        weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, count);
        expect_is(info_of(dump).findings, 1);
        check_deadlock(dump, 0, circle.tasks, count);
        expect_is(finding_at(dump, 0).certainty, WEFT_CERTAINTY_PROVEN);
        weft_dump_free(dump);
        end(runtime, circle.tasks, count);
        circle_deinit(&circle);
    }
}

// ---- Joins alone ----

struct ring {
    weft_task tasks[MEMBERS_MAX];
    unsigned count;
    atomic_uint turn; // number of the next to begin
    atomic_bool whole;
};

static void *join_the_next(void *arg)
{
    struct ring *ring = arg;
    unsigned own = atomic_fetch_add(&ring->turn, 1);

    while (!atomic_load(&ring->whole))
        (void)weft_task_yield();
    // Which of them this is does not matter as long as all are different; but
    // one may not join itself, so ask for one's own place.
    while (ring->tasks[own].id != weft_task_self().id)
        own = (own + 1) % ring->count;
    int error =
        weft_task_join(ring->tasks[(own + 1) % ring->count], WEFT_NEVER, NULL);
    expect(error == 0 || error == -ECANCELED);
    return NULL;
}

static void test_ring_of_joins(void **state)
{
    (void)state;
    for (unsigned count = 2; count <= MEMBERS_MAX; count++) {
        weft_runtime *runtime = start(2);
        struct ring ring = {.count = count};

        for (unsigned i = 0; i < count; i++)
            ring.tasks[i] = spawn(runtime, NULL, join_the_next, &ring);
        atomic_store(&ring.whole, true);
        weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, count);
        expect_is(info_of(dump).findings, 1);
        check_deadlock(dump, 0, ring.tasks, count);
        weft_dump_free(dump);
        end(runtime, NULL, 0);
    }
}

static void *join_oneself(void *arg)
{
    (void)arg;
    expect_is(weft_task_join(weft_task_self(), WEFT_NEVER, NULL), -EDEADLK);
    return NULL;
}

static void test_self_join(void **state)
{
    weft_runtime *runtime = start(1);

    (void)state;
    (void)join(spawn(runtime, NULL, join_oneself, NULL));
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- Blocked behind ----

static void test_behind(void **state)
{
    weft_runtime *runtime = start(2);
    weft_task behind[6];
    weft_mutex far;
    atomic_uint taken = 0;
    struct circle circle;

    (void)state;
    circle_init(&circle, 3);
    circle_start(&circle, runtime);
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 3));
    for (int i = 0; i < 3; i++)
        behind[i] = spawn(runtime, NULL, wait_for_mutex, &circle.mutexes[i]);
    // One that holds a mutex and is blocked itself; one that waits for that;
    // one that joins the latter.
    expect_is(weft_mutex_init(&far, "far"), 0);
    struct member holder = {
        .own = &far, .next = &circle.mutexes[0], .taken = &taken, .count = 1};
    behind[3] = spawn(runtime, NULL, lock_two, &holder);
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 7));
    behind[4] = spawn(runtime, NULL, wait_for_mutex, &far);
    behind[5] = spawn(runtime, NULL, wait_for_task, &behind[4]);
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, 9);
    expect_is(info_of(dump).findings, 1);
    check_deadlock(dump, 0, circle.tasks, 3);
    expect_is(finding_at(dump, 0).behind, 6);
    for (int i = 0; i < 6; i++)
        expect(is_behind(dump, 0, id_of(dump, behind[i])));
    weft_dump_free(dump);
    end(runtime, circle.tasks, 3);
    circle_deinit(&circle);
    expect_is(weft_mutex_deinit(&far), 0);
}

// ---- Two at once ----

static void test_two_deadlocks(void **state)
{
    weft_runtime *runtime = start(2);
    weft_task behind[2];
    struct circle circles[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        circle_init(&circles[i], 2 + (unsigned)i);
        circle_start(&circles[i], runtime);
    }
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 5));
    for (int i = 0; i < 2; i++)
        behind[i] =
            spawn(runtime, NULL, wait_for_mutex, &circles[i].mutexes[0]);
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, 7);
    expect_is(info_of(dump).findings, 2);
    size_t first = finding_at(dump, 0).tasks == 2 ? 0 : 1;
    for (size_t i = 0; i < 2; i++) {
        size_t at = i == 0 ? first : 1 - first;
        check_deadlock(dump, at, circles[i].tasks, 2 + i);
        expect_is(finding_at(dump, at).behind, 1);
        expect(is_behind(dump, at, id_of(dump, behind[i])));
    }
    weft_dump_free(dump);
    end(runtime, behind, 2);
    for (int i = 0; i < 2; i++)
        circle_deinit(&circles[i]);
}

// ---- Only likely ----

static void test_timed_wait_is_likely(void **state)
{
    weft_runtime *runtime = start(2);
    struct circle circle;

    (void)state;
    circle_init(&circle, 3);
    circle.members[1].patience_ns = 3600 * WEFT_SECOND;
    circle_start(&circle, runtime);
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, 3);
    expect_is(info_of(dump).findings, 1);
    check_deadlock(dump, 0, circle.tasks, 3);
    expect_is(finding_at(dump, 0).certainty, WEFT_CERTAINTY_LIKELY);
    weft_dump_free(dump);
    end(runtime, circle.tasks, 3);
    circle_deinit(&circle);
}

struct spinner {
    atomic_bool began;
    atomic_bool stop;
};

static void *spin_until(void *arg)
{
    struct spinner *spinner = arg;

    atomic_store(&spinner->began, true);
    while (!atomic_load(&spinner->stop))
        continue;
    return NULL;
}

// Those who wait did so at one moment, whatever another worker was doing.
static void test_proven_beside_a_spinner(void **state)
{
    weft_runtime_options options = {
        .size = sizeof options, .workers = 2, .dump_patience_ns = 10 * MS};
    weft_runtime *runtime;
    struct spinner spinner = {0};
    struct circle circle;

    (void)state;
    expect_is(weft_runtime_new(&options, &runtime), 0);
    circle_init(&circle, 2);
    circle_start(&circle, runtime);
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 2));
    weft_task task = spawn(runtime, NULL, spin_until, &spinner);
    while (!atomic_load(&spinner.began))
        doze();
    weft_dump *dump = take(runtime);
    expect(info_of(dump).consistent);
    expect(info_of(dump).findings >= 1);
    check_deadlock(dump, 0, circle.tasks, 2);
    expect_is(finding_at(dump, 0).certainty, WEFT_CERTAINTY_PROVEN);
    weft_dump_free(dump);
    atomic_store(&spinner.stop, true);
    (void)join(task);
    end(runtime, circle.tasks, 2);
    circle_deinit(&circle);
}

// ---- Nothing at all ----

// A chain of waiters is no circle: the last one sleeps.
static void *lock_and_sleep(void *arg)
{
    expect_is(weft_mutex_lock(arg, WEFT_NEVER), 0);
    (void)weft_task_sleep(WEFT_NEVER);
    expect_is(weft_mutex_unlock(arg), 0);
    return NULL;
}

static void test_chain_is_none(void **state)
{
    weft_runtime *runtime = start(2);
    weft_task tasks[5];
    atomic_uint taken[3] = {0};
    struct member members[3];
    struct circle circle;

    (void)state;
    circle_init(&circle, 4);
    tasks[0] = spawn(runtime, NULL, lock_and_sleep, &circle.mutexes[0]);
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 1));
    for (size_t i = 0; i < 3; i++) {
        members[i] = (struct member){.own = &circle.mutexes[i + 1],
                                     .next = &circle.mutexes[i],
                                     .taken = &taken[i],
                                     .count = 1};
        tasks[i + 1] = spawn(runtime, NULL, lock_two, &members[i]);
        weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, i + 2));
    }
    tasks[4] = spawn(runtime, NULL, wait_for_task, &tasks[3]);
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, 5);
    expect_is(info_of(dump).findings, 0);
    weft_dump_free(dump);
    end(runtime, tasks, 5);
    circle_deinit(&circle);
}

// Channels have no owner: two who wait for each other's items are not proven
// to be stuck, for anybody may send.
static void *receive(void *arg)
{
    char item;

    return (void *)(intptr_t)weft_channel_recv(arg, &item, WEFT_NEVER);
}

static void test_channels_are_none(void **state)
{
    weft_runtime *runtime = start(2);
    weft_channel *channels[2];
    weft_task tasks[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        expect_is(weft_channel_new(1, 1, NULL, &channels[i]), 0);
        tasks[i] = spawn(runtime, NULL, receive, channels[i]);
    }
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, 2);
    expect_is(info_of(dump).findings, 0);
    weft_dump_free(dump);
    end(runtime, tasks, 2);
    for (int i = 0; i < 2; i++)
        expect_is(weft_channel_free(channels[i]), 0);
}

// Philosophers who take the forks in order, always moving: whatever moment a
// dump hits, there is no circle.
struct diner {
    weft_mutex *low, *high;
    atomic_bool *stop;
};

static void *dine(void *arg)
{
    struct diner *diner = arg;

    while (!atomic_load(diner->stop)) {
        expect_is(weft_mutex_lock(diner->low, WEFT_NEVER), 0);
        expect_is(weft_task_yield(), 0);
        expect_is(weft_mutex_lock(diner->high, WEFT_NEVER), 0);
        expect_is(weft_task_yield(), 0);
        expect_is(weft_mutex_unlock(diner->high), 0);
        expect_is(weft_mutex_unlock(diner->low), 0);
    }
    return NULL;
}

static void test_no_false_deadlock(void **state)
{
    static const unsigned pairs[][2] = {{0, 1}, {1, 2}, {2, 3}, {3, 4}, {0, 4}};
    weft_runtime *runtime = start(2);
    struct diner diners[5];
    weft_task tasks[5];
    atomic_bool stop = false;
    struct circle circle;

    (void)state;
    circle_init(&circle, 5);
    for (int i = 0; i < 5; i++) {
        diners[i] = (struct diner){&circle.mutexes[pairs[i][0]],
                                   &circle.mutexes[pairs[i][1]], &stop};
        tasks[i] = spawn(runtime, NULL, dine, &diners[i]);
    }
    for (unsigned n = 0; n < scaled(1000); n++) {
        weft_dump *dump = take(runtime);
        for (size_t i = 0; i < info_of(dump).findings; i++)
            expect(finding_at(dump, i).rule != WEFT_RULE_DEADLOCK);
        weft_dump_free(dump);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 5; i++)
        (void)join(tasks[i]);
    expect_is(weft_runtime_free(runtime), 0);
    circle_deinit(&circle);
}

// ---- No yield ----

static void dump_spinner(int64_t no_yield_ns, weft_dump **ret_dump,
                         weft_task *ret_task)
{
    weft_runtime_options options = {.size = sizeof options,
                                    .workers = 2,
                                    .dump_patience_ns = 20 * MS,
                                    .no_yield_ns = no_yield_ns};
    weft_runtime *runtime;
    struct spinner spinner = {0};

    expect_is(weft_runtime_new(&options, &runtime), 0);
    *ret_task = spawn(runtime, "spinner", spin_until, &spinner);
    while (!atomic_load(&spinner.began))
        doze();
    *ret_dump = take(runtime);
    atomic_store(&spinner.stop, true);
    (void)join(*ret_task);
    expect_is(weft_runtime_free(runtime), 0);
}

static void test_no_yield(void **state)
{
    weft_dump *dump;
    weft_task task;

    (void)state;
    dump_spinner(5 * MS, &dump, &task); // less than the dump's patience
    expect_is(info_of(dump).findings, 1);
    weft_dump_finding finding = finding_at(dump, 0);
    weft_dump_task found = task_of(dump, task);
    expect_is(finding.rule, WEFT_RULE_NO_YIELD);
    expect_is(finding.severity, WEFT_SEVERITY_WARNING);
    expect_is(finding.certainty, WEFT_CERTAINTY_THRESHOLD);
    expect_is(finding.threshold_ns, 5 * MS);
    expect(finding.since_ns >= finding.threshold_ns);
    expect_is(finding.worker, found.worker);
    expect_is(finding.tasks, 1);
    expect_is(finding.behind, 0);
    expect_is(member_id(dump, 0, 0), found.id);
    weft_dump_free(dump);
}

static void test_below_the_threshold(void **state)
{
    weft_dump *dump;
    weft_task task;

    (void)state;
    dump_spinner(3600 * WEFT_SECOND, &dump, &task);
    expect(!all_met(dump));
    expect_is(info_of(dump).findings, 0);
    weft_dump_free(dump);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_mutexes),
        cmocka_unit_test(test_three_mutexes),
        cmocka_unit_test(test_five_mutexes),
        cmocka_unit_test(test_join_in_the_cycle),
        cmocka_unit_test(test_ring_of_joins),
        cmocka_unit_test(test_self_join),
        cmocka_unit_test(test_behind),
        cmocka_unit_test(test_two_deadlocks),
        cmocka_unit_test(test_timed_wait_is_likely),
        cmocka_unit_test(test_proven_beside_a_spinner),
        cmocka_unit_test(test_chain_is_none),
        cmocka_unit_test(test_channels_are_none),
        cmocka_unit_test(test_no_false_deadlock),
        cmocka_unit_test(test_no_yield),
        cmocka_unit_test(test_below_the_threshold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
