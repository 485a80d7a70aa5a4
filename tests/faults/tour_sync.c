// tour_sync.c -- The tour's part about locks, events and channels.
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "tour.h"

enum { ITEMS = 200, PLAYERS = 6, TURNS = 20, SHELVES = 7 };

// ---- Channels ----

static void *produce(void *arg)
{
    weft_channel *channel = arg;
    uint64_t sent = 0;

    for (uint64_t i = 1; i <= ITEMS; i++)
        if (went_well(weft_channel_send(channel, &i, WEFT_NEVER), "send"))
            sent += i;
    return (void *)(uintptr_t)sent;
}

static uint64_t consume(weft_channel *channel)
{
    uint64_t received = 0;
    uint64_t item;
    int result;

    while ((result = weft_channel_recv(channel, &item, WEFT_NEVER)) == 0)
        received += item;
    must_hold(result == -EPIPE, "a channel is read to its end");
    return received;
}

static void *close_after(void *arg)
{
    weft_channel *channel = arg;
    weft_task tasks[2];
    uintptr_t sent = 0;
    size_t started = 0;

    for (int i = 0; i < 2; i++)
        started += spawn("producer", produce, channel, &tasks[started]);
    for (size_t i = 0; i < started; i++)
        sent += (uintptr_t)join(tasks[i]);
    must_hold(weft_channel_close(channel) == 0, "a channel can be closed");
    return (void *)sent;
}

static void pass_items(void)
{
    weft_channel *channel;
    weft_task closer;

    if (!went_well(weft_channel_new(sizeof(uint64_t), 4, "items", &channel),
                   "channel"))
        return;
    if (spawn("closer", close_after, channel, &closer)) {
        uint64_t received = consume(channel);
        must_hold((uintptr_t)join(closer) == received, "each item once");
    }
    must_hold(weft_channel_free(channel) == 0, "a channel can be freed");
}

// ---- One-shot, broadcast, watch ----

struct tidings {
    weft_channel *answer;
    weft_broadcast *news;
    weft_watch *value;
    weft_receiver first; // of the news
};

// Everything that was sent is received or told as lost, and the last value is
// seen.
static void *follow(void *arg)
{
    struct tidings *tidings = arg;
    weft_receiver receiver = tidings->first;
    uint64_t version = 0;
    uint64_t seen = 0;
    uint64_t latest = 0;
    uint64_t item;
    int open = 2;
    weft_clause clauses[] = {
        weft_clause_broadcast(&receiver, &item),
        weft_clause_watch(tidings->value, &version, &latest),
    };

    while (open > 0) {
        int chosen = weft_select(clauses, 2, WEFT_NEVER);
        if (!went_well(chosen < 0 ? chosen : 0, "select"))
            break;
        int result = clauses[chosen].result;
        if (result == -EPIPE) {
            clauses[chosen] = weft_clause_none();
            open--;
        } else if (chosen == 0) {
            seen += result == -EOVERFLOW ? receiver.lost : 1;
        }
    }
    must_hold(open > 0 || (seen == ITEMS && latest == ITEMS), "all is known");
    return NULL;
}

static void send_tidings(struct tidings *tidings)
{
    uint64_t seven = 7;
    uint64_t answer = 0;

    for (uint64_t i = 1; i <= ITEMS; i++) {
        must_hold(weft_broadcast_send(tidings->news, &i) == 0, "to all");
        must_hold(weft_watch_send(tidings->value, &i) == 0, "to watchers");
        if (i % 10 == 0)
            (void)weft_task_yield();
    }
    must_hold(weft_broadcast_close(tidings->news) == 0, "close");
    must_hold(weft_watch_close(tidings->value) == 0, "close");
    must_hold(weft_channel_send(tidings->answer, &seven, 0) == 0, "once");
    must_hold(weft_channel_send(tidings->answer, &seven, 0) == -EPIPE, "twice");
    must_hold(weft_channel_recv(tidings->answer, &answer, 0) == 0 &&
                  answer == seven,
              "the item of a one-shot");
}

static void spread(void)
{
    struct tidings tidings = {.answer = NULL};
    weft_task followers[PLAYERS];
    uint32_t started = 0;

    if (went_well(weft_oneshot_new(8, "answer", &tidings.answer), "one-shot") &&
        went_well(weft_broadcast_new(8, 4, "news", &tidings.news),
                  "broadcast") &&
        went_well(weft_watch_new(8, NULL, "value", &tidings.value), "watch")) {
        must_hold(weft_broadcast_subscribe(tidings.news, &tidings.first) == 0,
                  "subscribe");
        for (int i = 0; i < PLAYERS; i++)
            started += spawn("follower", follow, &tidings, &followers[started]);
        send_tidings(&tidings);
        for (uint32_t i = 0; i < started; i++)
            (void)join(followers[i]);
    }
    must_hold(weft_channel_free(tidings.answer) == 0 &&
                  weft_broadcast_free(tidings.news) == 0 &&
                  weft_watch_free(tidings.value) == 0,
              "all can be freed");
}

// ---- Everything that is embedded ----

static weft_mutex mutex = WEFT_MUTEX_INIT("mutex");
static weft_cond cond = WEFT_COND_INIT("cond");
static weft_semaphore semaphore = WEFT_SEMAPHORE_INIT("semaphore", 2);
static weft_event event = WEFT_EVENT_INIT("event");
static weft_once once = WEFT_ONCE_INIT("once");
static weft_waitgroup group = WEFT_WAITGROUP_INIT("group");
static weft_rwlock shelves[SHELVES];
static int plain; // guarded by the mutex
static int turns_taken;
static int done_once;

static int do_once(void *unused)
{
    (void)unused;
    done_once++;
    return 0;
}

// More locks at once than a task has records for.
static void read_shelves(void)
{
    bool held[SHELVES];

    for (int i = 0; i < SHELVES; i++)
        held[i] = went_well(weft_rwlock_lock_read(&shelves[i], WEFT_NEVER),
                            "lock for reading");
    went_well(weft_task_yield(), "yield");
    for (int i = 0; i < SHELVES; i++)
        if (held[i])
            must_hold(weft_rwlock_unlock(&shelves[i]) == 0, "unlock");
}

static void take_turn(void)
{
    must_hold(weft_mutex_lock(&mutex, WEFT_NEVER) == 0, "lock");
    int before = plain;
    (void)weft_task_yield();
    plain = before + 1;
    turns_taken++;
    must_hold(weft_cond_broadcast(&cond) == 0, "broadcast");
    must_hold(weft_mutex_unlock(&mutex) == 0, "unlock");
}

static void *play(void *barrier)
{
    must_hold(weft_event_wait(&event, WEFT_NEVER) == 0, "the event comes");
    must_hold(weft_once_run(&once, do_once, NULL, WEFT_NEVER) == 0, "once");
    if (barrier != NULL)
        must_hold(weft_barrier_wait(barrier, WEFT_NEVER) >= 0, "all meet");
    for (int i = 0; i < TURNS; i++) {
        must_hold(weft_semaphore_acquire(&semaphore, 1, WEFT_NEVER) == 0,
                  "acquire");
        take_turn();
        must_hold(weft_semaphore_release(&semaphore, 1) == 0, "release");
        read_shelves();
    }
    must_hold(weft_rwlock_lock_write(&shelves[0], WEFT_NEVER) == 0, "write");
    must_hold(weft_rwlock_unlock(&shelves[0]) == 0, "unlock");
    must_hold(weft_waitgroup_done(&group) == 0, "done");
    return NULL;
}

static void *outside(void *barrier)
{
    must_hold(weft_event_wait(&event, WEFT_NEVER) == 0, "a thread waits");
    if (barrier != NULL)
        must_hold(weft_barrier_wait(barrier, WEFT_NEVER) >= 0, "all meet");
    take_turn();
    return NULL;
}

static void game(void)
{
    weft_task players[PLAYERS];
    weft_barrier barrier;
    pthread_t thread;
    uint32_t started = 0;

    for (int i = 0; i < SHELVES; i++)
        must_hold(weft_rwlock_init(&shelves[i], "shelf") == 0, "init");
    for (int i = 0; i < PLAYERS; i++)
        started += spawn("player", play, &barrier, &players[started]);
    // All of them wait for the event, so the barrier is made in time.
    bool threaded = pthread_create(&thread, NULL, outside, &barrier) == 0;
    if (started + threaded > 0)
        must_hold(weft_barrier_init(&barrier, started + threaded, "b") == 0,
                  "init");
    if (started > 0)
        must_hold(weft_waitgroup_add(&group, started) == 0, "add");
    must_hold(weft_event_set(&event) == 0, "set");
    must_hold(weft_waitgroup_wait(&group, WEFT_NEVER) == 0, "all are done");
    for (uint32_t i = 0; i < started; i++)
        join(players[i]);
    if (threaded)
        pthread_join(thread, NULL);
    must_hold(plain == turns_taken, "one at a time");
    must_hold((uint32_t)plain == started * TURNS + threaded, "every turn");
    must_hold(started == 0 || done_once == 1, "once is once");
}

static void *all_of_it(void *unused)
{
    pass_items();
    spread();
    game();
    return unused;
}

void tour_sync(void)
{
    run_alone(2, all_of_it, NULL);
}
