// test_dump_content.c -- What a dump says of each task and object.
#include <errno.h>
#include <stdint.h>

#include "support/dumps.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NO_INLINE static __attribute__((noinline))

// Keeps the call before it from becoming a jump.
#define KEEP_FRAME __asm__ volatile("")

// Runs fn(arg) as the main task of a runtime with so many workers.
static void run_on(unsigned workers, weft_task_fn *fn, void *arg)
{
    weft_runtime *runtime = start(workers);

    expect_is(weft_runtime_run(runtime, fn, arg, NULL), 0);
    expect_is(weft_runtime_free(runtime), 0);
}

static void run_each(weft_task_fn *fn)
{
    run_on(1, fn, NULL);
    run_on(2, fn, NULL);
}

// A whole dump in which so many of the caller's siblings wait, and the caller
// too, for the dump. Asked for by a task.
static weft_dump *take_inside(size_t waiting)
{
    for (;; (void)weft_task_sleep(weft_time_after(MS))) {
        weft_dump *dump = take(weft_runtime_self());
        if (all_met(dump) &&
            tasks_in_state(dump, WEFT_STATE_WAITING) == waiting + 1)
            return dump;
        weft_dump_free(dump);
    }
}

static weft_task child(const char *name, weft_task_fn *fn, void *arg)
{
    return spawn(NULL, name, fn, arg);
}

// What waits without limit for one thing.
static void check_waits(const weft_dump_task *task, enum weft_wait_kind kind)
{
    expect_is(task->state, WEFT_STATE_WAITING);
    expect_is(task->wait, kind);
    expect_is(task->timeout_in_ns, WEFT_NEVER);
    expect(task->worker == WEFT_NONE);
    expect(task->queue_place == WEFT_NONE);
    expect(task->state_ns >= 0 && task->age_ns >= task->state_ns);
    expect(task->cpu_ns >= 0 && task->cpu_ns <= task->age_ns);
}

// ---- Mutexes ----

static weft_mutex door;
static int door_line; // where the holder took it

NO_INLINE void take_door(void)
{
    door_line = __LINE__ + 1;
    expect_is(weft_mutex_lock(&door, WEFT_NEVER), 0);
    KEEP_FRAME;
}

static void *hold_door(void *arg)
{
    char item;

    take_door();
    expect_is(weft_channel_recv(arg, &item, WEFT_NEVER), -EPIPE);
    expect_is(weft_mutex_unlock(&door), 0);
    return NULL;
}

static void *wait_at_door(void *arg)
{
    (void)arg;
    expect_is(weft_mutex_lock(&door, WEFT_NEVER), 0);
    expect_is(weft_mutex_unlock(&door), 0);
    return NULL;
}

static void *wait_a_while_at_door(void *arg)
{
    int error = weft_mutex_lock(&door, weft_time_after(3600 * WEFT_SECOND));

    (void)arg;
    expect_is(error, 0);
    expect_is(weft_mutex_unlock(&door), 0);
    return NULL;
}

static void check_door(const weft_dump *dump, weft_task holder,
                       weft_task *waiters)
{
    weft_dump_task held_by = task_of(dump, holder);
    weft_dump_task waiter = task_of(dump, waiters[0]);
    weft_dump_object object = object_at(dump, waiter.object);
    weft_frame frame = place_at(dump, object.taken_pc);
    uint32_t index;
    uint64_t id;

    expect_is(object.kind, WEFT_OBJECT_MUTEX);
    expect_text(object.name, "door");
    expect_is(object.address, (uintptr_t)&door);
    expect_is(object.owner, held_by.id);
    expect(object.held_ns >= held_by.state_ns);
    expect_text(frame.function, "take_door");
    expect_is(frame.line, door_line);
    expect_is(object.waiters, 3);
    for (size_t i = 0; i < 3; i++) {
        expect_is(weft_dump_get_waiter(dump, waiter.object, i, &id), 0);
        expect(id == id_of(dump, waiters[0]) || id == id_of(dump, waiters[1]) ||
               id == id_of(dump, waiters[2]));
    }
    expect_is(weft_dump_get_waiter(dump, waiter.object, 3, &id), -ENOENT);
    expect_is(held_by.holds, 1);
    expect_is(weft_dump_get_held(dump, 0, 99, &index), -ENOENT);
    size_t at;
    expect_is(weft_dump_find_task(dump, held_by.id, &at), 0);
    expect_is(weft_dump_get_held(dump, at, 0, &index), 0);
    expect_is(index, waiter.object);
}

static void *mutex_body(void *arg)
{
    weft_task waiters[3];
    weft_channel *gate;

    (void)arg;
    expect_is(weft_mutex_init(&door, "door"), 0);
    expect_is(weft_channel_new(1, 1, "gate", &gate), 0);
    weft_task holder = child("holder", hold_door, gate);
    weft_dump_free(take_inside(1));
    waiters[0] = child("first", wait_at_door, NULL);
    waiters[1] = child("second", wait_at_door, NULL);
    waiters[2] = child("third", wait_a_while_at_door, NULL);
    weft_dump *dump = take_inside(4);
    check_door(dump, holder, waiters);
    for (int i = 0; i < 2; i++) {
        weft_dump_task task = task_of(dump, waiters[i]);
        check_waits(&task, WEFT_WAIT_MUTEX);
    }
    weft_dump_task timed = task_of(dump, waiters[2]);
    expect_is(timed.wait, WEFT_WAIT_MUTEX);
    expect(timed.timeout_in_ns > 0 &&
           timed.timeout_in_ns <= 3600 * WEFT_SECOND);
    weft_dump_free(dump);
    expect_is(weft_channel_close(gate), 0);
    (void)join(holder);
    for (int i = 0; i < 3; i++)
        (void)join(waiters[i]);
    expect_is(weft_mutex_deinit(&door), 0);
    expect_is(weft_channel_free(gate), 0);
    return NULL;
}

static void test_mutex(void **state)
{
    (void)state;
    run_each(mutex_body);
}

// A task that holds several.
static void *hold_three(void *arg)
{
    static weft_mutex mutexes[3];
    static const char *const names[] = {"one", "two", "three"};
    char item;

    for (int i = 0; i < 3; i++) {
        expect_is(weft_mutex_init(&mutexes[i], names[i]), 0);
        expect_is(weft_mutex_lock(&mutexes[i], WEFT_NEVER), 0);
    }
    expect_is(weft_mutex_unlock(&mutexes[1]), 0);
    expect_is(weft_channel_recv(arg, &item, WEFT_NEVER), -EPIPE);
    expect_is(weft_mutex_unlock(&mutexes[0]), 0);
    expect_is(weft_mutex_unlock(&mutexes[2]), 0);
    for (int i = 0; i < 3; i++)
        expect_is(weft_mutex_deinit(&mutexes[i]), 0);
    return NULL;
}

static void *several_body(void *arg)
{
    bool one = false;
    bool three = false;
    weft_channel *gate;
    size_t at;

    (void)arg;
    expect_is(weft_channel_new(1, 1, NULL, &gate), 0);
    weft_task holder = child(NULL, hold_three, gate);
    weft_dump *dump = take_inside(1);
    weft_dump_task task = task_of(dump, holder);
    expect_is(task.holds, 2);
    expect_is(weft_dump_find_task(dump, task.id, &at), 0);
    for (size_t i = 0; i < 2; i++) {
        uint32_t index;
        expect_is(weft_dump_get_held(dump, at, i, &index), 0);
        weft_dump_object object = object_at(dump, index);
        expect_is(object.owner, task.id);
        expect_is(object.waiters, 0);
        one |= strcmp(object.name, "one") == 0;
        three |= strcmp(object.name, "three") == 0;
    }
    expect(one && three);
    expect(object_at(dump, task.object).name == NULL);
    weft_dump_free(dump);
    expect_is(weft_channel_close(gate), 0);
    (void)join(holder);
    expect_is(weft_channel_free(gate), 0);
    return NULL;
}

static void test_holds_several(void **state)
{
    (void)state;
    run_each(several_body);
}

// ---- Channels ----

static void *send_two(void *arg)
{
    for (int i = 0; i < 2; i++)
        expect_is(weft_channel_send(arg, &i, WEFT_NEVER), 0);
    return NULL;
}

static void *receive(void *arg)
{
    int item;

    return (void *)(intptr_t)weft_channel_recv(arg, &item, WEFT_NEVER);
}

static void check_channel(const weft_dump *dump, weft_task task,
                          enum weft_wait_kind kind, const char *name,
                          uint64_t used)
{
    weft_dump_task found = task_of(dump, task);

    check_waits(&found, kind);
    weft_dump_object object = object_at(dump, found.object);
    expect_is(object.kind, WEFT_OBJECT_CHANNEL);
    expect_text(object.name, name);
    expect_is(object.owner, 0);
    expect_is(object.waiters, 1);
    expect_is(object.used, used);
    expect_is(object.limit, 1);
}

static void *channel_body(void *arg)
{
    weft_channel *full, *empty;

    (void)arg;
    expect_is(weft_channel_new(sizeof(int), 1, "full", &full), 0);
    expect_is(weft_channel_new(sizeof(int), 1, "empty", &empty), 0);
    weft_task sender = child(NULL, send_two, full);
    weft_task receiver = child(NULL, receive, empty);
    weft_dump *dump = take_inside(2);
    check_channel(dump, sender, WEFT_WAIT_CHAN_SEND, "full", 1);
    check_channel(dump, receiver, WEFT_WAIT_CHAN_RECV, "empty", 0);
    expect_is(object_at(dump, task_of(dump, sender).object).address,
              (uintptr_t)full);
    weft_dump_free(dump);
    expect(receive(full) == NULL);
    (void)join(sender);
    expect_is(weft_channel_close(empty), 0);
    expect_is(join(receiver), -EPIPE);
    expect_is(weft_channel_free(full), 0);
    expect_is(weft_channel_free(empty), 0);
    return NULL;
}

static void test_channel(void **state)
{
    (void)state;
    run_each(channel_body);
}

// ---- Descriptors ----

static void *accept_one(void *arg)
{
    weft_fd connection;

    expect_is(weft_tcp_accept(*(weft_fd *)arg, WEFT_NEVER, &connection),
              -EBADF);
    return NULL;
}

// Writes until the peer's and its own buffers are full, then waits.
static void *write_on(void *arg)
{
    static char bytes[1 << 16];

    while (weft_fd_write(*(weft_fd *)arg, bytes, sizeof bytes, WEFT_NEVER) > 0)
        continue;
    return NULL;
}

static void check_fd(const weft_dump *dump, weft_task task, int number,
                     bool write)
{
    weft_dump_task found = task_of(dump, task);

    check_waits(&found, WEFT_WAIT_FD);
    expect_is(found.wait_fd, number);
    expect_is(found.wait_write, write);
    expect(found.object == WEFT_NONE);
}

static void *fd_body(void *arg)
{
    weft_fd listener, ours, theirs;
    uint16_t port;

    (void)arg;
    expect_is(weft_tcp_listen("127.0.0.1", 0, 0, &listener), 0);
    expect_is(weft_tcp_address(listener, false, NULL, &port), 0);
    expect_is(weft_tcp_connect("127.0.0.1", port, WEFT_NEVER, &ours), 0);
    expect_is(weft_tcp_accept(listener, WEFT_NEVER, &theirs), 0);
    weft_task reader = child(NULL, accept_one, &listener);
    weft_task writer = child(NULL, write_on, &ours);
    weft_dump *dump = take_inside(2);
    check_fd(dump, reader, weft_fd_number(listener), false);
    check_fd(dump, writer, weft_fd_number(ours), true);
    weft_dump_free(dump);
    expect_is(weft_fd_close(listener), 0);
    expect_is(weft_fd_close(ours), 0);
    expect_is(weft_fd_close(theirs), 0);
    (void)join(reader);
    (void)join(writer);
    return NULL;
}

static void test_descriptors(void **state)
{
    (void)state;
    run_each(fd_body);
}

// ---- Joins, scopes, sleeps ----

static void *join_it(void *arg)
{
    return (void *)join(*(weft_task *)arg);
}

static void *in_scope(void *arg)
{
    weft_scope scope;

    expect_is(weft_scope_enter(&scope, WEFT_NEVER), 0);
    expect_is(weft_scope_spawn(&scope, NULL, receive, arg, NULL), 0);
    expect_is(weft_scope_leave(&scope), 0);
    return NULL;
}

static void *sleep_long(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)weft_task_sleep(
        weft_time_after(3600 * WEFT_SECOND));
}

static void *other_waits_body(void *arg)
{
    weft_channel *gate;

    (void)arg;
    expect_is(weft_channel_new(sizeof(int), 1, "gate", &gate), 0);
    weft_task target = child("target", receive, gate);
    weft_task joiner = child("joiner", join_it, &target);
    weft_task scoped = child("scoped", in_scope, gate);
    weft_task sleeper = child("sleeper", sleep_long, NULL);
    weft_dump *dump = take_inside(5);
    weft_dump_task task = task_of(dump, joiner);
    check_waits(&task, WEFT_WAIT_JOIN);
    expect_is(task.wait_task, id_of(dump, target));
    task = task_of(dump, scoped);
    check_waits(&task, WEFT_WAIT_SCOPE);
    task = task_of(dump, sleeper);
    expect_is(task.wait, WEFT_WAIT_SLEEP);
    expect(task.timeout_in_ns > 3000 * WEFT_SECOND &&
           task.timeout_in_ns <= 3600 * WEFT_SECOND);
    expect(task.object == WEFT_NONE && task.wait_task == 0);
    weft_dump_free(dump);
    expect_is(weft_task_cancel(sleeper), 0);
    expect_is(weft_channel_close(gate), 0);
    expect_is(join(joiner), -EPIPE);
    (void)join(scoped);
    expect_is(join(sleeper), -ECANCELED);
    expect_is(weft_channel_free(gate), 0);
    return NULL;
}

static void test_join_scope_sleep(void **state)
{
    (void)state;
    run_each(other_waits_body);
}

// ---- Who it is: name, parent, labels, spawn site, runs ----

static int child_line, grandchild_line;
static weft_task grandchild;

static void *park_after_yields(void *arg)
{
    for (int i = 0; i < 41; i++)
        expect_is(weft_task_yield(), 0);
    return receive(arg);
}

static void *spawn_grandchild(void *arg)
{
    expect_is(weft_task_set_namef("%s%s", "re", "named"), 0);
    expect_is(weft_task_set_label("tenant", "b"), 0);
    expect_is(weft_task_set_label("request", "77"), 0);
    expect_is(weft_task_set_label("gone", "soon"), 0);
    expect_is(weft_task_set_label("gone", NULL), 0);
    grandchild_line = __LINE__ + 1;
    expect_is(weft_task_spawn(NULL, park_after_yields, arg, &grandchild), 0);
    return receive(arg);
}

static const char *label_of(const weft_dump *dump, const weft_dump_task *task,
                            const char *key)
{
    const char *found = NULL;
    const char *label, *value;
    size_t at;

    expect_is(weft_dump_find_task(dump, task->id, &at), 0);
    for (size_t i = 0; i < task->labels; i++) {
        expect_is(weft_dump_get_label(dump, at, i, &label, &value), 0);
        if (strcmp(label, key) == 0) {
            expect(found == NULL);
            found = value;
        }
    }
    expect_is(weft_dump_get_label(dump, at, task->labels, &label, &value),
              -ENOENT);
    return found;
}

static void check_site(const weft_dump *dump, uint32_t site,
                       const char *function, int line)
{
    uintptr_t pc;

    expect_is(weft_dump_get_site(dump, site, &pc), 0);
    weft_frame frame = place_at(dump, pc);
    expect_text(frame.function, function);
    expect_is(frame.line, line);
    expect(frame.file != NULL &&
           strstr(frame.file, "test_dump_content.c") != NULL);
}

static void *identity_body(void *arg)
{
    weft_channel *gate;
    weft_task first;

    (void)arg;
    expect_is(weft_task_set_label("tenant", "a"), 0);
    expect_is(weft_channel_new(sizeof(int), 1, "gate", &gate), 0);
    child_line = __LINE__ + 1;
    expect_is(weft_task_spawn(NULL, spawn_grandchild, gate, &first), 0);
    weft_dump *dump = take_inside(2);
    weft_dump_task self = task_of(dump, weft_task_self());
    weft_dump_task task = task_of(dump, first);
    weft_dump_task grand = task_of(dump, grandchild);
    expect_text(self.name, "main");
    expect_text(task.name, "renamed");
    expect(grand.name == NULL);
    expect_is(self.parent, 0);
    expect_is(task.parent, self.id);
    expect_is(grand.parent, task.id);
    expect_is(self.labels, 1);
    expect_is(task.labels, 2);
    expect_text(label_of(dump, &self, "tenant"), "a");
    expect_text(label_of(dump, &task, "tenant"), "b");
    expect_text(label_of(dump, &task, "request"), "77");
    expect_text(label_of(dump, &grand, "tenant"), "b");
    check_site(dump, task.site, "identity_body", child_line);
    check_site(dump, grand.site, "spawn_grandchild", grandchild_line);
    expect_is(task.schedules, 1);
    expect_is(grand.schedules, 42);
    weft_dump_free(dump);
    expect_is(weft_channel_close(gate), 0);
    expect_is(join(first), -EPIPE);
    expect_is(join(grandchild), -EPIPE);
    expect_is(weft_channel_free(gate), 0);
    return NULL;
}

static void test_identity(void **state)
{
    (void)state;
    run_each(identity_body);
}

// A slot used again: nothing of the one before may show.
static void *fresh_body(void *arg)
{
    weft_channel *gate;

    (void)arg;
    expect_is(weft_channel_new(sizeof(int), 1, "gate", &gate), 0);
    weft_task before = child("before", park_after_yields, gate);
    expect_is(weft_channel_close(gate), 0);
    (void)join(before);
    weft_channel *other;
    expect_is(weft_channel_new(sizeof(int), 1, "other", &other), 0);
    weft_task after = child(NULL, receive, other);
    weft_dump *dump = take_inside(1);
    weft_dump_task task = task_of(dump, after);
    weft_dump_task found;
    expect(task.name == NULL);
    expect_is(task.schedules, 1);
    expect_is(task.labels, 0);
    expect_is(times_in(dump, before, &found), 0);
    weft_dump_free(dump);
    expect_is(weft_channel_close(other), 0);
    (void)join(after);
    expect_is(weft_channel_free(gate), 0);
    expect_is(weft_channel_free(other), 0);
    return NULL;
}

static void test_fresh_slot(void **state)
{
    (void)state;
    run_each(fresh_body);
}

// ---- New and done tasks ----

static void *return_at_once(void *arg)
{
    return arg;
}

static void *new_and_done_body(void *arg)
{
    struct chain chain;

    (void)arg;
    weft_task done = child("done", return_at_once, NULL);
    for (int i = 0; i < 3; i++) // on one worker, at most two are needed
        expect_is(weft_task_yield(), 0);
    weft_task new = child("new", return_at_once, NULL);
    weft_dump *dump = take_inside(0);
    weft_dump_task task = task_of(dump, done);
    expect_is(task.state, WEFT_STATE_DONE);
    expect_is(task.schedules, 1);
    expect_text(task.name, "done");
    task = task_of(dump, new);
    expect_is(task.state, WEFT_STATE_NEW);
    expect_is(task.schedules, 0);
    expect_is(task.worker, 0);
    chain_of_stack(dump, task.stack, &chain);
    expect_is(chain.count, 1);
    expect_is(chain.end, WEFT_STACK_WHOLE);
    expect_text(chain.frames[0].function, "return_at_once");
    weft_dump_free(dump);
    (void)join(done);
    (void)join(new);
    return NULL;
}

static void test_new_and_done(void **state)
{
    (void)state;
    run_on(1, new_and_done_body, NULL);
}

// ---- Stacks ----

ALWAYS_INLINE int innermost(weft_channel *gate)
{
    int item;

    return weft_channel_recv(gate, &item, WEFT_NEVER);
}

ALWAYS_INLINE int middle(weft_channel *gate)
{
    return innermost(gate) + 1;
}

NO_INLINE int outer(weft_channel *gate)
{
    int result = middle(gate);

    KEEP_FRAME;
    return result;
}

static void *wait_inlined(void *arg)
{
    return (void *)(intptr_t)outer(arg);
}

static void check_inlined(const struct chain *chain)
{
    static const char *const wanted[] = {"innermost", "middle", "outer",
                                         "wait_inlined"};

    expect_is(chain->count, 4);
    for (size_t i = 0; i < 4; i++) {
        expect_text(chain->frames[i].function, wanted[i]);
        expect_is(chain->frames[i].inlined, i < 2);
        expect(chain->frames[i].line > 0);
    }
    expect(chain->frames[0].pc == chain->frames[2].pc);
    expect(chain->frames[2].pc != chain->frames[3].pc);
}

static void *stacks_body(void *arg)
{
    weft_task tasks[20];
    weft_channel *gate;
    struct chain chain;

    (void)arg;
    expect_is(weft_channel_new(sizeof(int), 1, "gate", &gate), 0);
    for (int i = 0; i < 20; i++)
        tasks[i] = child(NULL, i % 2 == 0 ? wait_inlined : receive, gate);
    weft_dump *dump = take_inside(20);
    uint32_t even = task_of(dump, tasks[0]).stack;
    uint32_t odd = task_of(dump, tasks[1]).stack;
    expect(even != odd);
    for (int i = 0; i < 20; i++)
        expect_is(task_of(dump, tasks[i]).stack, i % 2 == 0 ? even : odd);
    expect_is(info_of(dump).stacks, 4); // with ours, and the main thread's
    chain_of_stack(dump, even, &chain);
    check_inlined(&chain);
    expect_is(chain.end, WEFT_STACK_WHOLE);
    weft_dump_free(dump);
    expect_is(weft_channel_close(gate), 0);
    for (int i = 0; i < 20; i++)
        (void)join(tasks[i]);
    expect_is(weft_channel_free(gate), 0);
    return NULL;
}

static void test_stacks(void **state)
{
    (void)state;
    run_each(stacks_body);
}

enum { DEPTH = 1000 };

NO_INLINE int deep_end(weft_channel *gate)
{
    int item;
    int result = weft_channel_recv(gate, &item, WEFT_NEVER);

    KEEP_FRAME;
    return result;
}

// The depth is behind a pointer so that no compiler unrolls the recursion.
NO_INLINE int deeper(weft_channel *gate, volatile int *depth) // NOLINT
{
    *depth -= 1;
    int result = *depth > 0 ? deeper(gate, depth) : deep_end(gate);

    KEEP_FRAME;
    return result;
}

static void *go_deep(void *arg)
{
    volatile int depth = DEPTH;
    int result = deeper(arg, &depth);

    KEEP_FRAME;
    return (void *)(intptr_t)result;
}

static void check_deep(const weft_dump *dump, const weft_dump_task *task)
{
    struct chain chain;

    expect_is(task->stack_size, 1 << 20);
    expect(task->stack_used > DEPTH * sizeof(void *));
    expect(task->stack_used < task->stack_size);
    chain_of_stack(dump, task->stack, &chain);
    expect_is(chain.end, WEFT_STACK_CUT);
    expect(chain.count >= 100 && chain.count <= 128);
    expect_text(chain.frames[0].function, "deep_end");
    expect_text(chain.frames[chain.count - 1].function, "go_deep");
    for (size_t i = 1; i + 1 < chain.count; i++)
        expect_text(chain.frames[i].function, "deeper");
}

static void *deep_body(void *arg)
{
    weft_task_options options = {.size = sizeof options, .stack_size = 1 << 20};
    weft_channel *gate;
    weft_task task;

    (void)arg;
    expect_is(weft_channel_new(sizeof(int), 1, "gate", &gate), 0);
    expect_is(weft_task_spawn(&options, go_deep, gate, &task), 0);
    weft_dump *dump = take_inside(1);
    weft_dump_task found = task_of(dump, task);
    check_deep(dump, &found);
    expect_is(task_of(dump, weft_task_self()).stack_size, 64 << 10);
    weft_dump_free(dump);
    expect_is(weft_channel_close(gate), 0);
    expect_is(join(task), -EPIPE);
    expect_is(weft_channel_free(gate), 0);
    return NULL;
}

static void test_deep_stack(void **state)
{
    (void)state;
    run_each(deep_body);
}

// ---- The whole ----

static void test_info(void **state)
{
    weft_runtime_options options = {
        .size = sizeof options, .workers = 2, .name = "a runtime's name"};
    weft_runtime *runtime;
    struct timespec now;

    (void)state;
    expect_is(weft_runtime_new(&options, &runtime), 0);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int64_t before = now.tv_sec * WEFT_SECOND + now.tv_nsec;
    weft_dump *dump = take(runtime);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int64_t after = now.tv_sec * WEFT_SECOND + now.tv_nsec;
    weft_dump_info info = info_of(dump);
    expect_text(info.runtime, "a runtime's name");
    expect(info.wall_time_ns >= before && info.wall_time_ns <= after);
    expect(info.process_start_ns > 0 && info.process_start_ns <= after);
    expect(info.workers >= 2); // spare ones, too
    expect(info.pause_ns <= info.total_ns);
    weft_dump_free(dump);
    expect_is(weft_runtime_free(runtime), 0);
}

// What the tasks of a runtime wait for cannot be freed in mid-dump, and a dump
// needs none of it afterwards: names were copied.
static void *copied_body(void *arg)
{
    char name[] = "on the stack";
    weft_mutex *mutex = malloc(sizeof *mutex);

    (void)arg;
    expect_is(weft_mutex_init(mutex, name), 0);
    expect_is(weft_mutex_lock(mutex, WEFT_NEVER), 0);
    weft_dump *dump = take(weft_runtime_self());
    expect_is(weft_mutex_unlock(mutex), 0);
    expect_is(weft_mutex_deinit(mutex), 0);
    free(mutex);
    memset(name, 'x', sizeof name - 1);
    weft_dump_task self = task_of(dump, weft_task_self());
    expect_is(self.holds, 1);
    expect_text(object_at(dump, 0).name, "on the stack");
    weft_dump_free(dump);
    return NULL;
}

static void test_names_are_copied(void **state)
{
    (void)state;
    run_each(copied_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutex),
        cmocka_unit_test(test_holds_several),
        cmocka_unit_test(test_channel),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_join_scope_sleep),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_fresh_slot),
        cmocka_unit_test(test_new_and_done),
        cmocka_unit_test(test_stacks),
        cmocka_unit_test(test_deep_stack),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_names_are_copied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
