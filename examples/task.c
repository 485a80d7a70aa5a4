// task.c -- Tasks: started, joined for their results, cancelled.
//
// Prints: 20! has 2432902008176640000 as its value, from 4 tasks
//         the sleeper was cancelled
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { TASKS = 4, LAST = 20 };

struct part {
    int first, end; // the product of these
    uint64_t product;
};

static void *multiply(void *arg)
{
    struct part *part = arg;

    part->product = 1;
    for (int i = part->first; i < part->end; i++)
        part->product *= (uint64_t)i;
    return &part->product; // what a join takes
}

static void *sleep_long(void *ret_error)
{
    int *error = ret_error;

    *error = weft_task_sleep(weft_time_after(3600 * WEFT_SECOND));
    return NULL;
}

static int factorial(void)
{
    weft_task tasks[TASKS];
    struct part parts[TASKS];
    uint64_t product = 1;
    int started = 0;
    int error = 0;

    for (int i = 0; i < TASKS && error == 0; i++) {
        parts[i] = (struct part){.first = 1 + i * LAST / TASKS,
                                 .end = 1 + (i + 1) * LAST / TASKS};
        error = weft_task_spawn(NULL, multiply, &parts[i], &tasks[i]);
        started += error == 0;
    }
    for (int i = 0; i < started; i++) {
        void *result;

        weft_task_join(tasks[i], WEFT_NEVER, &result);
        product *= *(uint64_t *)result;
    }
    if (error == 0)
        printf("%d! has %llu as its value, from %d tasks\n", LAST,
               (unsigned long long)product, TASKS);
    return error;
}

static void *run(void *ret_error)
{
    int *error = ret_error;
    weft_task sleeper;
    int woken_by = 0;

    if ((*error = factorial()) < 0 ||
        (*error = weft_task_spawn(NULL, sleep_long, &woken_by, &sleeper)) < 0)
        return NULL;
    weft_task_cancel(sleeper);
    weft_task_join(sleeper, WEFT_NEVER, NULL); // it still has to be joined
    printf("the sleeper was %s\n",
           woken_by == -ECANCELED ? "cancelled" : "left alone");
    return NULL;
}

int main(void)
{
    int in_run = 0;
    int error = weft_run(NULL, run, &in_run, NULL);

    if (error == 0)
        error = in_run;
    if (error < 0)
        fprintf(stderr, "task: %s\n", strerror(-error));
    return error < 0;
}
