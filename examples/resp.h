// resp.h -- RESP, the protocol of Redis, between two buffers of bytes.
//
// The caller reads into the space that resp_space gives, takes commands with
// resp_next until there is none, and sends what the replies put into `out`. A
// resp is large but needs no more memory than bytes came: let it be mapped.
#ifndef RESP_H
#define RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RESP_ARGS_MAX = 1024,    // arguments of a command, its name included
    RESP_IN_SIZE = 1 << 20,  // bytes of a command, so of an argument too
    RESP_OUT_SIZE = 2 << 20, // bytes of replies that wait to be sent
};

#define RESP_NOT_AN_INTEGER "-ERR value is not an integer or out of range\r\n"

struct slice {
    char *data; // a zero follows, whatever is inside
    size_t length;
};

struct resp {
    size_t in_start, in_end, out_end;
    bool broken; // the other end breaks the protocol: reply, then close
    size_t argc; // the command taken last
    struct slice args[RESP_ARGS_MAX];
    char in[RESP_IN_SIZE], out[RESP_OUT_SIZE];
};

// The free space for further input. Commands taken before are gone.
struct slice resp_space(struct resp *resp);

// Takes the next command into `args`. False: it has not come whole, or it is
// no command, and `broken` is set.
bool resp_next(struct resp *resp);

// Adds a reply, formatted as by printf; 4 KiB are the most.
__attribute__((format(printf, 2, 3))) void resp_reply(struct resp *resp,
                                                      const char *format, ...);

// Adds a string as a reply. `out` must have room for it; while it is not half
// full, there is room for any string that came in a command.
void resp_reply_string(struct resp *resp, struct slice text);

bool slice_equal(struct slice a, struct slice b);

// Reads an integer, as strictly as Redis: no blanks, no zeros in front.
bool slice_to_integer(struct slice text, int64_t *ret_value);

#endif
