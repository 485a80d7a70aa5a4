// rules.h -- What a runtime's findings need beyond one dump: settings, and
// how many tasks of each spawn site there were before.
#ifndef WEFT_DUMP_RULES_H
#define WEFT_DUMP_RULES_H

#include "base/lock.h"
#include "dump/model.h"
#include "sched/runtime.h"

// The least number of tasks of a spawn site since it last was a finding.
struct rules_site {
    uintptr_t pc;
    uint32_t least;
    int64_t when_ns; // wall time
};

// Shared by a runtime and its dumps, which may outlive it.
struct rules {
    atomic_u32 references;       // F1 in rules.c
    weft_finding_options limits; // whole; never changes
    struct lock lock;            // guards all below
    struct rules_site *sites;    // sorted by pc
    size_t site_count;
    int64_t newest_ns; // wall time of the newest dump in them
};

// Fills in what is zero, but for syscall_ns: then no_yield_ns counts.
void rules_set_defaults(weft_finding_options *limits);

// Whether options are within their bounds.
bool rules_check(const weft_finding_options *options);

// Hangs a rules with whole limits onto a runtime. 0 or -ENOMEM.
int rules_new(struct weft_runtime *runtime, const weft_finding_options *limits);

// Takes it off again.
void rules_free(struct weft_runtime *runtime);

// Drops one reference. NULL is allowed.
void rules_drop(struct rules *rules);

// Gives a dump a reference, the settings and the scheduler's figures. `now` is
// the meeting's, in ticks.
void rules_attach(struct weft_runtime *runtime, uint64_t now,
                  struct weft_dump *dump);

// Whether the process has threads that may wake tasks and that weft did not
// start: all but those that wait for a task themselves. Now, not at the
// meeting.
bool rules_see_outsiders(void);

#endif
