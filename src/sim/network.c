// network.c -- TCP in memory: sockets, what is on its way, and event sources.
//
// A socket's incoming bytes are segments, each with the moment at which it
// arrives; so a read sees what has arrived by now. Whatever tells a waiting
// side that something has changed is an event, at its moment: events lie in a
// heap, and the simulation's time stops at each.
//
//   N1  A socket's number is FIRST_NUMBER + its place; a number that was closed
//       is given out again, but events tell sockets by `serial`.
//   N2  `peer` of both sides name each other until one closes; then it is NULL
//       on the other.
//   N3  Readiness is an edge, as with EPOLLET: what becomes ready is in
//       `pending` until the poller is asked, once.
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "port/socket.h"
#include "sim/sim.h"

enum {
    SOCKETS = 4096,
    POLLERS = 256, // as many as there can be runtimes
    EVENTS = 1 << 16,
    FIRST_NUMBER = 1 << 20,
    FIRST_PORT = 32768, // of those that are given out
    ROOM_MAX = 64 << 10,
    SYN_AGAIN = 1000, // ms until a connection that found no place tries again
};

static const int64_t LATENCY_MIN = 5 * WEFT_MICROSECOND;
static const int64_t LATENCY_MAX = 100 * WEFT_MICROSECOND;
static const int64_t DELAY_MAX = 200 * WEFT_MILLISECOND;

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct segment {
    struct segment *next;
    int64_t at_ns;
    bool end; // of the stream; it has no bytes
    size_t length;
    size_t taken;
    char bytes[];
};

enum socket_state {
    SOCKET_NONE,
    SOCKET_NEW,
    SOCKET_LISTENS,
    SOCKET_CONNECTS,
    SOCKET_CONNECTED,
    SOCKET_BROKEN, // `error` once, then as if the stream had ended
};

struct socket {
    enum socket_state state;
    uint64_t serial; // N1
    bool accepted;   // it has a number that somebody knows
    int poller;      // or -1
    uint64_t token;
    uint32_t pending; // N3
    union address own;
    union address other;
    struct socket *peer; // N2
    bool gone;           // the peer has closed; it was told so
    struct segment *first;
    struct segment *last;
    size_t held; // bytes in them
    size_t room; // the most of that
    int error;
    struct socket *queue; // of one that listens: connections, oldest first
    struct socket *next;  // in such a queue
    int queued;
    int backlog;
};

enum event_kind {
    EVENT_EDGE,    // what `value` says is ready
    EVENT_ARRIVES, // a connection, at one that listens
    EVENT_STANDS,  // a connection, at who wanted it
    EVENT_BREAKS,  // with error `value`
};

struct event {
    int64_t at_ns;
    uint64_t number; // in the order of their making
    enum event_kind kind;
    uint32_t value;
    uint32_t place;  // of its socket
    uint64_t serial; // N1
};

struct poller {
    bool used;
    bool woken;
    bool watches_clock;
    bool clock_set;   // and not yet told
    uint32_t pending; // sockets with edges
};

static struct {
    struct socket sockets[SOCKETS];
    uint32_t used; // of them
    uint64_t serials;
    uint32_t ports;
    struct poller pollers[POLLERS];
    struct event events[EVENTS]; // a heap
    uint32_t event_count;
    uint64_t event_numbers;
} net;

// ---- Events ----

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->number < b->number;
}

static void rise(uint32_t at, struct event event)
{
    for (; at > 0 && earlier(&event, &net.events[(at - 1) / 2]);
         at = (at - 1) / 2)
        net.events[at] = net.events[(at - 1) / 2];
    net.events[at] = event;
}

static struct event take_first(void)
{
    struct event first = net.events[0];
    struct event last = net.events[--net.event_count];
    uint32_t at = 0;

    for (uint32_t child; (child = 2 * at + 1) < net.event_count; at = child) {
        if (child + 1 < net.event_count &&
            earlier(&net.events[child + 1], &net.events[child]))
            child++;
        if (!earlier(&net.events[child], &last))
            break;
        net.events[at] = net.events[child];
    }
    net.events[at] = last;
    return first;
}

static void post(struct socket *socket, int64_t at_ns, enum event_kind kind,
                 uint32_t value)
{
    if (net.event_count == EVENTS)
        abort();
    rise(net.event_count++,
         (struct event){.at_ns = at_ns,
                        .number = net.event_numbers++,
                        .kind = kind,
                        .value = value,
                        .place = (uint32_t)(socket - net.sockets),
                        .serial = socket->serial});
}

int64_t net_next(void)
{
    return net.event_count == 0 ? WEFT_NEVER : net.events[0].at_ns;
}

static int64_t arrival(void)
{
    int64_t span_ns = sim_span(LATENCY_MIN, LATENCY_MAX);

    if (sim_fault(WEFT_SIM_DELAY, 64, "delay"))
        span_ns = sim_span(LATENCY_MAX, DELAY_MAX);
    return sim_now() + span_ns;
}

// ---- Sockets ----

static struct socket *new_socket(void)
{
    uint32_t place = 0;

    while (place < net.used && net.sockets[place].state != SOCKET_NONE)
        place++;
    if (place == SOCKETS)
        return NULL;
    if (place == net.used)
        net.used++;
    struct socket *socket = &net.sockets[place];
    *socket = (struct socket){.state = SOCKET_NEW,
                              .serial = ++net.serials,
                              .poller = -1,
                              .room = 1 + sim_below(ROOM_MAX)};
    return socket;
}

static int number_of(const struct socket *socket)
{
    return FIRST_NUMBER + (int)(socket - net.sockets);
}

// The socket of a number, or NULL and errno.
static struct socket *find(int number)
{
    int place = number - FIRST_NUMBER;

    if (place >= 0 && (uint32_t)place < net.used &&
        net.sockets[place].state != SOCKET_NONE)
        return &net.sockets[place];
    errno = EBADF;
    return NULL;
}

static int fail(int error)
{
    errno = error;
    return -1;
}

// N3.
static void edge(struct socket *socket, uint32_t ready)
{
    if (socket->poller < 0)
        return;
    struct poller *poller = &net.pollers[socket->poller];
    poller->pending += socket->pending == 0;
    socket->pending |= ready;
    sim_wake(poller, 1);
}

static void drop_segments(struct socket *socket)
{
    struct segment *segment;

    while ((segment = socket->first) != NULL) {
        socket->first = segment->next;
        free(segment);
    }
    socket->last = NULL;
    socket->held = 0;
}

static void append(struct socket *socket, struct segment *segment)
{
    int64_t at_ns = arrival();

    if (socket->last != NULL && socket->last->at_ns > at_ns)
        at_ns = socket->last->at_ns;
    segment->at_ns = at_ns;
    segment->next = NULL;
    if (socket->last == NULL)
        socket->first = segment;
    else
        socket->last->next = segment;
    socket->last = segment;
    socket->held += segment->length;
    post(socket, at_ns, EVENT_EDGE, PORT_READABLE);
}

// The connection is no more, on this side.
static void break_off(struct socket *socket, int error)
{
    drop_segments(socket);
    socket->state = SOCKET_BROKEN;
    socket->error = error;
    if (socket->peer != NULL) {
        socket->peer->peer = NULL; // N2
        socket->peer = NULL;
    }
    edge(socket, PORT_READABLE | PORT_WRITABLE);
}

// A fault: it breaks on both sides, which hear of it each in its time.
static bool breaks(struct socket *socket)
{
    if (socket->peer == NULL || !sim_fault(WEFT_SIM_RESET, 512, "reset"))
        return false;
    post(socket->peer, arrival(), EVENT_BREAKS, ECONNRESET);
    break_off(socket, ECONNRESET);
    return true;
}

static void forget(struct socket *socket)
{
    if (socket->poller >= 0 && socket->pending != 0)
        net.pollers[socket->poller].pending--;
    drop_segments(socket);
    socket->state = SOCKET_NONE;
}

// ---- Connections ----

static uint16_t port_of(const union address *address)
{
    return address->v4.sin_port; // at the same place in both
}

static struct socket *listener_at(const union address *address)
{
    for (uint32_t i = 0; i < net.used; i++)
        if (net.sockets[i].state == SOCKET_LISTENS &&
            port_of(&net.sockets[i].own) == port_of(address))
            return &net.sockets[i];
    return NULL;
}

static void give_port(union address *address)
{
    if (port_of(address) == 0)
        address->v4.sin_port = htons((uint16_t)(FIRST_PORT + net.ports++));
}

// The far side of a connection, which the listener will accept.
static void arrive_at(struct socket *listener, struct socket *client)
{
    struct socket *server = new_socket();

    if (server == NULL) {
        post(client, arrival(), EVENT_BREAKS, ECONNREFUSED);
        return;
    }
    server->state = SOCKET_CONNECTED;
    server->own = client->other;
    server->other = client->own;
    server->peer = client;
    client->peer = server;
    struct socket **end = &listener->queue;
    while (*end != NULL)
        end = &(*end)->next;
    *end = server;
    listener->queued++;
    edge(listener, PORT_READABLE);
    post(client, arrival(), EVENT_STANDS, 0);
}

static void arrive_somewhere(struct socket *client)
{
    struct socket *listener = listener_at(&client->other);

    if (client->state != SOCKET_CONNECTS)
        return;
    if (listener == NULL || sim_fault(WEFT_SIM_RESET, 64, "refuses"))
        post(client, arrival(), EVENT_BREAKS, ECONNREFUSED);
    else if (listener->queued >= listener->backlog)
        post(client, sim_now() + SYN_AGAIN * WEFT_MILLISECOND, EVENT_ARRIVES,
             0);
    else
        arrive_at(listener, client);
}

static void happen(const struct event *event)
{
    struct socket *socket = &net.sockets[event->place];

    if (socket->state == SOCKET_NONE || socket->serial != event->serial)
        return; // N1
    switch (event->kind) {
    case EVENT_EDGE:
        edge(socket, event->value);
        break;
    case EVENT_ARRIVES:
        arrive_somewhere(socket);
        break;
    case EVENT_STANDS:
        if (socket->state == SOCKET_CONNECTS)
            socket->state = SOCKET_CONNECTED;
        edge(socket, PORT_WRITABLE);
        break;
    case EVENT_BREAKS:
        break_off(socket, (int)event->value);
        break;
    }
}

void net_advance(int64_t now_ns)
{
    while (net_next() <= now_ns) {
        struct event event = take_first();
        happen(&event);
    }
}

// ---- The calls ----

int port_socket(int family, int type, int protocol)
{
    if (sim == NULL)
        return socket(family, type, protocol);
    port_step();
    if (sim_fault(WEFT_SIM_LIMIT, 32, "no descriptors"))
        return fail(EMFILE);
    struct socket *made = new_socket();
    if (made == NULL)
        return fail(EMFILE);
    made->own.any.sa_family = (sa_family_t)family;
    made->accepted = true;
    return number_of(made);
}

int port_setsockopt(int number, int level, int option, const void *value,
                    socklen_t length)
{
    if (sim == NULL)
        return setsockopt(number, level, option, value, length);
    return find(number) == NULL ? -1 : 0;
}

int port_bind(int number, const struct sockaddr *address, socklen_t length)
{
    if (sim == NULL)
        return bind(number, address, length);
    struct socket *socket = find(number);
    if (socket == NULL)
        return -1;
    union address at = {.any.sa_family = AF_UNSPEC};
    memcpy(&at, address, length < sizeof at ? length : sizeof at);
    if (port_of(&at) != 0 && listener_at(&at) != NULL)
        return fail(EADDRINUSE);
    give_port(&at);
    socket->own = at;
    return 0;
}

int port_listen(int number, int backlog)
{
    if (sim == NULL)
        return listen(number, backlog);
    struct socket *socket = find(number);
    if (socket == NULL)
        return -1;
    socket->state = SOCKET_LISTENS;
    socket->backlog = backlog < 1 ? 1 : backlog;
    return 0;
}

// Says once in a while that a call would block, and soon that it would not.
static bool puts_off(struct socket *socket, uint32_t side)
{
    if (!sim_fault(WEFT_SIM_SHORT, 16, "would block"))
        return false;
    post(socket, arrival(), EVENT_EDGE, side);
    return true;
}

static void tell_address(const union address *address, struct sockaddr *to,
                         socklen_t *length)
{
    socklen_t size = address->any.sa_family == AF_INET6 ? sizeof address->v6
                                                        : sizeof address->v4;

    memcpy(to, address, *length < size ? *length : size);
    *length = size;
}

int port_accept4(int number, struct sockaddr *address, socklen_t *length,
                 int flags)
{
    if (sim == NULL)
        return accept4(number, address, length, flags);
    port_step();
    struct socket *listener = find(number);
    if (listener == NULL)
        return -1;
    struct socket *first = listener->queue;
    if (first == NULL || puts_off(listener, PORT_READABLE))
        return fail(EAGAIN);
    if (sim_fault(WEFT_SIM_LIMIT, 16, "no descriptors"))
        return fail(EMFILE);
    listener->queue = first->next;
    listener->queued--;
    first->accepted = true;
    if (address != NULL)
        tell_address(&first->other, address, length);
    return number_of(first);
}

static int start_connecting(struct socket *socket,
                            const struct sockaddr *address, socklen_t length)
{
    memcpy(&socket->other, address,
           length < sizeof socket->other ? length : sizeof socket->other);
    socket->own = socket->other; // all addresses are of this one machine
    socket->own.v4.sin_port = 0;
    give_port(&socket->own);
    socket->state = SOCKET_CONNECTS;
    post(socket, arrival(), EVENT_ARRIVES, 0);
    return fail(EINPROGRESS);
}

// What a socket's error is, once.
static int take_error(struct socket *socket)
{
    int error = socket->error;

    socket->error = 0;
    return error;
}

int port_connect(int number, const struct sockaddr *address, socklen_t length)
{
    if (sim == NULL)
        return connect(number, address, length);
    port_step();
    struct socket *socket = find(number);
    if (socket == NULL)
        return -1;
    switch (socket->state) {
    case SOCKET_NEW:
        return start_connecting(socket, address, length);
    case SOCKET_CONNECTS:
        return fail(EALREADY);
    case SOCKET_BROKEN:
        if (socket->error != 0)
            return fail(take_error(socket));
        return fail(ECONNABORTED);
    default:
        return fail(EISCONN);
    }
}

int port_getsockname(int number, struct sockaddr *address, socklen_t *length)
{
    if (sim == NULL)
        return getsockname(number, address, length);
    struct socket *socket = find(number);
    if (socket == NULL)
        return -1;
    tell_address(&socket->own, address, length);
    return 0;
}

int port_getpeername(int number, struct sockaddr *address, socklen_t *length)
{
    if (sim == NULL)
        return getpeername(number, address, length);
    struct socket *socket = find(number);
    if (socket == NULL)
        return -1;
    if (socket->state != SOCKET_CONNECTED)
        return fail(ENOTCONN);
    tell_address(&socket->other, address, length);
    return 0;
}

// ---- Reading and writing ----

// Takes what has arrived, up to `count`; tells the peer that there is room.
static size_t take(struct socket *socket, char *to, size_t count)
{
    size_t done = 0;
    struct segment *segment;

    while (done < count && (segment = socket->first) != NULL &&
           segment->at_ns <= sim_now() && !segment->end) {
        size_t left = segment->length - segment->taken;
        size_t some = left < count - done ? left : count - done;
        memcpy(to + done, segment->bytes + segment->taken, some);
        done += some;
        segment->taken += some;
        if (some < left)
            break;
        socket->first = segment->next;
        if (socket->first == NULL)
            socket->last = NULL;
        free(segment);
    }
    socket->held -= done;
    if (done > 0 && socket->peer != NULL)
        post(socket->peer, arrival(), EVENT_EDGE, PORT_WRITABLE);
    return done;
}

static size_t shorten(size_t count)
{
    if (count > 1 && sim_fault(WEFT_SIM_SHORT, 4, "short"))
        return 1 + sim_below(count);
    return count;
}

// The socket, if it is connected; else NULL, and what the call is to return.
// `broken`: the error of one that broke without, or 0 for its end.
static struct socket *connected(int number, int broken, ssize_t *ret_result)
{
    struct socket *socket = find(number);

    *ret_result = -1; // find has said why
    if (socket == NULL)
        return NULL;
    (void)breaks(socket);
    if (socket->state == SOCKET_CONNECTED)
        return socket;
    int error = ENOTCONN;
    if (socket->state == SOCKET_BROKEN)
        error = socket->error != 0 ? take_error(socket) : broken;
    *ret_result = error == 0 ? 0 : fail(error);
    return NULL;
}

ssize_t port_recv(int number, void *to, size_t count, int flags)
{
    if (sim == NULL)
        return recv(number, to, count, flags);
    port_step();
    ssize_t result;
    struct socket *socket = connected(number, 0, &result);
    if (socket == NULL)
        return result;
    struct segment *first = socket->first;
    if (first == NULL || first->at_ns > sim_now() ||
        puts_off(socket, PORT_READABLE))
        return fail(EAGAIN);
    return first->end ? 0 : (ssize_t)take(socket, to, shorten(count));
}

// Of bytes that the peer will not read: it is gone. It says so.
static ssize_t send_nowhere(struct socket *socket, size_t count)
{
    if (!socket->gone)
        post(socket, arrival(), EVENT_BREAKS, EPIPE);
    socket->gone = true;
    return (ssize_t)count;
}

ssize_t port_send(int number, const void *from, size_t count, int flags)
{
    if (sim == NULL)
        return send(number, from, count, flags);
    port_step();
    ssize_t result;
    struct socket *socket = connected(number, EPIPE, &result);
    if (socket == NULL)
        return result;
    if (socket->peer == NULL)
        return send_nowhere(socket, count);
    size_t room = socket->peer->room - socket->peer->held;
    if (room == 0 || puts_off(socket, PORT_WRITABLE))
        return fail(EAGAIN);
    count = shorten(count < room ? count : room);
    struct segment *segment = malloc(sizeof *segment + count);
    if (segment == NULL)
        return fail(ENOMEM);
    *segment = (struct segment){.length = count};
    memcpy(segment->bytes, from, count);
    append(socket->peer, segment);
    return (ssize_t)count;
}

// ---- Closing ----

static bool has_unread(const struct socket *socket)
{
    return socket->first != NULL && !socket->first->end;
}

// What the peer gets to see: the stream's end, or a reset if there was
// something that nobody has read.
static void take_leave(struct socket *socket)
{
    struct socket *peer = socket->peer;
    struct segment *end = calloc(1, sizeof *end);

    if (end == NULL)
        abort();
    peer->peer = NULL; // N2
    socket->peer = NULL;
    if (has_unread(socket)) {
        free(end);
        post(peer, arrival(), EVENT_BREAKS, ECONNRESET);
        return;
    }
    end->end = true;
    append(peer, end);
}

int port_close(int number)
{
    if (sim == NULL)
        return close(number);
    port_step();
    struct socket *socket = find(number);
    if (socket == NULL)
        return -1;
    for (struct socket *at = socket->queue, *next; at != NULL; at = next) {
        next = at->next;
        if (at->peer != NULL)
            post(at->peer, arrival(), EVENT_BREAKS, ECONNRESET);
        if (at->peer != NULL)
            at->peer->peer = NULL;
        forget(at);
    }
    if (socket->peer != NULL)
        take_leave(socket);
    forget(socket);
    return 0;
}

// ---- Event sources ----

int net_poller_new(void)
{
    for (int i = 0; i < POLLERS; i++)
        if (!net.pollers[i].used) {
            net.pollers[i] = (struct poller){.used = true};
            return i;
        }
    return -EMFILE;
}

void net_poller_free(int number)
{
    net.pollers[number].used = false;
    for (uint32_t i = 0; i < net.used; i++)
        if (net.sockets[i].poller == number)
            net.sockets[i].poller = -1;
}

static uint32_t readiness(const struct socket *socket)
{
    bool readable =
        socket->queue != NULL || socket->state == SOCKET_BROKEN ||
        (socket->first != NULL && socket->first->at_ns <= sim_now());
    bool writable =
        socket->state == SOCKET_BROKEN ||
        (socket->state == SOCKET_CONNECTED &&
         (socket->peer == NULL || socket->peer->held < socket->peer->room));

    return (readable ? PORT_READABLE : 0) | (writable ? PORT_WRITABLE : 0);
}

int port_poll(struct pollfd *polled, nfds_t count, int timeout_ms)
{
    int ready = 0;

    if (sim == NULL)
        return poll(polled, count, timeout_ms);
    for (nfds_t i = 0; i < count; i++) {
        const struct socket *socket = find(polled[i].fd);
        uint32_t what = socket == NULL ? 0 : readiness(socket);
        int events = (what & PORT_READABLE ? POLLIN : 0) |
                     (what & PORT_WRITABLE ? POLLOUT : 0);
        polled[i].revents =
            (short)(socket == NULL ? POLLNVAL : events & polled[i].events);
        ready += polled[i].revents != 0;
    }
    return ready;
}

int net_poller_add(int poller, int number, uint64_t token)
{
    struct socket *socket = find(number);

    if (socket == NULL)
        return -EBADF;
    socket->poller = poller;
    socket->token = token;
    uint32_t ready = readiness(socket);
    if (ready != 0)
        edge(socket, ready);
    return 0;
}

void net_poller_remove(int poller, int number)
{
    struct socket *socket = find(number);

    if (socket == NULL || socket->poller != poller)
        return;
    if (socket->pending != 0)
        net.pollers[poller].pending--;
    socket->pending = 0;
    socket->poller = -1;
}

void net_poller_watch_clock(int number)
{
    net.pollers[number].watches_clock = true;
}

void net_clock_set(void)
{
    for (int i = 0; i < POLLERS; i++) {
        net.pollers[i].clock_set = net.pollers[i].watches_clock;
        sim_wake(&net.pollers[i], 1);
    }
}

// From any place on, so that none is always first.
static int collect(int number, struct port_event *events, int max)
{
    struct poller *poller = &net.pollers[number];
    uint32_t start = net.used > 0 ? (uint32_t)sim_below(net.used) : 0;
    int count = 0;

    if (poller->clock_set)
        events[count++] = (struct port_event){PORT_CLOCK_TOKEN, PORT_READABLE};
    poller->clock_set = false;
    for (uint32_t i = 0; i < net.used && count < max && poller->pending > 0;
         i++) {
        struct socket *socket = &net.sockets[(start + i) % net.used];
        if (socket->state == SOCKET_NONE || socket->poller != number ||
            socket->pending == 0)
            continue;
        events[count++] = (struct port_event){socket->token, socket->pending};
        socket->pending = 0;
        poller->pending--;
    }
    return count;
}

int net_poller_wait(int number, struct port_event *events, int max,
                    int64_t deadline_ns)
{
    struct poller *poller = &net.pollers[number];

    port_step();
    if (!poller->woken && !poller->clock_set && poller->pending == 0 &&
        deadline_ns > sim_now())
        (void)sim_wait(poller, deadline_ns);
    poller->woken = false;
    return collect(number, events, max);
}

void net_poller_wake(int number)
{
    net.pollers[number].woken = true;
    sim_wake(&net.pollers[number], 1);
    port_step();
}

// ---- Beginning and end ----

void net_begin(void)
{
    net.used = 0;
    net.serials = 0;
    net.ports = 0;
    net.event_count = 0;
    net.event_numbers = 0;
    memset(net.pollers, 0, sizeof net.pollers);
}

void net_end(void)
{
    for (uint32_t i = 0; i < net.used; i++)
        drop_segments(&net.sockets[i]);
}
