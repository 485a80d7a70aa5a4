// fd.h -- Descriptors on which tasks wait: the table of them, and the way in
// which every operation on one is carried out.
#ifndef WEFT_IO_FD_H
#define WEFT_IO_FD_H

#include <sys/types.h>
#include <weft/base.h>

#include "sched/runtime.h"

// What an operation waits for: data or a connection to take, or room to send.
enum fd_side {
    FD_READ,
    FD_WRITE,
};

struct fd_table; // one a runtime, in runtime->fds

// The table is the caller's. 0 or -ENOMEM. The driver must outlive it.
int fd_table_new(struct driver *driver, uint32_t tag,
                 struct fd_table **ret_table);

// Closes every descriptor that is left. No task may run any more. NULL is
// allowed.
void fd_table_free(struct fd_table *table);

// Gives a non-blocking descriptor a handle in the calling task's runtime and
// has the driver watch it. Takes the number over: closes it on failure. 0, or
// -EPERM (not a task), -ENOMEM, -EMFILE, or what epoll_ctl(2) gives.
int fd_open(int number, weft_fd *ret_fd);

// One try of an operation: what the system call gave, or -errno; -EAGAIN means
// that it has to wait. Never inlined into its caller: errno is a thread's own,
// and the calling task may be on another thread at the next try.
typedef ssize_t fd_try(int number, void *arg);

// Tries until the outcome is not -EAGAIN, parked in between. Returns the
// outcome, or -EPERM, -EBADF (closed, also while waiting), -ETIMEDOUT,
// -ECANCELED.
ssize_t fd_run(weft_fd fd, enum fd_side side, int64_t deadline_ns, fd_try *try,
               void *arg);

// Calls `fn` once, without waiting. -EPERM, -EBADF, or what it returns.
ssize_t fd_look(weft_fd fd, fd_try *fn, void *arg);

#endif
