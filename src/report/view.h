// view.h -- What the parts of the text share: the dump, its groups, the line
// being made.
#ifndef WEFT_REPORT_VIEW_H
#define WEFT_REPORT_VIEW_H

#include <weft/dump.h>

#include "dump/model.h"
#include "report/groups.h"
#include "report/write.h"

// No line is longer than this many columns, unless weft itself counts wrong.
#define VIEW_COLUMNS 100

struct view {
    const weft_dump *dump;
    FILE *file;
    bool verbose;
    struct groups groups;
    struct str line;
    size_t hidden; // weft's own frames that were left out
};

// Writes the line out.
void view_end_line(struct view *view);

// Takes note of an error of a call that returns one.
void view_check(struct view *view, int result);

// T7 "transfer 8841": the id alone if there is no name or no room for it.
void view_add_task(struct str *str, const weft_dump *dump, uint32_t task,
                   unsigned name_columns);

// Whether a wait is for a time alone: then its deadline is what it waits for.
bool view_is_time(enum weft_wait_kind wait);

// What a person calls an object of a kind.
const char *view_object_word(enum weft_object_kind kind);

// mutex "accounts"; without a name its address; the kind only if asked for.
void view_add_object(struct str *str, const weft_dump *dump, uint32_t object,
                     bool kind, unsigned name_columns);

// scope "fetch", or, if it has no name (false), its scope: what a task leaves.
bool view_add_scope(struct str *str, const weft_dump *dump, uint32_t object,
                    unsigned name_columns);

// receive on channel "jobs", mutex "audit", T7 "worker", read on fd 9, a time
// and 3 more: what a select waits for the first of.
void view_add_choice(struct str *str, const weft_dump *dump, uint32_t index);

// write(fd 9 = socket:[88123]) for 14m 2s, or nanosleep: the system call that a
// worker sits in.
void view_add_syscall(struct str *str, const weft_dump_worker *worker);

// The same without the time.
void view_add_place(struct str *str, const weft_dump_worker *worker);

// The same without the time. `fd` may be -1, its name NULL.
void view_add_call(struct str *str, long call, int fd, const char *fd_name);

// A span of times, or one if both read alike.
void view_add_range(struct str *str, int64_t min_ns, int64_t max_ns);

// "s" unless there is one.
const char *view_plural(uint64_t count);

// text_findings.c: one finding, with an empty line after it.
void view_print_finding(struct view *view, size_t index);

// text_findings.c: the findings, with an empty line after each.
void view_print_findings(struct view *view);

// text_groups.c: the groups, with an empty line after each.
void view_print_groups(struct view *view);

// text_groups.c: the frames of a stack, and how it ends.
void view_print_stack(struct view *view, uint32_t index);

// text_threads.c: the threads that are no workers, if there are any.
void view_print_threads(struct view *view);

// text_summary.c: what stands in place of the tasks of a big group.
void view_print_summary(struct view *view, const struct group *group);

// text_summary.c: the big groups of a dump as a table.
void view_print_table(struct view *view);

// text_groups.c: what a group waits for; who started its tasks, and where.
void view_add_what(struct view *view, struct str *str,
                   const struct group *group);
void view_add_origins(struct view *view, const struct group *group);

// A group of more tasks than these is summed up.
#define VIEW_LISTED_MAX 20

#endif
