// fd.c -- Descriptors on which tasks wait.
//
// A handle is a slot of the runtime's table, the runtime's tag and the slot's
// generation. An operation takes the slot into use, tries its system call, and
// parks only if that would block; the driver reports changes (edges) of
// readiness, once each, to fd_ready.
//
//   I1  A slot's fields are under its lock, save `next` (the table's lock) and
//       what fd_open writes before the slot is open.
//   I2  `users` counts the system calls in progress on the number, and one
//       more while the slot is open. Whoever takes it to 0 closes the number
//       and frees the slot, whose generation grows. So a number is never
//       closed, and given to another file, under a system call. A parked task
//       is no user: closing a listener frees its port at once.
//   I3  A segment is stored (release) before `used` grows past its first slot
//       (release); whoever loads `used` (acquire) may read every slot below
//       it. Segments are never freed while the table lives.
//
// No edge is lost, for each side of each slot:
//   R1  An edge is handed to the oldest waiter, and to the `ready` flag if
//       there is none that can still be woken.
//   R2  An operation clears the flag before its first try. What the flag stood
//       for happened before that, so the try sees it.
//   R3  After -EAGAIN it looks at the flag again, under the lock, and tries
//       again if it is set; else it goes into the queue in the same critical
//       section. An edge after the failed try so finds the waiter, or the
//       waiter finds the flag.
//   R4  An operation that ends passes readiness on as if an edge had come,
//       whatever its outcome: it may have left something (a second connection,
//       the rest of the data, the end of the stream) for which no further edge
//       will come, and may have taken the only one. The next one finds out by
//       trying. Without it, of several tasks that accept one would sleep on a
//       full backlog.
#include "io/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weft/net.h>

#include "base/panic.h"
#include "port/socket.h"
#include "sync/clause.h"

enum {
    FD_SLOTS = 256, // in a segment
    FD_SEGMENTS = 16384,
};

struct fd_slot {
    struct driver_source source; // its `ready` is set once
    struct fd_table *table;      //
    uint32_t index;              //
    struct lock lock;            // I1
    uint32_t generation;         //
    uint32_t users;              // I2
    int number;                  //
    bool open;                   //
    bool ready[2];               // by enum fd_side; R1
    struct list waiters[2];      //
    struct fd_slot *next;        // in the table's free list
};

struct fd_segment {
    struct fd_slot slots[FD_SLOTS];
};

struct fd_table {
    struct driver *driver;
    uint32_t tag;
    uint32_t first_generation;              // random, so that handles of an
                                            // earlier runtime do not match
    _Atomic(struct fd_segment *) *segments; // I3
    atomic_u32 used;                        // slots ever handed out; I3
    struct lock lock;                       // guards `free`, growing of `used`
    struct fd_slot *free;
};

// ---- Readiness. ----

// The driver's side of R1. The lock is held.
static void note(struct fd_slot *slot, enum fd_side side,
                 struct task_list *ret_ready)
{
    struct list *link;

    while ((link = list_pop_front(&slot->waiters[side])) != NULL) {
        struct waiter *waiter = container_of(link, struct waiter, link);
        struct task *task;
        enum fired fired = waiter_fire(waiter, 0, &task);
        if (fired == FIRED_READY)
            task_list_push(ret_ready, task);
        if (fired != FIRED_LOST)
            return;
    }
    slot->ready[side] = true;
}

static void fd_ready(struct driver_source *source, uint32_t ready,
                     struct task_list *ret_ready)
{
    struct fd_slot *slot = container_of(source, struct fd_slot, source);

    lock_acquire(&slot->lock);
    if ((ready & PORT_READABLE) != 0)
        note(slot, FD_READ, ret_ready);
    if ((ready & PORT_WRITABLE) != 0)
        note(slot, FD_WRITE, ret_ready);
    lock_release(&slot->lock);
}

// An operation's side of R1, for R4. The lock is held.
static void pass_on(struct fd_slot *slot, enum fd_side side)
{
    struct list *link;

    while ((link = list_pop_front(&slot->waiters[side])) != NULL)
        if (wait_wake(container_of(link, struct waiter, link), 0))
            return;
    slot->ready[side] = true;
}

// ---- The table. ----

int fd_table_new(struct driver *driver, uint32_t tag,
                 struct fd_table **ret_table)
{
    struct fd_table *table = calloc(1, sizeof *table);

    if (table == NULL)
        return -ENOMEM;
    table->driver = driver;
    table->tag = tag;
    table->first_generation = (uint32_t)port_random();
    table->segments =
        port_reserve(FD_SEGMENTS * sizeof *table->segments, 1, false);
    if (table->segments == NULL) {
        free(table);
        return -ENOMEM;
    }
    *ret_table = table;
    return 0;
}

static struct fd_slot *slot_at(struct fd_table *table, uint32_t index)
{
    struct fd_segment *segment =
        load_relaxed(&table->segments[index / FD_SLOTS]); // I3: by `used`

    return &segment->slots[index % FD_SLOTS];
}

void fd_table_free(struct fd_table *table)
{
    if (table == NULL)
        return;
    uint32_t used = load_acquire(&table->used); // I3
    for (uint32_t i = 0; i < used; i++) {
        struct fd_slot *slot = slot_at(table, i);
        ensure(slot->users == (slot->open ? 1 : 0)); // I2
        if (slot->open)
            port_close(slot->number);
    }
    for (uint32_t i = 0; i < used; i += FD_SLOTS)
        port_unreserve(load_relaxed(&table->segments[i / FD_SLOTS]),
                       sizeof(struct fd_segment));
    port_unreserve(table->segments, FD_SEGMENTS * sizeof *table->segments);
    free(table);
}

// A slot never used before. The table's lock is held.
static int fresh_slot(struct fd_table *table, struct fd_slot **ret_slot)
{
    uint32_t index = load_relaxed(&table->used); // only written under the lock

    if (index == FD_SLOTS * FD_SEGMENTS)
        return -EMFILE;
    if (index % FD_SLOTS == 0) {
        struct fd_segment *segment = port_reserve(sizeof *segment, 1, false);
        if (segment == NULL)
            return -ENOMEM;
        store_release(&table->segments[index / FD_SLOTS], segment); // I3
    }
    struct fd_slot *slot = slot_at(table, index);
    slot->source.ready = fd_ready;
    slot->table = table;
    slot->index = index;
    slot->generation = table->first_generation;
    list_init(&slot->waiters[FD_READ]);
    list_init(&slot->waiters[FD_WRITE]);
    store_release(&table->used, index + 1); // I3
    *ret_slot = slot;
    return 0;
}

static int take_slot(struct fd_table *table, struct fd_slot **ret_slot)
{
    int failure = 0;

    lock_acquire(&table->lock);
    *ret_slot = table->free;
    if (table->free != NULL)
        table->free = table->free->next;
    else
        failure = fresh_slot(table, ret_slot);
    lock_release(&table->lock);
    return failure;
}

static void give_slot(struct fd_slot *slot)
{
    struct fd_table *table = slot->table;

    lock_acquire(&table->lock);
    slot->next = table->free;
    table->free = slot;
    lock_release(&table->lock);
}

// The calling task's table, or NULL in a thread.
static struct fd_table *own_table(void)
{
    struct task *task = task_self();

    return task == NULL ? NULL : runtime_of(task)->fds;
}

// ---- Opening and closing. ----

// The runtime's own handle layout, task.h.
static weft_fd handle_of(const struct fd_slot *slot)
{
    return (weft_fd){(uint64_t)slot->generation << 32 |
                     (uint64_t)slot->table->tag << 24 | slot->index};
}

int fd_open(int number, weft_fd *ret_fd)
{
    struct fd_table *table = own_table();
    struct fd_slot *slot;
    int failure = table == NULL ? -EPERM : take_slot(table, &slot);

    if (failure < 0) {
        port_close(number);
        return failure;
    }
    lock_acquire(&slot->lock); // a stray event may call fd_ready: driver.c D3
    slot->number = number;
    slot->users = 1;
    slot->open = true;
    weft_fd fd = handle_of(slot);
    lock_release(&slot->lock);
    failure = driver_add(table->driver, number, &slot->source);
    if (failure < 0)
        (void)weft_fd_close(fd);
    else
        *ret_fd = fd;
    return failure;
}

// Gives up a use; the lock is held, and given back here (I2).
static void drop(struct fd_slot *slot)
{
    bool last = --slot->users == 0;
    int number = slot->number;

    if (last)
        slot->generation++;
    lock_release(&slot->lock);
    if (!last)
        return;
    // Taken out by hand: a forked child that holds the file would keep it in.
    driver_remove(slot->table->driver, number);
    port_close(number);
    give_slot(slot);
}

// Whether the slot still is the descriptor of a handle. The lock is held.
static bool is(const struct fd_slot *slot, weft_fd fd)
{
    return slot->open && slot->generation == HANDLE_GENERATION(fd);
}

// The slot that a handle names. 0, -EPERM or -EBADF.
static int locate(weft_fd fd, struct fd_slot **ret_slot)
{
    struct fd_table *table = own_table();
    uint32_t index = HANDLE_INDEX(fd);

    if (table == NULL)
        return -EPERM;
    if (HANDLE_TAG(fd) != table->tag || index >= load_acquire(&table->used))
        return -EBADF; // I3
    *ret_slot = slot_at(table, index);
    return 0;
}

// The same, and it still is that descriptor; its lock is held.
static int find(weft_fd fd, struct fd_slot **ret_slot)
{
    int error = locate(fd, ret_slot);

    if (error != 0)
        return error;
    lock_acquire(&(*ret_slot)->lock);
    if (is(*ret_slot, fd))
        return 0;
    lock_release(&(*ret_slot)->lock);
    return -EBADF;
}

static void wake_all(struct fd_slot *slot, enum fd_side side, int outcome)
{
    struct list *link;

    while ((link = list_pop_front(&slot->waiters[side])) != NULL)
        (void)wait_wake(container_of(link, struct waiter, link), outcome);
}

int weft_fd_close(weft_fd fd)
{
    struct fd_slot *slot;
    int failure = find(fd, &slot);

    if (failure < 0)
        return failure;
    slot->open = false;
    wake_all(slot, FD_READ, EBADF);
    wake_all(slot, FD_WRITE, EBADF);
    drop(slot);
    return 0;
}

// ---- Operations. ----

// Tries once. The lock is held, before and after; the slot is in use
// meanwhile (I2), and still is on return.
static ssize_t try_once(struct fd_slot *slot, enum fd_side side, fd_try *try,
                        void *arg)
{
    int number = slot->number;

    slot->users++;
    slot->ready[side] = false; // R2
    lock_release(&slot->lock);
    ssize_t outcome = try(number, arg);
    lock_acquire(&slot->lock);
    return outcome;
}

// Parks until another try is worth while: 0, or why there will be none. The
// lock is held, before and after. The slot is not in use meanwhile, so it may
// become another descriptor.
static int await(struct fd_slot *slot, weft_fd fd, enum fd_side side,
                 int64_t deadline_ns)
{
    struct waiter waiter = {.data = NULL};
    struct wait wait = {
        .kind = WEFT_WAIT_FD,
        .fd = slot->number,
        .write = side == FD_WRITE,
        .deadline_ns = deadline_ns,
    };

    if (slot->ready[side]) // R3
        return 0;
    int outcome = wait_park(&wait, &slot->lock, &slot->waiters[side], &waiter);
    lock_acquire(&slot->lock);
    return is(slot, fd) ? outcome : -EBADF;
}

// fd_run without its frame. The lock is held, and given back.
static ssize_t run(struct fd_slot *slot, weft_fd fd, enum fd_side side,
                   int64_t deadline_ns, fd_try *try, void *arg)
{
    ssize_t outcome;

    while ((outcome = try_once(slot, side, try, arg)) == -EAGAIN &&
           slot->open) {
        slot->users--; // not the last: it is open
        outcome = await(slot, fd, side, deadline_ns);
        if (outcome < 0) { // no edge was used up, so none is passed on
            lock_release(&slot->lock);
            return outcome;
        }
    }
    if (slot->open)
        pass_on(slot, side); // R4
    drop(slot);
    return outcome == -EAGAIN ? -EBADF : outcome;
}

ssize_t fd_run(weft_fd fd, enum fd_side side, int64_t deadline_ns, fd_try *try,
               void *arg)
{
    struct fd_slot *slot;
    ssize_t outcome = find(fd, &slot);

    if (outcome < 0)
        return outcome;
    outcome = wait_interrupted(task_self());
    if (outcome < 0) {
        lock_release(&slot->lock);
        return outcome;
    }
    outcome = run(slot, fd, side, deadline_ns, try, arg);
    if (outcome >= 0)
        sched_spend();
    return outcome;
}

ssize_t fd_look(weft_fd fd, fd_try *fn, void *arg)
{
    struct fd_slot *slot;
    ssize_t outcome = find(fd, &slot);

    if (outcome < 0)
        return outcome;
    int number = slot->number;
    slot->users++;
    lock_release(&slot->lock);
    outcome = fn(number, arg);
    lock_acquire(&slot->lock);
    drop(slot);
    return outcome;
}

// ---- Reading and writing. ----

struct bytes {
    void *start;
    size_t count;
};

__attribute__((noinline)) static ssize_t try_read(int number, void *arg)
{
    struct bytes *bytes = arg;
    ssize_t got;

    do {
        got = port_recv(number, bytes->start, bytes->count, 0);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

__attribute__((noinline)) static ssize_t try_write(int number, void *arg)
{
    struct bytes *bytes = arg;
    ssize_t sent;

    do {
        sent = port_send(number, bytes->start, bytes->count, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

static ssize_t get_number(int number, void *arg)
{
    (void)arg;
    return number;
}

ssize_t weft_fd_read(weft_fd fd, void *buffer, size_t count,
                     int64_t deadline_ns)
{
    struct bytes bytes = {buffer, count};

    if (count == 0) { // recv(2) would wait for data to give none of
        ssize_t number = fd_look(fd, get_number, NULL);
        return number < 0 ? number : 0;
    }
    if (buffer == NULL)
        return task_self() == NULL ? -EPERM : -EINVAL;
    return fd_run(fd, FD_READ, deadline_ns, try_read, &bytes);
}

ssize_t weft_fd_write(weft_fd fd, const void *buffer, size_t count,
                      int64_t deadline_ns)
{
    size_t done = 0;

    if (count == 0) {
        ssize_t number = fd_look(fd, get_number, NULL);
        return number < 0 ? number : 0;
    }
    if (buffer == NULL)
        return task_self() == NULL ? -EPERM : -EINVAL;
    while (done < count) {
        struct bytes bytes = {(char *)(uintptr_t)buffer + done, count - done};
        ssize_t sent = fd_run(fd, FD_WRITE, deadline_ns, try_write, &bytes);
        if (sent < 0)
            return done > 0 ? (ssize_t)done : sent;
        done += (size_t)sent;
    }
    return (ssize_t)done;
}

int weft_fd_number(weft_fd fd)
{
    return (int)fd_look(fd, get_number, NULL);
}

// ---- As a clause. ----

static weft_fd handle_in(const struct clause *clause)
{
    return (weft_fd){clause->number};
}

static int find_clause(struct clause *clause)
{
    struct fd_slot *slot;
    int error = locate(handle_in(clause), &slot);

    if (error == -EPERM)
        return error;
    clause->result = error;
    if (error == 0) {
        clause->object = slot;
        clause->lock = &slot->lock;
    }
    return 0;
}

// The number cannot be closed: the lock is held (I2).
static bool is_ready(struct fd_slot *slot, enum fd_side side)
{
    struct pollfd polled = {
        .fd = slot->number,
        .events = side == FD_READ ? POLLIN : POLLOUT,
    };

    slot->ready[side] = false; // R2
    if (port_poll(&polled, 1, 0) != 1)
        return false;
    pass_on(slot, side); // R4: nothing of it was used
    return true;
}

static bool try_clause(struct clause *clause, enum fd_side side)
{
    struct fd_slot *slot = clause->object;

    clause->result = is(slot, handle_in(clause)) ? 0 : -EBADF;
    return clause->result != 0 || is_ready(slot, side);
}

static bool try_readable(struct clause *clause)
{
    return try_clause(clause, FD_READ);
}

static bool try_writable(struct clause *clause)
{
    return try_clause(clause, FD_WRITE);
}

static bool enter_clause(struct clause *clause, enum fd_side side)
{
    struct fd_slot *slot = clause->object;
    struct clause_shown *shown = (struct clause_shown *)&clause->own;

    shown->number = (uint64_t)slot->number;
    list_push_back(&slot->waiters[side], &shown->waiter.link);
    return false;
}

static bool enter_readable(struct clause *clause)
{
    return enter_clause(clause, FD_READ);
}

static bool enter_writable(struct clause *clause)
{
    return enter_clause(clause, FD_WRITE);
}

static void leave_clause(struct clause *clause)
{
    struct waiter *waiter = &clause->own.waiter;

    if (list_linked(&waiter->link))
        list_remove(&waiter->link);
}

// Another may have taken what there was, or an operation passed on readiness
// that it had used up (R4).
static bool confirm(struct clause *clause, enum fd_side side)
{
    struct fd_slot *slot = clause->object;

    return !is(slot, handle_in(clause)) || is_ready(slot, side);
}

static bool confirm_readable(struct clause *clause)
{
    return confirm(clause, FD_READ);
}

static bool confirm_writable(struct clause *clause)
{
    return confirm(clause, FD_WRITE);
}

const struct clause_kind readable_clause = {
    WEFT_WAIT_FD, find_clause,      try_readable, enter_readable,
    leave_clause, confirm_readable, NULL,
};

const struct clause_kind writable_clause = {
    WEFT_WAIT_FD, find_clause,      try_writable, enter_writable,
    leave_clause, confirm_writable, NULL,
};
