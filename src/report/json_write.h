// json_write.h -- Writing a JSON document piece by piece.
//
// Commas and line breaks come by themselves: each record of a list stands on a
// line of its own, unless the document is to be compact. Text is always valid
// UTF-8: bytes that are not become U+FFFD.
#ifndef WEFT_REPORT_JSON_WRITE_H
#define WEFT_REPORT_JSON_WRITE_H

#include "report/write.h"

struct json {
    struct str str; // not yet written
    FILE *file;
    bool compact;
    bool comma; // the next value follows another
};

void json_init(struct json *json, FILE *file, bool compact);

// Writes the rest out. 0 or the first error.
int json_finish(struct json *json);

// Begins a line that is indented by `depth`. Called before a key or a value.
void json_line(struct json *json, unsigned depth);

void json_key(struct json *json, const char *key);
void json_open(struct json *json, char bracket);
void json_close(struct json *json, char bracket);
void json_null(struct json *json);
void json_bool(struct json *json, bool value);
void json_int(struct json *json, int64_t value);
void json_hex(struct json *json, uint64_t value);    // as a string
void json_text(struct json *json, const char *text); // NULL: null
void json_textf(struct json *json, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// A member whose key is of unknown origin.
void json_member(struct json *json, const char *key, const char *value);

// Microseconds of a time in nanoseconds, never negative.
void json_us(struct json *json, int64_t ns);

#endif
