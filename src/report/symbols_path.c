// symbols_path.c -- How the path of a source file is shown.
//
// Relative to where the program runs, if the file lies there; else relative to
// where it was compiled; weft's own files from src/ on.
#include "report/symbols_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROOM = SYMBOLS_PATH_ROOM };

// Takes ".", ".." and double slashes out of an absolute path, in place.
static void normalise(char *path)
{
    char *to = path;

    for (const char *from = path; *from;) {
        size_t length = strcspn(from + 1, "/") + 1; // "/name"
        if (length == 3 && !memcmp(from, "/..", 3)) {
            while (to > path && *--to != '/')
                continue;
        } else if (length > 1 && !(length == 2 && from[1] == '.')) {
            memmove(to, from, length);
            to += length;
        }
        from += length;
    }
    *to = '\0';
}

static bool make_absolute(const char *dir, const char *file, char path[ROOM])
{
    int length = file[0] == '/' || !dir
                     ? snprintf(path, ROOM, "%s", file)
                     : snprintf(path, ROOM, "%s/%s", dir, file);

    if (length >= ROOM || path[0] != '/')
        return false;
    normalise(path);
    return true;
}

// What follows `dir` and a slash in a path; NULL if it lies elsewhere.
static const char *below(const char *path, const char *dir)
{
    size_t length = strlen(dir);

    if (strncmp(path, dir, length) != 0 || path[length] != '/')
        return NULL;
    return path + length + 1;
}

// A file that the compiler was given relative to its directory is shown
// relative to what both have in common, so "../app/bank.c" is app/bank.c.
static const char *below_common(const char *path, const char *dir,
                                const char *recorded)
{
    size_t common = 0;
    char place[ROOM];

    if (!dir || (recorded[0] == '/' && !below(recorded, dir)))
        return NULL;
    if (!make_absolute(NULL, dir, place))
        return NULL;
    for (size_t i = 0; path[i] && path[i] == place[i]; i++) {
        bool ends = place[i + 1] == '/' || place[i + 1] == '\0';
        if (ends && path[i + 1] == '/')
            common = i + 1;
    }
    return common ? path + common + 1 : NULL;
}

const char *symbols_path_show(const struct symbols_path *paths, const char *dir,
                              const char *file, char buffer[ROOM],
                              bool *ret_own)
{
    const char *shown = NULL;
    size_t root = paths->own_root ? strlen(paths->own_root) : 0;

    *ret_own = false;
    if (!make_absolute(dir, file, buffer))
        return file;
    if (root && !strncmp(buffer, paths->own_root, root)) {
        *ret_own = true;
        shown = buffer + root - strlen("src/");
    }
    if (!shown && paths->current_dir)
        shown = below(buffer, paths->current_dir);
    if (!shown)
        shown = below_common(buffer, dir, file);
    return shown ? shown : buffer;
}

void symbols_path_set_own(struct symbols_path *paths, const char *dir,
                          const char *file, const char *tail)
{
    char path[ROOM];

    if (!make_absolute(dir, file, path))
        return;
    size_t length = strlen(path), end = strlen(tail) + strlen("src/");
    if (length <= end || strcmp(path + length - strlen(tail), tail) != 0 ||
        memcmp(path + length - end, "src/", strlen("src/")) != 0)
        return;
    path[length - strlen(tail)] = '\0';
    free(paths->own_root);
    paths->own_root = strdup(path);
}

void symbols_path_init(struct symbols_path *paths)
{
    char dir[ROOM];

    *paths = (struct symbols_path){0};
    if (getcwd(dir, sizeof(dir)) && dir[0] == '/' && dir[1])
        paths->current_dir = strdup(dir);
}

void symbols_path_deinit(struct symbols_path *paths)
{
    free(paths->own_root);
    free(paths->current_dir);
}
