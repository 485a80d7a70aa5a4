// words.h -- What a finding says, in words: shared by text and JSON.
#ifndef WEFT_REPORT_WORDS_H
#define WEFT_REPORT_WORDS_H

#include "dump/model.h"
#include "report/write.h"

// What is wrong, without an end: "2 tasks wait for each other".
void words_title(struct str *str, const weft_dump *dump,
                 const struct model_finding *finding);

// What to look at, without an end; nothing if there is nothing to say.
void words_hint(struct str *str, const weft_dump *dump,
                const struct model_finding *finding);

// How the task at `which` of a chain comes into it: "held by", "last sender".
const char *words_relation(const weft_dump *dump,
                           const struct model_finding *finding, uint32_t which);

// What a task is doing: "waits 12 s for mutex "pool"", "has run for 3 s on
// worker 1 (tid 71)".
void words_doing(struct str *str, const weft_dump *dump, uint32_t task);

#endif
