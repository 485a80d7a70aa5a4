// json.c -- A dump as a JSON document for programs.
//
// The keys and their meaning are a contract, doc/weft-dump.schema.json: it may
// grow, but nothing in it changes. The document is streamed: what is in memory
// beside the dump are the groups and a table of frames.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report/json_view.h"
#include "report/names.h"
#include "report/order.h"

#define NS_PER_SECOND INT64_C(1000000000)

static void put_time(struct json *json, int64_t ns)
{
    time_t seconds = ns / NS_PER_SECOND;
    struct tm tm;
    char text[64];

    if (!gmtime_r(&seconds, &tm) ||
        !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm))
        json_null(json);
    else
        json_textf(json, "%s.%06dZ", text, (int)(ns % NS_PER_SECOND / 1000));
}

// ---- Who, when, how good. ----

static void put_tool(struct json *json)
{
    json_line(json, 1);
    json_key(json, "tool");
    json_open(json, '{');
    json_key(json, "name");
    json_text(json, "weft");
    json_key(json, "version");
    json_text(json, WEFT_VERSION);
    json_close(json, '}');
}

static void put_problem(struct json *json, const char *code,
                        const char *message, uint64_t count)
{
    json_open(json, '{');
    json_key(json, "code");
    json_text(json, code);
    json_key(json, "message");
    json_text(json, message);
    json_key(json, "count");
    json_int(json, (int64_t)count);
    json_close(json, '}');
}

static void put_nameless(struct json *json, const struct model_module *module,
                         const char *why)
{
    char *message;

    if (asprintf(&message, "no names in %s: %s", module->path, why) < 0)
        return;
    put_problem(json, "no-names", message, 1);
    free(message);
}

static void put_problems(struct json_view *view)
{
    struct json *json = &view->json;

    json_key(json, "problems");
    json_open(json, '[');
    if (view->dump->problem)
        put_problem(json, "incomplete", view->dump->problem, 1);
    if (view->dump->missing_pages > 0)
        put_problem(json, "missing-pages",
                    "pages of memory that are not in the core",
                    view->dump->missing_pages);
    if (names_limit(view->dump))
        put_problem(json, "no-libdw", names_limit(view->dump), 1);
    for (size_t i = 0; i < view->dump->module_count; i++)
        if (names_missing(view->dump, i))
            put_nameless(json, &view->dump->modules[i],
                         names_missing(view->dump, i));
    json_close(json, ']');
}

static void put_capture(struct json_view *view)
{
    static const char *const methods[] = {
        [MODEL_IN_PROCESS] = "in-process",
        [MODEL_PTRACE] = "ptrace",
        [MODEL_UNSTOPPED] = "none",
        [MODEL_CORE] = "core",
    };
    const weft_dump *dump = view->dump;
    struct json *json = &view->json;

    json_line(json, 1);
    json_key(json, "capture");
    json_open(json, '{');
    json_key(json, "time");
    put_time(json, dump->wall_time_ns);
    json_key(json, "source");
    json_text(json, dump->method == MODEL_CORE ? "core" : "live");
    json_key(json, "method");
    json_text(json, methods[dump->method]);
    json_key(json, "pause_us");
    json_us(json, dump->pause_ns);
    json_key(json, "total_us");
    json_us(json, dump->total_ns);
    json_key(json, "consistent");
    json_bool(json, dump->consistent);
    json_key(json, "complete");
    json_bool(json, dump->complete);
    put_problems(view);
    json_close(json, '}');
}

static void put_runtime(struct json_view *view)
{
    struct json *json = &view->json;

    json_key(json, "runtime");
    json_open(json, '{');
    json_key(json, "name");
    json_text(json, view->dump->runtime ? view->dump->runtime : "weft");
    json_key(json, "version");
    json_text(json, WEFT_VERSION);
    json_key(json, "debug_abi");
    json_int(json, 1);
    json_close(json, '}');
}

static void put_process(struct json_view *view)
{
    const weft_dump *dump = view->dump;
    struct json *json = &view->json;

    json_line(json, 1);
    json_key(json, "process");
    json_open(json, '{');
    json_key(json, "pid");
    json_int(json, dump->pid);
    json_key(json, "exe");
    json_text(json, dump->exe);
    json_key(json, "args");
    json_open(json, '[');
    for (size_t i = 0; dump->args && dump->args[i]; i++)
        json_text(json, dump->args[i]);
    json_close(json, ']');
    json_key(json, "host");
    json_text(json, dump->host);
    json_key(json, "started");
    put_time(json, dump->process_start_ns);
    json_key(json, "uptime_us");
    json_us(json, dump->wall_time_ns - dump->process_start_ns);
    json_key(json, "build_id");
    json_text(json, dump->module_count ? dump->modules[0].build_id : NULL);
    put_runtime(view);
    json_close(json, '}');
}

static void put_summary(struct json_view *view)
{
    const weft_dump *dump = view->dump;
    struct json *json = &view->json;
    int64_t states[WEFT_STATE_DONE + 1] = {0};
    int64_t waits[WAIT_LAST + 1] = {0};

    for (size_t i = 0; i < dump->task_count; i++) {
        states[model_task(dump, i).state]++;
        waits[model_task(dump, i).wait]++;
    }
    json_line(json, 1);
    json_key(json, "summary");
    json_open(json, '{');
    json_key(json, "tasks");
    json_int(json, (int64_t)dump->task_count);
    json_key(json, "by_state");
    json_open(json, '{');
    for (unsigned i = 0; i <= WEFT_STATE_DONE; i++)
        if (states[i]) {
            json_key(json, json_state_name(i));
            json_int(json, states[i]);
        }
    json_close(json, '}');
    json_key(json, "by_wait");
    json_open(json, '{');
    for (unsigned i = WEFT_WAIT_NONE + 1; i <= WAIT_LAST; i++)
        if (waits[i]) {
            json_key(json, json_wait_name(i));
            json_int(json, waits[i]);
        }
    json_close(json, '}');
    json_key(json, "groups");
    json_int(json, (int64_t)view->groups.count);
    json_key(json, "findings");
    json_int(json, (int64_t)dump->finding_count);
    json_key(json, "threads");
    json_int(json, (int64_t)dump->thread_count);
    json_close(json, '}');
}

// ---- Which tasks are written. ----

static void list(struct json_view *view, const uint32_t *tasks, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        view->listed[tasks[i]] = true;
}

static void list_id(struct json_view *view, uint64_t id)
{
    uint32_t task = id ? model_find(view->dump, id) : WEFT_NONE;

    if (task != WEFT_NONE)
        view->listed[task] = true;
}

// All that findings name, samples of every group, whoever runs or holds.
static int choose_tasks(struct json_view *view)
{
    const weft_dump *dump = view->dump;

    if (view->all)
        return 0;
    view->listed = calloc(dump->task_count, sizeof(*view->listed));
    if (!view->listed)
        return -ENOMEM;
    for (size_t i = 0; i < view->groups.count; i++) {
        const struct group *group = &view->groups.groups[i];
        list(view, view->groups.tasks + group->start,
             group->count < JSON_SAMPLES ? group->count : JSON_SAMPLES);
    }
    for (size_t i = 0; i < dump->finding_count; i++) {
        const struct model_finding *finding = &dump->findings[i];
        list(view, finding->tasks, finding->task_count);
        list(view, finding->behind, finding->behind_count);
    }
    for (size_t i = 0; i < dump->worker_count; i++)
        list_id(view, dump->workers[i].task);
    for (size_t i = 0; i < dump->thread_count; i++) {
        const weft_dump_thread *thread = &dump->threads[i].shown;
        list_id(view, thread->task);
        list_id(view, thread->runtime ? 0 : thread->wait_task);
    }
    for (size_t i = 0; i < dump->object_count && i < JSON_TASKS_MAX; i++)
        list_id(view, dump->objects[i].owner);
    return 0;
}

// ---- The document. ----

static void put_document(struct json_view *view)
{
    struct json *json = &view->json;
    static void (*const sections[])(struct json_view *) = {
        json_modules, json_frames, json_stacks, json_sites,   json_objects,
        json_workers, json_tasks,  json_groups, json_threads, json_findings,
    };

    json_open(json, '{');
    json_line(json, 1);
    json_key(json, "format");
    json_text(json, "weft-dump");
    json_line(json, 1);
    json_key(json, "format_version");
    json_int(json, 1);
    put_tool(json);
    put_capture(view);
    put_process(view);
    put_summary(view);
    json_line(json, 1);
    json_key(json, "tasks_complete");
    json_bool(json, view->all);
    for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++) {
        json_line(json, 1);
        sections[i](view);
    }
    json->comma = false; // no more members
    json_line(json, 0);
    json_close(json, '}');
}

static int prepare(struct json_view *view)
{
    int failed = groups_init(&view->groups, view->dump);

    if (!failed)
        failed = choose_tasks(view);
    return failed ? failed : json_stacks_init(view);
}

static void *print(void *arg)
{
    struct order *order = arg;
    struct json_view view = {
        .dump = order->dump,
        .all = order->options.all_tasks ||
               order->dump->task_count <= JSON_TASKS_MAX,
    };

    order->failed = prepare(&view);
    if (!order->failed) {
        json_init(&view.json, order->file, order->options.compact);
        put_document(&view);
        order->failed = json_finish(&view.json);
    }
    json_stacks_deinit(&view);
    groups_deinit(&view.groups);
    free(view.listed);
    return NULL;
}

int weft_dump_print_json(const weft_dump *dump,
                         const weft_print_options *options, FILE *file)
{
    return order_print(print, dump, options, file);
}
