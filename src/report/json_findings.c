// json_findings.c -- Findings as JSON.
#include <string.h>

#include "report/json_view.h"

static void put_ids(struct json_view *view, const uint32_t *tasks,
                    uint32_t count)
{
    json_open(&view->json, '[');
    for (uint32_t i = 0; i < count; i++)
        json_int(&view->json, (int64_t)model_task(view->dump, tasks[i]).id);
    json_close(&view->json, ']');
}

static bool is_cycle(const struct model_finding *finding)
{
    return finding->rule == WEFT_RULE_DEADLOCK;
}

static void put_objects(struct json_view *view,
                        const struct model_finding *finding)
{
    json_open(&view->json, '[');
    for (uint32_t i = 0; is_cycle(finding) && i < finding->task_count; i++)
        if (finding->objects[i] != WEFT_NONE)
            json_object_id(view, finding->objects[i]);
    json_close(&view->json, ']');
}

static void put_edge(struct json_view *view,
                     const struct model_finding *finding, uint32_t i)
{
    uint32_t count = finding->task_count;
    struct json *json = &view->json;

    json_open(json, '{');
    json_key(json, "task");
    json_int(json, (int64_t)model_task(view->dump, finding->tasks[i]).id);
    json_key(json, "holds");
    json_object_id(view, finding->objects[(i + count - 1) % count]);
    json_key(json, "waits_for");
    json_object_id(view, finding->objects[i]);
    json_key(json, "held_by");
    json_int(
        json,
        (int64_t)model_task(view->dump, finding->tasks[(i + 1) % count]).id);
    json_close(json, '}');
}

static void put_cycle(struct json_view *view,
                      const struct model_finding *finding)
{
    json_open(&view->json, '[');
    for (uint32_t i = 0; is_cycle(finding) && i < finding->task_count; i++)
        put_edge(view, finding, i);
    json_close(&view->json, ']');
}

static void put_title(struct json_view *view,
                      const struct model_finding *finding)
{
    struct str title;

    str_init(&title, false, false);
    if (is_cycle(finding) && finding->task_count == 1) {
        str_add(&title, "a task waits for itself");
    } else if (is_cycle(finding)) {
        str_add_count(&title, finding->task_count);
        str_add(&title, " tasks wait for each other");
    } else {
        str_add(&title, "task has run ");
        str_add_time(&title, finding->since_ns);
        str_add(&title, " without yielding");
    }
    str_add_bytes(&title, "", 1);
    json_text(&view->json, title.error ? NULL : title.data);
    str_deinit(&title);
}

static void add_name(struct str *str, const weft_dump *dump, uint32_t object)
{
    const char *name = model_text(dump, dump->objects[object].name);

    if (name)
        str_add_bytes(str, name, strlen(name));
    else
        str_addf(str, "0x%llx",
                 (unsigned long long)dump->objects[object].address);
}

static void add_order(struct str *hint, const weft_dump *dump,
                      const struct model_finding *finding)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (finding->objects[0] == WEFT_NONE ||
            finding->objects[1] == WEFT_NONE)
            return;
        str_addf(hint, "%sT%llu locks ", i ? "; " : "",
                 (unsigned long long)model_task(dump, finding->tasks[i]).id);
        add_name(hint, dump, finding->objects[1 - i]);
        str_add(hint, " then ");
        add_name(hint, dump, finding->objects[i]);
    }
}

// A sentence on what may be wrong, or null.
static void put_hint(struct json_view *view,
                     const struct model_finding *finding)
{
    struct str hint;

    str_init(&hint, false, false);
    if (is_cycle(finding) && finding->task_count == 2)
        add_order(&hint, view->dump, finding);
    else if (!is_cycle(finding) && finding->worker < view->dump->worker_count)
        str_addf(&hint, "worker %u of %zu serves no other task meanwhile",
                 view->dump->workers[finding->worker].index,
                 view->dump->worker_count);
    bool any = hint.used > 0;
    str_add_bytes(&hint, "", 1);
    json_text(&view->json, any && !hint.error ? hint.data : NULL);
    str_deinit(&hint);
}

static void put_verdict(struct json_view *view,
                        const struct model_finding *finding)
{
    static const char *const severities[] = {
        [WEFT_SEVERITY_ERROR] = "error",
        [WEFT_SEVERITY_WARNING] = "warning",
        [WEFT_SEVERITY_INFO] = "info",
    };
    static const char *const certainties[] = {
        [WEFT_CERTAINTY_PROVEN] = "proven",
        [WEFT_CERTAINTY_LIKELY] = "likely",
        [WEFT_CERTAINTY_THRESHOLD] = "threshold",
    };
    struct json *json = &view->json;

    json_key(json, "rule");
    json_text(json, is_cycle(finding) ? "deadlock" : "no-yield");
    json_key(json, "severity");
    json_text(json, severities[finding->severity]);
    json_key(json, "certainty");
    json_text(json, certainties[finding->certainty]);
    json_key(json, "title");
    put_title(view, finding);
    json_key(json, "since_us");
    json_us(json, finding->since_ns);
    json_key(json, "threshold_us");
    if (finding->threshold_ns)
        json_us(json, finding->threshold_ns);
    else
        json_null(json);
}

static void put_finding(struct json_view *view, size_t index)
{
    const struct model_finding *finding = &view->dump->findings[index];
    struct json *json = &view->json;

    json_line(json, 2);
    json_open(json, '{');
    json_key(json, "id");
    json_textf(json, "F%zu", index + 1);
    put_verdict(view, finding);
    json_key(json, "tasks");
    put_ids(view, finding->tasks, finding->task_count);
    json_key(json, "objects");
    put_objects(view, finding);
    json_key(json, "cycle");
    put_cycle(view, finding);
    json_key(json, "worker");
    if (finding->worker == WEFT_NONE)
        json_null(json);
    else
        json_int(json, finding->worker);
    json_key(json, "blocked_behind");
    put_ids(view, finding->behind, finding->behind_count);
    json_key(json, "hint");
    put_hint(view, finding);
    json_close(json, '}');
}

void json_findings(struct json_view *view)
{
    json_key(&view->json, "findings");
    json_open(&view->json, '[');
    for (size_t i = 0; i < view->dump->finding_count; i++)
        put_finding(view, i);
    json_close(&view->json, ']');
}
