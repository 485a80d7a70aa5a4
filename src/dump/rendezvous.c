// rendezvous.c -- Where workers and those who ask for a dump meet.
//
//   conductor                          worker
//   1. trace_asked = MEETING           1. presence = OUT or IN, or current = T
//   2. heavy barrier                   2. loads trace_asked
//   3. loads presence of each             MEETING: barrier_meet
//
//   P1  trace_asked and presence are seq_cst, so that going out and coming in
//       are right even where the system refuses the heavy barrier; current
//       goes with the light side of that (sched/worker.c C3). So of a worker
//       that goes out, comes in or begins a task, and a conductor, at least
//       one sees the other: who is seen OUT will not touch a queue or a task
//       before it has come in and met; who is seen IN comes, or is inside a
//       task and begins no other before it has met.
//   P2  The leader stores the epoch and then trace_asked = CAPTURE while the
//       world stands. A worker that loads CAPTURE captures each task before it
//       runs it. One that loads MEETING though the meeting is over finds so
//       out under the barrier's lock, and loads again.
//   P3  Whoever captures counts itself in `inside`, then loads `open`; the
//       conductor clears `open`, then loads `inside`. All seq_cst: either the
//       one sees that it is too late, or the other waits for it.
//   P4  `released` moves under the lock; outside it is only slept on.
//   P5  A task stores what it has begun, then `asked` (release) -> the thread
//       that goes on for it (acquire).
//   I1  A request is in `waiting` from its making until a leader takes it
//       along: those that are there when the meeting closes get its dump,
//       which is not older than their asking. Those that come later get the
//       next.
//   I2  While there are requests, exactly one of the threads that made them
//       conducts; when it is done, it hands on to another. It waits for the
//       meeting's deadline itself, and leads if no worker can come.
//   I3  trace_asked is MEETING exactly while a meeting is active.
//
// A task that asks has a thread ask for it: it would keep its worker from the
// meeting, and a conductor works for milliseconds. Only where no thread can be
// had does it conduct by itself.
#include "dump/rendezvous.h"

#include <errno.h>
#include <stdlib.h>

#include "dump/beacon.h"
#include "dump/epoch.h"
#include "dump/overflow.h"
#include "dump/standing.h"
#include "dump/threads.h"
#include "sync/outside.h"
#include "sync/wait.h"

// Between two shares of the capture a worker runs tasks for as long.
static const int64_t REST_NS = 6000;
static const int64_t LOOK_NS = 1000000;

enum { STACK_NEEDED = 32 << 10 };

struct rendezvous {
    struct barrier barrier; // its lock guards all below, save the atomics
    struct list waiting;    // requests' waiters, `data` a struct request
    struct list answered;   // those that the present dump is for
    bool conducted;         // I2
    bool closing;           // the runtime is being freed
    uint64_t met_ticks;     // when the first participant stopped; 0: none yet
    struct workshop shop;   // the conductor's and the leader's
    struct epoch epoch;     // the conductor's; written before it is opened
    int error;              // the conductor's: why there is no epoch
    atomic_u32 looks;       // tasks of missing workers are looked for; relaxed
    atomic_u32 users;       // inside weft_dump_take; written under the lock
    atomic_u32 released;    // generation: moves when a leader is done; P4
    atomic_u32 open;        // P3
    atomic_u32 inside;      // P3
};

struct request {
    weft_runtime *runtime;
    struct weft_dump *dump; // the answer, or
    int error;              // why there is none
};

static struct rendezvous *rendezvous_of(const struct weft_runtime *runtime)
{
    return runtime->dumps;
}

// ---- Leading ----

static void move_all(struct list *from, struct list *to)
{
    struct list *link;

    while ((link = list_pop_front(from)) != NULL)
        list_push_back(to, link);
}

// The world stands: shows it to the epoch, and opens that. P2.
static void begin_epoch(struct weft_runtime *runtime, struct rendezvous *rv)
{
    struct epoch *epoch = &rv->epoch;

    epoch_meet(epoch, &rv->barrier);
    if (epoch->grown) {
        store_seq_cst(&runtime->trace_asked, TRACE_NONE); // I3
        return;
    }
    store_relaxed(&rv->looks, rv->shop.missing_count > 0); // P2
    store_seq_cst(&rv->open, 1); // P3: first, or who sees the epoch finds none
    store_seq_cst(&task_epochs[runtime->tag], epoch->picture.epoch); // P2
    store_seq_cst(&runtime->trace_asked, TRACE_CAPTURE);             // P2
}

// The calling thread leads the meeting that has just been closed.
static void lead(struct weft_runtime *runtime)
{
    struct rendezvous *rv = rendezvous_of(runtime);

    lock_acquire(&rv->barrier.lock);
    move_all(&rv->waiting, &rv->answered); // I1
    uint64_t stopped = rv->met_ticks;
    lock_release(&rv->barrier.lock);

    begin_epoch(runtime, rv);
    lock_acquire(&rv->barrier.lock);
    if (stopped != 0)
        rv->epoch.dump->pause_ns = port_ticks_to_ns(port_ticks() - stopped);
    barrier_end(&rv->barrier);
    store_release(&rv->released, load_relaxed(&rv->released) + 1); // P4
    lock_release(&rv->barrier.lock);
    barrier_wake(&rv->barrier);
    port_futex_wake(&rv->released, 1);
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

// A worker's part in a meeting; its core comes back on every path, for nothing
// in between can end otherwise than by returning it.
static struct core *trace_core(struct worker *worker, struct core *core)
{
    struct weft_runtime *runtime = worker->runtime;
    struct rendezvous *rv = rendezvous_of(runtime);

    note_stop(rv);
    if (barrier_meet(&rv->barrier, worker->index) == PASS_LEADER)
        lead(runtime);
    return core;
}

// The open epoch, or NULL; P3.
static struct epoch *enter(struct rendezvous *rv)
{
    (void)add_seq_cst(&rv->inside, 1);                       // P3
    return load_seq_cst(&rv->open) != 0 ? &rv->epoch : NULL; // P3
}

static void leave(struct rendezvous *rv)
{
    if (sub_seq_cst(&rv->inside, 1) == 1 && load_seq_cst(&rv->open) == 0) // P3
        port_futex_wake(&rv->inside, 1);
}

static bool share(struct worker *worker)
{
    struct rendezvous *rv = rendezvous_of(worker->runtime);
    struct epoch *epoch = enter(rv);
    bool some = epoch != NULL && epoch_share(epoch, worker->index);

    leave(rv);
    return some;
}

static bool is_due(const struct worker *worker)
{
    uint64_t rested =
        rendezvous_of(worker->runtime)->shop.rested[worker->index];

    return worker_now(worker) > rested &&
           port_ticks_to_ns(worker_now(worker) - rested) >= REST_NS;
}

static bool is_taken(const struct task *task)
{
    uint32_t epoch = load_seq_cst(&task_epochs[task->tag]); // task.h P3

    return load_acquire(&task->mark) == MARK(epoch, MARK_TAKEN); // task.h S1
}

static void capture_before_run(struct rendezvous *rv, struct worker *worker,
                               struct task *task)
{
    struct cfi_cache *cache = rv->shop.caches[worker->index];
    struct epoch *epoch = enter(rv);

    if (epoch != NULL) {
        uint64_t began = port_ticks();
        (void)capture_task(&epoch->picture, cache, task);
        missing_meet(rv->shop.missing, rv->shop.missing_count, cache, task);
        epoch_note_slice(epoch, port_ticks() - began);
    }
    leave(rv);
}

static void before_run(struct worker *worker, struct task *task)
{
    struct rendezvous *rv = rendezvous_of(worker->runtime);
    bool is_changed = false;

    if (!is_taken(task) || load_relaxed(&rv->looks) != 0) { // only a hint
        capture_before_run(rv, worker, task);
        is_changed = true;
    }
    if (is_due(worker))
        is_changed |= share(worker);
    if (is_changed)
        worker_set_now(worker, port_ticks());
}

static void before_release(struct weft_runtime *runtime, struct task *task)
{
    struct rendezvous *rv = rendezvous_of(runtime);
    struct epoch *epoch = enter(rv);

    if (epoch != NULL)
        (void)capture_task(&epoch->picture, NULL, task);
    leave(rv);
}

static int hire_worker(struct worker *worker)
{
    return workshop_hire(&rendezvous_of(worker->runtime)->shop, worker->index);
}

static void begin_worker(struct worker *worker)
{
    overflow_begin(worker);
    worker->standing = standing_begin(worker->runtime->capture_signal);
}

// Its `standing` stays until no dump can be reading it: a conductor may be
// about to find out where it stood.
static void end_worker(struct worker *worker)
{
    standing_end(worker->standing);
    overflow_end(worker);
}

static const struct trace_ops ops = {
    .trace_core = trace_core,
    .before_run = before_run,
    .capture_some = share,
    .before_release = before_release,
    .worker_hired = hire_worker,
    .worker_begins = begin_worker,
    .worker_ends = end_worker,
    .pool_begins = threads_begin,
    .pool_ends = threads_end,
};

// ---- Conducting ----

// Whether it is in a task that blocks it, and another has its place: it will
// hardly come in time.
static bool is_away(const struct worker *worker)
{
    return load_relaxed(&worker->duty) == DUTY_AWAY && // a figure
           load_acquire(&worker->current) != NULL;     // worker.c C3
}

// I3, P1. The lock is held.
static void open_meeting(struct weft_runtime *runtime)
{
    struct rendezvous *rv = rendezvous_of(runtime);

    barrier_begin(&rv->barrier, port_now() + runtime->dump_grace_ns);
    rv->met_ticks = 0;
    store_seq_cst(&runtime->trace_asked, TRACE_MEETING); // P1
    port_barrier_heavy();                                // P1
    for (uint32_t i = 0; i < runtime->crew.room; i++) {
        struct worker *worker = &runtime->workers[i];
        if (load_seq_cst(&worker->presence) == PRESENCE_OUT) // P1
            barrier_count_away(&rv->barrier, i);
        else if (is_away(worker))
            barrier_excuse(&rv->barrier, i);
    }
}

// Makes the epoch, and has the workers come.
static void begin(struct weft_runtime *runtime)
{
    struct rendezvous *rv = rendezvous_of(runtime);

    rv->error = epoch_init(&rv->epoch, runtime, &rv->shop);
    if (rv->error != 0)
        return;
    limbo_open();
    lock_acquire(&rv->barrier.lock);
    open_meeting(runtime);
    lock_release(&rv->barrier.lock);
}

// Waits until a leader is done; leads if no worker can come (I2).
static void hold_meeting(struct weft_runtime *runtime)
{
    struct rendezvous *rv = rendezvous_of(runtime);

    lock_acquire(&rv->barrier.lock);
    while (rv->barrier.active) {
        uint32_t released = load_relaxed(&rv->released); // under the lock
        bool leads = rv->barrier.open && barrier_lead_outside(&rv->barrier);
        int64_t deadline_ns = rv->barrier.deadline_ns;
        if (!rv->barrier.open || port_now() >= deadline_ns)
            deadline_ns = port_now() + LOOK_NS;
        lock_release(&rv->barrier.lock);
        if (leads)
            lead(runtime);
        else
            (void)port_futex_wait(&rv->released, released, deadline_ns);
        lock_acquire(&rv->barrier.lock);
    }
    lock_release(&rv->barrier.lock);
}

static void close_epoch(struct weft_runtime *runtime)
{
    struct rendezvous *rv = rendezvous_of(runtime);
    uint32_t inside;

    store_seq_cst(&rv->open, 0); // P3: first, or a task that has run gets in
    store_seq_cst(&runtime->trace_asked, TRACE_NONE); // P2
    store_seq_cst(&task_epochs[runtime->tag], 0);     // P2
    while ((inside = load_seq_cst(&rv->inside)) > 0)  // P3
        (void)port_futex_wait(&rv->inside, inside, INT64_MAX);
}

// From the meeting, which has begun, to a dump; -EAGAIN: what was set aside
// does not suffice, and more will be.
static int carry_out(struct weft_runtime *runtime, struct weft_dump **ret_dump)
{
    struct epoch *epoch = &rendezvous_of(runtime)->epoch;

    hold_meeting(runtime);
    if (!epoch->grown) {
        epoch_attend(epoch);
        close_epoch(runtime); // nobody captures any more
    }
    limbo_close();
    if (!epoch->grown)
        return epoch_finish(epoch, ret_dump);
    epoch_drop(epoch);
    return -EAGAIN;
}

static void count_dump(struct weft_runtime *runtime,
                       const struct weft_dump *dump)
{
    (void)add_relaxed(&runtime->dumps_taken, 1); // figures
    if (!dump->complete)
        (void)add_relaxed(&runtime->dumps_incomplete, 1);
}

// I1. Each gets a reference of its own. The lock is held. `own` is the
// conductor's waiter: where no leader has taken any along, it alone has failed.
static void answer(struct rendezvous *rv, struct waiter *own,
                   struct weft_dump *dump, int error)
{
    struct list *link;

    if (list_empty(&rv->answered)) {
        list_remove(&own->link);
        list_push_back(&rv->answered, &own->link);
    }
    while ((link = list_pop_front(&rv->answered)) != NULL) {
        struct waiter *waiter = container_of(link, struct waiter, link);
        struct request *request = waiter->data;
        if (dump != NULL)
            (void)add_relaxed(&dump->references, 1); // ours is still held
        request->dump = dump;
        request->error = error;
        (void)wait_wake(waiter, 0);
    }
}

// I2. The lock is held.
static void hand_on(struct rendezvous *rv)
{
    struct list *link = list_pop_front(&rv->waiting);

    if (link == NULL)
        rv->conducted = false;
    else
        (void)wait_wake(container_of(link, struct waiter, link), EAGAIN);
}

// The rest of a dump that this thread, or the task that it serves, has begun.
static void conduct(struct weft_runtime *runtime, struct waiter *own)
{
    struct rendezvous *rv = rendezvous_of(runtime);
    struct weft_dump *dump = NULL;
    int error = rv->error;

    while (error == 0 && (error = carry_out(runtime, &dump)) == -EAGAIN) {
        begin(runtime);
        error = rv->error;
    }
    if (error == 0)
        count_dump(runtime, dump);
    lock_acquire(&rv->barrier.lock);
    answer(rv, own, dump, error);
    hand_on(rv);
    lock_release(&rv->barrier.lock);
    weft_dump_free(dump);
}

// ---- The requester's side ----

static int begin_asking(struct rendezvous *rv)
{
    lock_acquire(&rv->barrier.lock);
    int error = rv->closing ? -ESHUTDOWN : 0;
    if (error == 0)
        store_relaxed(&rv->users, load_relaxed(&rv->users) + 1); // the lock's
    lock_release(&rv->barrier.lock);
    return error;
}

static void end_asking(struct rendezvous *rv)
{
    lock_acquire(&rv->barrier.lock);
    store_relaxed(&rv->users, load_relaxed(&rv->users) - 1); // the lock's
    lock_release(&rv->barrier.lock);
    port_futex_wake(&rv->users, 1); // only the address is used
}

static bool enlist(struct rendezvous *rv, struct waiter *waiter)
{
    lock_acquire(&rv->barrier.lock);
    bool conducts = !rv->conducted; // I2
    rv->conducted = true;
    waiter_arm(waiter, NULL, true);
    list_push_back(&rv->waiting, &waiter->link);
    lock_release(&rv->barrier.lock);
    return conducts;
}

// Makes the request, whose waiter it is. True: this one conducts, and the
// workers are on their way.
static bool ask(struct request *request, struct waiter *waiter)
{
    bool conducts = enlist(rendezvous_of(request->runtime), waiter);

    if (conducts)
        begin(request->runtime);
    return conducts;
}

// The rest, by a thread: conducts, or waits for an answer or its turn.
static void await_answer(struct request *request, struct waiter *waiter,
                         bool conducts)
{
    if (!conducts) {
        if (waiter_block(waiter, INT64_MAX) != EAGAIN) // hand_on
            return;
        (void)enlist(rendezvous_of(request->runtime), waiter);
        begin(request->runtime);
    }
    conduct(request->runtime, waiter);
    (void)waiter_block(waiter, INT64_MAX); // answered by ourselves
}

// A task's request. It asks by itself, so that its worker comes to the meeting
// before it runs anything else; a thread does the rest.
struct proxy {
    struct request request;
    struct waiter waiter; // of the request
    bool conducts;
    atomic_u32 asked;    // 1: the above are set; P5
    struct lock lock;    //
    struct list waiters; // of the task; under lock
    bool done;           // under lock
};

static void *proxy_main(void *arg)
{
    struct proxy *proxy = arg;

    while (load_acquire(&proxy->asked) == 0) // P5
        (void)port_futex_wait(&proxy->asked, 0, INT64_MAX);
    await_answer(&proxy->request, &proxy->waiter, proxy->conducts);
    lock_acquire(&proxy->lock);
    proxy->done = true;
    struct list *link = list_pop_front(&proxy->waiters);
    if (link != NULL)
        (void)wait_wake(container_of(link, struct waiter, link), 0);
    lock_release(&proxy->lock);
    return NULL;
}

// The lock is taken once more at the end: the thread may be about to give it
// back, and it lies on our stack.
static void await_proxy(struct proxy *proxy)
{
    struct waiter waiter = {0};
    struct wait wait = {
        .kind = WEFT_WAIT_DUMP,
        .fd = -1,
        .deadline_ns = WEFT_NEVER,
        .firm = true,
    };

    lock_acquire(&proxy->lock);
    if (!proxy->done) {
        (void)wait_park(&wait, &proxy->lock, &proxy->waiters, &waiter);
        lock_acquire(&proxy->lock);
    }
    lock_release(&proxy->lock);
}

// Where no thread can be had: the task does it all, and keeps its worker. That
// needs a good part of a stack.
static int ask_on_worker(struct request *request, int error)
{
    const struct task *task = load_relaxed(&worker_self()->current); // ours
    const char *end = stack_low(task) + stack_guard_size();
    struct waiter waiter = {.data = request};

    if ((const char *)__builtin_frame_address(0) - end < STACK_NEEDED)
        return error;
    await_answer(request, &waiter, ask(request, &waiter));
    (void)weft_task_yield(); // others have waited for this worker
    return 0;
}

static int ask_as_task(struct request *request)
{
    struct proxy proxy = {.request = *request, .waiter.data = &proxy.request};

    list_init(&proxy.waiters);
    int error = port_thread_start(NULL, "weft-dump", proxy_main, &proxy);
    if (error != 0)
        return ask_on_worker(request, error);
    proxy.conducts = ask(&proxy.request, &proxy.waiter);
    store_release(&proxy.asked, 1); // P5
    port_futex_wake(&proxy.asked, 1);
    await_proxy(&proxy);
    *request = proxy.request;
    return 0;
}

// Meanwhile it is one of the threads that other dumps show.
static void ask_as_thread(struct request *request)
{
    struct waiter waiter = {.data = request};
    struct wait wait = {
        .kind = WEFT_WAIT_DUMP, .fd = -1, .deadline_ns = WEFT_NEVER};
    struct outsider outsider;

    outside_enter(&outsider, &wait, request->runtime);
    await_answer(request, &waiter, ask(request, &waiter));
    outside_leave(&outsider);
}

int weft_dump_take(weft_runtime *runtime, weft_dump **ret_dump)
{
    struct request request = {.runtime = runtime};

    if (runtime == NULL || ret_dump == NULL)
        return -EINVAL;
    if (!DUMPS_SERVED)
        return -ENOSYS;
    int error = begin_asking(rendezvous_of(runtime));
    if (error != 0)
        return error;
    if (worker_self() != NULL)
        error = ask_as_task(&request);
    else
        ask_as_thread(&request);
    end_asking(rendezvous_of(runtime));
    if (error == 0)
        error = request.error;
    if (error == 0)
        *ret_dump = request.dump;
    return error;
}

// ---- Beginning and end ----

int rendezvous_new(struct weft_runtime *runtime)
{
    struct rendezvous *rv = calloc(1, sizeof *rv);

    if (rv == NULL)
        return -ENOMEM;
    bool barrier = barrier_init(&rv->barrier, runtime->crew.room) == 0;
    if (!barrier || workshop_init(&rv->shop, runtime->crew.room) != 0) {
        if (barrier)
            barrier_deinit(&rv->barrier);
        free(rv);
        return -ENOMEM;
    }
    list_init(&rv->waiting);
    list_init(&rv->answered);
    runtime->dumps = rv;
    runtime->trace = &ops;
    runtime->beacon = &beacon;
    return 0;
}

void rendezvous_free(struct weft_runtime *runtime)
{
    struct rendezvous *rv = rendezvous_of(runtime);
    uint32_t users;

    lock_acquire(&rv->barrier.lock);
    rv->closing = true;
    while ((users = load_relaxed(&rv->users)) > 0) { // they lead themselves
        lock_release(&rv->barrier.lock);
        (void)port_futex_wait(&rv->users, users, INT64_MAX);
        lock_acquire(&rv->barrier.lock);
    }
    lock_release(&rv->barrier.lock);
    uint32_t count = worker_count(runtime);
    for (uint32_t i = 0; i < count; i++)
        standing_free(runtime->workers[i].standing);
    workshop_deinit(&rv->shop, runtime->crew.room);
    barrier_deinit(&rv->barrier);
    free(rv);
    runtime->dumps = NULL;
    runtime->trace = NULL;
}
