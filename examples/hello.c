// hello.c -- A first program on weft: two tasks, and a channel between them.
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

static void *greet(void *channel)
{
    for (int i = 1; i <= 3; i++)
        weft_channel_send(channel, &i, WEFT_NEVER);
    weft_channel_close(channel);
    return NULL;
}

static void *start(void *ret_error)
{
    weft_channel *channel;
    weft_task greeter;
    int number;
    int *error = ret_error;

    if ((*error = weft_channel_new(sizeof(int), 1, "numbers", &channel)) < 0)
        return NULL;
    if ((*error = weft_task_spawn(NULL, greet, channel, &greeter)) == 0) {
        while (weft_channel_recv(channel, &number, WEFT_NEVER) == 0)
            printf("hello %d\n", number);
        weft_task_join(greeter, WEFT_NEVER, NULL);
    }
    weft_channel_free(channel);
    return NULL;
}

int main(void)
{
    int in_start = 0;
    int error = weft_run(NULL, start, &in_start, NULL);

    if (error == 0)
        error = in_start;
    if (error < 0)
        fprintf(stderr, "hello: %s\n", strerror(-error));
    return error < 0;
}
