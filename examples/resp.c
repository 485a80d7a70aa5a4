// resp.c -- RESP: takes commands out of bytes and puts replies into bytes.
//
// A command comes as "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n", or as a line of words
// typed by a person. One that has not come whole is taken from its beginning
// the next time: strings are skipped by their length, so that costs little.
#include "resp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REPLY_MAX = 4096,
    HEADER_MAX = 32, // of a line like "$5\r\n"
};

bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

bool slice_to_integer(struct slice text, int64_t *ret_value)
{
    bool negative = text.length > 1 && text.data[0] == '-';
    int64_t value = 0;

    if (text.length == 0 || (text.length > 1 && text.data[negative] == '0'))
        return false;
    for (size_t at = negative; at < text.length; at++) {
        int digit = text.data[at] - '0';
        if (digit < 0 || digit > 9 ||
            __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return false;
    }
    *ret_value = value;
    return true;
}

void resp_reply(struct resp *resp, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int length =
        vsnprintf(resp->out + resp->out_end, REPLY_MAX, format, values);
    va_end(values);
    resp->out_end += length < REPLY_MAX ? (size_t)length : REPLY_MAX - 1;
}

void resp_error(struct resp *resp, const char *format, ...)
{
    char text[512];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    for (char *at = text; *at != '\0'; at++)
        *at = *at == '\r' || *at == '\n' ? ' ' : *at;
    resp_reply(resp, "-ERR %s\r\n", text);
}

static void append(struct resp *resp, const char *data, size_t length)
{
    memcpy(resp->out + resp->out_end, data, length);
    resp->out_end += length;
}

// Adds ":5\r\n" or "$5\r\n": printf would be the slowest part of a reply.
static void append_number(struct resp *resp, char kind, int64_t number)
{
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    char text[32];
    size_t at = sizeof(text);

    text[--at] = '\n';
    text[--at] = '\r';
    do
        text[--at] = (char)('0' + left % 10);
    while ((left /= 10) > 0);
    if (number < 0)
        text[--at] = '-';
    text[--at] = kind;
    append(resp, text + at, sizeof(text) - at);
}

void resp_reply_string(struct resp *resp, struct slice text)
{
    append_number(resp, '$', (int64_t)text.length);
    append(resp, text.data, text.length);
    append(resp, "\r\n", 2);
}

void resp_reply_integer(struct resp *resp, int64_t value)
{
    append_number(resp, ':', value);
}

struct slice resp_space(struct resp *resp)
{
    resp->in_end -= resp->in_start;
    memmove(resp->in, resp->in + resp->in_start, resp->in_end);
    resp->in_start = 0;
    return (struct slice){resp->in + resp->in_end, RESP_IN_SIZE - resp->in_end};
}

static bool complain(struct resp *resp, const char *what)
{
    resp_error(resp, "Protocol error: %s", what);
    resp->closing = true;
    return false;
}

// Takes a line such as "$5\r\n" at *at. False: it is not whole, or wrong.
static bool take_header(struct resp *resp, char **at, int64_t least,
                        int64_t most, int64_t *ret_number)
{
    char *line = *at;
    size_t left = (size_t)(resp->in + resp->in_end - line);
    char *end = memchr(line, '\n', left < HEADER_MAX ? left : HEADER_MAX);

    if (end == NULL && left < HEADER_MAX)
        return false;
    if (end == NULL || end - line < 2 || end[-1] != '\r' ||
        !slice_to_integer((struct slice){line + 1, (size_t)(end - line - 2)},
                          ret_number) ||
        *ret_number < least || *ret_number > most)
        return complain(resp, *line == '*' ? "invalid multibulk length"
                                           : "invalid bulk length");
    *at = end + 1;
    return true;
}

// Takes a string such as "$5\r\nhello\r\n" at *at as the next argument.
static bool take_string(struct resp *resp, char **at)
{
    char *start = resp->in + resp->in_start, *end = resp->in + resp->in_end;
    int64_t length, most = RESP_IN_SIZE - 2 * HEADER_MAX - (*at - start);

    if (*at == end)
        return false;
    if (**at != '$') {
        char text[] = {"expected '$', got 'x'"};
        text[sizeof(text) - 3] = **at;
        return complain(resp, text);
    }
    if (!take_header(resp, at, 0, most, &length) || end - *at < length + 2)
        return false;
    (*at)[length] = '\0';
    resp->args[resp->argc++] = (struct slice){*at, (size_t)length};
    *at += length + 2;
    return true;
}

static bool take_line(struct resp *resp, char *line)
{
    size_t left = (size_t)(resp->in + resp->in_end - line);
    char *end = memchr(line, '\n', left), *rest;

    if (end == NULL && left < RESP_LINE_SIZE)
        return false;
    if (end == NULL)
        return complain(resp, "too big inline request");
    *end = '\0';
    for (char *word = strtok_r(line, " \t\r", &rest); word != NULL;
         word = strtok_r(NULL, " \t\r", &rest)) {
        if (resp->argc == RESP_ARGS_MAX)
            return complain(resp, "too many words in inline request");
        resp->args[resp->argc++] = (struct slice){word, strlen(word)};
    }
    resp->in_start = (size_t)(end + 1 - resp->in);
    return true;
}

// Takes what stands at `in_start`: a command, or an empty one, which is none.
static bool take_command(struct resp *resp)
{
    char *at = resp->in + resp->in_start;
    int64_t count;

    resp->argc = 0;
    if (*at != '*')
        return take_line(resp, at);
    if (!take_header(resp, &at, INT64_MIN, RESP_ARGS_MAX, &count))
        return false;
    while ((int64_t)resp->argc < count) {
        if (!take_string(resp, &at))
            return false;
    }
    resp->in_start = (size_t)(at - resp->in);
    return true;
}

bool resp_next(struct resp *resp)
{
    while (!resp->closing && resp->in_start < resp->in_end) {
        if (!take_command(resp))
            return false;
        if (resp->argc > 0)
            return true;
    }
    return false;
}
