// take.h -- Dumps of a process that is not asked.
#ifndef WEFT_REMOTE_TAKE_H
#define WEFT_REMOTE_TAKE_H

#include "dump/model.h"
#include "remote/target.h"
#include "sched/runtime.h"

// One of each runtime, in the order in which these were made.
struct remote_dumps {
    struct weft_dump *dumps[RUNTIMES_MAX];
    size_t count;
};

// Takes dumps of all runtimes of a process that was opened, or of those alone
// that are called `name`, all of one moment: it stands for a part of that,
// unless target->method is MODEL_UNSTOPPED. 0, and at least one dump; or
// -errno, with target->problem set, and none. They are the caller's.
int remote_take(struct target *target, const char *name,
                struct remote_dumps *ret_dumps);
void remote_free(struct remote_dumps *dumps);

#endif
