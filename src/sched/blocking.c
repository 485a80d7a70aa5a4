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
// Threads are detached in effect: the last thing that one does with the pool
// is to count itself out and move `gone`; blocking_deinit waits for that.
#include "sched/blocking.h"

#include <errno.h>

enum { THREADS_MAX = 512 };

static const int64_t KEEP_NS = INT64_C(10000000000);

void blocking_init(struct blocking *blocking)
{
    *blocking = (struct blocking){0};
    list_init(&blocking->jobs);
}

// Sleeps until called; the lock is held before and after. False: the time of
// an idle thread is up.
static bool await_call(struct blocking *blocking)
{
    int64_t deadline_ns = port_now() + KEEP_NS;
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

static void *serve(void *arg)
{
    struct blocking *blocking = arg;
    struct list *link;

    lock_acquire(&blocking->lock);
    for (;;) {
        while ((link = list_pop_front(&blocking->jobs)) != NULL) {
            struct job *job = container_of(link, struct job, link);
            lock_release(&blocking->lock);
            job->run(job);
            lock_acquire(&blocking->lock);
        }
        if (blocking->stopping || !await_call(blocking))
            break;
    }
    blocking->threads--;
    store_release(&blocking->gone, load_relaxed(&blocking->gone) + 1); // P1
    lock_release(&blocking->lock);
    port_futex_wake(&blocking->gone, 1); // only the address is used
    return NULL;
}

// I1. The lock is held.
static int start_thread(struct blocking *blocking)
{
    struct port_thread thread;

    if (blocking->threads == THREADS_MAX)
        return 0; // one of them will come to the job
    if (port_thread_start(&thread, "weft-blocking", serve, blocking) != 0)
        return blocking->threads > 0 ? 0 : -EAGAIN;
    port_thread_detach(&thread);
    blocking->threads++;
    store_relaxed(&blocking->started, load_relaxed(&blocking->started) + 1);
    return 0;
}

int blocking_submit(struct blocking *blocking, struct job *job)
{
    int error = 0;

    lock_acquire(&blocking->lock);
    list_push_back(&blocking->jobs, &job->link);
    if (blocking->idle > 0)
        ring(blocking, 1);
    else
        error = start_thread(blocking);
    if (error != 0)
        list_remove(&job->link);
    lock_release(&blocking->lock);
    return error;
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
