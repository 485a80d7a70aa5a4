// names.c -- Fuzzes how text of unknown origin is written: as a name in a line,
// its end in a line, a line that is folded, and a string of JSON.
//
// Input: how wide (a byte), how (a byte), and the text.
#include "report/json_write.h"

#include "support/fuzz.h"
#include "support/json_check.h"

enum { ASCII = 1, QUOTE = 2, TAIL = 4, COMPACT = 8, INDENT = 4 };

// Nothing that steers a terminal or turns the direction of writing.
static void check_harmless(const char *bytes, size_t count, bool ascii)
{
    char *text = malloc(count + 1);
    size_t at = 0;

    must(text);
    memcpy(text, bytes, count);
    text[count] = '\0';
    must(strlen(text) == count);
    while (at < count) {
        int32_t c;
        at += utf8_next(text + at, &c);
        must(c >= 0x20 && (c < 0x7f || c > 0x9f));
        must(c < 0x202a || c > 0x202e);
        must(!ascii || c < 0x7f);
    }
    free(text);
}

static void write_name(const char *text, unsigned columns, unsigned how)
{
    struct str str;

    str_init(&str, false, how & ASCII);
    if (how & TAIL)
        str_add_tail(&str, text, columns);
    else
        str_add_name(&str, text, how & QUOTE, columns);
    must(str.error == 0 && str.columns <= columns);
    if (str.used > 0)
        check_harmless(str.data, str.used, how & ASCII);
    str_deinit(&str);
}

// Every part of a line that is folded is as narrow as it is to be, and is a
// part of the text but for blanks at the cuts.
static void fold(const char *text, unsigned columns, unsigned how)
{
    struct str str;
    char *written = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&written, &size);

    must(file);
    str_init(&str, false, how & ASCII);
    str_add_name(&str, text, false, 1000);
    for (int i = 0; i < 2000 && str.columns > columns; i++)
        str_flush_part(&str, columns, INDENT, file);
    must(str.columns <= columns && str.error == 0);
    must(fclose(file) == 0);
    for (const char *line = written; *line; line += strcspn(line, "\n") + 1)
        check_harmless(line, strcspn(line, "\n"), how & ASCII);
    str_deinit(&str);
    free(written);
}

// What a string of JSON says, as UTF-8, must be the text, with U+FFFD for each
// byte that is none.
static void check_meaning(const char *json, const char *text)
{
    must(*json++ == '"');
    while (*text) {
        int32_t c, got;
        text += utf8_next(text, &c);
        size_t length = utf8_next(json, &got);
        if (got == '\\' && json[1] == 'u') {
            char digits[5] = {json[2], json[3], json[4], json[5], '\0'};
            got = (int32_t)strtol(digits, NULL, 16);
            length = 6;
        } else if (got == '\\') {
            got = json[1];
            length = 2;
        }
        must(got == (c == -1 ? 0xfffd : c));
        json += length;
    }
    must(strcmp(json, "\"\n") == 0);
}

static void write_json(const char *text, unsigned how)
{
    struct json json;
    char *written[2] = {NULL, NULL};
    size_t size[2];

    for (int i = 0; i < 2; i++) {
        FILE *file = open_memstream(&written[i], &size[i]);
        must(file);
        json_init(&json, file, how & COMPACT);
        if (i == 0) {
            json_text(&json, text);
        } else {
            json_open(&json, '{');
            json_member(&json, text, text);
            json_close(&json, '}');
        }
        must(json_finish(&json) == 0 && fclose(file) == 0);
        must(json_valid(written[i]) && strlen(written[i]) == size[i]);
    }
    check_meaning(written[0], text);
    free(written[0]);
    free(written[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    unsigned columns = 12 + (unsigned)input_number(&in, 1) % 100;
    unsigned how = (unsigned)input_number(&in, 1);
    char *text = input_text(&in);

    write_name(text, columns, how);
    fold(text, columns, how);
    write_json(text, how);
    free(text);
    return 0;
}
