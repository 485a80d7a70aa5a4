// signal.h -- A dump on a signal: text to standard error, JSON to a file.
#ifndef WEFT_REPORT_SIGNAL_H
#define WEFT_REPORT_SIGNAL_H

#include "sched/runtime.h"

// Whether a dump_signal option makes sense: a catchable signal, 0 or -1.
bool signal_check(int number);

// From now on the signal dumps this runtime. `number` and `path` as in
// weft_runtime_options. 0, -ENOMEM, -EAGAIN (no thread).
int signal_begin(struct weft_runtime *runtime, int number, const char *path);

// Undoes that; waits for a dump in progress.
void signal_end(struct weft_runtime *runtime);

#endif
