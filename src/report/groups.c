// groups.c -- Tasks that are in the same plight, told once.
//
// One pass hashes every task's key to a group, one sorts the tasks by group,
// both linear. Objects are first reduced to classes of the same kind and name,
// so that a key is a few integers.
#include "report/groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "dump/model.h"

struct key {
    uint32_t what;   // state, wait and direction
    uint32_t object; // class, or WEFT_NONE
    uint32_t stack;
    uint32_t site; // without a stack, else WEFT_NONE
};

// An open hash table of numbers of things that the owner can compare.
struct table {
    uint32_t *places; // WEFT_NONE: free
    size_t room;      // a power of two
    size_t used;
};

struct builder {
    const weft_dump *dump;
    struct groups *groups;
    uint32_t *classes; // by object index: the first object of its class
    struct key *keys;  // by group
    size_t room;       // of `keys` and `groups`
    struct table table;
};

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

// ---- Tables. ----

static int table_init(struct table *table, size_t room)
{
    table->room = room;
    table->used = 0;
    table->places = malloc(room * sizeof(*table->places));
    if (!table->places)
        return -ENOMEM;
    memset(table->places, 0xff, room * sizeof(*table->places));
    return 0;
}

// ---- Classes of objects. ----

static uint64_t object_hash(const weft_dump *dump, uint32_t index)
{
    const struct model_object *object = &dump->objects[index];
    const char *name = model_text(dump, object->name);
    uint64_t hash = mix(1, object->kind);

    for (; name && *name; name++)
        hash = mix(hash, (unsigned char)*name);
    return name ? hash : mix(hash, 256);
}

static bool same_class(const weft_dump *dump, uint32_t left, uint32_t right)
{
    const struct model_object *a = &dump->objects[left];
    const struct model_object *b = &dump->objects[right];
    const char *x = model_text(dump, a->name), *y = model_text(dump, b->name);

    if (a->kind != b->kind || !x != !y)
        return false;
    return !x || !strcmp(x, y);
}

static int classify(struct builder *builder)
{
    const weft_dump *dump = builder->dump;
    struct table table;
    size_t room = 16;

    while (room < 2 * dump->object_count)
        room *= 2;
    builder->classes =
        malloc((dump->object_count + 1) * sizeof(*builder->classes));
    if (!builder->classes || table_init(&table, room))
        return -ENOMEM;
    for (uint32_t i = 0; i < dump->object_count; i++) {
        size_t at = object_hash(dump, i) & (room - 1);
        while (table.places[at] != WEFT_NONE &&
               !same_class(dump, table.places[at], i))
            at = (at + 1) & (room - 1);
        if (table.places[at] == WEFT_NONE)
            table.places[at] = i;
        builder->classes[i] = table.places[at];
    }
    free(table.places);
    return 0;
}

// ---- Groups of tasks. ----

static struct key key_of(const struct builder *builder,
                         const struct model_task *task)
{
    bool waits_for = task->object < builder->dump->object_count;

    return (struct key){
        .what = task->state | task->wait << 8 | task->wait_write << 16,
        .object = waits_for ? builder->classes[task->object] : WEFT_NONE,
        .stack = task->stack,
        .site = task->stack == WEFT_NONE ? task->site : WEFT_NONE,
    };
}

static uint64_t key_hash(const struct key *key)
{
    uint64_t hash = mix(key->what, key->object);

    return mix(mix(hash, key->stack), key->site);
}

static bool same_key(const struct key *a, const struct key *b)
{
    return a->what == b->what && a->object == b->object &&
           a->stack == b->stack && a->site == b->site;
}

static size_t find_place(const struct builder *builder, const struct key *key)
{
    const struct table *table = &builder->table;
    size_t at = key_hash(key) & (table->room - 1);

    ensure(table->places);
    while (table->places[at] != WEFT_NONE &&
           !same_key(&builder->keys[table->places[at]], key))
        at = (at + 1) & (table->room - 1);
    return at;
}

static int grow(struct builder *builder)
{
    size_t room = builder->room ? 2 * builder->room : 64;
    struct group *groups =
        realloc(builder->groups->groups, room * sizeof(*groups));

    if (!groups)
        return -ENOMEM;
    builder->groups->groups = groups;
    struct key *keys = realloc(builder->keys, room * sizeof(*keys));
    if (!keys)
        return -ENOMEM;
    builder->keys = keys;
    builder->room = room;
    free(builder->table.places);
    if (table_init(&builder->table, 2 * room))
        return -ENOMEM;
    for (uint32_t i = 0; i < builder->groups->count; i++)
        builder->table.places[find_place(builder, &keys[i])] = i;
    return 0;
}

// The group of a key, made if there is none yet; WEFT_NONE: no memory.
static uint32_t find_group(struct builder *builder, const struct key *key,
                           uint32_t task)
{
    struct groups *groups = builder->groups;

    if (groups->count == builder->room && grow(builder))
        return WEFT_NONE;
    ensure(builder->table.places);
    uint32_t *place = &builder->table.places[find_place(builder, key)];
    if (*place == WEFT_NONE) {
        *place = (uint32_t)groups->count;
        builder->keys[groups->count] = *key;
        groups->groups[groups->count++] = (struct group){
            .first = task,
            .finding = WEFT_NONE,
            .min_ns = INT64_MAX,
            .max_ns = INT64_MIN,
        };
    }
    return *place;
}

static int collect(struct builder *builder)
{
    const weft_dump *dump = builder->dump;
    struct groups *groups = builder->groups;

    for (uint32_t i = 0; i < dump->task_count; i++) {
        const struct model_task task = model_task(dump, i);
        struct key key = key_of(builder, &task);
        uint32_t at = find_group(builder, &key, i);
        if (at == WEFT_NONE)
            return -ENOMEM;
        struct group *group = &groups->groups[at];
        int64_t ns = task.state_ns;
        group->count++;
        group->min_ns = ns < group->min_ns ? ns : group->min_ns;
        group->max_ns = ns > group->max_ns ? ns : group->max_ns;
        groups->group_of[i] = at;
    }
    return 0;
}

// ---- What findings say of them. ----

static void mark(struct groups *groups, const uint32_t *tasks, uint32_t count,
                 uint32_t finding, bool behind)
{
    for (uint32_t i = 0; i < count; i++) {
        struct group *group = &groups->groups[groups->group_of[tasks[i]]];
        if (group->finding != WEFT_NONE && (!group->behind || behind))
            continue;
        group->finding = finding;
        group->behind = behind;
    }
}

static void mark_findings(struct groups *groups, const weft_dump *dump)
{
    for (uint32_t i = 0; i < dump->finding_count; i++) {
        const struct model_finding *finding = &dump->findings[i];
        mark(groups, finding->tasks, finding->task_count, i, false);
        mark(groups, finding->behind, finding->behind_count, i, true);
    }
}

// ---- Order. ----

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_importance(const void *left, const void *right)
{
    const struct group *a = left, *b = right;
    int order = compare(a->finding, b->finding); // WEFT_NONE comes last

    if (!order)
        order = compare(a->behind, b->behind);
    return order;
}

struct ranked {
    struct group group;
    uint8_t state;
    uint32_t old;
};

static int by_rank(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    int order = by_importance(&a->group, &b->group);

    if (!order)
        order = compare(a->state, b->state);
    if (!order)
        order = compare(b->group.count, a->group.count);
    if (!order)
        order = compare((uint64_t)b->group.max_ns, (uint64_t)a->group.max_ns);
    return order ? order : compare(a->old, b->old);
}

static int sort_groups(struct groups *groups, const weft_dump *dump)
{
    struct ranked *ranked = malloc((groups->count + 1) * sizeof(*ranked));
    uint32_t *now = calloc(groups->count + 1, sizeof(*now));

    for (uint32_t i = 0; ranked && now && i < groups->count; i++) {
        const struct group *group = &groups->groups[i];
        ranked[i] =
            (struct ranked){*group, model_task(dump, group->first).state, i};
    }
    if (ranked && now && groups->count)
        qsort(ranked, groups->count, sizeof(*ranked), by_rank);
    for (uint32_t i = 0; ranked && now && i < groups->count; i++) {
        groups->groups[i] = ranked[i].group;
        now[ranked[i].old] = i;
    }
    for (size_t i = 0; ranked && now && i < dump->task_count; i++)
        groups->group_of[i] = now[groups->group_of[i]];
    bool done = ranked && now;
    free(ranked);
    free(now);
    return done ? 0 : -ENOMEM;
}

// ---- Each group's tasks and median. ----

static void list_tasks(struct groups *groups, const weft_dump *dump)
{
    uint32_t start = 0;

    for (size_t i = 0; i < groups->count; i++) {
        groups->groups[i].start = start;
        start += groups->groups[i].count;
        groups->groups[i].count = 0; // counted again below
    }
    for (uint32_t i = 0; i < dump->task_count; i++) {
        struct group *group = &groups->groups[groups->group_of[i]];
        groups->tasks[group->start + group->count++] = i;
    }
}

// The `rank`-th smallest, by Hoare's selection; puts the values out of order.
static int64_t select_rank(int64_t *values, size_t count, size_t rank)
{
    size_t lo = 0, hi = count - 1;

    ensure(count > 0);
    while (lo < hi) {
        int64_t pivot = values[lo + (hi - lo) / 2];
        size_t left = lo, right = hi;
        for (;;) {
            while (values[left] < pivot)
                left++;
            while (values[right] > pivot)
                right--;
            if (left >= right)
                break;
            int64_t value = values[left];
            values[left++] = values[right];
            values[right--] = value;
        }
        if (rank <= right)
            hi = right;
        else
            lo = right + 1;
    }
    return values[lo];
}

static int find_medians(struct groups *groups, const weft_dump *dump)
{
    int64_t *values = malloc((dump->task_count + 1) * sizeof(*values));

    if (!values)
        return -ENOMEM;
    for (size_t i = 0; i < groups->count; i++) {
        struct group *group = &groups->groups[i];
        for (uint32_t j = 0; j < group->count; j++)
            values[j] =
                model_task(dump, groups->tasks[group->start + j]).state_ns;
        group->median_ns = select_rank(values, group->count, group->count / 2);
    }
    free(values);
    return 0;
}

int groups_init(struct groups *groups, const weft_dump *dump)
{
    struct builder builder = {.dump = dump, .groups = groups};
    size_t tasks = dump->task_count + 1;

    *groups = (struct groups){0};
    groups->tasks = malloc(tasks * sizeof(*groups->tasks));
    groups->group_of = malloc(tasks * sizeof(*groups->group_of));
    int failed = groups->tasks && groups->group_of ? 0 : -ENOMEM;
    if (!failed)
        failed = classify(&builder);
    if (!failed)
        failed = collect(&builder);
    if (!failed) {
        mark_findings(groups, dump);
        failed = sort_groups(groups, dump);
    }
    if (!failed) {
        list_tasks(groups, dump);
        failed = find_medians(groups, dump);
    }
    free(builder.classes);
    free(builder.keys);
    free(builder.table.places);
    if (failed)
        groups_deinit(groups);
    return failed;
}

void groups_deinit(struct groups *groups)
{
    free(groups->groups);
    free(groups->tasks);
    free(groups->group_of);
    *groups = (struct groups){0};
}
