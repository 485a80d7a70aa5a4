// locks.h -- Takes libweft's own locks and never gives them back.
#ifndef WEFT_OUTSIDE_LOCKS_H
#define WEFT_OUTSIDE_LOCKS_H

#include <weft/weft.h>

void take_locks(weft_runtime *runtime);

#endif
