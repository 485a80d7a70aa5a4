// json_check.h -- Whether a text is one JSON document, by the letter of RFC
// 8259.
#ifndef TESTS_SUPPORT_JSON_CHECK_H
#define TESTS_SUPPORT_JSON_CHECK_H

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "report/write.h"

enum { JSON_DEPTH_MAX = 64 };

// Moves *at behind what it finds; false: it is not there.
typedef bool json_part(const char **at, int depth);

static inline void json_blanks(const char **at)
{
    *at += strspn(*at, " \t\r\n");
}

static inline bool json_sign(const char **at, char sign)
{
    json_blanks(at);
    if (**at != sign)
        return false;
    (*at)++;
    return true;
}

static inline bool json_escape(const char **at)
{
    char kind = *++*at;

    (*at)++;
    if (kind != 'u')
        return kind != '\0' && strchr("\"\\/bfnrt", kind) != NULL;
    for (int i = 0; i < 4; i++)
        if (!isxdigit((unsigned char)*(*at)++))
            return false;
    return true;
}

static inline bool json_string(const char **at, int depth)
{
    (void)depth;
    if (!json_sign(at, '"'))
        return false;
    while (**at != '"') {
        int32_t c;
        size_t length = utf8_next(*at, &c);
        if (c < 0x20) // a control character, no character, or the end
            return false;
        if (c != '\\')
            *at += length;
        else if (!json_escape(at))
            return false;
    }
    (*at)++;
    return true;
}

static inline bool json_digits(const char **at)
{
    size_t count = strspn(*at, "0123456789");

    *at += count;
    return count > 0;
}

static inline bool json_number(const char **at)
{
    *at += **at == '-';
    if (**at == '0')
        (*at)++;
    else if (!json_digits(at))
        return false;
    if (**at == '.' && (++*at, !json_digits(at)))
        return false;
    if (**at != 'e' && **at != 'E')
        return true;
    (*at)++;
    *at += **at == '-' || **at == '+';
    return json_digits(at);
}

static inline bool json_word(const char **at, const char *word)
{
    if (strncmp(*at, word, strlen(word)) != 0)
        return false;
    *at += strlen(word);
    return true;
}

static inline bool json_value(const char **at, int depth);

static inline bool json_pair(const char **at, int depth)
{
    return json_string(at, depth) && json_sign(at, ':') &&
           json_value(at, depth);
}

static inline bool json_list(const char **at, int depth, char end,
                             json_part *part)
{
    (*at)++;
    if (json_sign(at, end))
        return true;
    do {
        if (!part(at, depth + 1))
            return false;
    } while (json_sign(at, ','));
    return json_sign(at, end);
}

static inline bool json_value(const char **at, int depth)
{
    json_blanks(at);
    if (depth > JSON_DEPTH_MAX)
        return false;
    switch (**at) {
    case '{':
        return json_list(at, depth, '}', json_pair);
    case '[':
        return json_list(at, depth, ']', json_value);
    case '"':
        return json_string(at, depth);
    case 't':
        return json_word(at, "true");
    case 'f':
        return json_word(at, "false");
    case 'n':
        return json_word(at, "null");
    default:
        return json_number(at);
    }
}

// The whole of a text that ends with zero is one document.
static inline bool json_valid(const char *text)
{
    if (!json_value(&text, 0))
        return false;
    json_blanks(&text);
    return *text == '\0';
}

#endif
