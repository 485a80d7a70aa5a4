// store.h -- Keys and values in shards, each of them under a weft mutex.
#ifndef STORE_H
#define STORE_H

#include <weft/weft.h>

#include "resp.h"

struct entry {
    struct entry *next;
    int64_t expires_ns; // or WEFT_NEVER
    struct slice key, value;
    char bytes[]; // of both
};

// A key's place, from store_open to store_close, its shard locked meanwhile.
struct place {
    struct slice key;
    struct shard *shard;
    struct entry **link; // to the key's entry, or NULL where that would be
};

void store_init(void);

// Locks a key's shard and finds its entry. False: the task is cancelled.
bool store_open(struct slice key, struct place *ret_place);
void store_close(struct place *place);

// Gives the key a value, or takes what it has away.
void store_put(struct place *place, struct slice value, int64_t expires_ns);
void store_drop(struct place *place);

// How many keys there are, those included that have expired unnoticed.
int64_t store_count(void);

// A task that drops expired keys which nobody asks for, until it is cancelled.
void *store_sweep(void *unused);

// Adds to the number that a key holds; the sum goes to *ret_sum unless that is
// NULL. Errors: -EDOM (not an integer), -EOVERFLOW, -ERANGE (below `least`),
// -ECANCELED.
int store_add(struct slice key, int64_t delta, int64_t least, int64_t *ret_sum);

// The lock of an account, named like it. It stays as long as the server,
// whatever becomes of the key. NULL: the task is cancelled.
weft_mutex *store_lock_of(struct slice key);

#endif
