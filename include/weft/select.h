// select.h -- Waiting for the first of several things.
//
// Each thing is a clause, made by one of the functions below. What no clause is
// about: a barrier, for all others would have counted on one who chose
// something else; a condition, whose waiter gives up a mutex; and a once, which
// may run the function itself. A clause keeps
// pointers to what it is about, which must stay until weft_select has returned.
// An array of clauses may be used again and again, and changed between calls;
// a thousand of them is no problem, but takes 144 KB: too much for a stack.
#ifndef WEFT_SELECT_H
#define WEFT_SELECT_H

#include <weft/base.h>
#include <weft/broadcast.h>
#include <weft/channel.h>
#include <weft/event.h>
#include <weft/interval.h>
#include <weft/mutex.h>
#include <weft/rwlock.h>
#include <weft/scope.h>
#include <weft/semaphore.h>
#include <weft/waitgroup.h>
#include <weft/watch.h>

WEFT_BEGIN

enum weft_clause_kind {
    WEFT_CLAUSE_NONE,
    WEFT_CLAUSE_SEND,
    WEFT_CLAUSE_RECV,
    WEFT_CLAUSE_LOCK,
    WEFT_CLAUSE_LOCK_READ,
    WEFT_CLAUSE_LOCK_WRITE,
    WEFT_CLAUSE_ACQUIRE,
    WEFT_CLAUSE_EVENT,
    WEFT_CLAUSE_WAITGROUP,
    WEFT_CLAUSE_JOIN,
    WEFT_CLAUSE_READABLE,
    WEFT_CLAUSE_WRITABLE,
    WEFT_CLAUSE_TIME,
    WEFT_CLAUSE_BROADCAST,
    WEFT_CLAUSE_WATCH,
    WEFT_CLAUSE_NEXT,
    WEFT_CLAUSE_INTERVAL,
    WEFT_CLAUSE_WALL,
};

// One thing to wait for. The fields but `result` are written by the functions
// below.
typedef struct weft_clause {
    enum weft_clause_kind kind;
    int result; // of the clause that was chosen: as the call of its kind gives
    void *object;
    void *item;
    uint64_t number;
    uint64_t opaque[14];
} weft_clause;

// Waits until one of the clauses can be carried out, carries out that one and
// nothing of the others, and returns its index; its `result` says how it ended,
// as the call of its kind would have. One that would fail at once, such as a
// send to a closed channel, can be carried out in this sense: look at `result`.
// Of several that can, each is equally likely to be chosen. With a deadline of
// 0 it never waits: -ETIMEDOUT stands for the default. What stays as it is once
// it has come (a time, an event that is set, a closed channel) is chosen again
// and again: make that clause anew, or put weft_clause_none in its place.
//
//     weft_clause clauses[] = {
//         weft_clause_recv(jobs, &job),
//         weft_clause_event(&stop),
//     };
//     while (weft_select(clauses, 2, WEFT_NEVER) == 0 &&
//            clauses[0].result == 0)
//         work_on(job);
//
// A deadline, or being cancelled, ends it with nothing carried out. The buffers
// of receive clauses that are not chosen are undefined: several clauses may
// share one, but none may send from it. Two clauses of one select never serve
// each other. Until it has returned, a select counts as waiting for all its
// objects, one that it has been woken by included, so none can be ended.
// A clause is made by weft_clause_send, _recv, _lock, _lock_read, _lock_write,
// _acquire, _event, _waitgroup, _join, _next, _readable, _writable, _time,
// _interval, _wall, _broadcast, _watch or _none, and may be used again by the
// next select, but not by two at once.
// May be called by tasks, which park, and by threads, which block. Does not
// allocate, save for the fifth and further read lock of a task at a time.
// Errors: -EINVAL (a null array with a count; a clause of unknown kind, with a
// null pointer, an object that is not initialised or a number of permits that
// its call would refuse; more than 65,535 clauses), -EPERM (a thread, and a
// clause about a descriptor or the wall clock), -ETIMEDOUT, -ECANCELED; with a
// clause about the wall clock those of weft_task_sleep_wall.
WEFT_API int weft_select(weft_clause *clauses, size_t count,
                         int64_t deadline_ns);

// Never chosen. So that one of a fixed set of clauses can be switched off.
static inline weft_clause weft_clause_none(void)
{
    weft_clause clause = {WEFT_CLAUSE_NONE, 0, NULL, NULL, 0, {0}};

    return clause;
}

// For the functions that follow.
static inline weft_clause weft_clause_of(enum weft_clause_kind kind,
                                         void *object, void *item,
                                         uint64_t number)
{
    weft_clause clause = weft_clause_none();

    clause.kind = kind;
    clause.object = object;
    clause.item = item;
    clause.number = number;
    return clause;
}

// As weft_channel_send. *item may be read until weft_select has returned.
static inline weft_clause weft_clause_send(weft_channel *channel,
                                           const void *item)
{
    return weft_clause_of(WEFT_CLAUSE_SEND, channel, (void *)(uintptr_t)item,
                          0);
}

// As weft_channel_recv.
static inline weft_clause weft_clause_recv(weft_channel *channel,
                                           void *ret_item)
{
    return weft_clause_of(WEFT_CLAUSE_RECV, channel, ret_item, 0);
}

// As weft_broadcast_recv; `result` may be -EOVERFLOW, too.
static inline weft_clause weft_clause_broadcast(weft_receiver *receiver,
                                                void *ret_item)
{
    return weft_clause_of(WEFT_CLAUSE_BROADCAST, NULL, ret_item,
                          (uint64_t)(uintptr_t)receiver);
}

// As weft_watch_recv.
static inline weft_clause weft_clause_watch(weft_watch *watch,
                                            uint64_t *version, void *ret_item)
{
    return weft_clause_of(WEFT_CLAUSE_WATCH, watch, ret_item,
                          (uint64_t)(uintptr_t)version);
}

// As weft_mutex_lock: the caller holds it if this clause was chosen with
// result 0.
static inline weft_clause weft_clause_lock(weft_mutex *mutex)
{
    return weft_clause_of(WEFT_CLAUSE_LOCK, mutex, NULL, 0);
}

// As weft_rwlock_lock_read.
static inline weft_clause weft_clause_lock_read(weft_rwlock *rwlock)
{
    return weft_clause_of(WEFT_CLAUSE_LOCK_READ, rwlock, NULL, 0);
}

// As weft_rwlock_lock_write.
static inline weft_clause weft_clause_lock_write(weft_rwlock *rwlock)
{
    return weft_clause_of(WEFT_CLAUSE_LOCK_WRITE, rwlock, NULL, 0);
}

// As weft_semaphore_acquire.
static inline weft_clause weft_clause_acquire(weft_semaphore *semaphore,
                                              uint32_t permits)
{
    return weft_clause_of(WEFT_CLAUSE_ACQUIRE, semaphore, NULL, permits);
}

// As weft_event_wait.
static inline weft_clause weft_clause_event(weft_event *event)
{
    return weft_clause_of(WEFT_CLAUSE_EVENT, event, NULL, 0);
}

// As weft_waitgroup_wait.
static inline weft_clause weft_clause_waitgroup(weft_waitgroup *group)
{
    return weft_clause_of(WEFT_CLAUSE_WAITGROUP, group, NULL, 0);
}

// As weft_task_join; so one task's end is for one to wait for. `ret_result` may
// be NULL.
static inline weft_clause weft_clause_join(weft_task task, void **ret_result)
{
    return weft_clause_of(WEFT_CLAUSE_JOIN, NULL, (void *)ret_result, task.id);
}

// As weft_scope_next.
static inline weft_clause weft_clause_next(weft_scope *scope,
                                           weft_scope_child *ret_child)
{
    return weft_clause_of(WEFT_CLAUSE_NEXT, scope, ret_child, 0);
}

// Until weft_fd_read, or of a listener weft_tcp_accept, would find something:
// data, a connection, the end or an error. Another task may still be faster, so
// call that with a deadline of 0. `result` is 0, or -EBADF (closed).
static inline weft_clause weft_clause_readable(weft_fd fd)
{
    return weft_clause_of(WEFT_CLAUSE_READABLE, NULL, NULL, fd.id);
}

// Until weft_fd_write would find room, or an error.
static inline weft_clause weft_clause_writable(weft_fd fd)
{
    return weft_clause_of(WEFT_CLAUSE_WRITABLE, NULL, NULL, fd.id);
}

// Until a time, as weft_task_sleep.
static inline weft_clause weft_clause_time(int64_t until_ns)
{
    return weft_clause_of(WEFT_CLAUSE_TIME, NULL, NULL, (uint64_t)until_ns);
}

// As weft_interval_tick: the tick is taken if this clause was chosen, and then
// `result` says how many were left out.
static inline weft_clause weft_clause_interval(weft_interval *interval)
{
    return weft_clause_of(WEFT_CLAUSE_INTERVAL, interval, NULL, 0);
}

// As weft_task_sleep_wall.
static inline weft_clause weft_clause_wall(int64_t until_ns)
{
    return weft_clause_of(WEFT_CLAUSE_WALL, NULL, NULL, (uint64_t)until_ns);
}

WEFT_END

#endif
