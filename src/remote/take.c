// take.c -- A dump of a process that is not asked.
//
// All of its memory is untrusted: counts are bounded before they are used,
// lists by what is stored of them, and what cannot be read is left out and
// said. Structs are read as they lie there, so both sides must agree on them:
// beacon.h.
#include "remote/take.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump/calls.h"
#include "dump/capture.h"
#include "dump/complete.h"
#include "dump/fp_search.h"
#include "dump/rules.h"
#include "remote/modules.h"
#include "task/stack.h"

// Longer than any machine has run.
static const int64_t TIME_MAX_NS = INT64_MAX / 4;

enum {
    BYTES_AT_ONCE = 4 << 20,
    RATE_AFTER_NS = 1000000,
    RATE_MAX_NS = 1000, // of one tick
};

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
    char *bytes;                 // of stacks,
    size_t room;                 // so many
    struct span *spans;          // of a segment's slots, all five:
    uint32_t *span_of;           //
    struct far_slot *far;        //
    uint64_t *words;             // state words
    struct weft_dump *dump;
    uint32_t failed; // slots that could not be read
    uint32_t moved;  // tasks that ran on before all of theirs was read
    uint32_t empty;  // tasks whose stacks hold nothing but zeros
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
    take->room = least(used + 1, BYTES_AT_ONCE / FAR_STACK_MAX) * FAR_STACK_MAX;
    take->bytes = malloc(take->room);
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

// A time of a clock that may be anything.
static int64_t sound(int64_t ns)
{
    return ns >= 0 && ns < TIME_MAX_NS ? ns : 0;
}

// How fast the counter runs there; 0: not known. By how far both clocks came
// from the runtime's begin, if that is long enough to tell.
static uint64_t find_rate(const struct weft_runtime *r,
                          const struct watch_moment *now)
{
    int64_t ns = sound(now->ns) - sound(r->began.ns);
    uint64_t ticks = now->ticks - r->began.ticks;

    if (r->began.ticks == 0 || ns < RATE_AFTER_NS ||
        now->ticks <= r->began.ticks || (uint64_t)ns / RATE_MAX_NS > ticks)
        return 0;
    return (uint64_t)(((unsigned __int128)ns << 32) / ticks);
}

// The last that is known of a process that does not say when: some worker has
// switched since the watchdog has looked, or none has.
static void find_moment(struct take *take, struct watch_moment *ret_now)
{
    const struct weft_runtime *r = &take->runtime;
    uint64_t last = r->looked.ticks;

    for (uint32_t i = 0; i < r->worker_count; i++)
        if (worker_now(&take->workers[i]) > last)
            last = worker_now(&take->workers[i]);
    ret_now->ticks = last;
    ret_now->ns = sound(r->looked.ns) +
                  sound(picture_span(&take->picture, last - r->looked.ticks));
}

static void set_moment(struct take *take)
{
    const struct weft_runtime *r = &take->runtime;
    struct picture *p = &take->picture;
    struct target_moment moment;

    take->target->kind->moment(take->target, &moment);
    p->rate = find_rate(r, moment.now.ticks != 0 ? &moment.now : &r->looked);
    if (moment.now.ticks == 0)
        find_moment(take, &moment.now);
    p->now = moment.now.ticks;
    p->now_ns = sound(moment.now.ns);
    take->dump->wall_time_ns = sound(moment.wall_ns);
    take->dump->process_start_ns =
        sound(moment.wall_ns) - (p->now_ns - sound(r->began.ns));
}

static int begin(struct take *take)
{
    struct weft_runtime *r = &take->runtime;
    struct picture *p = &take->picture;

    take->dump = calloc(1, sizeof *take->dump);
    if (take->dump == NULL)
        return -ENOMEM;
    store_relaxed(&take->dump->references, 1); // not shared
    take->dump->method = take->target->method;
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
    };
    set_moment(take);
    p->before = inject_look(&r->inject, &p->injected);
    p->store = store_new(p->slots + 1, 1);
    if (take->dump->workers == NULL || take->dump->runtime == NULL ||
        p->store == NULL)
        return -ENOMEM;
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

// What is looked up by value has to be one of the values.
static void tame(struct task *slot)
{
    if (slot->wait_kind > WEFT_WAIT_WAITGROUP)
        slot->wait_kind = WEFT_WAIT_NONE;
    if (slot->stack_class > STACK_CLASS_MAX)
        slot->stack_class = 0;
}

// While it stands: the table; and of those that run all there is.
static void copy_slots(struct take *take)
{
    const struct space *space = &take->target->space;
    uint32_t used = take->picture.slots;

    for (uint32_t first = 0; first < used; first += SEGMENT_SLOTS) {
        uint32_t count = least(used - first, SEGMENT_SLOTS);
        size_t bytes = count * sizeof *take->slots;
        size_t got = space_read(space, take->segments[first / SEGMENT_SLOTS],
                                take->slots + first, bytes);
        size_t whole = got / sizeof *take->slots;
        // A part of a slot is none; what lies behind it was never touched.
        memset((void *)(take->slots + first + whole), 0,
               got % sizeof *take->slots);
        take->failed += count - (uint32_t)whole;
    }
    for (uint32_t i = 0; i < used; i++)
        tame(&take->slots[i]);
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
           used + FAR_STACK_MAX <= take->room;
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
        capture_far_facts(&take->picture, slot, false,
                          "it ran on before its stack was read");
        take->moved++;
    }
}

// Of a core that was made without the memory of stacks, as gdb does where it
// meets a guard page, zeros are left.
static bool is_empty(const struct far_slot *far)
{
    static const struct switch_frame zeros;

    return far->size >= sizeof zeros &&
           memcmp(far->bytes, &zeros, sizeof zeros) == 0;
}

static void add_slot(struct take *take, const struct far_slot *far)
{
    bool empty = STATE_PHASE(load_relaxed(&far->copy->state)) != PHASE_DONE &&
                 is_empty(far); // a copy's

    take->empty += empty;
    if (empty || !capture_far(&take->picture, take->cache, far))
        capture_far_facts(&take->picture, far->copy, take->target->still,
                          empty ? "its stack is all zeros"
                                : "its stack cannot be read");
}

// When it runs on, unless it is `still`.
static void add_slots(struct take *take)
{
    uint32_t used = take->picture.slots;
    uint32_t count;

    for (uint32_t first = 0; first < used; first += count) {
        uint64_t held = store_held(take->picture.store);
        count = copy_stacks(take, first, used);
        for (uint32_t k = 0; k < count; k++) {
            const struct task *slot = &take->slots[first + k];
            if (is_task(slot, first + k) && !is_inside(slot))
                add_slot(take, &take->far[k]);
        }
        if (!take->target->still)
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
        w->busy_ns =
            since < take->picture.now
                ? picture_span(&take->picture, take->picture.now - since)
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

// One more thing that is missing.
static void add_problem(FILE *to, uint64_t count, const char *what)
{
    if (count > 0)
        fprintf(to, "%s%" PRIu64 " %s", ftell(to) > 0 ? "; " : "", count, what);
}

static void write_problems(const struct take *take, FILE *to)
{
    const struct target_kind *kind = take->target->kind;
    uint64_t pages = 0;
    char *words =
        kind->missing == NULL ? NULL : kind->missing(take->target, &pages);

    add_problem(to, take->failed, "slots could not be read");
    add_problem(to, take->moved, "tasks ran on before their stacks were read");
    add_problem(to, take->empty, "stacks are all zeros");
    add_problem(to, pages, "pages of memory are not in the core");
    if (words != NULL)
        fprintf(to, "%s%s", ftell(to) > 0 ? "; " : "", words);
    free(words);
    take->dump->missing_pages = pages;
}

// What makes it incomplete.
static int add_problems(struct take *take)
{
    struct weft_dump *dump = take->dump;
    size_t size = 0;
    FILE *to = open_memstream(&dump->problem, &size);

    if (to == NULL)
        return -ENOMEM;
    write_problems(take, to);
    if (fclose(to) != 0)
        return -ENOMEM;
    dump->complete = size == 0;
    if (dump->complete) {
        free(dump->problem);
        dump->problem = NULL;
    }
    return 0;
}

static int finish(struct take *take)
{
    struct weft_dump *dump = take->dump;

    dump->consistent = true;
    int error = store_seal(take->picture.store, take->picture.slots, dump);
    if (error != 0)
        return error;
    take->picture.store = NULL; // the dump's now
    for (size_t i = 0; i < dump->worker_count; i++) {
        add_runner(dump, &dump->workers[i]);
        if (dump->workers[i].syscall_fd >= 0)
            dump->workers[i].syscall_fd_name = take->target->kind->descriptor(
                take->target, dump->workers[i].syscall_fd);
    }
    dump->modules = take->modules.about;
    dump->module_count = take->modules.count;
    take->modules.about = NULL;
    add_limits(take);
    error = take->target->kind->describe(take->target, dump);
    return error == 0 ? add_problems(take) : error;
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

static int read_modules(struct take *take)
{
    FILE *maps = take->target->kind->maps(take->target);

    if (maps == NULL)
        return fail(take, errno, "its memory map cannot be read");
    int error = modules_read(&take->modules, &take->target->space, maps);
    (void)fclose(maps);
    return error;
}

static int take_all(struct take *take)
{
    struct target *target = take->target;
    int64_t began_ns = port_now();

    int error = read_modules(take);
    if (error == 0)
        error = check_beacon(take);
    if (error == 0)
        take->cache =
            cfi_cache_new_for(take->modules.code, take->modules.count);
    if (error == 0)
        error = take->cache == NULL ? -ENOMEM : target->kind->stop(target);
    if (error == 0)
        error = look(take);
    if (error != 0 || !target->still)
        target->kind->resume(target);
    if (error != 0)
        return error;
    add_slots(take);
    error = finish(take);
    target->kind->resume(target);
    if (error == 0)
        error = dump_judge(take->dump);
    if (error == 0) {
        take->dump->pause_ns = target->stood_ns;
        take->dump->total_ns =
            target->took_ns != 0 ? target->took_ns : port_now() - began_ns;
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
