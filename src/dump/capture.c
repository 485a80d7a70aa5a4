// capture.c -- Reads one task, though it may run at any moment.
//
// The slot is copied, and everything is read by that copy: the stack within
// its bounds, whatever it holds (unwind.h); the labels, which are not freed
// while a capture goes on (limbo.h); objects through the kernel (objects.h).
// Then the task is claimed (task.h S1). If that fails, the task has changed or
// is another's, and what was read is dropped.
#include "dump/capture.h"

#include <string.h>

#include "base/lock.h"
#include "dump/objects.h"
#include "dump/unchecked.h"
#include "sync/scope.h"

// ---- Caches of unwind rules, kept from dump to dump ----

static struct lock cache_lock;
static struct cfi_cache *cache_kept; // under cache_lock

// A forked child has none of the threads that may have held the lock.
static void forget(void)
{
    cache_lock = (struct lock){0};
}

__attribute__((constructor)) static void announce_forks(void)
{
    (void)port_at_fork(NULL, NULL, forget); // as limbo.c
}

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

void capture_regs(const struct switch_frame *frame, const void *sp,
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
    ret_regs->reg[CFI_SP] = (uintptr_t)sp + sizeof *frame;
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

const char *capture_kept(const struct unwind_result *result, int kept,
                         uintptr_t *pcs, struct model_stack *ret_stack)
{
    for (int i = 0; i < kept && i < 64; i++)
        pcs[i] += result->exact >> i & 1; // model.h: as if it were one
    return describe_end(result, kept, ret_stack);
}

// Not yet run: nothing is on the stack, so its function stands for it.
static void new_stack(const struct task *task, uintptr_t *pcs,
                      struct model_stack *ret_stack)
{
    pcs[0] = (uintptr_t)task->fn + 1; // no return address: model.h
    ret_stack->count = 1;
    ret_stack->end = WEFT_STACK_WHOLE;
}

// From where it was saved. `entry`: task_entry in its process.
static void unwind_saved(struct cfi_cache *cache, const struct task *task,
                         const struct switch_frame *frame, uintptr_t entry,
                         const struct unwind_memory *memory, uintptr_t *pcs,
                         struct model_stack *ret_stack, const char **ret_error)
{
    struct unwind_result result;
    struct unwind_regs regs;

    *ret_error = NULL;
    *ret_stack = (struct model_stack){.error = WEFT_NONE};
    if (frame->pc == entry) {
        new_stack(task, pcs, ret_stack);
        return;
    }
    capture_regs(frame, task->sp, &regs);
    int kept =
        unwind(cache, &regs, memory, pcs, FRAMES_MAX, FRAMES_TAIL, &result);
    *ret_error = capture_kept(&result, kept, pcs, ret_stack);
}

void capture_stack(struct cfi_cache *cache, const struct task *task,
                   uintptr_t *pcs, struct model_stack *ret_stack,
                   const char **ret_error)
{
    struct switch_frame frame;
    struct unwind_memory memory = {
        .lo = (uintptr_t)task->sp + sizeof frame,
        .hi = (uintptr_t)task->top,
    };

    copy_words(&frame, task->sp, sizeof frame);
    unwind_saved(cache, task, &frame, (uintptr_t)task_entry, &memory, pcs,
                 ret_stack, ret_error);
}

// The same of a task of another process.
static void capture_far_stack(const struct picture *picture,
                              struct cfi_cache *cache,
                              const struct far_slot *slot, uintptr_t *pcs,
                              struct model_stack *ret_stack,
                              const char **ret_error)
{
    struct switch_frame frame = {0};
    uintptr_t sp = (uintptr_t)slot->copy->sp;
    size_t live = (uintptr_t)slot->copy->top - sp;
    struct unwind_memory memory = {
        .lo = sp + sizeof frame,
        .hi = sp + (slot->size < live ? slot->size : live),
        .copy = (const char *)slot->bytes + sizeof frame,
    };

    memcpy(&frame, slot->bytes, sizeof frame);
    unwind_saved(cache, slot->copy, &frame, picture->entry, &memory, pcs,
                 ret_stack, ret_error);
}

bool capture_sound(const struct task *task)
{
    uintptr_t sp = (uintptr_t)task->sp; // numbers: they may be anything
    uintptr_t top = (uintptr_t)task->top;

    return sp >= (uintptr_t)stack_low(task) + stack_guard_size() && sp < top &&
           top - sp >= sizeof(struct switch_frame) &&
           sp % sizeof(uintptr_t) == 0;
}

// ---- What is read of a task, until it is claimed ----

struct reading {
    const struct picture *picture;
    struct task copy;
    struct task_top top; // a copy, too
    struct record record;
    struct shape shape;
    struct extra extra;
    struct holding held[HELD_MAX];
    uint32_t held_count;
    const struct far_slot *far; // of another process, or NULL
};

// Longer than any machine has run: what is longer is damaged.
static const int64_t SPAN_MAX_NS = INT64_MAX / 4;

int64_t picture_span(const struct picture *picture, uint64_t ticks)
{
    int64_t ns =
        picture->rate == 0
            ? port_ticks_to_ns(ticks)
            : (int64_t)((unsigned __int128)ticks * picture->rate >> 32);

    return ns < 0 || ns > SPAN_MAX_NS ? SPAN_MAX_NS : ns;
}

int64_t picture_ago(const struct picture *picture, uint64_t ticks)
{
    return ticks < picture->now ? picture_span(picture, picture->now - ticks)
                                : 0;
}

// When the task came into its state.
static uint64_t entered(const struct task *copy, enum weft_task_state state)
{
    uint64_t since = load_relaxed(&copy->since); // a copy's
    uint64_t woken = load_relaxed(&copy->woken); // a copy's

    return state == WEFT_STATE_READY && woken > since ? woken : since;
}

static void read_facts(struct reading *r, enum weft_task_state state)
{
    const struct picture *picture = r->picture;
    const struct task *copy = &r->copy;
    uint64_t word = load_relaxed(&copy->state); // a copy's
    uint64_t first = r->top.first_count;

    r->record = (struct record){
        .id = copy->id,
        .handle = task_handle(copy).id,
        .schedules = STATE_COUNT(word - STATE(first, 0, 0)) & 0xffffffffff,
        .state_ns = picture_ago(picture, entered(copy, state)),
        .age_ns = picture_ago(picture, copy->spawned),
        .cpu_ns = picture_span(picture, load_relaxed(&copy->cpu)), // a copy's
        .extra = WEFT_NONE,
    };
    r->shape = (struct shape){
        .parent = copy->parent,
        .scope = scope_address(copy),
        .stack = WEFT_NONE,
        .site = store_site(picture->store, copy->site),
        .object = WEFT_NONE,
        .choice = WEFT_NONE,
        .stack_size = (uint32_t)1 << copy->stack_class,
        .wait_fd = -1,
        .state = (uint8_t)state,
    };
    r->extra = EXTRA_NONE;
}

// Its place in the shared queue, if it was there: steal_all.h.
static void read_place(struct reading *r)
{
    uint64_t place = r->copy.injected - r->picture->before - 1;

    if (place < r->picture->injected)
        r->extra.queue_place = (uint32_t)place;
}

static void read_wait(struct reading *r)
{
    const struct task *copy = &r->copy;
    int64_t deadline = copy->wait_deadline;

    r->shape.wait = copy->wait_kind;
    r->shape.object = objects_add_waited(r->picture, copy);
    r->shape.choice = objects_add_choice(r->picture, copy);
    if (deadline != WEFT_NEVER)
        r->extra.timeout_in_ns =
            deadline > r->picture->now_ns ? deadline - r->picture->now_ns : 0;
    if (copy->wait_kind == WEFT_WAIT_JOIN || copy->wait_kind == WEFT_WAIT_SCOPE)
        r->shape.wait_task = (uintptr_t)copy->wait_object;
    if (copy->wait_kind == WEFT_WAIT_FD) {
        r->shape.wait_fd = copy->wait_fd;
        r->shape.wait_write = any_bool(&copy->wait_write);
    }
}

static void read_name(struct reading *r)
{
    char *name = r->top.name;

    name[WEFT_NAME_MAX - 1] = '\0';
    if (name[0] != '\0')
        r->extra.name = store_text(r->picture->store, name, strlen(name) + 1);
}

// Appends a text of at most WEFT_NAME_MAX bytes.
static size_t append(char *to, const char *from)
{
    size_t length = strnlen(from, WEFT_NAME_MAX - 1);

    memcpy(to, from, length);
    to[length] = '\0';
    return length + 1;
}

static bool read_label(const struct picture *picture, const struct label *at,
                       struct label *ret_label)
{
    if (picture->space != NULL)
        return space_read_all(picture->space, (uintptr_t)at, ret_label,
                              sizeof *ret_label);
    copy_words(ret_label, at, sizeof *ret_label); // kept: limbo.h
    return true;
}

static void read_labels(struct reading *r)
{
    char text[2 * WEFT_LABELS_MAX * WEFT_NAME_MAX];
    size_t used = 0;
    const struct label *next = load_relaxed(&r->top.labels); // a copy's
    struct label label;

    while (next != NULL && r->extra.label_count < WEFT_LABELS_MAX) {
        if (!read_label(r->picture, next, &label))
            break;
        next = load_relaxed(&label.next); // a copy's
        used += append(text + used, label.key);
        used += append(text + used, label.value);
        r->extra.label_count++;
    }
    if (used > 0)
        r->extra.labels = store_text(r->picture->store, text, used);
}

static void set_used(struct reading *r, uintptr_t bytes)
{
    r->record.stack_used = (bytes + STACK_UNIT - 1) / STACK_UNIT & 0xffffff;
}

static void read_stack(struct reading *r, struct cfi_cache *cache)
{
    uintptr_t pcs[FRAMES_MAX];
    struct model_stack stack;
    const char *error;

    if (r->far != NULL)
        capture_far_stack(r->picture, cache, r->far, pcs, &stack, &error);
    else
        capture_stack(cache, &r->copy, pcs, &stack, &error);
    r->shape.stack = store_stack(r->picture->store, &stack, pcs, error);
    set_used(r, (uintptr_t)stack_high(&r->copy) - (uintptr_t)r->copy.sp);
}

static void no_stack(struct reading *r)
{
    struct model_stack stack = {.end = WEFT_STACK_UNKNOWN};

    r->shape.stack = store_stack(r->picture->store, &stack, NULL, NULL);
}

// What it was doing at the meeting. False: it has begun to run since.
static bool judge(const struct task *copy, bool waited,
                  enum weft_task_state *ret_state)
{
    static const enum weft_task_state states[] = {
        [PHASE_NEW] = WEFT_STATE_NEW,
        [PHASE_READY] = WEFT_STATE_READY,
        [PHASE_WAITING] = WEFT_STATE_WAITING,
        [PHASE_DONE] = WEFT_STATE_DONE,
    };
    enum phase phase = STATE_PHASE(load_relaxed(&copy->state)); // a copy's

    if (waited)
        phase = PHASE_WAITING;
    if (phase != PHASE_NEW && phase != PHASE_READY && phase != PHASE_WAITING &&
        phase != PHASE_DONE) // it runs, or is damaged
        return false;
    *ret_state = states[phase];
    return true;
}

static bool read_task(struct reading *r, struct cfi_cache *cache, bool waited)
{
    enum weft_task_state state;

    if (!judge(&r->copy, waited, &state))
        return false;
    read_facts(r, state);
    read_name(r);
    r->held_count = 0;
    if (state == WEFT_STATE_DONE) {
        no_stack(r);
        return true;
    }
    if (!capture_sound(&r->copy))
        return false;
    if (state == WEFT_STATE_WAITING)
        read_wait(r);
    else
        read_place(r);
    read_labels(r);
    read_stack(r, cache);
    r->held_count = objects_add_held(r->picture, &r->copy,
                                     state == WEFT_STATE_WAITING, r->held);
    return true;
}

static bool has_extra(const struct extra *extra)
{
    return extra->timeout_in_ns != WEFT_NEVER || extra->name != WEFT_NONE ||
           extra->labels != WEFT_NONE || extra->queue_place != WEFT_NONE;
}

static void keep(struct reading *r)
{
    struct store *store = r->picture->store;

    r->record.shape = store_shape(store, &r->shape);
    if (has_extra(&r->extra))
        r->record.extra = store_extra(store, &r->extra);
    for (uint32_t i = 0; i < r->held_count; i++)
        (void)store_holding(store, &r->held[i]);
    *store_record(store, r->copy.index) = r->record;
}

// An ended task whose slot was freed while it was read, by one who had not yet
// seen the epoch (task.h P3): perhaps it is another's by now.
static bool is_released(struct task *task, const struct task *copy)
{
    uint64_t word = load_relaxed(&copy->state); // a copy's

    if (STATE_PHASE(word) != PHASE_DONE)
        return false;
    lock_pass(&task->lock);                    // task.h P5
    return load_relaxed(&task->state) != word; // the lock orders
}

// What the state word tells of was written before it (task.h P1).
static void copy_slot(struct reading *r, const struct task *task, uint64_t word)
{
    copy_words(&r->copy, task, sizeof r->copy);
    store_relaxed(&r->copy.state, word); // a copy's
    copy_words(&r->top, r->copy.top, offsetof(struct task_top, fiber));
}

bool capture_task(const struct picture *picture, struct cfi_cache *cache,
                  struct task *task)
{
    uint32_t taken = MARK(picture->epoch, MARK_TAKEN);
    uint32_t mark = load_acquire(&task->mark); // task.h S1
    struct reading r;

    if (task->index >= picture->slots) // its spawner came late: task.h P3
        return true;
    r.picture = picture;
    r.far = NULL;
    while (mark != taken) {
        bool waited = mark == MARK(picture->epoch, MARK_WAITED);
        uint32_t seen = mark;
        uint64_t word = load_acquire(&task->state); // task.h P1
        if (STATE_PHASE(word) == PHASE_FREE)
            return true;
        copy_slot(&r, task, word);
        if (!read_task(&r, cache, waited) || is_released(task, &r.copy)) {
            mark = load_acquire(&task->mark); // S1
            if (mark == seen &&
                load_relaxed(&task->state) == word) // only compared
                return false; // nothing has moved, so it is so
        } else if (cas_acq_rel(&task->mark, &mark, taken)) { // S1
            keep(&r);
            return true;
        }
    }
    return true;
}

// ---- Another process's ----

uintptr_t picture_slot(const struct picture *picture, uint32_t index)
{
    if (picture->space == NULL)
        return (uintptr_t)table_at(&picture->runtime->table, index);
    return picture->segments[index / SEGMENT_SLOTS] +
           index % SEGMENT_SLOTS * sizeof(struct task);
}

static const size_t TOP_BYTES = offsetof(struct task_top, fiber);

size_t capture_far_span(const struct task *copy, uintptr_t *ret_address)
{
    if (copy->top == NULL || copy->stack_class > 30 || !capture_sound(copy))
        return 0;
    size_t live = (uintptr_t)copy->top - (uintptr_t)copy->sp + TOP_BYTES;
    *ret_address = (uintptr_t)copy->sp;
    return live < FAR_STACK_MAX ? live : FAR_STACK_MAX;
}

// What lies at the top of its stack: in the bytes, if they reach so far.
static bool read_far_top(struct reading *r)
{
    const struct far_slot *slot = r->far;
    uintptr_t sp = (uintptr_t)r->copy.sp;
    size_t live = (uintptr_t)r->copy.top - sp;

    if (slot != NULL && slot->size >= live + TOP_BYTES) {
        memcpy(&r->top, (const char *)slot->bytes + live, TOP_BYTES);
        return true;
    }
    return space_read_all(r->picture->space, (uintptr_t)r->copy.top, &r->top,
                          TOP_BYTES);
}

// Whether it has not run since: its state word proves it (task.h).
static bool is_still(const struct reading *r)
{
    uint64_t word;
    uintptr_t at = picture_slot(r->picture, r->copy.index);

    return space_read_all(r->picture->space, at + offsetof(struct task, state),
                          &word, sizeof word) &&
           word == load_relaxed(&r->copy.state); // a copy's
}

// What it holds, its labels and the clauses of its select are not in the bytes:
// they were read after them.
static bool reads_beyond(const struct reading *r)
{
    return r->copy.held != NULL || r->extra.label_count > 0 ||
           r->shape.choice != WEFT_NONE ||
           r->far->size < (uintptr_t)r->copy.top - (uintptr_t)r->copy.sp;
}

enum far_result capture_far(const struct picture *picture,
                            struct cfi_cache *cache,
                            const struct far_slot *slot)
{
    struct reading r = {.picture = picture, .far = slot};
    enum phase phase = STATE_PHASE(load_relaxed(&slot->copy->state));

    memcpy(&r.copy, slot->copy, sizeof r.copy);
    if ((slot->size < sizeof(struct switch_frame) && phase != PHASE_DONE) ||
        (r.copy.top != NULL && !read_far_top(&r)) ||
        !read_task(&r, cache, false))
        return FAR_DAMAGED;
    if (reads_beyond(&r) && !is_still(&r))
        return FAR_MOVED;
    keep(&r);
    return FAR_TAKEN;
}

// What lies with the stack, and is the same as long as the task is.
static bool read_same_top(struct reading *r)
{
    struct task now;
    uintptr_t at = picture_slot(r->picture, r->copy.index);

    if (r->copy.top != NULL && read_far_top(r) &&
        space_read_all(r->picture->space, at, &now, sizeof now) &&
        now.id == r->copy.id)
        return true;
    memset(&r->top, 0, sizeof r->top);
    return false;
}

void capture_far_facts(const struct picture *picture, const struct task *copy,
                       bool stood, const char *why)
{
    struct reading r = {.picture = picture};
    struct model_stack stack = {.end = WEFT_STACK_UNKNOWN};
    enum weft_task_state state;

    memcpy(&r.copy, copy, sizeof r.copy);
    if (!judge(&r.copy, false, &state))
        state = WEFT_STATE_RUNNING;
    bool named = read_same_top(&r);
    read_facts(&r, state);
    if (named)
        read_name(&r);
    if (state == WEFT_STATE_WAITING)
        read_wait(&r);
    else
        read_place(&r);
    if (stood)
        r.held_count = objects_add_held(picture, &r.copy,
                                        state == WEFT_STATE_WAITING, r.held);
    r.shape.stack = store_stack(picture->store, &stack, NULL, why);
    keep(&r);
}

// ---- Tasks that ran on ----

void capture_facts(const struct task *task, struct running *ret_running)
{
    copy_words(&ret_running->copy, task, sizeof ret_running->copy);
    copy_words(&ret_running->top, task->top, offsetof(struct task_top, fiber));
    ret_running->state = WEFT_STATE_RUNNING;
    ret_running->stack = (struct model_stack){.end = WEFT_STACK_UNKNOWN};
    ret_running->error = NULL;
    ret_running->stack_used = 0;
}

void capture_saved_stack(struct cfi_cache *cache, const struct task *task,
                         struct running *running)
{
    capture_stack(cache, task, running->pcs, &running->stack, &running->error);
    running->stack_used = (uint32_t)(stack_high(task) - (char *)task->sp);
}

bool capture_saved(struct cfi_cache *cache, struct task *task,
                   struct running *running)
{
    struct task copy;
    uint64_t word = load_acquire(&task->state); // task.h P1
    enum phase phase = STATE_PHASE(word);

    copy_words(&copy, task, sizeof copy);
    if ((phase != PHASE_READY && phase != PHASE_WAITING) ||
        copy.id != running->copy.id || !capture_sound(&copy))
        return false;
    capture_saved_stack(cache, &copy, running);
    // Its worker changes the stack after it has stored RUNNING, by no order: so
    // whoever may have done the one is made to show the other.
    port_barrier_heavy();
    return load_relaxed(&task->state) == word; // only compared
}

void capture_running(const struct picture *picture,
                     const struct running *running)
{
    struct reading r = {
        .picture = picture, .copy = running->copy, .top = running->top};

    read_facts(&r, running->state);
    read_name(&r);
    read_labels(&r);
    r.shape.stack = store_stack(picture->store, &running->stack, running->pcs,
                                running->error);
    set_used(&r, running->stack_used);
    keep(&r);
}
