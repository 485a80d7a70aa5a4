// steal_all.c -- Every queue of a runtime, taken down as one.
//
// Since the owners of the queues stand still, a task need not leave its queue
// to be taken: what is moved is its pointer, and putting all back in its order
// is to do nothing. Of the shared queue, which may be long, only its bounds are
// taken: each task has its number there. So no slot is touched while the world
// stands: with a thousand tasks in a queue that would be as many cache misses.
#include "dump/steal_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int stolen_init(struct stolen *stolen, uint32_t workers)
{
    size_t room = (size_t)workers * (QUEUE_CAP + 2);

    *stolen = (struct stolen){0};
    stolen->tasks = malloc(room * sizeof(struct task *));
    stolen->of_worker = calloc(workers, sizeof *stolen->of_worker);
    if (stolen->tasks == NULL || stolen->of_worker == NULL) {
        stolen_deinit(stolen);
        return -ENOMEM;
    }
    // Touched now, lest the system be asked for it while the world stands.
    memset(stolen->tasks, 0, room * sizeof(struct task *));
    return 0;
}

void stolen_deinit(struct stolen *stolen)
{
    free(stolen->tasks);
    free(stolen->of_worker);
    *stolen = (struct stolen){0}; // whoever failed to begin may end it again
}

static void add(struct stolen *stolen, struct task *task)
{
    if (task != NULL)
        stolen->tasks[stolen->count++] = task;
}

static void steal_worker(struct worker *worker, struct core *core,
                         struct stolen *stolen)
{
    add(stolen, load_acquire(&worker->hand)); // worker.c C4
    add(stolen, load_acquire(&core->next));   // worker.c C1
    stolen->count +=
        queue_peek(&core->queue, stolen->tasks + stolen->count, QUEUE_CAP);
}

void steal_all(struct weft_runtime *runtime, struct stolen *stolen)
{
    uint32_t count = worker_count(runtime);

    stolen->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t before = stolen->count;
        steal_worker(&runtime->workers[i], &runtime->cores[i], stolen);
        stolen->of_worker[i] = stolen->count - before;
    }
    stolen->before = inject_look(&runtime->inject, &stolen->injected);
}
