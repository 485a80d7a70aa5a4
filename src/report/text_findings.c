// text_findings.c -- The findings of a dump, as sentences and chains.
#include "report/frames.h"
#include "report/names.h"
#include "report/view.h"

// How much of what could be long is shown.
#define FINDINGS_MAX 10
#define EDGES_MAX 10
#define BEHIND_MAX 12

// ---- A deadlock. ----

// One member of a cycle: it holds what the one before it waits for.
struct edge {
    uint32_t task, next;   // indexes
    uint32_t waits, holds; // objects; WEFT_NONE: a join
};

static struct edge edge_at(const struct model_finding *finding, uint32_t i)
{
    uint32_t count = finding->task_count;

    return (struct edge){
        .task = finding->tasks[i],
        .next = finding->tasks[(i + 1) % count],
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

static void add_holding(struct view *view, struct str *str,
                        const struct edge *edge)
{
    view_add_task(str, view->dump, edge->task, 24);
    if (edge->holds == WEFT_NONE) {
        str_add(str, "  is to be joined");
        return;
    }
    str_add(str, "  holds ");
    view_add_object(str, view->dump, edge->holds, true, 16);
}

static void add_waiting(struct view *view, struct str *str,
                        const struct edge *edge)
{
    unsigned long long next = model_task(view->dump, edge->next).id;

    str_add(str, "   waits for ");
    if (edge->waits == WEFT_NONE) {
        str_addf(str, "T%llu to end", next);
        return;
    }
    view_add_object(str, view->dump, edge->waits, true, 16);
    str_addf(str, ", held by T%llu", next);
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
    if (edge->holds == WEFT_NONE || !dump->objects[edge->holds].taken_pc)
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

// Two mutexes in opposite orders: the usual mistake, told as such.
static void print_order(struct view *view, const struct model_finding *finding)
{
    struct str *line = &view->line;

    if (finding->task_count != 2 || finding->objects[0] == WEFT_NONE ||
        finding->objects[1] == WEFT_NONE)
        return;
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
    if (!worker->in_syscall)
        return;
    str_add(line, ", inside ");
    view_add_syscall(line, worker);
}

static void print_no_yield(struct view *view,
                           const struct model_finding *finding)
{
    struct str *line = &view->line;
    const weft_dump *dump = view->dump;
    weft_frame frame;
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
    int found = names_find_top(dump, model_task(dump, task).stack, &frame);
    view_check(view, found);
    if (found > 0) {
        str_add(line, ",");
        if (line->columns > 56) { // no room for it
            view_end_line(view);
            str_add(line, "    ");
        }
        str_add(line, " now in ");
        frames_add_function(line, &frame, 30);
        str_pad(line, 0, 2);
        frames_add_location(line, &frame, VIEW_COLUMNS - 2 - line->columns);
    } else {
        add_no_place(view, line, task);
    }
    view_end_line(view);
    print_behind(view, finding);
}

// ---- All of them. ----

static void print_finding(struct view *view, size_t index)
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
    const struct model_finding *finding = &view->dump->findings[index];

    str_style(&view->line, styles[finding->severity]);
    str_addf(&view->line, "%s F%zu", signs[finding->severity], index + 1);
    str_style(&view->line, STYLE_PLAIN);
    switch (finding->rule) {
    case WEFT_RULE_DEADLOCK:
        print_deadlock(view, finding);
        break;
    case WEFT_RULE_NO_YIELD:
        print_no_yield(view, finding);
        break;
    }
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
        print_finding(view, i);
    if (shown == count)
        return;
    str_add(&view->line, "… ");
    str_add_count(&view->line, count - shown);
    str_add(&view->line, " more findings are in the JSON");
    view_end_line(view);
    view_end_line(view);
}
