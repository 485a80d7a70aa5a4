// task.h -- The slot of a task: everything the runtime knows about it.
//
// Slots lie in segments that are never freed or moved while the runtime lives
// (table.h), so a pointer to one can always be read; whether it still means
// the same task says the generation.
//
// The state word carries, from the top: how often the task was given a worker
// (40 bits), how its last wait ended (16 bits, an errno value), its phase (8
// bits). One word, so that a change of one proves that the others are stale:
// a waker that lost, a timer that came late and a dumper that read too slowly
// all find out by comparing it. While PARKING or WAITING the outcome bits say
// from which level on a cancel ends the wait.
//
// A task's cancels have levels: 0, of the task as a whole; n, of the n-th of
// the scopes that it has open, counted from the outermost. A shield is the
// level of the innermost open scope that keeps out what comes from around it,
// or 0: calls within end by a cancel of that level or a higher one.
//
//   I1  The phase moves along these edges only, by the one named:
//         FREE -> NEW         spawn
//         NEW, READY -> RUNNING     the worker that took it from a queue;
//                                   the count goes up by one
//         RUNNING -> READY          its worker, after a yield, once saved
//         RUNNING -> PARKING        the task itself: it announces a wait
//         PARKING -> FIRED          the waker that wins (CAS); outcome set
//         PARKING -> WAITING        its worker, once saved (CAS)
//         FIRED -> READY            its worker, once saved
//         WAITING -> READY          the waker that wins (CAS); outcome set
//         RUNNING -> DONE           its worker, once its stack is left
//         DONE -> FREE              whoever took its result, or itself
//   I2  Whoever makes it READY or NEW puts it into exactly one queue; whoever
//       takes it from there owns it until it is saved again.
//   P1  The switch saves sp and the stack, then the worker stores the phase
//       (release) -> whoever loads it (acquire) may read them or run the task.
//   P2  A worker that has saved a task moves PARKING to WAITING by CAS, then
//       loads `canceled`; a canceller changes that, then loads the state. All
//       seq_cst: either the canceller sees the wait, or the worker the
//       cancel. The task itself looks before it announces a wait, only to save
//       the trouble.
//
// While a capture goes on (an epoch; dump/epoch.c), slots are read by its
// threads though the tasks run on. What the capture shall see is the state at
// the meeting with which the epoch began. So whoever is about to change a task
// looks first whether an epoch of its runtime is open and the task not yet
// marked in it:
//
//   S1  mark goes from an older epoch's to this one's WAITED to TAKEN, or to
//       TAKEN at once, each by CAS:
//         WAITED  by a waker, before it ends the wait (task_note_wait): the
//                 wait record and `since` stand on until the task runs again
//         TAKEN   by who captures it: before it is run by its worker, before
//                 the slot of an ended task is freed, or by a thread of the
//                 capture, after it has read it. Whoever wins has a true copy,
//                 for whatever changes a task comes after a mark.
//         TAKEN   by its spawner, before it is NEW: not in this dump
//   P3  task_epochs is stored (seq_cst) while the workers stand still or are
//       certain to look at trace_asked before they run a task; those who are
//       neither (threads that wake or spawn from outside) may see it late by
//       the time between a load and the CAS or store that follows: such a
//       change counts as having come before the meeting.
//   P4  A waker loads mark (acquire), then the epoch (seq_cst, which acquires),
//       then the state. A mark is never of an epoch later than the one that is
//       loaded after it: so a waker that was held up puts no mark back, for its
//       CAS fails. And a task that is found in a wait when the epoch is open
//       was in it at the meeting: so who was woken before it is not marked.
//   P5  An ended task is FREE, and its generation grows, under the slot's lock,
//       and its slot is used again after that was given back. Whoever has
//       copied one passes the lock (lock.c P3): a copy of one that is still
//       DONE afterwards, or of the same generation, is a true one.
#ifndef WEFT_TASK_TASK_H
#define WEFT_TASK_TASK_H

#include <weft/dump.h>
#include <weft/task.h>

#include "base/limbo.h"
#include "base/list.h"
#include "base/lock.h"
#include "port/port.h"
#include "task/fiber.h"

// False in a build that is to show what all that serves dumps alone costs: it
// is left out there, and weft_dump_take fails (meson option `bare`).
#ifdef WEFT_BARE
#define DUMPS_SERVED false
#else
#define DUMPS_SERVED true
#endif

enum phase {
    PHASE_FREE,
    PHASE_NEW,
    PHASE_READY,
    PHASE_RUNNING,
    PHASE_PARKING,
    PHASE_FIRED,
    PHASE_WAITING,
    PHASE_DONE,
};

#define STATE_PHASE(word) ((enum phase)((word)&0xff))
#define STATE_OUTCOME(word) ((int)((word) >> 8 & 0xffff))
#define STATE_COUNT(word) ((word) >> 24)
#define STATE(count, outcome, phase)                                           \
    ((uint64_t)(count) << 24 | (uint64_t)(outcome) << 8 | (uint64_t)(phase))

enum {
    TASK_CANCELED = 1, // in `canceled`: at level 0, for good
    CANCEL_SHIFT = 1,  // from there on: the highest level above 0, or 0
    LEVEL_MAX = 1000,
    WAIT_FIRM = 0xffff, // in the outcome bits: no cancel ends the wait
};

// Whether a cancel reaches what is done behind a shield.
static inline bool cancel_reaches(uint32_t canceled, uint32_t shield)
{
    return shield == 0 ? canceled != 0 : canceled >> CANCEL_SHIFT >= shield;
}

enum mark {
    MARK_WAITED = 1,
    MARK_TAKEN = 2,
};

#define MARK(epoch, mark) ((uint32_t)(epoch) << 2 | (uint32_t)(mark))
#define MARK_EPOCH(word) ((word) >> 2)

// The open epoch of each runtime, by its tag; 0: none. P3.
extern atomic_u32 task_epochs[256];

// How a task's end reaches whoever cares; under `lock`.
enum join_mode {
    JOIN_OPEN,     // may be joined or detached
    JOIN_WAITED,   // `joiner` waits
    JOIN_DETACHED, // nobody will ask
    JOIN_SCOPED,   // its scope counts it
    JOIN_KEPT,     // the same, and its scope gives the slot back
};

// Filled before it is linked, by release: a capture may follow the links of a
// task that runs on.
struct label {
    _Atomic(struct label *) next;
    struct grave grave;
    char key[WEFT_NAME_MAX];
    char value[WEFT_NAME_MAX];
};

// An object, seen by the task that holds it: the head of struct object
// (sync/object.h), or of a struct hold.
struct held {
    struct held *next; // taken before this one by the same task
    const char *name;  // or NULL
    uint32_t kind;     // OBJECT_KIND of an object while it is initialised;
                       // HELD_SHARED of a struct hold
};

#define HELD_SHARED (WEFT_OBJECT_MAGIC + UINT32_C(0xff))

// An object, seen by one of several that hold it together.
struct hold {
    struct held held;
    const void *object;     // never changes while it is in use
    atomic_u64 taken_pc;    // 0: not yet granted, while its holder waits; by
                            // whoever grants it, under the object's lock
    atomic_u64 taken_since; // ticks; the same. Relaxed, both: figures, which
                            // a dump may read meanwhile
};

// How many such a task has at hand; further ones are allocated.
enum { HOLDS_MAX = 4 };

struct task;

// Who hears of a task in place of a join: the head of struct scope. `begins`
// is called before the task can run, `ended` by the worker once it has left
// its stack, before the slot is free.
struct task_owner {
    void (*begins)(struct task_owner *owner, struct task *task);
    void (*ended)(struct task_owner *owner, struct task *task);
};

// What lies at the top of a task's stack, in the page that is touched anyway.
struct task_top {
    char name[WEFT_NAME_MAX];
    _Atomic(struct label *) labels; // owned; newest first
    uint64_t first_count; // the state's count when the task was spawned
    struct fiber fiber;   // from here on of no interest for dumps
    struct local *locals; // its own values: sched/local.c
    unsigned announced;   // to Valgrind (fiber.h)
    bool canary;          // stands in for a guard page (stack.c)
    uint8_t holds_used;   // a bit for each of `holds`
    struct hold holds[HOLDS_MAX];
};

// Fields without another word are written by the task itself or by the worker
// that holds it, and read by dumps while it is not running.
struct task {
    atomic_u64 state;      // I1
    void *sp;              // P1: saved stack pointer
    struct task *next;     // link of the one queue or list it is in
    uint64_t injected;     // its number among all that were ever put into the
                           // shared queue, the last time that it was
    atomic_u32 generation; // bumped on FREE; relaxed: a stale handle is
                           // told apart by value, not by order
    atomic_u32 canceled;   // TASK_CANCELED and a level; P2
    atomic_u32 mark;       // MARK_* and the epoch it is of: S1
    uint32_t shield;       // level; by the task itself
    struct task_top *top;  // NULL: no stack
    uint32_t stack_class;  // log2 of its size
    uint32_t index;        // of this slot; never changes
    weft_task_fn *fn;      //
    void *arg;             // its argument; once DONE, its result
                           //
    uint64_t id;           // what a person sees: T7
    uint64_t spawned;      // ticks
    atomic_u64 since; // ticks: last left a worker, or was spawned; relaxed: a
                      // figure
    atomic_u64 woken; // ticks: last put into a queue; likewise
    atomic_u64 cpu;   // ticks on a worker, up to `since`; relaxed: a figure
    const void *wait_object; // the wait record: P1 publishes it. Of a join it
                             // is the id of the joined
    int64_t wait_deadline;   //
    int32_t wait_fd;         // or, of a select, how many clauses
    uint8_t wait_kind;       // enum weft_wait_kind
    bool wait_write;         //
    uint8_t join;            // enum join_mode; under `lock`
    uintptr_t site;          // pc of its spawn
                             //
    uint64_t parent;         // id, or 0
    struct held *held;       // what it holds, newest first
    struct lock lock;        // guards join, joiner, and the end
    uint32_t tag;            // of its runtime; never changes
    union {
        struct waiter *joiner; // under `lock`
        void **ret_result;     // of a scope's child: where its result goes,
                               // under the scope's lock; or NULL
    };
    struct task_owner *owner; // the scope whose child it is, or NULL
    struct scope *scopes;     // innermost scope that it has entered
    int64_t scope_deadline;   // earliest of the scopes around it
    struct list siblings;     // in its scope's children; under its lock
};

// Whether a cancel has come that ends the next call of the task, which asks.
static inline bool task_is_canceled(const struct task *task)
{
    // Relaxed: one that comes at the same moment may as well come later; and
    // one who parks is looked at again (P2).
    return cancel_reaches(load_relaxed(&task->canceled), task->shield);
}

// A handle, from the top: the generation (32 bits), the runtime's tag (8 bits,
// never zero), the slot's index (24 bits).
#define HANDLE_INDEX(handle) ((uint32_t)((handle).id & 0xffffff))
#define HANDLE_TAG(handle) ((uint32_t)((handle).id >> 24 & 0xff))
#define HANDLE_GENERATION(handle) ((uint32_t)((handle).id >> 32))

static inline weft_task task_handle(const struct task *task)
{
    uint64_t generation = load_relaxed(&task->generation);

    return (weft_task){generation << 32 | (uint64_t)task->tag << 24 |
                       task->index};
}

// Stores a new phase and outcome with the same count, with release order (P1).
// By the worker or task that owns the word at this edge (I1).
static inline void task_set_phase(struct task *task, int outcome,
                                  enum phase phase)
{
    uint64_t count = STATE_COUNT(load_relaxed(&task->state));

    store_release(&task->state, STATE(count, outcome, phase)); // P1
}

// The open epoch of a task's runtime, or 0.
static inline uint32_t task_epoch(const struct task *task)
{
    return DUMPS_SERVED ? load_seq_cst(&task_epochs[task->tag]) : 0; // P3
}

// S1: a waker is about to end the task's wait; P4 says what it has loaded.
// False: the mark has moved since, so all must be loaded again.
bool task_note_wait(struct task *task, uint32_t mark, uint32_t epoch);

// Slots in order, through their `next`.
struct task_list {
    struct task *head;
    struct task *tail;
    uint32_t count;
};

void task_list_push(struct task_list *list, struct task *task);
struct task *task_list_pop(struct task_list *list);

// Moves all of `more` to the end of `list`.
void task_list_append(struct task_list *list, struct task_list *more);

// Room for any task as a message names it: T7 "name".
#define TASK_LABEL_MAX (WEFT_NAME_MAX + 32)

// Writes the task's id and name for a message; returns `text`.
const char *task_describe(const struct task *task, char text[TASK_LABEL_MAX]);

#endif
