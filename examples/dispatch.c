// dispatch.c -- Select at work: a dispatcher waits for whatever comes first, an
// urgent order, an ordinary one, its next report, or the end of the day.
#include <stdio.h>
#include <weft/weft.h>

enum { ORDERS = 5 };

struct office {
    weft_channel *urgent;   // a rendezvous: handed over, or not at all
    weft_channel *ordinary; // waits in the tray
    weft_event evening;
    int error;
};

static void *order_urgently(void *arg)
{
    struct office *office = arg;

    for (int i = 1; i <= ORDERS; i++) {
        int number = 100 + i;
        weft_task_sleep(weft_time_after(3 * WEFT_MILLISECOND));
        weft_channel_send(office->urgent, &number, WEFT_NEVER);
    }
    weft_event_set(&office->evening);
    return NULL;
}

static void *order(void *arg)
{
    struct office *office = arg;

    for (int i = 1; i <= ORDERS; i++)
        weft_channel_send(office->ordinary, &i, WEFT_NEVER);
    return NULL;
}

static void dispatch(struct office *office)
{
    int number = 0;
    int done = 0;
    weft_clause clauses[] = {
        weft_clause_recv(office->urgent, &number),
        weft_clause_recv(office->ordinary, &number),
        weft_clause_time(weft_time_after(5 * WEFT_MILLISECOND)),
        weft_clause_event(&office->evening),
    };

    for (;;) {
        switch (weft_select(clauses, 4, WEFT_NEVER)) {
        case 0:
            printf("urgent order %d\n", number);
            done++;
            break;
        case 1:
            printf("order %d\n", number);
            done++;
            break;
        case 2:
            printf("so far: %d\n", done);
            clauses[2] =
                weft_clause_time(weft_time_after(5 * WEFT_MILLISECOND));
            break;
        default: // evening: what is left waits until tomorrow
            printf("done: %d of %d\n", done, 2 * ORDERS);
            return;
        }
    }
}

static void *run(void *arg)
{
    struct office *office = arg;
    weft_scope scope;

    if ((office->error =
             weft_channel_new(sizeof(int), 0, "urgent", &office->urgent)) < 0)
        return NULL;
    office->error =
        weft_channel_new(sizeof(int), 2, "ordinary", &office->ordinary);
    if (office->error == 0) {
        weft_scope_enter(&scope, WEFT_NEVER);
        if (weft_scope_spawn(&scope, NULL, order_urgently, office, NULL) == 0 &&
            weft_scope_spawn(&scope, NULL, order, office, NULL) == 0)
            dispatch(office);
        weft_channel_close(office->ordinary); // nobody takes more orders
        weft_channel_close(office->urgent);
        office->error = weft_scope_leave(&scope);
        weft_channel_free(office->ordinary);
    }
    weft_channel_free(office->urgent);
    return NULL;
}

int main(void)
{
    struct office office = {.evening = WEFT_EVENT_INIT("evening")};

    return weft_run(NULL, run, &office, NULL) < 0 || office.error < 0;
}
