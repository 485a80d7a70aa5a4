// json_write.c -- Writing a JSON document piece by piece.
#include "report/json_write.h"

#include <stdarg.h>
#include <string.h>

#define FLUSH_AT 32768

// The largest integer that every reader of JSON keeps exactly.
#define INT_LIMIT ((INT64_C(1) << 53) - 1)

void json_init(struct json *json, FILE *file, bool compact)
{
    *json = (struct json){.file = file, .compact = compact};
    str_init(&json->str, false, false);
}

int json_finish(struct json *json)
{
    str_add_bytes(&json->str, "\n", 1);
    str_flush(&json->str, json->file);
    str_deinit(&json->str);
    return json->str.error;
}

static void add(struct json *json, const char *text)
{
    str_add_bytes(&json->str, text, strlen(text));
}

static void before_value(struct json *json)
{
    if (json->comma)
        add(json, json->compact ? "," : ", ");
    json->comma = false;
    if (json->str.used > FLUSH_AT)
        str_flush(&json->str, json->file);
}

void json_line(struct json *json, unsigned depth)
{
    if (json->compact)
        return;
    add(json, json->comma ? ",\n" : "\n");
    json->comma = false;
    for (; depth > 0; depth--)
        add(json, " ");
}

static void add_escaped(struct json *json, const char *text)
{
    char escape[16];

    while (*text) {
        int32_t c;
        size_t length = utf8_next(text, &c);
        if (c == -1) {
            add(json, "\xef\xbf\xbd"); // U+FFFD
        } else if (c == '"' || c == '\\') {
            snprintf(escape, sizeof(escape), "\\%c", (char)c);
            add(json, escape);
        } else if (c < 0x20 || c == 0x7f) {
            snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)c);
            add(json, escape);
        } else {
            str_add_bytes(&json->str, text, length);
        }
        text += length;
    }
}

void json_key(struct json *json, const char *key)
{
    before_value(json);
    add(json, "\"");
    add(json, key);
    add(json, json->compact ? "\":" : "\": ");
}

void json_open(struct json *json, char bracket)
{
    before_value(json);
    str_add_bytes(&json->str, &bracket, 1);
}

void json_close(struct json *json, char bracket)
{
    str_add_bytes(&json->str, &bracket, 1);
    json->comma = true;
}

void json_null(struct json *json)
{
    before_value(json);
    add(json, "null");
    json->comma = true;
}

void json_bool(struct json *json, bool value)
{
    before_value(json);
    add(json, value ? "true" : "false");
    json->comma = true;
}

void json_int(struct json *json, int64_t value)
{
    char text[24];

    if (value > INT_LIMIT)
        value = INT_LIMIT;
    if (value < -INT_LIMIT)
        value = -INT_LIMIT;
    before_value(json);
    snprintf(text, sizeof(text), "%lld", (long long)value);
    add(json, text);
    json->comma = true;
}

void json_hex(struct json *json, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "0x%llx", (unsigned long long)value);
    json_text(json, text);
}

void json_text(struct json *json, const char *text)
{
    if (!text) {
        json_null(json);
        return;
    }
    before_value(json);
    add(json, "\"");
    add_escaped(json, text);
    add(json, "\"");
    json->comma = true;
}

void json_member(struct json *json, const char *key, const char *value)
{
    json_text(json, key);
    json->comma = false;
    add(json, json->compact ? ":" : ": ");
    json_text(json, value);
}

void json_textf(struct json *json, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    json_text(json, text);
}

void json_us(struct json *json, int64_t ns)
{
    json_int(json, ns > 0 ? ns / 1000 : 0);
}
