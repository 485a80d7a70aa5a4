// text_summary.c -- What stands in place of the tasks of a big group.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report/frames.h"
#include "report/names.h"
#include "report/view.h"

#define TABLE_TASKS_MIN 1000 // with fewer, one big group makes no table
#define TABLE_MAX 8          // rows
#define BAR_COLUMNS 64
#define BOUNDS_MAX 4 // of the histogram of waits
#define PAIRS_MAX 64 // different labels that are counted
#define PAIRS_SHOWN 4

static struct model_task task_at(const struct view *view,
                                 const struct group *group, uint32_t i)
{
    return model_task(view->dump, view->groups.tasks[group->start + i]);
}

// ---- The table. ----

static const char *state_word(const struct model_task *task)
{
    static const char *const words[] = {
        [WEFT_STATE_RUNNING] = "running", [WEFT_STATE_READY] = "ready",
        [WEFT_STATE_WAITING] = "waiting", [WEFT_STATE_NEW] = "new",
        [WEFT_STATE_DONE] = "ended",
    };

    return words[task->state];
}

static void add_right(struct str *line, const struct str *text, unsigned column)
{
    if (text->columns < column)
        str_pad(line, column - text->columns, 0);
    str_add_str(line, text);
}

// A cut of what is too wide for its column.
static void add_cut(struct str *line, const struct str *text, unsigned columns)
{
    char kept[128];
    size_t used = text->used < sizeof(kept) - 1 ? text->used : sizeof(kept) - 1;

    if (text->columns <= columns || text->used == 0) { // no memory
        str_add_str(line, text);
        return;
    }
    memcpy(kept, text->data, used);
    kept[used] = '\0';
    str_add_name(line, kept, false, columns);
}

static void add_waits(struct str *line, const struct group *group)
{
    str_add_time(line, group->min_ns);
    str_add(line, " / ");
    str_add_time(line, group->median_ns);
    str_add(line, " / ");
    str_add_time(line, group->max_ns);
}

static void print_row(struct view *view, const struct group *group)
{
    const struct model_task task = model_task(view->dump, group->first);
    struct str *line = &view->line;
    struct str part;
    weft_frame frame;

    str_init(&part, false, line->ascii);
    str_add_count(&part, group->count);
    add_right(line, &part, 9);
    str_addf(line, "  %-7s  ", state_word(&task));
    str_clear(&part);
    if (task.state == WEFT_STATE_WAITING)
        view_add_what(view, &part, group);
    add_cut(line, &part, 27);
    str_pad(line, 47, 2);
    add_waits(line, group);
    str_pad(line, 75, 2);
    int found = names_find_top(view->dump, task.stack, &frame);
    view_check(view, found);
    if (found > 0)
        frames_add_function(line, &frame, VIEW_COLUMNS - 1 - line->columns);
    view_end_line(view);
    str_deinit(&part);
}

static void print_table_head(struct view *view)
{
    str_add(&view->line, "    count  state    waiting for");
    str_pad(&view->line, 47, 0);
    str_add(&view->line, "time min / median / max");
    str_pad(&view->line, 75, 0);
    str_add(&view->line, "where");
    view_end_line(view);
}

static void print_table_rest(struct view *view, uint64_t tasks)
{
    struct str part;

    str_init(&part, false, false);
    str_add_count(&part, tasks);
    add_right(&view->line, &part, 9);
    str_deinit(&part);
    str_add(&view->line, "  other");
    view_end_line(view);
}

static size_t count_big(const struct view *view)
{
    size_t big = 0;

    for (size_t i = 0; i < view->groups.count; i++)
        big += view->groups.groups[i].count > VIEW_LISTED_MAX;
    return big;
}

void view_print_table(struct view *view)
{
    size_t big = count_big(view), rows = 0;
    uint64_t rest = view->dump->task_count;

    if (big == 0 || (big == 1 && rest < TABLE_TASKS_MIN))
        return; // the group itself says all of it
    print_table_head(view);
    for (size_t i = 0; i < view->groups.count && rows < TABLE_MAX; i++) {
        const struct group *group = &view->groups.groups[i];
        if (group->count <= VIEW_LISTED_MAX)
            continue;
        print_row(view, group);
        rest -= group->count;
        rows++;
    }
    if (rest)
        print_table_rest(view, rest);
    view_end_line(view);
}

// ---- How much of the whole, and who. ----

static void print_bar(struct view *view, const struct group *group)
{
    uint64_t all = view->dump->task_count;
    uint64_t blocks = (uint64_t)group->count * BAR_COLUMNS / all;
    uint64_t share = (uint64_t)group->count * 100000 / all; // of 100,000

    str_add(&view->line, "    ");
    for (uint64_t i = 0; i < blocks; i++)
        str_add(&view->line, "█");
    str_addf(&view->line, "%s%u", blocks ? "  " : "", (unsigned)(share / 1000));
    if (share % 1000)
        str_addf(&view->line, ".%03u", (unsigned)(share % 1000));
    str_add(&view->line, " % of all tasks");
    view_end_line(view);
}

static void print_oldest(struct view *view, const struct group *group)
{
    uint32_t oldest = view->groups.tasks[group->start], newest = oldest;

    for (uint32_t i = 1; i < group->count; i++) {
        uint32_t task = view->groups.tasks[group->start + i];
        if (model_task(view->dump, task).id < model_task(view->dump, oldest).id)
            oldest = task;
        if (model_task(view->dump, task).id > model_task(view->dump, newest).id)
            newest = task;
    }
    str_add(&view->line, "    oldest ");
    view_add_task(&view->line, view->dump, oldest, 28);
    str_add(&view->line, " · newest ");
    view_add_task(&view->line, view->dump, newest, 28);
    view_end_line(view);
}

// ---- How long. ----

#define US INT64_C(1000)
#define MS (1000 * US)
#define SEC (1000 * MS)
#define MINUTE (60 * SEC)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

// Round times that divide a group's waits.
static const int64_t round_times[] = {
    10 * US,     100 * US,    1 * MS,      5 * MS,      10 * MS,    50 * MS,
    100 * MS,    500 * MS,    1 * SEC,     2 * SEC,     5 * SEC,    10 * SEC,
    20 * SEC,    30 * SEC,    1 * MINUTE,  2 * MINUTE,  5 * MINUTE, 10 * MINUTE,
    15 * MINUTE, 20 * MINUTE, 30 * MINUTE, 40 * MINUTE, 1 * HOUR,   2 * HOUR,
    6 * HOUR,    12 * HOUR,   1 * DAY,     2 * DAY,     7 * DAY,    30 * DAY,
};

#define ROUND_TIMES (sizeof(round_times) / sizeof(*round_times))

// Picks up to BOUNDS_MAX of them between the shortest and the longest wait.
static size_t pick_bounds(const struct group *group, int64_t bounds[BOUNDS_MAX])
{
    size_t first = 0, count = 0;

    while (first < ROUND_TIMES && round_times[first] <= group->min_ns)
        first++;
    while (first + count < ROUND_TIMES &&
           round_times[first + count] < group->max_ns)
        count++;
    size_t picked = count < BOUNDS_MAX ? count : BOUNDS_MAX;
    for (size_t i = 0; i < picked; i++) // spread over all, the last included
        bounds[i] = round_times[first + (i + 1) * count / picked - 1];
    return picked;
}

static void print_waits(struct view *view, const struct group *group)
{
    int64_t bounds[BOUNDS_MAX];
    uint64_t counts[BOUNDS_MAX + 1] = {0};
    size_t picked = pick_bounds(group, bounds);
    struct str *line = &view->line;

    if (picked == 0)
        return;
    for (uint32_t i = 0; i < group->count; i++) {
        int64_t ns = task_at(view, group, i).state_ns;
        size_t at = 0;
        while (at < picked && ns >= bounds[at])
            at++;
        counts[at]++;
    }
    str_add(line, "    time   ");
    for (size_t i = 0; i <= picked; i++) {
        str_add(line, i == 0 ? "<" : i < picked ? " · <" : " · ≥");
        str_add_time(line, bounds[i < picked ? i : picked - 1]);
        str_add(line, ": ");
        str_add_count(line, counts[i]);
    }
    view_end_line(view);
}

// ---- Labels. ----

struct pair {
    const char *key, *value;
    uint64_t hash;
    uint32_t count;
};

struct pairs {
    struct pair pairs[PAIRS_MAX];
    size_t used;
    bool more;
};

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return hash * UINT64_C(0x100000001b3);
}

static void count_pair(struct pairs *pairs, const char *key, const char *value)
{
    uint64_t hash =
        hash_text(hash_text(UINT64_C(0xcbf29ce484222325), key), value);
    size_t i = 0;

    while (i < pairs->used && (pairs->pairs[i].hash != hash ||
                               strcmp(pairs->pairs[i].key, key) != 0 ||
                               strcmp(pairs->pairs[i].value, value)))
        i++;
    if (i == PAIRS_MAX)
        pairs->more = true;
    else if (i == pairs->used)
        pairs->pairs[pairs->used++] = (struct pair){key, value, hash, 1};
    else
        pairs->pairs[i].count++;
}

static int by_pair_count(const void *left, const void *right)
{
    const struct pair *a = left, *b = right;

    return a->count < b->count ? 1 : a->count > b->count ? -1 : 0;
}

static void print_labels(struct view *view, const struct group *group)
{
    struct str *line = &view->line;
    const char *key, *value;
    struct pairs *pairs = calloc(1, sizeof(*pairs));

    if (!pairs) {
        line->error = -ENOMEM;
        return;
    }
    for (uint32_t i = 0; i < group->count; i++)
        for (size_t j = 0; !weft_dump_get_label(
                 view->dump, view->groups.tasks[group->start + i], j, &key,
                 &value);
             j++)
            count_pair(pairs, key, value);
    qsort(pairs->pairs, pairs->used, sizeof(*pairs->pairs), by_pair_count);
    size_t i = 0;
    for (; i < pairs->used && i < PAIRS_SHOWN && line->columns < 72; i++) {
        str_add(line, i ? "  " : "    labels ");
        str_add_name(line, pairs->pairs[i].key, true, 12);
        str_add(line, "=");
        str_add_name(line, pairs->pairs[i].value, true, 14);
        str_add(line, pairs->more ? " ≥" : " ");
        str_add_count(line, pairs->pairs[i].count);
    }
    if (i < pairs->used || pairs->more)
        str_add(line, "  …");
    if (pairs->used)
        view_end_line(view);
    free(pairs);
}

// ---- Memory. ----

static void print_stacks(struct view *view, const struct group *group)
{
    struct str *line = &view->line;
    uint64_t all = 0, deepest = 0, first = task_at(view, group, 0).stack_size;
    bool same = true;

    for (uint32_t i = 0; i < group->count; i++) {
        const struct model_task task = task_at(view, group, i);
        all += task.stack_size;
        same = same && task.stack_size == first;
        deepest = task.stack_used > deepest ? task.stack_used : deepest;
    }
    if (all == 0)
        return;
    str_add(line, "    stacks ");
    str_add_bytes_size(line, all);
    str_add(line, " reserved");
    if (same) {
        str_add(line, " (");
        str_add_bytes_size(line, first);
        str_add(line, " each)");
    }
    str_add(line, "; deepest use ");
    str_add_count(line, deepest);
    str_add(line, " B");
    view_end_line(view);
}

void view_print_summary(struct view *view, const struct group *group)
{
    print_bar(view, group);
    print_oldest(view, group);
    print_waits(view, group);
    str_add(&view->line, "    ");
    view_add_origins(view, group);
    if (view->line.columns > 4)
        view_end_line(view);
    str_clear(&view->line);
    print_labels(view, group);
    print_stacks(view, group);
}
