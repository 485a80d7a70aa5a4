// sim.h -- Simulation: a program on one thread, in virtual time, from a seed.
//
// For tests. A program that is linked with libweft-sim in place of libweft can
// run a function in a simulation. Everything that weft does there it does with
// the same code, but its threads (workers, the pool, the program's own by
// pthread_create) take turns on one thread of the system; time is virtual and
// moves on when nobody can run; connections are in memory. Whatever chance
// decides in the world is drawn from the seed: who runs next and for how long,
// who is held up, when a timer fires, how much a read gives, how long a message
// takes, what is lost. The same seed gives the same run, to the last step.
//
// Each run has a forked process of its own, so that runs do not depend on what
// was before; what a run does to memory its caller does not see. The calling
// process must have no other threads.
//
// What is simulated: all of weft's calls, and of the program's own
// pthread_create, _join, _detach, pthread_mutex_lock and _unlock, nanosleep,
// usleep, sched_yield and clock_gettime. All others are the system's: one that
// blocks blocks the whole simulation, and one whose result differs from run to
// run makes runs differ. Signals are not simulated: a dump is not to be asked
// for by one. A loop that waits for another thread without a call of weft's
// never ends. What depends on addresses is equal within one process, and from
// one to the next under `setarch -R`.
//
// Outside a simulation libweft-sim works as libweft does, only slower.
#ifndef WEFT_SIM_H
#define WEFT_SIM_H

#include <stdio.h>
#include <weft/base.h>

WEFT_BEGIN

// What can go wrong in a simulation's world. Correct programs notice the first
// five, if at all, by the clock; the others give them errors to deal with.
enum weft_sim_faults {
    WEFT_SIM_PREEMPT = 1,   // a thread is left at any step
    WEFT_SIM_STALL = 2,     // a thread gets no processor for up to 50 ms
    WEFT_SIM_SPURIOUS = 4,  // threads wake for nothing, timers fire late
    WEFT_SIM_SHORT = 8,     // reads and writes give less than they could, or
                            // say that they would block, once
    WEFT_SIM_DELAY = 16,    // messages take up to 200 ms
    WEFT_SIM_RESET = 32,    // connections break, or are refused
    WEFT_SIM_LIMIT = 64,    // now and then there are no descriptors
    WEFT_SIM_NO_FAULT = 128 // none, to be used alone
};

typedef struct weft_sim_options {
    size_t size;           // sizeof(weft_sim_options)
    unsigned faults;       // of weft_sim_faults; 0: the first five
    int64_t time_limit_ns; // virtual; 0: an hour
    int64_t real_limit_ns; // real, for a loop that makes no steps; 0: 2 min
    uint64_t step_limit;   // steps; 0: 10^9
    FILE *trace;           // each switch and fault as a line; NULL: nowhere
    bool here;             // in the calling process, for debuggers: once
    bool quiet;            // says nothing about a failure
} weft_sim_options;

// How a simulation ended.
enum weft_sim_end {
    WEFT_SIM_PASSED,  // the function returned 0
    WEFT_SIM_FAILED,  // it returned something else
    WEFT_SIM_STUCK,   // nobody could ever go on again
    WEFT_SIM_LATE,    // the limit of time or of steps was reached
    WEFT_SIM_LEFT,    // it returned, but left threads behind that do not end
    WEFT_SIM_CRASHED, // a signal ended the process
    WEFT_SIM_HUNG,    // it took too long by the system's clock
};

typedef struct weft_sim_result {
    enum weft_sim_end end;
    int status;        // what the function returned, or the signal's number
    uint64_t hash;     // of all that happened: equal if two runs were the same
    uint64_t steps;    // ordered memory accesses and calls of the port
    uint64_t switches; // from one thread to another
    uint64_t faults;   // how often something went wrong
    int64_t time_ns;   // how long it took, in virtual time
} weft_sim_result;

// What a simulation runs, as its first thread: as main would be. 0: all is
// well.
typedef int weft_sim_fn(void *arg);

// Runs fn(arg) in a simulation that `seed` decides. `options` may be NULL, and
// `ret_result` too. Returns 0 if it passed, 1 if not; then it has said on
// standard error how it ended and, unless it crashed, what all threads and
// tasks were doing (the dump of each runtime). May be called by threads of a
// process that has no others. Blocks.
// Errors: -EINVAL (fn is NULL, options->size), -EBUSY (called in a simulation),
// -ENOMEM, and what fork(2) gives.
WEFT_API int weft_sim_run(uint64_t seed, weft_sim_fn *fn, void *arg,
                          const weft_sim_options *options,
                          weft_sim_result *ret_result);

// Whether the caller is in a simulation. May be called by tasks and threads.
// Does not park. Cannot fail.
WEFT_API bool weft_sim_active(void);

// A random number from the seed; outside a simulation 0. May be called by tasks
// and threads. Does not park. Cannot fail.
WEFT_API uint64_t weft_sim_random(void);

// Sets the simulation's wall clock (CLOCK_REALTIME) forward by so many
// nanoseconds, or back, as an administrator would, or a suspend that ends; all
// other clocks go on as they were. Outside a simulation nothing happens. May be
// called by tasks and threads. Does not park. Cannot fail.
WEFT_API void weft_sim_set_clock(int64_t by_ns);

// Adds a value to the hash, so that runs that differ in it are told apart. May
// be called by tasks and threads. Does not park. Cannot fail.
WEFT_API void weft_sim_note(uint64_t value);

WEFT_END

#endif
