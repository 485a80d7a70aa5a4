// rendezvous.h -- Where workers and those who ask for a dump meet.
#ifndef WEFT_DUMP_RENDEZVOUS_H
#define WEFT_DUMP_RENDEZVOUS_H

#include "sched/runtime.h"

// Hangs dumps onto a runtime that has not started yet. 0 or -ENOMEM.
int rendezvous_new(struct weft_runtime *runtime);

// Takes them off again, after its workers have ended; waits for dumps that
// other threads have asked for.
void rendezvous_free(struct weft_runtime *runtime);

#endif
