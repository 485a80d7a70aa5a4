// text_findings.c -- The findings of a dump, as sentences and chains.
#include "report/frames.h"
#include "report/names.h"
#include "report/view.h"
#include "report/words.h"

// How much of what could be long is shown.
#define FINDINGS_MAX 10
#define EDGES_MAX 10
#define BEHIND_MAX 12

// ---- A deadlock. ----

// One member of a cycle: it holds what the one before it waits for.
struct edge {
    uint32_t task, next, before; // indexes
    uint32_t waits, holds;       // objects; WEFT_NONE: an end
};

static struct edge edge_at(const struct model_finding *finding, uint32_t i)
{
    uint32_t count = finding->task_count;

    return (struct edge){
        .task = finding->tasks[i],
        .next = finding->tasks[(i + 1) % count],
        .before = finding->tasks[(i + count - 1) % count],
        .waits = finding->objects[i],
        .holds = finding->objects[(i + count - 1) % count],
    };
}

// The last edge stands last even where others are left out.
static uint32_t edges_shown(const struct model_finding *finding)
{
    return finding->task_count < EDGES_MAX ? finding->task_count : EDGES_MAX;
}

static uint32_t edge_number(const struct model_finding *finding, uint32_t row)
{
    return row == edges_shown(finding) - 1 ? finding->task_count - 1 : row;
}

static bool is_channel(const struct view *view, uint32_t object)
{
    return object != WEFT_NONE &&
           model_is_channel(view->dump->objects[object].kind);
}

static enum weft_wait_kind wait_of(const struct view *view, uint32_t task)
{
    return model_task(view->dump, task).wait;
}

static void add_ended(struct view *view, struct str *str,
                      const struct edge *edge)
{
    if (wait_of(view, edge->before) == WEFT_WAIT_SCOPE)
        str_addf(str, "  is a child of T%llu",
                 (unsigned long long)model_task(view->dump, edge->before).id);
    else
        str_add(str, "  is to be joined");
}

static void add_holding(struct view *view, struct str *str,
                        const struct edge *edge)
{
    view_add_task(str, view->dump, edge->task, 24);
    if (edge->holds == WEFT_NONE) {
        add_ended(view, str, edge);
        return;
    }
    str_add(str, !is_channel(view, edge->holds) ? "  holds "
                 : wait_of(view, edge->before) == WEFT_WAIT_CHAN_RECV
                     ? "  is the only sender to "
                     : "  is the only receiver of ");
    view_add_object(str, view->dump, edge->holds, true, 16);
}

static void add_waiting(struct view *view, struct str *str,
                        const struct edge *edge)
{
    unsigned long long next = model_task(view->dump, edge->next).id;

    if (edge->waits == WEFT_NONE) {
        bool scope = wait_of(view, edge->task) == WEFT_WAIT_SCOPE;
        str_addf(str,
                 scope ? "   waits for its scope's children: T%llu"
                       : "   waits for T%llu to end",
                 next);
        return;
    }
    bool channel = is_channel(view, edge->waits);
    str_add(str, !channel ? "   waits for "
                 : wait_of(view, edge->task) == WEFT_WAIT_CHAN_RECV
                     ? "   waits to receive from "
                     : "   waits to send to ");
    view_add_object(str, view->dump, edge->waits, true, 16);
    str_addf(str, channel ? ", served by T%llu" : ", held by T%llu", next);
}

// Fills in both halves of a row, line by line; false if there is no right one.
typedef void add_fn(struct view *, struct str *, const struct edge *);

static bool find_right(struct view *view, const struct edge *edge, bool now,
                       weft_frame *ret_frame)
{
    const weft_dump *dump = view->dump;

    if (now) {
        int found =
            names_find_top(dump, model_task(dump, edge->task).stack, ret_frame);
        view_check(view, found);
        return found > 0;
    }
    if (edge->holds == WEFT_NONE || !dump->objects[edge->holds].taken_pc ||
        is_channel(view, edge->holds))
        return false;
    int failed =
        names_find_place(dump, dump->objects[edge->holds].taken_pc, ret_frame);
    view_check(view, failed);
    return !failed;
}

struct widths {
    unsigned left, function;
};

static unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

static void measure(struct view *view, const struct edge *edge, add_fn *add,
                    bool now, struct widths *widths)
{
    struct str str;
    weft_frame frame;

    str_init(&str, false, view->line.ascii);
    add(view, &str, edge);
    widths->left = larger(widths->left, str.columns);
    str_clear(&str);
    if (find_right(view, edge, now, &frame)) {
        frames_add_function(&str, &frame, 26);
        widths->function = larger(widths->function, str.columns);
    }
    str_deinit(&str);
}

static void print_half(struct view *view, const struct edge *edge, add_fn *add,
                       bool now, const struct widths *widths)
{
    struct str *line = &view->line;
    weft_frame frame;
    unsigned start = line->columns;

    add(view, line, edge);
    if (find_right(view, edge, now, &frame)) {
        unsigned at = start + widths->left + 2;
        str_pad(line, at < 60 ? at : 60, 2);
        if (line->columns + widths->function > 80) {
            view_end_line(view);
            str_pad(line, 12, 0);
        }
        str_add(line, now ? "now in   " : "taken in ");
        unsigned function = line->columns;
        frames_add_function(line, &frame, 26);
        str_pad(line, function + widths->function, 1);
        frames_add_location(line, &frame, VIEW_COLUMNS - 2 - line->columns);
    }
    view_end_line(view);
}

static void print_edges(struct view *view, const struct model_finding *finding)
{
    struct widths widths = {0};
    uint32_t shown = edges_shown(finding);

    for (uint32_t row = 0; row < shown; row++) {
        struct edge edge = edge_at(finding, edge_number(finding, row));
        measure(view, &edge, add_holding, false, &widths);
        measure(view, &edge, add_waiting, true, &widths);
    }
    for (uint32_t row = 0; row < shown; row++) {
        struct edge edge = edge_at(finding, edge_number(finding, row));
        bool last = row == shown - 1;
        if (last && shown < finding->task_count)
            str_addf(&view->line, "     │   … %u more tasks in the circle",
                     finding->task_count - shown),
                view_end_line(view);
        str_add(&view->line, row == 0 ? "     ┌─▶ "
                             : last   ? "     └── "
                                      : "     ├── ");
        print_half(view, &edge, add_holding, false, &widths);
        str_add(&view->line, last ? "         " : "     │   ");
        print_half(view, &edge, add_waiting, true, &widths);
    }
}

static void print_behind(struct view *view, const struct model_finding *finding)
{
    struct str *line = &view->line;
    uint32_t count = finding->behind_count;
    int64_t longest = 0;

    for (uint32_t i = 0; i < count; i++) {
        int64_t ns = model_task(view->dump, finding->behind[i]).state_ns;
        longest = ns > longest ? ns : longest;
    }
    if (count == 0)
        return;
    str_add(line, "     ");
    str_add_count(line, count);
    str_addf(line,
             " more task%s blocked behind it:", count == 1 ? " is" : "s are");
    for (uint32_t i = 0; i < count && i < BEHIND_MAX && line->columns < 76; i++)
        str_addf(
            line, " T%llu",
            (unsigned long long)model_task(view->dump, finding->behind[i]).id);
    if (count > BEHIND_MAX || line->columns >= 76)
        str_add(line, " …");
    str_add(line, count == 1 ? " (for " : " (longest ");
    str_add_time(line, longest);
    str_add(line, ")");
    view_end_line(view);
}

static void print_hint(struct view *view, const struct model_finding *finding)
{
    struct str *line = &view->line;

    str_add(line, "     Hint: ");
    words_hint(line, view->dump, finding);
    str_add(line, ".");
    view_end_line(view);
}

static bool is_order(const struct view *view,
                     const struct model_finding *finding)
{
    if (finding->task_count != 2)
        return false;
    for (uint32_t i = 0; i < 2; i++)
        if (finding->objects[i] == WEFT_NONE ||
            is_channel(view, finding->objects[i]))
            return false;
    return true;
}

// Two mutexes in opposite orders: the usual mistake, told as such.
static void print_order(struct view *view, const struct model_finding *finding)
{
    struct str *line = &view->line;

    if (!is_order(view, finding)) {
        print_hint(view, finding);
        return;
    }
    str_add(line, "     Order differs: ");
    for (uint32_t i = 0; i < 2; i++) {
        struct edge edge = edge_at(finding, i);
        str_addf(line, "%sT%llu locks ", i ? ", " : "",
                 (unsigned long long)model_task(view->dump, edge.task).id);
        view_add_object(line, view->dump, edge.holds, false, 10);
        str_add(line, " → ");
        view_add_object(line, view->dump, edge.waits, false, 10);
    }
    str_add(line, ".");
    view_end_line(view);
}

// The first wait in a cycle that gives up by itself, or WEFT_NONE.
static uint32_t find_timeout(struct view *view,
                             const struct model_finding *finding)
{
    uint32_t first = WEFT_NONE;
    int64_t least = WEFT_NEVER;

    for (uint32_t i = 0; i < finding->task_count; i++) {
        int64_t ns = model_task(view->dump, finding->tasks[i]).timeout_in_ns;
        if (ns < least) {
            least = ns;
            first = finding->tasks[i];
        }
    }
    return first;
}

static bool has_channel(const struct view *view,
                        const struct model_finding *finding)
{
    for (uint32_t i = 0; i < finding->task_count; i++)
        if (is_channel(view, finding->objects[i]))
            return true;
    return false;
}

// Whether one waits for what others than its holder may give.
static bool has_lender(const struct view *view,
                       const struct model_finding *finding)
{
    for (uint32_t i = 0; i < finding->task_count; i++) {
        enum weft_wait_kind wait = wait_of(view, finding->tasks[i]);
        if (wait == WEFT_WAIT_SEMAPHORE || wait == WEFT_WAIT_RWLOCK_READ)
            return true;
    }
    return false;
}

static void add_prospect(struct view *view, const struct model_finding *finding)
{
    struct str *line = &view->line;
    uint32_t first = find_timeout(view, finding);

    if (first != WEFT_NONE) {
        str_addf(line, " T%llu gives up in ",
                 (unsigned long long)model_task(view->dump, first).id);
        str_add_time(line, model_task(view->dump, first).timeout_in_ns);
        str_add(line, ".");
    } else if (finding->certainty == WEFT_CERTAINTY_PROVEN) {
        str_addf(line, " %s can never continue.",
                 finding->task_count == 1 ? "It" : "They");
    } else if (has_channel(view, finding)) {
        str_add(line, " (likely: others may serve a channel)");
    } else if (has_lender(view, finding)) {
        str_add(line, " (likely: another may release what they wait for)");
    } else {
        str_add(line, " (likely: not seen at one moment)");
    }
}

static void print_deadlock(struct view *view,
                           const struct model_finding *finding)
{
    struct str *line = &view->line;

    str_add(line, " DEADLOCK: ");
    if (finding->task_count == 1) {
        view_add_task(line, view->dump, finding->tasks[0], 24);
        str_add(line, " waits for itself since ");
    } else {
        str_add_count(line, finding->task_count);
        str_add(line, " tasks wait for each other since ");
    }
    str_add_time(line, finding->since_ns);
    str_add(line, ".");
    add_prospect(view, finding);
    view_end_line(view);
    print_edges(view, finding);
    print_behind(view, finding);
    print_order(view, finding);
}

// ---- A task that does not yield. ----

static void add_no_place(struct view *view, struct str *line, uint32_t task)
{
    const weft_dump *dump = view->dump;
    uint32_t stack = model_task(dump, task).stack;
    const char *why = stack < dump->stack_count
                          ? model_text(dump, dump->stacks[stack].error)
                          : NULL;

    str_add(line, "; where it stands is not known");
    if (why == NULL)
        return;
    str_add(line, ": ");
    str_add_name(line, why, false, VIEW_COLUMNS - line->columns);
}

static void add_whereabouts(struct str *line, const weft_dump_worker *worker)
{
    str_addf(line, "on worker %u (tid %d)", worker->index, worker->tid);
    if (worker->in_syscall) {
        str_add(line, ", inside ");
        view_add_syscall(line, worker);
    }
    if (worker->handed_off)
        str_add(line, "; another worker has its place");
}

// Where a task is: ", now in FUNCTION  FILE:LINE", or why that is not known.
static void add_now(struct view *view, uint32_t task, const char *before)
{
    struct str *line = &view->line;
    weft_frame frame;
    int found =
        names_find_top(view->dump, model_task(view->dump, task).stack, &frame);

    view_check(view, found);
    if (found <= 0) {
        add_no_place(view, line, task);
        return;
    }
    str_add(line, before);
    frames_add_function(line, &frame, 30);
    str_pad(line, 0, 2);
    frames_add_location(line, &frame, VIEW_COLUMNS - 2 - line->columns);
}

static void print_no_yield(struct view *view,
                           const struct model_finding *finding)
{
    struct str *line = &view->line;
    const weft_dump *dump = view->dump;
    uint32_t task = finding->tasks[0];

    str_add(line, " NO YIELD: ");
    view_add_task(line, dump, task, 28);
    str_add(line, " has run for ");
    str_add_time(line, finding->since_ns);
    str_add(line, " without yielding (limit ");
    str_add_time(line, finding->threshold_ns);
    str_add(line, ").");
    view_end_line(view);

    str_add(line, "     ");
    if (finding->worker < dump->worker_count)
        add_whereabouts(line, &dump->workers[finding->worker]);
    else
        str_add(line, "on no worker now");
    add_now(view, task, ", now in ");
    view_end_line(view);
    print_behind(view, finding);
    print_hint(view, finding);
}

static void print_call(struct view *view, const struct model_finding *finding)
{
    struct str *line = &view->line;
    const weft_dump *dump = view->dump;
    const weft_dump_worker *worker = &dump->workers[finding->worker];
    uint32_t task = finding->tasks[0];

    str_add(line, " BLOCKED WORKER: ");
    view_add_task(line, dump, task, 28);
    str_addf(line, " has kept worker %u inside ", worker->index);
    view_add_place(line, worker);
    str_add(line, " for ");
    str_add_time(line, finding->since_ns);
    str_add(line, " (limit ");
    str_add_time(line, finding->threshold_ns);
    str_add(line, ").");
    view_end_line(view);
    str_addf(line, "     on worker %u (tid %d)", worker->index, worker->tid);
    add_now(view, task, ", now in ");
    view_end_line(view);
    print_hint(view, finding);
}

// ---- Stalls and lost peers. ----

// "     held by        T6 "db-writer"  waits 14m 2s for ..." and where, below.
static void print_link(struct view *view, const struct model_finding *finding,
                       uint32_t which)
{
    enum { WHERE_COLUMN = 20 };
    struct str *line = &view->line;
    const weft_dump *dump = view->dump;
    uint32_t task = finding->tasks[which];
    uint32_t object =
        which == 0 ? finding->object : finding->objects[which - 1];
    weft_frame frame;

    str_pad(line, 5, 0);
    str_add(line, words_relation(dump, finding, which));
    str_pad(line, WHERE_COLUMN, 1);
    view_add_task(line, dump, task, 24);
    str_add(line, "  ");
    words_doing(line, dump, task);
    view_end_line(view);
    if (object != WEFT_NONE && dump->objects[object].taken_pc != 0) {
        view_check(view, names_find_place(dump, dump->objects[object].taken_pc,
                                          &frame));
        str_pad(line, WHERE_COLUMN, 0);
        str_add(line, "taken in ");
        frames_add_function(line, &frame, 30);
        str_pad(line, 0, 2);
        frames_add_location(line, &frame, VIEW_COLUMNS - 2 - line->columns);
        view_end_line(view);
    }
    str_pad(line, WHERE_COLUMN, 0);
    add_now(view, task, "now in   ");
    view_end_line(view);
}

static void print_stall(struct view *view, const struct model_finding *finding)
{
    struct str *line = &view->line;
    uint32_t count = finding->task_count;

    str_add(line, " STALL: ");
    words_title(line, view->dump, finding);
    str_add(line, ".");
    view_end_line(view);
    for (uint32_t i = 0; i < count; i++)
        print_link(view, finding, i);
    if (count > 1) {
        str_addf(line, "     Root of the chain: T%llu.",
                 (unsigned long long)model_task(view->dump,
                                                finding->tasks[count - 1])
                     .id);
        view_end_line(view);
    }
    if (finding->certainty == WEFT_CERTAINTY_LIKELY) {
        str_add(line, "     (likely: others may serve it, too)");
        view_end_line(view);
    }
    print_hint(view, finding);
}

static void print_lost_peer(struct view *view,
                            const struct model_finding *finding)
{
    struct str *line = &view->line;

    str_add(line, " LOST PEER: ");
    words_title(line, view->dump, finding);
    str_add(line, ".");
    view_end_line(view);
    str_addf(line, "     That was T%llu, last there ",
             (unsigned long long)finding->lost);
    str_add_time(line, finding->figure);
    str_add(line, " ago. (likely: others may serve it, too)");
    view_end_line(view);
    str_add(line, "     The one that waits longest is ");
    view_add_task(line, view->dump, finding->tasks[0], 24);
    str_add(line, ", ");
    str_add_time(line, finding->since_ns);
    add_now(view, finding->tasks[0], ", now in ");
    view_end_line(view);
    print_hint(view, finding);
}

// ---- All asleep, ready and not run. ----

static void print_asleep(struct view *view, const struct model_finding *finding)
{
    struct str *line = &view->line;
    uint32_t task = finding->tasks[0];

    str_add(line, finding->count == 1 ? " ALL ASLEEP: the only task waits"
                                      : " ALL ASLEEP: all ");
    if (finding->count > 1) {
        str_add_count(line, finding->count);
        str_add(line, " tasks wait");
    }
    str_add(line, ", and nothing is left that could wake one.");
    view_end_line(view);
    str_add(line, "     There is no timer, no descriptor, no call on another "
                  "thread, and no thread but weft's.");
    view_end_line(view);
    str_add(line, "     The last to fall asleep: ");
    view_add_task(line, view->dump, task, 24);
    str_add(line, " ");
    words_doing(line, view->dump, task);
    view_end_line(view);
    str_pad(line, 5, 0);
    add_now(view, task, "now in ");
    view_end_line(view);
    print_hint(view, finding);
}

static void add_queue(struct view *view, const struct model_task *m)
{
    struct str *line = &view->line;

    if (m->worker < view->dump->worker_count)
        str_addf(line, "queued on worker %u (tid %d)", m->worker,
                 view->dump->workers[m->worker].tid);
    else
        str_add(line, m->queue_place == WEFT_NONE ? "in no queue"
                                                  : "in the shared queue");
    if (m->queue_place == WEFT_NONE)
        return;
    str_add(line, ", ");
    str_add_count(line, m->queue_place);
    str_add(line, " ahead of it");
}

// The task that keeps the worker in whose queue it is.
static void print_keeper(struct view *view, const struct model_task *m)
{
    struct str *line = &view->line;
    const weft_dump *dump = view->dump;
    uint64_t id =
        m->worker < dump->worker_count ? dump->workers[m->worker].task : 0;
    uint32_t keeper = id == 0 ? WEFT_NONE : model_find(dump, id);

    if (keeper == WEFT_NONE)
        return;
    str_add(line, "     that worker runs ");
    view_add_task(line, dump, keeper, 24);
    str_add(line, " since ");
    str_add_time(line, dump->workers[m->worker].busy_ns);
    add_now(view, keeper, ", now in ");
    view_end_line(view);
}

static void print_ready(struct view *view, const struct model_finding *finding)
{
    struct str *line = &view->line;
    const struct model_task m = model_task(view->dump, finding->tasks[0]);

    str_add(line, " READY, NOT RUN: ");
    view_add_task(line, view->dump, finding->tasks[0], 24);
    if (finding->count > 1) {
        str_add(line, " and ");
        str_add_count(line, finding->count - 1);
        str_addf(line, " more task%s", view_plural(finding->count - 1));
    }
    str_add(line, finding->count > 1 ? " are ready and not run, for "
                                     : " is ready and not run, for ");
    str_add_time(line, finding->since_ns);
    str_add(line, " (limit ");
    str_add_time(line, finding->threshold_ns);
    str_add(line, ").");
    view_end_line(view);
    str_add(line, "     ");
    add_queue(view, &m);
    if (finding->figure > 0) {
        str_add(line, "; by the mean run time of tasks it should wait ");
        str_add_time(line, finding->figure);
    }
    view_end_line(view);
    print_keeper(view, &m);
    print_hint(view, finding);
}

// ---- Stacks and spawn sites. ----

static void add_thousandths(struct str *line, int64_t thousandths)
{
    str_addf(line, "%d.%d %%", (int)(thousandths / 10),
             (int)(thousandths % 10));
}

static void print_stack(struct view *view, const struct model_finding *finding)
{
    struct str *line = &view->line;
    const weft_dump *dump = view->dump;
    const struct model_task m = model_task(dump, finding->tasks[0]);

    str_add(line, " STACK NEARLY FULL: ");
    view_add_task(line, dump, finding->tasks[0], 24);
    str_add(line, " uses ");
    str_add_bytes_size(line, m.stack_used);
    str_add(line, " of the ");
    str_add_bytes_size(line, m.stack_size);
    str_add(line, " of its stack (");
    add_thousandths(line, finding->figure);
    str_addf(line, ", limit %u %%).", dump->limits.stack_percent);
    view_end_line(view);
    str_pad(line, 5, 0);
    if (m.stack < dump->stack_count)
        str_addf(line, "%u frames deep, ",
                 dump->stacks[m.stack].count + dump->stacks[m.stack].cut);
    add_now(view, finding->tasks[0], "now in ");
    view_end_line(view);
    if (finding->count > 1) {
        str_pad(line, 5, 0);
        str_add_count(line, finding->count - 1);
        str_addf(line, " more task%s above the limit:",
                 finding->count == 2 ? " is" : "s are");
        for (uint32_t i = 1; i < finding->task_count && line->columns < 76; i++)
            str_addf(
                line, " T%llu",
                (unsigned long long)model_task(dump, finding->tasks[i]).id);
        view_end_line(view);
    }
    print_hint(view, finding);
}

static void print_growth(struct view *view, const struct model_finding *finding)
{
    struct str *line = &view->line;
    const weft_dump *dump = view->dump;
    weft_frame frame;

    str_add(line, " GROWTH: ");
    words_title(line, dump, finding);
    str_add(line, ".");
    view_end_line(view);
    view_check(view,
               names_find_place(dump, dump->sites[finding->site], &frame));
    str_add(line, "     started in ");
    frames_add_function(line, &frame, 30);
    str_pad(line, 0, 2);
    frames_add_location(line, &frame, VIEW_COLUMNS - 2 - line->columns);
    view_end_line(view);
    print_hint(view, finding);
}

// ---- All of them. ----

void view_print_finding(struct view *view, size_t index)
{
    static const char *const signs[] = {
        [WEFT_SEVERITY_ERROR] = "✖",
        [WEFT_SEVERITY_WARNING] = "▲",
        [WEFT_SEVERITY_INFO] = "●",
    };
    static const enum style styles[] = {
        [WEFT_SEVERITY_ERROR] = STYLE_ERROR,
        [WEFT_SEVERITY_WARNING] = STYLE_WARNING,
        [WEFT_SEVERITY_INFO] = STYLE_PLAIN,
    };
    static void (*const printers[WEFT_RULE_COUNT])(
        struct view *, const struct model_finding *) = {
        [WEFT_RULE_DEADLOCK] = print_deadlock,
        [WEFT_RULE_NO_YIELD] = print_no_yield,
        [WEFT_RULE_ALL_ASLEEP] = print_asleep,
        [WEFT_RULE_STALL] = print_stall,
        [WEFT_RULE_LOST_PEER] = print_lost_peer,
        [WEFT_RULE_SYSCALL] = print_call,
        [WEFT_RULE_READY] = print_ready,
        [WEFT_RULE_STACK] = print_stack,
        [WEFT_RULE_GROWTH] = print_growth,
    };
    const struct model_finding *finding = &view->dump->findings[index];

    str_style(&view->line, styles[finding->severity]);
    str_addf(&view->line, "%s F%zu", signs[finding->severity], index + 1);
    str_style(&view->line, STYLE_PLAIN);
    printers[finding->rule](view, finding);
    view_end_line(view);
}

static void add_number(struct str *line, size_t count, const char *what,
                       bool *any)
{
    if (count == 0)
        return;
    str_add(line, *any ? ", " : " ");
    str_add_count(line, count);
    str_addf(line, " %s%s", what, view_plural(count));
    *any = true;
}

static void print_head(struct view *view)
{
    size_t numbers[3] = {0};
    bool any = false;

    for (size_t i = 0; i < view->dump->finding_count; i++)
        numbers[view->dump->findings[i].severity]++;
    str_add(&view->line, "FINDINGS:");
    add_number(&view->line, numbers[WEFT_SEVERITY_ERROR], "error", &any);
    add_number(&view->line, numbers[WEFT_SEVERITY_WARNING], "warning", &any);
    add_number(&view->line, numbers[WEFT_SEVERITY_INFO], "note", &any);
    if (!any)
        str_add(&view->line, " none");
    view_end_line(view);
    view_end_line(view);
}

void view_print_findings(struct view *view)
{
    size_t count = view->dump->finding_count;
    size_t shown = view->verbose || count < FINDINGS_MAX ? count : FINDINGS_MAX;

    print_head(view);
    for (size_t i = 0; i < shown && !view->line.error; i++)
        view_print_finding(view, i);
    if (shown == count)
        return;
    str_add(&view->line, "… ");
    str_add_count(&view->line, count - shown);
    str_add(&view->line, " more findings are in the JSON");
    view_end_line(view);
    view_end_line(view);
}
