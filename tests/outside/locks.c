// locks.c -- Takes libweft's own locks and never gives them back.
#include "sched/runtime.h"

#include "locks.h"

void take_locks(weft_runtime *runtime)
{
    lock_acquire(&runtime->table.lock);
    lock_acquire(&runtime->blocking.lock);
    lock_acquire(&runtime->inject.lock);
}
