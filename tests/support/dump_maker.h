// dump_maker.h -- Dumps made by hand, for tests of what reads dumps.
//
// Names go to the dump's text at once; objects know their waiters and tasks
// what they hold only after maker_finish.
#ifndef TESTS_SUPPORT_DUMP_MAKER_H
#define TESTS_SUPPORT_DUMP_MAKER_H

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "dump/model.h"
#include "task/switch.h"

#define SECOND INT64_C(1000000000)

// Appends one zeroed element to an array that has `count` of them.
#define MAKER_ADD(array, count)                                                \
    ((array) = maker_grow((array), (count), sizeof(*(array))),                 \
     &(array)[(count)++])

static inline void *maker_grow(void *array, size_t count, size_t size)
{
    // Doubles at powers of two.
    if ((count & (count - 1)) == 0) {
        array = realloc(array, (count ? 2 * count : 1) * size);
        ensure(array);
    }
    memset((char *)array + count * size, 0, size);
    return array;
}

static inline weft_dump *maker_new(void)
{
    weft_dump *dump = calloc(1, sizeof(*dump));

    ensure(dump);
    store_relaxed(&dump->references, 1);
    dump->pid = 48213;
    dump->exe = strdup("/usr/local/bin/orders-svc");
    dump->host = strdup("db7");
    dump->runtime = strdup("weft");
    dump->wall_time_ns = INT64_C(1768187261) * SECOND + 208113000;
    dump->process_start_ns = dump->wall_time_ns - INT64_C(274260412551000);
    dump->pause_ns = 380000;
    dump->total_ns = 1200000;
    dump->consistent = true;
    dump->complete = true;
    ensure(model_add_modules(dump) == 0);
    dump->entry = (uintptr_t)task_entry;
    return dump;
}

static inline uint32_t maker_bytes(weft_dump *dump, const char *bytes,
                                   size_t size)
{
    static size_t room;
    uint32_t at = (uint32_t)dump->text_size;

    if (!dump->text)
        room = 0;
    if (dump->text_size + size > room) {
        room = 2 * (dump->text_size + size);
        dump->text = realloc(dump->text, room);
        ensure(dump->text);
    }
    memcpy(dump->text + at, bytes, size);
    dump->text_size += size;
    return at;
}

static inline uint32_t maker_text(weft_dump *dump, const char *text)
{
    return text ? maker_bytes(dump, text, strlen(text) + 1) : WEFT_NONE;
}

static inline uint32_t maker_stack(weft_dump *dump, const uintptr_t *pcs,
                                   uint32_t count)
{
    struct model_stack *stack = MAKER_ADD(dump->stacks, dump->stack_count);

    stack->pc = (uint32_t)dump->pc_count;
    stack->count = count;
    stack->error = WEFT_NONE;
    for (uint32_t i = 0; i < count; i++)
        *MAKER_ADD(dump->pcs, dump->pc_count) = pcs[i];
    return (uint32_t)dump->stack_count - 1;
}

static inline uint32_t maker_site(weft_dump *dump, uintptr_t pc)
{
    *MAKER_ADD(dump->sites, dump->site_count) = pc;
    return (uint32_t)dump->site_count - 1;
}

static inline uint32_t maker_object(weft_dump *dump, enum weft_object_kind kind,
                                    const char *name, uint64_t owner,
                                    uintptr_t taken_pc)
{
    struct model_object *object = MAKER_ADD(dump->objects, dump->object_count);

    object->kind = kind;
    object->name = maker_text(dump, name);
    object->peers = WEFT_NONE;
    object->address = 0x55d0c1a2e080 + 64 * dump->object_count;
    object->owner = owner;
    object->taken_pc = taken_pc;
    object->held_ns = owner ? 754 * SECOND : 0;
    return (uint32_t)dump->object_count - 1;
}

static inline struct model_task *maker_task(weft_dump *dump, uint64_t id,
                                            const char *name,
                                            enum weft_task_state state,
                                            int64_t state_ns)
{
    struct model_task *task = MAKER_ADD(dump->tasks, dump->task_count);

    task->id = id;
    task->handle = id << 32 | 7;
    task->name = maker_text(dump, name);
    task->state = state;
    task->state_ns = state_ns;
    task->age_ns = state_ns + 1000;
    task->schedules = 3;
    task->timeout_in_ns = WEFT_NEVER;
    task->labels = WEFT_NONE;
    task->object = WEFT_NONE;
    task->held = WEFT_NONE;
    task->stack = WEFT_NONE;
    task->choice = WEFT_NONE;
    task->site = WEFT_NONE;
    task->worker = WEFT_NONE;
    task->queue_place = WEFT_NONE;
    task->wait_fd = -1;
    task->stack_used = 1376;
    task->stack_size = 65536;
    return task;
}

static inline void maker_worker(weft_dump *dump, enum weft_worker_state state,
                                uint64_t task, int64_t busy_ns)
{
    uint32_t index = (uint32_t)dump->worker_count;

    *MAKER_ADD(dump->workers, dump->worker_count) = (weft_dump_worker){
        .index = index,
        .tid = 48217 + (int)index,
        .state = state,
        .task = task,
        .busy_ns = busy_ns,
    };
}

// A finding; `tasks`, `objects` (may be NULL) and `behind` are copied.
static inline struct model_finding *maker_finding(
    weft_dump *dump, enum weft_rule rule, const uint32_t *tasks,
    const uint32_t *objects, uint32_t count, const uint32_t *behind,
    uint32_t behind_count)
{
    struct model_finding *finding =
        MAKER_ADD(dump->findings, dump->finding_count);

    finding->rule = rule;
    finding->severity = rule == WEFT_RULE_DEADLOCK ? WEFT_SEVERITY_ERROR
                                                   : WEFT_SEVERITY_WARNING;
    finding->certainty = rule == WEFT_RULE_DEADLOCK ? WEFT_CERTAINTY_PROVEN
                                                    : WEFT_CERTAINTY_THRESHOLD;
    finding->worker = WEFT_NONE;
    finding->object = WEFT_NONE;
    finding->site = WEFT_NONE;
    finding->count = count + behind_count;
    finding->task_count = count;
    finding->behind_count = behind_count;
    finding->tasks = calloc(count + 1, sizeof(uint32_t));
    finding->behind = calloc(behind_count + 1, sizeof(uint32_t));
    ensure(finding->tasks && finding->behind);
    memcpy(finding->tasks, tasks, count * sizeof(uint32_t));
    if (behind_count)
        memcpy(finding->behind, behind, behind_count * sizeof(uint32_t));
    if (objects) {
        finding->objects = calloc(count + 1, sizeof(uint32_t));
        ensure(finding->objects);
        memcpy(finding->objects, objects, count * sizeof(uint32_t));
    }
    return finding;
}

// Derives waiters from what tasks wait for, and holds from the owners.
static inline void maker_finish(weft_dump *dump)
{
    for (size_t i = 0; i < dump->task_count; i++)
        if (dump->tasks[i].object != WEFT_NONE)
            dump->objects[dump->tasks[i].object].waiter_count++;
    for (uint32_t i = 0; i < dump->task_count; i++) {
        dump->tasks[i].held = (uint32_t)dump->held_count;
        for (uint32_t j = 0; j < dump->object_count && j < 1000; j++) {
            if (dump->objects[j].owner != dump->tasks[i].id)
                continue;
            *MAKER_ADD(dump->held, dump->held_count) = j;
            dump->tasks[i].held_count++;
            dump->objects[j].holder = (uint32_t)dump->held_count - 1;
            dump->objects[j].holder_count = 1;
        }
    }
    dump->holders = calloc(dump->held_count + 1, sizeof(uint32_t));
    ensure(dump->holders);
    for (uint32_t i = 0; i < dump->task_count; i++)
        for (uint32_t j = 0; j < dump->tasks[i].held_count; j++)
            dump->holders[dump->tasks[i].held + j] = i;
}

#endif
