// watch.h -- A value of which the latest counts, and those who follow it.
#ifndef WEFT_WATCH_H
#define WEFT_WATCH_H

#include <weft/base.h>

WEFT_BEGIN

typedef struct weft_watch weft_watch;

// Makes a watch of a value of `item_size` bytes, which is copied in and out.
// `initial` is its first value; NULL: it has none until one is sent. `name`
// (NULL: none) is copied, cut to WEFT_NAME_MAX bytes, and shown in dumps. The
// watch is the caller's, to be ended by weft_watch_free. May be called by tasks
// and threads. Does not park.
// Errors: -EINVAL (a null result pointer; an item size of zero or of more than
// 1 GiB), -ENOMEM.
WEFT_API int weft_watch_new(size_t item_size, const void *initial,
                            const char *name, weft_watch **ret_watch);

// Ends a watch. NULL is allowed. May be called by tasks and threads. Does not
// park.
// Errors: -EBUSY (somebody waits for a value, or is about to return from a
// select that did: the watch stays as it was).
WEFT_API int weft_watch_free(weft_watch *watch);

// Puts a copy of *item in place of the value, and wakes all who wait for a
// newer one. It never waits for anybody. May be called by tasks and threads.
// Does not park.
// Errors: -EINVAL (a null watch or item), -EPIPE (closed).
WEFT_API int weft_watch_send(weft_watch *watch, const void *item);

// Waits until there is a value that is newer than *version, copies the latest
// into *ret_item, and makes *version the number of that one; values between are
// skipped. One who waits gets the value that has ended its wait. Each who
// follows a watch keeps a version of its own, used by one call at a time. 0 is
// older than any value: with it and a deadline of 0 the call reads the value
// without waiting. May be called by tasks, which park, and by threads, which
// block. Any other result than 0 means that nothing was copied, and *version is
// what it was.
// Errors: -EINVAL (a null pointer, or a version that the watch has not had
// yet), -EPIPE (closed, and *version is the last), -ETIMEDOUT, -ECANCELED.
WEFT_API int weft_watch_recv(weft_watch *watch, uint64_t *version,
                             void *ret_item, int64_t deadline_ns);

// Closes the watch: every further send fails with -EPIPE; who has not seen the
// last value still gets it, then -EPIPE. Closing twice is closing once. May be
// called by tasks and threads. Does not park.
// Errors: -EINVAL (a null watch).
WEFT_API int weft_watch_close(weft_watch *watch);

WEFT_END

#endif
