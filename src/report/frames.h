// frames.h -- How a frame looks in text.
#ifndef WEFT_REPORT_FRAMES_H
#define WEFT_REPORT_FRAMES_H

#include <weft/dump.h>

#include "report/write.h"

// The most frames that one pc is shown with.
#define FRAMES_PER_PC_MAX 64

// The function; without a name, the module and the offset in it.
void frames_add_function(struct str *line, const weft_frame *frame,
                         unsigned columns);

// "file:line", or why there is no name, or the module, or nothing.
void frames_add_location(struct str *line, const weft_frame *frame,
                         unsigned columns);

// A whole line with its end: function, then location in a column of its own.
void frames_add_line(struct str *line, const weft_frame *frame,
                     unsigned indent);

#endif
