// take.h -- A dump of a process that is not asked.
#ifndef WEFT_REMOTE_TAKE_H
#define WEFT_REMOTE_TAKE_H

#include "dump/model.h"
#include "remote/target.h"

// Takes a dump of the first runtime of a process that was opened; it stands
// for a part of that. 0; or -errno, with target->problem set.
int remote_take(struct target *target, struct weft_dump **ret_dump);

#endif
