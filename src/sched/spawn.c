// spawn.c -- A task's birth and end; joining, detaching, cancelling it.
//
//   I1  A task's end is decided under its slot's lock: by `join` it goes to
//       the waiting joiner, to its owner, to nobody, or stays in the slot as
//       DONE until it is asked for. Exactly one of these, so the slot is
//       released exactly once.
//   I2  A slot found by handle is used only under its lock, after the
//       generation was compared there (table.c T2).
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "sched/local.h"
#include "sched/runtime.h"
#include "task/waiter.h"

enum {
    FREE_MAX = 64,   // slots a core keeps
    FREE_BATCH = 32, // that it takes and gives at once
    ID_BATCH = 64,
};

// ---- Slots ----

static bool is_local(struct worker *worker, const struct weft_runtime *runtime)
{
    return worker != NULL && worker->runtime == runtime && worker->core != NULL;
}

static int take_slot(struct weft_runtime *runtime, struct core *core,
                     uint32_t class, struct task **ret_task)
{
    struct task_list taken = {0};
    bool cached = core != NULL && class == runtime->stack_class;
    uint32_t batch = cached ? FREE_BATCH : 1;

    if (cached && core->free != NULL) {
        *ret_task = core->free;
        core->free = core->free->next;
        core->free_count--;
        return 0;
    }
    int error = table_take(&runtime->table, class, batch, &taken);
    if (error != 0)
        return error;
    *ret_task = task_list_pop(&taken);
    if (cached) {
        core->free = taken.head;
        core->free_count = taken.count;
    }
    return 0;
}

static void give_many(struct weft_runtime *runtime, struct core *core)
{
    struct task_list many = {0};

    for (uint32_t i = 0; i < FREE_BATCH; i++) {
        struct task *task = core->free;
        core->free = task->next;
        task_list_push(&many, task);
    }
    core->free_count -= FREE_BATCH;
    table_give(&runtime->table, &many);
}

static void give_slot(struct task *task)
{
    struct weft_runtime *runtime = runtime_of(task);
    struct worker *worker = worker_self();

    if (is_local(worker, runtime) &&
        task->stack_class == runtime->stack_class) {
        struct core *core = worker->core;
        task->next = core->free;
        core->free = task;
        if (++core->free_count > FREE_MAX)
            give_many(runtime, core);
        return;
    }
    struct task_list one = {0};
    task_list_push(&one, task);
    table_give(&runtime->table, &one);
}

// task.h S1: a task that ended before the meeting is still to be captured.
static void release_captured(struct task *task)
{
    uint32_t epoch = task_epoch(task); // task.h P3
    struct weft_runtime *runtime;

    if (epoch == 0 ||
        load_acquire(&task->mark) == MARK(epoch, MARK_TAKEN)) // S1
        return;
    runtime = runtime_of(task);
    runtime->trace->before_release(runtime, task);
}

void task_release(struct task *task)
{
    release_captured(task);
    uint64_t count = STATE_COUNT(load_relaxed(&task->state)); // ours

    store_relaxed(&task->state, STATE(count, 0, PHASE_FREE)); // task.h P5
    store_release(&task->generation,
                  load_relaxed(&task->generation) + 1); // table.c T2, task.h P5
    lock_release(&task->lock);
    give_slot(task);
}

// ---- Birth ----

static void copy_name(char *to, const char *from)
{
    size_t length = from == NULL ? 0 : strnlen(from, WEFT_NAME_MAX - 1);

    memcpy(to, from == NULL ? "" : from, length);
    to[length] = '\0';
}

static bool copy_labels(struct task *child, const struct task *parent)
{
    _Atomic(struct label *) *end = &child->top->labels;
    struct label *from = NULL;

    store_relaxed(end, NULL); // the child is not shared yet
    if (parent != NULL)
        from = load_relaxed(&parent->top->labels); // our own
    for (; from != NULL; from = load_relaxed(&from->next)) {
        struct label *label = malloc(sizeof *label);
        if (label == NULL)
            return false;
        memcpy(label->key, from->key, sizeof label->key);
        memcpy(label->value, from->value, sizeof label->value);
        store_relaxed(&label->next, NULL);
        store_release(end, label); // task.h, struct label; P1
        end = &label->next;
    }
    return true;
}

static void free_labels(struct task *task)
{
    struct label *label;

    while ((label = load_relaxed(&task->top->labels)) != NULL) { // our own
        store_relaxed(&task->top->labels, load_relaxed(&label->next));
        limbo_free(&label->grave, label);
    }
}

static uint64_t new_id(struct weft_runtime *runtime, struct core *core)
{
    if (core == NULL)
        return add_relaxed(&runtime->next_id, 1);
    if (core->id_next == core->id_end) {
        core->id_next = add_relaxed(&runtime->next_id, ID_BATCH);
        core->id_end = core->id_next + ID_BATCH;
    }
    return core->id_next++;
}

// The first function on every task's stack.
static void body(void *arg)
{
    struct task *task = arg;

    sched_arrive(task);
    task->arg = task->fn(task->arg);
    if (task->top->locals != NULL)
        locals_end(task);
    struct worker *worker = worker_self();
    if (worker == NULL)
        panic("a child forked from a task returned from the task's function: "
              "it must exec or exit");
    sched_leave(worker, task, LEAVE_DONE);
}

static bool check(const weft_task_options *options, weft_task_fn *fn,
                  const struct spawn *spawn)
{
    if (fn == NULL)
        return false;
    return options == NULL ||
           (options->size == sizeof *options &&
            (options->ret_result == NULL || spawn->owner != NULL));
}

// What dumps tell of a birth.
static void note_birth(struct task *task, const struct task *parent,
                       uintptr_t site)
{
    task->spawned = port_ticks();
    store_relaxed(&task->since, task->spawned); // a figure
    store_relaxed(&task->cpu, 0);               // a figure
    task->wait_kind = WEFT_WAIT_NONE;
    task->site = site;
    task->parent = parent == NULL ? 0 : parent->id;
    task->top->first_count = STATE_COUNT(load_relaxed(&task->state)); // ours
}

// Everything of a slot that is the task's, save its state and its id.
static bool fill(struct task *task, const weft_task_options *options,
                 weft_task_fn *fn, void *arg, const struct spawn *spawn)
{
    uint32_t epoch = task_epoch(task); // task.h P3
    struct task *parent = task_self();

    // Relaxed: published with the state; and who still reads the slot as what
    // it was finds out by its lock (task.h P5).
    if (epoch != 0)
        store_relaxed(&task->mark, MARK(epoch, MARK_TAKEN)); // task.h S1

    if (parent != NULL && parent->tag != task->tag)
        parent = NULL; // of another runtime, whose ids and labels are its own
    if (!copy_labels(task, parent)) {
        free_labels(task);
        return false;
    }
    copy_name(task->top->name, options == NULL ? NULL : options->name);
    fiber_init(&task->top->fiber, stack_low(task),
               (size_t)((char *)task->top - stack_low(task)));
    task->sp = switch_prepare(task->top, body, task);
    store_relaxed(&task->canceled, 0); // published with the state
    task->shield = 0;
    task->fn = fn;
    task->arg = arg;
    if (DUMPS_SERVED)
        note_birth(task, parent, spawn->site);
    task->held = NULL;
    task->top->locals = NULL;
    task->top->holds_used = 0;
    task->ret_result = options == NULL ? NULL : options->ret_result;
    task->owner = spawn->owner;
    task->scopes = NULL;
    task->scope_deadline = spawn->deadline_ns;
    return true;
}

// Counts a task spawned by a thread, unless the runtime is ending: shutdown.c.
static bool count_outside(struct weft_runtime *runtime)
{
    lock_acquire(&runtime->inject.lock);
    bool runs = load_relaxed(&runtime->phase) == RUNTIME_RUNS;
    if (runs)
        runtime->outside++;
    lock_release(&runtime->inject.lock);
    return runs;
}

static void uncount_outside(struct weft_runtime *runtime)
{
    lock_acquire(&runtime->inject.lock);
    runtime->outside--;
    lock_release(&runtime->inject.lock);
}

// Counts a task towards max_tasks, if that is a limit. False: it is reached.
static bool count_living(struct weft_runtime *runtime)
{
    if (runtime->max_tasks == TABLE_MAX)
        return true;
    if (add_relaxed(&runtime->living, 1) < runtime->max_tasks)
        return true;
    (void)sub_relaxed(&runtime->living, 1);
    return false;
}

static void uncount_living(struct weft_runtime *runtime)
{
    if (runtime->max_tasks != TABLE_MAX)
        (void)sub_relaxed(&runtime->living, 1);
}

static int make(struct weft_runtime *runtime, struct core *core,
                const weft_task_options *options, weft_task_fn *fn, void *arg,
                const struct spawn *spawn, struct task **ret_task)
{
    uint32_t class = runtime->stack_class;
    struct task *task;

    if (options != NULL && options->stack_size != 0)
        class = stack_class(options->stack_size);
    if (class == 0)
        return -EINVAL;
    if (!count_living(runtime))
        return -EAGAIN;
    int error = take_slot(runtime, core, class, &task);
    if (error == 0 && !fill(task, options, fn, arg, spawn)) {
        give_slot(task);
        error = -ENOMEM;
    }
    if (error != 0) {
        uncount_living(runtime);
        return error;
    }
    task->id = new_id(runtime, core);
    *ret_task = task;
    return 0;
}

static void publish(struct task *task, enum join_mode mode)
{
    uint64_t count = STATE_COUNT(load_relaxed(&task->state));

    task->join = (uint8_t)mode;
    if (task->owner != NULL)
        task->owner->begins(task->owner, task);
    store_release(&task->state, STATE(count, 0, PHASE_NEW)); // task.h P1
    sched_schedule(task);
}

int task_spawn(const weft_task_options *options, weft_task_fn *fn, void *arg,
               const struct spawn *spawn, weft_task *ret_task)
{
    struct worker *worker = worker_self();
    struct weft_runtime *runtime = worker == NULL ? NULL : worker->runtime;
    struct task *task = NULL;

    if (!check(options, fn, spawn))
        return -EINVAL;
    if (options != NULL && options->runtime != NULL)
        runtime = options->runtime;
    if (runtime == NULL)
        return -EPERM;
    struct core *core = is_local(worker, runtime) ? worker->core : NULL;
    if (core == NULL ? !count_outside(runtime)
                     : load_relaxed(&runtime->phase) != RUNTIME_RUNS)
        return -ESHUTDOWN; // missed by a moment: shutdown.c S2
    int error = make(runtime, core, options, fn, arg, spawn, &task);
    if (error != 0) {
        if (core == NULL)
            uncount_outside(runtime);
        return error;
    }
    if (core != NULL)
        store_relaxed(&core->spawned, load_relaxed(&core->spawned) + 1);
    if (ret_task != NULL)
        *ret_task = task_handle(task);
    publish(task, spawn->owner != NULL
                      ? (spawn->kept ? JOIN_KEPT : JOIN_SCOPED)
                      : (ret_task != NULL ? JOIN_OPEN : JOIN_DETACHED));
    return 0;
}

int weft_task_spawn(const weft_task_options *options, weft_task_fn *fn,
                    void *arg, weft_task *ret_task)
{
    struct spawn spawn = {
        .site = (uintptr_t)__builtin_return_address(0),
        .deadline_ns = WEFT_NEVER,
    };

    return task_spawn(options, fn, arg, &spawn, ret_task);
}

// ---- End ----

static const char *held_word(const struct held *held)
{
    return held->kind == WEFT_OBJECT_MAGIC + WEFT_OBJECT_MUTEX ? "mutex"
                                                               : "rwlock";
}

// A task that ends with something open has left others without hope: say so
// while the names are still known.
static void check_end(struct task *task)
{
    char text[TASK_LABEL_MAX];

    if (task->held != NULL)
        panic("task %s ended while it held %s \"%s\"",
              task_describe(task, text), held_word(task->held),
              task->held->name == NULL ? "" : task->held->name);
    if (task->scopes != NULL)
        panic("task %s ended inside a scope that it had entered",
              task_describe(task, text));
    if (!stack_intact(task))
        panic("task %s overflowed its stack of %zu bytes",
              task_describe(task, text), (size_t)1 << task->stack_class);
}

// Once the lock is given back the slot may be another task's: so `current`
// names it no more by then (dump/missing.c I1).
static void hand_over(struct worker *worker, struct task *task)
{
    struct task *ready = NULL;

    task_set_phase(task, 0, PHASE_DONE);
    store_release(&worker->current, NULL); // worker.c C3
    switch ((enum join_mode)task->join) {
    case JOIN_OPEN:
    case JOIN_KEPT:
        lock_release(&task->lock);
        return;
    case JOIN_WAITED:
        *(void **)task->joiner->data = task->arg;
        enum fired fired = waiter_fire(task->joiner, 0, &ready);
        if (fired == FIRED_LOST) { // it gave up, and will see DONE
            task->join = JOIN_OPEN;
            lock_release(&task->lock);
            return;
        }
        task_release(task);
        if (fired == FIRED_READY)
            sched_schedule(ready);
        return;
    case JOIN_SCOPED:
    case JOIN_DETACHED:
        task_release(task);
        return;
    }
}

void task_finish(struct worker *worker, struct core *core, struct task *task)
{
    struct weft_runtime *runtime = worker->runtime;

    check_end(task);
    free_labels(task);
    fiber_deinit(&task->top->fiber);
    // Counted before anyone hears of the end, so that nobody who has waited
    // for it still finds the task among the living.
    uncount_living(runtime);
    store_release(&core->finished,
                  load_relaxed(&core->finished) + 1); // shutdown.c S1
    if (task->owner != NULL)
        task->owner->ended(task->owner, task);
    lock_acquire(&task->lock);
    hand_over(worker, task);
    port_barrier_light(); // shutdown.c S1
    // Relaxed: the barrier orders it, and nothing is read by what it says.
    if (load_relaxed(&runtime->phase) != RUNTIME_RUNS) {
        (void)add_acq_rel(&runtime->finishing, 1); // shutdown.c S1
        port_futex_wake(&runtime->finishing, 1);
    }
}

// ---- Cancelling and detaching ----

// Ends the task's wait, unless it is behind a shield of a higher level.
static void deliver(struct task *task, int level)
{
    uint64_t word = load_seq_cst(&task->state); // task.h P2
    enum phase phase = STATE_PHASE(word);

    if (phase != PHASE_PARKING && phase != PHASE_WAITING)
        return;
    if (level < STATE_OUTCOME(word))
        return;
    if (waiter_fire_word(task, word, ECANCELED) == FIRED_READY)
        sched_schedule(task);
}

void task_cancel(struct task *task)
{
    (void)or_seq_cst(&task->canceled, TASK_CANCELED); // task.h P2
    deliver(task, 0);
}

void task_cancel_inside(struct task *task, uint32_t level)
{
    uint32_t canceled = load_relaxed(&task->canceled); // a guess
    uint32_t wanted;

    do {
        wanted = canceled >> CANCEL_SHIFT >= level
                     ? canceled // stored all the same: scope.c C2
                     : (canceled & TASK_CANCELED) | level << CANCEL_SHIFT;
    } while (!cas_seq_cst(&task->canceled, &canceled, wanted)); // task.h P2
    deliver(task, (int)level);
}

void task_cancel_outside(struct task *task)
{
    uint32_t canceled = load_relaxed(&task->canceled); // a guess

    // Relaxed: the scopes' locks order it, scope.c C2.
    while (!cas_relaxed(&task->canceled, &canceled, canceled & TASK_CANCELED))
        continue;
}

// The slot of a handle, locked; NULL: no such task any more.
static struct task *visit_locked(weft_task handle, struct visit *ret_visit)
{
    struct task *task = task_visit(handle, ret_visit);

    if (task == NULL)
        return NULL;
    lock_acquire(&task->lock);
    if (table_is(task, handle)) // I2
        return task;
    lock_release(&task->lock);
    task_unvisit(ret_visit);
    return NULL;
}

int weft_task_cancel(weft_task handle)
{
    struct visit visit;
    struct task *task = visit_locked(handle, &visit);

    if (task == NULL)
        return -ESRCH;
    task_cancel(task);
    lock_release(&task->lock);
    task_unvisit(&visit);
    return 0;
}

// The lock is held, and given back.
static int detach(struct task *task)
{
    int error = 0;

    if (task->join == JOIN_WAITED) {
        error = -EBUSY;
    } else if (task->join != JOIN_OPEN) {
        error = -ESRCH;
    } else if (STATE_PHASE(load_acquire(&task->state)) == PHASE_DONE) { // P1
        task_release(task);
        return 0;
    } else {
        task->join = JOIN_DETACHED;
    }
    lock_release(&task->lock);
    return error;
}

void *task_reap(struct task *task)
{
    lock_acquire(&task->lock);
    void *result = task->arg;
    if (STATE_PHASE(load_acquire(&task->state)) == PHASE_DONE) { // task.h P1
        task_release(task);
    } else {
        task->join = JOIN_DETACHED; // its worker has yet to hand it over
        lock_release(&task->lock);
    }
    return result;
}

int weft_task_detach(weft_task handle)
{
    struct visit visit;
    struct task *task = visit_locked(handle, &visit);

    if (task == NULL)
        return -ESRCH;
    int error = detach(task);
    task_unvisit(&visit);
    return error;
}
