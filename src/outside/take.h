// take.h -- A dump of a process that is not asked.
#ifndef WEFT_OUTSIDE_TAKE_H
#define WEFT_OUTSIDE_TAKE_H

#include "dump/model.h"
#include "outside/target.h"

// Takes a dump of the first runtime of a process that was opened; it stands
// for a part of that. 0; or -errno, with target->problem set.
int outside_take(struct target *target, struct weft_dump **ret_dump);

#endif
