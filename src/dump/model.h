// model.h -- A finished dump in memory: what capture fills, findings judge and
// renderers show.
//
// One model for every source of a dump. It is written by one thread, then
// never changed, save the names behind `names_once`, which src/report fills at
// the first need. Tasks are in the order of their slots. Ids are those that a
// person sees (T7); positions in arrays are called indexes.
#ifndef WEFT_DUMP_MODEL_H
#define WEFT_DUMP_MODEL_H

#include <weft/findings.h>
#include <weft/task.h>

#include "base/lock.h"
#include "port/port.h"

#define WAIT_LAST WEFT_WAIT_WALL // the last of enum weft_wait_kind

// A task, in the least room that all its facts need. Times are nanoseconds.
struct model_task {
    uint64_t id;
    uint64_t handle;
    uint64_t parent; // id, or 0
    uint64_t schedules;
    int64_t state_ns;
    int64_t age_ns;
    int64_t cpu_ns;
    int64_t timeout_in_ns;
    uint64_t wait_task;   // id, or 0
    uint64_t scope;       // address of the scope whose child it is, or 0
    uint64_t wait_scope;  // of the one that it leaves, or 0
    uint32_t name;        // offset in `text`, or WEFT_NONE
    uint32_t labels;      // offset in `text` of key\0value\0..., or WEFT_NONE
    uint32_t object;      // index, or WEFT_NONE
    uint32_t held;        // first entry in `held`, or WEFT_NONE
    uint32_t choice;      // of a select: index, or WEFT_NONE
    uint32_t stack;       // index, or WEFT_NONE
    uint32_t site;        // index, or WEFT_NONE
    uint32_t worker;      // index, or WEFT_NONE
    uint32_t queue_place; // or WEFT_NONE
    int32_t wait_fd;      // or -1
    uint32_t stack_used;
    uint32_t stack_size;
    uint16_t held_count;
    uint8_t label_count;
    uint8_t state; // enum weft_task_state
    uint8_t wait;  // enum weft_wait_kind
    bool wait_write;
};

struct model_object {
    enum weft_object_kind kind;
    uint32_t name; // offset in `text`, or WEFT_NONE
    uintptr_t address;
    uint64_t owner;      // id, or 0
    uint32_t owner_task; // its index, or WEFT_NONE
    bool owned;          // the owner itself says so
    int32_t owner_tid;   // of a thread that owns it, or 0
    uintptr_t taken_pc;
    int64_t held_ns;
    uint32_t waiter; // first entry in `waiters`, once they are listed
    uint32_t waiter_count;
    uint32_t holder; // first entry in `holders`
    uint32_t holder_count;
    uint64_t used, limit;
    uint32_t peers; // of a channel: index in `channels`; else WEFT_NONE
    bool receives;  // of a channel: those who wait for it want to receive
};

// Whether that is a channel of any kind: nobody holds it, but it has peers.
static inline bool model_is_channel(enum weft_object_kind kind)
{
    return kind == WEFT_OBJECT_CHANNEL || kind == WEFT_OBJECT_ONESHOT ||
           kind == WEFT_OBJECT_BROADCAST || kind == WEFT_OBJECT_WATCH;
}

// What a select waits for the first of. Compared as bytes: fill it from zero.
struct model_clause {
    uint64_t task;   // id, or 0
    uint32_t object; // index, or WEFT_NONE
    int32_t fd;      // or -1
    uint8_t wait;    // enum weft_wait_kind; a time: WEFT_WAIT_SLEEP
    uint8_t write;
    uint8_t zero[6];
};

struct model_choice {
    uint32_t clause; // first entry in `clauses`
    uint32_t count;
    uint32_t total; // with those that are not listed
};

// Who has sent to a channel, or received from it, of late.
enum { MODEL_PEERS = 3 };
#define MODEL_OUTSIDE UINT64_MAX // a thread, or a task of another runtime

struct model_peers {
    uint64_t ids[MODEL_PEERS]; // newest first; 0: none; or MODEL_OUTSIDE
    int64_t last_ns;           // when the newest did, before the meeting
    bool more;                 // others did too, longer ago
};

struct model_channel {
    struct model_peers sent, received;
};

struct model_stack {
    uint32_t pc; // first entry in `pcs`; leaf first
    uint32_t count;
    enum weft_stack_end end;
    uint32_t cut;    // with WEFT_STACK_CUT: frames left out before `cut_at`
    uint32_t cut_at; // position in the stack
    uint32_t error;  // offset in `text`, or WEFT_NONE
};

struct model_thread {
    weft_dump_thread shown; // its strings are those below
    char name[16];
    char object_name[WEFT_NAME_MAX];
    char runtime[WEFT_NAME_MAX];
    char *fd_name; // owned, or NULL
};

struct model_finding {
    enum weft_rule rule;
    enum weft_severity severity;
    enum weft_certainty certainty;
    int64_t since_ns;
    int64_t threshold_ns;
    uint32_t *tasks;   // task indexes. Deadlock and stall: a chain, each waits
    uint32_t *objects; // for objects[i], held (or, a channel, served) by the
    uint32_t task_count; // next; WEFT_NONE: for its end. All three are owned
    uint32_t *behind;    // task indexes
    uint32_t behind_count;
    uint32_t worker; // index, or WEFT_NONE
    uint32_t object; // index, or WEFT_NONE: what all in a stall wait for
    uint32_t site;   // index, or WEFT_NONE
    uint64_t count;  // tasks concerned
    int64_t figure;  // a rule's own: see the files find_*.c
    uint64_t lost;   // lost peer: the id of the last one, ended, or 0
    char *detail;    // owned, or NULL: what the descriptor of a call is
};

// A loaded module at the time of the dump.
struct model_module {
    char *path;           // owned
    char *file;           // owned: where it can be had if not there, or NULL
    char *build_id;       // owned, hex, or NULL
    uintptr_t bias;       // load address minus link address
    uintptr_t start;      // first mapped byte
    uintptr_t end;        // one past the last
    uint64_t fingerprint; // elf_file.h's, of a module without a build-id
};

// How a dump came about.
enum model_method {
    MODEL_IN_PROCESS,
    MODEL_PTRACE,    // from outside, with the whole process stopped
    MODEL_UNSTOPPED, // from outside, while it ran on
    MODEL_CORE,      // from a core file
};

struct extra;
struct store;

struct weft_dump {
    atomic_u32 references; // weft_dump_free drops one; adds are relaxed

    int64_t wall_time_ns, process_start_ns;
    int64_t pause_ns, total_ns;
    int64_t slice_ns;    // the longest that a capture kept a thread at a time
    int64_t no_yield_ns; // the runtime's threshold
    weft_finding_options limits; // its others; zero: the default
    struct rules *rules;         // one reference, or NULL: rules.h
    int64_t mean_run_ns;         // of the runtime's tasks
    uint32_t inject_length;      // tasks in the shared queue
    int64_t away_until_ns;       // the machine stood still until then, before
    int64_t away_ns;             // the meeting, and for so long; 0: never
    bool outsiders;              // threads that weft does not know run
    int pid;
    enum model_method method;
    uint64_t missing_pages; // of a core: that were looked for in vain
    uintptr_t entry;        // task_entry in the process; 0: not known
    bool consistent, complete;
    char *problem; // owned, or NULL
    char *runtime; // owned
    char *exe;     // owned, or NULL
    char *host;    // owned
    char **args;   // owned, NULL-terminated

    struct store *store;      // owned: a capture's; or NULL, and then
    struct model_task *tasks; // the tasks are here, unpacked
    size_t task_count;
    struct model_object *objects;
    size_t object_count;
    uint32_t *waiters; // task indexes, or NULL: not yet listed, see
                       // model_waiter
    uint32_t *holders; // task indexes, by object
    uint32_t *held;    // object indexes, by task; as many
    size_t held_count;
    weft_dump_worker *workers;
    size_t worker_count;
    struct model_stack *stacks;
    size_t stack_count;
    // Return addresses, `sites` and `taken_pc` too: what is meant lies one byte
    // before. Any other pc (where a signal struck, a function's entry) is
    // stored plus one, so that this holds for all.
    uintptr_t *pcs;
    size_t pc_count;
    uintptr_t *sites;
    size_t site_count;
    struct model_choice *choices;
    size_t choice_count;
    struct model_clause *clauses;
    size_t clause_count;
    struct model_channel *channels; // what is known of channels beyond objects
    size_t channel_count;
    struct model_finding *findings;
    size_t finding_count;
    struct model_module *modules;
    size_t module_count;
    char *text; // all strings, each ended by zero
    size_t text_size;

    struct model_thread *threads; // threads.c
    size_t thread_count;

    struct lock index_lock; // guards `index`, and the listing of waiters
    uint32_t *index;        // model_find's: ids hashed to task indexes, or NULL

    struct lock names_lock; // guards `names`
    struct symbols *names;  // report's, or NULL until first needed
    void (*names_free)(struct symbols *);
};

// Task `index`, unpacked.
struct model_task model_task(const struct weft_dump *dump, size_t index);

// What the select of task `index` waits for; NULL: it is in none, or that is
// not known.
const struct model_choice *model_choice(const struct weft_dump *dump,
                                        size_t index);

// What few tasks have, of task `index` of a captured dump, to be written while
// it is made. NULL: no room.
struct extra *model_extra(struct weft_dump *dump, size_t index);

// The string at an offset, or NULL for WEFT_NONE.
const char *model_text(const struct weft_dump *dump, uint32_t offset);

// The index of the task with an id, or WEFT_NONE. Only once `tasks` is whole:
// the first call indexes them.
uint32_t model_find(const struct weft_dump *dump, uint64_t id);

// The index of the task that waits as `which`-th for an object, which is below
// its waiter_count; WEFT_NONE: no memory. The first call lists them all.
uint32_t model_waiter(const struct weft_dump *dump, uint32_t object,
                      uint32_t which);

// Gives back all memory of a dump whose last reference is gone.
void model_free(struct weft_dump *dump);

// Fills in the modules: those loaded in this process now. 0 or -ENOMEM.
int model_add_modules(struct weft_dump *dump);

// The same as an array of the caller's, the executable first.
int model_load_modules(struct model_module **ret_modules, size_t *ret_count);
void model_free_modules(struct model_module *modules, size_t count);

#endif
