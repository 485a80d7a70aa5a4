// json_tasks.c -- Objects, workers, tasks and groups as JSON.
#include "report/json_view.h"

const char *json_state_name(unsigned state)
{
    static const char *const names[] = {
        [WEFT_STATE_RUNNING] = "running", [WEFT_STATE_READY] = "ready",
        [WEFT_STATE_WAITING] = "waiting", [WEFT_STATE_NEW] = "new",
        [WEFT_STATE_DONE] = "done",
    };

    return names[state];
}

const char *json_wait_name(unsigned wait)
{
    static const char *const names[] = {
        [WEFT_WAIT_MUTEX] = "mutex",
        [WEFT_WAIT_CHAN_SEND] = "chan_send",
        [WEFT_WAIT_CHAN_RECV] = "chan_recv",
        [WEFT_WAIT_JOIN] = "join",
        [WEFT_WAIT_SCOPE] = "scope",
        [WEFT_WAIT_SLEEP] = "sleep",
        [WEFT_WAIT_FD] = "fd",
        [WEFT_WAIT_DUMP] = "dump",
        [WEFT_WAIT_BLOCKING] = "blocking",
        [WEFT_WAIT_RWLOCK_READ] = "rwlock_read",
        [WEFT_WAIT_RWLOCK_WRITE] = "rwlock_write",
        [WEFT_WAIT_SEMAPHORE] = "semaphore",
        [WEFT_WAIT_COND] = "cond",
        [WEFT_WAIT_EVENT] = "event",
        [WEFT_WAIT_BARRIER] = "barrier",
        [WEFT_WAIT_ONCE] = "once",
        [WEFT_WAIT_WAITGROUP] = "waitgroup",
        [WEFT_WAIT_SELECT] = "select",
        [WEFT_WAIT_SCOPE_SPAWN] = "scope_spawn",
        [WEFT_WAIT_SCOPE_NEXT] = "scope_next",
        [WEFT_WAIT_INTERVAL] = "interval",
        [WEFT_WAIT_WALL] = "wall",
    };

    return names[wait];
}

// The name of an object's kind. Ids begin with a letter of each,
// those of channels of any kind with c.
static const char *object_kind_name(enum weft_object_kind kind,
                                    char *ret_letter)
{
    static const struct {
        const char *name;
        char letter;
    } kinds[] = {
        [WEFT_OBJECT_MUTEX] = {"mutex", 'm'},
        [WEFT_OBJECT_CHANNEL] = {"channel", 'c'},
        [WEFT_OBJECT_RWLOCK] = {"rwlock", 'r'},
        [WEFT_OBJECT_SEMAPHORE] = {"semaphore", 's'},
        [WEFT_OBJECT_COND] = {"cond", 'v'},
        [WEFT_OBJECT_EVENT] = {"event", 'e'},
        [WEFT_OBJECT_BARRIER] = {"barrier", 'b'},
        [WEFT_OBJECT_ONCE] = {"once", 'o'},
        [WEFT_OBJECT_WAITGROUP] = {"waitgroup", 'w'},
        [WEFT_OBJECT_ONESHOT] = {"oneshot", 'c'},
        [WEFT_OBJECT_BROADCAST] = {"broadcast", 'c'},
        [WEFT_OBJECT_WATCH] = {"watch", 'c'},
        [WEFT_OBJECT_SCOPE] = {"scope", 'p'},
    };

    *ret_letter = kinds[kind].letter;
    return kinds[kind].name;
}

// An index as a value; WEFT_NONE: null.
static void put_index(struct json *json, uint32_t index)
{
    if (index == WEFT_NONE)
        json_null(json);
    else
        json_int(json, index);
}

void json_task_id(struct json_view *view, uint64_t id)
{
    if (id && model_find(view->dump, id) != WEFT_NONE)
        json_int(&view->json, (int64_t)id);
    else
        json_null(&view->json);
}

void json_object_id(struct json_view *view, uint32_t object)
{
    if (object >= view->dump->object_count) {
        json_null(&view->json);
        return;
    }
    char letter;
    (void)object_kind_name(view->dump->objects[object].kind, &letter);
    json_textf(&view->json, "%c%u", letter, object + 1);
}

// ---- Objects. ----

// The `which`-th of an object's waiters or holders, or WEFT_NONE: no memory.
typedef uint32_t get_fn(const weft_dump *dump, uint32_t object, uint32_t which);

static uint32_t get_holder(const weft_dump *dump, uint32_t object,
                           uint32_t which)
{
    return dump->holders[dump->objects[object].holder + which];
}

// Tasks of an object: as KINDs, whether these are all, and how many.
static void put_tasks(struct json_view *view, const char *kind, uint32_t index,
                      uint32_t count, get_fn *get)
{
    const weft_dump *dump = view->dump;
    struct json *json = &view->json;
    bool whole = view->all || count <= JSON_SAMPLES;
    uint32_t written = whole ? count : JSON_SAMPLES;
    char key[32];

    snprintf(key, sizeof key, "%ss", kind);
    json_key(json, key);
    json_open(json, '[');
    for (uint32_t i = 0; i < written; i++) {
        uint32_t task = get(dump, index, i);
        if (task == WEFT_NONE) // the count is still true
            whole = false;
        else
            json_int(json, (int64_t)model_task(dump, task).id);
    }
    json_close(json, ']');
    snprintf(key, sizeof key, "%ss_complete", kind);
    json_key(json, key);
    json_bool(json, whole);
    snprintf(key, sizeof key, "%s_count", kind);
    json_key(json, key);
    json_int(json, count);
}

static void put_object(struct json_view *view, uint32_t index)
{
    const struct model_object *object = &view->dump->objects[index];
    struct json *json = &view->json;
    char letter;

    json_line(json, 2);
    json_open(json, '{');
    json_key(json, "id");
    json_object_id(view, index);
    json_key(json, "kind");
    json_text(json, object_kind_name(object->kind, &letter));
    json_key(json, "name");
    json_text(json, model_text(view->dump, object->name));
    json_key(json, "addr");
    json_hex(json, object->address);
    json_key(json, "owner");
    json_task_id(view, object->owner);
    json_key(json, "owner_tid");
    if (object->owner_tid != 0)
        json_int(json, object->owner_tid);
    else
        json_null(json);
    json_key(json, "acquired_at");
    json_place(view, object->taken_pc);
    json_key(json, "held_us");
    if (object->owner || object->owner_tid)
        json_us(json, object->held_ns);
    else
        json_null(json);
    put_tasks(view, "holder", index, object->holder_count, get_holder);
    put_tasks(view, "waiter", index, object->waiter_count, model_waiter);
    json_key(json, "used");
    json_int(json, (int64_t)object->used);
    json_key(json, "limit");
    json_int(json, (int64_t)object->limit);
    json_close(json, '}');
}

void json_objects(struct json_view *view)
{
    json_key(&view->json, "objects");
    json_open(&view->json, '[');
    for (uint32_t i = 0; i < view->dump->object_count; i++)
        put_object(view, i);
    json_close(&view->json, ']');
}

// ---- Workers. ----

static void put_syscall(struct json *json, const weft_dump_worker *worker)
{
    json_key(json, "syscall");
    if (worker->in_syscall)
        json_syscall(json, worker->syscall, worker->syscall_fd,
                     worker->syscall_fd_name, worker->syscall_ns);
    else
        json_null(json);
}

void json_workers(struct json_view *view)
{
    static const char *const states[] = {
        [WEFT_WORKER_IDLE] = "idle",
        [WEFT_WORKER_MET] = "met",
        [WEFT_WORKER_MISSING] = "missing",
        [WEFT_WORKER_STOPPED] = "stopped",
    };
    struct json *json = &view->json;

    json_key(json, "workers");
    json_open(json, '[');
    for (size_t i = 0; i < view->dump->worker_count; i++) {
        const weft_dump_worker *worker = &view->dump->workers[i];
        json_line(json, 2);
        json_open(json, '{');
        json_key(json, "id");
        json_int(json, worker->index);
        json_key(json, "tid");
        json_int(json, worker->tid);
        json_key(json, "state");
        json_text(json, states[worker->state]);
        json_key(json, "task");
        json_task_id(view, worker->task);
        json_key(json, "busy_us");
        if (worker->task)
            json_us(json, worker->busy_ns);
        else
            json_null(json);
        json_key(json, "handed_off");
        json_bool(json, worker->handed_off);
        json_key(json, "queued");
        json_int(json, worker->queued);
        put_syscall(json, worker);
        json_close(json, '}');
    }
    json_close(json, ']');
}

// ---- Tasks. ----

static void put_fd(struct json *json, int fd, bool write)
{
    json_key(json, "fd");
    json_int(json, fd);
    json_key(json, "events");
    json_open(json, '[');
    json_text(json, write ? "write" : "read");
    json_close(json, ']');
}

static void put_clause(struct json_view *view,
                       const struct model_clause *clause)
{
    struct json *json = &view->json;

    json_open(json, '{');
    json_key(json, "kind");
    json_text(json, json_wait_name(clause->wait));
    json_key(json, "object");
    json_object_id(view, clause->object);
    if (clause->wait == WEFT_WAIT_JOIN) {
        json_key(json, "task");
        json_task_id(view, clause->task);
    }
    if (clause->wait == WEFT_WAIT_FD)
        put_fd(json, clause->fd, clause->write);
    json_close(json, '}');
}

static void put_choice(struct json_view *view, uint32_t index)
{
    const weft_dump *dump = view->dump;
    struct model_choice none = {0};
    const struct model_choice *choice =
        index < dump->choice_count ? &dump->choices[index] : &none;
    struct json *json = &view->json;

    json_key(json, "clauses");
    json_open(json, '[');
    for (uint32_t i = 0; i < choice->count; i++)
        put_clause(view, &dump->clauses[choice->clause + i]);
    json_close(json, ']');
    json_key(json, "clauses_complete");
    json_bool(json,
              index < dump->choice_count && choice->count == choice->total);
}

static void put_wait(struct json_view *view, const struct model_task *task)
{
    struct json *json = &view->json;
    const char *kind = json_wait_name(task->wait);

    if (!kind) {
        json_null(json);
        return;
    }
    json_open(json, '{');
    json_key(json, "kind");
    json_text(json, kind);
    json_key(json, "object");
    json_object_id(view, task->object);
    json_key(json, "timeout_in_us");
    if (task->timeout_in_ns == WEFT_NEVER)
        json_null(json);
    else
        json_us(json, task->timeout_in_ns);
    if (task->wait == WEFT_WAIT_JOIN) {
        json_key(json, "task");
        json_task_id(view, task->wait_task);
    }
    if (task->wait == WEFT_WAIT_FD)
        put_fd(json, task->wait_fd, task->wait_write);
    if (task->wait == WEFT_WAIT_SELECT)
        put_choice(view, task->choice);
    json_close(json, '}');
}

static void put_holds(struct json_view *view, const struct model_task *task)
{
    json_open(&view->json, '[');
    for (uint32_t i = 0; i < task->held_count; i++)
        json_object_id(view, view->dump->held[task->held + i]);
    json_close(&view->json, ']');
}

static void put_labels(struct json_view *view, uint32_t index)
{
    const char *key, *value;

    json_open(&view->json, '{');
    for (size_t i = 0; !weft_dump_get_label(view->dump, index, i, &key, &value);
         i++)
        json_member(&view->json, key, value);
    json_close(&view->json, '}');
}

static void put_origin(struct json_view *view, const struct model_task *task)
{
    struct json *json = &view->json;
    bool ended =
        task->parent && model_find(view->dump, task->parent) == WEFT_NONE;

    json_key(json, "parent");
    json_task_id(view, task->parent);
    json_key(json, "parent_ended"); // its id, if it is not in the dump
    if (ended)
        json_int(json, (int64_t)task->parent);
    else
        json_null(json);
    json_key(json, "spawn_site");
    put_index(json, task->site);
}

static void put_times(struct json *json, const struct model_task *task)
{
    json_key(json, "age_us");
    json_us(json, task->age_ns);
    json_key(json, "cpu_us");
    json_us(json, task->cpu_ns);
    json_key(json, "schedules");
    json_int(json, (int64_t)task->schedules);
}

static void put_task(struct json_view *view, uint32_t index)
{
    const struct model_task task = model_task(view->dump, index);
    struct json *json = &view->json;

    json_line(json, 2);
    json_open(json, '{');
    json_key(json, "id");
    json_int(json, (int64_t)task.id);
    json_key(json, "handle");
    json_hex(json, task.handle);
    json_key(json, "name");
    json_text(json, model_text(view->dump, task.name));
    json_key(json, "state");
    json_text(json, json_state_name(task.state));
    json_key(json, "state_us");
    json_us(json, task.state_ns);
    json_key(json, "wait");
    put_wait(view, &task);
    json_key(json, "worker");
    put_index(json, task.worker);
    json_key(json, "queue_place");
    put_index(json, task.queue_place);
    json_key(json, "stack");
    put_index(json, task.stack);
    put_times(json, &task);
    put_origin(view, &task);
    json_key(json, "holds");
    put_holds(view, &task);
    json_key(json, "labels");
    put_labels(view, index);
    json_key(json, "stack_bytes");
    json_open(json, '{');
    json_key(json, "used");
    json_int(json, task.stack_used);
    json_key(json, "size");
    json_int(json, task.stack_size);
    json_close(json, '}');
    json_close(json, '}');
}

void json_tasks(struct json_view *view)
{
    json_key(&view->json, "tasks");
    json_open(&view->json, '[');
    for (uint32_t i = 0; i < view->dump->task_count; i++)
        if (view->all || view->listed[i])
            put_task(view, i);
    json_close(&view->json, ']');
}

// ---- Groups. ----

static void put_group(struct json_view *view, uint32_t index)
{
    const struct group *group = &view->groups.groups[index];
    const struct model_task first = model_task(view->dump, group->first);
    bool whole = view->all || group->count <= JSON_SAMPLES;
    uint32_t written = whole ? group->count : JSON_SAMPLES;
    struct json *json = &view->json;

    json_line(json, 2);
    json_open(json, '{');
    json_key(json, "id");
    json_int(json, index);
    json_key(json, "count");
    json_int(json, group->count);
    json_key(json, "state");
    json_text(json, json_state_name(first.state));
    json_key(json, "wait_kind");
    json_text(json, json_wait_name(first.wait));
    json_key(json, "stack");
    put_index(json, first.stack);
    json_key(json, "tasks");
    json_open(json, '[');
    for (uint32_t i = 0; i < written; i++)
        json_int(json, (int64_t)model_task(view->dump,
                                           view->groups.tasks[group->start + i])
                           .id);
    json_close(json, ']');
    json_key(json, "tasks_complete");
    json_bool(json, whole);
    json_key(json, "state_us");
    json_open(json, '{');
    json_key(json, "min");
    json_us(json, group->min_ns);
    json_key(json, "median");
    json_us(json, group->median_ns);
    json_key(json, "max");
    json_us(json, group->max_ns);
    json_close(json, '}');
    json_close(json, '}');
}

void json_groups(struct json_view *view)
{
    json_key(&view->json, "groups");
    json_open(&view->json, '[');
    for (uint32_t i = 0; i < view->groups.count; i++)
        put_group(view, i);
    json_close(&view->json, ']');
}
