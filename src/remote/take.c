// take.c -- A dump of a process that is not asked.
//
// All of its memory is untrusted: counts are bounded before they are used,
// lists by what is stored of them, and what cannot be read is left out and
// said. Structs are read as they lie there, so both sides must agree on them:
// beacon.h.
#include "remote/take.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump/calls.h"
#include "dump/capture.h"
#include "dump/complete.h"
#include "dump/fp_search.h"
#include "dump/process.h"
#include "dump/rules.h"
#include "remote/modules.h"

enum { BYTES_AT_ONCE = 4 << 20 };

struct take {
    struct target *target;
    struct modules modules;
    struct cfi_cache *cache;
    struct picture picture;
    struct weft_runtime runtime; // copies
    struct worker *workers;      //
    struct core *cores;          //
    uintptr_t *segments;         //
    struct task *slots;          // all, and
    size_t slots_bytes;          //
    char *bytes;                 // of stacks
    struct span *spans;          // of a segment's slots, all five:
    uint32_t *span_of;           //
    struct far_slot *far;        //
    uint64_t *words;             // state words
    struct weft_dump *dump;
    uint32_t failed; // slots that could not be read
    uint32_t moved;  // tasks that ran on before all of theirs was read
};

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static int fail(struct take *take, int error, const char *why)
{
    snprintf(take->target->problem, sizeof take->target->problem, "%s", why);
    return -error;
}

// ---- Finding the runtime ----

static int check_beacon(struct take *take)
{
    const struct beacon *b = &take->modules.beacon;

    if (!take->modules.has_beacon)
        return fail(take, ENOENT,
                    "it is not a weft program, or of a weft older than this "
                    "command can read");
    if (b->version != beacon.version || b->size != beacon.size ||
        memcmp(b->layout, beacon.layout, sizeof b->layout) != 0) {
        snprintf(take->target->problem, sizeof take->target->problem,
                 "it runs weft %.15s, whose structures this command (of weft "
                 "%s) does not know: use the command that came with that weft",
                 b->library, beacon.library);
        return -EPROTO;
    }
    return 0;
}

static int find_runtime(struct take *take)
{
    uintptr_t registry[RUNTIMES_MAX + 1];
    const struct space *space = &take->target->space;

    if (!space_read_all(space, take->modules.beacon.registry, registry,
                        sizeof registry))
        return fail(take, EIO, "its list of runtimes cannot be read");
    for (uint32_t tag = 1; tag <= RUNTIMES_MAX; tag++)
        if (registry[tag] != 0) {
            if (!space_read_all(space, registry[tag], &take->runtime,
                                sizeof take->runtime))
                return fail(take, EIO, "its runtime cannot be read");
            return 0;
        }
    return fail(take, ENOENT, "it has no runtime now");
}

// ---- Copies ----

static void *copy_array(struct take *take, const void *from, size_t count,
                        size_t size)
{
    void *to = calloc(count + 1, size);

    if (to != NULL && !space_read_all(&take->target->space, (uintptr_t)from, to,
                                      count * size)) {
        free(to);
        return NULL;
    }
    return to;
}

static int copy_parts(struct take *take)
{
    struct weft_runtime *r = &take->runtime;
    uint32_t used = load_relaxed(&r->table.used); // a copy's
    size_t segments = ((size_t)used + SEGMENT_SLOTS - 1) / SEGMENT_SLOTS;

    if (r->worker_count == 0 || r->worker_count > WORKERS_MAX ||
        used > TABLE_MAX)
        return fail(take, EIO, "its runtime is damaged");
    r->name[sizeof r->name - 1] = '\0';
    take->workers =
        copy_array(take, r->workers, r->worker_count, sizeof *take->workers);
    take->cores =
        copy_array(take, r->cores, r->worker_count, sizeof *take->cores);
    take->segments = copy_array(take, (const void *)r->table.segments, segments,
                                sizeof *take->segments);
    take->slots_bytes = ((size_t)used + 1) * sizeof *take->slots;
    take->slots = port_reserve(take->slots_bytes, port_page_size(), false);
    take->bytes = malloc(BYTES_AT_ONCE);
    take->spans = calloc(SEGMENT_SLOTS, sizeof *take->spans);
    take->span_of = calloc(SEGMENT_SLOTS, sizeof *take->span_of);
    take->far = calloc(SEGMENT_SLOTS, sizeof *take->far);
    take->words = calloc(SEGMENT_SLOTS, sizeof *take->words);
    if (take->workers == NULL || take->cores == NULL ||
        take->segments == NULL || take->slots == NULL || take->bytes == NULL ||
        take->spans == NULL || take->span_of == NULL || take->far == NULL ||
        take->words == NULL)
        return fail(take, EIO, "its workers or its table cannot be read");
    return 0;
}

static int begin(struct take *take)
{
    struct weft_runtime *r = &take->runtime;
    struct picture *p = &take->picture;

    take->dump = calloc(1, sizeof *take->dump);
    if (take->dump == NULL)
        return -ENOMEM;
    store_relaxed(&take->dump->references, 1); // not shared
    take->dump->remote = true;
    take->dump->entry = take->modules.beacon.task_entry;
    take->dump->worker_count = r->worker_count;
    take->dump->workers = calloc(r->worker_count, sizeof *take->dump->workers);
    take->dump->runtime = strdup(r->name);
    *p = (struct picture){
        .runtime = r,
        .space = &take->target->space,
        .segments = take->segments,
        .entry = take->modules.beacon.task_entry,
        .slots = load_relaxed(&r->table.used), // a copy's
        .now = port_ticks(),
        .now_ns = port_now(),
    };
    p->before = inject_look(&r->inject, &p->injected);
    p->store = store_new(p->slots + 1, 1);
    if (take->dump->workers == NULL || take->dump->runtime == NULL ||
        p->store == NULL)
        return -ENOMEM;
    take->dump->wall_time_ns = port_wall_now();
    return 0;
}

// ---- Tasks that run ----

// The worker inside the task in a slot, or NULL.
static const struct worker *worker_of(const struct take *take, uintptr_t slot)
{
    for (uint32_t i = 0; i < take->runtime.worker_count; i++)
        if ((uintptr_t)load_relaxed(&take->workers[i].current) == slot)
            return &take->workers[i]; // a copy's
    return NULL;
}

static void unwind_thread(struct take *take, const struct target_thread *thread,
                          struct running *running)
{
    struct unwind_result result = {0};
    uintptr_t sp = thread->regs.reg[CFI_SP];
    uintptr_t low = (sp - 128) & ~(uintptr_t)15;
    uintptr_t live = (uintptr_t)running->copy.top - low;
    struct unwind_memory memory = {
        .lo = low,
        .hi = low + space_read(&take->target->space, low, take->bytes,
                               live < FAR_STACK_MAX ? live : FAR_STACK_MAX),
        .copy = take->bytes,
    };
    int kept = fp_search_unwind(take->cache, &thread->regs, &memory,
                                running->pcs, FRAMES_MAX, FRAMES_TAIL, &result);

    running->error = capture_kept(&result, kept, running->pcs, &running->stack);
    running->stack_used =
        (uint32_t)((uintptr_t)stack_high(&running->copy) - sp);
}

static bool is_on_stack(const struct running *running,
                        const struct target_thread *thread)
{
    uintptr_t sp = thread->regs.reg[CFI_SP];

    return sp > (uintptr_t)stack_low(&running->copy) &&
           sp < (uintptr_t)running->copy.top;
}

static void add_running(struct take *take, const struct task *slot,
                        uintptr_t address)
{
    struct running running = {.state = WEFT_STATE_RUNNING};
    const struct worker *worker = worker_of(take, address);
    const struct target_thread *thread =
        worker == NULL
            ? NULL
            : target_thread(take->target, (int)load_relaxed(&worker->tid));

    memcpy(&running.copy, slot, sizeof running.copy);
    running.stack = (struct model_stack){.end = WEFT_STACK_UNKNOWN};
    running.error = thread == NULL || !thread->stopped
                        ? "its thread did not stop"
                        : "it is between its worker's stack and its own";
    if (!space_read_all(&take->target->space, (uintptr_t)slot->top,
                        &running.top, offsetof(struct task_top, fiber))) {
        take->failed++;
        return;
    }
    if (thread != NULL && is_on_stack(&running, thread))
        unwind_thread(take, thread, &running);
    capture_running(&take->picture, &running);
}

// ---- All tasks ----

static bool is_inside(const struct task *slot)
{
    enum phase phase = STATE_PHASE(load_relaxed(&slot->state)); // a copy's

    return phase == PHASE_RUNNING || phase == PHASE_PARKING ||
           phase == PHASE_FIRED;
}

static bool is_task(const struct task *slot, uint32_t index)
{
    return STATE_PHASE(load_relaxed(&slot->state)) != PHASE_FREE && // a copy's
           slot->index == index;
}

// While it stands: the table; and of those that run all there is.
static void copy_slots(struct take *take)
{
    const struct space *space = &take->target->space;
    uint32_t used = take->picture.slots;

    for (uint32_t first = 0; first < used; first += SEGMENT_SLOTS) {
        uint32_t count = least(used - first, SEGMENT_SLOTS);
        size_t bytes = count * sizeof *take->slots;
        if (!space_read_all(space, take->segments[first / SEGMENT_SLOTS],
                            take->slots + first, bytes)) {
            memset((void *)(take->slots + first), 0, bytes);
            take->failed += count;
        }
    }
    for (uint32_t i = 0; i < used; i++)
        if (is_task(&take->slots[i], i) && is_inside(&take->slots[i]))
            add_running(take, &take->slots[i], picture_slot(&take->picture, i));
}

// Has the stacks of a stretch of slots copied, as many as there is room for;
// how many slots that was.
static uint32_t copy_stacks(struct take *take, uint32_t first, uint32_t end)
{
    size_t used = 0;
    size_t spans = 0;
    uint32_t i = first;

    for (; i < end && i - first < SEGMENT_SLOTS &&
           used + FAR_STACK_MAX <= BYTES_AT_ONCE;
         i++) {
        struct far_slot *far = &take->far[i - first];
        const struct task *slot = &take->slots[i];
        struct span span = {.to = take->bytes + used};
        *far = (struct far_slot){.copy = slot, .bytes = span.to};
        take->span_of[i - first] = WEFT_NONE;
        if (!is_task(slot, i) || is_inside(slot))
            continue;
        span.bytes = capture_far_span(slot, &span.address);
        if (span.bytes == 0)
            continue;
        take->span_of[i - first] = (uint32_t)spans;
        take->spans[spans++] = span;
        used += (span.bytes + 15) & ~(size_t)15;
    }
    take->target->space.read_many(&take->target->space, take->spans, spans);
    for (uint32_t k = 0; k < i - first; k++)
        if (take->span_of[k] != WEFT_NONE)
            take->far[k].size = take->spans[take->span_of[k]].bytes;
    return i - first;
}

// Those that ran on before all of theirs was read: what was copied while it
// stood is true, the rest may not be.
// `held`: what was held when the first of them was looked at.
static void drop_moved(struct take *take, uint32_t first, uint32_t count,
                       uint64_t held)
{
    for (uint32_t k = 0; k < count; k++) {
        uintptr_t at = picture_slot(&take->picture, first + k);
        take->spans[k] = (struct span){
            .address = at + offsetof(struct task, state),
            .to = &take->words[k],
            .bytes = sizeof *take->words,
        };
    }
    take->target->space.read_many(&take->target->space, take->spans, count);
    for (uint32_t k = 0; k < count; k++) {
        const struct task *slot = &take->slots[first + k];
        uint64_t word = load_relaxed(&slot->state); // a copy's
        if (!is_task(slot, first + k) || is_inside(slot) ||
            (take->spans[k].bytes == sizeof word && take->words[k] == word))
            continue;
        store_forget_held(take->picture.store, held, first + k);
        capture_far_facts(&take->picture, slot,
                          "it ran on before its stack was read");
        take->moved++;
    }
}

// When it runs on.
static void add_slots(struct take *take)
{
    uint32_t used = take->picture.slots;
    uint32_t count;

    for (uint32_t first = 0; first < used; first += count) {
        uint64_t held = store_held(take->picture.store);
        count = copy_stacks(take, first, used);
        for (uint32_t k = 0; k < count; k++) {
            const struct task *slot = &take->slots[first + k];
            if (is_task(slot, first + k) && !is_inside(slot) &&
                !capture_far(&take->picture, take->cache, &take->far[k]))
                capture_far_facts(&take->picture, slot,
                                  "its stack cannot be read");
        }
        drop_moved(take, first, count, held);
    }
}

// ---- Workers ----

static uint64_t task_id(struct take *take, uintptr_t slot)
{
    struct task copy;

    return slot != 0 && space_read_all(&take->target->space, slot, &copy,
                                       sizeof copy)
               ? copy.id
               : 0;
}

static void add_call(const struct target_thread *thread, weft_dump_worker *w)
{
    int fd_arg;

    if (thread == NULL || !thread->in_call || w->task == 0)
        return;
    w->in_syscall = true;
    w->syscall = (int)thread->call;
    (void)calls_name(w->syscall, &fd_arg);
    w->syscall_fd = fd_arg < 0 ? -1 : (int)thread->args[fd_arg];
}

static void add_worker(struct take *take, uint32_t index)
{
    const struct worker *worker = &take->workers[index];
    const struct queue *queue = &take->cores[index].queue;
    weft_dump_worker *w = &take->dump->workers[index];
    uint64_t since = worker_now(worker);
    uint64_t queued = load_relaxed(&queue->tail) - load_relaxed(&queue->head);

    *w = (weft_dump_worker){
        .index = index,
        .state = load_relaxed(&worker->presence) == PRESENCE_OUT
                     ? WEFT_WORKER_IDLE
                     : WEFT_WORKER_MET,
        .tid = (int)load_relaxed(&worker->tid),
        .task = task_id(take, (uintptr_t)load_relaxed(&worker->current)),
        .queued = queued <= QUEUE_CAP ? (uint32_t)queued : 0,
        .syscall_fd = -1,
    };
    if (w->task != 0) {
        w->state = WEFT_WORKER_MISSING;
        w->busy_ns = since < take->picture.now
                         ? port_ticks_to_ns(take->picture.now - since)
                         : 0;
    }
    add_call(target_thread(take->target, w->tid), w);
}

// A task that runs came into that state when its worker took it.
static void add_runner(struct weft_dump *dump, const weft_dump_worker *w)
{
    uint32_t index = w->task == 0 ? WEFT_NONE : model_find(dump, w->task);

    if (index == WEFT_NONE ||
        model_task(dump, index).state != WEFT_STATE_RUNNING)
        return;
    struct extra *extra = model_extra(dump, index);
    if (extra != NULL)
        extra->worker = w->index;
    store_record(dump->store, index)->state_ns = w->busy_ns;
}

// ---- The rest ----

// What the findings were set to there.
static void add_limits(struct take *take)
{
    struct rules rules;
    struct weft_dump *dump = take->dump;

    dump->no_yield_ns = take->runtime.no_yield_ns;
    dump->inject_length = load_relaxed(&take->runtime.inject.length); // a copy
    dump->outsiders = true; // who else may wake tasks is not known
    if (space_read_all(&take->target->space, (uintptr_t)take->runtime.rules,
                       &rules, sizeof rules) &&
        rules_check(&rules.limits))
        dump->limits = rules.limits;
}

static char *describe_problem(const struct take *take)
{
    char *words;
    int size = asprintf(&words,
                        "%u slots could not be read, %u tasks ran on before "
                        "their stacks were read",
                        take->failed, take->moved);

    return size < 0 ? NULL : words;
}

static int finish(struct take *take)
{
    struct weft_dump *dump = take->dump;

    dump->consistent = true;
    dump->complete = take->failed == 0 && take->moved == 0;
    if (!dump->complete && (dump->problem = describe_problem(take)) == NULL)
        return -ENOMEM;
    int error = store_seal(take->picture.store, take->picture.slots, dump);
    if (error != 0)
        return error;
    take->picture.store = NULL; // the dump's now
    for (size_t i = 0; i < dump->worker_count; i++) {
        add_runner(dump, &dump->workers[i]);
        if (dump->workers[i].syscall_fd >= 0)
            dump->workers[i].syscall_fd_name = process_descriptor(
                take->target->pid, dump->workers[i].syscall_fd);
    }
    dump->modules = take->modules.about;
    dump->module_count = take->modules.count;
    take->modules.about = NULL;
    add_limits(take);
    error = process_describe(take->target->pid, dump);
    return error == 0 ? dump_judge(dump) : error;
}

// ---- All of it ----

// While it stands.
static int look(struct take *take)
{
    int error = find_runtime(take);

    if (error == 0)
        error = copy_parts(take);
    if (error == 0)
        error = begin(take);
    if (error != 0)
        return error;
    for (uint32_t i = 0; i < take->runtime.worker_count; i++)
        add_worker(take, i);
    copy_slots(take);
    return 0;
}

static int take_all(struct take *take)
{
    char maps[64];
    int64_t began_ns = port_now();

    snprintf(maps, sizeof maps, "/proc/%d/task/%d/maps", take->target->pid,
             take->target->living);
    int error = modules_read(&take->modules, &take->target->space, maps);
    if (error != 0)
        return fail(take, -error, "its memory map cannot be read");
    error = check_beacon(take);
    if (error == 0)
        take->cache =
            cfi_cache_new_for(take->modules.code, take->modules.count);
    if (error == 0)
        error = take->cache == NULL ? -ENOMEM : target_stop(take->target);
    if (error == 0)
        error = look(take);
    target_resume(take->target);
    if (error != 0)
        return error;
    add_slots(take);
    error = finish(take);
    if (error == 0) {
        take->dump->pause_ns = take->target->stood_ns;
        take->dump->total_ns = port_now() - began_ns;
    }
    return error;
}

int remote_take(struct target *target, struct weft_dump **ret_dump)
{
    struct take take = {.target = target};
    int error = take_all(&take);

    if (error == 0) {
        *ret_dump = take.dump;
        take.dump = NULL;
    } else if (target->problem[0] == '\0') {
        (void)fail(&take, -error, strerror(-error));
    }
    weft_dump_free(take.dump);
    store_free(take.picture.store);
    cfi_cache_free(take.cache);
    modules_free(&take.modules);
    free(take.workers);
    free(take.cores);
    free(take.segments);
    if (take.slots != NULL)
        port_unreserve(take.slots, take.slots_bytes);
    free(take.bytes);
    free(take.spans);
    free(take.span_of);
    free(take.far);
    free(take.words);
    return error;
}
