// json_findings.c -- Findings as JSON.
#include "report/json_view.h"
#include "report/words.h"

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
    if (finding->object != WEFT_NONE)
        json_object_id(view, finding->object);
    for (uint32_t i = 0; finding->objects && i < finding->task_count; i++)
        if (finding->objects[i] != WEFT_NONE)
            json_object_id(view, finding->objects[i]);
    json_close(&view->json, ']');
}

// A string that has been made; null if it is empty. Gives it back.
static void put_str(struct json_view *view, struct str *str)
{
    bool any = str->used > 0;

    str_add_bytes(str, "", 1);
    json_text(&view->json, any && !str->error ? str->data : NULL);
    str_deinit(str);
}

static void put_words(struct json_view *view,
                      const struct model_finding *finding,
                      void (*add)(struct str *, const weft_dump *,
                                  const struct model_finding *))
{
    struct str str;

    str_init(&str, false, false);
    add(&str, view->dump, finding);
    put_str(view, &str);
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

// How one task of a chain comes into it, what it does, and where.
static void put_link(struct json_view *view,
                     const struct model_finding *finding, uint32_t i)
{
    const weft_dump *dump = view->dump;
    uint32_t object = i == 0 ? finding->object : finding->objects[i - 1];
    struct json *json = &view->json;
    struct str doing;

    json_open(json, '{');
    json_key(json, "task");
    json_int(json, (int64_t)model_task(dump, finding->tasks[i]).id);
    json_key(json, "relation");
    json_text(json, words_relation(dump, finding, i));
    json_key(json, "object");
    json_object_id(view, object);
    json_key(json, "doing");
    str_init(&doing, false, false);
    words_doing(&doing, dump, finding->tasks[i]);
    put_str(view, &doing);
    json_close(json, '}');
}

// From the object of a stall to the root.
static void put_chain(struct json_view *view,
                      const struct model_finding *finding)
{
    json_open(&view->json, '[');
    for (uint32_t i = 0;
         finding->rule == WEFT_RULE_STALL && i < finding->task_count; i++)
        put_link(view, finding, i);
    json_close(&view->json, ']');
}

// Where each of `tasks` is now.
static void put_places(struct json_view *view,
                       const struct model_finding *finding)
{
    struct json *json = &view->json;

    json_open(json, '[');
    for (uint32_t i = 0; i < finding->task_count; i++)
        json_top(view, model_task(view->dump, finding->tasks[i]).stack);
    json_close(json, ']');
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
    json_text(json, weft_rule_name(finding->rule));
    json_key(json, "severity");
    json_text(json, severities[finding->severity]);
    json_key(json, "certainty");
    json_text(json, certainties[finding->certainty]);
    json_key(json, "title");
    put_words(view, finding, words_title);
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
    json_key(json, "count");
    json_int(json, (int64_t)finding->count);
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
    json_key(json, "spawn_site");
    if (finding->site == WEFT_NONE)
        json_null(json);
    else
        json_int(json, finding->site);
    json_key(json, "detail");
    json_text(json, finding->detail);
    json_key(json, "chain");
    put_chain(view, finding);
    json_key(json, "now_in");
    put_places(view, finding);
    json_key(json, "blocked_behind");
    put_ids(view, finding->behind, finding->behind_count);
    json_key(json, "hint");
    put_words(view, finding, words_hint);
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
