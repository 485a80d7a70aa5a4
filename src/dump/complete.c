// complete.c -- What a dump still needs once the world runs on.
#include "dump/complete.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dump/calls.h"
#include "dump/findings.h"
#include "dump/process.h"
#include "dump/rules.h"
#include "dump/store.h"

// ---- Tasks by slot ----

static uint32_t slot_at(const struct weft_dump *dump, size_t index)
{
    const struct record *record = store_record(dump->store, (uint32_t)index);

    return HANDLE_INDEX((weft_task){record->handle});
}

// The index of the task in a slot, or WEFT_NONE: they are in that order.
static uint32_t find_slot(const struct weft_dump *dump, uint32_t slot)
{
    size_t low = 0;
    size_t high = dump->task_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slot_at(dump, middle) < slot)
            low = middle + 1;
        else
            high = middle;
    }
    return low < dump->task_count && slot_at(dump, low) == slot ? (uint32_t)low
                                                                : WEFT_NONE;
}

// ---- Queues and workers ----

static int add_place(struct weft_dump *dump, const struct task *task,
                     uint32_t worker, uint32_t place)
{
    uint32_t index = find_slot(dump, task->index);

    if (index == WEFT_NONE) // spawned since by one who did not stand still
        return 0;
    struct extra *extra = model_extra(dump, index);
    if (extra == NULL)
        return -ENOMEM;
    extra->worker = worker;
    extra->queue_place = place;
    return 0;
}

static int add_places(struct weft_dump *dump, const struct stolen *stolen)
{
    struct task **task = stolen->tasks;
    int error = 0;

    for (uint32_t w = 0; w < dump->worker_count; w++)
        for (uint32_t i = 0; error == 0 && i < stolen->of_worker[w]; i++)
            error = add_place(dump, *task++, w, i);
    return error;
}

static void add_call(const struct missing *missing, weft_dump_worker *w)
{
    int fd_arg;

    if (missing->where.how != STANDING_IN_CALL)
        return;
    w->in_syscall = true;
    w->syscall = missing->where.call;
    (void)calls_name(w->syscall, &fd_arg);
    w->syscall_fd = fd_arg < 0 ? -1 : (int)missing->where.args[fd_arg];
    w->syscall_ns = missing->in_call_ns;
}

// A task that runs came into that state when its worker took it, and has used
// its processor since.
static int add_runner(struct weft_dump *dump, const struct missing *missing)
{
    weft_dump_worker *w = &dump->workers[missing->worker];
    uint32_t index = missing->task == NULL || missing->ended
                         ? WEFT_NONE
                         : find_slot(dump, missing->task->index);

    if (index == WEFT_NONE)
        return 0;
    struct record *record = store_record(dump->store, index);
    struct extra *extra = model_extra(dump, index);
    if (extra == NULL)
        return -ENOMEM;
    extra->worker = missing->worker;
    record->state_ns = w->busy_ns;
    record->cpu_ns += w->busy_ns;
    add_call(missing, w);
    return 0;
}

static int add_runners(struct weft_dump *dump, const struct workshop *shop)
{
    int error = 0;

    for (uint32_t i = 0; error == 0 && i < shop->missing_count; i++)
        error = add_runner(dump, &shop->missing[i]);
    return error;
}

// ---- Who holds what ----

// Makes a holder known to the object, and turns its slot into its index.
static void note_holder(struct weft_dump *dump, struct holding *holding)
{
    struct model_object *o = &dump->objects[holding->object];

    holding->slot = find_slot(dump, holding->slot);
    if (holding->slot == WEFT_NONE || holding->shared)
        return;
    o->owner_task = holding->slot;
    o->owner = store_record(dump->store, holding->slot)->id;
    o->taken_pc = holding->taken_pc;
    o->held_ns = holding->held_ns;
    o->owned = true;
}

// The task that an object's owner was read to be, or WEFT_NONE.
static uint32_t find_owner(struct weft_dump *dump, const struct model_object *o)
{
    if (o->kind == WEFT_OBJECT_SEMAPHORE) // known by its id alone
        return model_find(dump, o->owner);
    uint32_t task = find_slot(dump, o->owner_task);
    if (task == WEFT_NONE || store_record(dump->store, task)->id != o->owner ||
        model_task(dump, task).state != WEFT_STATE_RUNNING)
        return WEFT_NONE;
    return task;
}

// Of an object that nobody says he holds: the owner that was read is right if
// he ran through the meeting; else it has changed hands since. Who took a
// semaphore never says so; objects.c has seen that he took it before.
static bool check_owner(struct weft_dump *dump, uint32_t index,
                        struct holding *ret_holding)
{
    struct model_object *o = &dump->objects[index];

    if (o->owned || o->owner == 0)
        return false;
    uint32_t task = find_owner(dump, o);
    if (task != WEFT_NONE && model_task(dump, task).object != index) {
        o->owner_task = task;
        *ret_holding = (struct holding){.slot = task, .object = index};
        return true;
    }
    o->owner = 0;
    o->owner_task = WEFT_NONE;
    o->taken_pc = 0;
    o->held_ns = 0;
    return false;
}

static int by_task(const void *left, const void *right)
{
    const struct holding *a = left;
    const struct holding *b = right;

    if (a->slot != b->slot)
        return a->slot < b->slot ? -1 : 1;
    return a->object < b->object ? -1 : a->object > b->object;
}

// Gives every holder its stretch of `held`.
static int fill_held(struct weft_dump *dump, const struct holding *holdings,
                     size_t count)
{
    dump->held = malloc((count + 1) * sizeof *dump->held);
    if (dump->held == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (holdings[i].slot == WEFT_NONE)
            break; // they sort last
        struct extra *extra = model_extra(dump, holdings[i].slot);
        if (extra == NULL)
            return -ENOMEM;
        if (extra->held_count++ == 0)
            extra->held = (uint32_t)i;
        dump->held[dump->held_count++] = holdings[i].object;
    }
    return 0;
}

// Gives every object its stretch of `holders`.
static int fill_holders(struct weft_dump *dump, const struct holding *holdings)
{
    uint32_t at = 0;

    dump->holders = malloc((dump->held_count + 1) * sizeof *dump->holders);
    if (dump->holders == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < dump->held_count; i++)
        dump->objects[holdings[i].object].holder_count++;
    for (uint32_t i = 0; i < dump->object_count; i++) {
        dump->objects[i].holder = at;
        at += dump->objects[i].holder_count;
        dump->objects[i].holder_count = 0;
    }
    for (size_t i = 0; i < dump->held_count; i++) {
        struct model_object *o = &dump->objects[holdings[i].object];
        dump->holders[o->holder + o->holder_count++] = holdings[i].slot;
    }
    return 0;
}

static int add_held(struct weft_dump *dump)
{
    struct shelf *shelf = &dump->store->holdings;
    size_t count = load_relaxed(&shelf->count); // nobody adds any more
    size_t room = count + dump->object_count;
    struct holding *holdings = malloc((room + 1) * sizeof *holdings);

    if (holdings == NULL)
        return -ENOMEM;
    memcpy(holdings, shelf->items, count * sizeof *holdings);
    for (size_t i = 0; i < count; i++)
        note_holder(dump, &holdings[i]);
    for (uint32_t i = 0; i < dump->object_count; i++)
        count += check_owner(dump, i, &holdings[count]);
    qsort(holdings, count, sizeof *holdings, by_task);
    int error = fill_held(dump, holdings, count);
    if (error == 0)
        error = fill_holders(dump, holdings);
    free(holdings);
    return error;
}

static void count_waiters(struct weft_dump *dump)
{
    const struct shape *shapes =
        (const struct shape *)dump->store->shapes.items;

    for (uint32_t i = 0; i < dump->task_count; i++) {
        uint32_t object = shapes[store_record(dump->store, i)->shape].object;
        if (object != WEFT_NONE)
            dump->objects[object].waiter_count++;
    }
}

// What the descriptors are that workers were found to wait for. A thread sits
// in a call on each, so they are hardly ever closed by now.
static void name_descriptors(struct weft_dump *dump)
{
    for (size_t i = 0; i < dump->worker_count; i++) {
        weft_dump_worker *worker = &dump->workers[i];
        if (worker->in_syscall && worker->syscall_fd >= 0)
            worker->syscall_fd_name = process_descriptor(0, worker->syscall_fd);
    }
}

int dump_judge(struct weft_dump *dump)
{
    int error = add_held(dump);

    count_waiters(dump);
    return error == 0 ? findings_add(dump) : error;
}

int dump_complete(struct weft_dump *dump, const struct workshop *shop)
{
    int error = add_places(dump, &shop->stolen);

    if (error == 0)
        error = add_runners(dump, shop);
    name_descriptors(dump);
    if (error == 0)
        error = model_add_modules(dump);
    if (error == 0)
        error = process_describe(0, dump);
    dump->outsiders = rules_see_outsiders();
    return error == 0 ? dump_judge(dump) : error;
}
