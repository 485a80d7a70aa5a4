// rendezvous.c -- Where workers and those who ask for a dump meet.
//
//   requester                          worker
//   1. trace_asked = 1                 1. presence = OUT or IN, or current = T
//   2. heavy barrier                   2. loads trace_asked
//   3. loads presence of each             set: barrier_meet
//
//   P1  trace_asked and presence are seq_cst; current goes with the light side
//       of the asymmetric fence (sched/worker.c C3). So of a worker that goes
//       out, comes in or begins a task, and a requester, at least one sees the
//       other: who is seen OUT will not touch a queue or a task before it has
//       come in and met; who is seen IN comes, or is inside a task and begins
//       no other before it has met.
//   I1  A request is in `waiting` from its making until a leader or the end of
//       the runtime answers it. A leader answers those that were there when
//       the meeting closed: their snapshot is not older than their asking.
//       For those that came later it opens the next meeting at once.
//   I2  Whoever opens a meeting sees to it that somebody leads: a thread that
//       asks waits for the deadline itself, and leads if no worker can come; a
//       worker (that of a task that asks, or a leader) comes itself.
//   I3  trace_asked is set exactly while a meeting is active; under the lock.
#include "dump/rendezvous.h"

#include <errno.h>
#include <stdlib.h>

#include "dump/barrier.h"
#include "dump/capture.h"
#include "dump/complete.h"
#include "dump/overflow.h"
#include "dump/standing.h"
#include "dump/threads.h"
#include "sync/outside.h"
#include "sync/wait.h"

struct rendezvous {
    struct barrier barrier; // its lock guards all below
    struct list waiting;    // requests' waiters, `data` a struct request
    struct list answered;   // by the meeting that is closed
    atomic_u32 users;       // inside weft_dump_take; written under the lock
    bool closing;           // the runtime is being freed
    uint64_t met_ticks;     // when the first participant stopped; 0: none yet
};

struct request {
    int64_t asked_ns;
    struct weft_dump *dump; // the answer, or
    int error;              // why there is none
};

static struct rendezvous *rendezvous_of(struct weft_runtime *runtime)
{
    return runtime->dumps;
}

// ---- Opening a meeting ----

// The lock is held. I3, P1.
static void open_meeting(struct weft_runtime *runtime)
{
    struct rendezvous *rv = rendezvous_of(runtime);

    barrier_begin(&rv->barrier, port_now() + runtime->dump_patience_ns);
    rv->met_ticks = 0;
    store_seq_cst(&runtime->trace_asked, 1); // P1
    port_barrier_heavy();                    // P1
    for (uint32_t i = 0; i < runtime->worker_count; i++)
        if (load_seq_cst(&runtime->workers[i].presence) == PRESENCE_OUT) // P1
            barrier_count_away(&rv->barrier, i);
}

// ---- Leading ----

static void move_all(struct list *from, struct list *to)
{
    struct list *link;

    while ((link = list_pop_front(from)) != NULL)
        list_push_back(to, link);
}

// I2: threads that wait for an answer look at the new meeting.
static void rouse_threads(struct rendezvous *rv)
{
    for (struct list *link = rv->waiting.next; link != &rv->waiting;
         link = link->next) {
        struct waiter *waiter = container_of(link, struct waiter, link);
        if (waiter->task == NULL)
            port_futex_wake(&waiter->word, 1);
    }
}

// The meeting is over. Answers those who asked for it; opens the next if there
// are others (I1). Each gets a reference of its own.
static void end_meeting(struct weft_runtime *runtime, struct weft_dump *dump,
                        int error)
{
    struct rendezvous *rv = rendezvous_of(runtime);
    struct list *link;

    lock_acquire(&rv->barrier.lock);
    barrier_end(&rv->barrier);
    while ((link = list_pop_front(&rv->answered)) != NULL) {
        struct waiter *waiter = container_of(link, struct waiter, link);
        struct request *request = waiter->data;
        if (dump != NULL)
            (void)add_relaxed(&dump->references, 1); // ours is still held
        request->dump = dump;
        request->error = error;
        (void)wait_wake(waiter, 0);
    }
    // The flag stays up for the next meeting: a worker that saw it down in
    // between could sleep, be counted away, and nobody would lead.
    if (list_empty(&rv->waiting)) {
        store_seq_cst(&runtime->trace_asked, 0); // I3
    } else {
        open_meeting(runtime);
        rouse_threads(rv);
    }
    lock_release(&rv->barrier.lock);
    barrier_wake(&rv->barrier);
}

static int64_t oldest_request(struct rendezvous *rv)
{
    struct waiter *first = container_of(rv->answered.next, struct waiter, link);

    return ((struct request *)first->data)->asked_ns;
}

static void count_dump(struct weft_runtime *runtime,
                       const struct weft_dump *dump)
{
    if (dump == NULL)
        return;
    (void)add_relaxed(&runtime->dumps_taken, 1); // figures
    if (!dump->complete)
        (void)add_relaxed(&runtime->dumps_incomplete, 1);
}

// The calling thread leads the meeting that has just been closed.
static void lead(struct weft_runtime *runtime)
{
    struct rendezvous *rv = rendezvous_of(runtime);
    struct capture capture = {.places = rv->barrier.places};

    lock_acquire(&rv->barrier.lock);
    move_all(&rv->waiting, &rv->answered); // I1
    capture.asked_ns = oldest_request(rv);
    capture.stopped_ticks = rv->met_ticks;
    lock_release(&rv->barrier.lock);

    int error = capture_world(runtime, &capture);
    count_dump(runtime, capture.dump);
    end_meeting(runtime, capture.dump, error);
    weft_dump_free(capture.dump);
    sched_look_around(runtime); // a worker may have found the queues empty
}

// ---- The worker's side ----

// Remembers when the first one stopped, for the length of the pause.
static void note_stop(struct rendezvous *rv)
{
    lock_acquire(&rv->barrier.lock);
    if (rv->barrier.active && rv->met_ticks == 0)
        rv->met_ticks = port_ticks();
    lock_release(&rv->barrier.lock);
}

// A worker's part in a dump; its core comes back on every path, for nothing in
// between can end otherwise than by returning it.
static struct core *trace_core(struct worker *worker, struct core *core)
{
    struct weft_runtime *runtime = worker->runtime;
    struct rendezvous *rv = rendezvous_of(runtime);

    note_stop(rv);
    if (barrier_meet(&rv->barrier, worker->index) == PASS_LEADER)
        lead(runtime);
    return core;
}

// Without memory for it the worker works, but cannot be captured in a task
// that it does not leave.
static void begin_worker(struct worker *worker)
{
    overflow_begin(worker);
    worker->standing = standing_begin(worker->runtime->capture_signal);
}

static void end_worker(struct worker *worker)
{
    standing_end(worker->standing);
    overflow_end(worker);
}

static const struct trace_ops ops = {
    .trace_core = trace_core,
    .worker_begins = begin_worker,
    .worker_ends = end_worker,
    .pool_begins = threads_begin,
    .pool_ends = threads_end,
};

// ---- The requester's side ----

static int enlist(struct rendezvous *rv, struct weft_runtime *runtime)
{
    lock_acquire(&rv->barrier.lock);
    if (rv->closing) {
        lock_release(&rv->barrier.lock);
        return -ESHUTDOWN;
    }
    store_relaxed(&rv->users, load_relaxed(&rv->users) + 1); // under the lock
    if (!rv->barrier.active)
        open_meeting(runtime);
    return 0;
}

// A task of this runtime parks, so that its worker comes to the meeting (I2).
static void ask_as_task(struct rendezvous *rv, struct waiter *waiter)
{
    struct wait wait = {
        .kind = WEFT_WAIT_DUMP,
        .fd = -1,
        .deadline_ns = WEFT_NEVER,
        .firm = true,
    };

    (void)wait_park(&wait, &rv->barrier.lock, &rv->waiting, waiter);
}

// A thread waits for the answer, and leads where no worker can (I2). The lock
// is held before.
static void ask_as_thread(struct weft_runtime *runtime, struct rendezvous *rv,
                          struct waiter *waiter)
{
    struct wait wait = {
        .kind = WEFT_WAIT_DUMP, .fd = -1, .deadline_ns = WEFT_NEVER};
    struct outsider outsider;

    outside_enter(&outsider, &wait, runtime);
    waiter_arm(waiter, NULL, true);
    list_push_back(&rv->waiting, &waiter->link);
    while (load_acquire(&waiter->word) == 0) { // waiter.c W1
        bool leads = rv->barrier.open && barrier_lead_outside(&rv->barrier);
        int64_t deadline_ns = rv->barrier.deadline_ns;
        if (!rv->barrier.open || port_now() >= deadline_ns)
            deadline_ns = port_now() + runtime->dump_patience_ns;
        lock_release(&rv->barrier.lock);
        if (leads)
            lead(runtime);
        else
            (void)port_futex_wait(&waiter->word, 0, deadline_ns);
        lock_acquire(&rv->barrier.lock);
    }
    lock_release(&rv->barrier.lock);
    outside_leave(&outsider);
}

static int ask(struct weft_runtime *runtime, struct request *request)
{
    struct rendezvous *rv = rendezvous_of(runtime);
    struct worker *worker = worker_self();
    struct waiter waiter = {.data = request};
    int error = enlist(rv, runtime);

    if (error != 0)
        return error;
    if (worker != NULL && worker->runtime == runtime)
        ask_as_task(rv, &waiter);
    else
        ask_as_thread(runtime, rv, &waiter);
    if (request->dump != NULL) // while the runtime stays
        request->error = threads_add(request->dump, runtime);
    lock_acquire(&rv->barrier.lock);
    store_relaxed(&rv->users, load_relaxed(&rv->users) - 1); // under the lock
    lock_release(&rv->barrier.lock);
    port_futex_wake(&rv->users, 1); // only the address is used
    return request->error;
}

int weft_dump_take(weft_runtime *runtime, weft_dump **ret_dump)
{
    struct request request = {.asked_ns = port_now()};

    if (runtime == NULL || ret_dump == NULL)
        return -EINVAL;
    int error = ask(runtime, &request);
    if (error == 0)
        error = dump_complete(request.dump);
    if (error != 0) {
        weft_dump_free(request.dump);
        return error;
    }
    *ret_dump = request.dump;
    return 0;
}

// ---- Beginning and end ----

int rendezvous_new(struct weft_runtime *runtime)
{
    struct rendezvous *rv = calloc(1, sizeof *rv);

    if (rv == NULL)
        return -ENOMEM;
    if (barrier_init(&rv->barrier, runtime->worker_count) != 0) {
        free(rv);
        return -ENOMEM;
    }
    list_init(&rv->waiting);
    list_init(&rv->answered);
    runtime->dumps = rv;
    runtime->trace = &ops;
    return 0;
}

void rendezvous_free(struct weft_runtime *runtime)
{
    struct rendezvous *rv = rendezvous_of(runtime);

    lock_acquire(&rv->barrier.lock);
    rv->closing = true;
    uint32_t users;
    while ((users = load_relaxed(&rv->users)) > 0) { // they lead themselves
        lock_release(&rv->barrier.lock);
        (void)port_futex_wait(&rv->users, users, INT64_MAX);
        lock_acquire(&rv->barrier.lock);
    }
    lock_release(&rv->barrier.lock);
    barrier_deinit(&rv->barrier);
    free(rv);
    runtime->dumps = NULL;
    runtime->trace = NULL;
}
