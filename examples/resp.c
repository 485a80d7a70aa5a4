// resp.c -- RESP: takes commands out of bytes and puts replies into bytes.
//
// A command comes as "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n", or in a line of words
// typed by a person. One that has not come whole is read from its beginning
// the next time: strings are skipped by their length, so that costs little.
#include "resp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX 4096

bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

bool slice_to_integer(struct slice text, int64_t *ret_value)
{
    size_t at = text.length > 1 && text.data[0] == '-';
    bool negative = at > 0;
    int64_t value = 0;

    if (text.length == 0 || (text.length > 1 && text.data[at] == '0'))
        return false;
    for (; at < text.length; at++) {
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
    int length = vsnprintf(resp->out + resp->out_end, LINE_MAX, format, values);
    va_end(values);
    resp->out_end += length < LINE_MAX ? (size_t)length : LINE_MAX - 1;
}

// The line before a string: what resp_reply would print, but much faster.
static void reply_length(struct resp *resp, size_t length)
{
    char digits[24];
    size_t at = sizeof(digits);
    do
        digits[--at] = (char)('0' + length % 10);
    while ((length /= 10) > 0);
    digits[--at] = '$';
    memcpy(resp->out + resp->out_end, digits + at, sizeof(digits) - at);
    resp->out_end += sizeof(digits) - at;
}

void resp_reply_string(struct resp *resp, struct slice text)
{
    reply_length(resp, text.length);
    char *end = mempcpy(resp->out + resp->out_end, "\r\n", 2);
    end = mempcpy(end, text.data, text.length);
    end = mempcpy(end, "\r\n", 2);
    resp->out_end = (size_t)(end - resp->out);
}

struct slice resp_space(struct resp *resp)
{
    resp->in_end -= resp->in_start;
    memmove(resp->in, resp->in + resp->in_start, resp->in_end);
    resp->in_start = 0;
    return (struct slice){resp->in + resp->in_end, RESP_IN_SIZE - resp->in_end};
}

__attribute__((format(printf, 2, 3))) static bool complain(struct resp *resp,
                                                           const char *format,
                                                           ...)
{
    char text[128];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    resp_reply(resp, "-ERR Protocol error: %s\r\n", text);
    resp->broken = true;
    return false;
}

// Takes a line such as "$5\r\n" at *at: its number, and what follows it.
static bool take_number(struct resp *resp, char **at, int64_t least,
                        int64_t most, int64_t *ret_number)
{
    char *line = *at, *end = resp->in + resp->in_end;
    const char *what = line[0] == '*' ? "multibulk" : "bulk";
    size_t left = (size_t)(end - line);

    end = memchr(line, '\n', left < 32 ? left : 32);
    if (end == NULL && left < 32)
        return false;
    if (end == NULL || end - line < 2 || end[-1] != '\r' ||
        !slice_to_integer((struct slice){line + 1, (size_t)(end - line - 2)},
                          ret_number) ||
        *ret_number < least || *ret_number > most)
        return complain(resp, "invalid %s length", what);
    *at = end + 1;
    return true;
}

// Takes a string such as "$5\r\nhello\r\n" at *at as the next argument.
static bool take_string(struct resp *resp, char **at)
{
    char *start = resp->in + resp->in_start, *end = resp->in + resp->in_end;
    int64_t length, most = RESP_IN_SIZE - 64 - (*at - start);

    if (*at == end)
        return false;
    if (**at != '$')
        return complain(resp, "expected '$', got '%c'",
                        **at >= ' ' && **at <= '~' ? **at : '?');
    if (!take_number(resp, at, 0, most, &length) || end - *at < length + 2)
        return false;
    if ((*at)[length] == '\r')
        (*at)[length] = '\0';
    if (memcmp(*at + length, "\0\n", 2) != 0)
        return complain(resp, "a string does not end where it says");
    resp->args[resp->argc++] = (struct slice){*at, (size_t)length};
    *at += length + 2;
    return true;
}

static bool take_words(struct resp *resp, char *line)
{
    size_t left = (size_t)(resp->in + resp->in_end - line);
    char *end = memchr(line, '\n', left), *rest;

    if (end == NULL && left < RESP_IN_SIZE / 2)
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

bool resp_next(struct resp *resp)
{
    char *at = resp->in + resp->in_start;
    int64_t count;

    resp->argc = 0;
    if (resp->broken || resp->in_start == resp->in_end)
        return false;
    if (*at != '*')
        return take_words(resp, at);
    if (!take_number(resp, &at, INT64_MIN, RESP_ARGS_MAX, &count))
        return false;
    while ((int64_t)resp->argc < count) {
        if (!take_string(resp, &at))
            return false;
    }
    resp->in_start = (size_t)(at - resp->in);
    return true;
}
