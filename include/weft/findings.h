// findings.h -- What dumps look for, and dumps that a runtime takes by itself.
//
// A finding is a rule's verdict about a dump: what is wrong, who is concerned,
// how sure that is, and what to look at. The options below go into
// weft_runtime_options. Where they leave a field zero, the environment decides:
// WEFT_FINDINGS is a list of settings, separated by commas, such as
// "stall=off,ready_ns=5s,growth_tasks=50000": a rule's name (deadlock,
// all-asleep, stall, lost-peer, syscall, no-yield, ready, stack, growth) with
// "off" or "on", or a field below, or no_yield_ns, with its value; times take a
// unit (ns, us, ms, s, m, h). WEFT_WATCH does the same for the watch. What
// cannot be understood there is told on standard error, and ignored.
#ifndef WEFT_FINDINGS_H
#define WEFT_FINDINGS_H

#include <weft/dump.h>

WEFT_BEGIN

// The bit of a rule in `rules_off`.
#define WEFT_RULE_BIT(rule) (UINT32_C(1) << (rule))

// When a rule speaks. Zero means the default; what is out of bounds makes
// weft_runtime_new return -EINVAL.
typedef struct weft_finding_options {
    size_t size;        // sizeof(weft_finding_options)
    uint32_t rules_off; // rules that do not speak: WEFT_RULE_BITs
    // All asleep: for this long no task was woken. Default 1 s.
    int64_t asleep_ns;
    // Stall: at least so many tasks (default 10) wait for one object, and for
    // so long (default 10 s) none of them got it.
    uint32_t stall_waiters;
    int64_t stall_ns;
    // Lost peer: a task has waited for this long on a channel whose other side
    // has ended. Default 10 s.
    int64_t lost_peer_ns;
    // Worker in a system call: for this long. Default: no_yield_ns.
    int64_t syscall_ns;
    // Ready, not run: for this long (default 1 s), and for this many times
    // (default 10) what the run queue's length and the mean run time of tasks
    // would let expect. Time in which the machine itself stood still does not
    // count.
    int64_t ready_ns;
    uint32_t ready_factor;
    // Stack nearly full: more than this share of it is in use. Default 87; at
    // most 99.
    uint32_t stack_percent;
    // Growth: at least so many tasks (default 10,000) started at one place are
    // alive, and so many percent more (default 25) than at a dump before.
    uint32_t growth_tasks;
    uint32_t growth_percent;
} weft_finding_options;

// Called with a dump that has findings; it is given back after the call.
typedef void weft_watch_fn(const weft_dump *dump, void *arg);

// A watch takes dumps by itself and hands out those with findings: to a
// function, or else as with dump_signal: text to standard error, JSON to a
// file.
//
// A dump costs time, so the watch looks only at a sign that something may be
// wrong, which the watchdog sees without looking at tasks: a task has kept its
// worker for no_yield_ns; tasks are queued and none was run for ready_ns; all
// workers sleep though tasks live and no timer is armed. Some faults give no
// such sign, such as a deadlock of two tasks among others that go on: for these
// set `period_ns`, and it looks at that interval, too. A look is a dump
// (weft_dump_take says what that costs), by a thread of the watch's own.
typedef struct weft_watch_options {
    size_t size; // sizeof(weft_watch_options)
    // The mildest finding that counts. Default (zero): errors alone.
    enum weft_severity severity;
    // At most one dump is handed out in this time. Default 1 min. One with
    // the same findings as the last is not handed out again.
    int64_t every_ns;
    // At most one look at a sign in this time; after a look that found nothing
    // twice as long, up to 16 times. Default 10 s.
    int64_t look_ns;
    // Looks without a sign, too, this often. Default 0: never.
    int64_t period_ns;
    // The file for the JSON, as dump_path. Default NULL: none. Copied.
    const char *path;
    // In place of text and JSON; in a thread of weft's own, which runs no
    // task. It may not end the runtime.
    weft_watch_fn *fn;
    void *arg;
} weft_watch_options;

// A rule's name, as in JSON and in the environment; NULL: no such rule. May be
// called by anyone. Does not park.
WEFT_API const char *weft_rule_name(enum weft_rule rule);

WEFT_END

#endif
