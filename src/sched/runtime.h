// runtime.h -- The nouns of the scheduler: runtime, worker, core; and the
// calls by which the rest of weft schedules.
#ifndef WEFT_SCHED_RUNTIME_H
#define WEFT_SCHED_RUNTIME_H

#include <weft/metrics.h>
#include <weft/runtime.h>

#include "driver/driver.h"
#include "sched/blocking.h"
#include "sched/crew.h"
#include "sched/idle.h"
#include "sched/inject.h"
#include "sched/park.h"
#include "sched/queue.h"
#include "sched/stats.h"
#include "task/switch.h"
#include "task/table.h"

enum {
    WORKERS_MAX = 1024, // that run at once
    SPARES_MAX = 1024,  // besides
    CREW_MAX = WORKERS_MAX + SPARES_MAX,
#ifdef WEFT_EXPLORE
    RUNTIMES_MAX = 1, // each execution's has the same tag
#else
    RUNTIMES_MAX = 255, // tags are 8 bits, and 0 means none
#endif
    DUMP_THREADS_MAX = 64,
};

// What a worker needs to run tasks. Exactly one worker holds it, save while
// it takes part in a dump (src/dump/rendezvous.c). Written by that worker;
// the atomics are read by others, relaxed: they are figures.
struct core {
    struct queue queue;
    _Atomic(struct task *) next; // C1 in worker.c
    uint32_t tick;
    uint32_t next_runs;      // tasks in a row taken from `next`
    uint32_t budget;         // operations left until the task must yield
    bool in_lap;             // C5 in worker.c
    uint64_t lap_end;        // the same: an index of the queue
    uint64_t looked_runs;    // the same: figures at the last look
    uint64_t looked_spawned; //
    struct stats stats;
    uint64_t random;
    uint64_t id_next;    // ids set aside for spawns here
    uint64_t id_end;     //
    struct task *free;   // free slots of the default class, newest first
    uint32_t free_count; //
    atomic_u64 spawned;  // S1 in shutdown.c
    atomic_u64 finished; // S1 in shutdown.c
    atomic_u64 runs;
    atomic_u64 busy; // ticks
    atomic_u64 mean_run_ns;
    atomic_u64 parks;
    atomic_u64 noop_parks;
    atomic_u64 steals;
    atomic_u64 steal_operations;
    atomic_u64 local_schedules;
    atomic_u64 overflows;
} __attribute__((aligned(64))); // no line shared with the next

// Why a task left the worker's hands.
enum leaving {
    LEAVE_YIELD,
    LEAVE_PARK,
    LEAVE_DONE,
};

// Whether a worker can touch queues and tasks, as dumps must know.
enum presence {
    PRESENCE_OUT, // not started, asleep, or ended
    PRESENCE_IN,
};

// A thread that runs tasks.
struct worker {
    struct weft_runtime *runtime;
    uint32_t index;
    struct core *core;              // NULL while lent to a dump, and in a
                                    // blocking section
    struct port_thread thread;      //
    void *sp;                       // of the loop, while a task runs
    struct fiber fiber;             // of the thread's stack
    enum leaving leaving;           // set by the task as it leaves
    atomic_u64 now;                 // ticks at the last switch; by its worker;
                                    // relaxed: a figure
    bool searching;                 //
    atomic_u32 duty;                // enum duty; D1 in crew.c
    struct task *shunned;           // parked here last, where tasks migrate
    _Atomic(struct task *) hand;    // chosen to run, while a dump is met;
                                    // release by its worker, for dumps
    void *alternate;                // signal stack, dump's own
    struct standing *standing;      // dump's own
    struct parker parker;           //
    atomic_u32 tid;                 // of the thread, 0 before it starts
    atomic_u32 presence;            // dump/rendezvous.c
    _Atomic(struct task *) current; // release by its worker, for dumps
    atomic_u64 still_cpu;           // W1 in watchdog.c
    atomic_u64 still_since;         // ticks; W1 in watchdog.c
} __attribute__((aligned(64)));     // no line shared with the next

// When a worker last switched, in ticks: if it runs a task now, since when. Any
// thread.
static inline uint64_t worker_now(const struct worker *worker)
{
    return load_relaxed(&worker->now); // a figure
}

// By the worker itself.
static inline void worker_set_now(struct worker *worker, uint64_t ticks)
{
    store_relaxed(&worker->now, ticks); // a figure
}

// What trace_asked says.
enum trace_asked {
    TRACE_NONE,
    TRACE_MEETING, // workers shall come and meet
    TRACE_CAPTURE, // tasks are being captured while they run
};

// What the watchdog sees without looking at tasks.
enum suspicion {
    SUSPECT_LONG_RUN,    // a worker has run one task for no_yield_ns
    SUSPECT_NO_PROGRESS, // tasks are queued, and for ready_ns none was run
    SUSPECT_ALL_ASLEEP,  // all workers sleep, tasks live, no timer is armed
};

// How the dump hangs off the scheduler, which knows no more of it than this.
struct trace_ops {
    // A worker between two tasks, with a dump asked for: takes part, and gives
    // its core back whatever happened.
    struct core *(*trace_core)(struct worker *worker, struct core *core);
    // With a capture going on, by a worker that is about to run a task; may
    // take a share of the capture too, some 20 us.
    void (*before_run)(struct worker *worker, struct task *task);
    // The same by one that has nothing to run. False: nothing left to capture.
    bool (*capture_some)(struct worker *worker);
    // By any thread that gives the slot of an ended task back, under its lock.
    void (*before_release)(struct weft_runtime *runtime, struct task *task);
    // Before a spare worker's thread is started, by whoever does so: what it
    // needs to take part. 0 or -ENOMEM.
    int (*worker_hired)(struct worker *worker);
    // In a worker's thread, before its first task and after its last.
    void (*worker_begins)(struct worker *worker);
    void (*worker_ends)(struct worker *worker);
    // In a thread of the pool, before its first call and after its last.
    void (*pool_begins)(struct weft_runtime *runtime,
                        struct pool_thread *thread);
    void (*pool_ends)(struct pool_thread *thread);
};

// One moment on two clocks.
struct watch_moment {
    uint64_t ticks;
    int64_t ns; // CLOCK_MONOTONIC
};

enum runtime_phase {
    RUNTIME_RUNS,
    RUNTIME_ENDING, // no new tasks; all are being cancelled
    RUNTIME_ENDED,  // no tasks; workers leave
};

struct weft_runtime {
    struct table table;
    struct driver driver;
    struct inject inject;
    struct idle idle;
    struct blocking blocking;
    struct crew crew;
    atomic_u32 worker_count; // that have begun; D4 in crew.c
    struct worker *workers;  // room for crew.room
    struct core *cores;      //
    uint32_t stack_class;    // default
    uint32_t tag;            // in handles; index into the registry
    atomic_u32 phase;        // enum runtime_phase; S2 in shutdown.c
    atomic_u32 living;       // tasks alive, counted only if max_tasks is below
                             // the table's: relaxed, a limit
    atomic_u32 visitors;    // threads inside schedule_outside; S3 in shutdown.c
    atomic_u32 finishing;   // S1 in shutdown.c: bumped by a finish while ENDING
    atomic_u64 next_id;     // relaxed: ids need only differ
    uint64_t outside;       // tasks spawned by threads; under inject.lock
    atomic_u32 trace_asked; // enum; dump/rendezvous.c, seq_cst there
    const struct trace_ops *trace; // NULL: no dumps
    void *dumps;                   // dump's own
    const void *beacon;            // dump's own: links it into each program
    void *rules;                   // dump's own
    void *watch;                   // report's own
    // The watchdog has seen a sign that something may be wrong: called in its
    // thread, must not block. NULL: nobody cares. Set before it starts.
    void (*suspect)(struct weft_runtime *runtime, enum suspicion suspicion);
    struct fd_table *fds;        // io's own
    struct port_thread watchdog; //
    atomic_u32 watchdog_stop;    //
    atomic_u64 away_until;       // the watchdog's: W2 in watchdog.c
    atomic_u64 away_ns;          //
    struct watch_moment began;   // the watchdog's: W3 in watchdog.c
    struct watch_moment looked;  //
    atomic_u64 dumps_taken;      // relaxed: figures
    atomic_u64 dumps_incomplete; //
    char name[WEFT_NAME_MAX];    // settings: written before it starts
    uint32_t max_tasks;          //
    uint32_t spares;             //
    bool follows_cpus;           // as many places as processors are allowed
    int64_t handoff_ns;          // WEFT_NEVER: not by itself
    int64_t no_yield_ns;         //
    int64_t dump_patience_ns;    //
    int64_t dump_grace_ns;       //
    int capture_signal;          //
    uint32_t dump_threads;       //
    bool migrates;               // hostile builds: woken tasks change workers
    int64_t ready_ns;            // for the watchdog's signs
    int64_t asleep_ns;           //
};

// How many workers there are; those below are made. Any thread.
static inline uint32_t worker_count(const struct weft_runtime *runtime)
{
    return load_acquire(&runtime->worker_count); // crew.c D4
}

// The worker of the calling thread, NULL in others. The address must not be
// kept across anything that parks: ask again.
struct worker *worker_self(void);

// In a forked child: its only thread is no worker, whatever it was before, and
// there are no runtimes.
void worker_forget(void);
void runtime_forget_all(void);

// The task that the calling thread runs, or NULL.
struct task *task_self(void);

// The runtime of a task that has not ended.
struct weft_runtime *runtime_of(const struct task *task);

// Each runtime at its tag: R1 in runtime.c.
extern _Atomic(struct weft_runtime *) runtime_registry[RUNTIMES_MAX + 1];

// How many runtimes there are; a moment old.
uint32_t runtime_count(void);

// Threads that run no task and are blocked in a wait without a deadline, in all
// runtimes: they wake nobody before they are woken. Relaxed: a figure.
extern atomic_u32 threads_blocked;

// A call by handle in progress: until it ends, the handle's runtime is not
// taken apart.
struct visit {
    uint32_t tag;
    bool counted;
};

// Finds a task's slot by handle in any runtime, as table_find; with a task the
// caller must call task_unvisit when it is done with it.
struct task *task_visit(weft_task handle, struct visit *ret_visit);
void task_unvisit(const struct visit *visit);

// ---- For whoever makes tasks ready or parks. ----

// Puts a task that the caller owns, NEW or READY, into a queue.
void sched_schedule(struct task *task);

// The same for many, from any thread.
void sched_schedule_list(struct weft_runtime *runtime, struct task_list *tasks);

// The calling task leaves its worker; both are given. PARK: a wait has been
// announced. YIELD: ready at once. Returns, save for DONE, on any worker.
void sched_leave(struct worker *worker, struct task *task,
                 enum leaving leaving);

// Called on a task's stack when it has just been entered.
void sched_arrive(struct task *task);

// Counts one operation that did not have to wait; yields when a task has had
// many in a row.
void sched_spend(void);

// The calling task is about to block its thread, which gives its place to
// another worker until sched_step_back. False: it has done so already.
bool sched_step_aside(void);

// After that, perhaps on another thread: the task goes on only in a place. May
// yield.
void sched_step_back(void);

// For choices among equals; cheap in a task.
uint64_t sched_random(void);

// ---- Parts of the scheduler. ----

// Makes the parts of a runtime whose settings are filled in; it is zero
// otherwise. 0, -ENOMEM, -EAGAIN (too many runtimes), -EMFILE or -ENFILE.
int runtime_init(struct weft_runtime *runtime, uint32_t workers);
void runtime_deinit(struct weft_runtime *runtime);

// From here on no call by handle finds the runtime, and none is inside; before
// anything goes that such a call may use, dumps too.
void runtime_close(struct weft_runtime *runtime);

// Starts the threads. 0 or -EAGAIN.
int runtime_start(struct weft_runtime *runtime);

// Cancels and waits for all tasks, and ends the threads.
void runtime_stop(struct weft_runtime *runtime);

// The first half of that.
void runtime_drain(struct weft_runtime *runtime);

void *worker_main(void *arg);
void *watchdog_main(void *arg);

// Wakes a sleeping worker if work was added and nobody searches.
void sched_notify(struct weft_runtime *runtime);

// Frees a slot whose task has ended and whose result nobody wants. The
// caller holds the slot's lock, which it gives back.
void task_release(struct task *task);

// What a spawn needs beyond what the user says.
struct spawn {
    uintptr_t site;           // pc of the call
    struct task_owner *owner; // a scope, or NULL
    int64_t deadline_ns;      // of that scope, or WEFT_NEVER
    bool kept;                // it ends by task_reap
};

// Starts a task, as weft_task_spawn.
int task_spawn(const weft_task_options *options, weft_task_fn *fn, void *arg,
               const struct spawn *spawn, weft_task *ret_task);

// As weft_task_cancel, for a slot that a lock or the caller keeps from being
// reused; if it is reused all the same, nothing happens.
void task_cancel(struct task *task);

// Cancels what a task does inside one of its open scopes, by its level. The
// scope's lock is held, or the caller is that task.
void task_cancel_inside(struct task *task, uint32_t level);

// The calling task has left its innermost scope that was canceled: of its
// cancels only one of the task as a whole is left.
void task_cancel_outside(struct task *task);

// Gives back the slot of a scope's child that is kept and has ended, though its
// worker may not have handed it over yet. Its result.
void *task_reap(struct task *task);

// Called by the worker, whose core it is, once a task has left its stack for
// good.
void task_finish(struct worker *worker, struct core *core, struct task *task);

#endif
