// write.c -- Lines in the making: text that knows how wide it is.
#include "report/write.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void str_init(struct str *str, bool color, bool ascii)
{
    *str = (struct str){.color = color, .ascii = ascii};
}

void str_deinit(struct str *str)
{
    free(str->data);
}

void str_clear(struct str *str)
{
    str->used = 0;
    str->columns = 0;
}

static bool make_room(struct str *str, size_t count)
{
    if (str->error)
        return false;
    if (str->room - str->used >= count)
        return true;
    size_t room = str->room ? 2 * str->room : 256;

    while (room - str->used < count)
        room *= 2;
    char *data = realloc(str->data, room);
    if (!data) {
        str->error = -ENOMEM;
        return false;
    }
    str->data = data;
    str->room = room;
    return true;
}

void str_add_bytes(struct str *str, const char *bytes, size_t count)
{
    if (!count || !make_room(str, count))
        return;
    memcpy(str->data + str->used, bytes, count);
    str->used += count;
}

// ---- Characters. ----

static bool continues(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

size_t utf8_next(const char *text, int32_t *ret_char)
{
    static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)text[0];
    size_t length = first < 0x80             ? 1
                    : (first & 0xe0) == 0xc0 ? 2
                    : (first & 0xf0) == 0xe0 ? 3
                    : (first & 0xf8) == 0xf0 ? 4
                                             : 0;
    int32_t c = length == 1 ? first : first & (0x7f >> length);

    *ret_char = -1;
    if (!length)
        return 1;
    for (size_t i = 1; i < length; i++) {
        if (!continues(text[i])) // the zero at the end among others
            return 1;
        c = c << 6 | (text[i] & 0x3f);
    }
    if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 1;
    *ret_char = c;
    return length;
}

struct range {
    int32_t first, last;
};

static bool among(int32_t c, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

#define AMONG(c, ranges) among(c, ranges, sizeof(ranges) / sizeof(*(ranges)))

// Steers the terminal, turns the direction of writing, or cannot be seen.
static bool is_unsafe(int32_t c)
{
    static const struct range unsafe[] = {
        {-1, 0x1f},          {0x7f, 0x9f},     {0xad, 0xad},
        {0x61c, 0x61c},      {0x180e, 0x180e}, {0x200b, 0x200f},
        {0x2028, 0x202e},    {0x2060, 0x206f}, {0xfe00, 0xfe0f},
        {0xfeff, 0xfeff},    {0xfff0, 0xfffb}, {0xe000, 0xf8ff},
        {0xe0000, 0x10ffff},
    };

    return AMONG(c, unsafe);
}

static unsigned width_of(int32_t c)
{
    static const struct range none[] = {
        {0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},
        {0x610, 0x61a},   {0x64b, 0x65f},   {0x1ab0, 0x1aff},
        {0x1dc0, 0x1dff}, {0x20d0, 0x20ff}, {0xfe20, 0xfe2f},
    };
    static const struct range two[] = {
        {0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},
        {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},
        {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x1f300, 0x1f64f},
        {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
    };

    if (c < 0x300)
        return 1;
    return AMONG(c, none) ? 0 : AMONG(c, two) ? 2 : 1;
}

// What stands in ASCII for the signs that a dump's text uses.
static const char *ascii_for(int32_t c)
{
    static const struct {
        int32_t c;
        const char *text;
    } signs[] = {
        {0xd7, "x"},                   // times
        {0xb7, "|"},                   // middle dot
        {0xb5, "u"},                   // micro
        {0x2013, "-"},                 // dash
        {0x2026, ".."},                // ellipsis
        {0x2192, "->"},                // arrow
        {0x2265, ">="}, {0x2500, "-"}, // lines
        {0x2502, "|"},  {0x250c, "/"}, {0x2514, "\\"},
        {0x251c, "|"},  {0x2588, "#"}, // block
        {0x25b6, ">"},                 // arrow head
        {0x25b2, "!"},                 // warning
        {0x25cf, "*"},                 // information
        {0x2716, "x"},                 // error
    };

    for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++)
        if (signs[i].c == c)
            return signs[i].text;
    return "?";
}

// ---- Text of weft's own. ----

static void add_sign(struct str *str, const char *at, size_t length, int32_t c)
{
    if (c >= 0x80 && str->ascii) {
        const char *text = ascii_for(c);
        str_add_bytes(str, text, strlen(text));
        str->columns += strlen(text);
        return;
    }
    str_add_bytes(str, at, length);
    str->columns += width_of(c);
}

void str_add(struct str *str, const char *text)
{
    while (*text) {
        int32_t c;
        size_t length = utf8_next(text, &c);
        add_sign(str, text, length, c);
        if (c == '\n')
            str->columns = 0;
        text += length;
    }
}

void str_addf(struct str *str, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    str_add(str, text);
}

void str_add_str(struct str *str, const struct str *other)
{
    if (other->error)
        str->error = other->error;
    str_add_bytes(str, other->data, other->used);
    str->columns += other->columns;
}

void str_pad(struct str *str, unsigned column, unsigned least)
{
    for (; least || str->columns<column; least -= least> 0) {
        str_add_bytes(str, " ", 1);
        str->columns++;
        if (str->error)
            return;
    }
}

void str_style(struct str *str, enum style style)
{
    static const char *const codes[] = {
        [STYLE_PLAIN] = "\033[0m",    [STYLE_ERROR] = "\033[31m",
        [STYLE_WARNING] = "\033[33m", [STYLE_NAME] = "\033[1m",
        [STYLE_DIM] = "\033[2m",
    };

    if (str->color)
        str_add_bytes(str, codes[style], strlen(codes[style]));
}

// ---- Text of unknown origin. ----

// One character as it may be shown, in at most 10 bytes; its columns.
static unsigned show_char(const struct str *str, const char *at, size_t length,
                          int32_t c, bool quote, char shown[16])
{
    if (c == -1)
        return snprintf(shown, 16, "\\x%02x", (unsigned char)*at);
    if (c == '\n' || c == '\t' || c == '\r')
        return snprintf(shown, 16, "\\%c",
                        c == '\n'   ? 'n'
                        : c == '\t' ? 't'
                                    : 'r');
    if (quote && (c == '"' || c == '\\'))
        return snprintf(shown, 16, "\\%c", (char)c);
    if (c < 0x80 && is_unsafe(c))
        return snprintf(shown, 16, "\\x%02x", (unsigned)c);
    if (is_unsafe(c) || (c >= 0x80 && str->ascii))
        return snprintf(shown, 16, "\\u{%x}", (unsigned)c);
    memcpy(shown, at, length);
    shown[length] = '\0';
    return width_of(c);
}

static unsigned shown_width(const struct str *str, const char *name, bool quote)
{
    unsigned width = 0;

    // A name is short, a lie about its length is not: stop somewhere.
    while (*name && width < 4096) {
        int32_t c;
        char shown[16];
        size_t length = utf8_next(name, &c);
        width += show_char(str, name, length, c, quote, shown);
        name += length;
    }
    return width;
}

static unsigned ellipsis_width(const struct str *str)
{
    return str->ascii ? 2 : 1;
}

void str_add_name(struct str *str, const char *name, bool quote,
                  unsigned columns)
{
    bool cut = shown_width(str, name, quote) > columns;
    unsigned end = columns - (cut ? ellipsis_width(str) : 0);
    unsigned width = 0;

    while (*name) {
        int32_t c;
        char shown[16];
        size_t length = utf8_next(name, &c);
        unsigned more = show_char(str, name, length, c, quote, shown);
        if (width + more > end)
            break;
        str_add_bytes(str, shown, strlen(shown));
        width += more;
        name += length;
    }
    str->columns += width;
    if (cut)
        str_add(str, "…");
}

void str_add_tail(struct str *str, const char *name, unsigned columns)
{
    unsigned width = shown_width(str, name, false);

    if (width <= columns) {
        str_add_name(str, name, false, columns);
        return;
    }
    while (*name && width > columns - ellipsis_width(str)) {
        int32_t c;
        char shown[16];
        size_t length = utf8_next(name, &c);
        width -= show_char(str, name, length, c, false, shown);
        name += length;
    }
    // Of a path, whole parts, if there is one.
    const char *part = strchr(name, '/');
    str_add(str, "…");
    str_add_name(str, part ? part : name, false, columns - ellipsis_width(str));
}

// ---- Figures. ----

static void add_tenths(struct str *str, int64_t tenths, const char *unit)
{
    str_addf(str, "%lld", (long long)(tenths / 10));
    if (tenths % 10)
        str_addf(str, ".%d", (int)(tenths % 10));
    str_addf(str, " %s", unit);
}

static void add_hundredths(struct str *str, int64_t hundredths,
                           const char *unit)
{
    if (hundredths % 10)
        str_addf(str, "0.%02d %s", (int)hundredths, unit);
    else
        add_tenths(str, hundredths / 10, unit);
}

static void add_two(struct str *str, int64_t count, int64_t per, char big,
                    char small)
{
    str_addf(str, "%lld%c", (long long)(count / per), big);
    if (count % per)
        str_addf(str, " %lld%c", (long long)(count % per), small);
}

// A span in units of `unit` nanoseconds, to the nearest.
static int64_t in_units(int64_t ns, int64_t unit)
{
    return ns / unit + (ns % unit >= unit / 2);
}

#define US INT64_C(1000)
#define MS (1000 * US)
#define SEC (1000 * MS)

void str_add_time(struct str *str, int64_t ns)
{
    if (ns < US)
        str_add(str, "0 ms");
    else if (ns < 10 * US)
        str_add(str, "<0.01 ms");
    else if (in_units(ns, 10 * US) < 100)
        add_hundredths(str, in_units(ns, 10 * US), "ms");
    else if (in_units(ns, 100 * US) < 100)
        add_tenths(str, in_units(ns, 100 * US), "ms");
    else if (in_units(ns, MS) < 1000)
        str_addf(str, "%d ms", (int)in_units(ns, MS));
    else if (in_units(ns, 100 * MS) < 600)
        add_tenths(str, in_units(ns, 100 * MS), "s");
    else if (in_units(ns, SEC) < 3600)
        add_two(str, in_units(ns, SEC), 60, 'm', 's');
    else if (in_units(ns, 60 * SEC) < 1440)
        add_two(str, in_units(ns, 60 * SEC), 60, 'h', 'm');
    else
        add_two(str, in_units(ns, 3600 * SEC), 24, 'd', 'h');
}

void str_add_count(struct str *str, uint64_t count)
{
    if (count < 1000) {
        str_addf(str, "%u", (unsigned)count);
        return;
    }
    str_add_count(str, count / 1000);
    str_addf(str, ",%03u", (unsigned)(count % 1000));
}

void str_add_bytes_size(struct str *str, uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    uint64_t tenths = bytes * 10;
    int unit = -1;

    if (bytes < 10240 || bytes > UINT64_MAX / 10) {
        str_add_count(str, bytes);
        str_add(str, " B");
        return;
    }
    do {
        tenths /= 1024;
        unit++;
    } while (tenths >= 10240 && unit < 4);
    if (tenths >= 1000)
        tenths -= tenths % 10;
    add_tenths(str, (int64_t)tenths, units[unit]);
}

void str_flush(struct str *str, FILE *file)
{
    if (!str->error && str->used) {
        if (fwrite(str->data, 1, str->used, file) != str->used)
            str->error = errno > 0 ? -errno : -EIO;
    }
    str_clear(str);
}

// The end of a terminal code or character that begins at `at`; its columns.
static size_t step(const struct str *str, size_t at, unsigned *ret_columns)
{
    int32_t c;
    char text[5] = "";
    size_t left = str->used - at;

    *ret_columns = 0;
    if (str->data[at] == '\033') {
        const char *end = memchr(str->data + at, 'm', left);
        return end ? (size_t)(end - str->data) + 1 : str->used;
    }
    memcpy(text, str->data + at, left < 4 ? left : 4);
    at += utf8_next(text, &c);
    *ret_columns = width_of(c);
    return at;
}

void str_flush_part(struct str *str, unsigned columns, unsigned indent,
                    FILE *file)
{
    size_t at = 0, cut = 0;
    unsigned used = 0, cut_columns = 0, more;
    struct str rest;

    while (at < str->used) {
        size_t next = step(str, at, &more);
        if (used + more > columns)
            break;
        if (str->data[at] == ' ' && used > indent) {
            cut = at;
            cut_columns = used;
        }
        at = next;
        used += more;
    }
    if (cut == 0) {
        cut = at;
        cut_columns = used;
    }
    str_init(&rest, str->color, str->ascii);
    str_pad(&rest, indent, 0);
    unsigned blanks = 0; // those at the cut vanish
    while (cut + blanks < str->used && str->data[cut + blanks] == ' ')
        blanks++;
    str_add_bytes(&rest, str->data + cut + blanks, str->used - cut - blanks);
    rest.columns += str->columns - cut_columns - blanks;
    str->used = cut;
    str_add_bytes(str, "\n", 1);
    str_flush(str, file);
    str_add_str(str, &rest);
    str_deinit(&rest);
}
