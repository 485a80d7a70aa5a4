// capture.c -- From a stopped world to a model of it.
//
// The leader walks the task table while nobody runs, save workers that did not
// come, each inside one task. What is read of the user's memory (mutexes and
// their names) is held fast by calls in progress: a task that waits for an
// object or holds it cannot return while the world stands, so the object
// cannot be freed by a program that keeps the rules. Stacks are read within
// their bounds, whatever they hold (unwind.h). A task that runs on a worker
// that did not come is captured where it stands, before all others
// (standing.h).
#include "dump/capture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/panic.h"
#include "dump/barrier.h"
#include "dump/calls.h"
#include "dump/finder.h"
#include "dump/fp_search.h"
#include "dump/intern.h"
#include "dump/standing.h"
#include "dump/steal_all.h"
#include "sync/channel.h"
#include "sync/mutex.h"
#include "sync/scope.h"

// How long those who run may take to answer the signal: a thread that is not
// kept from running by others does in some 20 us.
static const int64_t ANSWER_NS = 100000000;
static const int64_t STEP_NS = 50000;

// What a worker that did not come was found doing.
struct missing {
    uint32_t worker;         // index
    const struct task *task; // NULL: none, and nothing was asked
    struct standing_result found;
};

// What a capture needs while it works.
struct work {
    struct weft_runtime *runtime;
    struct weft_dump *dump;
    struct intern intern;
    struct cfi_cache *cache;
    uint64_t now;       // ticks of the meeting
    int64_t now_ns;     // the same on the clock
    uint32_t *index_of; // model index of each slot, or WEFT_NONE
    uint32_t slots;     // of the table, at the meeting
    struct missing *missing;
    uint32_t missing_count;
};

// ---- The cache of unwind rules, kept from dump to dump ----

static struct lock cache_lock;
static struct cfi_cache *cache_kept; // under cache_lock

struct cfi_cache *capture_cache_take(void)
{
    lock_acquire(&cache_lock);
    struct cfi_cache *cache = cache_kept;
    cache_kept = NULL;
    lock_release(&cache_lock);
    if (cache == NULL)
        cache = cfi_cache_new();
    if (cache != NULL)
        cfi_cache_refresh(cache);
    return cache;
}

void capture_cache_give(struct cfi_cache *cache)
{
    lock_acquire(&cache_lock);
    struct cfi_cache *spare = cache_kept;
    cache_kept = cache;
    lock_release(&cache_lock);
    cfi_cache_free(spare);
}

// ---- Stacks ----

static void saved_regs(const struct switch_frame *frame,
                       struct unwind_regs *ret_regs)
{
    *ret_regs = (struct unwind_regs){
        .pc = frame->pc, .valid = CFI_PRESERVED, .returns = true};
#if defined(__x86_64__)
    ret_regs->reg[3] = frame->rbx;
    ret_regs->reg[CFI_FP] = frame->rbp;
    ret_regs->reg[12] = frame->r12;
    ret_regs->reg[13] = frame->r13;
    ret_regs->reg[14] = frame->r14;
    ret_regs->reg[15] = frame->r15;
#else
    memcpy(&ret_regs->reg[19], &frame->x19, 10 * sizeof frame->x19);
    ret_regs->reg[CFI_FP] = frame->fp;
#endif
    ret_regs->reg[CFI_SP] = (uintptr_t)(frame + 1);
}

static const char *describe_end(const struct unwind_result *result, int kept,
                                struct model_stack *ret_stack)
{
    ret_stack->count = (uint32_t)kept;
    if (result->frames > (uint64_t)kept) {
        ret_stack->end = WEFT_STACK_CUT;
        ret_stack->cut = (uint32_t)(result->frames - (uint64_t)kept);
        ret_stack->cut_at = (uint32_t)kept - FRAMES_TAIL;
        return NULL;
    }
    ret_stack->end =
        result->end == UNWIND_OUTERMOST ? WEFT_STACK_WHOLE : WEFT_STACK_BROKEN;
    return result->end == UNWIND_OUTERMOST ? NULL
                                           : unwind_end_name(result->end);
}

// Not yet run: nothing is on the stack, so its function stands for it.
static void new_stack(const struct task *task, uintptr_t *pcs,
                      struct model_stack *ret_stack)
{
    pcs[0] = (uintptr_t)task->fn + 1; // no return address: model.h
    ret_stack->count = 1;
    ret_stack->end = WEFT_STACK_WHOLE;
}

static const char *keep_stack(const struct unwind_result *result, int kept,
                              uintptr_t *pcs, struct model_stack *ret_stack)
{
    for (int i = 0; i < kept && i < 64; i++)
        pcs[i] += result->exact >> i & 1; // model.h: as if it were one
    return describe_end(result, kept, ret_stack);
}

void capture_stack(struct cfi_cache *cache, const struct task *task,
                   uintptr_t *pcs, struct model_stack *ret_stack,
                   const char **ret_error)
{
    struct unwind_result result;
    struct unwind_regs regs;
    const struct switch_frame *frame = task->sp;
    struct unwind_memory memory = {
        .lo = (uintptr_t)(frame + 1),
        .hi = (uintptr_t)task->top,
    };

    *ret_error = NULL;
    *ret_stack = (struct model_stack){.error = WEFT_NONE};
    if (frame->pc == (uintptr_t)task_entry) {
        new_stack(task, pcs, ret_stack);
        return;
    }
    saved_regs(frame, &regs);
    int kept =
        unwind(cache, &regs, &memory, pcs, FRAMES_MAX, FRAMES_TAIL, &result);
    *ret_error = keep_stack(&result, kept, pcs, ret_stack);
}

bool capture_sound(const struct task *task)
{
    const char *sp = task->sp;

    return sp >= stack_low(task) + stack_guard_size() &&
           sp + sizeof(struct switch_frame) <= (const char *)task->top &&
           (uintptr_t)sp % sizeof(uintptr_t) == 0;
}

static uint32_t text(struct work *work, const char *string)
{
    return intern_text(&work->intern, string, strlen(string) + 1);
}

static void add_stack(struct work *work, const struct task *task,
                      struct model_task *m)
{
    uintptr_t pcs[FRAMES_MAX];
    struct model_stack stack;
    const char *error;

    capture_stack(work->cache, task, pcs, &stack, &error);
    if (error != NULL)
        stack.error = text(work, error);
    m->stack = intern_stack(&work->intern, &stack, pcs);
    m->stack_used = (uint32_t)(stack_high(task) - (char *)task->sp);
}

// Without frames; `why` may be NULL.
static void add_unknown_stack(struct work *work, const char *why,
                              struct model_task *m)
{
    struct model_stack stack = {.end = WEFT_STACK_UNKNOWN, .error = WEFT_NONE};

    if (why != NULL)
        stack.error = text(work, why);
    m->stack = intern_stack(&work->intern, &stack, NULL);
}

// ---- Tasks on workers that did not come ----

// C3 in worker.c: such a worker begins no other task while the meeting lasts.
static void ask_missing(struct work *work, struct missing *missing)
{
    struct worker *worker = &work->runtime->workers[missing->worker];
    const struct task *task = load_acquire(&worker->current); // worker.c C3

    if (task == NULL || task->index >= work->slots || worker->standing == NULL)
        return;
    missing->task = task;
    standing_ask(worker->standing,
                 (uintptr_t)stack_low(task) + stack_guard_size(),
                 (uintptr_t)task->top);
}

static struct standing *standing_of(const struct work *work, uint32_t missing)
{
    if (work->missing[missing].task == NULL)
        return NULL;
    return work->runtime->workers[work->missing[missing].worker].standing;
}

// Whether all have answered.
static bool advance_missing(const struct work *work)
{
    bool all = true;

    for (uint32_t i = 0; i < work->missing_count; i++) {
        struct standing *standing = standing_of(work, i);
        if (standing != NULL && !standing_advance(standing))
            all = false;
    }
    return all;
}

static void await_missing(const struct work *work)
{
    int64_t deadline_ns = port_now() + ANSWER_NS;
    atomic_u32 never = 0;

    while (!advance_missing(work) && port_now() < deadline_ns)
        (void)port_futex_wait(&never, 0, port_now() + STEP_NS);
    for (uint32_t i = 0; i < work->missing_count; i++) {
        struct standing *standing = standing_of(work, i);
        if (standing != NULL)
            standing_take(standing, &work->missing[i].found);
    }
}

// Asks all, then waits for all: those that cannot answer cost their time once.
static int capture_missing(struct work *work, const uint8_t *places)
{
    uint32_t count = work->runtime->worker_count;

    for (uint32_t i = 0; i < count; i++)
        work->missing_count += places[i] == PLACE_MISSING;
    if (work->missing_count == 0)
        return 0;
    work->missing = calloc(work->missing_count, sizeof *work->missing);
    if (work->missing == NULL)
        return -ENOMEM;
    struct missing *missing = work->missing;
    for (uint32_t i = 0; i < count; i++)
        if (places[i] == PLACE_MISSING) {
            missing->worker = i;
            ask_missing(work, missing++);
        }
    await_missing(work);
    return 0;
}

static const struct missing *find_missing(const struct work *work,
                                          const struct task *task)
{
    for (uint32_t i = 0; i < work->missing_count; i++)
        if (work->missing[i].task == task)
            return &work->missing[i];
    return NULL;
}

// The bytes may end before the stack does.
static const char *explain_end(const struct task *task,
                               const struct standing_result *found,
                               const struct unwind_result *result,
                               const char *error)
{
    if (result->end == UNWIND_OUTSIDE &&
        found->memory.hi < (uintptr_t)task->top)
        return "deeper than what is copied of a task that runs";
    return error;
}

static void add_standing_stack(struct work *work, const struct task *task,
                               const struct standing_result *found,
                               struct model_task *m)
{
    uintptr_t pcs[FRAMES_MAX];
    struct model_stack stack = {.error = WEFT_NONE};
    struct unwind_result result = {0};
    int kept = (found->regs.valid >> CFI_FP & 1 ? unwind : fp_search_unwind)(
        work->cache, &found->regs, &found->memory, pcs, FRAMES_MAX, FRAMES_TAIL,
        &result);
    const char *error = keep_stack(&result, kept, pcs, &stack);

    error = explain_end(task, found, &result, error);
    if (error != NULL)
        stack.error = text(work, error);
    m->stack = intern_stack(&work->intern, &stack, pcs);
    m->stack_used =
        (uint32_t)((uintptr_t)stack_high(task) - found->regs.reg[CFI_SP]);
}

static void add_running_stack(struct work *work, const struct task *task,
                              struct model_task *m)
{
    const struct missing *missing = find_missing(work, task);

    if (missing == NULL)
        add_unknown_stack(work, NULL, m);
    else if (missing->found.how == STANDING_UNREACHABLE)
        add_unknown_stack(work, missing->found.why, m);
    else
        add_standing_stack(work, task, &missing->found, m);
}

// ---- Objects ----

static int64_t ago(const struct work *work, uint64_t ticks)
{
    return ticks < work->now ? port_ticks_to_ns(work->now - ticks) : 0;
}

static uint32_t add_mutex(struct work *work, const struct mutex *mutex)
{
    bool is_new;
    uint32_t index = intern_object(&work->intern, (uintptr_t)mutex, &is_new);

    if (index == WEFT_NONE || !is_new)
        return index;
    struct model_object *o = &work->dump->objects[index];
    const struct task *owner = mutex_owner(mutex);
    o->kind = WEFT_OBJECT_MUTEX;
    if (mutex->held.name != NULL)
        o->name = text(work, mutex->held.name);
    if (owner != NULL) {
        o->owner = owner->id;
        o->taken_pc = (uintptr_t)load_relaxed(&mutex->taken_pc);
        o->held_ns = ago(work, load_relaxed(&mutex->taken_since));
    }
    return index;
}

static void add_peers(const struct work *work, const struct channel_peers *from,
                      struct model_peers *ret_peers)
{
    _Static_assert((int)CHANNEL_PEERS == (int)MODEL_PEERS, "all are kept");
    for (uint32_t i = 0; i < MODEL_PEERS; i++) {
        bool own = CHANNEL_PEER_TAG(from->ids[i]) == work->runtime->tag;
        ret_peers->ids[i] = from->ids[i] == 0 ? 0
                            : own             ? CHANNEL_PEER_ID(from->ids[i])
                                              : MODEL_OUTSIDE;
    }
    ret_peers->last_ns = ago(work, from->last);
    ret_peers->more = from->more;
}

static uint32_t add_channel(struct work *work, struct weft_channel *channel)
{
    bool is_new;
    uint32_t index = intern_object(&work->intern, (uintptr_t)channel, &is_new);

    if (index == WEFT_NONE || !is_new)
        return index;
    struct model_object *o = &work->dump->objects[index];
    o->kind = WEFT_OBJECT_CHANNEL;
    if (channel->name[0] != '\0')
        o->name = text(work, channel->name);
    struct model_channel about = {0};
    // Never held for long: whoever holds it runs, and cannot park with it.
    lock_acquire(&channel->lock);
    o->used = channel->count;
    add_peers(work, &channel->sent, &about.sent);
    add_peers(work, &channel->received, &about.received);
    lock_release(&channel->lock);
    o->limit = channel->capacity;
    o->peers = intern_channel(&work->intern, &about);
    return index;
}

// ---- Tasks ----

static void add_wait(struct work *work, const struct task *task,
                     struct model_task *m)
{
    const void *object = task->wait_object;

    m->wait = task->wait_kind;
    m->timeout_in_ns = WEFT_NEVER;
    if (task->wait_deadline != WEFT_NEVER)
        m->timeout_in_ns = task->wait_deadline > work->now_ns
                               ? task->wait_deadline - work->now_ns
                               : 0;
    switch ((enum weft_wait_kind)task->wait_kind) {
    case WEFT_WAIT_MUTEX:
        m->object = add_mutex(work, object);
        break;
    case WEFT_WAIT_CHAN_SEND:
    case WEFT_WAIT_CHAN_RECV:
        m->object = add_channel(work, (struct weft_channel *)(uintptr_t)object);
        break;
    case WEFT_WAIT_JOIN:
        m->wait_task = ((const struct task *)object)->id;
        break;
    case WEFT_WAIT_SCOPE:
        m->wait_scope = intern_scope(&work->intern, (uintptr_t)object);
        break;
    case WEFT_WAIT_FD:
        m->wait_fd = task->wait_fd;
        m->wait_write = task->wait_write;
        break;
    default:
        break;
    }
}

static void add_words(struct work *work, const struct task *task,
                      struct model_task *m)
{
    const struct task_top *top = task->top;

    if (top->name[0] != '\0')
        m->name = text(work, top->name);
    for (const struct label *l = top->labels; l != NULL; l = l->next) {
        uint32_t at = text(work, l->key);
        (void)text(work, l->value); // right behind its key
        if (m->label_count++ == 0)
            m->labels = at;
    }
}

// The name of a task that runs and may be giving itself another: whatever is
// read is cut to a string.
__attribute__((no_sanitize("thread"))) static void add_moving_name(
    struct work *work, const struct task *task, struct model_task *m)
{
    const volatile char *from = task->top->name;
    char name[WEFT_NAME_MAX];

    for (size_t i = 0; i < sizeof name; i++)
        name[i] = from[i];
    name[sizeof name - 1] = '\0';
    if (name[0] != '\0')
        m->name = text(work, name);
}

// Everything that does not depend on what the task is doing.
static void add_facts(struct work *work, const struct task *task, uint64_t word,
                      struct model_task *m)
{
    *m = (struct model_task){
        .id = task->id,
        .handle = task_handle(task).id,
        .parent = task->parent,
        .schedules = STATE_COUNT((word - STATE(task->top->first_count, 0, 0))),
        .state_ns = ago(work, load_relaxed(&task->since)),
        .age_ns = ago(work, task->spawned),
        .cpu_ns = port_ticks_to_ns(load_relaxed(&task->cpu)),
        .timeout_in_ns = WEFT_NEVER,
        .name = WEFT_NONE,
        .labels = WEFT_NONE,
        .object = WEFT_NONE,
        .held = WEFT_NONE,
        .stack = WEFT_NONE,
        .site = intern_site(&work->intern, task->site),
        .scope = intern_scope(&work->intern, scope_address(task)),
        .wait_scope = WEFT_NONE,
        .worker = WEFT_NONE,
        .queue_place = WEFT_NONE,
        .wait_fd = -1,
        .stack_size = (uint32_t)1 << task->stack_class,
    };
}

static void add_held(struct work *work, const struct task *task)
{
    for (struct held *held = task->held; held != NULL; held = held->next)
        (void)add_mutex(work, container_of(held, struct mutex, held));
}

static void add_suspended(struct work *work, const struct task *task,
                          enum weft_task_state state, struct model_task *m)
{
    m->state = (uint8_t)state;
    if (state == WEFT_STATE_WAITING)
        add_wait(work, task, m);
    add_words(work, task, m);
    add_stack(work, task, m);
    add_held(work, task);
}

// Ended, and not yet joined: a thread that joins or detaches it gives its slot
// away to be filled anew, but not before that under the slot's lock.
static void capture_done(struct work *work, struct task *task)
{
    struct model_task *m = &work->dump->tasks[work->dump->task_count];

    lock_acquire(&task->lock);
    uint64_t word = load_acquire(&task->state); // task.h P1
    if (STATE_PHASE(word) == PHASE_DONE) {
        add_facts(work, task, word, m);
        m->state = WEFT_STATE_DONE;
        add_words(work, task, m);
        add_unknown_stack(work, NULL, m);
        work->index_of[task->index] = (uint32_t)work->dump->task_count++;
    }
    lock_release(&task->lock);
}

static void capture_task(struct work *work, struct task *task)
{
    uint64_t word = load_acquire(&task->state); // task.h P1
    struct weft_dump *dump = work->dump;
    struct model_task *m = &dump->tasks[dump->task_count];
    enum phase phase = STATE_PHASE(word);

    if (phase == PHASE_DONE)
        capture_done(work, task);
    if (phase == PHASE_FREE || phase == PHASE_DONE)
        return;
    add_facts(work, task, word, m);
    switch (phase) {
    case PHASE_NEW:
        add_suspended(work, task, WEFT_STATE_NEW, m);
        break;
    case PHASE_READY:
        add_suspended(work, task, WEFT_STATE_READY, m);
        break;
    case PHASE_WAITING:
        add_suspended(work, task, WEFT_STATE_WAITING, m);
        break;
    default: // on a worker that did not come: nothing of it stands still
        m->state = WEFT_STATE_RUNNING;
        add_moving_name(work, task, m);
        add_running_stack(work, task, m);
        break;
    }
    work->index_of[task->index] = (uint32_t)dump->task_count++;
}

// ---- Queues and workers ----

static void add_place(struct work *work, const struct task *task,
                      uint32_t worker, uint32_t place)
{
    uint32_t index =
        task->index < work->slots ? work->index_of[task->index] : WEFT_NONE;

    if (index == WEFT_NONE) // spawned since by one who is not stopped
        return;
    work->dump->tasks[index].worker = worker;
    work->dump->tasks[index].queue_place = place;
}

static void add_queues(struct work *work, const struct stolen *stolen)
{
    const struct task *task = stolen->tasks.head;

    for (uint32_t w = 0; w < work->runtime->worker_count; w++)
        for (uint32_t i = 0; i < stolen->origins[w].count; i++) {
            add_place(work, task, w, i);
            task = task->next;
        }
    for (uint32_t i = 0; i < stolen->injected; i++) {
        add_place(work, task, WEFT_NONE, i);
        task = task->next;
    }
}

// A worker that did not come keeps its queue; nobody takes from it now.
static uint32_t add_missing_queue(struct work *work, uint32_t index)
{
    struct task *queued[64];
    struct core *core = &work->runtime->cores[index];
    struct task *next = load_acquire(&core->next); // worker.c C1
    uint32_t place = 0;
    uint32_t count;

    if (next != NULL)
        add_place(work, next, index, place++);
    for (uint32_t at = 0; at < QUEUE_CAP; at += count) {
        count = queue_peek(&core->queue, at, queued, 64);
        if (count == 0)
            break;
        for (uint32_t i = 0; i < count; i++)
            add_place(work, queued[i], index, place++);
    }
    return place;
}

static void add_call(const struct missing *missing, weft_dump_worker *w)
{
    int fd_arg;

    if (missing == NULL || missing->found.how != STANDING_IN_CALL)
        return;
    w->in_syscall = true;
    w->syscall = missing->found.call;
    (void)calls_name(w->syscall, &fd_arg);
    w->syscall_fd = fd_arg < 0 ? -1 : (int)missing->found.args[fd_arg];
}

static void add_running(struct work *work, struct worker *worker,
                        weft_dump_worker *w)
{
    const struct task *task = load_acquire(&worker->current); // worker.c C3

    if (task == NULL || task->index >= work->slots)
        return;
    uint32_t index = work->index_of[task->index];
    w->task = task->id;
    w->busy_ns = ago(work, load_relaxed(&worker->current_since)); // C3
    if (index == WEFT_NONE)
        return;
    struct model_task *m = &work->dump->tasks[index];
    if (m->state != WEFT_STATE_RUNNING)
        return; // it has moved on meanwhile
    m->worker = worker->index;
    m->state_ns = w->busy_ns;
    m->cpu_ns += w->busy_ns;
    add_call(find_missing(work, task), w);
}

static void add_worker(struct work *work, uint32_t index, uint8_t place,
                       const struct stolen *stolen)
{
    struct worker *worker = &work->runtime->workers[index];
    weft_dump_worker *w = &work->dump->workers[index];

    *w = (weft_dump_worker){
        .index = index,
        .tid = (int)load_relaxed(&worker->tid), // a figure
        .queued = stolen->origins[index].count,
    };
    switch ((enum place)place) {
    case PLACE_AWAY:
        w->state = w->tid == 0 ? WEFT_WORKER_STOPPED : WEFT_WORKER_IDLE;
        break;
    case PLACE_MISSING:
        w->state = WEFT_WORKER_MISSING;
        w->queued = add_missing_queue(work, index);
        add_running(work, worker, w);
        break;
    default:
        w->state = WEFT_WORKER_MET;
        break;
    }
}

// ---- The whole ----

// Who did not come, in words: "worker 1 (tid 71) did not come within 250 ms;
// it runs T10".
static char *describe_missing(const struct weft_dump *dump, int64_t patience_ns)
{
    char *words = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&words, &size);

    if (file == NULL)
        return NULL;
    for (size_t i = 0; i < dump->worker_count; i++) {
        const weft_dump_worker *w = &dump->workers[i];
        if (w->state != WEFT_WORKER_MISSING)
            continue;
        fprintf(file, "%sworker %u (tid %d) did not come within %lld ms",
                ftell(file) > 0 ? "; " : "", w->index, w->tid,
                (long long)(patience_ns / 1000000));
        if (w->task != 0)
            fprintf(file, ", it runs T%llu", (unsigned long long)w->task);
    }
    return fclose(file) == 0 ? words : NULL;
}

static int prepare(struct work *work, struct weft_runtime *runtime)
{
    struct weft_dump *dump = calloc(1, sizeof *dump);

    *work = (struct work){.runtime = runtime, .dump = dump};
    if (dump == NULL)
        return -ENOMEM;
    store_relaxed(&dump->references, 1);              // not shared yet
    dump->completed = 1;                              // see complete.c
    work->slots = load_acquire(&runtime->table.used); // table.c T1
    work->intern.dump = dump;
    work->cache = capture_cache_take();
    work->index_of = malloc((work->slots + 1) * sizeof *work->index_of);
    dump->tasks = malloc((work->slots + 1) * sizeof *dump->tasks);
    dump->worker_count = runtime->worker_count;
    dump->workers = calloc(dump->worker_count, sizeof *dump->workers);
    dump->runtime = strdup(runtime->name);
    if (work->cache == NULL || work->index_of == NULL || dump->tasks == NULL ||
        dump->workers == NULL || dump->runtime == NULL)
        return -ENOMEM;
    memset(work->index_of, 0xff, work->slots * sizeof *work->index_of);
    work->now = port_ticks();
    work->now_ns = port_now();
    dump->wall_time_ns = port_wall_now();
    finder_attach(runtime, dump);
    return 0;
}

static void fetch_lines(const void *start, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64)
        __builtin_prefetch((const char *)start + at);
}

// With a million tasks every slot and stack is cold: ask for the next ones
// while this one is read (460 -> 219 ms).
__attribute__((no_sanitize("thread"))) static void fetch_ahead(
    const struct work *work, uint32_t at)
{
    enum { SLOTS = 8, STACKS = 4, STACK_BYTES = 384 };
    const struct table *table = &work->runtime->table;

    if (at + SLOTS >= work->slots)
        return;
    fetch_lines(table_at(table, at + SLOTS), sizeof(struct task));
    const struct task *task = table_at(table, at + STACKS);
    fetch_lines(task->sp, STACK_BYTES); // wherever it points: only a hint
    fetch_lines(task->top, 1);
}

static void take_picture(struct work *work, const uint8_t *places,
                         const struct stolen *stolen)
{
    struct weft_dump *dump = work->dump;
    bool missing = false;

    for (uint32_t i = 0; i < work->slots; i++) {
        fetch_ahead(work, i);
        capture_task(work, table_at(&work->runtime->table, i));
    }
    add_queues(work, stolen);
    for (uint32_t i = 0; i < dump->worker_count; i++) {
        add_worker(work, i, places[i], stolen);
        missing |= places[i] == PLACE_MISSING;
    }
    dump->consistent = !missing;
    dump->complete = !missing;
}

static void finish(struct work *work)
{
    free(work->index_of);
    free(work->missing);
    intern_deinit(&work->intern);
    if (work->cache != NULL)
        capture_cache_give(work->cache);
}

int capture_world(struct weft_runtime *runtime, struct capture *capture)
{
    struct stolen stolen;
    struct work work;
    int error = prepare(&work, runtime);

    if (error == 0)
        error = steal_all(runtime, capture->places, &stolen);
    if (error == 0)
        error = capture_missing(&work, capture->places);
    if (error == 0) {
        take_picture(&work, capture->places, &stolen);
        put_back_all(runtime, &stolen);
    }
    finish(&work);
    if (error == 0 && work.intern.failed)
        error = -ENOMEM;
    if (error == 0 && !work.dump->complete) {
        work.dump->problem =
            describe_missing(work.dump, runtime->dump_patience_ns);
        if (work.dump->problem == NULL)
            error = -ENOMEM;
    }
    if (error != 0) {
        weft_dump_free(work.dump);
        return error;
    }
    uint64_t stopped = capture->stopped_ticks;
    work.dump->pause_ns =
        stopped == 0 ? 0 : port_ticks_to_ns(port_ticks() - stopped);
    work.dump->total_ns = port_now() - capture->asked_ns;
    capture->dump = work.dump;
    return 0;
}
