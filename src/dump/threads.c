// threads.c -- Threads that are no workers, in a dump.
//
// They take no part in a meeting, and may run on or end at any moment. So they
// are read after the release, by who conducts the dump.
//
// A thread of the pool has memory set aside as a worker has (standing.h), and
// is pinned while it is captured. A thread of the program's has nothing: it is
// read from outside alone, by the kernel, for its stack may go away; what is
// found belongs to its wait if that still lasts afterwards (outside.h).
#include "dump/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dump/calls.h"
#include "dump/capture.h"
#include "dump/fp_search.h"
#include "dump/process.h"
#include "dump/standing.h"
#include "sync/outside.h"

// For all of the pool that run.
static const int64_t ANSWER_NS = 20000000;
static const int64_t STEP_NS = 200000;

// The threads as they were found at one moment.
struct seen {
    struct pool_thread **pool; // pinned
    struct pool_thread *copies;
    size_t pool_count;
    struct outsider *outsiders;
    size_t outsider_count;
};

struct work {
    struct weft_dump *dump;
    struct weft_runtime *runtime;
    struct store *store;
    struct cfi_cache *cache;
    struct standing *reader;
    uint64_t now;   // ticks
    int64_t now_ns; // the same on the clock
};

// ---- Who is there ----

static void unpin(struct weft_runtime *runtime, struct seen *seen)
{
    for (size_t i = 0; i < seen->pool_count; i++)
        blocking_unpin(&runtime->blocking, seen->pool[i]);
    free(seen->pool);
    free(seen->copies);
    seen->pool = NULL;
    seen->copies = NULL;
    seen->pool_count = 0;
}

// Again with more room until there is enough.
static int see_pool(struct weft_runtime *runtime, struct seen *seen)
{
    size_t room = 0;
    size_t count;

    while ((count = blocking_pin(&runtime->blocking, seen->pool, seen->copies,
                                 room)) > room) {
        seen->pool_count = room;
        unpin(runtime, seen);
        room = count + 4;
        seen->pool = calloc(room, sizeof(struct pool_thread *));
        seen->copies = calloc(room, sizeof *seen->copies);
        if (seen->pool == NULL || seen->copies == NULL)
            return -ENOMEM;
    }
    seen->pool_count = count;
    return 0;
}

static int see_outsiders(struct seen *seen)
{
    size_t room = 0;
    size_t count;

    while ((count = outside_copy(seen->outsiders, room)) > room) {
        free(seen->outsiders);
        room = count + 4;
        seen->outsiders = calloc(room, sizeof *seen->outsiders);
        if (seen->outsiders == NULL)
            return -ENOMEM;
    }
    seen->outsider_count = count;
    return 0;
}

// ---- What each does ----

static int64_t ago(const struct work *work, uint64_t ticks)
{
    return ticks < work->now ? port_ticks_to_ns(work->now - ticks) : 0;
}

static void add_name(struct model_thread *m)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/task/%d/comm", m->shown.tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t size = read(fd, m->name, sizeof m->name - 1);
    (void)close(fd);
    m->name[size < 0 ? 0 : size] = '\0';
    m->name[strcspn(m->name, "\n")] = '\0';
    m->shown.name = m->name;
}

static void add_pool_thread(const struct work *work,
                            const struct pool_thread *copy,
                            struct model_thread *m)
{
    m->shown = (weft_dump_thread){
        .tid = copy->tid,
        .kind = WEFT_THREAD_POOL,
        .state = copy->fn == NULL ? WEFT_THREAD_IDLE : WEFT_THREAD_CALLING,
        .state_ns = ago(work, copy->since),
        .task = copy->task,
        .fn_pc = copy->fn == NULL ? 0 : (uintptr_t)copy->fn + 1, // model.h
        .timeout_in_ns = WEFT_NEVER,
        .syscall_fd = -1,
        .stack = WEFT_NONE,
    };
    add_name(m);
}

static int64_t timeout_in_ns(const struct work *work, int64_t deadline_ns)
{
    if (deadline_ns == WEFT_NEVER)
        return WEFT_NEVER;
    return deadline_ns > work->now_ns ? deadline_ns - work->now_ns : 0;
}

static void add_outsider(const struct work *work, const struct outsider *o,
                         struct model_thread *m)
{
    bool other = o->runtime != NULL && o->runtime != work->runtime;

    m->shown = (weft_dump_thread){
        .tid = o->tid,
        .kind = WEFT_THREAD_FOREIGN,
        .state = o->ends ? WEFT_THREAD_ENDING : WEFT_THREAD_WAITING,
        .state_ns = ago(work, o->since),
        .wait = o->kind,
        .object = o->task != 0 ? 0 : o->object,
        .wait_task = o->task,
        .timeout_in_ns = timeout_in_ns(work, o->deadline_ns),
        .syscall_fd = -1,
        .stack = WEFT_NONE,
    };
    memcpy(m->object_name, o->object_name, sizeof m->object_name);
    memcpy(m->runtime, o->runtime_name, sizeof m->runtime);
    m->shown.object_name = m->object_name[0] == '\0' ? NULL : m->object_name;
    m->shown.runtime = other ? m->runtime : NULL;
    add_name(m);
}

// ---- Where each stands ----

static void add_call(const struct standing_result *found,
                     struct model_thread *m)
{
    weft_dump_thread *t = &m->shown;
    int fd_arg;

    t->in_syscall = true;
    t->syscall = found->call;
    (void)calls_name(found->call, &fd_arg);
    if (fd_arg < 0)
        return;
    t->syscall_fd = (int)found->args[fd_arg];
    m->fd_name = process_descriptor(0, t->syscall_fd);
    t->syscall_fd_name = m->fd_name;
}

static void add_no_stack(const struct work *work, const char *why,
                         struct model_thread *m)
{
    struct model_stack stack = {.end = WEFT_STACK_UNKNOWN};

    m->shown.stack = store_stack(work->store, &stack, NULL, why);
}

static void add_stack(struct work *work, const struct standing_result *found,
                      struct model_thread *m)
{
    bool has_fp = found->regs.valid >> CFI_FP & 1;
    struct model_stack stack = {.error = WEFT_NONE};
    struct unwind_result result = {0};
    uintptr_t pcs[FRAMES_MAX];

    if (found->how == STANDING_UNREACHABLE) {
        add_no_stack(work, found->why, m);
        return;
    }
    if (found->how == STANDING_IN_CALL)
        add_call(found, m);
    int kept = (has_fp ? unwind : fp_search_unwind)(
        work->cache, &found->regs, &found->memory, pcs, FRAMES_MAX, FRAMES_TAIL,
        &result);
    const char *error = capture_kept(&result, kept, pcs, &stack);
    m->shown.stack = store_stack(work->store, &stack, pcs, error);
}

// ---- The pool ----

static bool is_self(const struct pool_thread *copy)
{
    return copy->tid == port_thread_id();
}

static bool advance_all(const struct seen *seen)
{
    bool all = true;

    for (size_t i = 0; i < seen->pool_count; i++)
        if (seen->pool[i]->standing != NULL && !is_self(&seen->copies[i]) &&
            !standing_advance(seen->pool[i]->standing))
            all = false;
    return all;
}

static void ask_all(const struct seen *seen)
{
    int64_t deadline_ns = port_now() + ANSWER_NS;
    atomic_u32 never = 0;

    for (size_t i = 0; i < seen->pool_count; i++)
        if (seen->pool[i]->standing != NULL && !is_self(&seen->copies[i]))
            standing_ask(seen->pool[i]->standing, seen->pool[i]->lo,
                         seen->pool[i]->hi);
    while (!advance_all(seen) && port_now() < deadline_ns)
        (void)port_futex_wait(&never, 0, port_now() + STEP_NS);
}

static void add_pool(struct work *work, const struct seen *seen)
{
    struct weft_dump *dump = work->dump;

    ask_all(seen);
    for (size_t i = 0; i < seen->pool_count; i++) {
        if (is_self(&seen->copies[i]))
            continue; // who takes this dump
        struct model_thread *m = &dump->threads[dump->thread_count++];
        struct standing_result found;
        add_pool_thread(work, &seen->copies[i], m);
        if (seen->pool[i]->standing == NULL) {
            add_no_stack(work, "there was no memory for it", m);
            continue;
        }
        standing_take(seen->pool[i]->standing, &found);
        if (blocking_still(&work->runtime->blocking, seen->pool[i],
                           &seen->copies[i]))
            add_stack(work, &found, m);
        else
            add_no_stack(work, "its call ended while it was read", m);
    }
}

// ---- The program's ----

static void add_outsiders(struct work *work, const struct seen *seen)
{
    struct weft_dump *dump = work->dump;

    for (size_t i = 0; i < seen->outsider_count; i++) {
        if (seen->outsiders[i].tid == port_thread_id())
            continue; // who takes this dump
        struct model_thread *m = &dump->threads[dump->thread_count++];
        struct standing_result found;
        add_outsider(work, &seen->outsiders[i], m);
        standing_read(work->reader, m->shown.tid, &found);
        if (outside_lasts(seen->outsiders[i].serial))
            add_stack(work, &found, m);
        else
            add_no_stack(work, "its wait ended while it was read", m);
    }
}

// ---- The whole ----

static int prepare(struct work *work, struct seen *seen)
{
    struct weft_dump *dump = work->dump;
    int error = see_pool(work->runtime, seen);

    if (error == 0)
        error = see_outsiders(seen);
    if (error != 0)
        return error;
    work->reader = standing_reader_new();
    dump->threads = calloc(seen->pool_count + seen->outsider_count + 1,
                           sizeof *dump->threads);
    work->now = port_ticks();
    work->now_ns = port_now();
    return work->reader == NULL || dump->threads == NULL ? -ENOMEM : 0;
}

int threads_add(struct weft_dump *dump, const struct picture *picture,
                struct cfi_cache *cache)
{
    struct work work = {.dump = dump,
                        .runtime = picture->runtime,
                        .store = picture->store,
                        .cache = cache};
    struct seen seen = {0};
    int error = prepare(&work, &seen);

    if (error == 0) {
        add_pool(&work, &seen);
        unpin(work.runtime, &seen);
        add_outsiders(&work, &seen);
    }
    unpin(work.runtime, &seen);
    free(seen.outsiders);
    free(work.reader);
    return error;
}

// ---- In a thread of the pool ----

void threads_begin(struct weft_runtime *runtime, struct pool_thread *thread)
{
    if (port_own_stack(&thread->lo, &thread->hi) == 0)
        thread->standing = standing_begin(runtime->capture_signal);
}

void threads_end(struct pool_thread *thread)
{
    standing_end(thread->standing);
    standing_free(thread->standing);
}
