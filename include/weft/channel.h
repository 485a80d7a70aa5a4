// channel.h -- A bounded queue of items between tasks and threads.
#ifndef WEFT_CHANNEL_H
#define WEFT_CHANNEL_H

#include <weft/base.h>

WEFT_BEGIN

typedef struct weft_channel weft_channel;

// Makes a channel that holds up to `capacity` items of `item_size` bytes,
// which are copied in and out. One of capacity 0 is a rendezvous: a send ends
// when its item is received. One that is never full in practice is made by a
// generous capacity: memory is taken as it is needed, for up to twice as many
// items as were inside at a time, and kept until the end; and whoever fills it
// for all that waits, or is told so by a deadline of 0. `name` (NULL:
// none) is copied, cut to WEFT_NAME_MAX bytes, and shown in dumps. The channel
// is the caller's, to be ended by weft_channel_free. May be called by tasks and
// threads. Does not park.
// Errors: -EINVAL (a null result pointer; an item size of zero; more than 1 GiB
// in all), -ENOMEM.
WEFT_API int weft_channel_new(size_t item_size, size_t capacity,
                              const char *name, weft_channel **ret_channel);

// Makes a one-shot: a channel for one item, which the first send closes; a
// further one fails with -EPIPE. So a send never waits, and receives, if nobody
// else does, get the item or, if the sender has closed the one-shot without
// one, -EPIPE. All calls below are for it, too; whoever has received the item
// may end it at once. Otherwise as weft_channel_new. May be called by tasks and
// threads. Does not park.
// Errors: -EINVAL (a null result pointer; an item size of zero or of more than
// 1 GiB), -ENOMEM.
WEFT_API int weft_oneshot_new(size_t item_size, const char *name,
                              weft_channel **ret_channel);

// Ends a channel; items still inside are dropped. NULL is allowed. May be
// called by tasks and threads. Does not park.
// Errors: -EBUSY (somebody waits on it, or is about to return from a select
// that did: the channel stays as it was).
WEFT_API int weft_channel_free(weft_channel *channel);

// Puts a copy of *item in, waiting while the channel is full; the first
// waiter comes first. May be called by tasks, which park, and by threads,
// which block. Any other result than 0 means that the item was not sent.
// Errors: -EINVAL (a null channel or item), -EPIPE (closed), -ETIMEDOUT,
// -ECANCELED.
WEFT_API int weft_channel_send(weft_channel *channel, const void *item,
                               int64_t deadline_ns);

// Takes the oldest item out into *ret_item, waiting while there is none. May
// be called by tasks, which park, and by threads, which block. Any other
// result than 0 means that no item was taken.
// Errors: -EINVAL (a null channel or item), -EPIPE (closed and empty),
// -ETIMEDOUT, -ECANCELED.
WEFT_API int weft_channel_recv(weft_channel *channel, void *ret_item,
                               int64_t deadline_ns);

// Closes the channel: every send, waiting ones included, fails with -EPIPE;
// receivers still get what is inside, then -EPIPE. Closing twice is closing
// once. May be called by tasks and threads. Does not park.
// Errors: -EINVAL (a null channel).
WEFT_API int weft_channel_close(weft_channel *channel);

WEFT_END

#endif
