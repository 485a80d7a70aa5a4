// steal_all.c -- Every queue of a runtime emptied into one, and put back.
//
// The leader stands in for the owners of the queues, who are stopped or away;
// the barrier's lock orders what they did before and what they do after. The
// shared queue is emptied under its own lock, in the same pass; what comes in
// from outside meanwhile goes behind what was there.
#include "dump/steal_all.h"

#include <errno.h>
#include <stdlib.h>

#include "base/panic.h"
#include "dump/barrier.h"

static void steal_worker(struct worker *worker, struct core *core,
                         struct task_list *tasks, struct origin *origin)
{
    uint32_t before = tasks->count;
    struct task *task = worker->hand;

    origin->hand = task != NULL;
    if (task != NULL)
        task_list_push(tasks, task);
    task = xchg_acq_rel(&core->next, NULL); // worker.c C1: a thief may come
    origin->next = task != NULL;
    if (task != NULL)
        task_list_push(tasks, task);
    while ((task = queue_pop(&core->queue)) != NULL)
        task_list_push(tasks, task);
    origin->count = tasks->count - before;
}

static uint32_t steal_injected(struct inject *inject, struct task_list *tasks)
{
    uint32_t before = tasks->count;

    inject_pop(inject, UINT32_MAX, tasks);
    return tasks->count - before;
}

int steal_all(struct weft_runtime *runtime, const uint8_t *places,
              struct stolen *ret_stolen)
{
    *ret_stolen = (struct stolen){0};
    ret_stolen->origins =
        calloc(runtime->worker_count, sizeof *ret_stolen->origins);
    if (ret_stolen->origins == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < runtime->worker_count; i++)
        if (places[i] != PLACE_MISSING)
            steal_worker(&runtime->workers[i], &runtime->cores[i],
                         &ret_stolen->tasks, &ret_stolen->origins[i]);
    ret_stolen->injected = steal_injected(&runtime->inject, &ret_stolen->tasks);
    return 0;
}

static void put_back(struct core *core, struct task_list *tasks,
                     const struct origin *origin)
{
    uint32_t left = origin->count;

    if (origin->hand) { // its worker still has it in hand
        (void)task_list_pop(tasks);
        left--;
    }
    if (origin->next) {
        store_release(&core->next, task_list_pop(tasks)); // worker.c C1
        left--;
    }
    while (left-- > 0)
        ensure(queue_push(&core->queue, task_list_pop(tasks), true));
}

void put_back_all(struct weft_runtime *runtime, struct stolen *stolen)
{
    for (uint32_t i = 0; i < runtime->worker_count; i++)
        put_back(&runtime->cores[i], &stolen->tasks, &stolen->origins[i]);
    ensure(stolen->tasks.count == stolen->injected);
    inject_put_front(&runtime->inject, &stolen->tasks);
    free(stolen->origins);
}
