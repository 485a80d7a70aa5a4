// complete.h -- What a dump still needs once everything is captured.
#ifndef WEFT_DUMP_COMPLETE_H
#define WEFT_DUMP_COMPLETE_H

#include "dump/epoch.h"

// Adds to a captured dump where tasks are queued or run, who holds what, the
// findings, and what is known of the process. 0 or -ENOMEM.
int dump_complete(struct weft_dump *dump, const struct workshop *shop);

// The last of that, for a dump of any source that has its modules: who holds
// what, who waits for it, and findings. 0 or -ENOMEM.
int dump_judge(struct weft_dump *dump);

#endif
