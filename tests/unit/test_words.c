// test_words.c -- What findings say in words: titles, hints, chains, tasks.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "report/words.h"
#include "support/dump_maker.h"

static struct model_task *waiting(weft_dump *dump, uint64_t id,
                                  enum weft_wait_kind kind, uint32_t object)
{
    struct model_task *task =
        maker_task(dump, id, NULL, WEFT_STATE_WAITING, 5 * SECOND);

    task->wait = kind;
    task->object = object;
    return task;
}

static void expect_text(const struct str *str, const char *text)
{
    if (str->used != strlen(text) || memcmp(str->data, text, str->used) != 0)
        fail_msg("\"%.*s\", not \"%s\"", (int)str->used, str->data, text);
}

typedef void words_fn(struct str *str, const weft_dump *dump,
                      const struct model_finding *finding);

static void expect(words_fn *fn, const weft_dump *dump,
                   const struct model_finding *finding, const char *text)
{
    struct str str;

    str_init(&str, false, false);
    fn(&str, dump, finding);
    expect_text(&str, text);
    str_deinit(&str);
}

static void expect_doing(const weft_dump *dump, uint32_t task, const char *text)
{
    struct str str;

    str_init(&str, false, false);
    words_doing(&str, dump, task);
    expect_text(&str, text);
    str_deinit(&str);
}

static void expect_printed(const weft_dump *dump,
                           int (*fn)(const weft_dump *,
                                     const weft_print_options *, FILE *),
                           const char *part)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    assert_non_null(file);
    assert_int_equal(fn(dump, NULL, file), 0);
    assert_int_equal(fclose(file), 0);
    if (!strstr(text, part))
        fail_msg("missing: %s\nin:\n%s", part, text);
    free(text);
}

// ---- What a task is doing. ----

static void waits(void **state)
{
    static const struct {
        enum weft_wait_kind kind;
        const char *text;
    } cases[] = {
        {WEFT_WAIT_CHAN_SEND, "waits 5 s to send to channel \"jobs\""},
        {WEFT_WAIT_CHAN_RECV, "waits 5 s to receive from channel \"jobs\""},
        {WEFT_WAIT_JOIN, "waits 5 s for T77 to end"},
        {WEFT_WAIT_SCOPE, "waits 5 s for the children of its scope"},
        {WEFT_WAIT_SLEEP, "waits 5 s in a sleep"},
        {WEFT_WAIT_INTERVAL, "waits 5 s for the tick of an interval"},
        {WEFT_WAIT_WALL, "waits 5 s for a wall-clock time"},
        {WEFT_WAIT_FD, "waits 5 s to read from fd 9"},
        {WEFT_WAIT_DUMP, "waits 5 s for a dump"},
        {WEFT_WAIT_BLOCKING, "waits 5 s for a blocking call on another thread"},
    };
    enum { CASES = sizeof cases / sizeof *cases };
    weft_dump *dump = maker_new();

    (void)state;
    maker_object(dump, WEFT_OBJECT_CHANNEL, "jobs", 0, 0);
    maker_object(dump, WEFT_OBJECT_MUTEX, "pool", 0, 0);
    for (uint32_t i = 0; i < CASES; i++) {
        struct model_task *task =
            waiting(dump, i + 1, cases[i].kind, i < 2 ? 0 : WEFT_NONE);
        task->wait_task = 77;
        task->wait_fd = 9;
    }
    waiting(dump, 20, WEFT_WAIT_MUTEX, 1);
    waiting(dump, 21, WEFT_WAIT_MUTEX, WEFT_NONE); // it could not be read
    struct model_task *task = waiting(dump, 22, WEFT_WAIT_FD, WEFT_NONE);
    task->wait_write = true;
    task->wait_fd = 3;
    maker_finish(dump);
    for (uint32_t i = 0; i < CASES; i++)
        expect_doing(dump, i, cases[i].text);
    expect_doing(dump, CASES, "waits 5 s for mutex \"pool\"");
    expect_doing(dump, CASES + 1, "waits 5 s for something");
    expect_doing(dump, CASES + 2, "waits 5 s to write to fd 3");
    weft_dump_free(dump);
}

static void runs(void **state)
{
    weft_dump *dump = maker_new();

    (void)state;
    for (uint32_t i = 0; i < 3; i++)
        maker_task(dump, i + 1, NULL, WEFT_STATE_RUNNING, 3 * SECOND)->worker =
            i;
    maker_task(dump, 4, NULL, WEFT_STATE_READY, 2 * SECOND);
    maker_task(dump, 5, NULL, WEFT_STATE_NEW, SECOND);
    maker_task(dump, 6, NULL, WEFT_STATE_DONE, SECOND);
    maker_worker(dump, WEFT_WORKER_MISSING, 1, 3 * SECOND);
    maker_worker(dump, WEFT_WORKER_MISSING, 2, 3 * SECOND);
    dump->workers[1].in_syscall = true;
    dump->workers[1].syscall = SYS_nanosleep;
    dump->workers[1].syscall_fd = -1;
    dump->workers[1].syscall_ns = 2 * SECOND;
    maker_finish(dump);
    expect_doing(dump, 0, "has run for 3 s on worker 0 (tid 48217)");
    expect_doing(dump, 1,
                 "has run for 3 s on worker 1 (tid 48218), inside nanosleep "
                 "for 2 s");
    expect_doing(dump, 2, "has run for 3 s"); // its worker was not seen
    expect_doing(dump, 3, "is ready, and not run, for 2 s");
    expect_doing(dump, 4, "is ready, and not run, for 1 s");
    expect_doing(dump, 5, "has ended");
    weft_dump_free(dump);
}

// ---- Stalls. ----

// T1 and T2 wait for a pool held by T3, who waits to receive from jobs, whose
// last sender T4 joins T5, whose parent leaves its scope.
static weft_dump *make_stall(void)
{
    static const uint32_t chain[] = {2, 3, 4, 5},
                          objects[] = {1, WEFT_NONE, WEFT_NONE};
    weft_dump *dump = maker_new();

    maker_object(dump, WEFT_OBJECT_MUTEX, "pool", 3, 0);
    maker_object(dump, WEFT_OBJECT_CHANNEL, "jobs", 0, 0);
    dump->objects[1].receives = true;
    waiting(dump, 1, WEFT_WAIT_MUTEX, 0);
    waiting(dump, 2, WEFT_WAIT_MUTEX, 0);
    waiting(dump, 3, WEFT_WAIT_CHAN_RECV, 1);
    waiting(dump, 4, WEFT_WAIT_JOIN, WEFT_NONE)->wait_task = 5;
    waiting(dump, 5, WEFT_WAIT_SCOPE, WEFT_NONE);
    maker_task(dump, 6, "deaf", WEFT_STATE_RUNNING, 9 * SECOND)->worker = 0;
    maker_worker(dump, WEFT_WORKER_MISSING, 6, 9 * SECOND);
    struct model_finding *finding =
        maker_finding(dump, WEFT_RULE_STALL, chain, NULL, 4, NULL, 0);
    finding->objects = calloc(4, sizeof *finding->objects);
    assert_non_null(finding->objects);
    memcpy(finding->objects, objects, sizeof objects);
    finding->object = 0;
    finding->count = 2;
    finding->since_ns = 5 * SECOND;
    finding->threshold_ns = SECOND;
    maker_finish(dump);
    return dump;
}

static void chain(void **state)
{
    weft_dump *dump = make_stall();
    struct model_finding *finding = &dump->findings[0];

    (void)state;
    expect(words_title, dump, finding,
           "2 tasks wait for mutex \"pool\"; none got it for 5 s");
    expect(words_hint, dump, finding,
           "look what T6, the root of the chain, does");
    assert_string_equal(words_relation(dump, finding, 0), "held by");
    assert_string_equal(words_relation(dump, finding, 1), "last sender");
    assert_string_equal(words_relation(dump, finding, 2), "joined by it");
    assert_string_equal(words_relation(dump, finding, 3), "its child");
    dump->objects[1].receives = false; // what waits there now wants to send
    assert_string_equal(words_relation(dump, finding, 1), "last receiver");
    weft_dump_free(dump);
}

static void chain_is_printed(void **state)
{
    weft_dump *dump = make_stall();

    (void)state;
    expect_printed(
        dump, weft_dump_print_text,
        " STALL: 2 tasks wait for mutex \"pool\"; none got it for 5 s.\n"
        "     held by        T3  waits 5 s to receive from channel \"jobs\"\n");
    expect_printed(dump, weft_dump_print_text,
                   "     last sender    T4  waits 5 s for T5 to end\n");
    expect_printed(dump, weft_dump_print_text,
                   "     joined by it   T5  waits 5 s for the children of its "
                   "scope\n");
    expect_printed(dump, weft_dump_print_text,
                   "     its child      T6 \"deaf\"  has run for 9 s on worker "
                   "0 (tid 48217)\n");
    expect_printed(dump, weft_dump_print_text,
                   "     Root of the chain: T6.\n"
                   "     Hint: look what T6, the root of the chain, does.\n");
    expect_printed(dump, weft_dump_print_json,
                   "{\"task\": 4, \"relation\": \"last sender\", \"object\": ");
    expect_printed(dump, weft_dump_print_json,
                   "\"doing\": \"waits 5 s for T5 to end\"}");
    weft_dump_free(dump);
}

static void stalls(void **state)
{
    weft_dump *dump = make_stall();
    struct model_finding *finding = &dump->findings[0];

    (void)state;
    finding->task_count = 1;
    finding->count = 1;
    expect(words_title, dump, finding,
           "a task waits for mutex \"pool\"; none got it for 5 s");
    expect(words_hint, dump, finding,
           "look what T3 does while it holds mutex \"pool\"");
    finding->task_count = 0;
    expect(words_hint, dump, finding, "look who was to serve mutex \"pool\"");
    dump->objects[0].owner_tid = 4711;
    expect(words_hint, dump, finding,
           "look what thread 4711 does while it holds mutex \"pool\"");
    finding->object = 1;
    finding->count = 7;
    expect(words_title, dump, finding,
           "7 tasks wait to receive from channel \"jobs\"; nothing was sent "
           "for 5 s");
    dump->objects[1].receives = false;
    expect(words_title, dump, finding,
           "7 tasks wait to send to channel \"jobs\"; nothing was received "
           "for 5 s");
    weft_dump_free(dump);
}

// ---- The other rules. ----

static void all_asleep(void **state)
{
    static const uint32_t all[] = {0};
    weft_dump *dump = maker_new();

    (void)state;
    maker_object(dump, WEFT_OBJECT_EVENT, "go", 0, 0);
    waiting(dump, 1, WEFT_WAIT_EVENT, 0);
    struct model_finding *finding =
        maker_finding(dump, WEFT_RULE_ALL_ASLEEP, all, NULL, 1, NULL, 0);
    finding->since_ns = 5 * SECOND;
    maker_finish(dump);
    expect(words_title, dump, finding,
           "a task waits, and nothing is left to wake it");
    expect(words_hint, dump, finding,
           "look who was to wake them: a send, an unlock or a close is "
           "missing");
    expect_printed(dump, weft_dump_print_text, " ALL ASLEEP: ");
    finding->count = 3000;
    expect(words_title, dump, finding,
           "3,000 tasks wait, all there are, and nothing is left to wake one");
    weft_dump_free(dump);
}

static void ready(void **state)
{
    static const uint32_t late[] = {0};
    weft_dump *dump = maker_new();

    (void)state;
    maker_task(dump, 1, NULL, WEFT_STATE_READY, 8 * SECOND)->worker = 0;
    maker_task(dump, 2, NULL, WEFT_STATE_RUNNING, 8 * SECOND)->worker = 0;
    maker_worker(dump, WEFT_WORKER_MISSING, 2, 8 * SECOND);
    struct model_finding *finding =
        maker_finding(dump, WEFT_RULE_READY, late, NULL, 1, NULL, 0);
    finding->since_ns = 8 * SECOND;
    maker_finish(dump);
    expect(words_title, dump, finding, "a task is ready and not run, for 8 s");
    expect(words_hint, dump, finding,
           "look what the 1 worker does meanwhile, or have more of them");
    expect_printed(dump, weft_dump_print_text, "T1 ");
    finding->worker = 0;
    expect(words_hint, dump, finding,
           "look what T2 does on worker 0, in whose queue it is");
    finding->count = 40;
    expect(words_title, dump, finding,
           "40 tasks are ready and not run, the longest for 8 s");
    weft_dump_free(dump);
}

static void stacks_and_growth(void **state)
{
    static const uint32_t full[] = {0};
    weft_dump *dump = maker_new();

    (void)state;
    maker_task(dump, 1, NULL, WEFT_STATE_READY, SECOND)->stack_used = 65000;
    maker_site(dump, (uintptr_t)stacks_and_growth);
    struct model_finding *stack =
        maker_finding(dump, WEFT_RULE_STACK, full, NULL, 1, NULL, 0);
    expect(words_title, dump, stack, "a task has nearly filled its stack");
    expect(words_hint, dump, stack,
           "look for a recursion or large locals, or give it a greater "
           "stack_size");
    stack->count = 2;
    expect(words_title, dump, stack, "2 tasks have nearly filled their stacks");
    struct model_finding *growth =
        maker_finding(dump, WEFT_RULE_GROWTH, full, NULL, 0, NULL, 0);
    growth->site = 0;
    growth->count = 1200;
    growth->figure = 200;
    growth->since_ns = 60 * SECOND;
    maker_finish(dump);
    expect(words_title, dump, growth,
           "1,200 tasks of one spawn site are alive, 1,000 more than 1m "
           "before");
    expect_printed(dump, weft_dump_print_json, "\"spawn_site\": 0");
    weft_dump_free(dump);
}

static void lost_peer(void **state)
{
    static const uint32_t first[] = {0};
    weft_dump *dump = maker_new();

    (void)state;
    maker_object(dump, WEFT_OBJECT_CHANNEL, "jobs", 0, 0);
    dump->objects[0].receives = true;
    waiting(dump, 1, WEFT_WAIT_CHAN_RECV, 0);
    struct model_finding *finding =
        maker_finding(dump, WEFT_RULE_LOST_PEER, first, NULL, 1, NULL, 0);
    finding->object = 0;
    finding->lost = 12;
    maker_finish(dump);
    expect(words_title, dump, finding,
           "a task waits to receive from channel \"jobs\", whose only sender "
           "has ended");
    expect(words_hint, dump, finding,
           "look whether T12 ended too early, or was to call "
           "weft_channel_close");
    dump->objects[0].kind = WEFT_OBJECT_BROADCAST;
    expect(words_title, dump, finding,
           "a task waits to receive from broadcast \"jobs\", whose only sender "
           "has ended");
    expect(words_hint, dump, finding,
           "look whether T12 ended too early, or was to call "
           "weft_broadcast_close");
    dump->objects[0].kind = WEFT_OBJECT_WATCH;
    expect(words_hint, dump, finding,
           "look whether T12 ended too early, or was to call "
           "weft_watch_close");
    dump->objects[0].kind = WEFT_OBJECT_CHANNEL;
    dump->objects[0].receives = false;
    expect(words_title, dump, finding,
           "a task waits to send to channel \"jobs\", whose only receiver has "
           "ended");
    weft_dump_free(dump);
}

// ---- Deadlocks. ----

static void deadlocks(void **state)
{
    static const uint32_t three[] = {0, 1, 2}, mutexes[] = {0, 1, 2};
    weft_dump *dump = maker_new();

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        maker_object(dump, WEFT_OBJECT_MUTEX, NULL, i + 1, 0);
        waiting(dump, i + 1, WEFT_WAIT_MUTEX, (i + 1) % 3);
    }
    maker_object(dump, WEFT_OBJECT_CHANNEL, "jobs", 0, 0);
    struct model_finding *finding =
        maker_finding(dump, WEFT_RULE_DEADLOCK, three, mutexes, 3, NULL, 0);
    maker_finish(dump);
    expect(words_title, dump, finding, "3 tasks wait for each other");
    expect(words_hint, dump, finding,
           "lock them in one order everywhere: that makes no circle");
    finding->objects[1] = 3; // T2 waits on a channel, holding a mutex
    dump->tasks[1].wait = WEFT_WAIT_CHAN_SEND;
    dump->tasks[1].object = 3;
    expect(words_hint, dump, finding,
           "look whether T2 must hold mutex 0x55d0c1a2e0c0 while it waits to "
           "send to channel \"jobs\"");
    finding->objects[0] = finding->objects[1] = finding->objects[2] = 3;
    expect(words_hint, dump, finding,
           "look who else was to serve channel \"jobs\", or who was to close "
           "it");
    finding->objects[0] = finding->objects[1] = finding->objects[2] = WEFT_NONE;
    expect(words_hint, dump, finding,
           "look which of them should not wait for the next");
    finding->task_count = 2;
    finding->objects[0] = 0;
    finding->objects[1] = 1;
    expect(words_hint, dump, finding,
           "T1 locks 0x55d0c1a2e100 then 0x55d0c1a2e0c0; T2 locks "
           "0x55d0c1a2e0c0 then 0x55d0c1a2e100");
    finding->task_count = 1;
    expect(words_title, dump, finding, "a task waits for itself");
    weft_dump_free(dump);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits),     cmocka_unit_test(runs),
        cmocka_unit_test(chain),     cmocka_unit_test(chain_is_printed),
        cmocka_unit_test(stalls),    cmocka_unit_test(all_asleep),
        cmocka_unit_test(ready),     cmocka_unit_test(stacks_and_growth),
        cmocka_unit_test(lost_peer), cmocka_unit_test(deadlocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
