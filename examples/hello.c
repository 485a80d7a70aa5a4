// hello.c -- A first program on weft: two tasks, and a channel between them.
#include <stdio.h>
#include <weft/weft.h>

static void *greet(void *channel)
{
    for (int i = 1; i <= 3; i++)
        weft_channel_send(channel, &i, WEFT_NEVER);
    weft_channel_close(channel);
    return NULL;
}

static void *start(void *unused)
{
    weft_channel *channel;
    weft_task greeter;
    int number;

    if (weft_channel_new(sizeof(int), 1, "numbers", &channel) < 0)
        return unused;
    if (weft_task_spawn(NULL, greet, channel, &greeter) == 0) {
        while (weft_channel_recv(channel, &number, WEFT_NEVER) == 0)
            printf("hello %d\n", number);
        weft_task_join(greeter, WEFT_NEVER, NULL);
    }
    weft_channel_free(channel);
    return unused;
}

int main(void)
{
    return weft_run(NULL, start, NULL, NULL) < 0;
}
