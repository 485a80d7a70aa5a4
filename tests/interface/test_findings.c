// test_findings.c -- Each rule by a program that must trigger it, and by one
// that nearly does and must not. Deadlocks of mutexes and joins are in
// test_dump_findings.c, all asleep and the watch in test_findings_watch.c.
//
// Thresholds of time are a nanosecond or an hour, so that no test depends on
// how long anything takes.
#include <errno.h>

#include "support/dumps.h"

#define HOUR (3600 * WEFT_SECOND)

// ---- Runtimes that look for one rule ----

static weft_finding_options alone(enum weft_rule rule)
{
    uint32_t all = WEFT_RULE_BIT(WEFT_RULE_COUNT) - 1;

    return (weft_finding_options){
        .size = sizeof(weft_finding_options),
        .rules_off = all & ~WEFT_RULE_BIT(rule),
    };
}

static weft_runtime *start_for(const weft_finding_options *findings)
{
    weft_runtime_options options = {
        .size = sizeof options,
        .workers = 2,
        .dump_patience_ns = 20 * MS,
        .findings = findings,
    };
    weft_runtime *runtime;

    expect_is(weft_runtime_new(&options, &runtime), 0);
    return runtime;
}

static weft_dump_finding first_of(const weft_dump *dump)
{
    weft_dump_finding finding;

    expect(info_of(dump).findings >= 1);
    expect_is(weft_dump_get_finding(dump, 0, &finding), 0);
    return finding;
}

static char *words_of(const weft_dump *dump)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    expect(file != NULL);
    expect_is(weft_dump_print_finding(dump, 0, NULL, file), 0);
    expect_is(fclose(file), 0);
    return text;
}

// What a person sees of the only finding, and it is of a rule.
static weft_dump_finding check_only(const weft_dump *dump, enum weft_rule rule,
                                    const char *words)
{
    weft_dump_finding finding = first_of(dump);
    char *text = words_of(dump);

    expect_is(info_of(dump).findings, 1);
    expect_is(finding.rule, rule);
    if (strstr(text, words) == NULL) {
        fprintf(stderr, "no \"%s\" in:\n%s", words, text);
        abort();
    }
    expect(strstr(text, "Hint: ") != NULL);
    free(text);
    return finding;
}

static void check_none(const weft_dump *dump)
{
    if (info_of(dump).findings > 0)
        (void)weft_dump_print_text(dump, NULL, stderr);
    expect_is(info_of(dump).findings, 0);
}

// ---- Tasks ----

static void *lock_it(void *arg)
{
    if (weft_mutex_lock(arg, WEFT_NEVER) == 0)
        expect_is(weft_mutex_unlock(arg), 0);
    return NULL;
}

static void *hold_it(void *arg)
{
    expect_is(weft_mutex_lock(arg, WEFT_NEVER), 0);
    (void)weft_task_sleep(WEFT_NEVER);
    expect_is(weft_mutex_unlock(arg), 0);
    return NULL;
}

static void *receive(void *arg)
{
    int item;

    (void)weft_channel_recv(arg, &item, WEFT_NEVER);
    return NULL;
}

static void *send_one(void *arg)
{
    int item = 1;

    expect_is(weft_channel_send(arg, &item, WEFT_NEVER), 0);
    return NULL;
}

static void *send_and_sleep(void *arg)
{
    (void)send_one(arg);
    (void)weft_task_sleep(WEFT_NEVER);
    return NULL;
}

static weft_channel *channel_new(size_t capacity)
{
    weft_channel *channel;

    expect_is(weft_channel_new(sizeof(int), capacity, "jobs", &channel), 0);
    return channel;
}

static void start_many(weft_runtime *runtime, unsigned count, weft_task_fn *fn,
                       void *arg)
{
    for (unsigned i = 0; i < count; i++)
        expect_is(weft_task_detach(spawn(runtime, NULL, fn, arg)), 0);
}

// Handles of tasks that the runtime's end is to take away.
static void let_go(weft_task task)
{
    expect_is(weft_task_detach(task), 0);
}

// ---- Deadlock through a scope ----

struct family {
    weft_mutex mutex;
    bool held; // by the parent, while it leaves the scope
};

static void *be_parent(void *arg)
{
    struct family *family = arg;
    weft_scope scope;

    if (family->held)
        expect_is(weft_mutex_lock(&family->mutex, WEFT_NEVER), 0);
    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
    for (int i = 0; i < 3; i++)
        expect_is(weft_scope_spawn(&scope, NULL, lock_it, &family->mutex, NULL),
                  0);
    (void)weft_scope_leave(&scope);
    if (family->held)
        expect_is(weft_mutex_unlock(&family->mutex), 0);
    return NULL;
}

static void test_scope(void **state)
{
    weft_finding_options findings = alone(WEFT_RULE_DEADLOCK);
    weft_runtime *runtime = start_for(&findings);
    struct family family = {.held = true};

    (void)state;
    expect_is(weft_mutex_init(&family.mutex, "family"), 0);
    let_go(spawn(runtime, "parent", be_parent, &family));
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, 4);
    weft_dump_finding finding =
        check_only(dump, WEFT_RULE_DEADLOCK, "is a child of T");
    expect_is(finding.certainty, WEFT_CERTAINTY_PROVEN);
    expect_is(finding.tasks, 2);
    expect_is(finding.behind, 2);
    weft_dump_free(dump);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_mutex_deinit(&family.mutex), 0);
}

// The same, but another than the parent holds what the children want.
static void test_scope_is_none(void **state)
{
    weft_finding_options findings = alone(WEFT_RULE_DEADLOCK);
    weft_runtime *runtime = start_for(&findings);
    struct family family = {.held = false};

    (void)state;
    expect_is(weft_mutex_init(&family.mutex, "family"), 0);
    let_go(spawn(runtime, "holder", hold_it, &family.mutex));
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 1));
    let_go(spawn(runtime, "parent", be_parent, &family));
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, 5);
    check_none(dump);
    weft_dump_free(dump);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_mutex_deinit(&family.mutex), 0);
}

// ---- Deadlock through channels ----

struct talk {
    weft_channel *in, *out;
    atomic_uint *sent; // by how many
    unsigned senders;  // that must have sent before anybody receives
};

// Sends once, takes what was sent to it, and wants one more.
static void *talk(void *arg)
{
    struct talk *talk = arg;
    int item = 1;

    expect_is(weft_channel_send(talk->out, &item, WEFT_NEVER), 0);
    atomic_fetch_add(talk->sent, 1);
    while (atomic_load(talk->sent) < talk->senders)
        (void)weft_task_yield();
    while (weft_channel_recv(talk->in, &item, WEFT_NEVER) == 0)
        continue;
    return NULL;
}

// With `third`, a task that sleeps has sent to one of them, too.
static weft_dump *take_talk(bool third, weft_runtime **ret_runtime,
                            weft_channel *channels[2])
{
    weft_finding_options findings = alone(WEFT_RULE_DEADLOCK);
    weft_runtime *runtime = start_for(&findings);
    static atomic_uint sent;
    static struct talk talks[2];

    atomic_store(&sent, 0);
    for (int i = 0; i < 2; i++)
        channels[i] = channel_new(4);
    if (third)
        let_go(spawn(runtime, "third", send_and_sleep, channels[0]));
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, third));
    for (int i = 0; i < 2; i++) {
        talks[i] = (struct talk){channels[i], channels[1 - i], &sent, 2};
        let_go(spawn(runtime, "talker", talk, &talks[i]));
    }
    *ret_runtime = runtime;
    return take_when(runtime, WEFT_STATE_WAITING, 2 + third);
}

static void end_talk(weft_dump *dump, weft_runtime *runtime,
                     weft_channel *channels[2])
{
    weft_dump_free(dump);
    expect_is(weft_runtime_free(runtime), 0);
    for (int i = 0; i < 2; i++)
        expect_is(weft_channel_free(channels[i]), 0);
}

static void test_channels(void **state)
{
    weft_channel *channels[2];
    weft_runtime *runtime;
    weft_dump *dump = take_talk(false, &runtime, channels);

    (void)state;
    weft_dump_finding finding =
        check_only(dump, WEFT_RULE_DEADLOCK, "is the only sender to channel");
    expect_is(finding.certainty, WEFT_CERTAINTY_LIKELY);
    expect_is(finding.severity, WEFT_SEVERITY_WARNING);
    expect_is(finding.tasks, 2);
    end_talk(dump, runtime, channels);
}

static void test_third_sender_is_none(void **state)
{
    weft_channel *channels[2];
    weft_runtime *runtime;
    weft_dump *dump = take_talk(true, &runtime, channels);

    (void)state;
    check_none(dump);
    end_talk(dump, runtime, channels);
}

// ---- Stall ----

static weft_dump *take_stall(unsigned waiters, int64_t stall_ns)
{
    weft_finding_options findings = alone(WEFT_RULE_STALL);
    weft_mutex mutex;

    findings.stall_ns = stall_ns;
    weft_runtime *runtime = start_for(&findings);
    expect_is(weft_mutex_init(&mutex, "pool"), 0);
    let_go(spawn(runtime, "holder", hold_it, &mutex));
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 1));
    start_many(runtime, waiters, lock_it, &mutex);
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, waiters + 1);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_mutex_deinit(&mutex), 0);
    return dump;
}

static void test_stall(void **state)
{
    weft_dump *dump = take_stall(10, 1);

    (void)state;
    weft_dump_finding finding =
        check_only(dump, WEFT_RULE_STALL, "10 tasks wait for mutex \"pool\"");
    expect_is(finding.count, 10);
    expect_is(finding.tasks, 1);
    expect_is(finding.certainty, WEFT_CERTAINTY_THRESHOLD);
    weft_dump_free(dump);
}

static void test_stall_is_none(void **state)
{
    (void)state;
    weft_dump *dump = take_stall(9, 1);
    check_none(dump);
    weft_dump_free(dump);
    dump = take_stall(10, HOUR);
    check_none(dump);
    weft_dump_free(dump);
}

// ---- Lost peer ----

static weft_dump *take_lost(weft_task_fn *sender, size_t asleep)
{
    weft_finding_options findings = alone(WEFT_RULE_LOST_PEER);
    weft_channel *jobs = channel_new(4);

    findings.lost_peer_ns = 1;
    weft_runtime *runtime = start_for(&findings);
    start_many(runtime, 3, receive, jobs);
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 3));
    let_go(spawn(runtime, "sender", sender, jobs)); // one of them gets it
    weft_dump *dump;
    for (;; weft_dump_free(dump), doze()) {
        dump = take(runtime);
        if (info_of(dump).tasks == 2 + asleep &&
            tasks_in_state(dump, WEFT_STATE_WAITING) == 2 + asleep)
            break;
    }
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_channel_free(jobs), 0);
    return dump;
}

static void test_lost_peer(void **state)
{
    weft_dump *dump = take_lost(send_one, 0);

    (void)state;
    weft_dump_finding finding = check_only(
        dump, WEFT_RULE_LOST_PEER,
        "to receive from channel \"jobs\", whose only sender has ended");
    expect_is(finding.count, 2);
    expect_is(finding.certainty, WEFT_CERTAINTY_LIKELY);
    weft_dump_free(dump);
}

// Of a broadcast or a watch, too.
static void *follow_news(void *news)
{
    weft_receiver receiver;
    int error = weft_broadcast_subscribe(news, &receiver);
    int item;

    while (error == 0)
        error = weft_broadcast_recv(&receiver, &item, WEFT_NEVER);
    return NULL;
}

static void *send_news(void *news)
{
    int item = 1;

    (void)weft_broadcast_send(news, &item);
    return NULL;
}

static void *follow_value(void *watch)
{
    uint64_t version = 0;
    int item;

    while (weft_watch_recv(watch, &version, &item, WEFT_NEVER) == 0)
        continue;
    return NULL;
}

static void *send_value(void *watch)
{
    int item = 1;

    (void)weft_watch_send(watch, &item);
    return NULL;
}

static weft_dump *take_lost_of(weft_task_fn *receiver, weft_task_fn *sender,
                               void *object)
{
    weft_finding_options findings = alone(WEFT_RULE_LOST_PEER);

    findings.lost_peer_ns = 1;
    weft_runtime *runtime = start_for(&findings);
    start_many(runtime, 3, receiver, object);
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 3));
    (void)join(spawn(runtime, "sender", sender, object));
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, 3);
    expect_is(weft_runtime_free(runtime), 0);
    return dump;
}

static void test_lost_peer_of_many(void **state)
{
    weft_broadcast *news;
    weft_watch *settings;
    weft_dump *dump;

    (void)state;
    expect_is(weft_broadcast_new(sizeof(int), 4, "news", &news), 0);
    dump = take_lost_of(follow_news, send_news, news);
    (void)check_only(
        dump, WEFT_RULE_LOST_PEER,
        "to receive from broadcast \"news\", whose only sender has ended");
    weft_dump_free(dump);
    expect_is(weft_broadcast_free(news), 0);
    expect_is(weft_watch_new(sizeof(int), NULL, "settings", &settings), 0);
    dump = take_lost_of(follow_value, send_value, settings);
    (void)check_only(
        dump, WEFT_RULE_LOST_PEER,
        "to receive from watch \"settings\", whose only sender has ended");
    weft_dump_free(dump);
    expect_is(weft_watch_free(settings), 0);
}

static void test_peer_is_there(void **state)
{
    weft_dump *dump = take_lost(send_and_sleep, 1);

    (void)state;
    check_none(dump);
    weft_dump_free(dump);
}

// ---- A worker in a system call ----

static void *read_pipe(void *arg)
{
    char byte;

    expect_is(read(*(int *)arg, &byte, 1), 1);
    return NULL;
}

static void test_system_call(void **state)
{
    weft_finding_options findings = alone(WEFT_RULE_SYSCALL);
    int ends[2];
    weft_dump *dump;

    (void)state;
    findings.syscall_ns = 1;
    weft_runtime *runtime = start_for(&findings);
    expect_is(pipe(ends), 0);
    weft_task reader = spawn(runtime, "reader", read_pipe, &ends[0]);
    for (;; weft_dump_free(dump), doze()) {
        dump = take(runtime);
        if (info_of(dump).findings > 0)
            break;
    }
    weft_dump_finding finding =
        check_only(dump, WEFT_RULE_SYSCALL, "inside read(fd ");
    expect(worker_at(dump, finding.worker).in_syscall);
    expect_is(worker_at(dump, finding.worker).syscall_fd, ends[0]);
    char *text = words_of(dump);
    expect(strstr(text, " = pipe:[") != NULL);
    free(text);
    weft_dump_free(dump);
    expect_is(write(ends[1], "x", 1), 1);
    (void)join(reader);
    expect_is(weft_runtime_free(runtime), 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

struct spinner {
    atomic_bool began;
    atomic_bool stop;
};

static void *spin(void *arg)
{
    struct spinner *spinner = arg;

    atomic_store(&spinner->began, true);
    while (!atomic_load(&spinner->stop))
        continue;
    return NULL;
}

static weft_task start_spinner(weft_runtime *runtime, struct spinner *spinner)
{
    *spinner = (struct spinner){0};
    weft_task task = spawn(runtime, "spinner", spin, spinner);
    while (!atomic_load(&spinner->began))
        doze();
    return task;
}

// It keeps its worker, but computes.
static void test_computing_is_no_call(void **state)
{
    weft_finding_options findings = alone(WEFT_RULE_SYSCALL);
    struct spinner spinner;

    (void)state;
    findings.syscall_ns = 1;
    weft_runtime *runtime = start_for(&findings);
    weft_task task = start_spinner(runtime, &spinner);
    weft_dump *dump = take(runtime);
    expect(!info_of(dump).complete || info_of(dump).tasks == 1);
    check_none(dump);
    weft_dump_free(dump);
    atomic_store(&spinner.stop, true);
    (void)join(task);
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- Ready, not run ----

static void *end_at_once(void *arg)
{
    return arg;
}

static weft_dump *take_ready(int64_t ready_ns)
{
    weft_finding_options findings = alone(WEFT_RULE_READY);
    struct spinner spinners[2];
    weft_task tasks[3];

    findings.ready_ns = ready_ns;
    findings.ready_factor = 1;
    weft_runtime *runtime = start_for(&findings);
    for (int i = 0; i < 2; i++)
        tasks[i] = start_spinner(runtime, &spinners[i]);
    tasks[2] = spawn(runtime, "late", end_at_once, NULL);
    weft_dump *dump = take(runtime);
    for (int i = 0; i < 2; i++)
        atomic_store(&spinners[i].stop, true);
    for (int i = 0; i < 3; i++)
        (void)join(tasks[i]);
    expect_is(weft_runtime_free(runtime), 0);
    return dump;
}

static void test_ready(void **state)
{
    weft_dump *dump = take_ready(1);

    (void)state;
    weft_dump_finding finding =
        check_only(dump, WEFT_RULE_READY, "\"late\" is ready and not run");
    expect_is(finding.count, 1);
    expect_is(finding.certainty, WEFT_CERTAINTY_THRESHOLD);
    weft_dump_free(dump);
}

static void test_ready_is_none(void **state)
{
    weft_dump *dump = take_ready(HOUR);

    (void)state;
    check_none(dump);
    weft_dump_free(dump);
}

// ---- Stacks ----

// Sleeps below some frames of a little more than a KiB each.
__attribute__((noinline)) static int sleep_below(int frames)
{
    volatile char room[1024] = {1};

    if (frames == 0)
        (void)weft_task_sleep(WEFT_NEVER);
    else
        room[1] = (char)sleep_below(frames - 1);
    return room[0];
}

static void *use_stack(void *arg)
{
    expect_is(sleep_below(*(int *)arg), 1);
    return NULL;
}

static weft_dump *take_stack(int frames)
{
    weft_finding_options findings = alone(WEFT_RULE_STACK);

    findings.stack_percent = 50;
    weft_runtime *runtime = start_for(&findings);
    let_go(spawn(runtime, "deep", use_stack, &frames));
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, 1);
    expect_is(weft_runtime_free(runtime), 0);
    return dump;
}

static void test_stack(void **state)
{
    weft_dump *dump = take_stack(36);

    (void)state;
    (void)check_only(dump, WEFT_RULE_STACK, "of its stack (");
    weft_dump_free(dump);
}

static void test_stack_is_none(void **state)
{
    weft_dump *dump = take_stack(16);

    (void)state;
    check_none(dump);
    weft_dump_free(dump);
}

// ---- Growth ----

static weft_dump *take_growth(unsigned more)
{
    weft_finding_options findings = alone(WEFT_RULE_GROWTH);
    weft_channel *jobs = channel_new(4);
    weft_dump *dump = NULL;

    findings.growth_tasks = 20;
    weft_runtime *runtime = start_for(&findings);
    for (unsigned i = 0; i <= 20 + more; i++) {
        if (i == 20) {
            dump = take_when(runtime, WEFT_STATE_WAITING, 20);
            check_none(dump);
            weft_dump_free(dump);
        }
        if (i < 20 + more)
            let_go(spawn(runtime, NULL, receive, jobs));
    }
    dump = take(runtime); // compared with the one before: no try in between
    expect_is(info_of(dump).tasks, 20 + more);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_channel_free(jobs), 0);
    return dump;
}

static void test_growth(void **state)
{
    weft_dump *dump = take_growth(5);

    (void)state;
    weft_dump_finding finding = check_only(dump, WEFT_RULE_GROWTH,
                                           "25 tasks of one spawn site are "
                                           "alive, 5 more than");
    expect(finding.site != WEFT_NONE);
    expect_is(finding.count, 25);
    weft_dump_free(dump);
}

static void test_growth_is_none(void **state)
{
    weft_dump *dump = take_growth(4);

    (void)state;
    check_none(dump);
    weft_dump_free(dump);
}

// ---- Options ----

static void expect_refused(const weft_finding_options *findings)
{
    weft_runtime_options options = {.size = sizeof options,
                                    .findings = findings};
    weft_runtime *runtime;

    expect_is(weft_runtime_new(&options, &runtime), -EINVAL);
}

static void test_bad_options(void **state)
{
    weft_finding_options good = {.size = sizeof good};
    weft_finding_options bad[] = {good, good, good, good,
                                  good, good, good, good};

    (void)state;
    bad[0].size = 1;
    bad[1].rules_off = WEFT_RULE_BIT(WEFT_RULE_COUNT);
    bad[2].asleep_ns = -1;
    bad[3].stall_ns = -1;
    bad[4].lost_peer_ns = -1;
    bad[5].syscall_ns = -1;
    bad[6].ready_ns = -1;
    bad[7].stack_percent = 100;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused(&bad[i]);
    weft_runtime *runtime = start_for(&good);
    expect_is(weft_runtime_free(runtime), 0);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < WEFT_RULE_COUNT; i++)
        expect(weft_rule_name((enum weft_rule)i) != NULL);
    expect(weft_rule_name(WEFT_RULE_COUNT) == NULL);
    expect_text(weft_rule_name(WEFT_RULE_NO_YIELD), "no-yield");
}

static void test_bad_arguments(void **state)
{
    weft_dump *dump = take_stall(9, 1);

    (void)state;
    expect_is(weft_dump_print_finding(NULL, 0, NULL, stderr), -EINVAL);
    expect_is(weft_dump_print_finding(dump, 0, NULL, NULL), -EINVAL);
    expect_is(weft_dump_print_finding(dump, 0, NULL, stderr), -ENOENT);
    weft_dump_free(dump);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scope),
        cmocka_unit_test(test_scope_is_none),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_third_sender_is_none),
        cmocka_unit_test(test_stall),
        cmocka_unit_test(test_stall_is_none),
        cmocka_unit_test(test_lost_peer),
        cmocka_unit_test(test_lost_peer_of_many),
        cmocka_unit_test(test_peer_is_there),
        cmocka_unit_test(test_system_call),
        cmocka_unit_test(test_computing_is_no_call),
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_ready_is_none),
        cmocka_unit_test(test_stack),
        cmocka_unit_test(test_stack_is_none),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_growth_is_none),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bad_arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
