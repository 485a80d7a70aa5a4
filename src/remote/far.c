// far.c -- One runtime of another process: its parts, and its dump.
#include "remote/far.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump/complete.h"
#include "dump/rules.h"

// Longer than any machine has run.
static const int64_t TIME_MAX_NS = INT64_MAX / 4;

enum {
    SEGMENTS_AT_ONCE = 256,
    RATE_AFTER_NS = 1000000,
    RATE_MAX_NS = 1000, // of one tick
};

// ---- Copies ----

static void *copy_array(const struct far_runtime *far, const void *from,
                        size_t count, size_t size)
{
    void *to = aligned_alloc(64, (count * size + 127) & ~(size_t)63);

    if (to != NULL && !space_read_all(&far->target->space, (uintptr_t)from, to,
                                      count * size)) {
        free(to);
        return NULL;
    }
    return to;
}

static int copy_runtime(struct far_runtime *far)
{
    struct weft_runtime *r = &far->runtime;

    if (!space_read_all(&far->target->space, far->address, r, sizeof *r) ||
        worker_count(r) == 0 || worker_count(r) > CREW_MAX ||
        load_relaxed(&r->table.used) > TABLE_MAX) // a copy's
        return -EIO;
    r->name[sizeof r->name - 1] = '\0';
    return 0;
}

static int by_number(const void *left, const void *right)
{
    const uintptr_t *a = left, *b = right;

    return (*a > *b) - (*a < *b);
}

// Whether segments lie beside each other: or the same memory would be counted,
// and copied, many times.
static bool lie_apart(const uintptr_t *segments, size_t count)
{
    uintptr_t *sorted = malloc((count + 1) * sizeof *sorted);
    bool apart = sorted != NULL;

    if (sorted != NULL) {
        memcpy(sorted, segments, count * sizeof *sorted);
        qsort(sorted, count, sizeof *sorted, by_number);
    }
    for (size_t i = 1; apart && i < count; i++)
        apart = sorted[i] - sorted[i - 1] >= sizeof(struct segment);
    free(sorted);
    return apart;
}

// How many of the segments are there, up to the first that is not.
static size_t count_there(const struct far_runtime *far, size_t count)
{
    struct span spans[SEGMENTS_AT_ONCE];
    uint64_t words[SEGMENTS_AT_ONCE];

    for (size_t first = 0; first < count; first += SEGMENTS_AT_ONCE) {
        size_t some =
            count - first < SEGMENTS_AT_ONCE ? count - first : SEGMENTS_AT_ONCE;
        for (size_t i = 0; i < some; i++)
            spans[i] = (struct span){far->segments[first + i], &words[i],
                                     sizeof *words};
        far->target->space.read_many(&far->target->space, spans, some);
        for (size_t i = 0; i < some; i++)
            if (spans[i].bytes != sizeof *words)
                return first + i;
    }
    return count;
}

// Where the table lies. It is as long as it says only if that is there: room is
// made by its length.
static int copy_table(struct far_runtime *far)
{
    struct table *table = &far->runtime.table;
    uint32_t used = load_relaxed(&table->used); // a copy's
    size_t segments = ((size_t)used + SEGMENT_SLOTS - 1) / SEGMENT_SLOTS;

    free(far->segments);
    far->segments = copy_array(far, (const void *)table->segments, segments,
                               sizeof *far->segments);
    if (far->segments == NULL || !lie_apart(far->segments, segments))
        return -EIO;
    uint64_t there = (uint64_t)count_there(far, segments) * SEGMENT_SLOTS;
    if (there < used)
        store_relaxed(&table->used, (uint32_t)there); // a copy's
    // A figure; nobody else counts yet.
    store_relaxed(&far->failed, there < used ? used - (uint32_t)there : 0);
    return 0;
}

static int copy_parts(struct far_runtime *far)
{
    struct weft_runtime *r = &far->runtime;

    far->workers =
        copy_array(far, r->workers, worker_count(r), sizeof *far->workers);
    far->cores = copy_array(far, r->cores, worker_count(r), sizeof *far->cores);
    return far->workers == NULL || far->cores == NULL ? -EIO : copy_table(far);
}

int far_prepare(struct far_runtime *far)
{
    int error = copy_runtime(far);

    if (error == 0)
        error = copy_table(far);
    return error == 0 ? far_tasks_prepare(far) : error;
}

// ---- The dump ----

// A time of a clock that may be anything.
static int64_t sound(int64_t ns)
{
    return ns >= 0 && ns < TIME_MAX_NS ? ns : 0;
}

// How fast the counter runs there, by how far both clocks came since the
// runtime began; 0: that is not long enough to tell. This command has not lived
// for long enough to know it so well, and may be on another machine.
static uint64_t find_rate(const struct weft_runtime *r,
                          const struct watch_moment *now)
{
    int64_t ns = sound(now->ns) - sound(r->began.ns);
    uint64_t ticks = now->ticks - r->began.ticks;

    if (r->began.ticks == 0 || r->began.ns <= 0 || ns < RATE_AFTER_NS ||
        (uint64_t)ns / RATE_MAX_NS > ticks || ticks > (uint64_t)1 << 62)
        return 0;
    return (uint64_t)(((unsigned __int128)ns << 32) / ticks);
}

// The last that is known of a process that does not say when: some worker has
// switched since the watchdog has looked, or none has.
static void find_moment(const struct far_runtime *far,
                        struct watch_moment *ret_now)
{
    const struct weft_runtime *r = &far->runtime;
    uint64_t last = r->looked.ticks;

    for (uint32_t i = 0; i < worker_count(r); i++)
        if (worker_now(&far->workers[i]) > last)
            last = worker_now(&far->workers[i]);
    ret_now->ticks = last;
    ret_now->ns = sound(r->looked.ns) +
                  sound(picture_span(&far->picture, last - r->looked.ticks));
}

static void set_moment(struct far_runtime *far)
{
    const struct weft_runtime *r = &far->runtime;
    struct picture *p = &far->picture;
    struct target_moment moment;

    far->target->kind->moment(far->target, &moment);
    p->rate = find_rate(r, moment.now.ticks != 0 ? &moment.now : &r->looked);
    if (moment.now.ticks == 0)
        find_moment(far, &moment.now);
    p->now = moment.now.ticks;
    p->now_ns = sound(moment.now.ns);
    far->dump->wall_time_ns = sound(moment.wall_ns);
    far->dump->process_start_ns =
        sound(moment.wall_ns) - (p->now_ns - sound(r->began.ns));
}

static void set_picture(struct far_runtime *far)
{
    struct picture *p = &far->picture;

    p->runtime = &far->runtime;
    p->space = &far->target->space;
    p->segments = far->segments;
    p->entry = far->modules->beacon.task_entry;
    p->slots = load_relaxed(&far->runtime.table.used); // a copy's
    set_moment(far);
    p->before = inject_look(&far->runtime.inject, &p->injected);
}

static int begin_dump(struct far_runtime *far)
{
    const struct weft_runtime *r = &far->runtime;
    struct weft_dump *dump = calloc(1, sizeof *dump);

    far->dump = dump;
    if (dump == NULL)
        return -ENOMEM;
    store_relaxed(&dump->references, 1); // not shared
    dump->method = far->target->method;
    dump->entry = far->modules->beacon.task_entry;
    dump->worker_count = worker_count(r);
    dump->workers = calloc(worker_count(r), sizeof *dump->workers);
    dump->runtime = strdup(r->name);
    return dump->workers == NULL || dump->runtime == NULL ? -ENOMEM : 0;
}

int far_copy(struct far_runtime *far)
{
    int error = copy_runtime(far);

    if (error == 0)
        error = copy_parts(far);
    if (error == 0)
        error = begin_dump(far);
    if (error != 0)
        return error;
    set_picture(far);
    error = far_tasks_copy(far);
    return error == 0 ? far_threads_add(far) : error;
}

// ---- What it still needs ----

// A task that runs came into that state when its worker took it.
static int add_runner(struct weft_dump *dump, const weft_dump_worker *w)
{
    uint32_t index = w->task == 0 ? WEFT_NONE : model_find(dump, w->task);

    if (index == WEFT_NONE ||
        model_task(dump, index).state != WEFT_STATE_RUNNING)
        return 0;
    struct extra *extra = model_extra(dump, index);
    if (extra == NULL)
        return -ENOMEM;
    extra->worker = w->index;
    store_record(dump->store, index)->state_ns = w->busy_ns;
    return 0;
}

static int add_place(struct far_runtime *far, const struct far_place *place)
{
    uint32_t index = model_find(far->dump, far->slots[place->slot].id);

    if (index == WEFT_NONE || place->worker == WEFT_NONE)
        return 0;
    struct extra *extra = model_extra(far->dump, index);
    if (extra == NULL)
        return -ENOMEM;
    extra->worker = place->worker;
    extra->queue_place = place->place;
    return 0;
}

static int add_extras(struct far_runtime *far)
{
    struct weft_dump *dump = far->dump;
    int error = 0;

    for (uint32_t i = 0; error == 0 && i < dump->worker_count; i++) {
        weft_dump_worker *w = &dump->workers[i];
        error = add_runner(dump, w);
        if (w->syscall_fd >= 0)
            w->syscall_fd_name =
                far->target->kind->descriptor(far->target, w->syscall_fd);
    }
    for (uint32_t i = 0; error == 0 && i < far->place_count; i++)
        error = add_place(far, &far->places[i]);
    return error;
}

// What the findings were set to there.
static void add_limits(struct far_runtime *far)
{
    struct rules rules;
    struct weft_dump *dump = far->dump;

    dump->no_yield_ns = far->runtime.no_yield_ns;
    dump->inject_length = load_relaxed(&far->runtime.inject.length); // a copy
    dump->outsiders = true; // who else may wake tasks is not known
    if (space_read_all(&far->target->space, (uintptr_t)far->runtime.rules,
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

// Of a core.
static void add_missing(struct far_runtime *far, FILE *to)
{
    const struct target_kind *kind = far->target->kind;
    uint64_t *pages = &far->dump->missing_pages;
    char *words =
        kind->missing == NULL ? NULL : kind->missing(far->target, pages);

    add_problem(to, *pages, "pages of memory are not in the core");
    if (words != NULL)
        fprintf(to, "%s%s", ftell(to) > 0 ? "; " : "", words);
    free(words);
}

static int add_quality(struct far_runtime *far)
{
    struct weft_dump *dump = far->dump;
    size_t size = 0;
    FILE *to = open_memstream(&dump->problem, &size);

    dump->consistent = dump->method != MODEL_UNSTOPPED;
    if (to == NULL)
        return -ENOMEM;
    add_problem(to, load_relaxed(&far->failed), // all have ended
                "slots of tasks could not be read");
    add_problem(to, load_relaxed(&far->moved), // likewise
                "tasks ran on before their stacks were read");
    add_problem(to, load_relaxed(&far->empty), // likewise
                "stacks are all zeros");
    add_problem(to, far->unplaced,
                dump->method == MODEL_UNSTOPPED
                    ? "running tasks have no stack, for they were not stopped"
                    : "running tasks have no stack, for their threads did not "
                      "stop");
    add_missing(far, to);
    if (fclose(to) != 0)
        return -ENOMEM;
    dump->complete = size == 0;
    if (dump->complete) {
        free(dump->problem);
        dump->problem = NULL;
    }
    return 0;
}

int far_finish(struct far_runtime *far)
{
    struct weft_dump *dump = far->dump;

    far_tasks_read(far);
    int error = store_seal(far->picture.store, far->picture.slots, dump);
    if (error != 0)
        return error;
    far->picture.store = NULL; // the dump's now
    error = add_extras(far);
    add_limits(far);
    if (error == 0)
        error = modules_describe(far->modules, dump);
    if (error == 0)
        error = far->target->kind->describe(far->target, dump);
    if (error == 0)
        error = add_quality(far);
    return error == 0 ? dump_judge(dump) : error;
}

void far_free(struct far_runtime *far)
{
    weft_dump_free(far->dump);
    far_tasks_free(far);
    free(far->workers);
    free(far->cores);
    free(far->segments);
    free(far);
}
