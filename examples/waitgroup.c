// waitgroup.c -- A wait group: an ordinary thread gives tasks work to do and
// waits until all of it is done. (Among tasks alone, a scope does this.)
//
// Prints: 45 is the sum of 0 to 9, said 10 tasks to a thread
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { TASKS = 10 };

static weft_waitgroup under_way = WEFT_WAITGROUP_INIT("parts");
static atomic_int sum;

static void *add(void *arg)
{
    int *number = arg;

    weft_task_sleep(weft_time_after(WEFT_MILLISECOND));
    atomic_fetch_add(&sum, *number);
    weft_waitgroup_done(&under_way);
    return NULL;
}

// Called by the main thread, which is no task.
static int add_up(weft_runtime *runtime)
{
    weft_task_options options = {
        .size = sizeof options, .runtime = runtime, .name = "part"};
    int numbers[TASKS];
    int error = 0;

    for (int i = 0; i < TASKS && error == 0; i++) {
        numbers[i] = i;
        weft_waitgroup_add(&under_way, 1); // before it can be done
        error = weft_task_spawn(&options, add, &numbers[i], NULL);
        if (error < 0)
            weft_waitgroup_done(&under_way);
    }
    weft_waitgroup_wait(&under_way, WEFT_NEVER); // for those that run
    return error;
}

int main(void)
{
    weft_runtime *runtime;
    int error = weft_runtime_new(NULL, &runtime);

    if (error == 0) {
        error = add_up(runtime);
        weft_runtime_free(runtime);
    }
    if (error < 0) {
        fprintf(stderr, "waitgroup: %s\n", strerror(-error));
        return 1;
    }
    printf("%d is the sum of 0 to %d, said %d tasks to a thread\n",
           atomic_load(&sum), TASKS - 1, TASKS);
    return 0;
}
