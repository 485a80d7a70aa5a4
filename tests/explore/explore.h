// explore.h -- What a scenario of the explorer is made of.
//
// A scenario is a function that is run once for each execution, as thread 0.
// It sets up its objects, which no other thread sees yet, starts threads, waits
// until all have ended (explore_join_all), and judges what came out. It must
// do the same each time, given the same choices: no addresses, times or random
// numbers from outside. Plain memory that scenario or library touch is watched
// for data races.
#ifndef WEFT_TESTS_EXPLORE_H
#define WEFT_TESTS_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port/port.h"

// How far a search goes: how often in one execution a thread that could go on
// is made to wait, or a time-out comes though others could go on; and how often
// an access meets another store than the newest.
struct bounds {
    uint8_t preemptions;
    uint8_t stale;
};

enum { OUTCOMES_MAX = 32 };

struct scenario {
    const char *name;
    const char *protocol; // the group it is counted in
    void (*run)(void);
    struct bounds quick; // in ./dev test
    struct bounds full;
    // For the explorer's own tests.
    const char *must_fail; // part of the failure that has to be found
    const char *outcomes;  // all that explore_outcome may and must be told
};

// All scenarios of a file, ended by one without a name.
extern const struct scenario litmus_scenarios[];
extern const struct scenario self_scenarios[];
extern const struct scenario queue_scenarios[];
extern const struct scenario lock_scenarios[];
extern const struct scenario park_scenarios[];
extern const struct scenario waiter_scenarios[];
extern const struct scenario sync_scenarios[];
extern const struct scenario scope_scenarios[];
extern const struct scenario select_scenarios[];
extern const struct scenario barrier_scenarios[];
extern const struct scenario runtime_scenarios[];
extern const struct scenario capture_scenarios[];
extern const struct scenario meeting_scenarios[];
extern const struct scenario shutdown_scenarios[];

// Sets the wall clock to so far ahead of the monotonic one, and tells a poller
// that watches it.
void explore_set_clock(struct port_poller *poller, int64_t ahead_ns);

// Starts a thread. One that is a `daemon` need not come to an end: when all
// others have and it sleeps, the execution is over.
void explore_start(const char *name, void (*fn)(void *), void *arg);
void explore_start_daemon(const char *name, void (*fn)(void *), void *arg);

// Thread 0: runs the others, until all have ended.
void explore_join_all(void);

#define EXPLORE_HERE __FILE__ ":" EXPLORE_TEXT(__LINE__) ": "

// Fails the execution unless the condition holds.
#define explore_expect(condition)                                              \
    do {                                                                       \
        if (!(condition))                                                      \
            explore_fail(EXPLORE_HERE #condition);                             \
    } while (0)

_Noreturn void explore_fail(const char *what);

// Slots that are read before they are claimed, by CAS on `claim`: whoever
// stores to one must be ordered after all who have read it and claimed it.
// Without that a processor may load the slot after the claim; which the
// explorer, as RC11, does not do.
void explore_guard(const volatile void *claim, const volatile void *start,
                   size_t bytes);

// Memory that is copied unchecked. explore_torn: whether the calling thread has
// copied of it what somebody had written with whom it was not ordered, so that
// it may have read something older.
void explore_watch_copies(const void *start, size_t bytes);
bool explore_torn(void);

// What came out, as one number; the different ones are counted.
void explore_outcome(uint32_t outcome);

// No sleep ends by its deadline: what only a time-out would mend is a fault.
void explore_forbid_timeouts(void);

// The heavy barrier fails, as where the system has none.
void explore_refuse_barriers(void);

// How far the clock moves at each look; at first 1,000.
void explore_set_step_ns(int64_t ns);

#endif
