// channel.c -- Channels: a pipeline of one source, several workers and a sink.
//
// A full channel makes the source wait, so no stage runs away from the next. A
// closed one is first emptied; then its receivers get -EPIPE and go home.
//
// Prints: 100 squares, 328350 in all
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { WORKERS = 4, NUMBERS = 100, ROOM = 8 };

struct line {
    weft_channel *numbers;
    weft_channel *squares;
};

static void *count(void *arg)
{
    struct line *line = arg;

    for (int i = 0; i < NUMBERS; i++)
        if (weft_channel_send(line->numbers, &i, WEFT_NEVER) < 0)
            break;
    weft_channel_close(line->numbers);
    return NULL;
}

static void *square(void *arg)
{
    struct line *line = arg;
    int number;

    while (weft_channel_recv(line->numbers, &number, WEFT_NEVER) == 0) {
        number *= number;
        if (weft_channel_send(line->squares, &number, WEFT_NEVER) < 0)
            break;
    }
    return NULL;
}

static void *stages(void *arg)
{
    struct line *line = arg;
    int error = 0;
    weft_scope scope;

    weft_scope_enter(&scope, WEFT_NEVER);
    for (int i = 0; i < WORKERS && error == 0; i++)
        error = weft_scope_spawn(&scope, NULL, square, line, NULL);
    if (error == 0)
        count(line);
    weft_channel_close(line->numbers);
    weft_scope_leave(&scope); // every square has been sent
    weft_channel_close(line->squares);
    return NULL;
}

static void *run(void *ret_error)
{
    int *error = ret_error;
    struct line line = {0};
    weft_task all;
    int number;
    int squares = 0;
    int sum = 0;

    *error = weft_channel_new(sizeof(int), ROOM, "numbers", &line.numbers);
    if (*error == 0)
        *error = weft_channel_new(sizeof(int), ROOM, "squares", &line.squares);
    if (*error == 0)
        *error = weft_task_spawn(NULL, stages, &line, &all);
    if (*error == 0) {
        for (; weft_channel_recv(line.squares, &number, WEFT_NEVER) == 0;
             squares++)
            sum += number;
        weft_task_join(all, WEFT_NEVER, NULL);
        printf("%d squares, %d in all\n", squares, sum);
    }
    weft_channel_free(line.numbers);
    weft_channel_free(line.squares);
    return NULL;
}

int main(void)
{
    int in_run = 0;
    int error = weft_run(NULL, run, &in_run, NULL);

    if (error == 0)
        error = in_run;
    if (error < 0)
        fprintf(stderr, "channel: %s\n", strerror(-error));
    return error < 0;
}
