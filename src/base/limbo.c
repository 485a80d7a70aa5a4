// limbo.c -- Memory that a capture may be reading is freed when that is over.
//
// A capture reads what a parked task points to, though the task may run on at
// any moment: it finds out afterwards that what it has read is worth nothing.
// So it must only be sure that the memory is still there.
//
//   P1  limbo_open counts up before the capture shows itself to workers
//       (dump/rendezvous.c P2) -> a task that was found parked and runs on has
//       passed that show; so a free that follows from its running sees the
//       count. The count itself may therefore be loaded relaxed.
#include "base/limbo.h"

#include <stdlib.h>

#include "base/lock.h"

static struct lock lock;      // guards all, save that anyone loads the count
static atomic_u32 open_count; // P1
static struct grave *graves;

// A forked child has none of the threads that captured.
static void forget(void)
{
    lock = (struct lock){0};
    store_relaxed(&open_count, 0); // there is but one thread
    graves = NULL;
}

__attribute__((constructor)) static void announce_forks(void)
{
    // Fails for want of memory alone; then fork_prepare hardly gets any, and
    // no runtime starts.
    (void)port_at_fork(NULL, NULL, forget);
}

void limbo_free(struct grave *grave, void *memory)
{
    bool wait = load_relaxed(&open_count) > 0; // P1

    if (wait) {
        lock_acquire(&lock);
        wait = load_relaxed(&open_count) > 0; // under the lock
        if (wait) {
            *grave = (struct grave){.next = graves, .memory = memory};
            graves = grave;
        }
        lock_release(&lock);
    }
    if (!wait)
        free(memory);
}

void limbo_open(void)
{
    lock_acquire(&lock);
    store_relaxed(&open_count, load_relaxed(&open_count) + 1); // P1
    lock_release(&lock);
}

void limbo_close(void)
{
    struct grave *grave = NULL;

    lock_acquire(&lock);
    store_relaxed(&open_count, load_relaxed(&open_count) - 1); // P1
    if (load_relaxed(&open_count) == 0) {                      // the lock's
        grave = graves;
        graves = NULL;
    }
    lock_release(&lock);
    while (grave != NULL) {
        struct grave *next = grave->next;
        free(grave->memory);
        grave = next;
    }
}
