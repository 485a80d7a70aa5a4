// rwlock.c -- A read-write lock: many look a route up, one changes the table.
//
// Prints: 2000 look-ups, 0 of a half-changed table; version 20
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { READERS = 20, LOOKUPS = 100, VERSIONS = 20 };

struct table {
    weft_rwlock lock;
    int version;
    int check; // always equal to the version while nobody writes
};

struct reader {
    struct table *table;
    int lookups;
    int torn;
};

static void *look_up(void *arg)
{
    struct reader *reader = arg;
    struct table *table = reader->table;

    while (reader->lookups < LOOKUPS &&
           weft_rwlock_lock_read(&table->lock, WEFT_NEVER) == 0) {
        reader->lookups++;
        weft_task_yield(); // other readers are inside, too
        reader->torn += table->version != table->check;
        weft_rwlock_unlock(&table->lock);
    }
    return NULL;
}

static void *change(void *arg)
{
    struct table *table = arg;

    for (int i = 0; i < VERSIONS; i++) {
        if (weft_rwlock_lock_write(&table->lock, WEFT_NEVER) < 0)
            break; // cancelled
        table->version++;
        weft_task_yield(); // alone: nobody sees the table as it is now
        table->check++;
        weft_rwlock_unlock(&table->lock);
    }
    return NULL;
}

static void *run(void *ret_error)
{
    int *error = ret_error;
    struct table table = {.lock = WEFT_RWLOCK_INIT("routes")};
    struct reader readers[READERS] = {0};
    int lookups = 0;
    int torn = 0;
    weft_scope scope;

    weft_scope_enter(&scope, WEFT_NEVER);
    *error = weft_scope_spawn(&scope, NULL, change, &table, NULL);
    for (int i = 0; i < READERS && *error == 0; i++) {
        readers[i].table = &table;
        *error = weft_scope_spawn(&scope, NULL, look_up, &readers[i], NULL);
    }
    weft_scope_leave(&scope);
    for (int i = 0; i < READERS; i++) {
        lookups += readers[i].lookups;
        torn += readers[i].torn;
    }
    printf("%d look-ups, %d of a half-changed table; version %d\n", lookups,
           torn, table.version);
    weft_rwlock_deinit(&table.lock);
    return NULL;
}

int main(void)
{
    int in_run = 0;
    int error = weft_run(NULL, run, &in_run, NULL);

    if (error == 0)
        error = in_run;
    if (error < 0)
        fprintf(stderr, "rwlock: %s\n", strerror(-error));
    return error < 0;
}
