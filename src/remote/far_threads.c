// far_threads.c -- The threads of another process: what its workers run, and
// those that are no workers but sit in calls of weft's.
//
// The lists that these stand in are read while the process stands, whoever
// holds their locks. Of a process that is not stopped only those threads can be
// placed that sit in a system call, and a list may change while it is walked:
// so every walk is bounded, and what is no number of a thread is left out.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump/calls.h"
#include "dump/fp_search.h"
#include "remote/far.h"
#include "sync/outside.h"

enum {
    LISTED_MAX = 4096, // threads in one list
#if defined(__x86_64__)
    RED_ZONE = 128, // unwind.h
#else
    RED_ZONE = 0,
#endif
};

// ---- Stacks ----

// Unwinds a thread as far as its stack goes, up to `top` at most. NULL, or why
// the stack is not whole.
static const char *unwind_thread(struct far_runtime *far,
                                 const struct target_thread *thread,
                                 uintptr_t top, uintptr_t *pcs,
                                 struct model_stack *ret_stack)
{
    struct far_reader *reader = &far->readers[0];
    struct unwind_result result = {0};
    bool has_fp = (thread->regs.valid >> CFI_FP & 1) != 0;
    uintptr_t low = (thread->regs.reg[CFI_SP] - RED_ZONE) & ~(uintptr_t)15;
    uintptr_t live = top - low;
    struct unwind_memory memory = {
        .lo = low,
        .hi = low + space_read(&far->target->space, low, reader->bytes,
                               live < FAR_STACK_MAX ? live : FAR_STACK_MAX),
        .copy = reader->bytes,
    };

    memory.hi &= ~(uintptr_t)(sizeof(uintptr_t) - 1);
    if (!far->target->kind->still(far->target, thread))
        return "it ran on while its stack was read";
    int kept = (has_fp ? unwind : fp_search_unwind)(
        reader->cache, &thread->regs, &memory, pcs, FRAMES_MAX, FRAMES_TAIL,
        &result);
    return capture_kept(&result, kept, pcs, ret_stack);
}

static bool is_on_stack(const struct task *task,
                        const struct target_thread *thread)
{
    uintptr_t sp = thread->regs.reg[CFI_SP];

    return sp > (uintptr_t)stack_low(task) && sp < (uintptr_t)task->top;
}

// ---- Tasks that run ----

// The thread of the worker inside the task in a slot, or NULL.
static const struct target_thread *thread_of(const struct far_runtime *far,
                                             uint32_t slot)
{
    uintptr_t at = picture_slot(&far->picture, slot);

    for (uint32_t i = 0; i < worker_count(&far->runtime); i++)
        if ((uintptr_t)load_relaxed(&far->workers[i].current) == at) // a copy's
            return target_thread(far->target,
                                 (int)load_relaxed(&far->workers[i].tid));
    return NULL;
}

static const char *why_no_stack(const struct far_runtime *far,
                                const struct target_thread *thread)
{
    if (thread != NULL && thread->standing)
        return "it is between its worker's stack and its own";
    return far->target->method == MODEL_UNSTOPPED ? "it was not stopped"
                                                  : "its thread did not stop";
}

void far_threads_add_running(struct far_runtime *far, uint32_t slot)
{
    struct running running = {.state = WEFT_STATE_RUNNING};
    const struct target_thread *thread = thread_of(far, slot);

    memcpy(&running.copy, &far->slots[slot], sizeof running.copy);
    running.stack = (struct model_stack){.end = WEFT_STACK_UNKNOWN};
    running.error = why_no_stack(far, thread);
    far->unplaced += thread == NULL || !thread->standing;
    if (running.copy.top == NULL ||
        running.copy.stack_class > STACK_CLASS_MAX ||
        !space_read_all(&far->target->space, (uintptr_t)running.copy.top,
                        &running.top, offsetof(struct task_top, fiber))) {
        (void)add_relaxed(&far->failed, 1);
        return;
    }
    if (thread != NULL && thread->standing &&
        is_on_stack(&running.copy, thread)) {
        running.error = unwind_thread(far, thread, (uintptr_t)running.copy.top,
                                      running.pcs, &running.stack);
        running.stack_used = (uint32_t)((uintptr_t)stack_high(&running.copy) -
                                        thread->regs.reg[CFI_SP]);
    }
    capture_running(&far->picture, &running);
}

// ---- Workers ----

static uint64_t task_id(const struct far_runtime *far, const void *slot)
{
    struct task copy;

    return slot != NULL && space_read_all(&far->target->space, (uintptr_t)slot,
                                          &copy, sizeof copy)
               ? copy.id
               : 0;
}

static void add_worker(struct far_runtime *far, uint32_t index)
{
    const struct worker *worker = &far->workers[index];   // copies
    const struct queue *queue = &far->cores[index].queue; //
    int tid = (int)load_relaxed(&worker->tid);
    const struct target_thread *thread = target_thread(far->target, tid);
    weft_dump_worker *w = &far->dump->workers[index];
    uint64_t queued = load_relaxed(&queue->tail) - load_relaxed(&queue->head);
    int fd_arg;

    *w = (weft_dump_worker){
        .index = index,
        .state = load_relaxed(&worker->presence) == PRESENCE_OUT
                     ? WEFT_WORKER_IDLE
                     : WEFT_WORKER_MET,
        .tid = thread == NULL ? tid : thread->tid,
        .task = task_id(far, load_relaxed(&worker->current)),
        .queued = queued <= QUEUE_CAP ? (uint32_t)queued : 0,
        .syscall_fd = -1,
    };
    if (w->task == 0)
        return;
    w->state = WEFT_WORKER_MISSING;
    w->handed_off = load_relaxed(&worker->duty) == DUTY_AWAY; // a copy's
    w->busy_ns = picture_ago(&far->picture, worker_now(worker));
    if (thread == NULL || !thread->in_call)
        return;
    w->in_syscall = true;
    w->syscall = (int)thread->call;
    (void)calls_name(w->syscall, &fd_arg);
    w->syscall_fd = fd_arg < 0 ? -1 : (int)thread->args[fd_arg];
}

// ---- Threads that are no workers ----

static struct model_thread *new_thread(struct far_runtime *far, size_t *room)
{
    struct weft_dump *dump = far->dump;

    if (dump->thread_count == *room) {
        size_t more = *room == 0 ? 16 : 2 * *room;
        struct model_thread *threads =
            realloc(dump->threads, more * sizeof *threads);
        if (threads == NULL)
            return NULL;
        dump->threads = threads;
        *room = more;
    }
    dump->threads[dump->thread_count] = (struct model_thread){0};
    return &dump->threads[dump->thread_count++];
}

static void read_call(const struct far_runtime *far,
                      const struct target_thread *thread,
                      struct model_thread *m)
{
    int fd_arg;

    m->shown.in_syscall = thread->in_call;
    m->shown.syscall = thread->in_call ? thread->call : 0;
    if (!thread->in_call)
        return;
    (void)calls_name(thread->call, &fd_arg);
    if (fd_arg < 0)
        return;
    m->shown.syscall_fd = (int)thread->args[fd_arg];
    m->fd_name =
        far->target->kind->descriptor(far->target, m->shown.syscall_fd);
}

// Where it stands, and what the kernel says of it.
static void place_thread(struct far_runtime *far,
                         const struct target_thread *thread,
                         struct model_thread *m)
{
    struct model_stack stack = {.end = WEFT_STACK_UNKNOWN};
    const char *error = why_no_stack(far, NULL);
    uintptr_t pcs[FRAMES_MAX];

    m->shown.tid = thread->tid;
    m->shown.timeout_in_ns = WEFT_NEVER;
    m->shown.syscall_fd = -1;
    far->target->kind->thread_name(far->target, thread->tid, m->name);
    read_call(far, thread, m);
    if (thread->standing)
        error = unwind_thread(far, thread, UINTPTR_MAX, pcs, &stack);
    m->shown.stack = store_stack(far->picture.store, &stack, pcs, error);
}

static int add_pool_thread(struct far_runtime *far, uintptr_t at, size_t *room)
{
    struct pool_thread copy;

    if (!space_read_all(&far->target->space, at, &copy, sizeof copy))
        return 0;
    const struct target_thread *thread = target_thread(far->target, copy.tid);
    struct model_thread *m = thread == NULL ? NULL : new_thread(far, room);
    if (m == NULL)
        return thread == NULL ? 0 : -ENOMEM;
    place_thread(far, thread, m);
    m->shown.kind = WEFT_THREAD_POOL;
    m->shown.state = copy.fn == NULL ? WEFT_THREAD_IDLE : WEFT_THREAD_CALLING;
    m->shown.state_ns = picture_ago(&far->picture, copy.since);
    m->shown.task = copy.task;
    m->shown.fn_pc = copy.fn == NULL ? 0 : (uintptr_t)copy.fn + 1; // model.h
    return 0;
}

static void describe_wait(const struct far_runtime *far,
                          const struct outsider *copy, struct model_thread *m)
{
    weft_dump_thread *t = &m->shown;
    bool other =
        copy->runtime != NULL && (uintptr_t)copy->runtime != far->address;

    t->kind = WEFT_THREAD_FOREIGN;
    t->state = copy->ends ? WEFT_THREAD_ENDING : WEFT_THREAD_WAITING;
    t->state_ns = picture_ago(&far->picture, copy->since);
    t->wait = copy->kind;
    t->object = copy->task != 0 ? 0 : copy->object;
    t->wait_task = copy->task;
    if (copy->deadline_ns != WEFT_NEVER)
        t->timeout_in_ns = copy->deadline_ns > far->picture.now_ns
                               ? copy->deadline_ns - far->picture.now_ns
                               : 0;
    snprintf(m->object_name, sizeof m->object_name, "%.*s",
             (int)sizeof copy->object_name, copy->object_name);
    if (other)
        snprintf(m->runtime, sizeof m->runtime, "%.*s",
                 (int)sizeof copy->runtime_name, copy->runtime_name);
}

static int add_outsider(struct far_runtime *far, uintptr_t at, size_t *room)
{
    struct outsider copy;

    if (!space_read_all(&far->target->space, at, &copy, sizeof copy) ||
        copy.kind > WAIT_LAST)
        return 0;
    const struct target_thread *thread = target_thread(far->target, copy.tid);
    struct model_thread *m = thread == NULL ? NULL : new_thread(far, room);
    if (m == NULL)
        return thread == NULL ? 0 : -ENOMEM;
    place_thread(far, thread, m);
    describe_wait(far, &copy, m);
    return 0;
}

// Walks a list of structs whose link is their first field.
static int add_listed(struct far_runtime *far, uintptr_t head, size_t *room,
                      int (*add)(struct far_runtime *far, uintptr_t at,
                                 size_t *room))
{
    struct list link;
    uintptr_t at = head;
    int error = 0;

    for (int i = 0; error == 0 && i < LISTED_MAX &&
                    space_read_all(&far->target->space, at, &link, sizeof link);
         i++) {
        at = (uintptr_t)link.next;
        if (at == head)
            break;
        error = add(far, at, room);
    }
    return error;
}

// Once they do not move any more.
static void point_strings(struct weft_dump *dump)
{
    for (size_t i = 0; i < dump->thread_count; i++) {
        struct model_thread *m = &dump->threads[i];
        m->shown.name = m->name[0] == '\0' ? NULL : m->name;
        m->shown.object_name =
            m->object_name[0] == '\0' ? NULL : m->object_name;
        m->shown.runtime = m->runtime[0] == '\0' ? NULL : m->runtime;
        m->shown.syscall_fd_name = m->fd_name;
    }
}

int far_threads_add(struct far_runtime *far)
{
    _Static_assert(offsetof(struct pool_thread, link) == 0 &&
                       offsetof(struct outsider, link) == 0,
                   "as add_listed has it");
    uintptr_t serving =
        far->address + offsetof(struct weft_runtime, blocking.serving);
    size_t room = 0;

    for (uint32_t i = 0; i < worker_count(&far->runtime); i++)
        add_worker(far, i);
    int error = add_listed(far, serving, &room, add_pool_thread);
    if (error == 0)
        error = add_listed(far, far->modules->beacon.outsiders, &room,
                           add_outsider);
    point_strings(far->dump);
    return error;
}
