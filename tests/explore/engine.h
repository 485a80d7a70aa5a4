// engine.h -- The explorer's own nouns: threads, views, choices.
//
// engine.c decides who runs, memory.c what a load reads, races.c whether plain
// accesses are ordered, port.c stands for the system, main.c for the user.
#ifndef WEFT_TESTS_EXPLORE_ENGINE_H
#define WEFT_TESTS_EXPLORE_ENGINE_H

#include "explore/explore.h"

enum {
    THREADS_MAX = 8,
    PLACES_MAX = 503,
    VIEW_MAX = THREADS_MAX + 1 + PLACES_MAX,
    STEPS_MAX = 20000,
    CHOICES_MAX = 4096,
    LOCALS_MAX = 512,
};

// What one has seen: of each thread its clock, then how far in the order of the
// seq_cst stores, then of each atomic the newest store known, by time stamp.
// Entries from `used` on are 0.
struct view {
    uint32_t used;
    uint32_t at[VIEW_MAX];
};

enum thread_state {
    THREAD_READY,
    THREAD_SLEEPS, // on `word`, until `deadline_ns`
    THREAD_PAUSES, // until another has done something
    THREAD_JOINS,  // until `joined` has ended
    THREAD_DONE,
};

struct thread {
    uint32_t number;
    char name[16];
    void *sp; // saved, while another runs
    enum thread_state state;
    bool is_daemon;
    bool timed_out;
    const volatile void *word;
    uint64_t asleep_since; // sleepers are woken in this order
    int64_t deadline_ns;
    struct thread *joined;
    void *(*fn)(void *);
    void *arg;
    struct view seen;
    const char *site;        // of its latest operation
    char locals[LOCALS_MAX]; // thread-local variables, while another runs
};

// One decision of an execution.
enum choice_kind {
    CHOICE_SWITCH = 's', // 0: go on; or who else does
    CHOICE_YIELD = 'y',  // who goes on, as this one cannot
    CHOICE_STORE = 'r',  // which store is read, or written after
};

struct choice {
    uint32_t step;
    uint16_t kind;
    uint16_t taken;
    uint16_t count;
};

enum verdict {
    VERDICT_NONE,
    VERDICT_EXHAUSTED,
    VERDICT_FAILED,
    VERDICT_STOPPED, // by the limit of executions
};

// Shared with the process that asked: what an exploration has come to.
struct result {
    enum verdict verdict;
    uint64_t executions;
    uint64_t steps;
    uint32_t most_steps;
    uint32_t restarts;
    uint32_t outcomes[OUTCOMES_MAX];
    uint32_t outcome_count;
    uint32_t length; // of the path
    char what[512];  // failed
    struct choice path[CHOICES_MAX];
};

struct engine {
    const struct scenario *scenario;
    struct bounds bounds;
    struct bounds left;
    bool active;  // inside an execution
    bool tracing; // this one is printed
    bool begun;   // all is set up
    bool running; // the threads run; not set up, not judged
    uint32_t step;
    uint32_t count; // of threads
    uint32_t pausing;
    bool untimed;  // explore_forbid_timeouts
    bool unfenced; // explore_refuse_barriers
    bool fresh;    // nothing that matters was done since the last switch
    struct thread *self;
    struct thread threads[THREADS_MAX];
    int64_t now_ns;
    int64_t wall_ahead_ns;
    int64_t step_ns;
    uint64_t sleeps;
    struct result *result;
    uint32_t depth;
    bool grown; // a place was found to be shared: the search begins anew
    const struct choice *replay;
    uint32_t replay_length;
};

extern struct engine engine;

// Explores to the end; with `replay` only that one execution, printed.
void engine_explore(const struct scenario *scenario, struct bounds bounds,
                    uint64_t limit, struct result *result,
                    const struct choice *replay, uint32_t replay_length);

// An operation begins: others may come before it, if it can matter to them.
void engine_point(bool matters, const char *site);

// 0 to count - 1; all are tried, 0 first.
uint32_t engine_choose(enum choice_kind kind, uint32_t count);

struct thread *engine_add_thread(const char *name, bool is_daemon,
                                 void *(*fn)(void *), void *arg);

// Sleeps. False: timed out.
bool engine_sleep(const volatile void *word, int64_t deadline_ns);
void engine_wake(const volatile void *word, uint32_t count);
void engine_join(struct thread *thread);

// Whether this is memory of which each thread has its own.
bool engine_is_local(uintptr_t at);

void engine_trace(const char *site, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// ---- memory.c ----

void memory_begin(void);
void view_join(struct view *view, const struct view *other);

// What an atomic holds after all stores so far, without a look of one's own.
uint64_t memory_newest(const volatile void *at, size_t size);

// ---- races.c ----

void races_begin(void);

// An atomic access is about to be made, by who returns to `call`.
void races_atomic(uintptr_t at, size_t size, const void *call);

// Memory that is given back: whoever touches it from now on is wrong.
void races_free(uintptr_t at, size_t size);

// ---- port.c ----

void port_explore_begin(void);

#endif
