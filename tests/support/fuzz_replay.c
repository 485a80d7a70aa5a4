// fuzz_replay.c -- Gives a fuzz target the files of its corpus, without
// libFuzzer.
//
// The arguments are folders and files. Each file is given whole, then every
// beginning of it that is shorter, up to a few hundred, for input that stops
// short is what parsers most often get wrong. A target that finds something
// ends the process, so the file's name is printed before it. Prints TAP.
#include "support/fuzz.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>

enum { BEGINNINGS = 300 };

static char *files[10000];
static size_t file_count;

static void add(const char *folder, const char *name)
{
    if (file_count == sizeof files / sizeof *files)
        errx(EXIT_FAILURE, "too many files");
    if (asprintf(&files[file_count++], "%s%s%s", folder, *name ? "/" : "",
                 name) < 0)
        err(EXIT_FAILURE, "no memory");
}

static void collect(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry;

    if (folder == NULL && errno == ENOTDIR)
        add(path, "");
    else if (folder == NULL)
        err(EXIT_FAILURE, "%s", path);
    while (folder != NULL && (entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.')
            add(path, entry->d_name);
    if (folder != NULL)
        closedir(folder);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static uint8_t *load(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "re");
    uint8_t *bytes = malloc(FUZZ_ROOM);

    if (file == NULL || bytes == NULL)
        err(EXIT_FAILURE, "%s", path);
    *ret_size = fread(bytes, 1, FUZZ_ROOM, file);
    if (ferror(file) || !feof(file))
        errx(EXIT_FAILURE, "%s: cannot be read, or is too long", path);
    fclose(file);
    return bytes;
}

// In memory of just that size, so that AddressSanitizer sees its end.
static void give(const uint8_t *bytes, size_t size)
{
    uint8_t *exact = malloc(size);

    must(size == 0 || exact);
    if (size > 0)
        memcpy(exact, bytes, size);
    must(LLVMFuzzerTestOneInput(exact, size) == 0);
    free(exact);
}

static void replay(const char *path)
{
    size_t size;
    uint8_t *bytes = load(path, &size);
    size_t step = size / BEGINNINGS + 1;

    give(bytes, size);
    for (size_t part = 0; part < size; part += step)
        give(bytes, part);
    free(bytes);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        collect(argv[i]);
    qsort(files, file_count, sizeof *files, by_name);
    printf("1..%zu\n", file_count);
    for (size_t i = 0; i < file_count; i++) {
        const char *name = strrchr(files[i], '/');
        printf("# %s\n", files[i]);
        fflush(stdout);
        replay(files[i]);
        printf("ok %zu - %s\n", i + 1, name ? name + 1 : files[i]);
        free(files[i]);
    }
    return file_count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
