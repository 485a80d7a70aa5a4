// test_report.c -- Text and JSON of dumps made by hand.
//
// The made-up program is support/places.h: its places have names in the debug
// information of this test. Where libdw is missing, what needs those names is
// left out. JSON is checked by tools/validate_dump.py where there is a python
// with jsonschema.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "report/names.h"
#include "report/write.h"
#include "support/dump_maker.h"
#include "support/places.h"
#include "support/skip.h"

#define COLUMNS_MAX 100

// Frames of weft's own, as those that surround a task's.
#define OWN_LEAF ((uintptr_t)weft_dump_get_info + 2)
#define OWN_ROOT ((uintptr_t)weft_dump_get_task + 2)

// ---- The example of the format's description: 12 tasks, a deadlock. ----

static uint32_t stack_of(weft_dump *dump, enum place leaf, enum place caller)
{
    uintptr_t pcs[] = {OWN_LEAF, places[leaf], places[caller], OWN_ROOT};

    return maker_stack(dump, pcs, 4);
}

static uint32_t short_stack(weft_dump *dump, enum place leaf)
{
    uintptr_t pcs[] = {OWN_LEAF, places[leaf], OWN_ROOT};

    return maker_stack(dump, pcs, 3);
}

static struct model_task *waiting(weft_dump *dump, uint64_t id,
                                  const char *name, int64_t ns,
                                  enum weft_wait_kind kind, uint32_t stack)
{
    struct model_task *task =
        maker_task(dump, id, name, WEFT_STATE_WAITING, ns);

    task->wait = kind;
    task->stack = stack;
    return task;
}

static void add_conns(weft_dump *dump, uint32_t by_listener, uint32_t stack)
{
    static const char *const names[] = {
        "conn 10.0.0.14:51332", "conn 10.0.0.19:40110", "conn 10.0.0.22:33018"};
    static const int64_t seconds[] = {662, 588, 133};

    for (int i = 0; i < 3; i++) {
        struct model_task *task = waiting(
            dump, 3 + i, names[i], seconds[i] * SECOND, WEFT_WAIT_MUTEX, stack);
        task->object = 0;
        task->parent = 2;
        task->site = by_listener;
    }
}

static void add_transfer(weft_dump *dump, uint64_t id, const char *name,
                         int64_t ns, uint32_t object, uint32_t site,
                         uint32_t stack)
{
    struct model_task *task =
        waiting(dump, id, name, ns, WEFT_WAIT_MUTEX, stack);

    task->object = object;
    task->parent = 2;
    task->site = site;
}

static void add_readers(weft_dump *dump, uint32_t site, uint32_t stack)
{
    struct model_task *task = waiting(dump, 11, "conn 10.0.0.31:55012",
                                      185 * SECOND, WEFT_WAIT_FD, stack);
    task->wait_fd = 19;
    task->parent = 2;
    task->site = site;
    task = waiting(dump, 12, "conn 10.0.0.33:55840", 70 * SECOND, WEFT_WAIT_FD,
                   stack);
    task->wait_fd = 23;
    task->parent = 2;
    task->site = site;
}

static void add_example_tasks(weft_dump *dump, uint32_t by_main,
                              uint32_t by_listener)
{
    int64_t up = INT64_C(274260) * SECOND;
    struct model_task *task;

    task = waiting(dump, 1, "main", up, WEFT_WAIT_JOIN,
                   short_stack(dump, MAIN_TASK_55));
    task->wait_task = 2;
    task = waiting(dump, 2, "listener", 812004000, WEFT_WAIT_FD,
                   short_stack(dump, ACCEPT_LOOP_31));
    task->wait_fd = 7;
    task->parent = 1;
    task->site = by_main;
    add_conns(dump, by_listener, stack_of(dump, BALANCE_22, REQUEST_MAIN_118));
    task = waiting(dump, 6, "audit-flush", 5800000000, WEFT_WAIT_SLEEP,
                   short_stack(dump, AUDIT_FLUSH_90));
    task->timeout_in_ns = 4200000000;
    task->parent = 1;
    task->site = by_main;
    add_transfer(dump, 7, "transfer 8841", 754 * SECOND, 1, by_listener,
                 stack_of(dump, TRANSFER_47, REQUEST_MAIN_118));
    task = maker_task(dump, 8, "metrics", WEFT_STATE_READY, 212000);
    task->stack = short_stack(dump, METRICS_TICK_19);
    task->worker = 2;
    task->queue_place = 0;
    task->parent = 1;
    task->site = by_main;
    add_transfer(dump, 9, "transfer 8842", 754 * SECOND - 90000, 0, by_listener,
                 stack_of(dump, TRANSFER_69, REQUEST_MAIN_118));
    task =
        maker_task(dump, 10, "report monthly", WEFT_STATE_RUNNING, 41300000000);
    task->stack = stack_of(dump, SUM_MONTH_203, REPORT_MAIN_41);
    task->worker = 1;
    task->parent = 1;
    task->site = by_main;
    add_readers(dump, by_listener,
                stack_of(dump, CONN_READ_77, REQUEST_MAIN_118));
}

static weft_dump *make_example(void)
{
    weft_dump *dump = maker_new();
    uint32_t by_main = maker_site(dump, places[MAIN_TASK_40]);
    uint32_t by_listener = maker_site(dump, places[ACCEPT_LOOP_36]);

    maker_object(dump, WEFT_OBJECT_MUTEX, "accounts", 7, places[TRANSFER_41]);
    maker_object(dump, WEFT_OBJECT_MUTEX, "audit", 9, places[TRANSFER_63]);
    add_example_tasks(dump, by_main, by_listener);
    maker_worker(dump, WEFT_WORKER_IDLE, 0, 0);
    maker_worker(dump, WEFT_WORKER_MISSING, 10, 41300000000);
    maker_worker(dump, WEFT_WORKER_MET, 0, 0);
    maker_worker(dump, WEFT_WORKER_IDLE, 0, 0);

    const uint32_t cycle[] = {6, 8}, objects[] = {1, 0}, behind[] = {2, 3, 4};
    maker_finding(dump, WEFT_RULE_DEADLOCK, cycle, objects, 2, behind, 3)
        ->since_ns = 754 * SECOND - 90000;
    const uint32_t hog[] = {9};
    struct model_finding *finding =
        maker_finding(dump, WEFT_RULE_NO_YIELD, hog, NULL, 1, NULL, 0);
    finding->since_ns = 41300000000;
    finding->threshold_ns = 10 * SECOND;
    finding->worker = 1;
    maker_finish(dump);
    return dump;
}

// ---- Printing into memory, and what holds for every text. ----

typedef int print_fn(const weft_dump *, const weft_print_options *, FILE *);

static char *print(print_fn *fn, const weft_dump *dump,
                   const weft_print_options *options)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    assert_non_null(file);
    assert_int_equal(fn(dump, options, file), 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(strlen(text), size); // no zero byte inside
    return text;
}

static void check_text(const char *text, bool ascii)
{
    unsigned columns = 0;

    while (*text) {
        int32_t c;
        text += utf8_next(text, &c);
        assert_true(c == '\n' || c >= 0x20); // neither control nor invalid
        assert_true(c < 0x7f || c > 0x9f);
        assert_true(c < 0x202a || c > 0x202e);
        if (ascii)
            assert_true(c < 0x7f);
        columns = c == '\n' ? 0 : columns + 1;
        if (columns > COLUMNS_MAX)
            fail_msg("too wide: ...%.60s", text - 60);
    }
}

static char *print_text(const weft_dump *dump)
{
    char *text = print(weft_dump_print_text, dump, NULL);

    check_text(text, false);
    return text;
}

static void expect(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        print_message("missing: %s\nin:\n%s", part, text);
        fail();
    }
}

static void reject(const char *text, const char *part)
{
    if (strstr(text, part)) {
        print_message("must not be there: %s\nin:\n%s", part, text);
        fail();
    }
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static bool have_names(const weft_dump *dump)
{
    weft_frame frame;

    assert_true(weft_dump_get_frames(dump, places[TRANSFER_41], &frame, 1) > 0);
    return names_limit(dump) == NULL;
}

// ---- JSON. ----

static bool can_validate(void)
{
    return getenv("WEFT_SOURCE") &&
           system("python3 -c 'import jsonschema' 2>/dev/null") == 0;
}

static void validate(const weft_dump *dump, const weft_print_options *options)
{
    char path[] = "/tmp/weft-report-XXXXXX";
    char command[4096];
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    assert_non_null(file);
    assert_int_equal(weft_dump_print_json(dump, options, file), 0);
    assert_int_equal(fclose(file), 0);
    snprintf(command, sizeof(command),
             "PYTHONDONTWRITEBYTECODE=1 python3 "
             "\"$WEFT_SOURCE/tools/validate_dump.py\" %s",
             path);
    if (can_validate() && system(command) != 0)
        fail_msg("the JSON is not valid, see above");
    unlink(path);
}

// ---- The example. ----

static void example_text(void **state)
{
    weft_dump *dump = make_example();

    (void)state;
    char *text = print_text(dump);
    expect(text, "orders-svc  pid 48213 on db7  up 3d 4h  "
                 "2026-01-12 03:07:41.208 UTC\n"
                 "12 tasks: 1 running, 1 ready, 10 waiting · 4 workers\n"
                 "snapshot: consistent, complete; workers were stopped for "
                 "0.38 ms, all took 1.2 ms\n"
                 "\nFINDINGS: 1 error, 1 warning\n\n");
    expect(text, "✖ F1 DEADLOCK: 2 tasks wait for each other since 12m 34s. "
                 "They can never continue.\n");
    expect(text, "     3 more tasks are blocked behind it: T3 T4 T5 "
                 "(longest 11m 2s)\n"
                 "     Order differs: T7 locks \"accounts\" → \"audit\", "
                 "T9 locks \"audit\" → \"accounts\".\n");
    expect(text, "▲ F2 NO YIELD: T10 \"report monthly\" has run for 41.3 s "
                 "without yielding (limit 10 s).\n");
    expect(text, "TASKS: 12 in 9 groups\n");
    expect(text, "3 × waiting 2m 13s … 11m 2s: mutex \"accounts\" held by T7");
    expect(text, "1 × ready 0.21 ms, queued on worker 2\n");
    expect(text, "2 × waiting 1m 10s … 3m 5s: read on fd 19, 23\n");
    expect(text, "1 × waiting 3d 4h: join T2 \"listener\"\n");
    expect(text, "1 × waiting 5.8 s: sleep, wakes in 4.2 s\n");
    expect(text, "1 × waiting 812 ms: read on fd 7\n");
    free(text);
    weft_dump_free(dump);
}

static void example_names(void **state)
{
    weft_dump *dump = make_example();

    (void)state;
    if (!have_names(dump)) {
        weft_dump_free(dump);
        skip_because("no libdw here");
    }
    char *text = print_text(dump);
    expect(text, "     ┌─▶ T7 \"transfer 8841\"  holds mutex \"accounts\"  "
                 "taken in transfer app/bank.c:41\n"
                 "     │      waits for mutex \"audit\", held by T9      "
                 "now in   transfer app/bank.c:47\n"
                 "     └── T9 \"transfer 8842\"  holds mutex \"audit\"     "
                 "taken in transfer app/bank.c:63\n"
                 "            waits for mutex \"accounts\", held by T7   "
                 "now in   transfer app/bank.c:69\n");
    expect(text, "     on worker 1 (tid 48218), now in sum_month  "
                 "app/report.c:203\n");
    expect(text, "    T7 \"transfer 8841\"  holds \"accounts\"  "
                 "by listener app/listen.c:36\n"
                 "      transfer                      app/bank.c:47\n"
                 "      request_main                  app/conn.c:118\n\n");
    expect(text, "    T10 \"report monthly\"  by main app/main.c:40\n");
    reject(text, "weft_dump_get_info"); // weft's own frames are folded
    free(text);

    weft_print_options options = {.size = sizeof(options), .verbose = true};
    text = print(weft_dump_print_text, dump, &options);
    check_text(text, false);
    expect(text, "      weft_dump_get_info            src/dump/access.c:");
    free(text);
    weft_dump_free(dump);
}

static void example_order(void **state)
{
    static const char *const heads[] = {
        "1 × waiting 12m 34s: mutex \"audit\"",
        "1 × waiting 12m 34s: mutex \"accounts\"",
        "3 × waiting 2m 13s",
        "1 × running 41.3 s",
        "1 × ready 0.21 ms",
        "2 × waiting 1m 10s",
        "1 × waiting 3d 4h",
        "1 × waiting 5.8 s",
        "1 × waiting 812 ms",
    };
    weft_dump *dump = make_example();
    const char *before;

    (void)state;
    char *text = print_text(dump);
    before = text;
    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
        const char *at = strstr(text, heads[i]);
        assert_non_null(at);
        assert_true(at >= before);
        before = at;
    }
    free(text);
    weft_dump_free(dump);
}

static void example_json(void **state)
{
    weft_dump *dump = make_example();
    weft_print_options options = {.size = sizeof(options), .compact = true};

    (void)state;
    validate(dump, NULL);
    validate(dump, &options);
    char *text = print(weft_dump_print_json, dump, &options);
    assert_int_equal(count_lines(text), 1);
    expect(text, "\"cycle\":[{\"task\":7,\"holds\":\"m1\",\"waits_for\":\"m2\","
                 "\"held_by\":9},{\"task\":9,\"holds\":\"m2\",\"waits_for\":"
                 "\"m1\",\"held_by\":7}]");
    expect(text, "\"blocked_behind\":[3,4,5]");
    expect(text, "\"time\":\"2026-01-12T03:07:41.208113Z\"");
    expect(text, "\"uptime_us\":274260412551");
    expect(text, "\"by_wait\":{\"mutex\":5,\"join\":1,\"sleep\":1,\"fd\":3}");
    expect(text, "\"hint\":\"T7 locks accounts then audit; T9 locks audit "
                 "then accounts\"");
    free(text);
    weft_dump_free(dump);
}

static void ascii_and_color(void **state)
{
    weft_dump *dump = make_example();
    weft_print_options options = {.size = sizeof(options), .ascii = true};

    (void)state;
    dump->tasks[0].name = maker_text(dump, "größe");
    char *text = print(weft_dump_print_text, dump, &options);
    check_text(text, true);
    expect(text, "x F1 DEADLOCK");
    expect(text, "! F2 NO YIELD");
    expect(text, "     /-> T7 ");
    expect(text, "     |      waits for");
    expect(text, "     \\-- T9 ");
    expect(text, "\"accounts\" -> \"audit\"");
    expect(text, "2m 13s .. 11m 2s");
    expect(text, "gr\\u{f6}\\u{df}e");
    free(text);

    options = (weft_print_options){.size = sizeof(options), .color = true};
    text = print(weft_dump_print_text, dump, &options);
    expect(text, "\033[31m✖ F1\033[0m");
    expect(text, "\033[33m▲ F2\033[0m");
    expect(text, "T7 \033[1m\"transfer 8841\"\033[0m");
    free(text);
    weft_dump_free(dump);
}

// ---- Other dumps. ----

static void empty(void **state)
{
    weft_dump *dump = maker_new();

    (void)state;
    free(dump->exe);
    dump->exe = NULL;
    maker_finish(dump);
    char *text = print_text(dump);
    expect(text, "weft  pid 48213");
    expect(text, "0 tasks · 0 workers\n");
    expect(text, "FINDINGS: none\n");
    expect(text, "TASKS: 0\n");
    free(text);
    validate(dump, NULL);
    weft_dump_free(dump);
}

static void incomplete(void **state)
{
    weft_dump *dump = maker_new();

    (void)state;
    dump->complete = false;
    dump->consistent = false;
    dump->problem = strdup(
        "worker 1 (tid 48218) did not come to the meeting within 250 ms: it "
        "runs T10 \"report monthly\", whose stack is therefore not known "
        "\033[2J");
    struct model_task *task =
        maker_task(dump, 10, "report monthly", WEFT_STATE_RUNNING, SECOND);
    task->worker = 1;
    task->stack = maker_stack(dump, NULL, 0);
    dump->stacks[0].end = WEFT_STACK_UNKNOWN;
    maker_worker(dump, WEFT_WORKER_STOPPED, 0, 0);
    maker_worker(dump, WEFT_WORKER_MISSING, 10, SECOND);
    const uint32_t hog[] = {0};
    struct model_finding *finding =
        maker_finding(dump, WEFT_RULE_NO_YIELD, hog, NULL, 1, NULL, 0);
    finding->since_ns = SECOND;
    finding->threshold_ns = SECOND / 4;
    finding->worker = 1;
    maker_finish(dump);

    char *text = print_text(dump);
    expect(text, "snapshot: NOT OF ONE MOMENT, INCOMPLETE; ");
    expect(text, "missing: worker 1 (tid 48218) did not come");
    expect(text, "has run for 1 s without yielding (limit 250 ms).");
    expect(text, "where it stands is not known");
    expect(text, "(no stack: it runs, or has ended)");
    reject(text, "\033");
    free(text);
    validate(dump, NULL);
    char *json = print(weft_dump_print_json, dump, NULL);
    expect(json, "\"code\": \"incomplete\"");
    expect(json, "\"end\": \"unknown\"");
    free(json);
    weft_dump_free(dump);
}

static const char *const hostile_names[] = {
    "\033[2J\033[1;1Hgone\a",
    "quote \" and \\ back",
    "line\nbreak\ttab\r",
    "\xff\xfe not UTF-8 \xc3",
    "\xe2\x80\xae right to left",
    "\xed\xa0\x80 surrogate \xf4\x90\x80\x80 beyond \xc0\x80 overlong",
    "\xc2\x9b"
    "31m C1 control",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
    "宽字符宽字符宽字符宽字符宽字符宽字符宽字符宽字符宽字符宽字符宽字符",
    "",
    "</script><b>&amp;",
    "e\xcc\x81\xcc\x81\xcc\x81 marks",
    NULL,
};

#define HOSTILE (sizeof(hostile_names) / sizeof(*hostile_names))

static weft_dump *make_hostile(void)
{
    weft_dump *dump = maker_new();

    free(dump->runtime);
    free(dump->exe);
    free(dump->host);
    dump->runtime = strdup(hostile_names[0]);
    dump->exe = strdup(hostile_names[3]);
    dump->host = strdup(hostile_names[1]);
    dump->args = calloc(3, sizeof(*dump->args));
    assert_non_null(dump->args);
    dump->args[0] = strdup(hostile_names[3]);
    dump->args[1] = strdup(hostile_names[5]);
    for (uint32_t i = 0; i < HOSTILE; i++)
        maker_object(dump, WEFT_OBJECT_MUTEX, hostile_names[i], 2 * i + 1, 0);
    for (uint32_t i = 0; i < HOSTILE; i++) {
        struct model_task *task = maker_task(dump, 2 * i + 1, hostile_names[i],
                                             WEFT_STATE_WAITING, INT64_MAX / 2);
        task->wait = WEFT_WAIT_MUTEX;
        task->object = (i + 1) % HOSTILE;
        char labels[256];
        const char *name = hostile_names[i] ? hostile_names[i] : "-";
        int size =
            snprintf(labels, sizeof(labels), "key %s%cvalue %s", name, 0, name);
        task->labels = maker_bytes(dump, labels, size + 1);
        task->label_count = 1;
    }
    uint32_t tasks[HOSTILE], objects[HOSTILE];
    for (uint32_t i = 0; i < HOSTILE; i++) {
        tasks[i] = i;
        objects[i] = (i + 1) % HOSTILE;
    }
    maker_finding(dump, WEFT_RULE_DEADLOCK, tasks, objects, HOSTILE, NULL, 0);
    maker_finish(dump);
    return dump;
}

static void hostile(void **state)
{
    weft_dump *dump = make_hostile();
    weft_print_options options = {
        .size = sizeof(options), .verbose = true, .ascii = true};

    (void)state;
    char *text = print_text(dump);
    expect(text, "\\x1b[2J\\x1b[1;1Hgone\\x07");
    expect(text, "\"quote \\\" and \\\\ back\"");
    expect(text, "line\\nbreak\\ttab\\r");
    expect(text, "\\xff\\xfe not UTF-8 \\xc3");
    expect(text, "\\u{202e} right to left");
    expect(text, "\\u{9b}31m C1 control");
    expect(text, "012345678901234567890123456789012345678…\"");
    expect(text, "… 3 more tasks in the circle\n");
    free(text);
    text = print(weft_dump_print_text, dump, &options);
    check_text(text, true);
    expect(text, "labels of T1: ");
    free(text);
    validate(dump, NULL);
    weft_dump_free(dump);
}

// A stack of every kind of end, a channel, a join and the like.
static void make_kinds(weft_dump *dump)
{
    static const enum weft_wait_kind kinds[] = {
        WEFT_WAIT_CHAN_SEND, WEFT_WAIT_CHAN_RECV, WEFT_WAIT_JOIN,
        WEFT_WAIT_SCOPE,     WEFT_WAIT_FD,        WEFT_WAIT_DUMP,
        WEFT_WAIT_BLOCKING,
    };
    uint32_t stack = stack_of(dump, CONN_READ_77, REQUEST_MAIN_118);

    dump->objects = NULL;
    maker_object(dump, WEFT_OBJECT_CHANNEL, "jobs", 0, 0);
    dump->objects[0].used = dump->objects[0].limit = 64;
    for (uint32_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        struct model_task *task =
            waiting(dump, 100 + i, NULL, (i + 1) * SECOND, kinds[i], stack);
        task->object = i < 2 ? 0 : WEFT_NONE;
        task->wait_task = kinds[i] == WEFT_WAIT_JOIN ? 100 : 0;
        task->wait_fd = kinds[i] == WEFT_WAIT_FD ? 9 : -1;
        task->wait_write = kinds[i] == WEFT_WAIT_FD;
        task->timeout_in_ns = 3 * SECOND;
        task->parent = 1; // not in the dump
    }
    maker_task(dump, 200, NULL, WEFT_STATE_NEW, 5000)->queue_place = 3;
    maker_task(dump, 201, NULL, WEFT_STATE_DONE, 2 * SECOND);
}

static void kinds(void **state)
{
    weft_dump *dump = maker_new();

    (void)state;
    make_kinds(dump);
    dump->stacks[0].end = WEFT_STACK_CUT;
    dump->stacks[0].cut = 1234;
    dump->stacks[0].cut_at = 2;
    dump->tasks[6].stack = short_stack(dump, BALANCE_22);
    dump->stacks[1].end = WEFT_STACK_BROKEN;
    dump->stacks[1].error = maker_text(dump, "no unwind information");
    maker_finish(dump);
    char *text = print_text(dump);
    expect(text, "send on channel \"jobs\" (64 of 64 used), gives up in 3 s\n");
    expect(text, "receive on channel \"jobs\" (64 of 64 used)");
    expect(text, "join T100,");
    expect(text, "    T106  by T1 (ended)\n");
    expect(text, "the children of its scope");
    expect(text, "write on fd 9");
    expect(text, "the dump that it has asked for");
    expect(text, "a blocking call on another thread");
    expect(text, "1 × new <0.01 ms, in the shared queue, 3 ahead of it\n");
    expect(text, "1 × ended, not joined for 2 s\n");
    expect(text, "      … 1,234 frames are left out here\n");
    expect(text, "      … the rest cannot be read past "
                 "weft_dump_get_task: no unwind information\n");
    free(text);
    validate(dump, NULL);
    weft_dump_free(dump);
}

// ---- Deadlocks of other shapes. ----

static weft_dump *make_ring(uint32_t length, bool joins)
{
    weft_dump *dump = maker_new();
    uint32_t *tasks = calloc(length, sizeof(*tasks));
    uint32_t *objects = calloc(length, sizeof(*objects));

    assert_non_null(tasks);
    assert_non_null(objects);
    for (uint32_t i = 0; i < length; i++) {
        uint32_t next = (i + 1) % length;
        if (!joins)
            maker_object(dump, WEFT_OBJECT_MUTEX, NULL, 10 + i, 0);
        struct model_task *task =
            waiting(dump, 10 + i, NULL, SECOND, WEFT_WAIT_MUTEX, WEFT_NONE);
        task->wait = joins ? WEFT_WAIT_JOIN : WEFT_WAIT_MUTEX;
        task->wait_task = joins ? 10 + next : 0;
        task->object = joins ? WEFT_NONE : next;
        tasks[i] = i;
        objects[i] = task->object;
    }
    maker_finding(dump, WEFT_RULE_DEADLOCK, tasks, objects, length, NULL, 0);
    free(tasks);
    free(objects);
    maker_finish(dump);
    return dump;
}

static void rings(void **state)
{
    weft_dump *dump = make_ring(1, false);

    (void)state;
    char *text = print_text(dump);
    expect(text, "DEADLOCK: T10 waits for itself since");
    free(text);
    validate(dump, NULL);
    weft_dump_free(dump);

    dump = make_ring(3, true);
    text = print_text(dump);
    expect(text, "     ┌─▶ T10  is to be joined\n"
                 "     │      waits for T11 to end\n"
                 "     ├── T11  is to be joined\n");
    free(text);
    validate(dump, NULL);
    weft_dump_free(dump);

    dump = make_ring(1000, false);
    dump->findings[0].certainty = WEFT_CERTAINTY_LIKELY;
    text = print_text(dump);
    assert_true(count_lines(text) < 80);
    expect(text, "… 990 more tasks in the circle");
    expect(text, "(likely: not seen at one moment)");
    expect(text, "     └── T1009  holds mutex 0x");
    free(text);
    validate(dump, NULL);

    dump->tasks[5].timeout_in_ns = 4 * SECOND;
    text = print_text(dump);
    expect(text, "T15 gives up in 4 s.");
    free(text);
    weft_dump_free(dump);
}

static void many_findings(void **state)
{
    weft_dump *dump = make_ring(2, false);
    const uint32_t tasks[] = {0, 1}, objects[] = {1, 0};

    (void)state;
    for (int i = 0; i < 99; i++)
        maker_finding(dump, WEFT_RULE_DEADLOCK, tasks, objects, 2, NULL, 0);
    char *text = print_text(dump);
    expect(text, "FINDINGS: 100 errors\n");
    expect(text, "… 90 more findings are in the JSON\n");
    assert_true(count_lines(text) < 100);
    free(text);
    validate(dump, NULL);
    weft_dump_free(dump);
}

// Every stack different: as many groups as tasks.
static void many_groups(void **state)
{
    weft_dump *dump = maker_new();

    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        uintptr_t pcs[] = {0x1000 + i, places[CONN_READ_77]};
        waiting(dump, i + 1, "x", SECOND, WEFT_WAIT_SCOPE,
                maker_stack(dump, pcs, 2));
    }
    maker_finish(dump);
    char *text = print_text(dump);
    expect(text, "TASKS: 20,000 in 20,000 groups\n");
    expect(text, "… 19,970 more groups with 19,970 tasks are in the JSON\n");
    assert_true(count_lines(text) < 200);
    free(text);
    weft_dump_free(dump);
}

// ---- A million tasks, nearly all alike. ----

static void add_workers(weft_dump *dump, uint32_t count, uint32_t site)
{
    uint32_t stack = short_stack(dump, WORKER_MAIN_30);
    static const char *const tenants[] = {"tenant\0a", "tenant\0b",
                                          "tenant\0c"};
    uint32_t labels[3];

    for (int i = 0; i < 3; i++)
        labels[i] = maker_bytes(dump, tenants[i], 9);
    for (uint32_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "worker-%u", i);
        struct model_task *task =
            waiting(dump, 11 + i, name, (842 + i % 1621) * SECOND,
                    WEFT_WAIT_CHAN_RECV, stack);
        task->object = 1;
        task->parent = 1;
        task->site = site;
        task->labels = labels[i % 5 / 2];
        task->label_count = 1;
    }
}

static weft_dump *make_million(uint32_t count)
{
    weft_dump *dump = maker_new();
    uint32_t site = maker_site(dump, places[MAIN_TASK_61]);

    maker_object(dump, WEFT_OBJECT_MUTEX, "pool", 6, places[TRANSFER_41]);
    maker_object(dump, WEFT_OBJECT_CHANNEL, "jobs", 0, 0);
    waiting(dump, 1, "main", 2469 * SECOND, WEFT_WAIT_JOIN,
            short_stack(dump, MAIN_TASK_55))
        ->wait_task = 2;
    struct model_task *task =
        waiting(dump, 2, "dispatcher", 842 * SECOND, WEFT_WAIT_MUTEX,
                stack_of(dump, BALANCE_22, REQUEST_MAIN_118));
    task->object = 0;
    task->parent = 1;
    waiting(dump, 3, "listener", 2100000000, WEFT_WAIT_FD,
            short_stack(dump, ACCEPT_LOOP_31))
        ->wait_fd = 5;
    task = maker_task(dump, 6, "db-writer", WEFT_STATE_RUNNING, 842 * SECOND);
    task->worker = 0;
    task->stack = stack_of(dump, SUM_MONTH_203, REPORT_MAIN_41);
    task = waiting(dump, 8, "log-flush", 1800000000, WEFT_WAIT_SLEEP,
                   short_stack(dump, AUDIT_FLUSH_90));
    task->timeout_in_ns = 8200000000;
    add_workers(dump, count - 5, site);
    maker_worker(dump, WEFT_WORKER_MISSING, 6, 842 * SECOND);
    const uint32_t hog[] = {3};
    struct model_finding *finding =
        maker_finding(dump, WEFT_RULE_NO_YIELD, hog, NULL, 1, NULL, 0);
    finding->since_ns = 842 * SECOND;
    finding->threshold_ns = SECOND / 4;
    finding->worker = 0;
    maker_finish(dump);
    return dump;
}

static void million(void **state)
{
    weft_dump *dump = make_million(1000000);
    weft_print_options options = {.size = sizeof(options), .compact = true};

    (void)state;
    have_names(dump);
    int64_t start = port_now();
    char *text = print_text(dump);
    int64_t took = port_now() - start;
    print_message("# text of 1,000,000 tasks: %d ms, %zu lines\n",
                  (int)(took / 1000000), count_lines(text));
    assert_true(count_lines(text) <= 60);
    expect(text, "1,000,000 tasks: 1 running, 999,999 waiting · 1 worker\n");
    expect(text, "999,995  waiting  receive on channel \"jobs\"");
    expect(text, "999,995 × waiting 14m 2s … 41m 2s: receive on channel "
                 "\"jobs\"\n");
    expect(text, "  99.999 % of all tasks\n");
    expect(text, "oldest T11 \"worker-0\" · newest T1000005 "
                 "\"worker-999994\"\n");
    expect(text, "labels tenant=a 399,998  tenant=b 399,998  "
                 "tenant=c 199,999\n");
    expect(text, "stacks 61 GiB reserved (64 KiB each); deepest use 1,376 B\n");
    free(text);

    start = port_now();
    text = print(weft_dump_print_json, dump, &options);
    took = port_now() - start;
    print_message("# its JSON: %d ms, %zu bytes\n", (int)(took / 1000000),
                  strlen(text));
    assert_true(strlen(text) < 100000);
    expect(text, "\"tasks_complete\":false");
    free(text);
    validate(dump, NULL);
    weft_dump_free(dump);
}

static void all_tasks(void **state)
{
    weft_dump *dump = make_million(10100);
    weft_print_options options = {.size = sizeof(options), .all_tasks = true};

    (void)state;
    char *text = print(weft_dump_print_json, dump, &options);
    expect(text, "\"name\": \"worker-10094\"");
    expect(text, "\"tasks_complete\": true");
    free(text);
    validate(dump, &options);
    weft_dump_free(dump);
}

// ---- Errors. ----

static void bad_arguments(void **state)
{
    weft_dump *dump = maker_new();
    weft_print_options options = {.size = 3};

    (void)state;
    assert_int_equal(weft_dump_print_text(NULL, NULL, stdout), -EINVAL);
    assert_int_equal(weft_dump_print_text(dump, NULL, NULL), -EINVAL);
    assert_int_equal(weft_dump_print_text(dump, &options, stdout), -EINVAL);
    assert_int_equal(weft_dump_print_json(NULL, NULL, stdout), -EINVAL);
    assert_int_equal(weft_dump_print_json(dump, NULL, NULL), -EINVAL);
    assert_int_equal(weft_dump_print_json(dump, &options, stdout), -EINVAL);
    weft_dump_free(dump);
}

static void full_disk(void **state)
{
    weft_dump *dump = make_example();
    FILE *file = fopen("/dev/full", "w");

    (void)state;
    assert_non_null(file);
    setvbuf(file, NULL, _IONBF, 0);
    assert_int_equal(weft_dump_print_text(dump, NULL, file), -ENOSPC);
    assert_int_equal(weft_dump_print_json(dump, NULL, file), -ENOSPC);
    fclose(file);
    weft_dump_free(dump);
}

// ---- Times and sizes. ----

static void expect_time(int64_t ns, const char *expected)
{
    struct str str;

    str_init(&str, false, false);
    str_add_time(&str, ns);
    assert_int_equal(str.used, strlen(expected));
    assert_memory_equal(str.data, expected, str.used);
    str_deinit(&str);
}

static void times(void **state)
{
    (void)state;
    expect_time(-1, "0 ms");
    expect_time(0, "0 ms");
    expect_time(999, "0 ms");
    expect_time(1000, "<0.01 ms");
    expect_time(10000, "0.01 ms");
    expect_time(200000, "0.2 ms");
    expect_time(212000, "0.21 ms");
    expect_time(999999, "1 ms");
    expect_time(45000, "0.05 ms");
    expect_time(994999, "0.99 ms");
    expect_time(1000000, "1 ms");
    expect_time(9949999, "9.9 ms");
    expect_time(9999999, "10 ms");
    expect_time(61000000, "61 ms");
    expect_time(250000000, "250 ms");
    expect_time(812004000, "812 ms");
    expect_time(999499999, "999 ms");
    expect_time(999500000, "1 s");
    expect_time(59949999999, "59.9 s");
    expect_time(59999999999, "1m");
    expect_time(60 * SECOND, "1m");
    expect_time(754 * SECOND, "12m 34s");
    expect_time(3600 * SECOND, "1h");
    expect_time(86369 * SECOND, "23h 59m");
    expect_time(86399 * SECOND, "1d");
    expect_time(274260 * SECOND, "3d 4h");
    expect_time(INT64_MAX, "106752d");
}

int main(void)
{
    // Files are shown relative to where the program runs: where it was built.
    const char *tree = getenv("WEFT_TREE");

    if (tree && chdir(tree) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_text),    cmocka_unit_test(example_names),
        cmocka_unit_test(example_order),   cmocka_unit_test(example_json),
        cmocka_unit_test(ascii_and_color), cmocka_unit_test(empty),
        cmocka_unit_test(incomplete),      cmocka_unit_test(hostile),
        cmocka_unit_test(kinds),           cmocka_unit_test(rings),
        cmocka_unit_test(many_findings),   cmocka_unit_test(many_groups),
        cmocka_unit_test(million),         cmocka_unit_test(all_tasks),
        cmocka_unit_test(bad_arguments),   cmocka_unit_test(full_disk),
        cmocka_unit_test(times),
    };

    places_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
