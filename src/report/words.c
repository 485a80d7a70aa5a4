// words.c -- What a finding says, in words: shared by text and JSON.
#include "report/words.h"

#include <string.h>

#include "report/view.h"

enum { NAME_COLUMNS = 24 };

static uint64_t id_of(const weft_dump *dump, uint32_t task)
{
    return model_task(dump, task).id;
}

static void add_id(struct str *str, const weft_dump *dump, uint32_t task)
{
    str_addf(str, "T%llu", (unsigned long long)id_of(dump, task));
}

static void add_object(struct str *str, const weft_dump *dump, uint32_t object)
{
    view_add_object(str, dump, object, true, NAME_COLUMNS);
}

static bool is_channel(const weft_dump *dump, uint32_t object)
{
    return object != WEFT_NONE && model_is_channel(dump->objects[object].kind);
}

// Whether those who wait on a channel want to receive.
static bool receives(const weft_dump *dump, uint32_t object)
{
    return dump->objects[object].receives;
}

// ---- What a task is doing ----

static void add_wait(struct str *str, const weft_dump *dump,
                     const struct model_task *m)
{
    switch ((enum weft_wait_kind)m->wait) {
    case WEFT_WAIT_CHAN_SEND:
        str_add(str, " to send to ");
        break;
    case WEFT_WAIT_CHAN_RECV:
        str_add(str, " to receive from ");
        break;
    case WEFT_WAIT_JOIN:
        str_addf(str, " for T%llu to end", (unsigned long long)m->wait_task);
        return;
    case WEFT_WAIT_SCOPE:
        str_add(str, " for the children of ");
        view_add_scope(str, dump, m->object, NAME_COLUMNS);
        return;
    case WEFT_WAIT_SCOPE_SPAWN:
        str_add(str, " for a place in ");
        break;
    case WEFT_WAIT_SCOPE_NEXT:
        str_add(str, " for the next child to end of ");
        break;
    case WEFT_WAIT_SLEEP:
        str_add(str, " in a sleep");
        return;
    case WEFT_WAIT_INTERVAL:
        str_add(str, " for the tick of an interval");
        return;
    case WEFT_WAIT_WALL:
        str_add(str, " for a wall-clock time");
        return;
    case WEFT_WAIT_FD:
        str_addf(str, " to %s fd %d", m->wait_write ? "write to" : "read from",
                 m->wait_fd);
        return;
    case WEFT_WAIT_DUMP:
        str_add(str, " for a dump");
        return;
    case WEFT_WAIT_SELECT:
        str_add(str, " for the first of ");
        view_add_choice(str, dump, m->choice);
        return;
    case WEFT_WAIT_BLOCKING:
        str_add(str, " for a blocking call on another thread");
        return;
    default:
        str_add(str, " for ");
        break;
    }
    if (m->object != WEFT_NONE)
        add_object(str, dump, m->object);
    else
        str_add(str, "something");
}

static void add_running(struct str *str, const weft_dump *dump,
                        const struct model_task *m)
{
    str_add(str, "has run for ");
    str_add_time(str, m->state_ns);
    if (m->worker >= dump->worker_count)
        return;
    const weft_dump_worker *worker = &dump->workers[m->worker];
    str_addf(str, " on worker %u (tid %d)", worker->index, worker->tid);
    if (worker->in_syscall) {
        str_add(str, ", inside ");
        view_add_syscall(str, worker);
    }
    if (worker->handed_off)
        str_add(str, "; another worker has its place");
}

void words_doing(struct str *str, const weft_dump *dump, uint32_t task)
{
    const struct model_task m = model_task(dump, task);

    switch ((enum weft_task_state)m.state) {
    case WEFT_STATE_RUNNING:
        add_running(str, dump, &m);
        return;
    case WEFT_STATE_READY:
    case WEFT_STATE_NEW:
        str_add(str, "is ready, and not run, for ");
        str_add_time(str, m.state_ns);
        return;
    case WEFT_STATE_DONE:
        str_add(str, "has ended");
        return;
    case WEFT_STATE_WAITING:
        str_add(str, "waits ");
        str_add_time(str, m.state_ns);
        add_wait(str, dump, &m);
        return;
    }
}

const char *words_relation(const weft_dump *dump,
                           const struct model_finding *finding, uint32_t which)
{
    uint32_t object =
        which == 0 ? finding->object : finding->objects[which - 1];

    if (object == WEFT_NONE)
        return model_task(dump, finding->tasks[which - 1]).wait ==
                       WEFT_WAIT_SCOPE
                   ? "its child"
                   : "joined by it";
    if (!is_channel(dump, object))
        return "held by";
    return receives(dump, object) ? "last sender" : "last receiver";
}

static const char *close_call(enum weft_object_kind kind)
{
    return kind == WEFT_OBJECT_BROADCAST ? "weft_broadcast_close"
           : kind == WEFT_OBJECT_WATCH   ? "weft_watch_close"
                                         : "weft_channel_close";
}

// ---- Titles ----

static void add_tasks(struct str *str, uint64_t count, const char *one,
                      const char *many)
{
    if (count == 1) {
        str_addf(str, "a task %s", one);
        return;
    }
    str_add_count(str, count);
    str_addf(str, " tasks %s", many);
}

static void title_of_stall(struct str *str, const weft_dump *dump,
                           const struct model_finding *finding)
{
    uint32_t object = finding->object;
    bool channel = is_channel(dump, object);
    bool receive = channel && receives(dump, object);

    add_tasks(str, finding->count, "waits", "wait");
    str_add(str, !channel  ? " for "
                 : receive ? " to receive from "
                           : " to send to ");
    add_object(str, dump, object);
    str_add(str, !channel  ? "; none got it for "
                 : receive ? "; nothing was sent for "
                           : "; nothing was received for ");
    str_add_time(str, finding->since_ns);
}

static void title_of_lost_peer(struct str *str, const weft_dump *dump,
                               const struct model_finding *finding)
{
    bool receive = receives(dump, finding->object);

    add_tasks(str, finding->count, "waits", "wait");
    str_add(str, receive ? " to receive from " : " to send to ");
    add_object(str, dump, finding->object);
    str_add(str, receive ? ", whose only sender has ended"
                         : ", whose only receiver has ended");
}

static void title_of_call(struct str *str, const weft_dump *dump,
                          const struct model_finding *finding)
{
    str_add(str, "task has kept its worker inside ");
    if (finding->worker < dump->worker_count)
        view_add_place(str, &dump->workers[finding->worker]);
    str_add(str, " for ");
    str_add_time(str, finding->since_ns);
}

static void title_of_growth(struct str *str, const weft_dump *dump,
                            const struct model_finding *finding)
{
    (void)dump;
    str_add_count(str, finding->count);
    str_add(str, " tasks of one spawn site are alive, ");
    str_add_count(str, finding->count - (uint64_t)finding->figure);
    str_add(str, " more than ");
    str_add_time(str, finding->since_ns);
    str_add(str, " before");
}

static void title_of_deadlock(struct str *str,
                              const struct model_finding *finding)
{
    if (finding->task_count == 1) {
        str_add(str, "a task waits for itself");
        return;
    }
    str_add_count(str, finding->task_count);
    str_add(str, " tasks wait for each other");
}

static void title_of_ready(struct str *str, const struct model_finding *finding)
{
    add_tasks(str, finding->count, "is ready and not run, for ",
              "are ready and not run, the longest for ");
    str_add_time(str, finding->since_ns);
}

void words_title(struct str *str, const weft_dump *dump,
                 const struct model_finding *finding)
{
    switch (finding->rule) {
    case WEFT_RULE_DEADLOCK:
        title_of_deadlock(str, finding);
        break;
    case WEFT_RULE_NO_YIELD:
        str_add(str, "task has run ");
        str_add_time(str, finding->since_ns);
        str_add(str, " without yielding");
        break;
    case WEFT_RULE_ALL_ASLEEP:
        add_tasks(str, finding->count, "waits, and nothing is left to wake it",
                  "wait, all there are, and nothing is left to wake one");
        break;
    case WEFT_RULE_STALL:
        title_of_stall(str, dump, finding);
        break;
    case WEFT_RULE_LOST_PEER:
        title_of_lost_peer(str, dump, finding);
        break;
    case WEFT_RULE_SYSCALL:
        title_of_call(str, dump, finding);
        break;
    case WEFT_RULE_READY:
        title_of_ready(str, finding);
        break;
    case WEFT_RULE_STACK:
        add_tasks(str, finding->count, "has nearly filled its stack",
                  "have nearly filled their stacks");
        break;
    case WEFT_RULE_GROWTH:
        title_of_growth(str, dump, finding);
        break;
    case WEFT_RULE_COUNT:
        break;
    }
}

// ---- Hints ----

static void add_plain_name(struct str *str, const weft_dump *dump,
                           uint32_t object)
{
    const char *name = model_text(dump, dump->objects[object].name);

    if (name)
        str_add_bytes(str, name, strlen(name));
    else
        str_addf(str, "0x%llx",
                 (unsigned long long)dump->objects[object].address);
}

static bool is_held(const weft_dump *dump, uint32_t object)
{
    return object != WEFT_NONE && !is_channel(dump, object);
}

static void add_order(struct str *str, const weft_dump *dump,
                      const struct model_finding *finding)
{
    for (uint32_t i = 0; i < 2; i++) {
        str_addf(str, "%sT%llu locks ", i ? "; " : "",
                 (unsigned long long)id_of(dump, finding->tasks[i]));
        add_plain_name(str, dump, finding->objects[1 - i]);
        str_add(str, " then ");
        add_plain_name(str, dump, finding->objects[i]);
    }
}

// One who holds something while it waits for what is not held: the place where
// the circle is best opened. WEFT_NONE: all wait for what is held, or none.
static uint32_t find_mixed(const weft_dump *dump,
                           const struct model_finding *finding)
{
    uint32_t count = finding->task_count;

    for (uint32_t i = 0; i < count; i++)
        if (!is_held(dump, finding->objects[i]) &&
            is_held(dump, finding->objects[(i + count - 1) % count]))
            return i;
    return WEFT_NONE;
}

static void hint_of_deadlock(struct str *str, const weft_dump *dump,
                             const struct model_finding *finding)
{
    uint32_t count = finding->task_count;
    uint32_t mixed = find_mixed(dump, finding);

    if (count == 2 && is_held(dump, finding->objects[0]) &&
        is_held(dump, finding->objects[1])) {
        add_order(str, dump, finding);
    } else if (mixed != WEFT_NONE) {
        const struct model_task m = model_task(dump, finding->tasks[mixed]);
        str_add(str, "look whether ");
        add_id(str, dump, finding->tasks[mixed]);
        str_add(str, " must hold ");
        add_object(str, dump, finding->objects[(mixed + count - 1) % count]);
        str_add(str, " while it waits");
        add_wait(str, dump, &m);
    } else if (is_held(dump, finding->objects[0])) {
        str_add(str, "lock them in one order everywhere: that makes no circle");
    } else if (is_channel(dump, finding->objects[0])) {
        str_add(str, "look who else was to serve ");
        add_object(str, dump, finding->objects[0]);
        str_add(str, ", or who was to close it");
    } else {
        str_add(str, "look which of them should not wait for the next");
    }
}

static void add_worker(struct str *str, const weft_dump *dump,
                       const struct model_finding *finding)
{
    if (finding->worker < dump->worker_count)
        str_addf(str, "worker %u of %zu serves no other task meanwhile; ",
                 dump->workers[finding->worker].index, dump->worker_count);
}

static void hint_of_stall(struct str *str, const weft_dump *dump,
                          const struct model_finding *finding)
{
    uint32_t count = finding->task_count;

    if (count == 0 && dump->objects[finding->object].owner_tid != 0) {
        str_addf(str, "look what thread %d does while it holds ",
                 (int)dump->objects[finding->object].owner_tid);
        add_object(str, dump, finding->object);
        return;
    }
    if (count == 0) {
        str_add(str, "look who was to serve ");
        add_object(str, dump, finding->object);
        return;
    }
    uint32_t held = count == 1 ? finding->object : finding->objects[count - 2];
    str_add(str, "look what ");
    add_id(str, dump, finding->tasks[count - 1]);
    str_add(str, count == 1 ? " does" : ", the root of the chain, does");
    if (!is_held(dump, held))
        return;
    str_add(str, " while it holds ");
    add_object(str, dump, held);
}

static void hint_of_ready(struct str *str, const weft_dump *dump,
                          const struct model_finding *finding)
{
    uint64_t task = finding->worker < dump->worker_count
                        ? dump->workers[finding->worker].task
                        : 0;

    if (task != 0)
        str_addf(str, "look what T%llu does on worker %u, in whose queue it is",
                 (unsigned long long)task, finding->worker);
    else
        str_addf(str,
                 "look what the %zu worker%s do%s meanwhile, or have more of "
                 "them",
                 dump->worker_count, view_plural(dump->worker_count),
                 dump->worker_count == 1 ? "es" : "");
}

void words_hint(struct str *str, const weft_dump *dump,
                const struct model_finding *finding)
{
    switch (finding->rule) {
    case WEFT_RULE_DEADLOCK:
        hint_of_deadlock(str, dump, finding);
        break;
    case WEFT_RULE_NO_YIELD:
        add_worker(str, dump, finding);
        str_add(str, "let it call weft_task_yield");
        break;
    case WEFT_RULE_ALL_ASLEEP:
        str_add(str,
                "look who was to wake them: a send, an unlock or a close is "
                "missing");
        break;
    case WEFT_RULE_STALL:
        hint_of_stall(str, dump, finding);
        break;
    case WEFT_RULE_LOST_PEER:
        str_addf(str, "look whether T%llu ended too early, or was to call %s",
                 (unsigned long long)finding->lost,
                 close_call(dump->objects[finding->object].kind));
        break;
    case WEFT_RULE_SYSCALL:
        add_worker(str, dump, finding);
        str_add(str, "use weft's own call or weft_blocking_run");
        break;
    case WEFT_RULE_READY:
        hint_of_ready(str, dump, finding);
        break;
    case WEFT_RULE_STACK:
        str_add(str,
                "look for a recursion or large locals, or give it a greater "
                "stack_size");
        break;
    case WEFT_RULE_GROWTH:
        str_add(str,
                "look whether tasks started there ever end, and what limits "
                "their number");
        break;
    case WEFT_RULE_COUNT:
        break;
    }
}
