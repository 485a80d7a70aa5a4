// test_access.c -- The public calls that read a dump.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "support/dump_maker.h"

// Two tasks that wait for each other's mutex, one behind them, one that runs.
static weft_dump *make_example(void)
{
    static const uint32_t cycle[] = {1, 2}, objects[] = {1, 0}, behind[] = {0};
    static const uint32_t hog[] = {3};
    static const char *const names[] = {"conn", "transfer 1", "transfer 2"};
    static const uint32_t waits_for[] = {0, 1, 0};
    weft_dump *dump = maker_new();

    maker_object(dump, WEFT_OBJECT_MUTEX, "accounts", 7, 0x1000);
    maker_object(dump, WEFT_OBJECT_MUTEX, "audit", 9, 0x2000);
    for (uint32_t i = 0; i < 3; i++) {
        struct model_task *task =
            maker_task(dump, 5 + 2 * i, names[i], WEFT_STATE_WAITING, SECOND);
        task->wait = WEFT_WAIT_MUTEX;
        task->object = waits_for[i];
    }
    maker_task(dump, 4, NULL, WEFT_STATE_RUNNING, SECOND)->worker = 0;
    maker_worker(dump, WEFT_WORKER_MISSING, 4, SECOND);
    maker_site(dump, 0x3000);
    maker_stack(dump, (const uintptr_t[]){0x4000, 0x5000}, 2);
    maker_finding(dump, WEFT_RULE_DEADLOCK, cycle, objects, 2, behind, 1);
    maker_finding(dump, WEFT_RULE_NO_YIELD, hog, NULL, 1, NULL, 0)->worker = 0;
    maker_finish(dump);
    return dump;
}

static void info(void **state)
{
    weft_dump *dump = make_example();
    weft_dump_info about;

    (void)state;
    assert_int_equal(weft_dump_get_info(dump, &about), 0);
    assert_int_equal(about.tasks, 4);
    assert_int_equal(about.workers, 1);
    assert_int_equal(about.stacks, 1);
    assert_int_equal(about.objects, 2);
    assert_int_equal(about.sites, 1);
    assert_int_equal(about.findings, 2);
    assert_int_equal(about.pid, 48213);
    assert_string_equal(about.runtime, "weft");
    assert_null(about.problem);
    assert_true(about.complete && about.consistent);
    assert_int_equal(weft_dump_get_info(NULL, &about), -EINVAL);
    assert_int_equal(weft_dump_get_info(dump, NULL), -EINVAL);
    weft_dump_free(dump);
}

static void tasks(void **state)
{
    weft_dump *dump = make_example();
    weft_dump_task task;
    size_t index;
    uint32_t held;

    (void)state;
    assert_int_equal(weft_dump_find_task(dump, 9, &index), 0);
    assert_int_equal(weft_dump_get_task(dump, index, &task), 0);
    assert_int_equal(task.id, 9);
    assert_string_equal(task.name, "transfer 2");
    assert_int_equal(task.wait, WEFT_WAIT_MUTEX);
    assert_int_equal(task.object, 0);
    assert_int_equal(task.holds, 1);
    assert_int_equal(weft_dump_get_held(dump, index, 0, &held), 0);
    assert_int_equal(held, 1);
    assert_int_equal(weft_dump_get_held(dump, index, 1, &held), -ENOENT);
    assert_int_equal(weft_dump_get_held(dump, 4, 0, &held), -ENOENT);
    assert_int_equal(weft_dump_find_task(dump, 4, &index), 0);
    assert_int_equal(weft_dump_get_task(dump, index, &task), 0);
    assert_null(task.name);
    assert_int_equal(task.stack, WEFT_NONE);
    assert_int_equal(weft_dump_find_task(dump, 99, &index), -ENOENT);
    assert_int_equal(weft_dump_find_task(dump, 0, &index), -ENOENT);
    assert_int_equal(weft_dump_get_task(dump, 4, &task), -ENOENT);
    assert_int_equal(weft_dump_get_task(NULL, 0, &task), -EINVAL);
    weft_dump_free(dump);
}

static void objects(void **state)
{
    weft_dump *dump = make_example();
    weft_dump_object object;
    uint64_t id;

    (void)state;
    assert_int_equal(weft_dump_get_object(dump, 0, &object), 0);
    assert_string_equal(object.name, "accounts");
    assert_int_equal(object.owner, 7);
    assert_int_equal(object.taken_pc, 0x1000);
    assert_int_equal(object.waiters, 2);
    assert_int_equal(weft_dump_get_waiter(dump, 0, 1, &id), 0);
    assert_int_equal(id, 9);
    assert_int_equal(weft_dump_get_waiter(dump, 0, 2, &id), -ENOENT);
    assert_int_equal(weft_dump_get_waiter(dump, 2, 0, &id), -ENOENT);
    assert_int_equal(weft_dump_get_object(dump, 2, &object), -ENOENT);
    assert_int_equal(weft_dump_get_object(dump, 0, NULL), -EINVAL);
    weft_dump_free(dump);
}

static void places(void **state)
{
    weft_dump *dump = make_example();
    weft_dump_worker worker;
    const uintptr_t *pcs;
    size_t count;
    enum weft_stack_end end;
    const char *error;
    uintptr_t pc;

    (void)state;
    assert_int_equal(weft_dump_get_stack(dump, 0, &pcs, &count, &end, &error),
                     0);
    assert_int_equal(count, 2);
    assert_int_equal(pcs[0], 0x4000);
    assert_int_equal(pcs[1], 0x5000);
    assert_int_equal(end, WEFT_STACK_WHOLE);
    assert_null(error);
    assert_int_equal(weft_dump_get_stack(dump, 1, &pcs, &count, &end, &error),
                     -ENOENT);
    assert_int_equal(weft_dump_get_site(dump, 0, &pc), 0);
    assert_int_equal(pc, 0x3000);
    assert_int_equal(weft_dump_get_site(dump, 1, &pc), -ENOENT);
    assert_int_equal(weft_dump_get_worker(dump, 0, &worker), 0);
    assert_int_equal(worker.task, 4);
    assert_int_equal(worker.state, WEFT_WORKER_MISSING);
    assert_int_equal(weft_dump_get_worker(dump, 1, &worker), -ENOENT);
    weft_dump_free(dump);
}

static void findings(void **state)
{
    weft_dump *dump = make_example();
    weft_dump_finding finding;
    uint64_t id;
    uint32_t held;

    (void)state;
    assert_int_equal(weft_dump_get_finding(dump, 0, &finding), 0);
    assert_int_equal(finding.rule, WEFT_RULE_DEADLOCK);
    assert_int_equal(finding.tasks, 2);
    assert_int_equal(finding.behind, 1);
    // Each holds what the one before it in the circle waits for.
    assert_int_equal(weft_dump_get_finding_task(dump, 0, 0, &id, &held), 0);
    assert_int_equal(id, 7);
    assert_int_equal(held, 0);
    assert_int_equal(weft_dump_get_finding_task(dump, 0, 1, &id, &held), 0);
    assert_int_equal(id, 9);
    assert_int_equal(held, 1);
    assert_int_equal(weft_dump_get_finding_task(dump, 0, 2, &id, &held),
                     -ENOENT);
    assert_int_equal(weft_dump_get_finding_task(dump, 1, 0, &id, &held), 0);
    assert_int_equal(id, 4);
    assert_int_equal(held, WEFT_NONE);
    assert_int_equal(weft_dump_get_finding_behind(dump, 0, 0, &id), 0);
    assert_int_equal(id, 5);
    assert_int_equal(weft_dump_get_finding_behind(dump, 0, 1, &id), -ENOENT);
    assert_int_equal(weft_dump_get_finding(dump, 2, &finding), -ENOENT);
    weft_dump_free(dump);
}

// Ids in any order, among 100,000.
static void ids(void **state)
{
    weft_dump *dump = maker_new();
    size_t index;

    (void)state;
    for (uint64_t i = 0; i < 100000; i++)
        maker_task(dump, (i * 7919 % 100003 + 1) << (i % 3 * 20), NULL,
                   WEFT_STATE_READY, 0);
    for (size_t i = 0; i < 100000; i++) {
        assert_int_equal(weft_dump_find_task(dump, dump->tasks[i].id, &index),
                         0);
        assert_int_equal(dump->tasks[index].id, dump->tasks[i].id);
    }
    assert_int_equal(weft_dump_find_task(dump, UINT64_MAX, &index), -ENOENT);
    weft_dump_free(dump);
}

static void labels(void **state)
{
    weft_dump *dump = maker_new();
    const char *key, *value;
    struct model_task *task =
        maker_task(dump, 1, NULL, WEFT_STATE_READY, SECOND);

    (void)state;
    task->labels = maker_bytes(dump, "a\0one\0b\0\0", 9);
    task->label_count = 2;
    assert_int_equal(weft_dump_get_label(dump, 0, 0, &key, &value), 0);
    assert_string_equal(key, "a");
    assert_string_equal(value, "one");
    assert_int_equal(weft_dump_get_label(dump, 0, 1, &key, &value), 0);
    assert_string_equal(key, "b");
    assert_string_equal(value, "");
    assert_int_equal(weft_dump_get_label(dump, 0, 2, &key, &value), -ENOENT);
    weft_dump_free(dump);
}

static void threads(void **state)
{
    weft_dump *dump = make_example();
    weft_dump_thread thread;
    weft_dump_info about;

    (void)state;
    assert_int_equal(weft_dump_get_thread(dump, 0, &thread), -ENOENT);
    dump->threads = calloc(2, sizeof *dump->threads);
    assert_non_null(dump->threads);
    dump->thread_count = 2;
    dump->threads[1].shown = (weft_dump_thread){
        .tid = 77, .state = WEFT_THREAD_CALLING, .task = 4, .syscall_fd = -1};
    dump->threads[1].fd_name = strdup("pipe:[1]");
    assert_int_equal(weft_dump_get_info(dump, &about), 0);
    assert_int_equal(about.threads, 2);
    assert_int_equal(weft_dump_get_thread(dump, 1, &thread), 0);
    assert_int_equal(thread.tid, 77);
    assert_int_equal(thread.task, 4);
    assert_int_equal(weft_dump_get_thread(dump, 2, &thread), -ENOENT);
    assert_int_equal(weft_dump_get_thread(NULL, 0, &thread), -EINVAL);
    assert_int_equal(weft_dump_get_thread(dump, 0, NULL), -EINVAL);
    weft_dump_free(dump);
}

// A dump is freed by the last of those who hold it.
static void shared(void **state)
{
    weft_dump *dump = make_example();
    weft_dump_info about;

    (void)state;
    add_relaxed(&dump->references, 1);
    weft_dump_free(dump);
    assert_int_equal(weft_dump_get_info(dump, &about), 0);
    assert_int_equal(about.tasks, 4);
    weft_dump_free(dump);
}

// ---- Nothing to read from, or nowhere to put it. ----

static void no_dump(void **state)
{
    const char *key, *value;
    const uintptr_t *pcs;
    enum weft_stack_end end;
    uint64_t task;
    uint32_t object;
    uintptr_t pc;
    size_t index;

    (void)state;
    assert_int_equal(weft_dump_find_task(NULL, 5, &index), -EINVAL);
    assert_int_equal(weft_dump_get_label(NULL, 0, 0, &key, &value), -EINVAL);
    assert_int_equal(weft_dump_get_held(NULL, 0, 0, &object), -EINVAL);
    assert_int_equal(weft_dump_get_object(NULL, 0, &(weft_dump_object){0}),
                     -EINVAL);
    assert_int_equal(weft_dump_get_waiter(NULL, 0, 0, &task), -EINVAL);
    assert_int_equal(weft_dump_get_holder(NULL, 0, 0, &task), -EINVAL);
    assert_int_equal(weft_dump_get_worker(NULL, 0, &(weft_dump_worker){0}),
                     -EINVAL);
    assert_int_equal(weft_dump_get_thread(NULL, 0, &(weft_dump_thread){0}),
                     -EINVAL);
    assert_int_equal(weft_dump_get_stack(NULL, 0, &pcs, &index, &end, &key),
                     -EINVAL);
    assert_int_equal(weft_dump_get_site(NULL, 0, &pc), -EINVAL);
    assert_int_equal(weft_dump_get_finding(NULL, 0, &(weft_dump_finding){0}),
                     -EINVAL);
    assert_int_equal(weft_dump_get_finding_task(NULL, 0, 0, &task, &object),
                     -EINVAL);
    assert_int_equal(weft_dump_get_finding_behind(NULL, 0, 0, &task), -EINVAL);
    weft_dump_free(NULL);
}

static void no_result(void **state)
{
    weft_dump *dump = make_example();
    const char *text;
    const uintptr_t *pcs;
    enum weft_stack_end end;
    uint64_t task;
    uint32_t object;
    size_t count;

    (void)state;
    assert_int_equal(weft_dump_find_task(dump, 5, NULL), -EINVAL);
    assert_int_equal(weft_dump_get_label(dump, 0, 0, NULL, &text), -EINVAL);
    assert_int_equal(weft_dump_get_label(dump, 0, 0, &text, NULL), -EINVAL);
    assert_int_equal(weft_dump_get_held(dump, 0, 0, NULL), -EINVAL);
    assert_int_equal(weft_dump_get_object(dump, 0, NULL), -EINVAL);
    assert_int_equal(weft_dump_get_waiter(dump, 0, 0, NULL), -EINVAL);
    assert_int_equal(weft_dump_get_holder(dump, 0, 0, NULL), -EINVAL);
    assert_int_equal(weft_dump_get_worker(dump, 0, NULL), -EINVAL);
    assert_int_equal(weft_dump_get_thread(dump, 0, NULL), -EINVAL);
    assert_int_equal(weft_dump_get_stack(dump, 0, NULL, &count, &end, &text),
                     -EINVAL);
    assert_int_equal(weft_dump_get_stack(dump, 0, &pcs, NULL, &end, &text),
                     -EINVAL);
    assert_int_equal(weft_dump_get_stack(dump, 0, &pcs, &count, NULL, &text),
                     -EINVAL);
    assert_int_equal(weft_dump_get_site(dump, 0, NULL), -EINVAL);
    assert_int_equal(weft_dump_get_finding(dump, 0, NULL), -EINVAL);
    assert_int_equal(weft_dump_get_finding_task(dump, 0, 0, NULL, &object),
                     -EINVAL);
    assert_int_equal(weft_dump_get_finding_task(dump, 0, 0, &task, NULL),
                     -EINVAL);
    assert_int_equal(weft_dump_get_finding_behind(dump, 0, 0, NULL), -EINVAL);
    weft_dump_free(dump);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(info),      cmocka_unit_test(tasks),
        cmocka_unit_test(objects),   cmocka_unit_test(places),
        cmocka_unit_test(findings),  cmocka_unit_test(ids),
        cmocka_unit_test(labels),    cmocka_unit_test(threads),
        cmocka_unit_test(shared),    cmocka_unit_test(no_dump),
        cmocka_unit_test(no_result),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
