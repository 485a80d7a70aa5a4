// deliver.c -- A dump that nobody's code has asked for: text to standard error,
// JSON to a file.
#include "report/deliver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/panic.h"
#include "port/port.h"

// ---- JSON to a file ----

static char *expand(const char *pattern, uint64_t dump)
{
    char *path = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&path, &size);

    if (file == NULL)
        return NULL;
    for (const char *at = pattern; *at != '\0'; at++) {
        if (at[0] != '%' || (at[1] != 'p' && at[1] != 'n' && at[1] != '%')) {
            fputc(*at, file);
            continue;
        }
        at++;
        if (*at == 'p')
            fprintf(file, "%d", (int)getpid());
        else if (*at == 'n')
            fprintf(file, "%llu", (unsigned long long)dump);
        else
            fputc('%', file);
    }
    if (fclose(file) == 0)
        return path;
    free(path);
    return NULL;
}

// Straight to a device, a pipe or whatever else is no file to be replaced.
static int write_through(const weft_dump *dump, const char *path)
{
    FILE *file = fopen(path, "we");

    if (file == NULL)
        return -errno;
    int error = weft_dump_print_json(dump, NULL, file);
    if (fclose(file) != 0 && error == 0)
        error = -EIO;
    return error;
}

static int write_json(const weft_dump *dump, const char *path)
{
    struct stat there;
    char temporary[4096];
    int size = snprintf(temporary, sizeof temporary, "%s.tmp", path);

    if (size < 0 || (size_t)size >= sizeof temporary)
        return -ENAMETOOLONG;
    bool known = lstat(path, &there) == 0;
    port_filled(&there, sizeof there);
    if (known && !S_ISREG(there.st_mode))
        return write_through(dump, path);
    int error = write_through(dump, temporary);
    if (error == 0 && rename(temporary, path) != 0)
        error = -errno;
    if (error != 0)
        (void)unlink(temporary);
    return error;
}

static void save_json(const weft_dump *dump, const char *pattern)
{
    static atomic_u64 number; // relaxed: numbers need only differ

    char *path = expand(pattern, add_relaxed(&number, 1) + 1);
    int error = path == NULL ? -ENOMEM : write_json(dump, path);
    if (error == 0)
        fprintf(stderr, "weft: the same as JSON: %s\n", path);
    else
        warn("cannot write %s: %s", path == NULL ? pattern : path,
             strerror(-error));
    free(path);
}

// ---- Text to standard error ----

static bool is_set(const char *variable)
{
    const char *value = getenv(variable);

    return value != NULL && value[0] != '\0';
}

static bool wants_color(void)
{
    const char *terminal = getenv("TERM");

    return isatty(STDERR_FILENO) && !is_set("NO_COLOR") && terminal != NULL &&
           strcmp(terminal, "dumb") != 0;
}

// By the environment, for a program need not have called setlocale.
static bool has_utf8(void)
{
    const char *locale = is_set("LC_ALL")     ? getenv("LC_ALL")
                         : is_set("LC_CTYPE") ? getenv("LC_CTYPE")
                                              : getenv("LANG");

    return locale == NULL || strcasestr(locale, "utf-8") != NULL ||
           strcasestr(locale, "utf8") != NULL;
}

void deliver_dump(const weft_dump *dump, const char *path)
{
    weft_print_options options = {
        .size = sizeof options,
        .color = wants_color(),
        .ascii = !has_utf8(),
    };
    int error = weft_dump_print_text(dump, &options, stderr);

    if (error != 0)
        warn("cannot print the dump: %s", strerror(-error));
    if (path != NULL)
        save_json(dump, path);
}
