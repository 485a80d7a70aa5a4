// local.c -- Task-local storage: what a function far down says, it says with
// the name of the request it works for, and nobody handed that name down.
//
// Prints: request 1: parsed, stored
//         request 2: parsed, stored
//         request 3: parsed, stored
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

enum { REQUESTS = 3, LINE = 64 };

// Freed when the task ends.
static weft_local journal = WEFT_LOCAL_INIT(free);

static void say(const char *what)
{
    char *line = weft_local_get(&journal);
    size_t used = strlen(line);

    snprintf(line + used, LINE - used, "%s%s",
             line[used - 1] == ':' ? " " : ", ", what);
}

static void parse(void)
{
    weft_task_yield(); // goes on in another thread, perhaps; the task is one
    say("parsed");
}

static void store(void)
{
    weft_task_sleep(weft_time_after(WEFT_MILLISECOND));
    say("stored");
}

static void *serve(void *arg)
{
    int *request = arg;
    char *line = malloc(LINE);

    if (line == NULL || weft_local_set(&journal, line) < 0) {
        free(line);
        return NULL;
    }
    snprintf(line, LINE, "request %d:", *request);
    weft_task_set_namef("request %d", *request); // for dumps
    parse();
    store();
    printf("%s\n", (char *)weft_local_get(&journal));
    return NULL;
}

static void *run(void *ret_error)
{
    int *error = ret_error;
    weft_task task;

    for (int i = 1; i <= REQUESTS && *error == 0; i++) {
        *error = weft_task_spawn(NULL, serve, &i, &task);
        if (*error == 0)
            weft_task_join(task, WEFT_NEVER, NULL);
    }
    return NULL;
}

int main(void)
{
    int in_run = 0;
    int error = weft_run(NULL, run, &in_run, NULL);

    if (error == 0)
        error = in_run;
    if (error < 0)
        fprintf(stderr, "local: %s\n", strerror(-error));
    return error < 0;
}
