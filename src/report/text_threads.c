// text_threads.c -- The threads of a dump that are no workers: what each does.
#include <stdlib.h>

#include "report/frames.h"
#include "report/names.h"
#include "report/view.h"

#define THREADS_MAX 20 // shown, unless all are asked for
#define TIDS_MAX 8     // of the idle ones

// ---- What it does. ----

static void add_who(struct str *line, const weft_dump_thread *t)
{
    str_addf(line, "%s tid %d",
             t->kind == WEFT_THREAD_POOL ? "pool thread" : "thread", t->tid);
    if (t->name && t->kind == WEFT_THREAD_FOREIGN) {
        str_add(line, " \"");
        str_add_name(line, t->name, true, 16);
        str_add(line, "\"");
    }
    str_add(line, "  ");
}

static void add_task(struct view *view, uint64_t id)
{
    uint32_t task = model_find(view->dump, id);

    if (task == WEFT_NONE)
        str_addf(&view->line, "T%llu", (unsigned long long)id);
    else
        view_add_task(&view->line, view->dump, task, 20);
}

static void add_what(struct view *view, const weft_dump_thread *t)
{
    struct str *line = &view->line;

    switch (t->wait) {
    case WEFT_WAIT_CHAN_SEND:
    case WEFT_WAIT_CHAN_RECV:
        str_add(line, t->wait == WEFT_WAIT_CHAN_SEND ? "send on channel "
                                                     : "receive on channel ");
        if (t->object_name) {
            str_add(line, "\"");
            str_add_name(line, t->object_name, true, 30);
            str_add(line, "\"");
        } else {
            str_addf(line, "0x%llx", (unsigned long long)t->object);
        }
        break;
    case WEFT_WAIT_JOIN:
        str_add(line, "join ");
        if (t->runtime)
            str_addf(line, "T%llu", (unsigned long long)t->wait_task);
        else
            add_task(view, t->wait_task);
        break;
    default:
        str_add(line, "the dump that it has asked for");
        break;
    }
}

static void add_runtime(struct str *line, const weft_dump_thread *t)
{
    if (!t->runtime)
        return;
    str_add(line, " of runtime \"");
    str_add_name(line, t->runtime, true, 20);
    str_add(line, "\"");
}

static void add_waiting(struct view *view, const weft_dump_thread *t)
{
    struct str *line = &view->line;

    str_add(line, "waiting ");
    str_add_time(line, t->state_ns);
    str_add(line, ": ");
    add_what(view, t);
    add_runtime(line, t);
    if (t->timeout_in_ns == WEFT_NEVER)
        return;
    str_add(line, view_is_time(t->wait) ? ", wakes in " : ", gives up in ");
    str_add_time(line, t->timeout_in_ns);
}

static void add_calling(struct view *view, const weft_dump_thread *t)
{
    struct str *line = &view->line;
    weft_frame frame;

    str_add(line, "calling ");
    view_check(view, names_find_place(view->dump, t->fn_pc, &frame));
    frames_add_function(line, &frame, 30);
    str_add(line, " for ");
    add_task(view, t->task);
    str_add(line, " since ");
    str_add_time(line, t->state_ns);
    if (t->in_syscall) {
        str_add(line, ", in system call ");
        view_add_call(line, t->syscall, t->syscall_fd, t->syscall_fd_name);
    }
}

static void print_thread(struct view *view, const weft_dump_thread *t)
{
    struct str *line = &view->line;

    add_who(line, t);
    if (t->state == WEFT_THREAD_CALLING) {
        add_calling(view, t);
    } else if (t->state == WEFT_THREAD_WAITING) {
        add_waiting(view, t);
    } else if (t->state == WEFT_THREAD_ENDING) {
        str_add(line, "waiting ");
        str_add_time(line, t->state_ns);
        str_add(line, t->runtime ? ": the end" : ": this runtime's end");
        add_runtime(line, t);
    }
    view_end_line(view);
    view_print_stack(view, t->stack);
    view_end_line(view);
}

// ---- All of them. ----

// They wait for work, all at the same place: in one line.
static void print_idle(struct view *view, size_t idle)
{
    struct str *line = &view->line;
    size_t shown = 0;

    if (idle == 0)
        return;
    str_add_count(line, idle);
    str_addf(line, " pool thread%s idle: tid", idle == 1 ? " is" : "s are");
    for (size_t i = 0; i < view->dump->thread_count && shown < TIDS_MAX; i++) {
        const weft_dump_thread *t = &view->dump->threads[i].shown;
        if (t->state == WEFT_THREAD_IDLE)
            str_addf(line, "%s %d", shown++ == 0 ? "" : ",", t->tid);
    }
    if (shown < idle)
        str_add(line, ", …");
    view_end_line(view);
    view_end_line(view);
}

static size_t count_idle(const weft_dump *dump)
{
    size_t idle = 0;

    for (size_t i = 0; i < dump->thread_count; i++)
        idle += dump->threads[i].shown.state == WEFT_THREAD_IDLE;
    return idle;
}

static void print_busy(struct view *view)
{
    const weft_dump *dump = view->dump;
    size_t shown = 0;

    for (size_t i = 0; i < dump->thread_count && !view->line.error; i++) {
        const weft_dump_thread *t = &dump->threads[i].shown;
        if (t->state == WEFT_THREAD_IDLE)
            continue;
        if (shown++ < THREADS_MAX || view->verbose)
            print_thread(view, t);
    }
    if (shown <= THREADS_MAX || view->verbose)
        return;
    str_add(&view->line, "… ");
    str_add_count(&view->line, shown - THREADS_MAX);
    str_add(&view->line, " more threads are in the JSON");
    view_end_line(view);
    view_end_line(view);
}

void view_print_threads(struct view *view)
{
    size_t count = view->dump->thread_count;

    if (count == 0)
        return;
    str_add(&view->line, "THREADS besides the workers: ");
    str_add_count(&view->line, count);
    view_end_line(view);
    view_end_line(view);
    print_busy(view);
    print_idle(view, count_idle(view->dump));
}
