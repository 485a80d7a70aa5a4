// panic.h -- Misuse and impossible states: say what, and end the process.
#ifndef WEFT_BASE_PANIC_H
#define WEFT_BASE_PANIC_H

#include <stdbool.h>

// Prints "weft: MESSAGE" to standard error and aborts.
_Noreturn void panic(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

// Prints "weft: MESSAGE" to standard error.
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

// A law that holds if weft is right: checked in release builds too.
#define ensure(condition)                                                      \
    do {                                                                       \
        if (__builtin_expect(!(condition), 0))                                 \
            panic("%s:%d: broken law: %s", __FILE__, __LINE__, #condition);    \
    } while (0)

#endif
