// far.h -- One runtime of another process, and what is copied of it.
//
// First what the size of everything is, and room for it (far_prepare); then,
// while the process stands, all that changes when it runs (far_copy); then what
// stays as it is until it has run, with proof that it has not (far_finish).
#ifndef WEFT_REMOTE_FAR_H
#define WEFT_REMOTE_FAR_H

#include "dump/capture.h"
#include "dump/model.h"
#include "remote/modules.h"
#include "remote/target.h"

enum { FAR_READERS = 2 }; // threads that read tasks

// What one of these needs.
struct far_reader {
    struct cfi_cache *cache;
    char *bytes;          // of stacks
    struct span *spans;   // of a batch of tasks, all four:
    uint32_t *span_of;    //
    struct far_slot *far; //
    struct task *again;   // their slots, once more
};

// A task in a queue.
struct far_place {
    uint32_t slot;
    uint32_t worker; // whose queue, or WEFT_NONE: the shared one's
    uint32_t place;
};

// Slots that two threads have found, in no order.
struct far_list {
    uint32_t *slots;
    uint32_t room;
    atomic_u32 count; // may be more than there is room for; relaxed: it is
                      // read when both have ended
};

struct far_runtime {
    struct target *target;
    const struct modules *modules;
    uintptr_t address;
    struct weft_runtime runtime; // copies, all of these:
    struct worker *workers;      //
    struct core *cores;          //
    uintptr_t *segments;         //
    struct task *slots;          // with room for
    uint32_t slot_room;          //
    struct far_list inside;      // tasks that run, or so it seems
    struct far_list ready;       // the first of those that may run next
    struct far_place *places;    // of tasks that were in queues
    uint32_t place_count;        //
    struct far_reader readers[FAR_READERS];
    atomic_u32 next;   // stretch of slots to be read; relaxed: by number alone
    atomic_u32 failed; // slots that could not be read; relaxed, as `moved`
    atomic_u32 moved;  // tasks that ran on before all of theirs was read
    atomic_u32 empty;  // tasks whose stacks hold nothing but zeros; likewise
    uint32_t unplaced; // tasks that run, one does not know where
    struct picture picture;
    struct weft_dump *dump;
};

// Makes room. 0, -ENOMEM, or -EIO: it cannot be read, or is damaged.
int far_prepare(struct far_runtime *far);

// While the process stands, unless it is not to be stopped. As above.
int far_copy(struct far_runtime *far);

// When it runs on: the rest, and what the dump still needs. As above.
int far_finish(struct far_runtime *far);

// What the dump has come to is its caller's, if it was taken out.
void far_free(struct far_runtime *far);

// ---- Tasks: far_tasks.c ----

int far_tasks_prepare(struct far_runtime *far);
void far_tasks_free(struct far_runtime *far);

// The table; and the stacks of those that run, or are in a queue.
int far_tasks_copy(struct far_runtime *far);

// Stacks of all others.
void far_tasks_read(struct far_runtime *far);

// ---- Threads: far_threads.c ----

// A task that runs: its stack from its worker's thread.
void far_threads_add_running(struct far_runtime *far, uint32_t slot);

// What workers do, and those threads that are none.
int far_threads_add(struct far_runtime *far);

#endif
