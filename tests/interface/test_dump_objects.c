// test_dump_objects.c -- What a dump tells of each kind of object: who waits
// for it and who holds it; and deadlocks through them.
#include <errno.h>

#include "support/dumps.h"

static weft_event stay = WEFT_EVENT_INIT("stay");

static void until_stay_is_set(void)
{
    expect_is(weft_event_wait(&stay, WEFT_NEVER), 0);
}

static void *wait_for_stay(void *arg)
{
    until_stay_is_set();
    return arg;
}

static weft_dump_object object_of(const weft_dump *dump, weft_task task)
{
    return object_at(dump, task_of(dump, task).object);
}

// A task that waits, for what it is expected to.
static weft_dump_object waits(const weft_dump *dump, weft_task handle,
                              enum weft_wait_kind wait,
                              enum weft_object_kind kind, const char *name)
{
    weft_dump_task task = task_of(dump, handle);
    weft_dump_object object = object_at(dump, task.object);
    uint64_t id = 0;
    bool listed = false;

    expect_is(task.state, WEFT_STATE_WAITING);
    expect_is(task.wait, wait);
    expect_is(object.kind, kind);
    expect_text(object.name, name);
    for (size_t i = 0; i < object.waiters; i++) {
        expect_is(weft_dump_get_waiter(dump, task.object, i, &id), 0);
        listed = listed || id == task.id;
    }
    expect(listed);
    return object;
}

static bool holds(const weft_dump *dump, weft_task handle, uint32_t object)
{
    weft_dump_task task = task_of(dump, handle);
    size_t at;
    uint32_t held;

    expect_is(weft_dump_find_task(dump, task.id, &at), 0);
    for (size_t i = 0; i < task.holds; i++) {
        expect_is(weft_dump_get_held(dump, at, i, &held), 0);
        if (held == object)
            return true;
    }
    return false;
}

static bool is_holder(const weft_dump *dump, uint32_t object, weft_task handle)
{
    uint64_t id;

    for (size_t i = 0; i < object_at(dump, object).holders; i++) {
        expect_is(weft_dump_get_holder(dump, object, i, &id), 0);
        if (id == task_of(dump, handle).id)
            return true;
    }
    return false;
}

static char *text_of(const weft_dump *dump, bool json)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    expect(file != NULL);
    expect_is(
        (json ? weft_dump_print_json : weft_dump_print_text)(dump, NULL, file),
        0);
    expect_is(fclose(file), 0);
    return text;
}

static void expect_said(const weft_dump *dump, bool json, const char *words)
{
    char *text = text_of(dump, json);

    if (strstr(text, words) == NULL) {
        fprintf(stderr, "not said: %s\n%s\n", words, text);
        abort();
    }
    free(text);
}

// The document by the schema and against itself.
static void validate(const weft_dump *dump)
{
    const char *source = getenv("WEFT_SOURCE");
    char path[] = "/tmp/weft-objects-XXXXXX";
    char command[4096];

    if (source == NULL || system("python3 -c 'import jsonschema' 2>&-") != 0)
        return;
    FILE *file = fdopen(mkstemp(path), "w");
    expect(file != NULL);
    expect_is(weft_dump_print_json(dump, NULL, file), 0);
    expect_is(fclose(file), 0);
    snprintf(command, sizeof command,
             "python3 -B '%s/tools/validate_dump.py' %s >&2", source, path);
    expect_is(system(command), 0);
    unlink(path);
}

// Waits until `count` tasks wait, and takes the dump that shows it.
static weft_dump *all_waiting(weft_runtime *runtime, size_t count)
{
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, count);

    validate(dump);
    return dump;
}

static void let_go(weft_runtime *runtime, weft_dump *dump,
                   const weft_task *tasks, int count)
{
    weft_dump_free(dump);
    expect_is(weft_event_set(&stay), 0);
    for (int i = 0; i < count; i++)
        (void)join(tasks[i]);
    expect_is(weft_event_reset(&stay), 0);
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- Read-write locks. ----

static weft_rwlock routes = WEFT_RWLOCK_INIT("routes");
static weft_rwlock maps[7];

static void *read_routes(void *arg)
{
    (void)arg;
    expect_is(weft_rwlock_lock_read(&routes, WEFT_NEVER), 0);
    until_stay_is_set();
    expect_is(weft_rwlock_unlock(&routes), 0);
    return NULL;
}

static void *write_routes(void *arg)
{
    int64_t until = weft_time_after(3600 * WEFT_SECOND);

    (void)arg;
    expect_is(weft_rwlock_lock_write(&routes, until), 0);
    expect_is(weft_rwlock_unlock(&routes), 0);
    return NULL;
}

static void test_readers_hold_it_together(void **state)
{
    (void)state;
    weft_runtime *runtime = start(2);
    weft_task tasks[5];

    for (int i = 0; i < 3; i++)
        tasks[i] = spawn(runtime, "reader", read_routes, NULL);
    weft_dump_free(all_waiting(runtime, 3));
    tasks[3] = spawn(runtime, "writer", write_routes, NULL);
    weft_dump_free(all_waiting(runtime, 4));
    tasks[4] = spawn(runtime, "late", read_routes, NULL);
    weft_dump *dump = all_waiting(runtime, 5);
    uint32_t index = task_of(dump, tasks[3]).object;
    weft_dump_object object = waits(dump, tasks[3], WEFT_WAIT_RWLOCK_WRITE,
                                    WEFT_OBJECT_RWLOCK, "routes");
    waits(dump, tasks[4], WEFT_WAIT_RWLOCK_READ, WEFT_OBJECT_RWLOCK, "routes");
    expect_is(object.owner, 0);
    expect_is(object.used, 3);
    expect_is(object.holders, 3);
    expect_is(object.waiters, 2);
    for (int i = 0; i < 3; i++) {
        expect(holds(dump, tasks[i], index));
        expect(is_holder(dump, index, tasks[i]));
    }
    expect(!holds(dump, tasks[4], index)); // it only waits
    expect(!is_holder(dump, index, tasks[4]));
    int64_t left = task_of(dump, tasks[3]).timeout_in_ns;
    expect(left > 0 && left <= 3600 * WEFT_SECOND);
    expect_said(dump, false, "write lock on rwlock \"routes\" held by T");
    expect_said(dump, false, "read lock on rwlock \"routes\" held by T");
    expect_said(dump, true, "\"rwlock_write\"");
    expect_said(dump, true, "\"rwlock_read\"");
    let_go(runtime, dump, tasks, 5);
}

static int write_line;

static void *write_and_stay(void *arg)
{
    (void)arg;
    write_line = __LINE__ + 1;
    expect_is(weft_rwlock_lock_write(&routes, WEFT_NEVER), 0);
    until_stay_is_set();
    expect_is(weft_rwlock_unlock(&routes), 0);
    return NULL;
}

static void test_a_writer_holds_it_alone(void **state)
{
    (void)state;
    weft_runtime *runtime = start(2);
    weft_task tasks[2];

    tasks[0] = spawn(runtime, "writer", write_and_stay, NULL);
    weft_dump_free(all_waiting(runtime, 1));
    tasks[1] = spawn(runtime, "reader", read_routes, NULL);
    weft_dump *dump = all_waiting(runtime, 2);
    weft_dump_object object = waits(dump, tasks[1], WEFT_WAIT_RWLOCK_READ,
                                    WEFT_OBJECT_RWLOCK, "routes");
    weft_frame frame = place_at(dump, object.taken_pc);
    expect_is(object.owner, id_of(dump, tasks[0]));
    expect_is(object.holders, 1);
    expect_is(object.used, 0);
    expect_text(frame.function, "write_and_stay");
    expect(frame.line == 0 || frame.line == write_line);
    expect(holds(dump, tasks[0], task_of(dump, tasks[1]).object));
    let_go(runtime, dump, tasks, 2);
}

// More than a task has records at hand for.
static void *read_all_maps(void *arg)
{
    (void)arg;
    for (int i = 0; i < 7; i++)
        expect_is(weft_rwlock_lock_read(&maps[i], WEFT_NEVER), 0);
    until_stay_is_set();
    for (int i = 0; i < 7; i++)
        expect_is(weft_rwlock_unlock(&maps[i]), 0);
    return NULL;
}

static void test_many_held_by_one(void **state)
{
    (void)state;
    weft_runtime *runtime = start(1);

    for (int i = 0; i < 7; i++)
        expect_is(weft_rwlock_init(&maps[i], "map"), 0);
    weft_task task = spawn(runtime, "reader", read_all_maps, NULL);
    weft_dump *dump = all_waiting(runtime, 1);
    expect_is(task_of(dump, task).holds, 7);
    expect_is(info_of(dump).objects, 8); // and the event
    let_go(runtime, dump, &task, 1);
}

// ---- A thread as holder. ----

static weft_mutex door = WEFT_MUTEX_INIT("door");

static void *pass_door(void *arg)
{
    expect_is(weft_mutex_lock(&door, WEFT_NEVER), 0);
    expect_is(weft_mutex_unlock(&door), 0);
    return arg;
}

static void test_a_thread_holds_it(void **state)
{
    (void)state;
    weft_runtime *runtime = start(1);
    weft_task tasks[2];
    char words[64];

    expect_is(weft_mutex_lock(&door, WEFT_NEVER), 0);
    expect_is(weft_rwlock_lock_read(&routes, WEFT_NEVER), 0);
    tasks[0] = spawn(runtime, NULL, pass_door, NULL);
    tasks[1] = spawn(runtime, NULL, write_routes, NULL);
    weft_dump *dump = all_waiting(runtime, 2);
    weft_dump_object object =
        waits(dump, tasks[0], WEFT_WAIT_MUTEX, WEFT_OBJECT_MUTEX, "door");
    expect_is(object.owner, 0);
    expect_is(object.holders, 0);
    expect_is(object.owner_tid, gettid());
    expect_text(place_at(dump, object.taken_pc).function,
                "test_a_thread_holds_it");
    snprintf(words, sizeof words, "mutex \"door\" held by thread %d", gettid());
    expect_said(dump, false, words);
    object = waits(dump, tasks[1], WEFT_WAIT_RWLOCK_WRITE, WEFT_OBJECT_RWLOCK,
                   "routes");
    expect_is(object.used, 1);
    expect_is(object.holders, 0);
    expect_said(dump, false, "held by 1 reader outside any task");
    expect_is(weft_mutex_unlock(&door), 0);
    expect_is(weft_rwlock_unlock(&routes), 0);
    let_go(runtime, dump, tasks, 2);
}

// ---- Semaphores. ----

static weft_semaphore single = WEFT_SEMAPHORE_INIT("single", 1);
static weft_semaphore many = WEFT_SEMAPHORE_INIT("many", 5);

static void *take_single(void *arg)
{
    expect_is(weft_semaphore_acquire(&single, 1, WEFT_NEVER), 0);
    until_stay_is_set();
    expect_is(weft_semaphore_release(&single, 1), 0);
    return arg;
}

static void *take_three(void *arg)
{
    expect_is(weft_semaphore_acquire(&many, 3, WEFT_NEVER), 0);
    until_stay_is_set();
    expect_is(weft_semaphore_release(&many, 3), 0);
    return arg;
}

static void test_semaphores(void **state)
{
    (void)state;
    weft_runtime *runtime = start(2);
    weft_task tasks[4];

    tasks[0] = spawn(runtime, "taker", take_single, NULL);
    tasks[2] = spawn(runtime, "three", take_three, NULL);
    weft_dump_free(all_waiting(runtime, 2));
    tasks[1] = spawn(runtime, "asker", take_single, NULL);
    tasks[3] = spawn(runtime, "three more", take_three, NULL);
    weft_dump *dump = all_waiting(runtime, 4);
    weft_dump_object object = waits(dump, tasks[1], WEFT_WAIT_SEMAPHORE,
                                    WEFT_OBJECT_SEMAPHORE, "single");
    expect_is(object.owner, id_of(dump, tasks[0]));
    expect_text(place_at(dump, object.taken_pc).function, "take_single");
    expect(object.used == 1 && object.limit == 1);
    expect(holds(dump, tasks[0], task_of(dump, tasks[1]).object));
    object = waits(dump, tasks[3], WEFT_WAIT_SEMAPHORE, WEFT_OBJECT_SEMAPHORE,
                   "many");
    expect(object.owner == 0 && object.holders == 0);
    expect(object.used == 3 && object.limit == 5);
    expect_said(dump, false, "semaphore \"single\" (1 of 1 used) held by T");
    expect_said(dump, false, "semaphore \"many\" (3 of 5 used)");
    let_go(runtime, dump, tasks, 4);
}

// ---- The others. ----

static weft_cond changed = WEFT_COND_INIT("changed");
static weft_barrier step = WEFT_BARRIER_INIT("step", 3);
static weft_once tables = WEFT_ONCE_INIT("tables");
static weft_waitgroup parts = WEFT_WAITGROUP_INIT("parts");

static void *wait_for_change(void *arg)
{
    expect_is(weft_mutex_lock(&door, WEFT_NEVER), 0);
    expect_is(weft_cond_wait(&changed, &door, WEFT_NEVER), 0);
    expect_is(weft_mutex_unlock(&door), 0);
    return arg;
}

static void *wait_at_step(void *arg)
{
    expect(weft_barrier_wait(&step, WEFT_NEVER) >= 0);
    return arg;
}

static int make_tables(void *arg)
{
    (void)arg;
    until_stay_is_set();
    return 0;
}

static void *need_tables(void *arg)
{
    expect_is(weft_once_run(&tables, make_tables, NULL, WEFT_NEVER), 0);
    return arg;
}

static void *wait_for_parts(void *arg)
{
    expect_is(weft_waitgroup_wait(&parts, WEFT_NEVER), 0);
    return arg;
}

static void check_others(const weft_dump *dump, const weft_task *tasks)
{
    weft_dump_object object;

    object = waits(dump, tasks[0], WEFT_WAIT_EVENT, WEFT_OBJECT_EVENT, "stay");
    expect_is(object.used, 0);
    object = waits(dump, tasks[1], WEFT_WAIT_ONCE, WEFT_OBJECT_ONCE, "tables");
    expect_is(object.owner, id_of(dump, tasks[0]));
    expect_text(place_at(dump, object.taken_pc).function, "need_tables");
    object = waits(dump, tasks[2], WEFT_WAIT_COND, WEFT_OBJECT_COND, "changed");
    expect_is(object.owner, 0);
    object =
        waits(dump, tasks[3], WEFT_WAIT_BARRIER, WEFT_OBJECT_BARRIER, "step");
    expect(object.used == 1 && object.limit == 3);
    object = waits(dump, tasks[4], WEFT_WAIT_WAITGROUP, WEFT_OBJECT_WAITGROUP,
                   "parts");
    expect_is(object.used, 2);
    expect_said(dump, false, ": event \"stay\"");
    expect_said(dump, false, ": once \"tables\" held by T");
    expect_said(dump, false, ": condition \"changed\"");
    expect_said(dump, false, ": barrier \"step\" (1 of 3 are there)");
    expect_said(dump, false, ": wait group \"parts\" (2 not done)");
}

static void test_the_others(void **state)
{
    (void)state;
    static const char *const kinds[] = {"\"event\"", "\"once\"", "\"cond\"",
                                        "\"barrier\"", "\"waitgroup\""};
    weft_runtime *runtime = start(2);
    weft_task tasks[5];

    expect_is(weft_waitgroup_add(&parts, 2), 0);
    tasks[0] = spawn(runtime, NULL, need_tables, NULL);
    weft_dump_free(all_waiting(runtime, 1));
    tasks[1] = spawn(runtime, NULL, need_tables, NULL);
    tasks[2] = spawn(runtime, NULL, wait_for_change, NULL);
    tasks[3] = spawn(runtime, NULL, wait_at_step, NULL);
    tasks[4] = spawn(runtime, NULL, wait_for_parts, NULL);
    weft_dump *dump = all_waiting(runtime, 5);
    check_others(dump, tasks);
    for (int i = 0; i < 5; i++)
        expect_said(dump, true, kinds[i]);
    expect_is(weft_cond_signal(&changed), 0);
    expect_is(weft_waitgroup_done(&parts), 0);
    expect_is(weft_waitgroup_done(&parts), 0);
    weft_task two = spawn(runtime, NULL, wait_at_step, NULL);
    while (weft_barrier_wait(&step, 0) == -ETIMEDOUT)
        doze();
    (void)join(two);
    let_go(runtime, dump, tasks, 5);
}

// ---- Channels of any kind. ----

struct kinds {
    weft_channel *answer;
    weft_broadcast *news;
    weft_watch *settings;
};

static void *await_answer(void *arg)
{
    const struct kinds *kinds = arg;
    int got;

    expect_is(weft_channel_recv(kinds->answer, &got, WEFT_NEVER), -EPIPE);
    return NULL;
}

static void *await_news(void *arg)
{
    const struct kinds *kinds = arg;
    weft_receiver receiver;
    int got;

    expect_is(weft_broadcast_subscribe(kinds->news, &receiver), 0);
    expect_is(weft_broadcast_recv(&receiver, &got,
                                  weft_time_after(WEFT_SECOND * 999)),
              -EPIPE);
    return NULL;
}

static void *await_settings(void *arg)
{
    const struct kinds *kinds = arg;
    uint64_t version = 1;
    int got;

    expect_is(weft_watch_recv(kinds->settings, &version, &got, WEFT_NEVER),
              -EPIPE);
    return NULL;
}

static void *await_any(void *arg)
{
    const struct kinds *kinds = arg;
    weft_receiver receiver;
    uint64_t version = 1;
    int got;

    expect_is(weft_broadcast_subscribe(kinds->news, &receiver), 0);
    weft_clause clauses[] = {
        weft_clause_recv(kinds->answer, &got),
        weft_clause_broadcast(&receiver, &got),
        weft_clause_watch(kinds->settings, &version, &got),
    };
    expect(weft_select(clauses, 3, WEFT_NEVER) >= 0);
    return NULL;
}

static void new_kinds(struct kinds *ret_kinds)
{
    int value = 1;

    expect_is(weft_oneshot_new(sizeof value, "answer", &ret_kinds->answer), 0);
    expect_is(weft_broadcast_new(sizeof value, 16, "news", &ret_kinds->news),
              0);
    expect_is(
        weft_watch_new(sizeof value, &value, "settings", &ret_kinds->settings),
        0);
    expect_is(weft_broadcast_send(ret_kinds->news, &value), 0);
    expect_is(weft_broadcast_send(ret_kinds->news, &value), 0);
}

static void check_kinds(const weft_dump *dump, const weft_task *tasks)
{
    weft_dump_object object;

    object = waits(dump, tasks[0], WEFT_WAIT_CHAN_RECV, WEFT_OBJECT_ONESHOT,
                   "answer");
    expect(object.used == 0 && object.limit == 1);
    object = waits(dump, tasks[1], WEFT_WAIT_CHAN_RECV, WEFT_OBJECT_BROADCAST,
                   "news");
    expect(object.used == 2 && object.limit == 16);
    expect(task_of(dump, tasks[1]).timeout_in_ns < WEFT_NEVER);
    (void)waits(dump, tasks[2], WEFT_WAIT_CHAN_RECV, WEFT_OBJECT_WATCH,
                "settings");
    expect_said(dump, false, "receive on one-shot \"answer\" (0 of 1 used)");
    expect_said(dump, false, "receive on broadcast \"news\" (2 of 16 kept)");
    expect_said(dump, false, "receive on watch \"settings\"");
    expect_said(dump, false,
                "first of receive on one-shot \"answer\", receive on "
                "broadcast \"news\", receive on");
    expect_said(dump, true, "\"oneshot\"");
    expect_said(dump, true, "\"broadcast\"");
    expect_said(dump, true, "\"watch\"");
    expect_is(info_of(dump).findings, 0);
}

static void test_channels_of_any_kind(void **state)
{
    (void)state;
    static weft_task_fn *const fns[] = {await_answer, await_news,
                                        await_settings, await_any};
    weft_runtime *runtime = start(2);
    weft_task tasks[5];
    struct kinds kinds;

    new_kinds(&kinds);
    for (int i = 0; i < 4; i++)
        tasks[i] = spawn(runtime, NULL, fns[i], &kinds);
    tasks[4] = spawn(runtime, NULL, wait_for_stay, NULL);
    weft_dump *dump = all_waiting(runtime, 5);
    check_kinds(dump, tasks);
    expect_is(weft_channel_close(kinds.answer), 0);
    expect_is(weft_broadcast_close(kinds.news), 0);
    expect_is(weft_watch_close(kinds.settings), 0);
    let_go(runtime, dump, tasks, 5);
    expect_is(weft_channel_free(kinds.answer), 0);
    expect_is(weft_broadcast_free(kinds.news), 0);
    expect_is(weft_watch_free(kinds.settings), 0);
}

// ---- Scopes. ----

static void *stay_as_child(void *arg)
{
    until_stay_is_set();
    return arg;
}

static void enter_with_child(weft_scope *scope, weft_scope_options options)
{
    options.size = sizeof options;
    expect_is(weft_scope_enter_with(scope, &options,
                                    weft_time_after(3600 * WEFT_SECOND)),
              0);
    expect_is(weft_scope_spawn(scope, NULL, stay_as_child, NULL, NULL), 0);
}

static void *leave_scope(void *arg)
{
    weft_scope scope;

    enter_with_child(&scope, (weft_scope_options){.name = arg});
    expect_is(weft_scope_leave(&scope), 0);
    return NULL;
}

static void *fill_scope(void *arg)
{
    weft_scope scope;

    enter_with_child(&scope, (weft_scope_options){.name = arg, .limit = 1});
    expect_is(weft_scope_spawn(&scope, NULL, stay_as_child, NULL, NULL), 0);
    expect_is(weft_scope_leave(&scope), 0);
    return NULL;
}

static void *take_next(void *arg)
{
    weft_scope_child child;
    weft_scope scope;

    enter_with_child(&scope, (weft_scope_options){.name = arg, .keep = true});
    expect_is(weft_scope_next(&scope, WEFT_NEVER, &child), 0);
    expect_is(weft_scope_leave(&scope), 0);
    return NULL;
}

static void *choose_next(void *arg)
{
    weft_scope_child child;
    weft_scope scope;
    weft_clause clause = weft_clause_next(&scope, &child);

    enter_with_child(&scope, (weft_scope_options){.name = arg, .keep = true});
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect_is(weft_scope_leave(&scope), 0);
    return NULL;
}

static void check_scopes(const weft_dump *dump, const weft_task *tasks)
{
    weft_dump_object object;

    object = waits(dump, tasks[0], WEFT_WAIT_SCOPE, WEFT_OBJECT_SCOPE, "left");
    expect(object.used == 1 && object.limit == 0);
    object =
        waits(dump, tasks[1], WEFT_WAIT_SCOPE_SPAWN, WEFT_OBJECT_SCOPE, "full");
    expect(object.used == 1 && object.limit == 1);
    object =
        waits(dump, tasks[2], WEFT_WAIT_SCOPE_NEXT, WEFT_OBJECT_SCOPE, "kept");
    expect(object.used == 1 && object.limit == 0);
    for (int i = 0; i < 4; i++) {
        int64_t left_ns = task_of(dump, tasks[i]).timeout_in_ns;
        expect(left_ns > 3000 * WEFT_SECOND && left_ns <= 3600 * WEFT_SECOND);
    }
    expect_said(dump, false, ": the children of scope \"left\"");
    expect_said(dump, false, ": a place in scope \"full\" (1 of 1 running)");
    expect_said(dump, false, ": the next child of scope \"kept\" (1 running)");
    expect_said(dump, false, ": first of next child of scope \"chosen\"");
    expect_said(dump, true, "\"scope_spawn\"");
    expect_said(dump, true, "\"scope_next\"");
}

static void test_scopes(void **state)
{
    (void)state;
    static const struct {
        weft_task_fn *fn;
        const char *name;
    } owners[] = {{leave_scope, "left"},
                  {fill_scope, "full"},
                  {take_next, "kept"},
                  {choose_next, "chosen"}};
    weft_runtime *runtime = start(2);
    weft_task tasks[4];

    for (int i = 0; i < 4; i++)
        tasks[i] = spawn(runtime, NULL, owners[i].fn,
                         (void *)(uintptr_t)owners[i].name);
    weft_dump *dump = all_waiting(runtime, 8);
    check_scopes(dump, tasks);
    let_go(runtime, dump, tasks, 4);
}

// ---- Deadlocks. ----

static weft_barrier both = WEFT_BARRIER_INIT("both", 2);

static void until_both_are_there(void)
{
    expect(weft_barrier_wait(&both, WEFT_NEVER) >= 0);
}

static weft_dump_finding only_finding(const weft_dump *dump, size_t tasks)
{
    weft_dump_finding finding;

    expect_is(info_of(dump).findings, 1);
    expect_is(weft_dump_get_finding(dump, 0, &finding), 0);
    expect_is(finding.rule, WEFT_RULE_DEADLOCK);
    expect_is(finding.tasks, tasks);
    return finding;
}

static void cancel_all(weft_runtime *runtime, weft_dump *dump,
                       const weft_task *tasks, int count)
{
    expect_said(dump, false, "DEADLOCK");
    weft_dump_free(dump);
    for (int i = 0; i < count; i++)
        expect_is(weft_task_cancel(tasks[i]), 0);
    for (int i = 0; i < count; i++)
        (void)join(tasks[i]);
    expect_is(weft_runtime_free(runtime), 0);
}

// One reads and wants the mutex, the other has the mutex and wants to write.
static void *read_then_door(void *arg)
{
    expect_is(weft_rwlock_lock_read(&routes, WEFT_NEVER), 0);
    until_both_are_there();
    expect_is(weft_mutex_lock(&door, WEFT_NEVER), -ECANCELED);
    expect_is(weft_rwlock_unlock(&routes), 0);
    return arg;
}

static void *door_then_write(void *arg)
{
    expect_is(weft_mutex_lock(&door, WEFT_NEVER), 0);
    until_both_are_there();
    int error = weft_rwlock_lock_write(&routes, WEFT_NEVER);
    expect(error == 0 || error == -ECANCELED);
    if (error == 0)
        expect_is(weft_rwlock_unlock(&routes), 0);
    expect_is(weft_mutex_unlock(&door), 0);
    return arg;
}

static void test_deadlock_with_a_reader(void **state)
{
    (void)state;
    weft_runtime *runtime = start(2);
    weft_task tasks[3];

    tasks[2] = spawn(runtime, "bystander", read_routes, NULL);
    weft_dump_free(all_waiting(runtime, 1));
    tasks[0] = spawn(runtime, "reader", read_then_door, NULL);
    tasks[1] = spawn(runtime, "writer", door_then_write, NULL);
    weft_dump *dump = all_waiting(runtime, 3);
    expect_is(weft_event_set(&stay), 0);
    (void)join(tasks[2]);
    expect_is(weft_event_reset(&stay), 0);
    weft_dump_free(dump);
    dump = all_waiting(runtime, 2);
    weft_dump_finding finding = only_finding(dump, 2);
    expect_is(finding.certainty, WEFT_CERTAINTY_PROVEN);
    expect_said(dump, false, "holds rwlock \"routes\"");
    cancel_all(runtime, dump, tasks, 2);
}

// Through a semaphore of one permit: likely only, for another may give one.
static void *single_then_door(void *arg)
{
    expect_is(weft_semaphore_acquire(&single, 1, WEFT_NEVER), 0);
    until_both_are_there();
    expect_is(weft_mutex_lock(&door, WEFT_NEVER), -ECANCELED);
    expect_is(weft_semaphore_release(&single, 1), 0);
    return arg;
}

static void *door_then_single(void *arg)
{
    expect_is(weft_mutex_lock(&door, WEFT_NEVER), 0);
    until_both_are_there();
    int error = weft_semaphore_acquire(&single, 1, WEFT_NEVER);
    expect(error == 0 || error == -ECANCELED);
    if (error == 0)
        expect_is(weft_semaphore_release(&single, 1), 0);
    expect_is(weft_mutex_unlock(&door), 0);
    return arg;
}

static void test_deadlock_with_a_semaphore(void **state)
{
    (void)state;
    weft_runtime *runtime = start(2);
    weft_task tasks[2];

    tasks[0] = spawn(runtime, "single", single_then_door, NULL);
    tasks[1] = spawn(runtime, "door", door_then_single, NULL);
    weft_dump *dump = all_waiting(runtime, 2);
    weft_dump_finding finding = only_finding(dump, 2);
    expect_is(finding.certainty, WEFT_CERTAINTY_LIKELY);
    cancel_all(runtime, dump, tasks, 2);
}

// A permit that another gave back holds nobody responsible.
static void *take_and_leave(void *arg)
{
    expect_is(weft_semaphore_acquire(&single, 1, WEFT_NEVER), 0);
    return arg;
}

static void test_a_taker_that_has_ended(void **state)
{
    (void)state;
    weft_runtime *runtime = start(1);

    (void)join(spawn(runtime, NULL, take_and_leave, NULL));
    weft_task task = spawn(runtime, NULL, take_single, NULL);
    weft_dump *dump = all_waiting(runtime, 1);
    weft_dump_object object = object_of(dump, task);
    expect(object.used == 1 && object.holders == 0);
    expect_is(info_of(dump).findings, 0);
    expect_is(weft_semaphore_release(&single, 1), 0);
    let_go(runtime, dump, &task, 1);
}

// ---- While all of it goes on. ----

// Readers of many locks and writers of one, none of whom ever stops.
static atomic_bool enough;

static void *read_and_write(void *arg)
{
    uint64_t chance = (uintptr_t)arg;

    while (!atomic_load(&enough)) {
        chance = chance * 6364136223846793005 + 1442695040888963407;
        unsigned first = (unsigned)(chance >> 33) % 7;
        unsigned count = (unsigned)(chance >> 40) % 8; // in a row: no deadlock
        for (unsigned i = first; i < 7 && i < first + count; i++)
            expect_is(weft_rwlock_lock_read(&maps[i], WEFT_NEVER), 0);
        (void)weft_task_yield();
        for (unsigned i = first; i < 7 && i < first + count; i++)
            expect_is(weft_rwlock_unlock(&maps[i]), 0);
        expect_is(weft_rwlock_lock_write(&maps[first], WEFT_NEVER), 0);
        (void)weft_task_yield();
        expect_is(weft_rwlock_unlock(&maps[first]), 0);
        expect_is(weft_semaphore_acquire(&single, 1, WEFT_NEVER), 0);
        (void)weft_task_yield();
        expect_is(weft_semaphore_release(&single, 1), 0);
    }
    return NULL;
}

// A writer is alone, whoever holds something is listed there, and the other
// way round.
static void check_holders(const weft_dump *dump, uint32_t index)
{
    weft_dump_object object = object_at(dump, index);
    bool owner_listed = object.owner == 0;
    uint64_t id;

    expect(object.owner == 0 || object.holders == 1);
    for (size_t i = 0; i < object.holders; i++) {
        size_t at;
        expect_is(weft_dump_get_holder(dump, index, i, &id), 0);
        expect_is(weft_dump_find_task(dump, id, &at), 0);
        expect(holds(dump, task_at(dump, at).handle, index));
        owner_listed = owner_listed || id == object.owner;
    }
    expect(owner_listed);
    expect_is(weft_dump_get_holder(dump, index, object.holders, &id), -ENOENT);
}

static void check_all_holders(const weft_dump *dump)
{
    size_t held = 0;
    size_t holders = 0;

    for (size_t i = 0; i < info_of(dump).tasks; i++)
        held += task_at(dump, i).holds;
    for (uint32_t i = 0; i < info_of(dump).objects; i++) {
        check_holders(dump, i);
        holders += object_at(dump, i).holders;
    }
    expect_is(held, holders);
}

static void test_dumps_under_load(void **state)
{
    (void)state;
    enum { TASKS = 24 };
    weft_runtime *runtime = start(2);
    weft_task tasks[TASKS];
    size_t seen = 0;

    atomic_store(&enough, false);
    for (int i = 0; i < 7; i++)
        expect_is(weft_rwlock_init(&maps[i], "map"), 0);
    for (uintptr_t i = 0; i < TASKS; i++)
        tasks[i] = spawn(runtime, NULL, read_and_write, (void *)(i + 1));
    for (unsigned i = 0; i < scaled(200) || seen == 0; i++) {
        weft_dump *dump = take(runtime);
        check_all_holders(dump);
        seen += info_of(dump).objects;
        weft_dump_free(dump);
    }
    atomic_store(&enough, true);
    for (int i = 0; i < TASKS; i++)
        (void)join(tasks[i]);
    for (int i = 0; i < 7; i++)
        expect_is(weft_rwlock_deinit(&maps[i]), 0);
    expect_is(weft_semaphore_available(&single), 1);
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- Selects. ----

struct either {
    weft_channel *jobs;
    weft_mutex *mutex;
    weft_task task;
    weft_fd fd;
};

static void *choose(void *arg)
{
    struct either *either = arg;
    int got;

    expect_is(weft_tcp_listen("127.0.0.1", 0, 0, &either->fd), 0);
    weft_clause clauses[] = {
        weft_clause_recv(either->jobs, &got),
        weft_clause_none(),
        weft_clause_lock(either->mutex),
        weft_clause_join(either->task, NULL),
        weft_clause_readable(either->fd),
        weft_clause_time(weft_time_after(3600 * WEFT_SECOND)),
        weft_clause_event(&stay),
    };
    expect_is(weft_select(clauses, 7, WEFT_NEVER), 6);
    expect_is(weft_fd_close(either->fd), 0);
    return NULL;
}

static void *choose_of_many(void *arg)
{
    weft_clause clauses[40];

    for (int i = 0; i < 40; i++)
        clauses[i] = weft_clause_event(&stay);
    expect(weft_select(clauses, 40, WEFT_NEVER) >= 0);
    return arg;
}

static weft_event late = WEFT_EVENT_INIT("late");

static void *hold_it(void *mutex)
{
    expect_is(weft_mutex_lock(mutex, WEFT_NEVER), 0);
    expect_is(weft_event_wait(&late, WEFT_NEVER), 0);
    expect_is(weft_mutex_unlock(mutex), 0);
    return NULL;
}

static weft_dump_clause clause_of(const weft_dump *dump, weft_task handle,
                                  size_t which)
{
    weft_dump_clause clause;
    size_t at;

    expect_is(weft_dump_find_task(dump, task_of(dump, handle).id, &at), 0);
    expect_is(weft_dump_get_clause(dump, at, which, &clause), 0);
    return clause;
}

static void test_selects(void **state)
{
    (void)state;
    weft_runtime *runtime = start(2);
    weft_mutex mutex = WEFT_MUTEX_INIT("audit");
    struct either either = {.mutex = &mutex};
    weft_task tasks[2];

    expect_is(weft_channel_new(sizeof(int), 2, "jobs", &either.jobs), 0);
    either.task = spawn(runtime, "holder", hold_it, &mutex);
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 1));
    tasks[0] = spawn(runtime, "chooser", choose, &either);
    tasks[1] = spawn(runtime, "many", choose_of_many, NULL);
    weft_dump *dump = all_waiting(runtime, 3);
    weft_dump_task task = task_of(dump, tasks[0]);
    expect_is(task.wait, WEFT_WAIT_SELECT);
    expect_is(task.object, WEFT_NONE);
    expect_is(task.clauses, 6);
    expect_is(task.clauses_more, 0);
    expect(task.timeout_in_ns < 3600 * WEFT_SECOND);
    weft_dump_clause clause = clause_of(dump, tasks[0], 0);
    expect_is(clause.wait, WEFT_WAIT_CHAN_RECV);
    expect_text(object_at(dump, clause.object).name, "jobs");
    clause = clause_of(dump, tasks[0], 1);
    expect_is(clause.wait, WEFT_WAIT_MUTEX);
    expect_is(object_at(dump, clause.object).owner,
              task_of(dump, either.task).id);
    clause = clause_of(dump, tasks[0], 2);
    expect_is(clause.wait, WEFT_WAIT_JOIN);
    expect_is(clause.wait_task, task_of(dump, either.task).id);
    clause = clause_of(dump, tasks[0], 3);
    expect_is(clause.wait, WEFT_WAIT_FD);
    expect(clause.wait_fd >= 0 && !clause.wait_write);
    size_t at;
    expect_is(weft_dump_find_task(dump, task.id, &at), 0);
    expect_is(weft_dump_get_clause(dump, at, 6, &clause), -ENOENT);
    expect_is(weft_dump_get_clause(dump, SIZE_MAX, 0, &clause), -ENOENT);
    expect_is(weft_dump_get_clause(dump, at, 0, NULL), -EINVAL);
    expect_is(weft_dump_get_clause(NULL, at, 0, &clause), -EINVAL);
    expect_is(clause_of(dump, tasks[0], 4).wait, WEFT_WAIT_SLEEP);
    expect_is(clause_of(dump, tasks[0], 5).wait, WEFT_WAIT_EVENT);
    expect_is(task_of(dump, tasks[1]).clauses, 16);
    expect_is(task_of(dump, tasks[1]).clauses_more, 24);
    expect_said(dump, false,
                "first of receive on channel \"jobs\", mutex \"audit\", join ");
    expect_said(dump, false, " and 37 more");
    expect_is(weft_event_set(&stay), 0);
    (void)join(tasks[0]);
    (void)join(tasks[1]);
    expect_is(weft_event_reset(&stay), 0);
    expect_is(weft_event_set(&late), 0);
    (void)join(either.task);
    weft_dump_free(dump);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_channel_free(either.jobs), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_hold_it_together),
        cmocka_unit_test(test_a_writer_holds_it_alone),
        cmocka_unit_test(test_many_held_by_one),
        cmocka_unit_test(test_a_thread_holds_it),
        cmocka_unit_test(test_semaphores),
        cmocka_unit_test(test_the_others),
        cmocka_unit_test(test_channels_of_any_kind),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_deadlock_with_a_reader),
        cmocka_unit_test(test_deadlock_with_a_semaphore),
        cmocka_unit_test(test_a_taker_that_has_ended),
        cmocka_unit_test(test_selects),
        cmocka_unit_test(test_dumps_under_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
