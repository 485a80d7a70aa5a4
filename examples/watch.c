// watch.c -- A setting that changes: who follows it sees the latest value, and
// none of those in between that it was too busy for.
//
// Prints: it begins with 10
//         now it is 40
//         it will not change any more
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

static weft_watch *limit; // an int

static void *set_limits(void *arg)
{
    for (int i = 20; i <= 40; i += 10)
        weft_watch_send(limit, &i);
    return arg;
}

static void *follow(void *ret_error)
{
    uint64_t version = 0; // has seen nothing
    weft_task setter;
    int value = 0;
    int *error = ret_error;

    weft_watch_recv(limit, &version, &value, WEFT_NEVER);
    printf("it begins with %d\n", value);
    *error = weft_task_spawn(NULL, set_limits, NULL, &setter);
    if (*error != 0)
        return NULL;
    weft_task_join(setter, WEFT_NEVER, NULL); // busy
    weft_watch_recv(limit, &version, &value, WEFT_NEVER);
    printf("now it is %d\n", value);
    weft_watch_close(limit);
    if (weft_watch_recv(limit, &version, &value, WEFT_NEVER) == -EPIPE)
        printf("it will not change any more\n");
    return NULL;
}

int main(void)
{
    int first = 10;
    int failed = 0;
    int error = weft_watch_new(sizeof first, &first, "limit", &limit);

    if (error == 0)
        error = weft_run(NULL, follow, &failed, NULL);
    if (error == 0)
        error = failed;
    weft_watch_free(limit);
    if (error < 0)
        fprintf(stderr, "watch: %s\n", strerror(-error));
    return error < 0;
}
