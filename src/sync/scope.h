// scope.h -- A scope as the dump must see it.
#ifndef WEFT_SYNC_SCOPE_H
#define WEFT_SYNC_SCOPE_H

#include <weft/scope.h>

#include "sync/wait.h"

// The scope whose child a task is: what a task that leaves that scope waits
// for; or 0.
uintptr_t scope_address(const struct task *task);

#endif
