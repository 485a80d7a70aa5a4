// net.h -- TCP over the runtime's event source: calls park, threads do not.
#ifndef WEFT_NET_H
#define WEFT_NET_H

#include <sys/types.h>
#include <weft/base.h>

WEFT_BEGIN

// The bytes that hold any address as weft_tcp_address prints it.
#define WEFT_ADDRESS_MAX 80

// Opens a listening TCP socket on a numeric IPv4 or IPv6 address ("127.0.0.1",
// "::1") and a port (0: any free one, see weft_tcp_address). `backlog` 0 means
// the system's limit. The handle is the caller's, to be closed by
// weft_fd_close. May be called by tasks. Does not park.
// Errors: -EPERM (not a task), -EINVAL (null pointers, not a numeric address),
// -EADDRINUSE, -EACCES, -EMFILE, -ENFILE, -ENOMEM and what socket(2), bind(2)
// and listen(2) give.
WEFT_API int weft_tcp_listen(const char *address, uint16_t port, int backlog,
                             weft_fd *ret_listener);

// Waits for a connection and accepts it. The handle is the caller's. May be
// called by tasks, which park; several may wait on one listener.
// Errors: -EPERM, -EINVAL (a null pointer), -EBADF (closed, or not a handle),
// -ETIMEDOUT, -ECANCELED, -EMFILE or -ENFILE (out of descriptors: the
// connection stays in the backlog), and what accept4(2) gives.
WEFT_API int weft_tcp_accept(weft_fd listener, int64_t deadline_ns,
                             weft_fd *ret_connection);

// Connects to a numeric address and a port. The handle is the caller's. May be
// called by tasks, which park.
// Errors: -EPERM, -EINVAL, -ECONNREFUSED, -ETIMEDOUT, -ECANCELED, -EMFILE,
// -ENFILE, and what connect(2) gives.
WEFT_API int weft_tcp_connect(const char *address, uint16_t port,
                              int64_t deadline_ns, weft_fd *ret_connection);

// Reads up to `count` bytes, waiting until there is at least one. Returns
// their number; 0 at the end of the stream, or for a count of 0. May be called
// by tasks, which park. A read that took bytes returns them, never
// -ECANCELED or -ETIMEDOUT.
// Errors: -EPERM, -EINVAL (a null buffer), -EBADF (closed, also while
// waiting), -ETIMEDOUT, -ECANCELED, and what recv(2) gives.
WEFT_API ssize_t weft_fd_read(weft_fd fd, void *buffer, size_t count,
                              int64_t deadline_ns);

// Writes `count` bytes, waiting as often as needed. Returns the number
// written, which is below `count` only if an error came after some bytes had
// gone out; the next call then reports it. May be called by tasks, which park.
// Never raises SIGPIPE.
// Errors (none of the bytes was written): -EPERM, -EINVAL (a null buffer),
// -EBADF (closed, also while waiting), -EPIPE, -ETIMEDOUT, -ECANCELED, and
// what send(2) gives.
WEFT_API ssize_t weft_fd_write(weft_fd fd, const void *buffer, size_t count,
                               int64_t deadline_ns);

// Closes the descriptor; tasks that wait on it get -EBADF. May be called by
// tasks. Does not park.
// Errors: -EPERM, -EBADF (closed already, or not a handle).
WEFT_API int weft_fd_close(weft_fd fd);

// The system's number of the descriptor, for getsockopt(2) and the like; it
// stays weft's, and must not be closed or made blocking. May be called by
// tasks. Does not park.
// Errors: -EPERM, -EBADF.
WEFT_API int weft_fd_number(weft_fd fd);

// Prints the socket's own address (`peer` false) or that of the other end
// (true) as "127.0.0.1:6379" or "[::1]:6379" and stores its port unless
// `ret_port` is NULL. `text` has room for WEFT_ADDRESS_MAX bytes, or is NULL.
// May be called by tasks. Does not park.
// Errors: -EPERM, -EBADF, and what getsockname(2) and getpeername(2) give.
WEFT_API int weft_tcp_address(weft_fd fd, bool peer, char *text,
                              uint16_t *ret_port);

WEFT_END

#endif
