// test_findings_watch.c -- Dumps that a runtime takes by itself; what the
// environment says of findings; and all asleep, which needs a process whose
// threads are all weft's.
#include <errno.h>
#include <pthread.h>

#include "support/child.h"
#include "support/dumps.h"
#include "support/skip.h"

#define HOUR (3600 * WEFT_SECOND)

// ---- What the watch hands out ----

struct seen {
    atomic_uint calls;
    atomic_uint rules;   // bits of all findings
    weft_channel *close; // by the call, or NULL
};

static void see(const weft_dump *dump, void *arg)
{
    struct seen *seen = arg;
    weft_dump_finding finding;

    for (size_t i = 0; weft_dump_get_finding(dump, i, &finding) == 0; i++)
        atomic_fetch_or(&seen->rules, WEFT_RULE_BIT(finding.rule));
    atomic_fetch_add(&seen->calls, 1);
    if (seen->close != NULL)
        expect_is(weft_channel_close(seen->close), 0);
}

static weft_watch_options watch_with(struct seen *seen)
{
    return (weft_watch_options){
        .size = sizeof(weft_watch_options),
        .severity = WEFT_SEVERITY_INFO,
        .every_ns = 1,
        .look_ns = 1,
        .fn = see,
        .arg = seen,
    };
}

static weft_runtime *start_watched(const weft_watch_options *watch,
                                   const weft_finding_options *findings)
{
    weft_runtime_options options = {
        .size = sizeof options,
        .workers = 2,
        .no_yield_ns = 10 * MS,
        .dump_patience_ns = 20 * MS,
        .findings = findings,
        .watch = watch,
    };
    weft_runtime *runtime;

    expect_is(weft_runtime_new(&options, &runtime), 0);
    return runtime;
}

static uint64_t dumps_of(weft_runtime *runtime)
{
    weft_runtime_metrics metrics;

    expect_is(weft_runtime_metrics_get(runtime, &metrics), 0);
    return metrics.dumps;
}

static void await_dumps(weft_runtime *runtime, uint64_t more)
{
    uint64_t wanted = dumps_of(runtime) + more;

    while (dumps_of(runtime) < wanted)
        doze();
}

static void await_calls(struct seen *seen, unsigned calls)
{
    while (atomic_load(&seen->calls) < calls)
        doze();
}

// ---- Deadlocks, which the watchdog does not see ----

// Two that lock each other out: each has its own before it wants the other's.
struct pair {
    weft_mutex mutexes[2];
    atomic_uint taken;
    struct member {
        struct pair *pair;
        int own;
    } members[2];
};

static void *lock_two(void *arg)
{
    struct member *member = arg;
    struct pair *pair = member->pair;
    weft_mutex *other = &pair->mutexes[1 - member->own];

    expect_is(weft_mutex_lock(&pair->mutexes[member->own], WEFT_NEVER), 0);
    atomic_fetch_add(&pair->taken, 1);
    while (atomic_load(&pair->taken) < 2)
        (void)weft_task_yield();
    if (weft_mutex_lock(other, WEFT_NEVER) == 0) // the end cancels one
        expect_is(weft_mutex_unlock(other), 0);
    expect_is(weft_mutex_unlock(&pair->mutexes[member->own]), 0);
    return NULL;
}

static void pair_start(struct pair *pair, weft_runtime *runtime)
{
    *pair = (struct pair){0};
    for (int i = 0; i < 2; i++) {
        expect_is(weft_mutex_init(&pair->mutexes[i], "m"), 0);
        pair->members[i] = (struct member){pair, i};
        weft_task task = spawn(runtime, NULL, lock_two, &pair->members[i]);
        expect_is(weft_task_detach(task), 0);
    }
}

// Once its runtime has ended.
static void pair_deinit(struct pair *pair)
{
    for (int i = 0; i < 2; i++)
        expect_is(weft_mutex_deinit(&pair->mutexes[i]), 0);
}

static void make_deadlock(struct pair *pair, weft_runtime *runtime)
{
    pair_start(pair, runtime);
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 2));
}

static void pair_end(struct pair *pair, weft_runtime *runtime)
{
    expect_is(weft_runtime_free(runtime), 0);
    pair_deinit(pair);
}

static const weft_finding_options deadlocks = {
    .size = sizeof deadlocks,
    .rules_off = (WEFT_RULE_BIT(WEFT_RULE_COUNT) - 1) &
                 ~WEFT_RULE_BIT(WEFT_RULE_DEADLOCK),
};

// By its period; and not told again while it stays the same.
static void test_period(void **state)
{
    struct seen seen = {0};
    struct pair pair;
    weft_watch_options watch = watch_with(&seen);

    (void)state;
    watch.severity = WEFT_SEVERITY_ERROR;
    watch.period_ns = MS;
    weft_runtime *runtime = start_watched(&watch, &deadlocks);
    make_deadlock(&pair, runtime);
    await_calls(&seen, 1);
    await_dumps(runtime, 10);
    expect_is(atomic_load(&seen.calls), 1);
    expect_is(atomic_load(&seen.rules), WEFT_RULE_BIT(WEFT_RULE_DEADLOCK));
    pair_end(&pair, runtime);
}

// A second deadlock is another finding: told, unless it is too early.
static void see_two(int64_t every_ns, unsigned calls)
{
    struct seen seen = {0};
    struct pair first, second;
    weft_watch_options watch = watch_with(&seen);

    watch.period_ns = MS;
    watch.every_ns = every_ns;
    weft_runtime *runtime = start_watched(&watch, &deadlocks);
    make_deadlock(&first, runtime);
    await_calls(&seen, 1);
    pair_start(&second, runtime);
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 4));
    await_calls(&seen, calls);
    await_dumps(runtime, 10);
    expect_is(atomic_load(&seen.calls), calls);
    pair_end(&first, runtime);
    pair_deinit(&second);
}

static void test_at_most_every(void **state)
{
    (void)state;
    see_two(1, 2);
    see_two(HOUR, 1);
}

static void *lock_and_sleep(void *arg)
{
    if (weft_mutex_lock(arg, WEFT_NEVER) != 0)
        return NULL;
    (void)weft_task_sleep(WEFT_NEVER);
    expect_is(weft_mutex_unlock(arg), 0);
    return NULL;
}

// A warning is there, but only errors count.
static void test_too_mild(void **state)
{
    struct seen seen = {0};
    weft_watch_options watch = watch_with(&seen);
    weft_finding_options findings = {
        .size = sizeof findings, .stall_waiters = 1, .stall_ns = 1};
    weft_dump_finding finding;
    weft_mutex mutex;

    (void)state;
    watch.severity = WEFT_SEVERITY_ERROR;
    watch.period_ns = MS;
    weft_runtime *runtime = start_watched(&watch, &findings);
    expect_is(weft_mutex_init(&mutex, "m"), 0);
    for (int i = 0; i < 2; i++) {
        weft_task task = spawn(runtime, NULL, lock_and_sleep, &mutex);
        expect_is(weft_task_detach(task), 0);
    }
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, 2);
    expect_is(weft_dump_get_finding(dump, 0, &finding), 0);
    expect_is(finding.severity, WEFT_SEVERITY_WARNING);
    weft_dump_free(dump);
    await_dumps(runtime, 10);
    expect_is(atomic_load(&seen.calls), 0);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_mutex_deinit(&mutex), 0);
}

// ---- Signs of the watchdog's ----

static void *spin_until(void *arg)
{
    while (!atomic_load((atomic_bool *)arg))
        continue;
    return NULL;
}

static void test_sign_of_a_long_run(void **state)
{
    struct seen seen = {0};
    weft_watch_options watch = watch_with(&seen);
    atomic_bool stop = false;

    (void)state;
    weft_runtime *runtime = start_watched(&watch, NULL);
    weft_task task = spawn(runtime, "spinner", spin_until, &stop);
    await_calls(&seen, 1);
    expect(atomic_load(&seen.rules) & WEFT_RULE_BIT(WEFT_RULE_NO_YIELD));
    atomic_store(&stop, true);
    (void)join(task);
    expect_is(weft_runtime_free(runtime), 0);
}

static void *receive(void *arg)
{
    char item;

    expect_is(weft_channel_recv(arg, &item, WEFT_NEVER), -EPIPE);
    return NULL;
}

// All threads are weft's, or wait for a task: the sign leads to the finding,
// and whoever is told ends it.
static void test_all_asleep(void **state)
{
    struct seen seen = {0};
    weft_watch_options watch = watch_with(&seen);
    weft_finding_options findings = {.size = sizeof findings, .asleep_ns = MS};
    weft_runtime_options options = {.size = sizeof options,
                                    .workers = 2,
                                    .findings = &findings,
                                    .watch = &watch};

    (void)state;
    if (UNDER_TSAN)
        skip_because("the sanitizer has a thread of its own");
    watch.severity = WEFT_SEVERITY_ERROR;
    expect_is(weft_channel_new(1, 1, "jobs", &seen.close), 0);
    expect_is(weft_run(&options, receive, seen.close, NULL), 0);
    expect_is(atomic_load(&seen.rules), WEFT_RULE_BIT(WEFT_RULE_ALL_ASLEEP));
    expect_is(weft_channel_free(seen.close), 0);
}

// A thread of the program's own might wake them: as this one does.
struct outsider {
    weft_channel *channel;
    atomic_bool stop;
};

static void *be_there(void *arg)
{
    struct outsider *outsider = arg;

    while (!atomic_load(&outsider->stop))
        doze();
    expect_is(weft_channel_close(outsider->channel), 0);
    return NULL;
}

static void test_a_thread_may_wake(void **state)
{
    struct seen seen = {0};
    struct outsider outsider = {0};
    weft_watch_options watch = watch_with(&seen);
    weft_finding_options findings = {.size = sizeof findings, .asleep_ns = MS};
    pthread_t thread;

    (void)state;
    watch.period_ns = MS;
    watch.severity = WEFT_SEVERITY_ERROR;
    expect_is(weft_channel_new(1, 1, "jobs", &outsider.channel), 0);
    weft_runtime *runtime = start_watched(&watch, &findings);
    expect_is(pthread_create(&thread, NULL, be_there, &outsider), 0);
    weft_task task = spawn(runtime, NULL, receive, outsider.channel);
    await_dumps(runtime, 20);
    expect_is(atomic_load(&seen.calls), 0);
    atomic_store(&outsider.stop, true);
    expect_is(pthread_join(thread, NULL), 0);
    (void)join(task);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_channel_free(outsider.channel), 0);
}

// ---- To standard error and a file ----

static void write_body(void)
{
    char path[] = "/tmp/weft-watch-XXXXXX";
    weft_watch_options watch = {
        .size = sizeof watch, .period_ns = MS, .every_ns = 1, .path = path};
    struct pair pair;

    expect(mkstemp(path) >= 0);
    weft_runtime *runtime = start_watched(&watch, &deadlocks);
    make_deadlock(&pair, runtime);
    char text[64] = "";
    while (strstr(text, "{") == NULL) { // renamed there once it is whole
        FILE *file = fopen(path, "re");
        expect(file != NULL);
        size_t size = fread(text, 1, sizeof text - 1, file);
        text[size] = '\0';
        (void)fclose(file);
        doze();
    }
    expect(strstr(text, "weft-dump") != NULL);
    pair_end(&pair, runtime);
    expect_is(unlink(path), 0);
}

static struct child child;

static void test_file(void **state)
{
    (void)state;
    child_run(write_body, &child);
    expect(child_is_well(&child));
    expect(child_says(&child, "DEADLOCK: 2 tasks wait for each other"));
    expect(child_says(&child, "weft: the same as JSON: /tmp/weft-watch-"));
}

// ---- The environment ----

static void env_off_body(void)
{
    const char *settings = "no_yield_ns=1h,deadlock=off,ready_ns=5s";
    struct pair pair;

    expect_is(setenv("WEFT_FINDINGS", settings, 1), 0);
    weft_runtime *runtime = start(2);
    pair_start(&pair, runtime);
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, 2);
    expect_is(info_of(dump).findings, 0);
    weft_dump_free(dump);
    pair_end(&pair, runtime);
}

static void env_watch_body(void)
{
    struct pair pair;

    expect_is(setenv("WEFT_WATCH", "error,period_ns=1ms,every_ns=1ns", 1), 0);
    weft_runtime *runtime = start_watched(NULL, &deadlocks);
    make_deadlock(&pair, runtime);
    await_dumps(runtime, 10);
    pair_end(&pair, runtime);
}

static void env_bad_body(void)
{
    expect_is(setenv("WEFT_FINDINGS",
                     "dead=off,stall=maybe,stall_ns=5,stack_percent=100,"
                     "ready_ns=-1s,growth_tasks=0,,lost-peer=off",
                     1),
              0);
    expect_is(setenv("WEFT_WATCH", "loud", 1), 0);
    expect_is(weft_runtime_free(start(1)), 0);
}

static void test_environment(void **state)
{
    (void)state;
    child_run(env_off_body, &child);
    expect(child_is_well(&child));
    expect_is(strlen(child.text), 0);
    child_run(env_watch_body, &child);
    expect(child_is_well(&child));
    expect(child_says(&child, "DEADLOCK: 2 tasks wait for each other"));
}

static void test_bad_environment(void **state)
{
    static const char *const refused[] = {
        "\"dead=off\"",
        "\"stall=maybe\"",
        "\"stall_ns=5\"",
        "\"stack_percent=100\"",
        "\"ready_ns=-1s\"",
        "\"growth_tasks=0\"",
        "WEFT_WATCH: \"loud\" is no setting",
    };

    (void)state;
    child_run(env_bad_body, &child);
    expect(child_is_well(&child));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        expect(child_says(&child, refused[i]));
    expect(strstr(child.text, "lost-peer") == NULL);
}

static void test_bad_options(void **state)
{
    weft_watch_options good = {.size = sizeof good};
    weft_watch_options bad[] = {good, good, good, good, good};
    weft_runtime *runtime;

    (void)state;
    bad[0].size = 1;
    bad[1].severity = (enum weft_severity)(WEFT_SEVERITY_INFO + 1);
    bad[2].every_ns = -1;
    bad[3].look_ns = -1;
    bad[4].period_ns = -1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weft_runtime_options options = {.size = sizeof options,
                                        .watch = &bad[i]};
        expect_is(weft_runtime_new(&options, &runtime), -EINVAL);
    }
    runtime = start_watched(&good, NULL);
    expect_is(weft_runtime_free(runtime), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_asleep),
        cmocka_unit_test(test_a_thread_may_wake),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_bad_environment),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_period),
        cmocka_unit_test(test_at_most_every),
        cmocka_unit_test(test_too_mild),
        cmocka_unit_test(test_sign_of_a_long_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
