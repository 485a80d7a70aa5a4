// beacon.c -- By what weft is found in a process that cannot be asked.
#include "dump/beacon.h"

#include "dump/rules.h"
#include "sched/runtime.h"
#include "sync/channel.h"
#include "sync/clause.h"
#include "sync/object.h"
#include "task/switch.h"

#define PLACE(type, field) offsetof(type, field), sizeof(type)

__attribute__((used)) const struct beacon beacon = {
    .magic = {'w', 'e', 'f', 't', ' ', 'd', 'm', 'p'},
    .version = BEACON_VERSION,
    .size = sizeof(struct beacon),
    .library = "0.1.0",
    .layout = {PLACE(struct task, state),
               PLACE(struct task, sp),
               PLACE(struct task, injected),
               PLACE(struct task, generation),
               PLACE(struct task, top),
               PLACE(struct task, stack_class),
               PLACE(struct task, index),
               PLACE(struct task, fn),
               PLACE(struct task, id),
               PLACE(struct task, spawned),
               PLACE(struct task, since),
               PLACE(struct task, woken),
               PLACE(struct task, cpu),
               PLACE(struct task, wait_object),
               PLACE(struct task, wait_deadline),
               PLACE(struct task, wait_fd),
               PLACE(struct task, wait_kind),
               PLACE(struct task, wait_write),
               PLACE(struct task, site),
               PLACE(struct task, parent),
               PLACE(struct task, held),
               PLACE(struct task, tag),
               PLACE(struct task, owner),
               PLACE(struct task_top, name),
               PLACE(struct task_top, labels),
               PLACE(struct task_top, first_count),
               PLACE(struct switch_frame, pc),
               PLACE(struct label, next),
               PLACE(struct worker, now),
               PLACE(struct worker, tid),
               PLACE(struct worker, presence),
               PLACE(struct worker, current),
               PLACE(struct core, queue),
               PLACE(struct queue, tail),
               PLACE(struct weft_runtime, table),
               PLACE(struct table, segments),
               PLACE(struct table, used),
               PLACE(struct weft_runtime, inject),
               PLACE(struct inject, length),
               PLACE(struct inject, total),
               PLACE(struct weft_runtime, worker_count),
               PLACE(struct weft_runtime, workers),
               PLACE(struct weft_runtime, cores),
               PLACE(struct weft_runtime, tag),
               PLACE(struct weft_runtime, rules),
               PLACE(struct weft_runtime, name),
               PLACE(struct weft_runtime, no_yield_ns),
               PLACE(struct rules, limits),
               PLACE(struct weft_channel, capacity),
               PLACE(struct weft_channel, sent),
               PLACE(struct weft_channel, received),
               PLACE(struct weft_channel, name),
               PLACE(struct channel_peers, last),
               PLACE(struct clause, object),
               PLACE(struct clause, own),
               PLACE(struct clause_shown, number),
               PLACE(struct object, held),
               PLACE(struct held, next),
               PLACE(struct hold, taken_since),
               QUEUE_CAP,
               OBJECT_WORDS_MAX},
    .registry = (uintptr_t)runtime_registry,
    .task_entry = (uintptr_t)task_entry,
};

// Two words of lengths, the type, the owner's name, how far the beacon is.
__asm__(".pushsection .note.weft, \"a\", %note\n"
        ".balign 4\n"
        ".long 5, 8, 1\n"
        ".asciz \"weft\"\n"
        ".balign 4\n"
        ".quad beacon - .\n"
        ".popsection\n");
