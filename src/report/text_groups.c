// text_groups.c -- The groups of a dump: how many, in which plight, where.
#include <errno.h>
#include <stdlib.h>

#include "report/frames.h"
#include "report/names.h"
#include "report/view.h"

#define GROUPS_MAX 30 // shown, unless all are asked for
#define ITEMS_MAX 6   // descriptors, workers and such in one line
#define TAG_COLUMN 92 // where the finding of a group ends

static struct model_task task_at(const struct view *view,
                                 const struct group *group, uint32_t i)
{
    return model_task(view->dump, view->groups.tasks[group->start + i]);
}

// ---- What a group waits for. ----

// Numbers of a group's tasks, each once, in order of appearance.
struct items {
    uint64_t item[ITEMS_MAX];
    size_t count;
    bool more;
};

typedef uint64_t item_fn(const struct view *view,
                         const struct model_task *task);

static void add_item(struct items *items, uint64_t item)
{
    for (size_t i = 0; i < items->count; i++)
        if (items->item[i] == item)
            return;
    if (items->count == ITEMS_MAX)
        items->more = true;
    else
        items->item[items->count++] = item;
}

static struct items collect(const struct view *view, const struct group *group,
                            item_fn *get)
{
    struct items items = {.count = 0};

    for (uint32_t i = 0; i < group->count && !items.more; i++) {
        const struct model_task task = task_at(view, group, i);
        add_item(&items, get(view, &task));
    }
    return items;
}

static void add_items(struct str *str, const struct items *items,
                      const char *before)
{
    for (size_t i = 0; i < items->count; i++)
        str_addf(str, "%s%s%llu", i ? ", " : "", before,
                 (unsigned long long)items->item[i]);
    if (items->more)
        str_add(str, ", …");
}

static uint64_t get_fd(const struct view *view, const struct model_task *task)
{
    (void)view;
    return (uint64_t)task->wait_fd;
}

static uint64_t get_joined(const struct view *view,
                           const struct model_task *task)
{
    (void)view;
    return task->wait_task;
}

static uint64_t get_owner(const struct view *view,
                          const struct model_task *task)
{
    return task->object < view->dump->object_count
               ? view->dump->objects[task->object].owner
               : 0;
}

static uint64_t get_choice(const struct view *view,
                           const struct model_task *task)
{
    (void)view;
    return task->choice;
}

static uint64_t get_object(const struct view *view,
                           const struct model_task *task)
{
    (void)view;
    return task->object;
}

static uint64_t get_worker(const struct view *view,
                           const struct model_task *task)
{
    (void)view;
    return task->worker;
}

// How far it is taken, filled or counted.
static void add_use(struct str *str, const struct model_object *about)
{
    unsigned long long used = about->used;
    unsigned long long limit = about->limit;

    if (about->kind == WEFT_OBJECT_BARRIER)
        str_addf(str, " (%llu of %llu are there)", used, limit);
    else if (about->kind == WEFT_OBJECT_WAITGROUP)
        str_addf(str, " (%llu not done)", used);
    else if (about->kind == WEFT_OBJECT_BROADCAST)
        str_addf(str, " (%llu of %llu kept)", used, limit);
    else if (about->kind == WEFT_OBJECT_SCOPE && limit)
        str_addf(str, " (%llu of %llu running)", used, limit);
    else if (about->kind == WEFT_OBJECT_SCOPE)
        str_addf(str, " (%llu running)", used);
    else if (limit && about->kind != WEFT_OBJECT_WATCH)
        str_addf(str, " (%llu of %llu used)", used, limit);
}

static void add_holders(const struct view *view, struct str *str,
                        const struct model_object *about)
{
    struct items holders = {.count = 0};

    for (uint32_t i = 0; i < about->holder_count && !holders.more; i++) {
        uint32_t task = view->dump->holders[about->holder + i];
        add_item(&holders, model_task(view->dump, task).id);
    }
    if (holders.count > 0) {
        str_add(str, " held by ");
        add_items(str, &holders, "T");
    }
    if (about->owner_tid != 0)
        str_addf(str, " held by thread %d", about->owner_tid);
    if (about->kind == WEFT_OBJECT_RWLOCK && about->used > about->holder_count)
        str_addf(str, "%s by %llu reader%s outside any task",
                 holders.count > 0 ? " and" : " held",
                 (unsigned long long)(about->used - about->holder_count),
                 view_plural(about->used - about->holder_count));
}

static void add_object(struct view *view, struct str *str,
                       const struct group *group)
{
    uint32_t object = model_task(view->dump, group->first).object;
    struct items objects = collect(view, group, get_object);
    struct items owners = collect(view, group, get_owner);

    if (object >= view->dump->object_count) {
        str_add(str, "an object that is gone");
        return;
    }
    const struct model_object *about = &view->dump->objects[object];
    view_add_object(str, view->dump, object, true, 30);
    if (objects.more)
        str_add(str, " and others");
    else if (objects.count > 1)
        str_addf(str, " and %zu more", objects.count - 1);
    if (objects.count == 1) {
        add_use(str, about);
        add_holders(view, str, about);
    } else if (owners.count > 1 || owners.item[0]) {
        str_add(str, " held by ");
        add_items(str, &owners, "T");
    }
}

static void add_joined(struct view *view, struct str *str,
                       const struct group *group)
{
    struct items joined = collect(view, group, get_joined);
    uint32_t only =
        joined.count == 1 ? model_find(view->dump, joined.item[0]) : WEFT_NONE;

    str_add(str, "join ");
    if (only != WEFT_NONE)
        view_add_task(str, view->dump, only, 30);
    else
        add_items(str, &joined, "T");
}

// The scope that is left.
static void add_left(struct view *view, struct str *str,
                     const struct group *group)
{
    uint32_t object = model_task(view->dump, group->first).object;

    str_add(str, "the children of ");
    if (view_add_scope(str, view->dump, object, 30) &&
        collect(view, group, get_object).count > 1)
        str_add(str, " and others");
}

// The range of the times in which waits end by themselves.
static void add_timeouts(struct view *view, struct str *str,
                         const struct group *group, const char *text)
{
    int64_t min = WEFT_NEVER, max = 0;

    for (uint32_t i = 0; i < group->count; i++) {
        int64_t ns = task_at(view, group, i).timeout_in_ns;
        if (ns == WEFT_NEVER)
            continue;
        min = ns < min ? ns : min;
        max = ns > max ? ns : max;
    }
    if (min == WEFT_NEVER)
        return;
    str_add(str, text);
    view_add_range(str, min, max);
}

// What precedes the object, for waits of which that is all there is to say.
static const char *before_object(enum weft_wait_kind wait)
{
    static const char *const words[WAIT_LAST + 1] = {
        [WEFT_WAIT_MUTEX] = "",
        [WEFT_WAIT_SEMAPHORE] = "",
        [WEFT_WAIT_COND] = "",
        [WEFT_WAIT_EVENT] = "",
        [WEFT_WAIT_BARRIER] = "",
        [WEFT_WAIT_ONCE] = "",
        [WEFT_WAIT_WAITGROUP] = "",
        [WEFT_WAIT_CHAN_SEND] = "send on ",
        [WEFT_WAIT_CHAN_RECV] = "receive on ",
        [WEFT_WAIT_RWLOCK_READ] = "read lock on ",
        [WEFT_WAIT_RWLOCK_WRITE] = "write lock on ",
        [WEFT_WAIT_SCOPE_SPAWN] = "a place in ",
        [WEFT_WAIT_SCOPE_NEXT] = "the next child of ",
    };

    return words[wait];
}

// All there is to say of waits that are for no object.
static const char *without_object(enum weft_wait_kind wait)
{
    static const char *const words[WAIT_LAST + 1] = {
        [WEFT_WAIT_NONE] = "nothing",
        [WEFT_WAIT_SLEEP] = "sleep",
        [WEFT_WAIT_INTERVAL] = "the tick of an interval",
        [WEFT_WAIT_WALL] = "a wall-clock time",
        [WEFT_WAIT_DUMP] = "the dump that it has asked for",
        [WEFT_WAIT_BLOCKING] = "a blocking call on another thread",
    };

    return words[wait];
}

void view_add_what(struct view *view, struct str *str,
                   const struct group *group)
{
    const struct model_task task = model_task(view->dump, group->first);
    enum weft_wait_kind wait = (enum weft_wait_kind)task.wait;
    struct items fds;

    if (before_object(wait) != NULL) {
        str_add(str, before_object(wait));
        add_object(view, str, group);
    } else if (wait == WEFT_WAIT_SELECT) {
        str_add(str, "first of ");
        view_add_choice(str, view->dump, task.choice);
        if (collect(view, group, get_choice).count > 1)
            str_add(str, ", and others");
    } else if (wait == WEFT_WAIT_JOIN) {
        add_joined(view, str, group);
    } else if (wait == WEFT_WAIT_SCOPE) {
        add_left(view, str, group);
    } else if (wait == WEFT_WAIT_FD) {
        fds = collect(view, group, get_fd);
        str_add(str, task.wait_write ? "write on fd " : "read on fd ");
        add_items(str, &fds, "");
    } else {
        str_add(str, without_object(wait));
    }
}

// ---- A group's first line. ----

static void add_workers(struct view *view, struct str *str,
                        const struct group *group, const char *before)
{
    struct items workers = collect(view, group, get_worker);

    if (workers.count == 1 && workers.item[0] == WEFT_NONE)
        return;
    str_addf(str, "%sworker%s ", before, view_plural(workers.count));
    add_items(str, &workers, "");
}

static void add_queue(struct view *view, struct str *str,
                      const struct group *group)
{
    const struct model_task task = model_task(view->dump, group->first);
    struct items workers = collect(view, group, get_worker);
    bool shared = false;

    for (size_t i = 0; i < workers.count; i++)
        shared = shared || workers.item[i] == WEFT_NONE;
    if (!shared)
        add_workers(view, str, group, ", queued on ");
    else
        str_add(str, workers.count > 1 ? ", in several queues"
                                       : ", in the shared queue");
    if (group->count == 1 && task.queue_place != WEFT_NONE &&
        task.queue_place > 0)
        str_addf(str, ", %u ahead of it", task.queue_place);
}

static void add_inside(struct view *view, struct str *str,
                       const struct group *group)
{
    uint32_t worker = model_task(view->dump, group->first).worker;

    if (group->count > 1 || worker >= view->dump->worker_count ||
        !view->dump->workers[worker].in_syscall)
        return;
    str_add(str, ", in system call ");
    view_add_syscall(str, &view->dump->workers[worker]);
}

static void add_state(struct view *view, struct str *str,
                      const struct group *group)
{
    const struct model_task task = model_task(view->dump, group->first);
    static const char *const words[] = {
        [WEFT_STATE_RUNNING] = "running ",
        [WEFT_STATE_READY] = "ready ",
        [WEFT_STATE_WAITING] = "waiting ",
        [WEFT_STATE_NEW] = "new ",
        [WEFT_STATE_DONE] = "ended, not joined for ",
    };

    str_add(str, words[task.state]);
    view_add_range(str, group->min_ns, group->max_ns);
    switch ((enum weft_task_state)task.state) {
    case WEFT_STATE_RUNNING:
        add_workers(view, str, group, " on ");
        add_inside(view, str, group);
        break;
    case WEFT_STATE_READY:
    case WEFT_STATE_NEW:
        add_queue(view, str, group);
        break;
    case WEFT_STATE_WAITING:
        str_add(str, ": ");
        view_add_what(view, str, group);
        add_timeouts(view, str, group,
                     view_is_time(task.wait) ? ", wakes in "
                                             : ", gives up in ");
        break;
    case WEFT_STATE_DONE:
        break;
    }
}

static void add_head(struct view *view, const struct group *group)
{
    struct str tag;

    str_add_count(&view->line, group->count);
    str_add(&view->line, " × ");
    add_state(view, &view->line, group);
    if (group->finding == WEFT_NONE)
        return;
    str_init(&tag, false, view->line.ascii);
    str_addf(&tag, "%sF%u", group->behind ? "behind " : "", group->finding + 1);
    if (view->line.columns + tag.columns + 2 > VIEW_COLUMNS) {
        view_end_line(view);
        str_add(&view->line, "   ");
    }
    str_pad(&view->line, TAG_COLUMN - tag.columns, 2);
    str_add_str(&view->line, &tag);
    str_deinit(&tag);
}

// ---- Its tasks. ----

static void add_holds(struct view *view, struct str *str, uint32_t task)
{
    const struct model_task about = model_task(view->dump, task);

    for (uint32_t i = 0; i < about.held_count && i < 3; i++) {
        uint32_t object = view->dump->held[about.held + i];
        str_add(str, i ? ", " : "  holds ");
        view_add_object(str, view->dump, object, false, 20);
    }
    if (about.held_count > 3)
        str_addf(str, " and %u more", about.held_count - 3);
}

// Who started a task, and where.
static void add_origin(struct view *view, struct str *str, uint32_t index)
{
    const struct model_task task = model_task(view->dump, index);
    uint32_t parent =
        task.parent ? model_find(view->dump, task.parent) : WEFT_NONE;
    const char *name =
        parent == WEFT_NONE
            ? NULL
            : model_text(view->dump, model_task(view->dump, parent).name);
    weft_frame frame = {0};

    if (task.site < view->dump->site_count)
        view_check(view, names_find_place(
                             view->dump, view->dump->sites[task.site], &frame));
    if (name)
        str_add_name(str, name, true, 20);
    else if (frame.function && parent == WEFT_NONE)
        frames_add_function(str, &frame, 24);
    else if (task.parent)
        str_addf(str, "T%llu%s", (unsigned long long)task.parent,
                 parent == WEFT_NONE ? " (ended)" : "");
    if (frame.pc && (name || frame.function || task.parent))
        str_add(str, " ");
    if (frame.pc && frame.function)
        frames_add_location(str, &frame, 40);
    else if (frame.pc)
        frames_add_function(str, &frame, 40);
}

static bool has_origin(const struct model_task *task)
{
    return task->parent || task->site != WEFT_NONE;
}

// Starts a new line if this one has no room for `part`.
static void append_part(struct view *view, const struct str *part,
                        const char *between)
{
    struct str gap;

    str_init(&gap, false, view->line.ascii);
    str_add(&gap, between);
    if (view->line.columns > 4 &&
        view->line.columns + gap.columns + part->columns > VIEW_COLUMNS - 2) {
        if (between[0] == ',')
            str_add(&view->line, ",");
        view_end_line(view);
        str_add(&view->line, "    ");
    } else if (view->line.columns > 4) {
        str_add_str(&view->line, &gap);
    }
    str_add_str(&view->line, part);
    str_deinit(&gap);
}

struct origin {
    uint32_t first, count;
    uint64_t parent;
    uint32_t site;
};

#define ORIGINS_MAX 32

static int by_origin_count(const void *left, const void *right)
{
    const struct origin *a = left, *b = right;

    return a->count < b->count ? 1 : a->count > b->count ? -1 : 0;
}

static size_t count_origins(const struct view *view, const struct group *group,
                            struct origin origins[ORIGINS_MAX])
{
    size_t used = 0;

    for (uint32_t i = 0; i < group->count; i++) {
        uint32_t index = view->groups.tasks[group->start + i];
        const struct model_task task = model_task(view->dump, index);
        size_t at = 0;
        if (!has_origin(&task))
            continue;
        while (at < used && (origins[at].parent != task.parent ||
                             origins[at].site != task.site))
            at++;
        if (at < used)
            origins[at].count++;
        else if (used < ORIGINS_MAX)
            origins[used++] = (struct origin){index, 1, task.parent, task.site};
    }
    qsort(origins, used, sizeof(*origins), by_origin_count);
    return used;
}

void view_add_origins(struct view *view, const struct group *group)
{
    struct origin origins[ORIGINS_MAX];
    size_t used = count_origins(view, group, origins);
    struct str part;

    str_init(&part, view->line.color, view->line.ascii);
    for (size_t i = 0; i < used && i < 3; i++) {
        str_clear(&part);
        if (i == 0)
            str_add(&part, "by ");
        add_origin(view, &part, origins[i].first);
        if (group->count > VIEW_LISTED_MAX || origins[i].count < group->count) {
            str_add(&part, " (");
            str_add_count(&part, origins[i].count);
            str_add(&part, ")");
        }
        append_part(view, &part, i ? ", " : "  ");
    }
    if (used > 3)
        str_add(&view->line, ", …");
    str_deinit(&part);
}

static void print_labels(struct view *view, uint32_t task)
{
    const char *key, *value;

    if (model_task(view->dump, task).label_count == 0)
        return;
    str_addf(&view->line, "      labels of T%llu:",
             (unsigned long long)model_task(view->dump, task).id);
    for (size_t i = 0; !weft_dump_get_label(view->dump, task, i, &key, &value);
         i++) {
        if (view->line.columns > 60) {
            view_end_line(view);
            str_add(&view->line, "       ");
        }
        str_add(&view->line, " ");
        str_add_name(&view->line, key, true, 16);
        str_add(&view->line, "=");
        str_add_name(&view->line, value, true, 20);
    }
    view_end_line(view);
}

static void print_tasks(struct view *view, const struct group *group)
{
    struct str part;

    str_init(&part, view->line.color, view->line.ascii);
    str_add(&view->line, "    ");
    for (uint32_t i = 0; i < group->count; i++) {
        uint32_t task = view->groups.tasks[group->start + i];
        str_clear(&part);
        view_add_task(&part, view->dump, task, 40);
        append_part(view, &part, ", ");
        str_clear(&part);
        add_holds(view, &part, task);
        if (part.columns)
            append_part(view, &part, "");
    }
    str_deinit(&part);
    view_add_origins(view, group);
    view_end_line(view);
    for (uint32_t i = 0; view->verbose && i < group->count; i++)
        print_labels(view, view->groups.tasks[group->start + i]);
}

// ---- Its stack. ----

// Whether nothing but weft's own frames is there: then they are shown.
static bool all_own(struct view *view, const struct model_stack *stack)
{
    weft_frame frame;

    for (uint32_t i = 0; i < stack->count; i++) {
        int failed = names_find_place(view->dump,
                                      view->dump->pcs[stack->pc + i], &frame);
        view_check(view, failed);
        if (failed || !frame.runtime)
            return false;
    }
    return true;
}

static void print_frames(struct view *view, uintptr_t pc, bool all)
{
    weft_frame frames[FRAMES_PER_PC_MAX];
    int count = weft_dump_get_frames(view->dump, pc, frames, FRAMES_PER_PC_MAX);

    view_check(view, count);
    for (int i = 0; i < count && i < FRAMES_PER_PC_MAX; i++) {
        if (frames[i].runtime && !all) {
            view->hidden++;
            continue;
        }
        frames_add_line(&view->line, &frames[i], 6);
        str_flush(&view->line, view->file);
    }
}

// Past which function a stack could not be unwound.
static void add_broken_at(struct view *view, const struct model_stack *stack)
{
    weft_frame frames[FRAMES_PER_PC_MAX];

    if (stack->count == 0)
        return;
    int count = weft_dump_get_frames(
        view->dump, view->dump->pcs[stack->pc + stack->count - 1], frames,
        FRAMES_PER_PC_MAX);
    view_check(view, count);
    if (count < 1)
        return;
    str_add(&view->line, " past ");
    frames_add_function(&view->line, &frames[count - 1], 24);
}

static void print_end(struct view *view, const struct model_stack *stack)
{
    const char *error = model_text(view->dump, stack->error);

    if (stack->end == WEFT_STACK_BROKEN) {
        str_add(&view->line, "      … the rest cannot be read");
        add_broken_at(view, stack);
        if (error) {
            str_add(&view->line, ": ");
            str_add_name(&view->line, error, false, 44);
        }
        view_end_line(view);
    } else if (stack->end == WEFT_STACK_UNKNOWN) {
        str_add(&view->line, "      (no stack: ");
        str_add_name(&view->line, error ? error : "it runs, or has ended",
                     false, 80);
        str_add(&view->line, ")");
        view_end_line(view);
    }
}

void view_print_stack(struct view *view, uint32_t index)
{
    if (index >= view->dump->stack_count)
        return;
    const struct model_stack *stack = &view->dump->stacks[index];
    bool all = view->verbose || all_own(view, stack);

    for (uint32_t i = 0; i < stack->count && !view->line.error; i++) {
        if (stack->end == WEFT_STACK_CUT && i == stack->cut_at) {
            str_add(&view->line, "      … ");
            str_add_count(&view->line, stack->cut);
            str_add(&view->line, " frames are left out here");
            view_end_line(view);
        }
        print_frames(view, view->dump->pcs[stack->pc + i], all);
    }
    print_end(view, stack);
}

// ---- One group in one line. ----

// The only frame of a stack that is not weft's own; false if there is another.
static bool find_only(struct view *view, uint32_t index, weft_frame *ret_frame)
{
    weft_frame frames[FRAMES_PER_PC_MAX];
    int found = 0;

    if (index >= view->dump->stack_count ||
        view->dump->stacks[index].end != WEFT_STACK_WHOLE)
        return false;
    const struct model_stack *stack = &view->dump->stacks[index];
    for (uint32_t i = 0; i < stack->count && found < 2; i++) {
        int count =
            weft_dump_get_frames(view->dump, view->dump->pcs[stack->pc + i],
                                 frames, FRAMES_PER_PC_MAX);
        view_check(view, count);
        for (int j = 0; j < count && j < FRAMES_PER_PC_MAX; j++)
            if (!frames[j].runtime && found++ == 0)
                *ret_frame = frames[j];
    }
    return found == 1;
}

// In a dump of many tasks, one alone at one place takes one line. The line is
// left as it was if that is too much for it.
static bool print_short(struct view *view, const struct group *group)
{
    struct str *line = &view->line;
    weft_frame frame;

    if (group->count > 1 || group->finding != WEFT_NONE || view->verbose ||
        view->dump->task_count <= VIEW_LISTED_MAX ||
        model_task(view->dump, group->first).held_count ||
        !find_only(view, model_task(view->dump, group->first).stack, &frame))
        return false;
    add_head(view, group);
    str_pad(line, 50, 2);
    view_add_task(line, view->dump, group->first, 14);
    str_pad(line, 69, 2);
    frames_add_function(line, &frame, 16);
    str_pad(line, 0, 1);
    if (line->columns > 86) {
        str_clear(line);
        return false;
    }
    frames_add_location(line, &frame, VIEW_COLUMNS - line->columns);
    view->hidden +=
        view->dump->stacks[model_task(view->dump, group->first).stack].count -
        1;
    view_end_line(view);
    return true;
}

// ---- All of them. ----

static void print_group(struct view *view, const struct group *group)
{
    add_head(view, group);
    view_end_line(view);
    if (group->count > VIEW_LISTED_MAX)
        view_print_summary(view, group);
    else
        print_tasks(view, group);
    view_print_stack(view, model_task(view->dump, group->first).stack);
    view_end_line(view);
}

static void add_total(struct view *view)
{
    size_t tasks = view->dump->task_count;

    str_add(&view->line, "TASKS: ");
    str_add_count(&view->line, tasks);
    if (tasks) {
        str_add(&view->line, " in ");
        str_add_count(&view->line, view->groups.count);
        str_addf(&view->line, " group%s", view_plural(view->groups.count));
    }
    view_end_line(view);
    view_end_line(view);
}

static void print_rest(struct view *view, size_t shown)
{
    uint64_t tasks = 0;

    for (size_t i = shown; i < view->groups.count; i++)
        tasks += view->groups.groups[i].count;
    if (tasks == 0)
        return;
    str_add(&view->line, "… ");
    str_add_count(&view->line, view->groups.count - shown);
    str_add(&view->line, " more groups with ");
    str_add_count(&view->line, tasks);
    str_addf(&view->line, " task%s are in the JSON", view_plural(tasks));
    view_end_line(view);
    view_end_line(view);
}

void view_print_groups(struct view *view)
{
    size_t count = view->groups.count;
    size_t shown = view->verbose || count < GROUPS_MAX ? count : GROUPS_MAX;
    bool was_short = false;

    add_total(view);
    view_print_table(view);
    for (size_t i = 0; i < shown && !view->line.error; i++) {
        const struct group *group = &view->groups.groups[i];
        bool is_short = print_short(view, group);
        if (!is_short && was_short)
            view_end_line(view);
        if (!is_short)
            print_group(view, group);
        was_short = is_short;
    }
    if (was_short)
        view_end_line(view);
    print_rest(view, shown);
}
