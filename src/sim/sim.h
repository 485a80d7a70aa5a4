// sim.h -- A simulation: its threads, its time, its chance, its network.
//
// There is at most one in a process, and one thread of the system's runs it; so
// nothing in src/sim is shared, and nothing is atomic.
#ifndef WEFT_SIM_SIM_H
#define WEFT_SIM_SIM_H

#include <weft/sim.h>

#include "port/port.h"
#include "task/fiber.h"

enum {
    SIM_THREADS = 4096,  // alive at once
    SIM_VARIABLES = 8,   // of PORT_THREAD_VARIABLE
    SIM_OWN_BYTES = 512, // all of them
};

enum sim_state {
    SIM_UNUSED,
    SIM_READY,
    SIM_WAITING,
    SIM_ENDED, // to be joined
};

struct sim_thread {
    enum sim_state state;
    uint32_t number; // of all that were ever started, from 0
    char name[16];
    void *(*fn)(void *);
    void *arg;
    void *result;
    bool by_weft; // who has started it
    bool detached;
    int64_t from_ns;     // ready: gets no processor before
    const void *address; // waiting: for a waking there
    int64_t until_ns;    // or until then
    int outcome;         // of its last wait: 0 or -ETIMEDOUT
    char *stack;         // kept for the next
    void *sp;            // while it does not run
    struct fiber fiber;  //
    int error;           // its errno
    unsigned char own[SIM_OWN_BYTES];
};

enum sim_phase {
    SIM_RUNS,
    SIM_DRAINS,  // the first thread has ended: the others are waited for
    SIM_REPORTS, // it has failed: a thread says what all are doing
};

struct sim {
    weft_sim_options options;
    weft_sim_result *result; // the caller's, kept up to date
    weft_sim_result beside;  // takes its place in SIM_REPORTS
    uint64_t random;
    enum sim_phase phase;
    void *(*report)(void *);
    int64_t now_ns;         // when the steps were last counted
    int64_t wall_ns;        // by how much the wall clock is ahead of it
    uint64_t granted;       // steps then, of which port_steps_left are left
    uint64_t mean_grant;    // this seed's
    int64_t limit_ns;       //
    int64_t quiet_ns;       // since then nobody but watchdogs could go on
    struct sim_thread home; // the stack of who has called for it all
    struct sim_thread *current;
    struct sim_thread *left;     // by the latest switch
    struct sim_thread *reporter; // in SIM_REPORTS
    struct sim_thread threads[SIM_THREADS];
    uint32_t used;    // of `threads`
    uint32_t numbers; // given out
};

// The simulation, or NULL.
extern struct sim *sim;

// ---- As a whole ----

// Makes the simulation, with nothing in it. 0 or -ENOMEM.
int sim_begin(uint64_t seed, const weft_sim_options *options,
              weft_sim_result *result);

// Runs fn(arg) as the first thread, and all others, until they have ended or it
// has failed; then `report` is run by one more. 0 or -EAGAIN.
int sim_go(weft_sim_fn *fn, void *arg, void *(*report)(void *));
void sim_end(void);

// ---- Threads. The caller of all that follows is one of them. ----

// 0 or -EAGAIN.
int sim_thread_start(const char *name, void *(*fn)(void *), void *arg,
                     bool by_weft, bool detached,
                     struct sim_thread **ret_thread);
void *sim_thread_join(struct sim_thread *thread);
void sim_thread_detach(struct sim_thread *thread);

// The calling one's.
void sim_thread_stack(uintptr_t *ret_low, uintptr_t *ret_high);

// The saved stack pointer of a thread by its number, or NULL: it has ended, or
// runs.
const void *sim_thread_saved(uint32_t number);

// Whether a thread, by its number, waits for a waking or a time.
bool sim_thread_waits(uint32_t number);

// How many live, and how many of these weft has started.
void sim_thread_count(uint32_t *ret_all, uint32_t *ret_by_weft);

// Lets others run. The second is for loops: it takes a little time by itself.
void sim_yield(void);
void sim_pause(void);

// Waits at an address until woken there, or for nothing: 0; or -ETIMEDOUT.
int sim_wait(const void *address, int64_t deadline_ns);

// Wakes up to `count` that wait at an address.
void sim_wake(const void *address, uint32_t count);

int64_t sim_now(void);

// ---- Chance ----

uint64_t sim_random(void);
uint64_t sim_below(uint64_t limit);

// A length of time from `least` to `most`; short ones more often.
int64_t sim_span(int64_t least, int64_t most);

// Whether one thing in `times` goes wrong now, if such faults are wanted.
bool sim_fault(enum weft_sim_faults kind, uint64_t times, const char *what);

// Writes something that happened into the hash, and the trace.
void sim_note(const char *what, uint64_t value);

// ---- The network ----

void net_begin(void);
void net_end(void);

// When the next thing will happen by itself, or WEFT_NEVER.
int64_t net_next(void);

// Lets happen what is due.
void net_advance(int64_t now_ns);

// As the functions of port.h, for a poller by its number.
int net_poller_new(void);
void net_poller_free(int number);
int net_poller_add(int poller, int number, uint64_t token);
void net_poller_remove(int poller, int number);
int net_poller_wait(int number, struct port_event *events, int max,
                    int64_t deadline_ns);
void net_poller_wake(int number);
void net_poller_watch_clock(int number);

// The wall clock was set: tells the event sources that watch it.
void net_clock_set(void);

#endif
