// findings.h -- What is wrong in a dump: the rules that judge it.
#ifndef WEFT_DUMP_FINDINGS_H
#define WEFT_DUMP_FINDINGS_H

#include "dump/model.h"

// Adds the findings to a dump whose edges are in, the worst first. 0 or
// -ENOMEM.
int findings_add(struct weft_dump *dump);

#endif
