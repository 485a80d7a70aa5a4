// symbols_path.h -- How the path of a source file is shown.
#ifndef WEFT_REPORT_SYMBOLS_PATH_H
#define WEFT_REPORT_SYMBOLS_PATH_H

#include <stdbool.h>

enum { SYMBOLS_PATH_ROOM = 4096 };

// All zero: nothing is known.
struct symbols_path {
    char *own_root;    // weft's own sources, ".../src/", or NULL; owned
    char *current_dir; // without a slash at its end; NULL: unknown, or "/"
};

// Looks up the current directory.
void symbols_path_init(struct symbols_path *paths);

// Tells where the source file of weft, whose path ends in `tail`, lies.
void symbols_path_set_own(struct symbols_path *paths, const char *dir,
                          const char *file, const char *tail);

// A file, as the compiler that ran in `dir` (or NULL) has recorded it, as it is
// to be shown: a part of `buffer`, or `file`. *ret_own says whether it is
// weft's.
const char *symbols_path_show(const struct symbols_path *paths, const char *dir,
                              const char *file, char buffer[SYMBOLS_PATH_ROOM],
                              bool *ret_own);

void symbols_path_deinit(struct symbols_path *paths);

#endif
