// once.c -- A once: the first who needs the table makes it, the others wait.
//
// It fails at first; then the next one in line tries again.
//
// Prints: 8 tasks: 7 got the table, 1 was told of the failure
//         made in 2 attempts; 49 is the square of 7
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { TASKS = 8, SQUARES = 10 };

struct lazy {
    weft_once made;
    int attempts;
    int squares[SQUARES];
};

struct user {
    struct lazy *lazy;
    int result;
};

static int make(void *arg)
{
    struct lazy *lazy = arg;

    weft_task_sleep(weft_time_after(5 * WEFT_MILLISECOND)); // it takes a while
    if (++lazy->attempts == 1)
        return -EIO;
    for (int i = 0; i < SQUARES; i++)
        lazy->squares[i] = i * i;
    return 0;
}

static void *use(void *arg)
{
    struct user *user = arg;
    struct lazy *lazy = user->lazy;

    user->result = weft_once_run(&lazy->made, make, lazy, WEFT_NEVER);
    return NULL;
}

static void *run(void *ret_error)
{
    int *error = ret_error;
    struct lazy lazy = {.made = WEFT_ONCE_INIT("squares")};
    struct user users[TASKS];
    int got = 0;
    int told = 0;
    weft_scope scope;

    weft_scope_enter(&scope, WEFT_NEVER);
    for (int i = 0; i < TASKS && *error == 0; i++) {
        users[i] = (struct user){&lazy, -EAGAIN};
        *error = weft_scope_spawn(&scope, NULL, use, &users[i], NULL);
    }
    weft_scope_leave(&scope);
    for (int i = 0; i < TASKS && *error == 0; i++) {
        got += users[i].result == 0;
        told += users[i].result == -EIO;
    }
    printf("%d tasks: %d got the table, %d was told of the failure\n", TASKS,
           got, told);
    printf("made in %d attempts; %d is the square of 7\n", lazy.attempts,
           lazy.squares[7]);
    weft_once_deinit(&lazy.made);
    return NULL;
}

int main(void)
{
    int in_run = 0;
    int error = weft_run(NULL, run, &in_run, NULL);

    if (error == 0)
        error = in_run;
    if (error < 0)
        fprintf(stderr, "once: %s\n", strerror(-error));
    return error < 0;
}
