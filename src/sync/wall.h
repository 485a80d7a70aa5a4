// wall.h -- When a time of the wall clock is expected.
#ifndef WEFT_SYNC_WALL_H
#define WEFT_SYNC_WALL_H

#include <stdint.h>

// The moment at which the wall clock will show a time unless it is set:
// monotonic, WEFT_NEVER for WEFT_NEVER. In the past if it shows it already.
int64_t wall_deadline(int64_t until_ns);

#endif
