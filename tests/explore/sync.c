// sync.c -- Scenarios of the locks, events and channels, between threads.
#include <weft/weft.h>

#include <errno.h>
#include <string.h>

#include "explore/explore.h"

enum { WHILE_NS = 1000000 };

static int64_t soon(void)
{
    return port_now() + WHILE_NS;
}

// ---- Mutex ----

static weft_mutex mutex;
static int counter; // under it
static int refused[3];

static void reset_mutex(void)
{
    explore_expect(weft_mutex_init(&mutex, "m") == 0);
    counter = 0;
    memset(refused, 0, sizeof refused);
}

static void lock_and_add(void *arg)
{
    (void)arg;
    explore_expect(weft_mutex_lock(&mutex, WEFT_NEVER) == 0);
    counter++;
    explore_expect(weft_mutex_unlock(&mutex) == 0);
}

static void lock_in_time(void *arg)
{
    int error = weft_mutex_lock(&mutex, soon());

    explore_expect(error == 0 || error == -ETIMEDOUT);
    refused[(uintptr_t)arg] = error != 0;
    if (error != 0)
        return;
    counter++;
    explore_expect(weft_mutex_unlock(&mutex) == 0);
}

static void expect_counted(int all)
{
    explore_expect(counter + refused[0] + refused[1] + refused[2] == all);
    explore_expect(weft_mutex_try_lock(&mutex) == 0);
    explore_expect(weft_mutex_unlock(&mutex) == 0);
    explore_expect(weft_mutex_deinit(&mutex) == 0);
}

static void mutex_two(void)
{
    reset_mutex();
    explore_start("A", lock_and_add, NULL);
    explore_start("B", lock_and_add, NULL);
    explore_join_all();
    expect_counted(2);
}

static void mutex_three(void)
{
    reset_mutex();
    explore_start("A", lock_and_add, NULL);
    explore_start("B", lock_and_add, NULL);
    explore_start("C", lock_and_add, NULL);
    explore_join_all();
    expect_counted(3);
}

static void mutex_timed(void)
{
    reset_mutex();
    explore_start("A", lock_and_add, NULL);
    explore_start("B", lock_in_time, (void *)1);
    explore_start("C", lock_in_time, (void *)2);
    explore_join_all();
    expect_counted(3);
}

// ---- Channel ----

enum { ITEMS = 2 };

static weft_channel *channel;
static int sent;     // items that went in
static int received; // items that came out
static int arrived[ITEMS + 1];

static void reset_channel(size_t capacity)
{
    explore_expect(weft_channel_new(sizeof(int), capacity, "c", &channel) == 0);
    sent = received = 0;
    memset(arrived, 0, sizeof arrived);
}

static void send_all(void *arg)
{
    int64_t deadline_ns = arg == NULL ? WEFT_NEVER : soon();

    for (int i = 1; i <= ITEMS; i++) {
        int error = weft_channel_send(channel, &i, deadline_ns);
        explore_expect(error == 0 || error == -ETIMEDOUT || error == -EPIPE);
        sent += error == 0;
    }
}

static void receive_all(void *arg)
{
    int64_t deadline_ns = arg == NULL ? WEFT_NEVER : soon();
    int item;

    for (int i = 0; i < ITEMS; i++) {
        int error = weft_channel_recv(channel, &item, deadline_ns);
        explore_expect(error == 0 || error == -ETIMEDOUT || error == -EPIPE);
        if (error != 0)
            continue;
        received++;
        arrived[item]++;
    }
}

static void close_it(void *arg)
{
    (void)arg;
    explore_expect(weft_channel_close(channel) == 0);
}

// Nothing is lost: what went in is out, or still inside.
static void expect_received(void)
{
    int item;

    while (weft_channel_recv(channel, &item, 0) == 0) {
        received++;
        arrived[item]++;
    }
    explore_expect(sent == received);
    for (int i = 1; i <= ITEMS; i++)
        explore_expect(arrived[i] <= 1);
    explore_expect(weft_channel_free(channel) == 0);
}

static void channel_pass(void)
{
    reset_channel(1);
    explore_start("sender", send_all, NULL);
    explore_start("receiver", receive_all, NULL);
    explore_join_all();
    expect_received();
    explore_expect(received == ITEMS);
}

static void channel_timed(void)
{
    reset_channel(1);
    explore_start("sender", send_all, &channel);
    explore_start("receiver", receive_all, &channel);
    explore_join_all();
    expect_received();
}

static void channel_closed(void)
{
    reset_channel(1);
    explore_start("sender", send_all, NULL);
    explore_start("receiver", receive_all, NULL);
    explore_start("closer", close_it, NULL);
    explore_join_all();
    expect_received();
}

// Nobody receives: a sender that waits is told by the closing alone.
static void channel_refused(void)
{
    reset_channel(1);
    explore_start("sender", send_all, NULL);
    explore_start("closer", close_it, NULL);
    explore_join_all();
    expect_received();
}

// ---- One-shot ----

static int outcomes[4]; // of each, by its number

static void send_once(void *arg)
{
    int item = (int)(uintptr_t)arg;

    outcomes[item] = weft_channel_send(channel, &item, WEFT_NEVER);
    explore_expect(outcomes[item] == 0 || outcomes[item] == -EPIPE);
}

// The second has a deadline.
static void receive_once(void *arg)
{
    bool timed = (uintptr_t)arg == 3;
    int item = 0;
    int error = weft_channel_recv(channel, &item, timed ? soon() : WEFT_NEVER);

    explore_expect(error == 0 || error == -EPIPE ||
                   (timed && error == -ETIMEDOUT));
    explore_expect(error != 0 || item == 1 || item == 2);
    outcomes[(uintptr_t)arg] = error == 0 ? item : error;
}

static void reset_oneshot(void)
{
    explore_expect(weft_oneshot_new(sizeof(int), "o", &channel) == 0);
    memset(outcomes, 0, sizeof outcomes);
}

// Two send, one of them has its way; who receives gets that.
static void oneshot_two(void)
{
    reset_oneshot();
    explore_start("A", send_once, (void *)1);
    explore_start("B", send_once, (void *)2);
    explore_start("receiver", receive_once, (void *)3);
    explore_join_all();
    explore_expect((outcomes[1] == 0) != (outcomes[2] == 0));
    if (outcomes[3] > 0)
        explore_expect(outcomes[outcomes[3]] == 0);
    else
        explore_expect(weft_channel_recv(channel, &outcomes[3], 0) == 0);
    explore_expect(weft_channel_free(channel) == 0);
}

// Of two who receive the other is told that nothing comes, or gives up.
static void oneshot_timed(void)
{
    reset_oneshot();
    explore_start("sender", send_once, (void *)1);
    explore_start("A", receive_once, (void *)2);
    explore_start("B", receive_once, (void *)3);
    explore_join_all();
    explore_expect((outcomes[2] == 1) != (outcomes[3] == 1));
    explore_expect(outcomes[2] == 1 || outcomes[2] == -EPIPE);
    explore_expect(weft_channel_free(channel) == 0);
}

// ---- Broadcast, watch ----

static weft_broadcast *broadcast;
static weft_receiver receivers[2];

static void reset_broadcast(void)
{
    explore_expect(weft_broadcast_new(sizeof(int), 1, "b", &broadcast) == 0);
    for (int i = 0; i < 2; i++)
        explore_expect(weft_broadcast_subscribe(broadcast, &receivers[i]) == 0);
}

static void send_to_all(void *arg)
{
    (void)arg;
    for (int i = 1; i <= ITEMS; i++)
        explore_expect(weft_broadcast_send(broadcast, &i) == 0);
    explore_expect(weft_broadcast_close(broadcast) == 0);
}

// What came, in order, and what was lost make up all.
static void account(weft_receiver *receiver, int error, int item, int *next)
{
    explore_expect(error == 0 || error == -EOVERFLOW || error == -EPIPE ||
                   error == -ETIMEDOUT);
    if (error == 0)
        explore_expect(item == ++*next);
    else if (error == -EOVERFLOW)
        *next += (int)receiver->lost;
    else if (error == -EPIPE)
        explore_expect(*next == ITEMS);
}

// Up to the end, but for the one with a deadline, who goes on after it has
// given up.
static void receive_to_end(void *arg)
{
    weft_receiver *receiver = &receivers[arg != NULL];
    int64_t deadline_ns = arg == NULL ? WEFT_NEVER : soon();
    int next = 0;
    int error;

    do {
        int item = 0;
        error = weft_broadcast_recv(receiver, &item, deadline_ns);
        account(receiver, error, item, &next);
    } while (error == 0 || error == -EOVERFLOW);
    explore_expect(receiver->next == (uint64_t)next);
    explore_expect(error == -EPIPE || arg != NULL);
}

static void broadcast_two(void)
{
    reset_broadcast();
    explore_start("sender", send_to_all, NULL);
    explore_start("A", receive_to_end, NULL);
    explore_start("B", receive_to_end, &broadcast);
    explore_join_all();
    explore_expect(weft_broadcast_free(broadcast) == 0);
}

static void choose_to_end(void *arg)
{
    int item = 0;
    weft_clause clause = weft_clause_broadcast(&receivers[0], &item);
    int next = 0;

    (void)arg;
    do {
        explore_expect(weft_select(&clause, 1, WEFT_NEVER) == 0);
        account(&receivers[0], clause.result, item, &next);
    } while (clause.result == 0 || clause.result == -EOVERFLOW);
    explore_expect(clause.result == -EPIPE);
    explore_expect(receivers[0].next == (uint64_t)next);
}

static void broadcast_chosen(void)
{
    reset_broadcast();
    explore_start("sender", send_to_all, NULL);
    explore_start("chooser", choose_to_end, NULL);
    explore_join_all();
    explore_expect(weft_broadcast_free(broadcast) == 0);
}

static weft_watch *watch;

static void send_value(void *arg)
{
    int value = (int)(uintptr_t)arg;

    explore_expect(weft_watch_send(watch, &value) == 0);
}

// Sees two values, or the one that has come last.
static void follow(void *arg)
{
    uint64_t version = 0;
    uint64_t before;
    int value = 0;

    do {
        before = version;
        int error = weft_watch_recv(watch, &version, &value,
                                    arg == NULL ? WEFT_NEVER : soon());
        explore_expect(error == 0 || (arg != NULL && error == -ETIMEDOUT));
        explore_expect(error == 0 ? version > before : version == before);
    } while (version > before && version < 2);
    explore_expect(arg != NULL || version == 2);
    explore_expect(version == 0 || value == 1 || value == 2);
}

static void watch_two(void)
{
    uint64_t version = 1;
    int value;

    explore_expect(weft_watch_new(sizeof(int), NULL, "w", &watch) == 0);
    explore_start("A", send_value, (void *)1);
    explore_start("B", send_value, (void *)2);
    explore_start("follower", follow, NULL);
    explore_join_all();
    explore_expect(weft_watch_recv(watch, &version, &value, 0) == 0);
    explore_expect(weft_watch_free(watch) == 0);
}

static void watch_timed(void)
{
    explore_expect(weft_watch_new(sizeof(int), NULL, "w", &watch) == 0);
    explore_start("sender", send_value, (void *)1);
    explore_start("A", follow, &watch);
    explore_start("B", follow, &watch);
    explore_join_all();
    explore_expect(weft_watch_free(watch) == 0);
}

// ---- Event, once, semaphore, rwlock, waitgroup ----

static weft_event event;
static int shown;

static void set_event(void *arg)
{
    (void)arg;
    shown = 1;
    explore_expect(weft_event_set(&event) == 0);
}

static void await_event(void *arg)
{
    if (weft_event_is_set(&event) == 1)
        explore_expect(shown == 1);
    int error = weft_event_wait(&event, arg == NULL ? WEFT_NEVER : soon());
    explore_expect(error == 0 || (arg != NULL && error == -ETIMEDOUT));
    if (error == 0)
        explore_expect(shown == 1);
}

static void event_set(void)
{
    explore_expect(weft_event_init(&event, "e") == 0);
    shown = 0;
    explore_start("setter", set_event, NULL);
    explore_start("A", await_event, NULL);
    explore_start("B", await_event, &event);
    explore_join_all();
    explore_expect(weft_event_deinit(&event) == 0);
}

static weft_once once;

static int make_shown(void *arg)
{
    (void)arg;
    shown++;
    return 0;
}

static void run_once(void *arg)
{
    (void)arg;
    explore_expect(weft_once_run(&once, make_shown, NULL, WEFT_NEVER) == 0);
    explore_expect(shown == 1);
}

static void once_two(void)
{
    explore_expect(weft_once_init(&once, "o") == 0);
    shown = 0;
    explore_start("A", run_once, NULL);
    explore_start("B", run_once, NULL);
    explore_join_all();
    explore_expect(weft_once_deinit(&once) == 0);
}

static weft_semaphore semaphore;

static void take_permit(void *arg)
{
    int64_t deadline_ns = arg == NULL ? WEFT_NEVER : soon();
    int error = weft_semaphore_acquire(&semaphore, 1, deadline_ns);

    explore_expect(error == 0 || (arg != NULL && error == -ETIMEDOUT));
    if (error != 0)
        return;
    counter++;
    explore_expect(weft_semaphore_release(&semaphore, 1) == 0);
}

static void semaphore_of_one(void)
{
    explore_expect(weft_semaphore_init(&semaphore, 1, "s") == 0);
    counter = 0;
    explore_start("A", take_permit, NULL);
    explore_start("B", take_permit, NULL);
    explore_start("C", take_permit, &semaphore);
    explore_join_all();
    explore_expect(counter >= 2);
    explore_expect(weft_semaphore_deinit(&semaphore) == 0);
}

static weft_rwlock rwlock;

static void write_locked(void *arg)
{
    (void)arg;
    explore_expect(weft_rwlock_lock_write(&rwlock, WEFT_NEVER) == 0);
    counter++;
    explore_expect(weft_rwlock_unlock(&rwlock) == 0);
}

static void read_locked(void *arg)
{
    int64_t deadline_ns = arg == NULL ? WEFT_NEVER : soon();
    int error = weft_rwlock_lock_read(&rwlock, deadline_ns);

    explore_expect(error == 0 || (arg != NULL && error == -ETIMEDOUT));
    if (error != 0)
        return;
    explore_expect(counter <= 2);
    explore_expect(weft_rwlock_unlock(&rwlock) == 0);
}

static void rwlock_mixed(void)
{
    explore_expect(weft_rwlock_init(&rwlock, "r") == 0);
    counter = 0;
    explore_start("writer", write_locked, NULL);
    explore_start("writer 2", write_locked, NULL);
    explore_start("reader", read_locked, &rwlock);
    explore_join_all();
    explore_expect(counter == 2);
    explore_expect(weft_rwlock_deinit(&rwlock) == 0);
}

static weft_waitgroup group;
static int parts[2];

static void do_part(void *arg)
{
    parts[(uintptr_t)arg] = 1;
    explore_expect(weft_waitgroup_done(&group) == 0);
}

static void await_parts(void *arg)
{
    (void)arg;
    explore_expect(weft_waitgroup_wait(&group, WEFT_NEVER) == 0);
    explore_expect(parts[0] == 1 && parts[1] == 1);
}

static void waitgroup_of_two(void)
{
    explore_expect(weft_waitgroup_init(&group, "w") == 0);
    explore_expect(weft_waitgroup_add(&group, 2) == 0);
    memset(parts, 0, sizeof parts);
    explore_start("A", do_part, (void *)0);
    explore_start("B", do_part, (void *)1);
    explore_start("waiter", await_parts, NULL);
    explore_join_all();
    explore_expect(weft_waitgroup_deinit(&group) == 0);
}

#define SYNC(name, protocol, fn)                                               \
    {                                                                          \
        name, protocol, fn, {1, 1}, {3, 2}, NULL, NULL                         \
    }
// Three that contend.
#define LARGE(name, protocol, fn)                                              \
    {                                                                          \
        name, protocol, fn, {1, 1}, {2, 2}, NULL, NULL                         \
    }

const struct scenario sync_scenarios[] = {
    SYNC("mutex-two", "mutex", mutex_two),
    LARGE("mutex-three", "mutex", mutex_three),
    LARGE("mutex-timed", "mutex", mutex_timed),
    SYNC("channel-pass", "channel", channel_pass),
    SYNC("channel-timed", "channel", channel_timed),
    SYNC("channel-closed", "channel", channel_closed),
    SYNC("channel-refused", "channel", channel_refused),
    LARGE("oneshot-two", "oneshot", oneshot_two),
    LARGE("oneshot-timed", "oneshot", oneshot_timed),
    LARGE("broadcast-two", "broadcast", broadcast_two),
    SYNC("broadcast-chosen", "broadcast", broadcast_chosen),
    SYNC("watch-two", "watch", watch_two),
    LARGE("watch-timed", "watch", watch_timed),
    SYNC("event", "event", event_set),
    SYNC("once", "once", once_two),
    LARGE("semaphore", "semaphore", semaphore_of_one),
    LARGE("rwlock", "rwlock", rwlock_mixed),
    SYNC("waitgroup", "waitgroup", waitgroup_of_two),
    {0},
};
