// test_select.c -- Waiting for the first of several: each kind of clause.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/numbers.h"
#include "support/threads.h"

#define MS WEFT_MILLISECOND

// ---- What is to be had at once. ----

static void *send_or_receive(void *arg)
{
    weft_channel *empty = channel_of(1);
    weft_channel *full = channel_of(1);
    int seven = 7;
    int got = 0;
    weft_clause clauses[] = {
        weft_clause_recv(empty, &got),
        weft_clause_send(full, &seven),
    };

    expect_is(weft_select(clauses, 2, WEFT_NEVER), 1);
    expect_is(clauses[1].result, 0);
    expect_is(weft_select(clauses, 2, 0), -ETIMEDOUT); // the default
    clauses[0] = weft_clause_recv(full, &got);
    clauses[1] = weft_clause_none();
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 0);
    expect_is(got, 7);
    expect_is(weft_channel_close(empty), 0);
    clauses[1] = weft_clause_recv(empty, &got);
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 1);
    expect_is(clauses[1].result, -EPIPE);
    expect_is(weft_channel_free(empty), 0);
    expect_is(weft_channel_free(full), 0);
    return arg;
}

static void *take_what_is_free(void *arg)
{
    weft_mutex mutex = WEFT_MUTEX_INIT("m");
    weft_rwlock rwlock = WEFT_RWLOCK_INIT("r");
    weft_semaphore semaphore = WEFT_SEMAPHORE_INIT("s", 3);
    weft_event event = WEFT_EVENT_INIT("e");
    weft_waitgroup group = WEFT_WAITGROUP_INIT("w");
    weft_clause clause = weft_clause_lock(&mutex);

    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect_is(clause.result, 0);
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect_is(clause.result, -EDEADLK);
    expect_is(weft_mutex_unlock(&mutex), 0);
    clause = weft_clause_lock_read(&rwlock);
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    clause = weft_clause_lock_write(&rwlock);
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect_is(clause.result, -EDEADLK);
    expect_is(weft_rwlock_unlock(&rwlock), 0);
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect_is(clause.result, 0);
    expect_is(weft_rwlock_unlock(&rwlock), 0);
    clause = weft_clause_acquire(&semaphore, 2);
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect_is(weft_select(&clause, 1, 0), -ETIMEDOUT);
    expect_is(weft_semaphore_available(&semaphore), 1);
    clause = weft_clause_event(&event);
    expect_is(weft_select(&clause, 1, 0), -ETIMEDOUT);
    expect_is(weft_event_set(&event), 0);
    expect_is(weft_select(&clause, 1, 0), 0);
    clause = weft_clause_waitgroup(&group);
    expect_is(weft_select(&clause, 1, 0), 0);
    clause = weft_clause_time(weft_time_now());
    expect_is(weft_select(&clause, 1, 0), 0);
    clause = weft_clause_time(weft_time_after(WEFT_SECOND));
    expect_is(weft_select(&clause, 1, 0), -ETIMEDOUT);
    expect_is(weft_select(NULL, 0, 0), -ETIMEDOUT);
    return arg;
}

static void *seven(void *arg)
{
    (void)arg;
    return (void *)7;
}

static void *join_at_once(void *arg)
{
    void *result = NULL;
    weft_task task = spawn(seven, NULL);
    weft_clause clause = weft_clause_join(task, &result);

    expect_is(weft_task_sleep(weft_time_after(MS)), 0); // it may have ended
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect_is(clause.result, 0);
    expect_is((intptr_t)result, 7);
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect_is(clause.result, -ESRCH);
    clause = weft_clause_join(weft_task_self(), NULL);
    expect_is(weft_select(&clause, 1, WEFT_NEVER), 0);
    expect_is(clause.result, -EDEADLK);
    return arg;
}

static void test_ready_at_once(void **state)
{
    (void)state;
    run(send_or_receive);
    run(take_what_is_free);
    run(join_at_once);
}

// ---- What has to be waited for. Each thing alone wakes the select. ----

struct all {
    weft_channel *filled;
    weft_channel *emptied;
    weft_mutex mutex;
    weft_rwlock rwlock;
    weft_rwlock other;
    weft_semaphore semaphore;
    weft_event event;
    weft_waitgroup group;
    weft_event end;
    int item;
    int got;
    void *result;
};

enum { KINDS = 9 };

static void *await_end(void *all)
{
    expect_is(weft_event_wait(&((struct all *)all)->end, WEFT_NEVER), 0);
    return (void *)7;
}

// Everything is held by the caller or empty or full.
static weft_task hold_all(struct all *all, weft_clause clauses[])
{
    int zero = 0;

    *all = (struct all){
        .filled = channel_of(2),
        .emptied = channel_of(1),
        .mutex = WEFT_MUTEX_INIT("m"),
        .rwlock = WEFT_RWLOCK_INIT("r"),
        .other = WEFT_RWLOCK_INIT("o"),
        .semaphore = WEFT_SEMAPHORE_INIT("s", 1),
        .event = WEFT_EVENT_INIT("e"),
        .group = WEFT_WAITGROUP_INIT("w"),
        .end = WEFT_EVENT_INIT("end"),
        .item = 3,
    };
    expect_is(weft_channel_send(all->emptied, &zero, 0), 0);
    expect_is(weft_mutex_lock(&all->mutex, 0), 0);
    expect_is(weft_rwlock_lock_write(&all->rwlock, 0), 0);
    expect_is(weft_rwlock_lock_read(&all->other, 0), 0);
    expect_is(weft_waitgroup_add(&all->group, 1), 0);
    clauses[0] = weft_clause_recv(all->filled, &all->got);
    clauses[1] = weft_clause_send(all->emptied, &all->item);
    clauses[2] = weft_clause_lock(&all->mutex);
    clauses[3] = weft_clause_lock_read(&all->rwlock);
    clauses[4] = weft_clause_lock_write(&all->other);
    clauses[5] = weft_clause_acquire(&all->semaphore, 2);
    clauses[6] = weft_clause_event(&all->event);
    clauses[7] = weft_clause_waitgroup(&all->group);
    weft_task joined = spawn(await_end, all);
    clauses[8] = weft_clause_join(joined, &all->result);
    return joined;
}

static void let_go(struct all *all, int which)
{
    int got = 5;

    switch (which) {
    case 0:
        expect_is(weft_channel_send(all->filled, &got, 0), 0);
        break;
    case 1:
        expect_is(weft_channel_recv(all->emptied, &got, 0), 0);
        break;
    case 2:
        expect_is(weft_mutex_unlock(&all->mutex), 0);
        break;
    case 3:
        expect_is(weft_rwlock_unlock(&all->rwlock), 0);
        break;
    case 4:
        expect_is(weft_rwlock_unlock(&all->other), 0);
        break;
    case 5:
        expect_is(weft_semaphore_release(&all->semaphore, 1), 0);
        break;
    case 6:
        expect_is(weft_event_set(&all->event), 0);
        break;
    case 7:
        expect_is(weft_waitgroup_done(&all->group), 0);
        break;
    default:
        expect_is(weft_event_set(&all->end), 0);
        break;
    }
}

// What the select has got, given back; with everything else as it was.
static void check_and_free(struct all *all, int which)
{
    int got;

    if (which == 0)
        expect_is(all->got, 5);
    if (which == 1)
        expect(weft_channel_recv(all->emptied, &got, 0) == 0 && got == 3);
    if (which == 5)
        expect_is(weft_semaphore_release(&all->semaphore, 2), 0);
    if (which == 8)
        expect_is((intptr_t)all->result, 7);
    for (int i = 0; i < KINDS; i++)
        if (i != which)
            let_go(all, i);
    expect_is(weft_channel_free(all->filled), 0);
    expect_is(weft_channel_free(all->emptied), 0);
    expect_is(weft_mutex_deinit(&all->mutex), 0);
    expect_is(weft_rwlock_deinit(&all->rwlock), 0);
    expect_is(weft_rwlock_deinit(&all->other), 0);
    expect_is(weft_semaphore_available(&all->semaphore), 2);
    expect_is(weft_semaphore_deinit(&all->semaphore), 0);
    expect_is(weft_event_deinit(&all->event), 0);
    expect_is(weft_waitgroup_deinit(&all->group), 0);
}

struct selecting {
    weft_clause *clauses;
    struct all *all;
    weft_event over;
};

static void *select_any(void *arg)
{
    struct selecting *selecting = arg;
    struct all *all = selecting->all;
    int chosen = weft_select(selecting->clauses, KINDS, WEFT_NEVER);

    expect(chosen >= 0 && selecting->clauses[chosen].result == 0);
    if (chosen == 2)
        expect_is(weft_mutex_unlock(&all->mutex), 0);
    if (chosen == 3)
        expect_is(weft_rwlock_unlock(&all->rwlock), 0);
    if (chosen == 4)
        expect_is(weft_rwlock_unlock(&all->other), 0);
    expect_is(weft_event_set(&selecting->over), 0);
    return (void *)(intptr_t)chosen;
}

static void *wake_by_each(void *arg)
{
    for (int which = 0; which < KINDS; which++) {
        struct all all;
        weft_clause clauses[KINDS];
        struct selecting selecting = {clauses, &all, WEFT_EVENT_INIT(NULL)};
        weft_task joined = hold_all(&all, clauses);
        weft_task task = spawn(select_any, &selecting);
        until_waiting(task, WEFT_WAIT_SELECT);
        let_go(&all, which);
        expect_is(join(task), which);
        check_and_free(&all, which);
        if (which != 8)
            expect_is(join(joined), 7);
    }
    return arg;
}

static void test_each_wakes_it(void **state)
{
    (void)state;
    run(wake_by_each);
}

// The same with a thread that selects; the objects are a task's.
static void *wake_a_thread(void *arg)
{
    for (int which = 0; which < KINDS; which++) {
        struct all all;
        weft_clause clauses[KINDS];
        struct selecting selecting = {clauses, &all, WEFT_EVENT_INIT(NULL)};
        weft_task joined = hold_all(&all, clauses);
        pthread_t thread = start_thread(select_any, &selecting);
        expect_is(weft_task_sleep(weft_time_after(2 * MS)), 0);
        let_go(&all, which);
        // Not by a join of the thread, which would keep the worker.
        expect_is(weft_event_wait(&selecting.over, WEFT_NEVER), 0);
        expect_is(join_thread(thread), which);
        check_and_free(&all, which);
        if (which != 8)
            expect_is(join(joined), 7);
    }
    return arg;
}

static void test_threads_may_select(void **state)
{
    (void)state;
    run(wake_a_thread);
}

// ---- Time, and giving up. ----

static void *select_in_vain(void *arg)
{
    struct selecting *selecting = arg;

    return (void *)(intptr_t)weft_select(selecting->clauses, KINDS,
                                         weft_time_after(MS));
}

// Whatever ends it, nothing has been carried out.
static void *give_up(void *arg)
{
    struct all all;
    weft_clause clauses[KINDS];
    struct selecting selecting = {clauses, &all, WEFT_EVENT_INIT(NULL)};
    weft_task joined = hold_all(&all, clauses);

    expect_is(join(spawn(select_in_vain, &selecting)), -ETIMEDOUT);
    check_and_free(&all, KINDS);
    expect_is(join(joined), 7);
    return arg;
}

static void *select_one(void *arg)
{
    weft_clause clause = *(weft_clause *)arg;

    return (void *)(intptr_t)weft_select(&clause, 1, WEFT_NEVER);
}

static void *be_cancelled(void *arg)
{
    weft_event event = WEFT_EVENT_INIT("never");
    weft_clause clause = weft_clause_event(&event);
    weft_task task = spawn(select_one, &clause);

    until_waiting(task, WEFT_WAIT_SELECT);
    expect_is(weft_event_deinit(&event), -EBUSY);
    expect_is(weft_task_cancel(task), 0);
    expect_is(join(task), -ECANCELED);
    expect_is(weft_event_deinit(&event), 0);
    return arg;
}

static void *keep_time(void *arg)
{
    weft_channel *channel = channel_of(1);
    int got;
    int64_t began = weft_time_now();
    weft_clause clauses[] = {
        weft_clause_time(began + 3600 * WEFT_SECOND),
        weft_clause_recv(channel, &got),
        weft_clause_time(began + 2 * MS),
    };

    expect_is(weft_select(clauses, 3, WEFT_NEVER), 2);
    expect(weft_time_now() >= began + 2 * MS);
    expect_is(weft_select(clauses, 2, began + 4 * MS), -ETIMEDOUT);
    expect(weft_time_now() >= began + 4 * MS);
    expect_is(weft_channel_free(channel), 0);
    return arg;
}

static void *scoped(void *arg)
{
    weft_scope scope;
    weft_clause clause = weft_clause_time(weft_time_after(WEFT_SECOND));

    expect_is(weft_scope_enter(&scope, weft_time_after(MS)), 0);
    expect_is(weft_select(&clause, 1, WEFT_NEVER), -ETIMEDOUT);
    (void)weft_scope_leave(&scope);
    return arg;
}

static void test_giving_up(void **state)
{
    (void)state;
    run(give_up);
    run(be_cancelled);
    run(keep_time);
    run(scoped);
}

// ---- Those who queued behind it. ----

struct line {
    weft_semaphore semaphore;
    weft_rwlock rwlock;
    weft_event event;
};

static void *want_two(void *arg)
{
    struct line *line = arg;
    weft_clause clauses[] = {
        weft_clause_acquire(&line->semaphore, 2),
        weft_clause_lock_write(&line->rwlock),
        weft_clause_event(&line->event),
    };

    return (void *)(intptr_t)weft_select(clauses, 3, WEFT_NEVER);
}

static void *want_one(void *arg)
{
    expect_is(weft_semaphore_acquire(arg, 1, WEFT_NEVER), 0);
    return NULL;
}

static void *want_to_read(void *arg)
{
    expect_is(weft_rwlock_lock_read(arg, WEFT_NEVER), 0);
    expect_is(weft_rwlock_unlock(arg), 0);
    return NULL;
}

// Once it has chosen something else, it is in nobody's way.
static void *make_way(void *arg)
{
    struct line line = {
        .semaphore = WEFT_SEMAPHORE_INIT("s", 1),
        .rwlock = WEFT_RWLOCK_INIT("r"),
        .event = WEFT_EVENT_INIT("e"),
    };

    expect_is(weft_rwlock_lock_read(&line.rwlock, WEFT_NEVER), 0);
    weft_task first = spawn(want_two, &line);
    until_waiting(first, WEFT_WAIT_SELECT);
    weft_task second = spawn(want_one, &line.semaphore);
    until_waiting(second, WEFT_WAIT_SEMAPHORE);
    weft_task third = spawn(want_to_read, &line.rwlock);
    until_waiting(third, WEFT_WAIT_RWLOCK_READ);
    expect_is(weft_event_set(&line.event), 0);
    expect_is(join(first), 2);
    (void)join(second);
    (void)join(third);
    expect_is(weft_rwlock_unlock(&line.rwlock), 0);
    return arg;
}

static void test_making_way(void **state)
{
    (void)state;
    run(make_way);
}

// ---- Many, and fair. ----

enum { MANY = 1000 };

static void *choose_fairly(void *arg)
{
    enum { FEW = 8, ROUNDS = 8000 };
    weft_event events[FEW];
    weft_clause clauses[2 * FEW];
    int chosen[FEW] = {0};

    for (int i = 0; i < FEW; i++) { // those that are ready, side by side
        expect_is(weft_event_init(&events[i], NULL), 0);
        expect_is(weft_event_set(&events[i]), 0);
        clauses[i] = weft_clause_event(&events[i]);
        clauses[FEW + i] = weft_clause_none();
    }
    for (int i = 0; i < ROUNDS; i++)
        chosen[weft_select(clauses, 2 * FEW, WEFT_NEVER)]++;
    for (int i = 0; i < FEW; i++) // 1000 each; 8 standard deviations are 240
        expect(chosen[i] > 760 && chosen[i] < 1240);
    return arg;
}

static void *one_of_many(void *arg)
{
    weft_channel **channels = malloc(MANY * sizeof *channels);
    weft_clause *clauses = malloc(MANY * sizeof *clauses);
    int item = 4;
    int got;

    for (int i = 0; i < MANY; i++) {
        channels[i] = channel_of(1);
        clauses[i] = weft_clause_recv(channels[i], &got); // one place for all
    }
    for (int i = 0; i < MANY; i += 99) {
        expect_is(weft_channel_send(channels[i], &item, 0), 0);
        got = 0;
        expect_is(weft_select(clauses, MANY, WEFT_NEVER), i);
        expect_is(got, 4);
    }
    for (int i = 0; i < MANY; i++)
        expect_is(weft_channel_free(channels[i]), 0);
    free(clauses);
    free(channels);
    return arg;
}

static void test_many(void **state)
{
    (void)state;
    run_with(2, choose_fairly, NULL);
    run(one_of_many);
}

// ---- Descriptors. ----

static void *write_later(void *arg)
{
    expect_is(weft_task_sleep(weft_time_after(2 * MS)), 0);
    expect_is(weft_fd_write(*(weft_fd *)arg, "x", 1, WEFT_NEVER), 1);
    return NULL;
}

static void *read_readiness(void *arg)
{
    weft_fd listener, near, far;
    weft_event event = WEFT_EVENT_INIT("never");
    uint16_t port;
    char byte;

    expect_is(weft_tcp_listen("127.0.0.1", 0, 0, &listener), 0);
    expect_is(weft_tcp_address(listener, false, NULL, &port), 0);
    weft_clause clauses[] = {
        weft_clause_event(&event),
        weft_clause_readable(listener),
    };
    expect_is(weft_select(clauses, 2, 0), -ETIMEDOUT);
    expect_is(weft_tcp_connect("127.0.0.1", port, WEFT_NEVER, &near), 0);
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 1); // a connection
    expect_is(weft_tcp_accept(listener, 0, &far), 0);
    clauses[1] = weft_clause_readable(near);
    expect_is(weft_select(clauses, 2, weft_time_after(MS)), -ETIMEDOUT);
    weft_task writer = spawn(write_later, &far);
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 1);
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 1); // it is still there
    expect_is(weft_fd_read(near, &byte, 1, 0), 1);
    expect_is(weft_select(clauses, 2, 0), -ETIMEDOUT);
    (void)join(writer);
    clauses[0] = weft_clause_writable(near);
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 0);
    expect_is(weft_fd_close(far), 0);
    clauses[0] = weft_clause_none();
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 1); // the end
    expect_is(clauses[1].result, 0);
    expect_is(weft_fd_close(near), 0);
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 1);
    expect_is(clauses[1].result, -EBADF);
    expect_is(weft_fd_close(listener), 0);
    return arg;
}

static void *close_it(void *arg)
{
    weft_fd listener;

    expect_is(weft_tcp_listen("127.0.0.1", 0, 0, &listener), 0);
    weft_clause clause = weft_clause_readable(listener);
    weft_task task = spawn(select_one, &clause);
    until_waiting(task, WEFT_WAIT_SELECT);
    expect_is(weft_fd_close(listener), 0);
    expect_is(join(task), 0);
    return arg;
}

static void test_descriptors(void **state)
{
    (void)state;
    run(read_readiness);
    run(close_it);
}

static void *accept_one(void *arg)
{
    weft_fd connection;

    expect_is(weft_tcp_accept(*(weft_fd *)arg, WEFT_NEVER, &connection), 0);
    expect_is(weft_fd_close(connection), 0);
    return NULL;
}

struct watched {
    weft_fd listener;
    weft_event enough;
};

// Chosen only if an accept would find something.
static void *watch(void *arg)
{
    struct watched *watched = arg;
    weft_fd connection;
    weft_clause clauses[] = {
        weft_clause_readable(watched->listener),
        weft_clause_event(&watched->enough),
    };
    int chosen = weft_select(clauses, 2, WEFT_NEVER);

    if (chosen == 0) {
        expect_is(weft_tcp_accept(watched->listener, 0, &connection), 0);
        expect_is(weft_fd_close(connection), 0);
    }
    return (void *)(intptr_t)chosen;
}

// What another has taken is no reason to be chosen.
static void *share_a_listener(void *arg)
{
    struct watched watched = {.enough = WEFT_EVENT_INIT("enough")};
    weft_fd near;
    uint16_t port;

    expect_is(weft_tcp_listen("127.0.0.1", 0, 0, &watched.listener), 0);
    expect_is(weft_tcp_address(watched.listener, false, NULL, &port), 0);
    weft_task acceptor = spawn(accept_one, &watched.listener);
    until_waiting(acceptor, WEFT_WAIT_FD);
    weft_task watcher = spawn(watch, &watched);
    until_waiting(watcher, WEFT_WAIT_SELECT);
    expect_is(weft_tcp_connect("127.0.0.1", port, WEFT_NEVER, &near), 0);
    (void)join(acceptor);
    for (int i = 0; i < 5; i++) // the acceptor passes readiness on
        (void)weft_task_yield();
    expect_is(weft_event_set(&watched.enough), 0);
    expect_is(join(watcher), 1);
    expect_is(weft_fd_close(near), 0);
    expect_is(weft_fd_close(watched.listener), 0);
    return arg;
}

static void test_shared_descriptors(void **state)
{
    (void)state;
    run_with(1, share_a_listener, NULL);
}

// ---- Polling, and one lock twice. ----

static void *send_one(void *channel)
{
    int item = 6;

    expect_is(weft_channel_send(channel, &item, WEFT_NEVER), 0);
    return NULL;
}

// One that polls lets others have the worker.
static void *poll_for_it(void *arg)
{
    weft_channel *channel = channel_of(1);
    int got = 0;
    weft_clause clause = weft_clause_recv(channel, &got);
    weft_task sender = spawn(send_one, channel);

    while (weft_select(&clause, 1, 0) == -ETIMEDOUT) // may go on for ever
        continue;
    expect_is(got, 6);
    (void)join(sender);
    expect_is(weft_channel_free(channel), 0);
    return arg;
}

static void *want_it_twice(void *arg)
{
    weft_rwlock *rwlock = arg;
    weft_clause clauses[] = {
        weft_clause_lock_read(rwlock),
        weft_clause_lock_read(rwlock),
        weft_clause_lock_write(rwlock),
    };
    int chosen = weft_select(clauses, 3, WEFT_NEVER);

    expect_is(clauses[chosen].result, 0);
    expect_is(weft_rwlock_unlock(rwlock), 0);
    expect_is(weft_rwlock_unlock(rwlock), -EPERM);
    return NULL;
}

static void *lock_twice(void *arg)
{
    weft_rwlock rwlock = WEFT_RWLOCK_INIT("twice");

    for (int i = 0; i < 20; i++) {
        expect_is(weft_rwlock_lock_write(&rwlock, WEFT_NEVER), 0);
        weft_task task = spawn(want_it_twice, &rwlock);
        until_waiting(task, WEFT_WAIT_SELECT);
        expect_is(weft_rwlock_unlock(&rwlock), 0);
        (void)join(task);
    }
    expect_is(weft_rwlock_deinit(&rwlock), 0);
    return arg;
}

static void test_polling_and_twice(void **state)
{
    (void)state;
    run_with(1, poll_for_it, NULL);
    run(lock_twice);
}

// ---- Misuse. ----

static void test_misuse_is_refused(void **state)
{
    (void)state;
    weft_semaphore semaphore = WEFT_SEMAPHORE_INIT("s", 1);
    static weft_mutex zero;
    int item;
    weft_clause bad[] = {
        weft_clause_send(NULL, &item),
        weft_clause_recv(NULL, &item),
        weft_clause_lock(NULL),
        weft_clause_lock(&zero),
        weft_clause_lock_read(NULL),
        weft_clause_lock_write((weft_rwlock *)&semaphore),
        weft_clause_acquire(NULL, 1),
        weft_clause_acquire(&semaphore, 0),
        weft_clause_event(NULL),
        weft_clause_waitgroup(NULL),
        weft_clause_of((enum weft_clause_kind)99, NULL, NULL, 0),
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weft_clause clauses[] = {weft_clause_acquire(&semaphore, 1), bad[i]};
        assert_int_equal(weft_select(clauses, 2, 0), -EINVAL);
    }
    assert_int_equal(weft_semaphore_available(&semaphore), 1);
    weft_channel *channel = channel_of(1);
    weft_clause without_place = weft_clause_recv(channel, NULL);
    assert_int_equal(weft_select(&without_place, 1, 0), -EINVAL);
    assert_int_equal(weft_channel_free(channel), 0);
    weft_clause none = weft_clause_none();
    assert_int_equal(weft_select(NULL, 1, 0), -EINVAL);
    assert_int_equal(weft_select(&none, 65536, 0), -EINVAL);
    weft_clause fd = weft_clause_readable((weft_fd){1});
    assert_int_equal(weft_select(&fd, 1, 0), -EPERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready_at_once),
        cmocka_unit_test(test_each_wakes_it),
        cmocka_unit_test(test_threads_may_select),
        cmocka_unit_test(test_giving_up),
        cmocka_unit_test(test_making_way),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_shared_descriptors),
        cmocka_unit_test(test_polling_and_twice),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
