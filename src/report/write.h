// write.h -- Lines in the making: text that knows how wide it is.
//
// A `struct str` is a string that grows at its end and counts the columns that
// a terminal needs for it. What the program being dumped has chosen itself,
// names above all, goes in by str_add_name alone, which lets nothing through
// that could steer a terminal. An error (-ENOMEM, or of writing) sticks, and
// makes every later call do nothing.
#ifndef WEFT_REPORT_WRITE_H
#define WEFT_REPORT_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct str {
    char *data; // not ended by zero
    size_t used, room;
    unsigned columns;
    int error;
    bool color;
    bool ascii;
};

enum style {
    STYLE_PLAIN,
    STYLE_ERROR,
    STYLE_WARNING,
    STYLE_NAME,
    STYLE_DIM,
};

void str_init(struct str *str, bool color, bool ascii);
void str_deinit(struct str *str);
void str_clear(struct str *str);

// Text of weft's own, in UTF-8; in ASCII mode the few signs beyond it that the
// text of a dump uses are replaced.
void str_add(struct str *str, const char *text);
void str_add_bytes(struct str *str, const char *bytes, size_t count);
void str_addf(struct str *str, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Text of unknown origin: control characters, invalid bytes and what changes
// the direction of writing are shown as escapes, and with `quote` the quote and
// the backslash too. At most `columns` columns wide; a cut shows as an ellipsis
// at the end, or with `keep_end` at the front.
void str_add_name(struct str *str, const char *name, bool quote,
                  unsigned columns);
void str_add_tail(struct str *str, const char *name, unsigned columns);

// Another string as it is.
void str_add_str(struct str *str, const struct str *other);

// Blanks up to a column; at least `least` of them.
void str_pad(struct str *str, unsigned column, unsigned least);
void str_style(struct str *str, enum style style);

// A span of time in two units; a count with thousands separated; bytes.
void str_add_time(struct str *str, int64_t ns);
void str_add_count(struct str *str, uint64_t count);
void str_add_bytes_size(struct str *str, uint64_t bytes);

// Writes all to a file and clears the string.
void str_flush(struct str *str, FILE *file);

// Writes as much of a line as fits in `columns`, up to a blank if there is one
// past `indent`; the rest stays, moved to `indent`, at most as wide as before.
void str_flush_part(struct str *str, unsigned columns, unsigned indent,
                    FILE *file);

// The next character of a UTF-8 text that ends with zero: its length in bytes.
// An invalid byte is given as a character of length 1 and *ret_char = -1.
size_t utf8_next(const char *text, int32_t *ret_char);

#endif
