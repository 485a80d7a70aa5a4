// output.h -- Where the command writes: standard output, or a file that is
// there whole or not at all.
#ifndef WEFT_COMMAND_OUTPUT_H
#define WEFT_COMMAND_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

struct output {
    const char *path; // NULL: standard output
    bool force;       // a file of that name is replaced
    char *draft;      // its name until it is done, or NULL: it has none yet
    int fd;
    FILE *stream; // the same, once it was asked for
};

// Begins a file; NULL or "-": standard output. 0; or -errno, of which standard
// error has been told.
int output_open(struct output *output, const char *path, bool force);

// As a stream, which is the output's. NULL: errno says why.
FILE *output_stream(struct output *output);

// Gives the file its name. As above; the draft is gone then.
int output_commit(struct output *output);

// Leaves no trace of one that was not committed; any other is closed.
void output_close(struct output *output);

#endif
