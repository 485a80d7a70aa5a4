// resp.h -- RESP, the protocol of Redis, between two buffers of bytes.
//
// Read bytes into resp_space, add their number to `in_end`, take commands with
// resp_next until there is none, send `out`. A resp is large, but memory that
// no byte has come to is not used: let it be mapped, all zero.
#ifndef RESP_H
#define RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RESP_ARGS_MAX = 1024,      // arguments of a command, its name included
    RESP_LINE_SIZE = 64 << 10, // bytes of a command typed as a line
    RESP_IN_SIZE = 1 << 20,    // bytes of any command, so of a string
    RESP_OUT_SIZE = 2 << 20,   // bytes of replies that wait to be sent
    RESP_OUT_FULL = 1 << 19,   // send them when they are more
};

#define RESP_NONE "$-1\r\n"
#define RESP_OK "+OK\r\n"

struct slice {
    char *data;
    size_t length;
};

struct resp {
    size_t in_start, in_end, out_end;
    bool closing;                     // no further command is taken
    size_t argc;                      // the command taken last
    struct slice args[RESP_ARGS_MAX]; // a zero follows each
    char in[RESP_IN_SIZE], out[RESP_OUT_SIZE];
};

// The space for further input. Commands taken before are gone.
struct slice resp_space(struct resp *resp);

// Takes the next command into `args`; it has one argument at least. False: it
// has not come whole, or is wrong: then the error is among the replies, and
// `closing` set.
bool resp_next(struct resp *resp);

// Adds a reply, formatted as by printf, of at most 4 KiB.
__attribute__((format(printf, 2, 3))) void resp_reply(struct resp *resp,
                                                      const char *format, ...);

// Adds an error as a reply, formatted as by printf: one line, whatever comes.
__attribute__((format(printf, 2, 3))) void resp_error(struct resp *resp,
                                                      const char *format, ...);

// Adds a string as a reply.
void resp_reply_string(struct resp *resp, struct slice text);

// Adds an integer as a reply.
void resp_reply_integer(struct resp *resp, int64_t value);

bool slice_equal(struct slice a, struct slice b);

// Reads an integer, as strictly as Redis: no blanks, no zeros in front.
bool slice_to_integer(struct slice text, int64_t *ret_value);

#endif
