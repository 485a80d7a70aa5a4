// dump.h -- The task dump: what every task does, waits for, and why it is
// stuck; and traces of single tasks.
//
// A dump is a snapshot of one runtime. It is immutable once taken: any number
// of threads may read it. Whatever an accessor returns by pointer belongs to
// the dump and lives as long as it.
#ifndef WEFT_DUMP_H
#define WEFT_DUMP_H

#include <stdio.h>
#include <weft/base.h>

WEFT_BEGIN

typedef struct weft_dump weft_dump;
typedef struct weft_trace weft_trace;

// No entry: the value of an index that points nowhere.
#define WEFT_NONE UINT32_MAX

enum weft_task_state {
    WEFT_STATE_RUNNING, // on a worker
    WEFT_STATE_READY,   // in a queue
    WEFT_STATE_WAITING, // parked
    WEFT_STATE_NEW,     // in a queue, never run so far
    WEFT_STATE_DONE,    // ended, not yet joined
};

enum weft_wait_kind {
    WEFT_WAIT_NONE,
    WEFT_WAIT_MUTEX,
    WEFT_WAIT_CHAN_SEND,
    WEFT_WAIT_CHAN_RECV,
    WEFT_WAIT_JOIN,
    WEFT_WAIT_SCOPE, // for the children of a scope
    WEFT_WAIT_SLEEP,
    WEFT_WAIT_FD,
    WEFT_WAIT_DUMP, // for a dump that it has asked for
    WEFT_WAIT_BLOCKING,
    WEFT_WAIT_RWLOCK_READ,
    WEFT_WAIT_RWLOCK_WRITE,
    WEFT_WAIT_SEMAPHORE,
    WEFT_WAIT_COND,
    WEFT_WAIT_EVENT,
    WEFT_WAIT_BARRIER,
    WEFT_WAIT_ONCE, // for another to run its function
    WEFT_WAIT_WAITGROUP,
    WEFT_WAIT_SELECT,      // for the first of several
    WEFT_WAIT_SCOPE_SPAWN, // for a place in a scope, to start a child
    WEFT_WAIT_SCOPE_NEXT,  // for the next child of a scope to end
    WEFT_WAIT_INTERVAL,
    WEFT_WAIT_WALL, // for a time of the wall clock
};

enum weft_object_kind {
    WEFT_OBJECT_MUTEX,
    WEFT_OBJECT_CHANNEL,
    WEFT_OBJECT_RWLOCK,
    WEFT_OBJECT_SEMAPHORE,
    WEFT_OBJECT_COND,
    WEFT_OBJECT_EVENT,
    WEFT_OBJECT_BARRIER,
    WEFT_OBJECT_ONCE,
    WEFT_OBJECT_WAITGROUP,
    WEFT_OBJECT_ONESHOT, // a channel for one item
    WEFT_OBJECT_BROADCAST,
    WEFT_OBJECT_WATCH,
    WEFT_OBJECT_SCOPE,
};

enum weft_worker_state {
    WEFT_WORKER_IDLE,    // parked
    WEFT_WORKER_MET,     // was at the meeting
    WEFT_WORKER_MISSING, // did not come: inside a task
    WEFT_WORKER_STOPPED, // not yet started, or ended
};

enum weft_thread_kind {
    WEFT_THREAD_POOL,    // of the runtime's pool for calls that block
    WEFT_THREAD_FOREIGN, // one of the program's
};

enum weft_thread_state {
    WEFT_THREAD_IDLE,    // of the pool, without a call to make
    WEFT_THREAD_CALLING, // of the pool, inside a call
    WEFT_THREAD_WAITING, // inside a call of weft's that blocks it
    WEFT_THREAD_ENDING,  // inside weft_runtime_free
};

enum weft_rule {
    WEFT_RULE_DEADLOCK,   // tasks wait for each other
    WEFT_RULE_NO_YIELD,   // a task keeps its worker and runs
    WEFT_RULE_ALL_ASLEEP, // every task waits, and nothing can wake one
    WEFT_RULE_STALL,      // many wait for one object, and none gets it
    WEFT_RULE_LOST_PEER,  // the other side of a channel has ended
    WEFT_RULE_SYSCALL,    // a task keeps its worker in a system call
    WEFT_RULE_READY,      // a task could run and is not run
    WEFT_RULE_STACK,      // a stack is nearly full
    WEFT_RULE_GROWTH,     // tasks of one spawn site become more and more
    WEFT_RULE_COUNT,      // how many rules there are
};

enum weft_severity {
    WEFT_SEVERITY_ERROR,
    WEFT_SEVERITY_WARNING,
    WEFT_SEVERITY_INFO,
};

enum weft_certainty {
    WEFT_CERTAINTY_PROVEN,    // seen at one moment, and without a way out
    WEFT_CERTAINTY_LIKELY,    // there may be a way out that weft cannot see
    WEFT_CERTAINTY_THRESHOLD, // a fact; that it is too much is a setting
};

// Why a stack's frames end where they end.
enum weft_stack_end {
    WEFT_STACK_WHOLE,   // at the task's entry
    WEFT_STACK_CUT,     // too deep: the middle is left out
    WEFT_STACK_BROKEN,  // cannot be unwound further: see `error`
    WEFT_STACK_UNKNOWN, // not captured: the task was running and could not be
                        // reached (see `error`), or has ended
};

// The dump as a whole.
typedef struct weft_dump_info {
    int64_t wall_time_ns;     // of the meeting, since 1970 UTC
    int64_t process_start_ns; // since 1970 UTC
    int64_t pause_ns;         // first worker stopped to released
    int64_t total_ns;         // request to result
    int64_t slice_ns;         // longest time that a thread captured on end
    bool consistent;          // one moment for all tasks but those running
    bool complete;            // nothing is missing
    const char *problem;      // what is missing and why, or NULL
    int pid;
    const char *runtime; // its name
    size_t tasks, workers, stacks, objects, sites, findings, threads;
} weft_dump_info;

// A task in a dump. Times are those of the meeting.
typedef struct weft_dump_task {
    uint64_t id;      // unique in the runtime; from 1, with gaps
    weft_task handle; // for weft_task_cancel and the like
    const char *name; // or NULL
    enum weft_task_state state;
    int64_t state_ns;   // since when, before the meeting
    int64_t age_ns;     // since its spawn
    int64_t cpu_ns;     // time on a worker
    uint64_t schedules; // times it was given a worker
    enum weft_wait_kind wait;
    uint32_t object;       // index of the object it waits for, or WEFT_NONE
    uint64_t wait_task;    // id of the task it joins, or 0
    int wait_fd;           // descriptor it waits for, or -1
    bool wait_write;       // to write (else to read)
    int64_t timeout_in_ns; // until its wait gives up, or WEFT_NEVER
    uint32_t worker;       // index: runs it or has it queued, or WEFT_NONE
    uint32_t queue_place;  // place in that queue or in the shared one,
                           // counted from 0; or WEFT_NONE, also for a ready
                           // task that a sleeping worker's event has just
                           // woken and that is in no queue yet, or one that
                           // overflowed again while the capture went on
    uint32_t stack;        // index
    uint32_t site;         // index of its spawn site, or WEFT_NONE
    uint64_t parent;       // id of the task that started it, or 0
    size_t stack_used;     // bytes, to the next 64
    size_t stack_size;     // bytes
    size_t labels;         // number of labels
    size_t holds;          // number of objects it holds
    size_t clauses;        // SELECT: number of its clauses that are listed
    size_t clauses_more;   // SELECT: number of further ones
} weft_dump_task;

// One of the things that a task's select waits for.
typedef struct weft_dump_clause {
    enum weft_wait_kind wait; // a time: WEFT_WAIT_SLEEP
    uint32_t object;          // index, or WEFT_NONE
    uint64_t wait_task;       // id of the task to join, or 0
    int wait_fd;              // descriptor, or -1
    bool wait_write;          // to write (else to read)
} weft_dump_clause;

// An object that tasks wait for or hold.
typedef struct weft_dump_object {
    enum weft_object_kind kind;
    const char *name; // or NULL
    uintptr_t address;
    uint64_t owner;     // id of the task that holds it alone, or 0. Of a
                        // semaphore of one permit: of the task that took it
    int owner_tid;      // the thread that holds it alone, or 0
    uintptr_t taken_pc; // where the owner took it, or 0
    int64_t held_ns;    // since when, or 0
    size_t holders;     // number of tasks that hold it, alone or together
    size_t waiters;     // number of tasks that wait for it
    uint64_t used;      // channel of any kind: items inside; rwlock: readers
                        // inside; semaphore: permits taken; event: 1 if set;
                        // barrier: arrivals; once: 1 if done; waitgroup: its
                        // count; scope: children that run
    uint64_t limit;     // channel of any kind: its capacity; semaphore: the
                        // permits it began with; barrier: arrivals that open
                        // it; scope: the most children at once; or 0
} weft_dump_object;

typedef struct weft_dump_worker {
    uint32_t index;
    int tid;
    enum weft_worker_state state;
    uint64_t task;               // id of the task it runs, or 0
    int64_t busy_ns;             // for how long it has run that task
    bool handed_off;             // another worker has its place, while it is
                                 // in that task
    uint32_t queued;             // tasks in its queue
    bool in_syscall;             // missing, and its task sat in a system call:
    long syscall;                //   the call's number
    int syscall_fd;              //   the descriptor it is about, or -1
    const char *syscall_fd_name; // what that was right after the capture, such
                                 // as a path or "socket:[88123]", or NULL
    int64_t syscall_ns; // for how long at least it has sat in the call, up to
                        // 0.2 s less than the truth; 0: not known yet
} weft_dump_worker;

// A thread that is no worker: one of the pool, or one of the program's that is
// blocked in a call of weft's, of whatever runtime. They are read soon after
// the meeting, while all run on; the thread that takes the dump is not among
// them.
typedef struct weft_dump_thread {
    int tid;
    enum weft_thread_kind kind;
    enum weft_thread_state state;
    int64_t state_ns;         // since when
    const char *name;         // the system's for it, or NULL
    uint64_t task;            // CALLING: id of the task that waits for the call
    uintptr_t fn_pc;          // CALLING: a pc of the function called; or 0
    enum weft_wait_kind wait; // WAITING: a join, a channel or a dump
    uintptr_t object;         // WAITING: the object's address, or 0
    const char *object_name;  // and its name, or NULL
    uint64_t wait_task;       // id of the task it joins, or 0
    int64_t timeout_in_ns;    // until its wait gives up, or WEFT_NEVER
    const char *runtime; // name of the runtime to which what it waits for, or
                         // ends, belongs, if that is another; or NULL
    bool in_syscall;     // it sits in a system call:
    long syscall;        //   the call's number
    int syscall_fd;      //   the descriptor it is about, or -1
    const char *syscall_fd_name; // what that is, or NULL
    uint32_t stack;              // index, or WEFT_NONE
} weft_dump_thread;

// One frame: a function inlined into another has a frame of its own with the
// same pc.
typedef struct weft_frame {
    uintptr_t pc;
    const char *function; // or NULL
    const char *file;     // or NULL
    int line;             // or 0
    const char *module;   // path of the executable or library, or NULL
    uintptr_t offset;     // of the code in it, as addr2line -e MODULE takes it
    const char *unnamed;  // why there is no function, or NULL
    bool inlined;
    bool runtime; // weft's own
} weft_frame;

typedef struct weft_dump_finding {
    enum weft_rule rule;
    enum weft_severity severity;
    enum weft_certainty certainty;
    int64_t since_ns;     // for how long, before the meeting
    int64_t threshold_ns; // of a threshold rule, or 0
    size_t tasks;         // tasks listed in it, in the order of its chain
    size_t behind;        // further tasks blocked behind these
    uint32_t worker;      // index, or WEFT_NONE
    uint32_t object;      // index of what it is about, or WEFT_NONE
    uint32_t site;        // index of the spawn site it is about, or WEFT_NONE
    uint64_t count;       // tasks concerned; `tasks` may list the worst alone
} weft_dump_finding;

// Takes a dump of a runtime. Workers meet between two tasks, or 250 ms pass, in
// which those that have come stand still; the dump then goes on without a
// worker that did not come, and says so. Where its task stands is read from
// outside if it sits in a system call, which is not disturbed; if it runs,
// a signal (the runtime's capture_signal) interrupts it for a moment, in which
// no system call of its ends early. Threads besides the workers are read after
// that: see weft_dump_thread. What the findings speak of is set by the
// runtime's options (findings.h).
// Calls at the same time share a result or are served one after another. The
// dump is the caller's, to be given back by weft_dump_free. May be called by
// tasks, of this runtime or another, which park (without a deadline; the wait
// is bounded by the runtime's dump_patience_ns and the time of the capture),
// and by threads, which block. Not by signal handlers. A task has a thread made
// that takes the dump; if none can be had, it blocks its worker and takes the
// dump by itself, which then is incomplete if it is one of its own runtime.
// Errors: -EINVAL (a null pointer), -ENOMEM, -ESHUTDOWN (the runtime has
// ended), -EAGAIN (a task: no thread could be had, and it has less than 32 KiB
// of stack left).
WEFT_API int weft_dump_take(weft_runtime *runtime, weft_dump **ret_dump);

// Gives a dump back. NULL is allowed. May be called by tasks and threads.
WEFT_API void weft_dump_free(weft_dump *dump);

// The calls below read a dump. They may be called by tasks and threads, do not
// park, and return 0 or -EINVAL (a null pointer) or -ENOENT (no such entry).
WEFT_API int weft_dump_get_info(const weft_dump *dump, weft_dump_info *ret);

// Entry `index` of the dump's tasks.
WEFT_API int weft_dump_get_task(const weft_dump *dump, size_t index,
                                weft_dump_task *ret_task);

// The index of the task with an id.
WEFT_API int weft_dump_find_task(const weft_dump *dump, uint64_t id,
                                 size_t *ret_index);

// Label `which` of task `index`.
WEFT_API int weft_dump_get_label(const weft_dump *dump, size_t index,
                                 size_t which, const char **ret_key,
                                 const char **ret_value);

// What task `index` of a dump waits for in a select, its `which`-th clause. May
// be called by tasks and threads. Does not park.
// Errors: -EINVAL (null pointers), -ENOENT (no such task or clause).
WEFT_API int weft_dump_get_clause(const weft_dump *dump, size_t index,
                                  size_t which, weft_dump_clause *ret_clause);

// The index of the object that task `index` holds as its `which`-th.
WEFT_API int weft_dump_get_held(const weft_dump *dump, size_t index,
                                size_t which, uint32_t *ret_object);

// Entry `index` of the objects.
WEFT_API int weft_dump_get_object(const weft_dump *dump, size_t index,
                                  weft_dump_object *ret_object);

// The id of the task that waits as `which`-th for object `index`.
WEFT_API int weft_dump_get_waiter(const weft_dump *dump, size_t index,
                                  size_t which, uint64_t *ret_task);

// The id of the task that holds object `index` as its `which`-th.
WEFT_API int weft_dump_get_holder(const weft_dump *dump, size_t index,
                                  size_t which, uint64_t *ret_task);

// Entry `index` of the workers.
WEFT_API int weft_dump_get_worker(const weft_dump *dump, size_t index,
                                  weft_dump_worker *ret_worker);

// Entry `index` of the threads that are no workers.
WEFT_API int weft_dump_get_thread(const weft_dump *dump, size_t index,
                                  weft_dump_thread *ret_thread);

// Stack `index`: its program counters, leaf first, without names. Equal stacks
// are stored once.
WEFT_API int weft_dump_get_stack(const weft_dump *dump, size_t index,
                                 const uintptr_t **ret_pcs, size_t *ret_count,
                                 enum weft_stack_end *ret_end,
                                 const char **ret_error);

// The program counter of spawn site `index`.
WEFT_API int weft_dump_get_site(const weft_dump *dump, size_t index,
                                uintptr_t *ret_pc);

// Entry `index` of the findings.
WEFT_API int weft_dump_get_finding(const weft_dump *dump, size_t index,
                                   weft_dump_finding *ret_finding);

// The id of the `which`-th task of finding `index`, and the object it holds (or
// the channel it serves) that the one before it in the chain waits for, or
// WEFT_NONE. In a deadlock the last stands before the first; in a stall all who
// wait do.
WEFT_API int weft_dump_get_finding_task(const weft_dump *dump, size_t index,
                                        size_t which, uint64_t *ret_task,
                                        uint32_t *ret_object);

// The id of the `which`-th task blocked behind finding `index`.
WEFT_API int weft_dump_get_finding_behind(const weft_dump *dump, size_t index,
                                          size_t which, uint64_t *ret_task);

// The names behind a program counter of a dump, innermost first: its function
// and those that it was inlined into. Stores up to `max` frames and returns
// how many there are. Names are looked up at the first call and kept. With
// libdw: functions, files, lines and inlined frames; without it: names of
// functions alone. They come from the files that were loaded and from separate
// debug files (weft(7)), even if those modules have been closed since; where
// there is none, the frame says why. May be called by tasks, which park unless
// the name is known already, and by threads, which block: milliseconds, or as
// long as it takes to read large files. A cancel does not end the wait.
// Errors: -EINVAL, -ENOMEM.
WEFT_API int weft_dump_get_frames(const weft_dump *dump, uintptr_t pc,
                                  weft_frame *ret_frames, size_t max);

typedef struct weft_print_options {
    size_t size;    // sizeof(weft_print_options)
    bool color;     // text: with terminal colours
    bool ascii;     // text: without characters beyond ASCII
    bool verbose;   // text: the frames of weft itself, and labels, too
    bool all_tasks; // JSON: every task, however many (default: if <= 10,000)
    bool compact;   // JSON: on one line
} weft_print_options;

// Writes a dump as text for a person. `options` may be NULL. May be called by
// tasks, which park while a thread made for it writes, so they must not hold
// `file` by flockfile; and by threads, which block. A cancel does not end it.
// Errors: -EINVAL, -ENOMEM, and what writing gives.
WEFT_API int weft_dump_print_text(const weft_dump *dump,
                                  const weft_print_options *options,
                                  FILE *file);

// Writes finding `index` alone as that text shows it: a sentence, the chain,
// and what to look at.
// Errors: -EINVAL, -ENOENT, -ENOMEM, and what writing gives.
WEFT_API int weft_dump_print_finding(const weft_dump *dump, size_t index,
                                     const weft_print_options *options,
                                     FILE *file);

// Writes a dump as a JSON document, "format": "weft-dump", for programs; its
// schema is doc/weft-dump.schema.json. As weft_dump_print_text otherwise.
WEFT_API int weft_dump_print_json(const weft_dump *dump,
                                  const weft_print_options *options,
                                  FILE *file);

// Traces one task by its handle, without a dump: where it is parked or queued.
// The task is neither run nor woken, but cannot run while it is read. The
// trace is the caller's, to be given back by weft_trace_free. May be called by
// tasks and threads. Does not park.
// Errors: -EINVAL, -ESRCH, -ENOMEM, -EBUSY (it is running, or runs so often
// that it cannot be read).
WEFT_API int weft_trace_task(weft_task task, weft_trace **ret_trace);

// Traces the caller itself, from the place of the call outwards. May be called
// by tasks and threads. Does not park.
// Errors: -EINVAL, -ENOMEM.
WEFT_API int weft_trace_self(weft_trace **ret_trace);

// The program counters of a trace, leaf first.
// Errors: -EINVAL.
WEFT_API int weft_trace_get_pcs(const weft_trace *trace,
                                const uintptr_t **ret_pcs, size_t *ret_count,
                                enum weft_stack_end *ret_end);

// The names behind a program counter of a trace, as weft_dump_get_frames; a
// task always parks.
WEFT_API int weft_trace_get_frames(const weft_trace *trace, uintptr_t pc,
                                   weft_frame *ret_frames, size_t max);

// Writes a trace as lines "function file:line" for a person. As
// weft_dump_print_text otherwise.
// Errors: -EINVAL, and what writing gives.
WEFT_API int weft_trace_print(const weft_trace *trace, FILE *file);

// Gives a trace back. NULL is allowed.
WEFT_API void weft_trace_free(weft_trace *trace);

WEFT_END

#endif
