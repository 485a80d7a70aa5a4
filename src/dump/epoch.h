// epoch.h -- One capture: from the meeting to a finished dump.
//
// Made before the meeting by whoever conducts the dump; shown the standing
// world by the leader; then captured by many threads while the program runs.
#ifndef WEFT_DUMP_EPOCH_H
#define WEFT_DUMP_EPOCH_H

#include "dump/barrier.h"
#include "dump/capture.h"
#include "dump/missing.h"
#include "dump/steal_all.h"

// What is set aside once for all dumps of a runtime.
struct workshop {
    struct stolen stolen;
    uint32_t workers;          // that there is room for
    struct missing *missing;   // of each worker
    uint32_t missing_count;    //
    struct cfi_cache **caches; // of each worker, and the conductor's
    uint64_t *rested;          // ticks: when each worker ended its last share
    uint32_t epochs;           // the number of the last
    uint32_t scale;            // of stores: store.h
};

struct epoch {
    struct picture picture;
    struct workshop *shop;
    struct weft_dump *dump;
    bool grown;          // the table outgrew the store: try again
    int64_t asked_ns;    //
    atomic_u32 next;     // slot from which nobody captures so far
    atomic_u32 stretch;  // slots taken at a time; relaxed: a figure
    atomic_u32 done;     // slots whose capture is over; E1
    atomic_u32 finished; // 1: all are; the conductor sleeps on it
    atomic_u32 failed;   // tasks that could not be read; relaxed: a figure
    atomic_u64 longest;  // ticks of the longest share; relaxed: a figure
};

// 0 or -ENOMEM. Without a dump so far no memory is taken for the caches.
int workshop_init(struct workshop *shop, uint32_t workers);
// Before a worker begins that was not there then. 0 or -ENOMEM.
int workshop_hire(struct workshop *shop, uint32_t worker);
void workshop_deinit(struct workshop *shop, uint32_t workers);

// 0 or -ENOMEM. The epoch's memory is the caller's.
int epoch_init(struct epoch *epoch, struct weft_runtime *runtime,
               struct workshop *shop);

// The leader shows it the standing world. Nothing here allocates, does I/O or
// waits for a lock that a task can hold.
void epoch_meet(struct epoch *epoch, struct barrier *barrier);

// A share of the capture, of about 20 us, with a worker's cache. False: nothing
// is left.
bool epoch_share(struct epoch *epoch, uint32_t worker);

// A thread has captured for so many ticks at a stretch.
void epoch_note_slice(struct epoch *epoch, uint64_t ticks);

// The conductor sees to it that everything gets captured.
void epoch_attend(struct epoch *epoch);

// Once nobody captures any more: makes the dump whole. Gives up the epoch's
// parts. 0 and a dump with one reference; -ENOMEM; or -EAGAIN: something did
// not fit, and the next epoch has more room.
int epoch_finish(struct epoch *epoch, struct weft_dump **ret_dump);

// Gives up an epoch that has no dump.
void epoch_drop(struct epoch *epoch);

#endif
