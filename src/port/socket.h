// socket.h -- The system's calls on sockets, which a simulation has in memory.
//
// Each is as the system has it, errno included, on stream sockets of IPv4 and
// IPv6; port_poll with a time-out of 0 alone. By themselves the names cost
// nothing.
#ifndef WEFT_PORT_SOCKET_H
#define WEFT_PORT_SOCKET_H

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef WEFT_SIM
int port_socket(int family, int type, int protocol);
int port_setsockopt(int number, int level, int option, const void *value,
                    socklen_t length);
int port_bind(int number, const struct sockaddr *address, socklen_t length);
int port_listen(int number, int backlog);
int port_accept4(int number, struct sockaddr *address, socklen_t *length,
                 int flags);
int port_connect(int number, const struct sockaddr *address, socklen_t length);
int port_getsockname(int number, struct sockaddr *address, socklen_t *length);
int port_getpeername(int number, struct sockaddr *address, socklen_t *length);
ssize_t port_recv(int number, void *to, size_t count, int flags);
ssize_t port_send(int number, const void *from, size_t count, int flags);
int port_poll(struct pollfd *polled, nfds_t count, int timeout_ms);
int port_close(int number);
#else
#define port_socket socket
#define port_setsockopt setsockopt
#define port_bind bind
#define port_listen listen
#define port_accept4 accept4
#define port_connect connect
#define port_getsockname getsockname
#define port_getpeername getpeername
#define port_recv recv
#define port_send send
#define port_poll poll
#define port_close close
#endif

#endif
