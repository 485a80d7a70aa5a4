// blocking.c -- The pool of threads for calls that block.
//
//   I1  A job in `jobs` has a thread that will come to it: one that works and
//       looks at the list before it sleeps, or one that has been called by the
//       bell. `idle` counts sleepers that are not yet called, so a job either
//       calls one, or finds none and starts a thread, if there may be more.
//   P1  A sleeper reads `bell` under the lock before it sleeps on it; whoever
//       adds a job or stops the pool moves it under the lock (release), then
//       wakes: so the sleeper has either seen the job, or wakes.
//
//   I2  A thread is in `serving` until it ends. A dump that has found it there
//       pins it; it ends when it is in the list no more, and has no pins.
//
// Threads are detached in effect: the last thing that one does with the pool
// is to count itself out and move `gone`; blocking_deinit waits for that.
#include "sched/blocking.h"

#include <errno.h>
#include <weft/time.h>

#include "sched/runtime.h"

void blocking_init(struct blocking *blocking, struct weft_runtime *runtime)
{
    blocking->runtime = runtime;
    list_init(&blocking->jobs);
    list_init(&blocking->serving);
}

// Sleeps until called; the lock is held before and after. False: the time of
// an idle thread is up.
static bool await_call(struct blocking *blocking)
{
    int64_t deadline_ns = weft_time_after(blocking->keep_ns);
    int error = 0;

    blocking->idle++;
    while (blocking->calls == 0 && error != -ETIMEDOUT) {
        uint32_t bell = load_relaxed(&blocking->bell); // under the lock: P1
        lock_release(&blocking->lock);
        error = port_futex_wait(&blocking->bell, bell, deadline_ns);
        lock_acquire(&blocking->lock);
    }
    if (blocking->calls > 0) {
        blocking->calls--; // whoever called has taken us out of `idle`
        return true;
    }
    blocking->idle--;
    return false;
}

static void ring(struct blocking *blocking, uint32_t count)
{
    blocking->calls += count;
    blocking->idle -= count;
    store_release(&blocking->bell, load_relaxed(&blocking->bell) + 1); // P1
    port_futex_wake(&blocking->bell, count);
}

// The lock is held before and after.
static void run(struct blocking *blocking, struct pool_thread *self,
                struct job *job)
{
    self->fn = job->fn;
    self->task = job->task;
    self->since = port_ticks();
    lock_release(&blocking->lock);
    job->run(job);
    lock_acquire(&blocking->lock);
    self->fn = NULL;
    self->task = 0;
    self->since = port_ticks();
}

// I2. The lock is held before and after.
static void leave(struct blocking *blocking, struct pool_thread *self)
{
    uint32_t pins;

    list_remove(&self->link);
    while ((pins = load_relaxed(&self->pins)) > 0) { // under the lock
        lock_release(&blocking->lock);
        (void)port_futex_wait(&self->pins, pins, INT64_MAX);
        lock_acquire(&blocking->lock);
    }
}

// While the lock is held the pool, and so the runtime, cannot go away.
static void serve_all(struct blocking *blocking, struct pool_thread *self)
{
    struct list *link;

    blocking->beginning--;
    list_push_back(&blocking->serving, &self->link); // I2
    self->since = port_ticks();
    for (;;) {
        while ((link = list_pop_front(&blocking->jobs)) != NULL) {
            blocking->queued--;
            run(blocking, self, container_of(link, struct job, link));
        }
        if (blocking->stopping || !await_call(blocking))
            break;
    }
    leave(blocking, self);
}

static void *serve(void *arg)
{
    struct blocking *blocking = arg;
    const struct trace_ops *trace = blocking->runtime->trace;
    struct pool_thread self = {.tid = port_thread_id()};

    if (trace != NULL)
        trace->pool_begins(blocking->runtime, &self);
    lock_acquire(&blocking->lock);
    serve_all(blocking, &self);
    lock_release(&blocking->lock);
    if (trace != NULL)
        trace->pool_ends(&self);

    lock_acquire(&blocking->lock);
    blocking->threads--;
    store_release(&blocking->gone, load_relaxed(&blocking->gone) + 1); // P1
    lock_release(&blocking->lock);
    port_futex_wake(&blocking->gone, 1); // only the address is used
    return NULL;
}

size_t blocking_pin(struct blocking *blocking, struct pool_thread **threads,
                    struct pool_thread *copies, size_t room)
{
    struct list *head = &blocking->serving;
    size_t count = 0;

    lock_acquire(&blocking->lock);
    for (struct list *at = head->next; at != head; at = at->next, count++) {
        struct pool_thread *thread = container_of(at, struct pool_thread, link);
        if (count >= room)
            continue;
        store_relaxed(&thread->pins, load_relaxed(&thread->pins) + 1);
        threads[count] = thread;
        copies[count].tid = thread->tid;
        copies[count].fn = thread->fn;
        copies[count].task = thread->task;
        copies[count].since = thread->since;
    }
    lock_release(&blocking->lock);
    return count;
}

bool blocking_still(struct blocking *blocking, const struct pool_thread *thread,
                    const struct pool_thread *copy)
{
    lock_acquire(&blocking->lock);
    bool still = thread->since == copy->since;
    lock_release(&blocking->lock);
    return still;
}

void blocking_unpin(struct blocking *blocking, struct pool_thread *thread)
{
    lock_acquire(&blocking->lock);
    store_relaxed(&thread->pins, load_relaxed(&thread->pins) - 1); // I2
    lock_release(&blocking->lock);
    port_futex_wake(&thread->pins, 1); // only the address is used
}

// The lock is held. False: there are enough, or none is to be had.
static bool start_thread(struct blocking *blocking)
{
    if (blocking->threads >= blocking->limit ||
        port_thread_start(NULL, "weft-blocking", serve, blocking) != 0)
        return false;
    blocking->threads++;
    blocking->beginning++;
    store_relaxed(&blocking->started, load_relaxed(&blocking->started) + 1);
    return true;
}

// I1: sees to it that a thread comes to one more job. The lock is held.
static int call_thread(struct blocking *blocking)
{
    if (blocking->idle > 0) {
        ring(blocking, 1);
        return 0;
    }
    if (start_thread(blocking))
        return 0;
    if (blocking->threads == 0)
        return -EAGAIN;
    // Those on their way to a job take one each.
    uint32_t coming = blocking->calls + blocking->beginning;
    return blocking->queued < coming ||
                   blocking->queued - coming < blocking->queue_limit
               ? 0
               : -EBUSY;
}

int blocking_submit(struct blocking *blocking, struct job *job)
{
    lock_acquire(&blocking->lock);
    int error = call_thread(blocking);
    if (error == 0) {
        list_push_back(&blocking->jobs, &job->link);
        blocking->queued++;
    }
    lock_release(&blocking->lock);
    return error;
}

void blocking_count(struct blocking *blocking, uint32_t *ret_threads,
                    uint32_t *ret_queued)
{
    lock_acquire(&blocking->lock);
    *ret_threads = blocking->threads;
    *ret_queued = blocking->queued;
    lock_release(&blocking->lock);
}

void blocking_deinit(struct blocking *blocking)
{
    lock_acquire(&blocking->lock);
    blocking->stopping = true;
    ring(blocking, blocking->idle);
    while (blocking->threads > 0) {
        uint32_t gone = load_relaxed(&blocking->gone); // under the lock
        lock_release(&blocking->lock);
        (void)port_futex_wait(&blocking->gone, gone, INT64_MAX);
        lock_acquire(&blocking->lock);
    }
    lock_release(&blocking->lock);
}
