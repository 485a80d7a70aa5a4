// meeting.c -- Scenarios of a meeting, the workers' side of it (worker.c C3,
// C4; dump/rendezvous.c P1, P2): the workers are the shipped ones; conductor
// and leader are stood in for.
#include <string.h>

#include "dump/barrier.h"
#include "explore/scheduler.h"

enum { GRACE_NS = 1000 };

static struct barrier barrier;
static int touched; // by tasks, and by the leader while the world stands
static int led;
static int shown;                // what the leader tells of its capture
static enum trace_asked at_last; // what is asked for when the meeting is over
static bool all_meet;            // none is missing: cores may be touched

// ---- The leader ----

// Whom a worker says to run, or to be about to: the slot can be read.
static void look_at(struct task *task)
{
    if (task != NULL)
        explore_expect(task->fn != NULL && task->id != 0);
}

static void lead(void)
{
    touched += 10;
    led++;
    shown++;
    for (uint32_t i = 0; i < worker_count(&runtime); i++) {
        if (all_meet)
            runtime.cores[i].tick++; // its worker's alone, otherwise
        look_at(load_acquire(&runtime.workers[i].current));
        look_at(load_acquire(&runtime.workers[i].hand));
    }
    lock_acquire(&barrier.lock);
    store_seq_cst(&runtime.trace_asked, at_last);
    barrier_end(&barrier);
    lock_release(&barrier.lock);
    barrier_wake(&barrier);
}

// ---- What a worker calls ----

static struct core *meet(struct worker *worker, struct core *core)
{
    if (barrier_meet(&barrier, worker->index) == PASS_LEADER)
        lead();
    return core;
}

static void before_run(struct worker *worker, struct task *task)
{
    (void)worker, (void)task;
    explore_expect(shown == 1);
}

static bool capture_some(struct worker *worker)
{
    (void)worker;
    return false;
}

static void begin_or_end(struct worker *worker)
{
    (void)worker;
}

static const struct trace_ops meeting_ops = {
    .trace_core = meet,
    .before_run = before_run,
    .capture_some = capture_some,
    .worker_begins = begin_or_end,
    .worker_ends = begin_or_end,
};

// ---- The conductor ----

static void open_meeting(int64_t deadline_ns)
{
    lock_acquire(&barrier.lock);
    barrier_begin(&barrier, deadline_ns);
    store_seq_cst(&runtime.trace_asked, TRACE_MEETING);
    port_barrier_heavy();
    for (uint32_t i = 0; i < worker_count(&runtime); i++)
        if (load_seq_cst(&runtime.workers[i].presence) == PRESENCE_OUT)
            barrier_count_away(&barrier, i);
    lock_release(&barrier.lock);
}

// Leads if nobody else can; until it is over. Who is in time leads by itself.
static void hold_meeting(void)
{
    lock_acquire(&barrier.lock);
    while (barrier.active) {
        uint32_t ended = load_relaxed(&barrier.ended); // under the lock
        bool leads = barrier_lead_outside(&barrier);
        int64_t until_ns = barrier.open && barrier.arrived == 0
                               ? barrier.deadline_ns
                               : INT64_MAX;
        lock_release(&barrier.lock);
        if (leads)
            lead();
        else
            (void)port_futex_wait(&barrier.ended, ended, until_ns);
        lock_acquire(&barrier.lock);
    }
    lock_release(&barrier.lock);
}

static void conduct(void *arg)
{
    (void)arg;
    open_meeting(INT64_MAX);
    hold_meeting();
}

// Does not wait long for those that do not come.
static void conduct_soon(void *arg)
{
    (void)arg;
    open_meeting(port_now() + GRACE_NS);
    hold_meeting();
}

// ---- Scenarios ----

static void begin_meeting(bool all, enum trace_asked then)
{
    scheduler_begin(1);
    runtime.trace = &meeting_ops;
    touched = led = shown = 0;
    all_meet = all;
    at_last = then;
    memset(&barrier, 0, sizeof barrier);
    explore_expect(barrier_init(&barrier, 1) == 0);
}

static void end_meeting(void)
{
    explore_expect(led == 1);
    barrier_deinit(&barrier);
    scheduler_end();
}

static void *touch(void *arg)
{
    touched++;
    return arg;
}

static void *do_nothing(void *arg)
{
    return arg;
}

static void spawn_it(void *arg)
{
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};
    weft_task_fn *fn = arg == NULL ? do_nothing : touch;

    explore_expect(weft_task_spawn(&options, fn, arg, NULL) == 0);
}

static void meeting_one(void)
{
    begin_meeting(true, TRACE_NONE);
    explore_start("spawner", spawn_it, &touched);
    explore_start("conductor", conduct, NULL);
    explore_join_all();
    explore_expect(touched == 11);
    end_meeting();
}

// A worker that is busy does not come in time: then it is read where it is, and
// before it begins the next task it captures that.
static void meeting_missed(void)
{
    begin_meeting(false, TRACE_CAPTURE);
    explore_start("spawner", spawn_it, NULL);
    explore_start("conductor", conduct_soon, NULL);
    explore_join_all();
    end_meeting();
}

static void wake_for_nothing(void *arg)
{
    (void)arg;
    sched_notify(&runtime);
}

// Where the system refuses the heavy barrier: going out and coming in need
// none.
static void meeting_unfenced(void)
{
    explore_refuse_barriers();
    begin_meeting(true, TRACE_NONE);
    explore_start("waker", wake_for_nothing, NULL);
    explore_start("conductor", conduct, NULL);
    explore_join_all();
    end_meeting();
}

#define MEETING(name, fn)                                                      \
    {                                                                          \
        name, "meeting", fn, {1, 1}, {2, 2}, NULL, NULL                        \
    }

const struct scenario meeting_scenarios[] = {
    MEETING("meeting-unfenced", meeting_unfenced),
    MEETING("meeting-missed", meeting_missed),
    MEETING("meeting", meeting_one),
    {0},
};
