// json_view.h -- What the parts of the JSON document share.
#ifndef WEFT_REPORT_JSON_VIEW_H
#define WEFT_REPORT_JSON_VIEW_H

#include <weft/dump.h>

#include "dump/model.h"
#include "report/groups.h"
#include "report/json_write.h"

struct json_view {
    const weft_dump *dump;
    struct json json;
    struct groups groups;
    bool all; // every task is written

    // Program counters of all stacks, sorted, each once, and the number of the
    // first frame of each; the last is the number of frames.
    uintptr_t *pcs;
    uint32_t *first_frame;
    size_t pc_count;

    bool *listed; // by task index, unless `all`: it is written
};

// Tasks up to this number are all written, further ones as samples of groups.
#define JSON_TASKS_MAX 10000
#define JSON_SAMPLES 20

// The id of a task by its number, as a value; null if it is not in the dump.
void json_task_id(struct json_view *view, uint64_t id);

// The id of an object as a value, "m1" or "c2"; null if there is none.
void json_object_id(struct json_view *view, uint32_t object);

// json_stacks.c: the sections from modules to sites.
int json_stacks_init(struct json_view *view);
void json_stacks_deinit(struct json_view *view);
void json_modules(struct json_view *view);
void json_frames(struct json_view *view);
void json_stacks(struct json_view *view);
void json_sites(struct json_view *view);

// A place in the program {function, file, line}, or null.
void json_place(struct json_view *view, uintptr_t pc);

// The same of where a stack stands, weft's own frames left out.
void json_top(struct json_view *view, uint32_t stack);

// json_tasks.c: the sections from objects to groups.
void json_objects(struct json_view *view);
void json_workers(struct json_view *view);
void json_tasks(struct json_view *view);
void json_groups(struct json_view *view);

// json_threads.c: the threads; a system call as the value of "syscall", with
// the time spent in it, or 0 if that is not known.
void json_threads(struct json_view *view);
void json_syscall(struct json *json, long call, int fd, const char *fd_name,
                  int64_t in_call_ns);

// json_findings.c
void json_findings(struct json_view *view);

const char *json_state_name(unsigned state);
const char *json_wait_name(unsigned wait); // NULL: none

#endif
