// interval.h -- What a select does with an interval.
#ifndef WEFT_SYNC_INTERVAL_H
#define WEFT_SYNC_INTERVAL_H

#include <weft/interval.h>

// Takes the tick that is due: how many are left out after it. The interval is
// initialised, and now_ns is not before its next tick.
int interval_take(weft_interval *interval, int64_t now_ns);

#endif
