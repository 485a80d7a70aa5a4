// event.c -- Events: one that happens once, and one that opens and shuts.
//
// Prints: configured: port 7000
//         3 parts done, and while paused none
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { PARTS = 3 };

struct job {
    weft_event configured; // set once
    weft_event go;         // reset while the job is paused
    int port;
    atomic_int done;
};

static void *work(void *arg)
{
    struct job *job = arg;

    if (weft_event_wait(&job->configured, WEFT_NEVER) < 0)
        return NULL;
    printf("configured: port %d\n", job->port);
    while (job->done < PARTS && weft_event_wait(&job->go, WEFT_NEVER) == 0) {
        if (atomic_fetch_add(&job->done, 1) == 0)
            weft_event_reset(&job->go); // the first part asks for a pause
    }
    return NULL;
}

static void *run(void *ret_error)
{
    int *error = ret_error;
    struct job job = {.configured = WEFT_EVENT_INIT("configured"),
                      .go = WEFT_EVENT_INIT("go")};
    int while_paused;
    weft_task worker;

    if ((*error = weft_task_spawn(NULL, work, &job, &worker)) < 0)
        return NULL;
    job.port = 7000; // seen by whoever comes back from the wait
    weft_event_set(&job.configured);
    weft_event_set(&job.go);
    while (weft_event_is_set(&job.go) == 1)
        weft_task_yield();
    while_paused = job.done - 1;
    weft_event_set(&job.go);
    weft_task_join(worker, WEFT_NEVER, NULL);
    printf("%d parts done, and while paused %s\n", job.done,
           while_paused == 0 ? "none" : "some");
    weft_event_deinit(&job.go);
    weft_event_deinit(&job.configured);
    return NULL;
}

int main(void)
{
    int in_run = 0;
    int error = weft_run(NULL, run, &in_run, NULL);

    if (error == 0)
        error = in_run;
    if (error < 0)
        fprintf(stderr, "event: %s\n", strerror(-error));
    return error < 0;
}
