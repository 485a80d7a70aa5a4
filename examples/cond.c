// cond.c -- A condition: cooks wait for orders in a list of one's own.
//
// A channel is the simpler way to hand things over. A condition is for state
// that no ready-made object describes, here "an order, or the kitchen closes".
//
// Prints: 30 orders cooked, 0 left
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { COOKS = 3, ORDERS = 30 };

struct kitchen {
    weft_mutex lock;
    weft_cond changed;
    int waiting; // orders; this and what follows under the lock
    int cooked;
    int closed;
};

static void *cook(void *arg)
{
    struct kitchen *kitchen = arg;
    int error = weft_mutex_lock(&kitchen->lock, WEFT_NEVER);

    if (error < 0)
        return NULL;
    while (error == 0) {
        while (error == 0 && kitchen->waiting == 0 && !kitchen->closed)
            error =
                weft_cond_wait(&kitchen->changed, &kitchen->lock, WEFT_NEVER);
        if (kitchen->waiting == 0)
            break; // closed, or cancelled
        kitchen->waiting--;
        kitchen->cooked++;
    }
    weft_mutex_unlock(&kitchen->lock); // held again, whatever the wait said
    return NULL;
}

static void change(struct kitchen *kitchen, int orders, int closed)
{
    if (weft_mutex_lock(&kitchen->lock, WEFT_NEVER) < 0)
        return;
    kitchen->waiting += orders;
    kitchen->closed = closed;
    weft_mutex_unlock(&kitchen->lock);
    weft_cond_broadcast(&kitchen->changed);
}

static void *run(void *ret_error)
{
    int *error = ret_error;
    struct kitchen kitchen = {.lock = WEFT_MUTEX_INIT("kitchen"),
                              .changed = WEFT_COND_INIT("orders or closing")};
    weft_scope scope;

    weft_scope_enter(&scope, WEFT_NEVER);
    for (int i = 0; i < COOKS && *error == 0; i++)
        *error = weft_scope_spawn(&scope, NULL, cook, &kitchen, NULL);
    for (int i = 0; i < ORDERS; i += 2) {
        change(&kitchen, 2, 0);
        weft_task_yield();
    }
    change(&kitchen, 0, 1);
    weft_scope_leave(&scope);
    printf("%d orders cooked, %d left\n", kitchen.cooked, kitchen.waiting);
    weft_cond_deinit(&kitchen.changed);
    weft_mutex_deinit(&kitchen.lock);
    return NULL;
}

int main(void)
{
    int in_run = 0;
    int error = weft_run(NULL, run, &in_run, NULL);

    if (error == 0)
        error = in_run;
    if (error < 0)
        fprintf(stderr, "cond: %s\n", strerror(-error));
    return error < 0;
}
