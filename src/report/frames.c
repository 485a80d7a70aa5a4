// frames.c -- How a frame looks in text.
#include "report/frames.h"

#include <string.h>

// Where locations begin after the indent, and where a line ends at the latest.
#define LOCATION_COLUMN 30
#define LINE_COLUMNS 98

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

// "module+0xoffset", cut in the name if need be; without a module, the address.
static void add_offset(struct str *line, const weft_frame *frame,
                       unsigned columns)
{
    char offset[32];

    if (!frame->module) {
        str_addf(line, "0x%llx", (unsigned long long)frame->pc);
        return;
    }
    int length = snprintf(offset, sizeof(offset), "+0x%llx",
                          (unsigned long long)frame->offset);
    unsigned room = columns > (unsigned)length + 4 ? columns - length : 4;
    str_add_name(line, base_name(frame->module), false, room);
    str_add(line, offset);
}

void frames_add_function(struct str *line, const weft_frame *frame,
                         unsigned columns)
{
    if (frame->function)
        str_add_name(line, frame->function, false, columns);
    else
        add_offset(line, frame, columns);
}

void frames_add_location(struct str *line, const weft_frame *frame,
                         unsigned columns)
{
    struct str text;

    str_init(&text, false, line->ascii);
    if (frame->file) {
        char number[16] = "";
        if (frame->line > 0)
            snprintf(number, sizeof(number), ":%d", frame->line);
        str_add_tail(&text, frame->file, columns - strlen(number));
        str_add(&text, number);
    } else if (frame->unnamed) {
        str_add(&text, "(");
        str_add_name(&text, frame->unnamed, false,
                     columns > 4 ? columns - 2 : 4);
        str_add(&text, ")");
    } else if (frame->module) {
        str_add(&text, "in ");
        str_add_tail(&text, base_name(frame->module), columns - 3);
    }
    str_style(line, STYLE_DIM);
    str_add_str(line, &text);
    str_style(line, STYLE_PLAIN);
    str_deinit(&text);
}

void frames_add_line(struct str *line, const weft_frame *frame, unsigned indent)
{
    str_pad(line, indent, 0);
    frames_add_function(line, frame, 44);
    if (frame->inlined)
        str_add(line, " (inlined)");
    str_pad(line, indent + LOCATION_COLUMN, 1);
    frames_add_location(line, frame, LINE_COLUMNS - line->columns);
    str_add(line, "\n");
}
