// deliver.h -- A dump that nobody's code has asked for: text to standard error,
// JSON to a file.
#ifndef WEFT_REPORT_DELIVER_H
#define WEFT_REPORT_DELIVER_H

#include <weft/dump.h>

// Prints a dump as text, and as JSON to the file of a pattern as in
// weft_runtime_options.dump_path, unless that is NULL. What goes wrong is told
// on standard error. Any thread.
void deliver_dump(const weft_dump *dump, const char *path);

#endif
