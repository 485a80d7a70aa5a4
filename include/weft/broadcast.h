// broadcast.h -- Items that each of many receivers gets.
#ifndef WEFT_BROADCAST_H
#define WEFT_BROADCAST_H

#include <weft/base.h>

WEFT_BEGIN

typedef struct weft_broadcast weft_broadcast;

// One who receives, made by weft_broadcast_subscribe: its place in what is
// sent. It is the user's, needs no ending, and may be copied: the copy goes on
// from the same place by itself. Used by one call at a time.
typedef struct weft_receiver {
    weft_broadcast *broadcast;
    uint64_t next; // number of the item that comes next, counted from 0
    uint64_t lost; // items missed, as the last -EOVERFLOW has told
} weft_receiver;

// Makes a broadcast that keeps the last `capacity` items of `item_size` bytes,
// which are copied in and out. A receiver may be that far behind; if it falls
// back further it loses the oldest, and is told how many. `name` (NULL: none)
// is copied, cut to WEFT_NAME_MAX bytes, and shown in dumps. The broadcast is
// the caller's, to be ended by weft_broadcast_free. May be called by tasks and
// threads. Does not park.
// Errors: -EINVAL (a null result pointer; an item size or capacity of zero;
// more than 1 GiB in all), -ENOMEM.
WEFT_API int weft_broadcast_new(size_t item_size, size_t capacity,
                                const char *name,
                                weft_broadcast **ret_broadcast);

// Ends a broadcast; its receivers must not be used any more. NULL is allowed.
// May be called by tasks and threads. Does not park.
// Errors: -EBUSY (somebody waits for an item, or is about to return from a
// select that did: the broadcast stays as it was).
WEFT_API int weft_broadcast_free(weft_broadcast *broadcast);

// Makes a receiver of all that is sent from now on. May be called by tasks and
// threads, also while others send or receive. Does not park.
// Errors: -EINVAL (a null broadcast or receiver).
WEFT_API int weft_broadcast_subscribe(weft_broadcast *broadcast,
                                      weft_receiver *ret_receiver);

// Sends a copy of *item to every receiver. It never waits for them: if
// `capacity` items are kept already, the oldest makes room. With no receiver at
// all it is kept for nobody. May be called by tasks and threads. Does not park.
// Errors: -EINVAL (a null broadcast or item), -EPIPE (closed).
WEFT_API int weft_broadcast_send(weft_broadcast *broadcast, const void *item);

// Takes the receiver's next item into *ret_item, waiting while all that was
// sent has been received. If items were lost to a faster sender since the last
// call, it says so once, by -EOVERFLOW with their number in receiver->lost, and
// goes on with the oldest that is kept. May be called by tasks, which park, and
// by threads, which block. Any other result than 0 means that no item was
// taken.
// Errors: -EINVAL (a null pointer, or a receiver that was not made by
// weft_broadcast_subscribe), -EOVERFLOW, -EPIPE (closed, and all that was sent
// has been received), -ETIMEDOUT, -ECANCELED.
WEFT_API int weft_broadcast_recv(weft_receiver *receiver, void *ret_item,
                                 int64_t deadline_ns);

// Closes the broadcast: every further send fails with -EPIPE; receivers still
// get what is kept for them, then -EPIPE. Closing twice is closing once. May be
// called by tasks and threads. Does not park.
// Errors: -EINVAL (a null broadcast).
WEFT_API int weft_broadcast_close(weft_broadcast *broadcast);

WEFT_END

#endif
