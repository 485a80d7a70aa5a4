// store.c -- A hash table in shards; keys that expire.
//
// A key's hash names its shard, whose mutex guards every entry in it, and a
// bucket there. Tasks on different workers meet only in the same shard. No
// task parks while it holds a shard, so a shard is never held for long.
#include "store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHARDS = 64,
    BUCKETS = 1 << 14, // of a shard; more keys make longer chains
    SWEEP_SIZE = 1024, // buckets of a shard looked at in one sweep
};

#define SWEEP_NS (100 * WEFT_MILLISECOND) // between two sweeps

struct account {
    struct account *next;
    weft_mutex mutex;
    struct slice key;
    char name[];
};

struct shard {
    weft_mutex mutex; // guards the rest, and the entries
    char name[16];
    size_t keys, swept;
    struct account *accounts;
    struct entry *buckets[BUCKETS];
};

static struct shard shards[SHARDS];
static _Atomic int64_t count; // relaxed: a figure, not a guard

void store_init(void)
{
    for (int i = 0; i < SHARDS; i++) {
        snprintf(shards[i].name, sizeof(shards[i].name), "shard %d", i);
        weft_mutex_init(&shards[i].mutex, shards[i].name);
    }
}

// Memory, all zero. Without it a server of data in memory can only end.
static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        fputs("kv-server: out of memory\n", stderr);
        abort();
    }
    return memory;
}

static void add_keys(struct shard *shard, int number)
{
    shard->keys += (size_t)number;
    atomic_fetch_add_explicit(&count, number, memory_order_relaxed);
}

static void drop(struct shard *shard, struct entry **link)
{
    struct entry *entry = *link;
    *link = entry->next;
    free(entry);
    add_keys(shard, -1);
}

// Drops what has expired in a chain, as far as `key`; returns its place.
static struct entry **find(struct shard *shard, struct entry **link,
                           const struct slice *key)
{
    while (*link != NULL) {
        int64_t expires_ns = (*link)->expires_ns;
        if (expires_ns != WEFT_NEVER && expires_ns <= weft_time_now())
            drop(shard, link);
        else if (key != NULL && slice_equal((*link)->key, *key))
            break;
        else
            link = &(*link)->next;
    }
    return link;
}

static uint64_t hash(struct slice key) // FNV-1a
{
    uint64_t value = 0xcbf29ce484222325;
    for (size_t i = 0; i < key.length; i++)
        value = (value ^ (unsigned char)key.data[i]) * 0x100000001b3;
    return value;
}

bool store_open(struct slice key, struct place *ret_place)
{
    uint64_t code = hash(key);
    struct shard *shard = &shards[code % SHARDS];
    struct entry **chain = &shard->buckets[(code >> 32) % BUCKETS];

    if (weft_mutex_lock(&shard->mutex, WEFT_NEVER) < 0)
        return false;
    *ret_place = (struct place){key, shard, find(shard, chain, &key)};
    return true;
}

void store_close(struct place *place)
{
    weft_mutex_unlock(&place->shard->mutex);
}

void store_put(struct place *place, struct slice value, int64_t expires_ns)
{
    size_t length = place->key.length;
    struct entry *old = *place->link;
    struct entry *entry = allocate(sizeof(*entry) + length + value.length);

    entry->next = old != NULL ? old->next : NULL;
    entry->expires_ns = expires_ns;
    entry->key = (struct slice){entry->bytes, length};
    entry->value = (struct slice){entry->bytes + length, value.length};
    memcpy(entry->key.data, place->key.data, length);
    memcpy(entry->value.data, value.data, value.length);
    *place->link = entry;
    if (old == NULL)
        add_keys(place->shard, 1);
    free(old);
}

void store_drop(struct place *place)
{
    drop(place->shard, place->link);
}

int64_t store_count(void)
{
    return atomic_load_explicit(&count, memory_order_relaxed);
}

int store_add(struct slice key, int64_t delta, int64_t least, int64_t *ret_sum)
{
    struct place place;
    char text[24];
    int64_t sum = 0;
    int error = 0;

    if (!store_open(key, &place))
        return -ECANCELED;
    struct entry *old = *place.link;
    if (old != NULL && !slice_to_integer(old->value, &sum))
        error = -EDOM;
    else if (__builtin_add_overflow(sum, delta, &sum))
        error = -EOVERFLOW;
    else if (sum < least)
        error = -ERANGE;
    int length = snprintf(text, sizeof(text), "%" PRId64, sum);
    if (error == 0)
        store_put(&place, (struct slice){text, (size_t)length},
                  old != NULL ? old->expires_ns : WEFT_NEVER);
    store_close(&place);
    if (error == 0 && ret_sum != NULL)
        *ret_sum = sum;
    return error;
}

static struct account *add_account(struct shard *shard, struct slice key)
{
    struct account *account = allocate(sizeof(*account) + key.length + 1);
    memcpy(account->name, key.data, key.length);
    account->key = (struct slice){account->name, key.length};
    account->next = shard->accounts;
    shard->accounts = account;
    weft_mutex_init(&account->mutex, account->name);
    return account;
}

weft_mutex *store_lock_of(struct slice key)
{
    struct place place;

    if (!store_open(key, &place))
        return NULL;
    struct account *account = place.shard->accounts;
    while (account != NULL && !slice_equal(account->key, key))
        account = account->next;
    if (account == NULL)
        account = add_account(place.shard, key);
    store_close(&place);
    return &account->mutex;
}

static void sweep(struct shard *shard)
{
    for (int i = 0; i < SWEEP_SIZE && shard->keys > 0; i++)
        find(shard, &shard->buckets[shard->swept++ % BUCKETS], NULL);
}

void *store_sweep(void *unused)
{
    while (weft_task_sleep(weft_time_after(SWEEP_NS)) == 0) {
        for (int i = 0; i < SHARDS; i++) {
            if (weft_mutex_lock(&shards[i].mutex, WEFT_NEVER) < 0)
                break;
            sweep(&shards[i]);
            weft_mutex_unlock(&shards[i].mutex);
        }
    }
    return unused;
}
