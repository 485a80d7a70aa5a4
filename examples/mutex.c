// mutex.c -- Mutexes: money moves between accounts, and none is lost.
//
// Whoever needs two locks takes them in one order, here that of the addresses,
// so that no two tasks can wait for each other. Were it forgotten, a dump would
// name the cycle.
//
// Prints: 800 transfers: 1000 in all
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { ACCOUNTS = 10, CLERKS = 8, TRANSFERS = 100 };

struct account {
    weft_mutex lock;
    int money;
};

static struct account accounts[ACCOUNTS];

static int transfer(struct account *from, struct account *to, int amount)
{
    weft_mutex *first = from < to ? &from->lock : &to->lock;
    weft_mutex *second = from < to ? &to->lock : &from->lock;
    int error = weft_mutex_lock(first, WEFT_NEVER);

    if (error < 0)
        return error; // cancelled: nothing has been moved
    error = weft_mutex_lock(second, WEFT_NEVER);
    if (error == 0) {
        from->money -= amount;
        weft_task_yield(); // a moment at which the sum is wrong
        to->money += amount;
        weft_mutex_unlock(second);
    }
    weft_mutex_unlock(first);
    return error;
}

static void *serve(void *arg)
{
    int *done = arg;

    for (int i = 0; i < TRANSFERS; i++) {
        int from = (i * 7 + *done) % ACCOUNTS;
        int to = (from + 1 + i % (ACCOUNTS - 1)) % ACCOUNTS;

        if (transfer(&accounts[from], &accounts[to], i % 13) == 0)
            ++*done;
    }
    return NULL;
}

static void *run(void *ret_error)
{
    int *error = ret_error;
    int done[CLERKS] = {0};
    int transfers = 0;
    int sum = 0;
    weft_scope scope;

    for (int i = 0; i < ACCOUNTS; i++) {
        weft_mutex_init(&accounts[i].lock, "account");
        accounts[i].money = 100;
    }
    weft_scope_enter(&scope, WEFT_NEVER);
    for (int i = 0; i < CLERKS && *error == 0; i++)
        *error = weft_scope_spawn(&scope, NULL, serve, &done[i], NULL);
    weft_scope_leave(&scope); // all clerks have gone home
    for (int i = 0; i < CLERKS; i++)
        transfers += done[i];
    for (int i = 0; i < ACCOUNTS; i++) {
        sum += accounts[i].money;
        weft_mutex_deinit(&accounts[i].lock);
    }
    printf("%d transfers: %d in all\n", transfers, sum);
    return NULL;
}

int main(void)
{
    int in_run = 0;
    int error = weft_run(NULL, run, &in_run, NULL);

    if (error == 0)
        error = in_run;
    if (error < 0)
        fprintf(stderr, "mutex: %s\n", strerror(-error));
    return error < 0;
}
