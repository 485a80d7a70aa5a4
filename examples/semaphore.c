// semaphore.c -- A semaphore: twenty downloads, never more than three at once.
//
// A download that would have to wait for longer than its patience gives up, and
// has taken no permit then. weft_semaphore_acquire can take several at once.
//
// Prints: 20 downloads, never more than 3 at once
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { DOWNLOADS = 20, AT_ONCE = 3 };

static weft_semaphore connections = WEFT_SEMAPHORE_INIT("connections", AT_ONCE);
static atomic_int open_now, most, done;

static void note_open(void)
{
    int now = atomic_fetch_add(&open_now, 1) + 1;
    int seen = atomic_load(&most);

    while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
        ;
}

static void *download(void *arg)
{
    int64_t patience = weft_time_after(10 * WEFT_SECOND);

    (void)arg;
    if (weft_semaphore_acquire(&connections, 1, patience) < 0)
        return NULL;
    note_open();
    weft_task_sleep(weft_time_after(5 * WEFT_MILLISECOND)); // the transfer
    atomic_fetch_sub(&open_now, 1);
    atomic_fetch_add(&done, 1);
    weft_semaphore_release(&connections, 1);
    return NULL;
}

static void *run(void *ret_error)
{
    int *error = ret_error;
    weft_scope scope;

    weft_scope_enter(&scope, WEFT_NEVER);
    for (int i = 0; i < DOWNLOADS && *error == 0; i++)
        *error = weft_scope_spawn(&scope, NULL, download, NULL, NULL);
    weft_scope_leave(&scope);
    printf("%d downloads, %s more than %d at once\n", atomic_load(&done),
           atomic_load(&most) > AT_ONCE ? "sometimes" : "never", AT_ONCE);
    return NULL;
}

int main(void)
{
    int in_run = 0;
    int error = weft_run(NULL, run, &in_run, NULL);

    if (error == 0)
        error = in_run;
    if (error < 0)
        fprintf(stderr, "semaphore: %s\n", strerror(-error));
    return error < 0;
}
