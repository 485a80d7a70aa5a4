// epoch.c -- One capture: from the meeting to a finished dump.
//
// Slots are captured in stretches, taken from a counter by whoever has time:
// workers between two tasks, for SHARE_NS at a time, with REST_NS of work in
// between, or without a break while they have none; and the conductor, where
// they do not get on: a thread of its own would compete with them for the
// processors, and the system may take a worker off its one for milliseconds.
//
//   E1  `done` grows (acq_rel) by a stretch's slots once they are captured;
//       who brings it to `slots` stores `finished`. So the conductor, who
//       loads that (acquire), sees all records, save those of workers that
//       capture a task before they run it: these it waits for
//       (rendezvous.c P3).
#include "dump/epoch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump/complete.h"
#include "dump/rules.h"
#include "dump/threads.h"
#include "dump/unchecked.h"

enum { STRETCH_MAX = 32, SLOTS_SPARE = 4096 };

static const int64_t SHARE_NS = 24000;
static const int64_t ATTEND_NS = 1000000;

// ---- Before ----

int workshop_init(struct workshop *shop, uint32_t workers)
{
    *shop = (struct workshop){.scale = 1};
    shop->missing = calloc(workers, sizeof *shop->missing);
    shop->workers = workers;
    shop->caches = calloc(workers + 1, sizeof(struct cfi_cache *));
    shop->rested = calloc(workers, sizeof *shop->rested);
    if (shop->missing != NULL && shop->caches != NULL && shop->rested != NULL &&
        stolen_init(&shop->stolen, workers) == 0)
        return 0;
    workshop_deinit(shop, workers);
    return -ENOMEM;
}

void workshop_deinit(struct workshop *shop, uint32_t workers)
{
    for (uint32_t i = 0; shop->caches != NULL && i <= workers; i++)
        cfi_cache_free(shop->caches[i]);
    free(shop->caches);
    free(shop->missing);
    free(shop->rested);
    stolen_deinit(&shop->stolen);
}

static bool prepare_cache(struct workshop *shop, uint32_t index)
{
    struct cfi_cache **cache = &shop->caches[index];

    if (*cache == NULL)
        *cache = cfi_cache_new();
    if (*cache == NULL)
        return false;
    cfi_cache_refresh(*cache);
    return true;
}

int workshop_hire(struct workshop *shop, uint32_t worker)
{
    return prepare_cache(shop, worker) ? 0 : -ENOMEM;
}

// Of the workers that there are, and the conductor's.
static bool prepare_caches(struct workshop *shop, uint32_t workers)
{
    for (uint32_t i = 0; i < workers; i++)
        if (!prepare_cache(shop, i))
            return false;
    return prepare_cache(shop, shop->workers);
}

static struct weft_dump *new_dump(const struct weft_runtime *runtime)
{
    struct weft_dump *dump = calloc(1, sizeof *dump);
    size_t room = runtime->crew.room;

    if (dump == NULL)
        return NULL;
    store_relaxed(&dump->references, 1); // not shared yet
    dump->entry = (uintptr_t)task_entry;
    dump->workers = malloc(room * sizeof *dump->workers);
    dump->runtime = strdup(runtime->name);
    if (dump->workers != NULL) // calloc might leave it untouched
        memset(dump->workers, 0, room * sizeof *dump->workers);
    if (dump->workers == NULL || dump->runtime == NULL) {
        weft_dump_free(dump);
        return NULL;
    }
    return dump;
}

// Epochs are told apart by 30 bits (task.h), and 0 is none.
static uint32_t next_number(struct workshop *shop)
{
    shop->epochs = (shop->epochs + 1) & (UINT32_MAX >> 2);
    if (shop->epochs == 0)
        shop->epochs = 1;
    return shop->epochs;
}

int epoch_init(struct epoch *epoch, struct weft_runtime *runtime,
               struct workshop *shop)
{
    uint32_t used = load_acquire(&runtime->table.used); // table.c T1
    uint32_t room =
        used < TABLE_MAX / 2 - SLOTS_SPARE ? 2 * used + SLOTS_SPARE : TABLE_MAX;

    *epoch = (struct epoch){.shop = shop, .asked_ns = port_now()};
    store_relaxed(&epoch->stretch, 1); // not shared yet
    epoch->picture = (struct picture){
        .runtime = runtime,
        .epoch = next_number(shop),
        .store = store_new(room, shop->scale),
    };
    epoch->dump = new_dump(runtime);
    if (epoch->picture.store != NULL && epoch->dump != NULL &&
        prepare_caches(shop, worker_count(runtime))) {
        store_commit(epoch->picture.store, 0, used);
        return 0;
    }
    epoch_drop(epoch);
    return -ENOMEM;
}

void epoch_drop(struct epoch *epoch)
{
    store_free(epoch->picture.store);
    weft_dump_free(epoch->dump);
}

// ---- While the world stands ----

static struct missing *find_missing(struct workshop *shop, uint32_t worker)
{
    for (uint32_t i = 0; i < shop->missing_count; i++)
        if (shop->missing[i].worker == worker)
            return &shop->missing[i];
    return NULL;
}

static void add_running(const struct epoch *epoch, const struct worker *worker,
                        const struct missing *missing, weft_dump_worker *w)
{
    uint64_t since = worker_now(worker);
    uint64_t now = epoch->picture.now;

    w->state = WEFT_WORKER_MISSING;
    w->handed_off = load_relaxed(&worker->duty) == DUTY_AWAY; // a figure
    if (missing->task == NULL || missing->ended)
        return;
    w->task = missing->running.copy.id;
    w->busy_ns = since < now ? port_ticks_to_ns(now - since) : 0;
}

static void note_worker(struct epoch *epoch, uint32_t index, enum place place)
{
    const struct worker *worker = &epoch->picture.runtime->workers[index];
    const struct missing *missing = find_missing(epoch->shop, index);
    weft_dump_worker *w = &epoch->dump->workers[index];

    *w = (weft_dump_worker){
        .index = index,
        .tid = (int)load_relaxed(&worker->tid), // a figure
        .queued = epoch->shop->stolen.of_worker[index],
        .syscall_fd = -1,
    };
    if (missing != NULL)
        add_running(epoch, worker, missing, w);
    else if (place != PLACE_AWAY)
        w->state = WEFT_WORKER_MET;
    else
        w->state = w->tid == 0 ? WEFT_WORKER_STOPPED : WEFT_WORKER_IDLE;
}

void epoch_meet(struct epoch *epoch, struct barrier *barrier)
{
    struct picture *picture = &epoch->picture;
    struct weft_runtime *runtime = picture->runtime;

    epoch->shop->missing_count =
        missing_list(runtime, barrier, picture->epoch, epoch->shop->missing);
    steal_all(runtime, &epoch->shop->stolen);
    picture->before = epoch->shop->stolen.before;
    picture->injected = epoch->shop->stolen.injected;
    picture->slots = load_acquire(&runtime->table.used); // table.c T1
    epoch->grown = picture->slots > picture->store->slots;
    picture->now = port_ticks();
    picture->now_ns = port_now();
    epoch->dump->wall_time_ns = port_wall_now();
    // Last: one that came after those before were counted was not missed.
    uint32_t count = worker_count(runtime);
    for (uint32_t i = 0; i < count; i++)
        note_worker(epoch, i, barrier_place(barrier, i));
    epoch->dump->worker_count = count;
    store_relaxed(&epoch->finished, picture->slots == 0); // not shared yet
}

// ---- While it runs on ----

// By number: nothing need be there.
static void fetch_lines(const void *start, size_t bytes)
{
    for (size_t at = 0; at < bytes + 64; at += 64)
        __builtin_prefetch((const void *)((uintptr_t)start + at));
}

// With a million tasks every slot and stack is cold: ask for the next ones
// while this one is read (460 -> 219 ms).
UNCHECKED static void fetch_ahead(const struct picture *picture, uint32_t at)
{
    enum { SLOTS = 8, STACKS = 4, STACK_BYTES = 384 };
    const struct table *table = &picture->runtime->table;

    if (at + SLOTS >= picture->slots)
        return;
    fetch_lines(table_at(table, at + SLOTS), sizeof(struct task));
    const struct task *task = table_at(table, at + STACKS);
    fetch_lines(task->sp, STACK_BYTES); // wherever it points: only a hint
    fetch_lines(task->top, offsetof(struct task_top, fiber));
}

// One slot at a time where code is new or stacks are deep, more where a stretch
// takes little of a share.
static void set_stretch(struct epoch *epoch, int64_t taken_ns)
{
    uint32_t stretch = load_relaxed(&epoch->stretch); // a figure

    if (taken_ns > SHARE_NS / 2)
        store_relaxed(&epoch->stretch, 1); // a figure
    else if (taken_ns < SHARE_NS / 3 && stretch < STRETCH_MAX)
        store_relaxed(&epoch->stretch, 2 * stretch); // a figure
}

// False: there was none left.
static bool capture_stretch(struct epoch *epoch, struct cfi_cache *cache)
{
    const struct picture *picture = &epoch->picture;
    uint32_t slots = picture->slots;

    if (load_relaxed(&epoch->next) >= slots) // a guess: the addition decides
        return false;
    uint32_t stretch = load_relaxed(&epoch->stretch);    // a figure
    uint32_t first = add_relaxed(&epoch->next, stretch); // only a number
    uint32_t end = first + stretch < slots ? first + stretch : slots;
    if (first >= slots)
        return false;
    uint64_t began = port_ticks();
    for (uint32_t i = first; i < end; i++) {
        fetch_ahead(picture, i);
        if (!capture_task(picture, cache,
                          table_at(&picture->runtime->table, i)))
            (void)add_relaxed(&epoch->failed, 1); // a figure
    }
    set_stretch(epoch, port_ticks_to_ns(port_ticks() - began));
    uint32_t before = add_acq_rel(&epoch->done, end - first); // E1
    if (before + (end - first) == slots) {
        store_release(&epoch->finished, 1); // E1
        port_futex_wake(&epoch->finished, 1);
    }
    return true;
}

void epoch_note_slice(struct epoch *epoch, uint64_t ticks)
{
    uint64_t longest = load_relaxed(&epoch->longest); // a figure

    while (ticks > longest && !cas_relaxed(&epoch->longest, &longest, ticks))
        ;
}

bool epoch_share(struct epoch *epoch, uint32_t worker)
{
    uint64_t began = port_ticks();
    uint64_t now = began;
    bool some = false;

    while (port_ticks_to_ns(now - began) < SHARE_NS &&
           capture_stretch(epoch, epoch->shop->caches[worker])) {
        some = true;
        now = port_ticks();
    }
    epoch_note_slice(epoch, now - began);
    epoch->shop->rested[worker] = now;
    return some;
}

// Captures for a while. False: there was nothing left.
static bool attend_once(struct epoch *epoch)
{
    struct cfi_cache *cache = epoch->shop->caches[epoch->shop->workers];
    int64_t until_ns = port_now() + ATTEND_NS;

    while (port_now() < until_ns)
        if (!capture_stretch(epoch, cache))
            return false;
    return true;
}

// Captures where the workers do not: it yields to them as long as they get on.
static void attend_yielding(struct epoch *epoch)
{
    struct weft_runtime *runtime = epoch->picture.runtime;
    bool others = !idle_all_asleep(&runtime->idle);

    while (load_acquire(&epoch->finished) == 0) {   // E1
        uint32_t seen = load_relaxed(&epoch->done); // whether others get on
        if (others || !attend_once(epoch)) {
            (void)port_futex_wait(&epoch->finished, 0, port_now() + ATTEND_NS);
            others = load_relaxed(&epoch->done) != seen;
        }
    }
}

// A thread that captures without a break.
struct helper {
    struct port_thread thread;
    struct epoch *epoch;
};

static void *help(void *arg)
{
    struct helper *helper = arg;
    struct cfi_cache *cache = cfi_cache_new();

    while (cache != NULL && capture_stretch(helper->epoch, cache))
        ;
    cfi_cache_free(cache);
    return NULL;
}

// Together with as many others as can be had.
static void attend_with(struct epoch *epoch, uint32_t count)
{
    struct helper helpers[DUMP_THREADS_MAX];
    uint32_t started = 0;

    while (started + 1 < count) {
        helpers[started].epoch = epoch;
        if (port_thread_start(&helpers[started].thread, "weft-dump", help,
                              &helpers[started]) != 0)
            break;
        started++;
    }
    while (attend_once(epoch))
        ;
    for (uint32_t i = 0; i < started; i++)
        port_thread_join(&helpers[i].thread);
    attend_yielding(epoch); // a worker may have a stretch in hand
}

void epoch_attend(struct epoch *epoch)
{
    struct workshop *shop = epoch->shop;
    struct weft_runtime *runtime = epoch->picture.runtime;

    missing_ask(runtime, shop->missing, shop->missing_count);
    if (runtime->dump_threads > 1)
        attend_with(epoch, runtime->dump_threads);
    else
        attend_yielding(epoch);
    missing_take(&epoch->picture, shop->caches[shop->workers], shop->missing,
                 shop->missing_count,
                 epoch->asked_ns + runtime->dump_patience_ns);
    missing_capture(&epoch->picture, shop->missing, shop->missing_count);
}

// ---- After ----

// A sandbox may forbid it.
static bool can_read_memory(void)
{
    uint32_t here = 1;
    uint32_t copy;

    return port_read_memory((uintptr_t)&here, &copy, sizeof copy) ==
           sizeof copy;
}

// Whom the dump lacks, and why: "T10 on worker 1 (tid 71): it did not answer".
static char *describe_problem(const struct epoch *epoch)
{
    struct workshop *shop = epoch->shop;
    uint32_t failed = load_relaxed(&epoch->failed); // nobody adds any more
    char *words = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&words, &size);

    if (file == NULL)
        return NULL;
    for (uint32_t i = 0; i < shop->missing_count; i++) {
        struct missing *missing = &shop->missing[i];
        const weft_dump_worker *w = &epoch->dump->workers[missing->worker];
        if (missing->task != NULL && !missing_is_found(missing))
            fprintf(file, "%sT%llu runs on worker %u (tid %d): %s",
                    ftell(file) > 0 ? "; " : "", (unsigned long long)w->task,
                    w->index, w->tid, missing->where.why);
    }
    if (failed > 0)
        fprintf(file, "%s%u tasks could not be read",
                ftell(file) > 0 ? "; " : "", failed);
    if (!can_read_memory())
        fprintf(file, "%sthe system does not let locks and channels be read",
                ftell(file) > 0 ? "; " : "");
    if (fclose(file) == 0)
        return words;
    free(words);
    return NULL;
}

static int note_problem(const struct epoch *epoch)
{
    struct weft_dump *dump = epoch->dump;

    dump->problem = describe_problem(epoch);
    if (dump->problem == NULL)
        return -ENOMEM;
    dump->complete = dump->problem[0] == '\0';
    if (dump->complete) {
        free(dump->problem);
        dump->problem = NULL;
    }
    return 0;
}

static int seal(struct epoch *epoch)
{
    struct picture *picture = &epoch->picture;
    struct workshop *shop = epoch->shop;
    struct cfi_cache *cache = shop->caches[shop->workers];

    int error = threads_add(epoch->dump, picture, cache);
    if (error != 0)
        return error;
    error = store_seal(picture->store, picture->slots, epoch->dump);
    if (error == -EAGAIN)
        shop->scale *= 4; // until there is no address space for it
    if (error == 0)
        picture->store = NULL; // the dump's now
    return error;
}

int epoch_finish(struct epoch *epoch, struct weft_dump **ret_dump)
{
    struct weft_dump *dump = epoch->dump;
    int error = seal(epoch);

    dump->consistent = true;
    rules_attach(epoch->picture.runtime, epoch->picture.now, dump);
    dump->slice_ns = port_ticks_to_ns(load_relaxed(&epoch->longest)); // theirs
    if (error == 0)
        error = note_problem(epoch);
    if (error == 0)
        error = dump_complete(dump, epoch->shop);
    if (error != 0) {
        epoch_drop(epoch);
        return error;
    }
    dump->total_ns = port_now() - epoch->asked_ns;
    *ret_dump = dump;
    return 0;
}
