// tour.c -- A tour of the whole interface by one who takes nothing for granted.
//
// `tour PART` does things of every kind, goes on after each error as far as it
// makes sense, and gives everything back. Its exit status: 0, all went well; 1,
// there were errors, told on standard error; 97, something was left behind that
// no error explains; 98, the library broke its word: a result that is neither
// right nor an error. It hangs only if the library does.
#include "tour.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HAD_ERRORS = 1, LEFT_BEHIND = 97, BROKE_ITS_WORD = 98 };

static atomic_int errors;

bool went_well(int result, const char *what)
{
    if (result >= 0)
        return true;
    fprintf(stderr, "tour: %s: %s\n", what, strerror(-result));
    atomic_fetch_add(&errors, 1);
    return false;
}

void must_hold(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "tour: this must hold: %s\n", what);
    _exit(BROKE_ITS_WORD);
}

void need(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "tour: cannot have %s\n", what);
    _exit(HAD_ERRORS);
}

weft_runtime *begin_runtime(unsigned workers)
{
    weft_runtime_options options = {
        .size = sizeof options, .workers = workers, .name = "tour"};
    weft_runtime *runtime = NULL;
    int error = weft_runtime_new(&options, &runtime);

    must_hold((error == 0) == (runtime != NULL), "a runtime or an error");
    return went_well(error, "new") ? runtime : NULL;
}

void run_alone(unsigned workers, weft_task_fn *fn, void *arg)
{
    weft_runtime *runtime = begin_runtime(workers);

    if (runtime == NULL)
        return;
    went_well(weft_runtime_run(runtime, fn, arg, NULL), "run");
    must_hold(weft_runtime_free(runtime) == 0, "a runtime can be ended");
}

bool spawn(const char *name, weft_task_fn *fn, void *arg, weft_task *ret_task)
{
    weft_task_options options = {.size = sizeof options, .name = name};

    return went_well(weft_task_spawn(&options, fn, arg, ret_task), "spawn");
}

void *join(weft_task task)
{
    void *result = NULL;

    must_hold(weft_task_join(task, WEFT_NEVER, &result) == 0,
              "what was started can be joined");
    return result;
}

// ---- What is left behind ----

// Entries of a directory of the process's own.
static int count(const char *path)
{
    DIR *directory = opendir(path);
    int entries = 0;

    if (directory == NULL)
        return -1;
    while (readdir(directory) != NULL)
        entries++;
    closedir(directory);
    return entries;
}

static const char *const countable[] = {"/proc/self/fd", "/proc/self/task"};

// A thread that nobody joins may need a moment to be gone.
static void nothing_left(const char *what, int before)
{
    for (int i = 0; i < 500 && before >= 0 && count(what) > before; i++)
        usleep(10000);
    if (before < 0 || count(what) <= before)
        return;
    fprintf(stderr, "tour: %s had %d entries, and has %d\n", what, before,
            count(what));
    _exit(LEFT_BEHIND);
}

// ---- The parts ----

static const struct {
    const char *name;
    void (*go)(void);
} parts[] = {
    {"tasks", tour_tasks}, {"sync", tour_sync},   {"net", tour_net},
    {"dump", tour_dump},   {"names", tour_names}, {"signal", tour_signal},
};

int main(int argc, char **argv)
{
    int before[2];
    bool found = false;

    for (int i = 0; i < 2; i++)
        before[i] = count(countable[i]);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (argc != 2 || strcmp(argv[1], parts[i].name) != 0)
            continue;
        parts[i].go();
        found = true;
    }
    if (!found) {
        fprintf(stderr, "usage: tour PART\n");
        return EXIT_FAILURE;
    }
    for (int i = 0; i < 2; i++)
        nothing_left(countable[i], before[i]);
    printf("tour: %s: %d errors\n", argv[1], errors);
    return errors == 0 ? EXIT_SUCCESS : HAD_ERRORS;
}
