// complete.h -- What a dump still needs once the world runs on.
#ifndef WEFT_DUMP_COMPLETE_H
#define WEFT_DUMP_COMPLETE_H

#include "dump/model.h"

// Adds to a captured dump who waits for and holds what, the findings, and what
// is known of the process. Any thread; the first call does it, the others see
// it done. 0 or -ENOMEM.
int dump_complete(struct weft_dump *dump);

#endif
