// test_findings.c -- The rules over dumps made by hand: each just above its
// threshold, and just below.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dump/findings.h"
#include "dump/rules.h"
#include "support/dump_maker.h"

enum { A_SCOPE = 0x7000, OTHER_SCOPE = 0x8000 };

// ---- Making ----

static struct model_task *add(weft_dump *dump, uint64_t id,
                              enum weft_wait_kind kind)
{
    struct model_task *task =
        maker_task(dump, id, NULL, WEFT_STATE_WAITING, 60 * SECOND);

    task->wait = kind;
    return task;
}

static void add_for(weft_dump *dump, uint64_t id, enum weft_wait_kind kind,
                    uint32_t object)
{
    add(dump, id, kind)->object = object;
}

static void add_crowd(weft_dump *dump, uint64_t first, uint32_t count,
                      enum weft_wait_kind kind, uint32_t object)
{
    for (uint32_t i = 0; i < count; i++)
        add_for(dump, first + i, kind, object);
}

// A channel on which those who wait lack what `peer` did last, 0: nobody.
static uint32_t add_channel(weft_dump *dump, bool receivers_wait, uint64_t peer,
                            int64_t ago_ns)
{
    uint32_t object = maker_object(dump, WEFT_OBJECT_CHANNEL, "jobs", 0, 0);
    struct model_channel *channel =
        MAKER_ADD(dump->channels, dump->channel_count);
    struct model_peers *peers =
        receivers_wait ? &channel->sent : &channel->received;

    dump->objects[object].peers = (uint32_t)dump->channel_count - 1;
    dump->objects[object].limit = 4;
    dump->objects[object].used = receivers_wait ? 0 : 4;
    dump->objects[object].receives = receivers_wait;
    peers->ids[0] = peer;
    peers->last_ns = ago_ns;
    return object;
}

static struct model_peers *senders(weft_dump *dump, uint32_t object)
{
    return &dump->channels[dump->objects[object].peers].sent;
}

// Judges a dump. `outsiders`, so that all asleep speaks only where it is meant.
static void judge(weft_dump *dump)
{
    maker_finish(dump);
    assert_int_equal(findings_add(dump), 0);
}

static weft_dump *begin(void)
{
    weft_dump *dump = maker_new();

    dump->outsiders = true;
    dump->no_yield_ns = SECOND / 4;
    return dump;
}

static const struct model_finding *only(const weft_dump *dump,
                                        enum weft_rule rule)
{
    assert_int_equal(dump->finding_count, 1);
    assert_int_equal(dump->findings[0].rule, rule);
    return &dump->findings[0];
}

static void expect_none(weft_dump *dump)
{
    judge(dump);
    for (size_t i = 0; i < dump->finding_count; i++)
        print_message("found: %s\n", weft_rule_name(dump->findings[i].rule));
    assert_int_equal(dump->finding_count, 0);
    weft_dump_free(dump);
}

// ---- Deadlocks ----

// T1 holds a mutex and leaves a scope, whose child T2 wants the mutex; so does
// T3, which is no child.
static weft_dump *make_scope(uint64_t scope_of_child)
{
    weft_dump *dump = begin();
    uint32_t mutex = maker_object(dump, WEFT_OBJECT_MUTEX, "m", 1, 0);

    add(dump, 1, WEFT_WAIT_SCOPE)->wait_scope = A_SCOPE;
    add_for(dump, 2, WEFT_WAIT_MUTEX, mutex);
    dump->tasks[1].scope = scope_of_child;
    add_for(dump, 3, WEFT_WAIT_MUTEX, mutex);
    return dump;
}

static void through_a_scope(void **state)
{
    weft_dump *dump = make_scope(A_SCOPE);

    (void)state;
    judge(dump);
    const struct model_finding *found = only(dump, WEFT_RULE_DEADLOCK);
    assert_int_equal(found->certainty, WEFT_CERTAINTY_PROVEN);
    assert_int_equal(found->task_count, 2);
    assert_int_equal(found->tasks[0], 0);
    assert_int_equal(found->tasks[1], 1);
    assert_true(found->objects[0] == WEFT_NONE);
    assert_int_equal(found->objects[1], 0);
    assert_int_equal(found->behind_count, 1);
    assert_int_equal(found->behind[0], 2);
    assert_int_equal(found->count, 3);
    weft_dump_free(dump);
}

static void another_scope_is_none(void **state)
{
    (void)state;
    expect_none(make_scope(OTHER_SCOPE));
}

// Nested scopes: T1 leaves one, its child T2 leaves another, whose children T3
// to T1002 all want what T1 holds. One of them stands for all in the circle.
static void through_nested_scopes(void **state)
{
    weft_dump *dump = begin();
    uint32_t mutex = maker_object(dump, WEFT_OBJECT_MUTEX, "m", 1, 0);

    (void)state;
    add(dump, 1, WEFT_WAIT_SCOPE)->wait_scope = A_SCOPE;
    struct model_task *middle = add(dump, 2, WEFT_WAIT_SCOPE);
    middle->scope = A_SCOPE;
    middle->wait_scope = OTHER_SCOPE;
    add_crowd(dump, 3, 1000, WEFT_WAIT_MUTEX, mutex);
    for (uint32_t i = 2; i < dump->task_count; i++)
        dump->tasks[i].scope = OTHER_SCOPE;
    judge(dump);
    const struct model_finding *found = only(dump, WEFT_RULE_DEADLOCK);
    assert_int_equal(found->task_count, 3);
    assert_int_equal(found->tasks[1], 1);
    assert_int_equal(found->behind_count, 999);
    weft_dump_free(dump);
}

// Scopes that lie in each other, or in themselves, as only damaged memory has
// them: that is no deadlock, and no endless walk.
static void scopes_in_a_circle(void **state)
{
    weft_dump *dump = begin();

    (void)state;
    struct model_task *task = add(dump, 1, WEFT_WAIT_SCOPE);
    task->scope = A_SCOPE;
    task->wait_scope = OTHER_SCOPE;
    task = add(dump, 2, WEFT_WAIT_SCOPE);
    task->scope = OTHER_SCOPE;
    task->wait_scope = A_SCOPE;
    task = add(dump, 3, WEFT_WAIT_SCOPE);
    task->scope = task->wait_scope = 0x9000;
    expect_none(dump);
}

// T1 waits for T2's item and T2 for T1's, and nobody else ever sent either.
static weft_dump *make_pair(bool another)
{
    weft_dump *dump = begin();
    uint32_t to_1 = add_channel(dump, true, 2, SECOND);
    uint32_t to_2 = add_channel(dump, true, 1, SECOND);

    add_for(dump, 1, WEFT_WAIT_CHAN_RECV, to_1);
    add_for(dump, 2, WEFT_WAIT_CHAN_RECV, to_2);
    if (another)
        senders(dump, to_2)->ids[1] = 3;
    add(dump, 3, WEFT_WAIT_FD)->wait_fd = 9;
    return dump;
}

static void through_channels(void **state)
{
    weft_dump *dump = make_pair(false);

    (void)state;
    judge(dump);
    const struct model_finding *found = only(dump, WEFT_RULE_DEADLOCK);
    assert_int_equal(found->certainty, WEFT_CERTAINTY_LIKELY);
    assert_int_equal(found->severity, WEFT_SEVERITY_WARNING);
    assert_int_equal(found->task_count, 2);
    assert_int_equal(found->objects[0], 0);
    weft_dump_free(dump);
}

static void other_servers_are_none(void **state)
{
    weft_dump *dump = make_pair(false);

    (void)state;
    expect_none(make_pair(true));
    senders(dump, 1)->more = true; // some that are not remembered
    expect_none(dump);
    dump = make_pair(false);
    senders(dump, 0)->ids[0] = MODEL_OUTSIDE;
    expect_none(dump);
    dump = make_pair(false); // they may not have waited at the same time
    dump->consistent = false;
    expect_none(dump);
}

// A mutex, a join and a channel in one circle.
static void mixed(void **state)
{
    weft_dump *dump = begin();
    uint32_t mutex = maker_object(dump, WEFT_OBJECT_MUTEX, "m", 1, 0);
    uint32_t channel = add_channel(dump, true, 3, SECOND);

    (void)state;
    add_for(dump, 1, WEFT_WAIT_CHAN_RECV, channel);
    add_for(dump, 2, WEFT_WAIT_MUTEX, mutex);
    add(dump, 3, WEFT_WAIT_JOIN)->wait_task = 2;
    add_for(dump, 4, WEFT_WAIT_CHAN_RECV, channel);
    judge(dump);
    const struct model_finding *found = only(dump, WEFT_RULE_DEADLOCK);
    assert_int_equal(found->task_count, 3);
    assert_int_equal(found->certainty, WEFT_CERTAINTY_LIKELY);
    assert_int_equal(found->behind_count, 1); // likely too
    weft_dump_free(dump);
}

// Two circles that share nothing, and one task that leads to the first only.
static void long_rings(void **state)
{
    enum { LENGTH = 100000 };
    weft_dump *dump = begin();

    (void)state;
    for (uint32_t i = 0; i < 2 * LENGTH; i++) {
        uint32_t next = i % LENGTH == LENGTH - 1 ? i + 1 - LENGTH : i + 1;
        add(dump, i + 1, WEFT_WAIT_JOIN)->wait_task = next + 1;
    }
    add(dump, 2 * LENGTH + 1, WEFT_WAIT_JOIN)->wait_task = 5;
    judge(dump);
    assert_int_equal(dump->finding_count, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(dump->findings[i].task_count, LENGTH);
        bool first = dump->findings[i].tasks[0] == 0;
        assert_int_equal(dump->findings[i].behind_count, first);
    }
    weft_dump_free(dump);
}

// T1 waits for its children to end, and they for its items: told once, though
// they are as many as make a stall.
static void children_without_work(void **state)
{
    weft_dump *dump = begin();
    uint32_t jobs = add_channel(dump, true, 1, 60 * SECOND);

    (void)state;
    add(dump, 1, WEFT_WAIT_SCOPE)->wait_scope = A_SCOPE;
    add_crowd(dump, 2, 20, WEFT_WAIT_CHAN_RECV, jobs);
    for (uint32_t i = 1; i < dump->task_count; i++)
        dump->tasks[i].scope = A_SCOPE;
    judge(dump);
    assert_int_equal(only(dump, WEFT_RULE_DEADLOCK)->behind_count, 19);
    weft_dump_free(dump);
}

// ---- All asleep ----

static weft_dump *make_asleep(void)
{
    weft_dump *dump = begin();

    dump->outsiders = false;
    uint32_t channel = add_channel(dump, true, 0, 0);
    add_crowd(dump, 1, 3, WEFT_WAIT_CHAN_RECV, channel);
    dump->tasks[1].state_ns = SECOND; // as long as it must be
    maker_task(dump, 9, NULL, WEFT_STATE_DONE, SECOND);
    return dump;
}

static void all_asleep(void **state)
{
    weft_dump *dump = make_asleep();

    (void)state;
    judge(dump);
    const struct model_finding *found = only(dump, WEFT_RULE_ALL_ASLEEP);
    assert_int_equal(found->severity, WEFT_SEVERITY_ERROR);
    assert_int_equal(found->certainty, WEFT_CERTAINTY_LIKELY);
    assert_int_equal(found->count, 3);
    assert_int_equal(found->tasks[0], 1);
    assert_int_equal(found->since_ns, SECOND);
    weft_dump_free(dump);
}

static void something_is_awake(void **state)
{
    weft_dump *dump = make_asleep();

    (void)state;
    dump->outsiders = true;
    expect_none(dump);
    dump = make_asleep();
    dump->tasks[0].timeout_in_ns = SECOND;
    expect_none(dump);
    dump = make_asleep();
    dump->tasks[1].state_ns--;
    expect_none(dump);
    static const enum weft_wait_kind kinds[] = {WEFT_WAIT_FD, WEFT_WAIT_DUMP,
                                                WEFT_WAIT_BLOCKING};
    for (int i = 0; i < 3; i++) {
        dump = make_asleep();
        add(dump, 10, kinds[i]);
        expect_none(dump);
    }
    dump = make_asleep();
    maker_task(dump, 10, NULL, WEFT_STATE_READY, 1);
    expect_none(dump);
    dump = make_asleep();
    maker_task(dump, 10, NULL, WEFT_STATE_RUNNING, 1);
    expect_none(dump);
}

// A deadlock that holds them all says it already.
static void asleep_in_a_deadlock(void **state)
{
    weft_dump *dump = begin();

    (void)state;
    dump->outsiders = false;
    add(dump, 1, WEFT_WAIT_JOIN)->wait_task = 2;
    add(dump, 2, WEFT_WAIT_JOIN)->wait_task = 1;
    judge(dump);
    (void)only(dump, WEFT_RULE_DEADLOCK);
    weft_dump_free(dump);
}

// ---- Stalls ----

// Ten want T1's mutex, which waits for what T2 holds, which reads.
static weft_dump *make_stall(uint32_t waiters)
{
    weft_dump *dump = begin();
    uint32_t mutex = maker_object(dump, WEFT_OBJECT_MUTEX, "m", 1, 0);
    uint32_t pool = maker_object(dump, WEFT_OBJECT_MUTEX, "pool", 2, 0);

    add_for(dump, 1, WEFT_WAIT_MUTEX, pool);
    add(dump, 2, WEFT_WAIT_FD)->wait_fd = 9;
    add_crowd(dump, 10, waiters, WEFT_WAIT_MUTEX, mutex);
    return dump;
}

static void stall(void **state)
{
    weft_dump *dump = make_stall(10);

    (void)state;
    judge(dump);
    const struct model_finding *found = only(dump, WEFT_RULE_STALL);
    assert_int_equal(found->certainty, WEFT_CERTAINTY_THRESHOLD);
    assert_int_equal(found->object, 0);
    assert_int_equal(found->count, 10);
    assert_int_equal(found->since_ns, 60 * SECOND);
    assert_int_equal(found->task_count, 2);
    assert_int_equal(found->tasks[0], 0);
    assert_int_equal(found->tasks[1], 1);
    assert_int_equal(found->objects[0], 1);
    weft_dump_free(dump);
}

static void no_stall(void **state)
{
    weft_dump *dump = make_stall(10);

    (void)state;
    expect_none(make_stall(9));
    for (uint32_t i = 2; i < 12; i++) // all have just come
        dump->tasks[i].state_ns = 10 * SECOND - 1;
    expect_none(dump);
    dump = make_stall(10);
    dump->objects[0].held_ns = 10 * SECOND - 1; // it went from hand to hand
    expect_none(dump);
    dump = make_stall(10);
    dump->limits.rules_off = WEFT_RULE_BIT(WEFT_RULE_STALL);
    expect_none(dump);
}

// A thread holds it: that is seen, too. What nobody holds may well be long in
// coming.
static void held_by_no_task(void **state)
{
    static const enum weft_object_kind kinds[] = {
        WEFT_OBJECT_MUTEX, WEFT_OBJECT_RWLOCK, WEFT_OBJECT_SEMAPHORE,
        WEFT_OBJECT_COND,  WEFT_OBJECT_EVENT,  WEFT_OBJECT_WAITGROUP};

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        weft_dump *dump = begin();
        maker_object(dump, kinds[i], "m", 0, 0);
        add_crowd(dump, 10, 10, WEFT_WAIT_EVENT, 0);
        expect_none(dump);
    }
    weft_dump *dump = begin();
    maker_object(dump, WEFT_OBJECT_MUTEX, "m", 0, 0);
    dump->objects[0].owner_tid = 77;
    dump->objects[0].held_ns = 60 * SECOND;
    add_crowd(dump, 10, 10, WEFT_WAIT_MUTEX, 0);
    judge(dump);
    assert_int_equal(only(dump, WEFT_RULE_STALL)->task_count, 0);
    weft_dump_free(dump);
}

// A semaphore's permit may be given by another than who took it.
static void semaphore_is_likely(void **state)
{
    weft_dump *dump = begin();
    uint32_t mutex = maker_object(dump, WEFT_OBJECT_MUTEX, "m", 1, 0);
    uint32_t semaphore = maker_object(dump, WEFT_OBJECT_SEMAPHORE, "s", 2, 0);

    (void)state;
    add_for(dump, 1, WEFT_WAIT_SEMAPHORE, semaphore);
    add_for(dump, 2, WEFT_WAIT_MUTEX, mutex);
    judge(dump);
    const struct model_finding *found = only(dump, WEFT_RULE_DEADLOCK);
    assert_int_equal(found->certainty, WEFT_CERTAINTY_LIKELY);
    assert_int_equal(found->severity, WEFT_SEVERITY_ERROR);
    weft_dump_free(dump);
}

// Two objects lead to one root: told once, for the one with more waiters.
static void one_root(void **state)
{
    weft_dump *dump = make_stall(10);

    (void)state;
    add_crowd(dump, 50, 20, WEFT_WAIT_MUTEX, 1);
    judge(dump);
    assert_int_equal(only(dump, WEFT_RULE_STALL)->object, 1);
    assert_int_equal(only(dump, WEFT_RULE_STALL)->count, 21);
    weft_dump_free(dump);
}

// Ten wait for work, of which T1 was the last to send.
static weft_dump *make_workers(enum weft_wait_kind kind, int64_t ago_ns)
{
    weft_dump *dump = begin();
    uint32_t jobs = add_channel(dump, true, 1, ago_ns);
    uint32_t pool = maker_object(dump, WEFT_OBJECT_MUTEX, "pool", 2, 0);

    senders(dump, jobs)->more = true;
    add_for(dump, 1, kind, kind == WEFT_WAIT_MUTEX ? pool : WEFT_NONE);
    maker_task(dump, 2, NULL, WEFT_STATE_RUNNING, SECOND);
    add_crowd(dump, 10, 10, WEFT_WAIT_CHAN_RECV, jobs);
    return dump;
}

static void no_work(void **state)
{
    (void)state;
    // No work: the one who sends it waits for the world.
    expect_none(make_workers(WEFT_WAIT_FD, 60 * SECOND));
    expect_none(make_workers(WEFT_WAIT_SLEEP, 60 * SECOND));
    // Kept by a mutex, but only since a moment ago.
    expect_none(make_workers(WEFT_WAIT_MUTEX, 10 * SECOND - 1));

    weft_dump *dump = make_workers(WEFT_WAIT_MUTEX, 10 * SECOND);
    judge(dump);
    const struct model_finding *found = only(dump, WEFT_RULE_STALL);
    assert_int_equal(found->certainty, WEFT_CERTAINTY_LIKELY);
    assert_int_equal(found->since_ns, 10 * SECOND);
    assert_int_equal(found->task_count, 2);
    weft_dump_free(dump);
}

// Ten cannot send, for nobody receives: never right.
static void nobody_receives(void **state)
{
    weft_dump *dump = begin();
    uint32_t jobs = add_channel(dump, false, 0, 0);

    (void)state;
    add_crowd(dump, 10, 10, WEFT_WAIT_CHAN_SEND, jobs);
    judge(dump);
    assert_int_equal(only(dump, WEFT_RULE_STALL)->task_count, 0);
    weft_dump_free(dump);
}

// ---- Lost peers ----

static weft_dump *make_lost(uint64_t peer, int64_t ago_ns)
{
    weft_dump *dump = begin();
    uint32_t jobs = add_channel(dump, true, peer, ago_ns);

    add_crowd(dump, 10, 3, WEFT_WAIT_CHAN_RECV, jobs);
    return dump;
}

static void lost_peer(void **state)
{
    weft_dump *dump = make_lost(7, 10 * SECOND);

    (void)state;
    judge(dump);
    const struct model_finding *found = only(dump, WEFT_RULE_LOST_PEER);
    assert_int_equal(found->certainty, WEFT_CERTAINTY_LIKELY);
    assert_int_equal(found->lost, 7);
    assert_int_equal(found->count, 3);
    assert_int_equal(found->task_count, 3);
    assert_int_equal(found->object, 0);
    weft_dump_free(dump);

    dump = make_lost(7, 10 * SECOND); // ended, though not joined
    maker_task(dump, 7, NULL, WEFT_STATE_DONE, SECOND);
    judge(dump);
    (void)only(dump, WEFT_RULE_LOST_PEER);
    weft_dump_free(dump);
}

static void peer_not_lost(void **state)
{
    weft_dump *dump = make_lost(7, 60 * SECOND);

    (void)state;
    add(dump, 7, WEFT_WAIT_FD);
    expect_none(dump);
    expect_none(make_lost(7, 10 * SECOND - 1));
    expect_none(make_lost(0, 60 * SECOND));
    expect_none(make_lost(MODEL_OUTSIDE, 60 * SECOND));
    dump = make_lost(7, 60 * SECOND);
    senders(dump, 0)->ids[1] = 8;
    expect_none(dump);
    dump = make_lost(7, 60 * SECOND);
    for (uint32_t i = 0; i < 3; i++)
        dump->tasks[i].state_ns = 10 * SECOND - 1;
    expect_none(dump);
}

// ---- Workers ----

static weft_dump *make_kept(int64_t ns, bool in_call)
{
    weft_dump *dump = begin();

    maker_task(dump, 1, NULL, WEFT_STATE_RUNNING, ns)->worker = 0;
    maker_worker(dump, WEFT_WORKER_MISSING, 1, ns);
    dump->workers[0].in_syscall = in_call;
    dump->workers[0].syscall_fd = -1;
    return dump;
}

static void kept_workers(void **state)
{
    weft_dump *dump = make_kept(SECOND / 4, false);

    (void)state;
    judge(dump);
    assert_int_equal(only(dump, WEFT_RULE_NO_YIELD)->worker, 0);
    weft_dump_free(dump);
    expect_none(make_kept(SECOND / 4 - 1, false));

    dump = make_kept(SECOND / 4, true);
    judge(dump);
    assert_int_equal(only(dump, WEFT_RULE_SYSCALL)->worker, 0);
    weft_dump_free(dump);
    expect_none(make_kept(SECOND / 4 - 1, true));
    dump = make_kept(SECOND, true);
    dump->limits.syscall_ns = SECOND + 1;
    expect_none(dump);
    dump = make_kept(SECOND, true);
    dump->limits.rules_off = WEFT_RULE_BIT(WEFT_RULE_SYSCALL);
    expect_none(dump);
}

// The fourth in the queue of worker 0, where tasks run for a tenth of a second.
static weft_dump *make_ready(int64_t ns)
{
    weft_dump *dump = begin();
    struct model_task *task = maker_task(dump, 1, NULL, WEFT_STATE_READY, ns);

    dump->mean_run_ns = SECOND / 10;
    task->worker = 0;
    task->queue_place = 3;
    maker_worker(dump, WEFT_WORKER_MET, 0, 0);
    return dump;
}

static void ready(void **state)
{
    weft_dump *dump = make_ready(4 * SECOND);

    (void)state;
    judge(dump);
    const struct model_finding *found = only(dump, WEFT_RULE_READY);
    assert_int_equal(found->figure, 4 * SECOND / 10);
    assert_int_equal(found->worker, 0);
    weft_dump_free(dump);
    expect_none(make_ready(4 * SECOND - 1)); // the queue explains it

    dump = make_ready(SECOND - 1); // less than is worth a word
    dump->mean_run_ns = 1000;
    expect_none(dump);
}

// The machine stood still for three of the four seconds; or before them.
static void ready_while_away(void **state)
{
    weft_dump *dump = make_ready(4 * SECOND);

    (void)state;
    dump->away_ns = 3 * SECOND;
    dump->away_until_ns = SECOND / 2;
    expect_none(dump);
    dump = make_ready(4 * SECOND);
    dump->away_ns = 3 * SECOND;
    dump->away_until_ns = 5 * SECOND;
    judge(dump);
    (void)only(dump, WEFT_RULE_READY);
    weft_dump_free(dump);
}

// ---- Stacks ----

static weft_dump *make_stack(uint32_t used)
{
    weft_dump *dump = begin();

    add(dump, 1, WEFT_WAIT_SLEEP)->stack_used = used;
    dump->tasks[0].stack_size = 100000;
    return dump;
}

static void stacks(void **state)
{
    weft_dump *dump = make_stack(87001);

    (void)state;
    judge(dump);
    assert_int_equal(only(dump, WEFT_RULE_STACK)->figure, 870);
    weft_dump_free(dump);
    expect_none(make_stack(87000));

    dump = begin(); // the worst come first, all are counted
    for (uint32_t i = 1; i <= 30; i++)
        add(dump, i, WEFT_WAIT_SLEEP)->stack_used = 60000 + i * 100;
    judge(dump);
    const struct model_finding *found = only(dump, WEFT_RULE_STACK);
    assert_int_equal(found->count, 30);
    assert_int_equal(found->task_count, 20);
    assert_int_equal(found->tasks[0], 29);
    assert_int_equal(found->tasks[19], 10);
    weft_dump_free(dump);
}

// ---- Growth ----

// A dump of the same runtime, a second after the one before.
static weft_dump *make_site(struct weft_runtime *runtime, uint32_t count)
{
    static int64_t seconds;
    weft_dump *dump = begin();
    uint32_t site = maker_site(dump, 0x1000);

    rules_attach(runtime, port_ticks(), dump);
    dump->wall_time_ns += ++seconds * SECOND;
    for (uint32_t i = 0; i < count; i++) {
        add(dump, i + 1, WEFT_WAIT_SLEEP)->site = site;
        dump->tasks[i].timeout_in_ns = SECOND;
    }
    return dump;
}

static void growth(void **state)
{
    weft_finding_options limits = {.growth_tasks = 100};
    struct weft_runtime runtime = {0};

    (void)state;
    rules_set_defaults(&limits);
    assert_int_equal(rules_new(&runtime, &limits), 0);
    expect_none(make_site(&runtime, 200)); // there is no dump before
    expect_none(make_site(&runtime, 249)); // not yet a quarter more
    weft_dump *dump = make_site(&runtime, 250);
    judge(dump);
    const struct model_finding *found = only(dump, WEFT_RULE_GROWTH);
    assert_int_equal(found->count, 250);
    assert_int_equal(found->figure, 200);
    assert_int_equal(found->site, 0);
    assert_int_equal(found->since_ns, 2 * SECOND);
    weft_dump_free(dump);
    expect_none(make_site(&runtime, 250)); // told
    expect_none(make_site(&runtime, 10));  // less
    expect_none(make_site(&runtime, 99));  // more, but few
    rules_free(&runtime);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(through_a_scope),
        cmocka_unit_test(another_scope_is_none),
        cmocka_unit_test(through_nested_scopes),
        cmocka_unit_test(scopes_in_a_circle),
        cmocka_unit_test(through_channels),
        cmocka_unit_test(other_servers_are_none),
        cmocka_unit_test(mixed),
        cmocka_unit_test(long_rings),
        cmocka_unit_test(children_without_work),
        cmocka_unit_test(all_asleep),
        cmocka_unit_test(something_is_awake),
        cmocka_unit_test(asleep_in_a_deadlock),
        cmocka_unit_test(stall),
        cmocka_unit_test(no_stall),
        cmocka_unit_test(held_by_no_task),
        cmocka_unit_test(semaphore_is_likely),
        cmocka_unit_test(one_root),
        cmocka_unit_test(no_work),
        cmocka_unit_test(nobody_receives),
        cmocka_unit_test(lost_peer),
        cmocka_unit_test(peer_not_lost),
        cmocka_unit_test(kept_workers),
        cmocka_unit_test(ready),
        cmocka_unit_test(ready_while_away),
        cmocka_unit_test(stacks),
        cmocka_unit_test(growth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
