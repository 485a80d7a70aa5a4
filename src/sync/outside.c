// outside.c -- Threads that are no workers, while a call of weft's blocks them.
//
//   I1  An outsider is in the list from outside_enter to outside_leave, which
//       both take the lock; so under it every member is alive. The lock is a
//       leaf: nothing else is taken under it.
#include "sync/outside.h"

#include <string.h>

#include "base/lock.h"
#include "sync/channel.h"
#include "sync/object.h"

static struct lock lock;
struct list outside_all = {&outside_all, &outside_all}; // I1
static uint64_t last_serial;                            // under lock

// A forked child has none of the threads that waited.
static void forget(void)
{
    lock = (struct lock){0};
    list_init(&outside_all); // I1
}

__attribute__((constructor)) static void announce_forks(void)
{
    (void)port_at_fork(NULL, NULL, forget); // as limbo.c
}

static void describe(struct outsider *o, const struct wait *wait)
{
    const char *name = NULL;

    o->kind = wait->kind;
    o->object = (uintptr_t)wait->object;
    o->deadline_ns = wait->deadline_ns;
    switch (wait->kind) {
    case WEFT_WAIT_JOIN:
        o->task = ((const struct task *)wait->object)->id;
        break;
    case WEFT_WAIT_CHAN_SEND:
    case WEFT_WAIT_CHAN_RECV:
        name = ((const struct weft_channel *)wait->object)->name;
        break;
    default:
        if (object_is_waited_for(wait->kind))
            name = ((const struct object *)wait->object)->held.name;
        break;
    }
    if (name != NULL)
        memcpy(o->object_name, name, strnlen(name, WEFT_NAME_MAX - 1));
}

void outside_enter(struct outsider *outsider, const struct wait *wait,
                   const struct weft_runtime *runtime)
{
    *outsider = (struct outsider){
        .tid = port_thread_id(),
        .ends = wait == NULL,
        .runtime = runtime,
        .deadline_ns = WEFT_NEVER,
        .since = port_ticks(),
    };
    if (wait != NULL)
        describe(outsider, wait);
    if (runtime != NULL)
        memcpy(outsider->runtime_name, runtime->name, WEFT_NAME_MAX);
    lock_acquire(&lock);
    outsider->serial = ++last_serial;
    list_push_back(&outside_all, &outsider->link); // I1
    lock_release(&lock);
}

void outside_leave(struct outsider *outsider)
{
    lock_acquire(&lock);
    list_remove(&outsider->link); // I1
    lock_release(&lock);
}

size_t outside_copy(struct outsider *copies, size_t room)
{
    size_t count = 0;

    lock_acquire(&lock);
    for (struct list *at = outside_all.next; at != &outside_all;
         at = at->next) {
        if (count < room)
            copies[count] = *container_of(at, struct outsider, link);
        count++;
    }
    lock_release(&lock);
    return count;
}

bool outside_lasts(uint64_t serial)
{
    bool lasts = false;

    lock_acquire(&lock);
    for (struct list *at = outside_all.next; at != &outside_all; at = at->next)
        lasts |= container_of(at, struct outsider, link)->serial == serial;
    lock_release(&lock);
    return lasts;
}
