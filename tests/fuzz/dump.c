// dump.c -- Fuzzes what is made of a captured dump: findings, text and JSON.
//
// Whatever a program chooses itself is any: names, labels, figures, and who
// waits for whom. Input: how it is printed (a byte), then objects, workers and
// tasks, as add_objects and what follows it take them.
#include <weft/dump.h>

#include "dump/findings.h"
#include "support/dump_maker.h"
#include "support/fuzz.h"
#include "support/json_check.h"

enum { COLUMNS_MAX = 100, MOST = 40 };

// ---- A dump of the input. ----

static weft_dump *begin(struct input *in)
{
    weft_dump *dump = calloc(1, sizeof *dump);

    must(dump);
    store_relaxed(&dump->references, 1);
    dump->pid = 1;
    dump->exe = input_text(in);
    dump->host = input_text(in);
    dump->runtime = input_text(in);
    dump->wall_time_ns = (int64_t)(input_number(in, 8) >> 1);
    dump->process_start_ns = dump->wall_time_ns / 2;
    dump->total_ns = (int64_t)input_number(in, 4);
    dump->consistent = input_number(in, 1) & 1;
    dump->complete = input_number(in, 1) & 1;
    dump->outsiders = input_number(in, 1) & 1;
    dump->no_yield_ns = WEFT_SECOND;
    if (!dump->complete)
        dump->problem = input_text(in);
    return dump;
}

static void add_peers(weft_dump *dump, struct input *in,
                      struct model_object *object)
{
    struct model_channel *channel =
        MAKER_ADD(dump->channels, dump->channel_count);
    struct model_peers *both[] = {&channel->sent, &channel->received};

    object->peers = (uint32_t)dump->channel_count - 1;
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < MODEL_PEERS; j++)
            both[i]->ids[j] = input_number(in, 1);
        if (both[i]->ids[0] == UINT8_MAX)
            both[i]->ids[0] = MODEL_OUTSIDE;
        both[i]->last_ns = (int64_t)(input_number(in, 8) >> 2);
    }
}

static void add_objects(weft_dump *dump, struct input *in)
{
    for (size_t count = input_number(in, 1) % MOST; count > 0; count--) {
        char *name = input_text(in);
        enum weft_object_kind kind = (enum weft_object_kind)(
            input_number(in, 1) % (WEFT_OBJECT_SCOPE + 1));
        maker_object(dump, kind, *name ? name : NULL, input_number(in, 1), 0);
        struct model_object *object = &dump->objects[dump->object_count - 1];
        object->used = input_number(in, 8);
        object->limit = input_number(in, 8);
        object->owner_task = WEFT_NONE;
        if (model_is_channel(kind))
            add_peers(dump, in, object);
        free(name);
    }
}

static void add_label(weft_dump *dump, struct input *in,
                      struct model_task *task)
{
    char *key = input_text(in), *value = input_text(in);
    uint32_t at = maker_text(dump, key);

    (void)maker_text(dump, value);
    if (task->label_count++ == 0)
        task->labels = at;
    free(key);
    free(value);
}

static void add_wait(weft_dump *dump, struct input *in, struct model_task *task)
{
    uint64_t object = input_number(in, 1);

    task->wait = (uint8_t)(1 + input_number(in, 1) % WAIT_LAST);
    task->wait_task = input_number(in, 1);
    task->wait_scope = input_number(in, 1);
    task->wait_fd = (int32_t)input_number(in, 1) - 1;
    if (object < dump->object_count)
        task->object = (uint32_t)object;
}

// Its first byte: the state, whether the wait has a time-out, labels.
static void add_task(weft_dump *dump, struct input *in)
{
    char *name = input_text(in);
    unsigned what = (unsigned)input_number(in, 1);
    enum weft_task_state state = (enum weft_task_state)(what % 8 % 5);
    struct model_task *task =
        maker_task(dump, dump->task_count + 1, *name ? name : NULL, state,
                   (int64_t)(input_number(in, 8) >> 2));

    free(name);
    task->age_ns = task->state_ns;
    if (state == WEFT_STATE_WAITING)
        add_wait(dump, in, task);
    if (what & 8)
        task->timeout_in_ns = (int64_t)(input_number(in, 8) >> 1);
    task->scope = input_number(in, 1);
    task->cpu_ns = (int64_t)input_number(in, 2);
    task->parent = input_number(in, 1);
    for (unsigned labels = what >> 4 & 3; labels > 0; labels--)
        add_label(dump, in, task);
}

static weft_dump *make(struct input *in)
{
    weft_dump *dump = begin(in);

    add_objects(dump, in);
    for (size_t count = input_number(in, 1) % 5; count > 0; count--) {
        unsigned what = (unsigned)input_number(in, 1);
        maker_worker(dump, (enum weft_worker_state)(what & 3), what >> 2,
                     (int64_t)input_number(in, 6));
    }
    for (size_t i = 0; i < MOST && in->left > 0; i++)
        add_task(dump, in);
    maker_finish(dump);
    must(findings_add(dump) == 0);
    return dump;
}

// ---- What holds for every text. ----

typedef int print_fn(const weft_dump *, const weft_print_options *, FILE *);

static char *print(print_fn *fn, const weft_dump *dump,
                   const weft_print_options *options)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    must(file && fn(dump, options, file) == 0 && fclose(file) == 0);
    must(strlen(text) == size);
    return text;
}

// As weft counts columns: some characters take none, others two.
static void check_width(const char *text)
{
    struct str line;

    str_init(&line, false, false);
    for (; *text; text += strcspn(text, "\n") + 1) {
        char *copy = strndup(text, strcspn(text, "\n"));
        must(copy);
        str_clear(&line);
        str_add(&line, copy);
        must(line.columns <= COLUMNS_MAX && line.error == 0);
        free(copy);
    }
    str_deinit(&line);
}

static void check_text(const char *text, const weft_print_options *options)
{
    if (!options->color)
        check_width(text);
    while (*text) {
        int32_t c;
        text += utf8_next(text, &c);
        must(c == '\n' || c >= 0x20 || (c == '\033' && options->color));
        must(c < 0x7f || c > 0x9f);
        must(c < 0x202a || c > 0x202e);
        must(!options->ascii || c < 0x7f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    unsigned how = (unsigned)input_number(&in, 1);
    weft_print_options options = {
        .size = sizeof options,
        .color = how & 1,
        .ascii = how & 2,
        .verbose = how & 4,
        .all_tasks = how & 8,
        .compact = how & 16,
    };
    weft_dump *dump = make(&in);
    char *text = print(weft_dump_print_text, dump, &options);
    char *json = print(weft_dump_print_json, dump, &options);

    check_text(text, &options);
    must(json_valid(json));
    free(text);
    free(json);
    weft_dump_free(dump);
    return 0;
}
