// text.c -- A dump as text, for a person on a terminal at three in the morning.
//
// Who and when, how good the snapshot is, what is wrong, then the tasks in
// groups, and what to do next. However many tasks there are, it stays short.
#include <errno.h>
#include <string.h>
#include <time.h>

#include "report/names.h"
#include "report/order.h"
#include "report/view.h"

#define NS_PER_SECOND INT64_C(1000000000)

// ---- The head. ----

static void add_wall_time(struct str *line, int64_t ns)
{
    time_t seconds = ns / NS_PER_SECOND;
    struct tm tm;
    char text[64];

    if (!gmtime_r(&seconds, &tm) ||
        !strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm))
        return;
    str_addf(line, "  %s.%03d UTC", text, (int)(ns % NS_PER_SECOND / 1000000));
}

static const char *program_name(const weft_dump *dump)
{
    const char *path = dump->exe ? dump->exe : dump->runtime;
    const char *slash = path ? strrchr(path, '/') : NULL;

    return slash ? slash + 1 : path ? path : "?";
}

static void print_process(struct view *view)
{
    const weft_dump *dump = view->dump;
    struct str *line = &view->line;

    str_add_name(line, program_name(dump), false, 30);
    str_addf(line, "  pid %d", dump->pid);
    if (dump->host && dump->host[0] != '\0') {
        str_add(line, " on ");
        str_add_name(line, dump->host, false, 20);
    }
    str_add(line, "  up ");
    str_add_time(line, dump->wall_time_ns - dump->process_start_ns);
    add_wall_time(line, dump->wall_time_ns);
    view_end_line(view);
}

static void print_counts(struct view *view)
{
    static const struct {
        enum weft_task_state state;
        const char *word;
    } states[] = {
        {WEFT_STATE_RUNNING, "running"}, {WEFT_STATE_READY, "ready"},
        {WEFT_STATE_WAITING, "waiting"}, {WEFT_STATE_NEW, "new"},
        {WEFT_STATE_DONE, "ended"},
    };
    const weft_dump *dump = view->dump;
    struct str *line = &view->line;
    uint64_t counts[5] = {0};
    bool any = false;

    for (size_t i = 0; i < dump->task_count; i++)
        counts[model_task(dump, i).state]++;
    str_add_count(line, dump->task_count);
    str_addf(line, " task%s", view_plural(dump->task_count));
    for (size_t i = 0; i < 5; i++) {
        if (!counts[states[i].state])
            continue;
        str_add(line, any ? ", " : ": ");
        str_add_count(line, counts[states[i].state]);
        str_addf(line, " %s", states[i].word);
        any = true;
    }
    str_addf(line, " · %zu worker%s", dump->worker_count,
             view_plural(dump->worker_count));
    if (dump->runtime && strcmp(dump->runtime, "weft") != 0) {
        str_add(line, " · runtime \"");
        str_add_name(line, dump->runtime, true, 20);
        str_add(line, "\"");
    }
    view_end_line(view);
}

// A text of several words, on as many lines as it needs.
static void add_words(struct view *view, const char *text)
{
    while (*text) {
        char word[128];
        size_t length = strcspn(text, " \n");
        size_t kept = length < sizeof(word) - 1 ? length : sizeof(word) - 1;
        struct str part;

        memcpy(word, text, kept);
        word[kept] = '\0';
        str_init(&part, false, view->line.ascii);
        str_add_name(&part, word, false, 80);
        if (view->line.columns + 1 + part.columns > VIEW_COLUMNS - 2) {
            view_end_line(view);
            str_add(&view->line, "         ");
        }
        str_add(&view->line, " ");
        str_add_str(&view->line, &part);
        str_deinit(&part);
        text += length;
        text += strspn(text, " \n");
    }
}

static void add_pause(struct str *line, const weft_dump *dump)
{
    if (dump->method == MODEL_CORE) {
        str_add(line, "; from a core file");
        return;
    }
    if (dump->method == MODEL_UNSTOPPED) {
        str_add(line, "; the process was not stopped");
        return;
    }
    str_add(line, dump->method == MODEL_PTRACE
                      ? "; the process was stopped for "
                      : "; workers were stopped for ");
    str_add_time(line, dump->pause_ns);
}

static void print_quality(struct view *view)
{
    const weft_dump *dump = view->dump;
    struct str *line = &view->line;

    str_add(line, dump->consistent ? "snapshot: consistent, "
                                   : "snapshot: NOT OF ONE MOMENT, ");
    str_add(line, dump->complete ? "complete" : "INCOMPLETE");
    add_pause(line, dump);
    str_add(line, ", all took ");
    str_add_time(line, dump->total_ns);
    view_end_line(view);
    if (dump->method == MODEL_UNSTOPPED) {
        str_add(line, "         ");
        add_words(view, "each task is true by itself; what several of them say "
                        "of each other may be of different moments, and no "
                        "finding is proven");
        view_end_line(view);
    }
    if (dump->problem) {
        str_style(line, STYLE_WARNING);
        str_add(line, "missing:");
        str_style(line, STYLE_PLAIN);
        add_words(view, dump->problem);
        view_end_line(view);
    }
}

// ---- The foot. ----

static void print_names_missing(struct view *view)
{
    const weft_dump *dump = view->dump;
    struct str *line = &view->line;
    const char *limit = names_limit(dump);

    if (limit) {
        str_addf(line, "(few names: %s)", limit);
        view_end_line(view);
    }
    for (size_t i = 0; i < dump->module_count; i++) {
        const char *missing = names_missing(dump, i);
        if (!missing)
            continue;
        str_add(line, "(no names in ");
        str_add_tail(line, dump->modules[i].path, 50);
        str_addf(line, ": %s)", missing);
        view_end_line(view);
    }
}

static void print_foot(struct view *view)
{
    struct str *line = &view->line;
    bool command = view->dump->method != MODEL_IN_PROCESS; // it has options

    print_names_missing(view);

    if (view->hidden) {
        str_add(line, "(weft's own frames are hidden: ");
        str_add(line, command ? "--verbose" : "the option `verbose`");
        str_add(line, " shows them)");
        view_end_line(view);
    }
    str_add(line, command ? "(all of it as JSON: --json)"
                          : "(all of it as JSON: weft_dump_print_json, or "
                            "start the program with WEFT_DUMP_FILE=FILE)");
    view_end_line(view);
}

static void print_all(struct view *view)
{
    print_process(view);
    print_counts(view);
    print_quality(view);
    view_end_line(view);
    view_print_findings(view);
    view_print_groups(view);
    view_print_threads(view);
    print_foot(view);
}

static void *print(void *arg)
{
    struct order *order = arg;
    struct view view = {.dump = order->dump,
                        .file = order->file,
                        .verbose = order->options.verbose};

    order->failed = groups_init(&view.groups, order->dump);
    if (order->failed)
        return NULL;
    str_init(&view.line, order->options.color, order->options.ascii);
    print_all(&view);
    order->failed = view.line.error;
    str_deinit(&view.line);
    groups_deinit(&view.groups);
    return NULL;
}

int weft_dump_print_text(const weft_dump *dump,
                         const weft_print_options *options, FILE *file)
{
    return order_print(print, dump, options, file);
}

int weft_dump_print_finding(const weft_dump *dump, size_t index,
                            const weft_print_options *options, FILE *file)
{
    static const weft_print_options defaults = {.size = sizeof(defaults)};

    if (!dump || !file || (options && options->size != sizeof(*options)))
        return -EINVAL;
    if (index >= dump->finding_count)
        return -ENOENT;
    if (!options)
        options = &defaults;
    struct view view = {
        .dump = dump, .file = file, .verbose = options->verbose};

    str_init(&view.line, options->color, options->ascii);
    view_print_finding(&view, index);
    int failed = view.line.error;
    str_deinit(&view.line);
    return failed;
}
