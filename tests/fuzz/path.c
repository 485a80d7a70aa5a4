// path.c -- Fuzzes how the path of a source file is shown: whatever debug
// information calls a file and its directory.
//
// Input: the current directory, weft's own, the compiler's and the file, each
// ended by zero; an empty one is none.
#include "report/symbols_path.h"

#include "support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    char *current = input_text(&in), *own = input_text(&in);
    char *dir = input_text(&in), *file = input_text(&in);
    struct symbols_path paths = {.current_dir =
                                     *current ? strdup(current) : NULL};
    char *buffer = malloc(SYMBOLS_PATH_ROOM);
    bool is_own;

    must(buffer);
    symbols_path_set_own(&paths, NULL, own, "report/symbols.c");
    const char *shown =
        symbols_path_show(&paths, *dir ? dir : NULL, file, buffer, &is_own);
    must(shown == file || (shown >= buffer &&
                           shown + strlen(shown) < buffer + SYMBOLS_PATH_ROOM));
    must(strlen(shown) <= strlen(dir) + strlen(file) + 1);
    must(!is_own || strncmp(shown, "src/", 4) == 0);
    symbols_path_deinit(&paths);
    free(buffer);
    free(current);
    free(own);
    free(dir);
    free(file);
    return 0;
}
