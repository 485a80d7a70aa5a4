// broadcast.c -- News for all: each reader gets every item, and the one that
// falls behind is told how much it has lost.
//
// Prints: prompt: 1 2 3 4 5 6
//         late: lost 4, 5 6
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { ITEMS = 6, KEPT = 2 };

static weft_broadcast *news; // of an int

static void read_late(weft_receiver *receiver)
{
    int item, error;

    printf("late:");
    while ((error = weft_broadcast_recv(receiver, &item, WEFT_NEVER)) == 0 ||
           error == -EOVERFLOW)
        if (error == -EOVERFLOW)
            printf(" lost %d,", (int)receiver->lost);
        else
            printf(" %d", item);
    printf("\n");
}

static void *send_all(void *arg)
{
    weft_receiver *prompt = arg;
    int item = 0;

    printf("prompt:");
    for (int i = 1; i <= ITEMS; i++)
        if (weft_broadcast_send(news, &i) == 0 && // never waits
            weft_broadcast_recv(prompt, &item, WEFT_NEVER) == 0)
            printf(" %d", item);
    printf("\n");
    weft_broadcast_close(news);
    return NULL;
}

static void *start(void *ret_error)
{
    weft_receiver prompt, late;
    weft_task sender;
    int *error = ret_error;

    weft_broadcast_subscribe(news, &prompt);
    weft_broadcast_subscribe(news, &late);
    *error = weft_task_spawn(NULL, send_all, &prompt, &sender);
    if (*error == 0) {
        weft_task_join(sender, WEFT_NEVER, NULL);
        read_late(&late);
    }
    return NULL;
}

int main(void)
{
    int failed = 0;
    int error = weft_broadcast_new(sizeof(int), KEPT, "news", &news);

    if (error == 0)
        error = weft_run(NULL, start, &failed, NULL);
    if (error == 0)
        error = failed;
    weft_broadcast_free(news);
    if (error < 0)
        fprintf(stderr, "broadcast: %s\n", strerror(-error));
    return error < 0;
}
