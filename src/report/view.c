// view.c -- What the parts of the text share.
#include "report/view.h"

#include <string.h>

#include "dump/calls.h"

#define CONTINUED_COLUMN 8 // where the rest of a broken line begins

void view_end_line(struct view *view)
{
    while (view->line.columns > VIEW_COLUMNS && !view->line.error)
        str_flush_part(&view->line, VIEW_COLUMNS, CONTINUED_COLUMN, view->file);
    str_add(&view->line, "\n");
    str_flush(&view->line, view->file);
}

void view_check(struct view *view, int result)
{
    if (result < 0 && !view->line.error)
        view->line.error = result;
}

static void add_quoted(struct str *str, const char *name, unsigned columns)
{
    str_add(str, "\"");
    str_add_name(str, name, true, columns);
    str_add(str, "\"");
}

void view_add_task(struct str *str, const weft_dump *dump, uint32_t task,
                   unsigned name_columns)
{
    const struct model_task about = model_task(dump, task);
    const char *name = model_text(dump, about.name);

    str_addf(str, "T%llu", (unsigned long long)about.id);
    if (!name || name_columns < 4)
        return;
    str_add(str, " ");
    str_style(str, STYLE_NAME);
    add_quoted(str, name, name_columns);
    str_style(str, STYLE_PLAIN);
}

const char *view_object_word(enum weft_object_kind kind)
{
    static const char *const words[] = {
        [WEFT_OBJECT_MUTEX] = "mutex",
        [WEFT_OBJECT_CHANNEL] = "channel",
        [WEFT_OBJECT_RWLOCK] = "rwlock",
        [WEFT_OBJECT_SEMAPHORE] = "semaphore",
        [WEFT_OBJECT_COND] = "condition",
        [WEFT_OBJECT_EVENT] = "event",
        [WEFT_OBJECT_BARRIER] = "barrier",
        [WEFT_OBJECT_ONCE] = "once",
        [WEFT_OBJECT_WAITGROUP] = "wait group",
        [WEFT_OBJECT_ONESHOT] = "one-shot",
        [WEFT_OBJECT_BROADCAST] = "broadcast",
        [WEFT_OBJECT_WATCH] = "watch",
        [WEFT_OBJECT_SCOPE] = "scope",
    };

    return words[kind];
}

void view_add_object(struct str *str, const weft_dump *dump, uint32_t object,
                     bool kind, unsigned name_columns)
{
    const struct model_object *about = &dump->objects[object];
    const char *name = model_text(dump, about->name);

    if (kind)
        str_addf(str, "%s ", view_object_word(about->kind));
    if (name)
        add_quoted(str, name, name_columns);
    else
        str_addf(str, "0x%llx", (unsigned long long)about->address);
}

bool view_add_scope(struct str *str, const weft_dump *dump, uint32_t object,
                    unsigned name_columns)
{
    bool named = object < dump->object_count &&
                 model_text(dump, dump->objects[object].name) != NULL;

    if (named)
        view_add_object(str, dump, object, true, name_columns);
    else
        str_add(str, "its scope");
    return named;
}

bool view_is_time(enum weft_wait_kind wait)
{
    return wait == WEFT_WAIT_SLEEP || wait == WEFT_WAIT_INTERVAL ||
           wait == WEFT_WAIT_WALL;
}

static void add_clause(struct str *str, const weft_dump *dump,
                       const struct model_clause *clause)
{
    switch ((enum weft_wait_kind)clause->wait) {
    case WEFT_WAIT_SLEEP:
        str_add(str, "a time");
        return;
    case WEFT_WAIT_INTERVAL:
        str_add(str, "a tick");
        return;
    case WEFT_WAIT_WALL:
        str_add(str, "a wall-clock time");
        return;
    case WEFT_WAIT_JOIN:
        str_addf(str, "join T%llu", (unsigned long long)clause->task);
        return;
    case WEFT_WAIT_FD:
        str_addf(str, "%s on fd %d", clause->write ? "write" : "read",
                 clause->fd);
        return;
    case WEFT_WAIT_CHAN_SEND:
        str_add(str, "send on ");
        break;
    case WEFT_WAIT_CHAN_RECV:
        str_add(str, "receive on ");
        break;
    case WEFT_WAIT_RWLOCK_READ:
        str_add(str, "read lock on ");
        break;
    case WEFT_WAIT_RWLOCK_WRITE:
        str_add(str, "write lock on ");
        break;
    case WEFT_WAIT_SCOPE_NEXT:
        str_add(str, "next child of ");
        break;
    default:
        break;
    }
    if (clause->object < dump->object_count)
        view_add_object(str, dump, clause->object, true, 20);
    else
        str_add(str, "an object that is gone");
}

void view_add_choice(struct str *str, const weft_dump *dump, uint32_t index)
{
    enum { SHOWN = 3 };

    if (index >= dump->choice_count) {
        str_add(str, "what is not known");
        return;
    }
    const struct model_choice *choice = &dump->choices[index];
    uint32_t shown = choice->count < SHOWN ? choice->count : SHOWN;
    for (uint32_t i = 0; i < shown; i++) {
        str_add(str, i > 0 ? ", " : "");
        add_clause(str, dump, &dump->clauses[choice->clause + i]);
    }
    if (choice->total > shown)
        str_addf(str, " and %u more", choice->total - shown);
    else if (shown == 0)
        str_add(str, "nothing");
}

void view_add_call(struct str *str, long call, int fd, const char *fd_name)
{
    int fd_arg;
    const char *name = calls_name(call, &fd_arg);

    if (name)
        str_add(str, name);
    else
        str_addf(str, "number %ld", call);
    if (fd < 0)
        return;
    str_addf(str, "(fd %d", fd);
    if (fd_name) {
        str_add(str, " = ");
        str_add_tail(str, fd_name, 30);
    }
    str_add(str, ")");
}

void view_add_place(struct str *str, const weft_dump_worker *worker)
{
    view_add_call(str, worker->syscall, worker->syscall_fd,
                  worker->syscall_fd_name);
}

void view_add_syscall(struct str *str, const weft_dump_worker *worker)
{
    view_add_place(str, worker);
    if (worker->syscall_ns > 0) {
        str_add(str, " for ");
        str_add_time(str, worker->syscall_ns);
    }
}

void view_add_range(struct str *str, int64_t min_ns, int64_t max_ns)
{
    struct str min, max;

    str_init(&min, false, str->ascii);
    str_init(&max, false, str->ascii);
    str_add_time(&min, min_ns);
    str_add_time(&max, max_ns);
    str_add_str(str, &min);
    if (min.used != max.used || // nothing of either: no memory
        (min.used > 0 && memcmp(min.data, max.data, min.used) != 0)) {
        str_add(str, " … ");
        str_add_str(str, &max);
    }
    str_deinit(&min);
    str_deinit(&max);
}

const char *view_plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}
