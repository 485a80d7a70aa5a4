// panic.c -- Misuse and impossible states: say what, and end the process.
#include "base/panic.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// One write, so that lines of threads that fail together stay whole.
static void say(const char *format, va_list args)
{
    char line[512] = "weft: ";
    size_t at = 6;
    int more = vsnprintf(line + at, sizeof line - at - 1, format, args);

    at += more < 0 ? 0 : (size_t)more;
    if (at > sizeof line - 2)
        at = sizeof line - 2;
    line[at] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, at + 1);
    (void)ignored;
}

void warn(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(format, args);
    va_end(args);
}

_Noreturn void panic(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(format, args);
    va_end(args);
    abort();
}
