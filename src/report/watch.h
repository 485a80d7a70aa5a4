// watch.h -- Dumps that a runtime takes by itself.
#ifndef WEFT_REPORT_WATCH_H
#define WEFT_REPORT_WATCH_H

#include "sched/runtime.h"

// From now on the runtime, which has not started yet, is watched, with whole
// options (settings.h). 0, -ENOMEM, -EAGAIN (no thread).
int watch_begin(struct weft_runtime *runtime,
                const weft_watch_options *options);

// Undoes that, after the runtime's threads have ended; waits for a dump in
// progress. Nothing if it is not watched.
void watch_end(struct weft_runtime *runtime);

#endif
