// store.c -- Where a capture puts what it finds: compact, and by many threads
// at once.
//
//   P1  An item is filled, then its index enters the finder by CAS (release)
//        -> whoever finds it there (acquire) sees the item whole. Entries never
//        leave or move, so of two who add one key at a time, the second to
//        come meets the first's entry; the item that it had filled is left
//        unused, and store_seal drops it.
//   I1  A finder is a row of tables, each eight times as large as the one
//       before, the last with twice as many entries as there can be items. A
//       key is in the first table that had an empty entry in the key's window
//       when it came, and entries never leave; so a search ends at the first
//       empty entry. Few keys thus stay on few pages.
#define PORT_STEPLESS // keys hold addresses: they decide how long a search is
#include "dump/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEXT_PER_SLOT = 256,
    FRAMES_PER_SLOT = 128,
    CLAUSES_PER_SLOT = 4,
    OBJECTS_PER_SLOT = 2,
    TABLE_FIRST = 512, // entries: one page
    TABLE_GROWTH = 8,
    WINDOW = 8, // entries: a cache line
};

const struct extra EXTRA_NONE = {
    .timeout_in_ns = WEFT_NEVER,
    .name = WEFT_NONE,
    .labels = WEFT_NONE,
    .worker = WEFT_NONE,
    .queue_place = WEFT_NONE,
    .held = WEFT_NONE,
};

// ---- Memory ----

static bool shelf_init(struct shelf *shelf, size_t size, uint64_t room)
{
    *shelf = (struct shelf){.size = size};
    // Indexes are 32 bits, and the last two mean something else.
    shelf->room = room < UINT32_MAX - 2 ? (size_t)room : UINT32_MAX - 2;
    shelf->items = port_reserve(shelf->room * size, port_page_size(), false);
    if (shelf->items != NULL)
        port_small_pages(shelf->items, shelf->room * size);
    return shelf->items != NULL;
}

static void shelf_deinit(struct shelf *shelf)
{
    if (shelf->items != NULL)
        port_unreserve(shelf->items, shelf->room * shelf->size);
}

static void *item(const struct shelf *shelf, size_t index)
{
    return shelf->items + index * shelf->size;
}

static bool finder_init(struct finder *finder, uint64_t items)
{
    uint64_t table = TABLE_FIRST;

    finder->room = table;
    while (table < 2 * items) { // I1
        table *= TABLE_GROWTH;
        finder->room += table;
    }
    size_t bytes = finder->room * sizeof *finder->entries;
    finder->entries = port_reserve(bytes, port_page_size(), false);
    if (finder->entries != NULL)
        port_small_pages(finder->entries, bytes);
    return finder->entries != NULL;
}

static void finder_deinit(struct finder *finder)
{
    if (finder->entries != NULL)
        port_unreserve(finder->entries, finder->room * sizeof *finder->entries);
}

static bool init(struct store *s, uint32_t slots, uint32_t scale)
{
    uint64_t n = (uint64_t)slots * scale;
    uint64_t objects = OBJECTS_PER_SLOT * n;

    s->slots = slots;
    return shelf_init(&s->records, sizeof(struct record), slots) &&
           shelf_init(&s->shapes, sizeof(struct shape), 2 * n) &&
           shelf_init(&s->extras, sizeof(struct extra), 2 * n) &&
           shelf_init(&s->stacks, sizeof(struct model_stack), 2 * n) &&
           shelf_init(&s->pcs, sizeof(uintptr_t), FRAMES_PER_SLOT * n) &&
           shelf_init(&s->sites, sizeof(uintptr_t), 2 * n) &&
           shelf_init(&s->objects, sizeof(struct model_object), 2 * objects) &&
           shelf_init(&s->channels, sizeof(struct model_channel), n) &&
           shelf_init(&s->choices, sizeof(struct model_choice), n) &&
           shelf_init(&s->clauses, sizeof(struct model_clause),
                      CLAUSES_PER_SLOT * n) &&
           shelf_init(&s->holdings, sizeof(struct holding), objects) &&
           shelf_init(&s->text, 1, TEXT_PER_SLOT * n) &&
           finder_init(&s->find_shape, 2 * n) &&
           finder_init(&s->find_stack, 2 * n) &&
           finder_init(&s->find_site, 2 * n) &&
           finder_init(&s->find_object, 2 * objects) &&
           finder_init(&s->find_choice, n);
}

struct store *store_new(uint32_t slots, uint32_t scale)
{
    struct store *store = calloc(1, sizeof *store);

    if (store != NULL && !init(store, slots, scale)) {
        store_free(store);
        return NULL;
    }
    return store;
}

void store_commit(struct store *s, uint32_t first, uint32_t slots)
{
    port_commit(item(&s->records, first), slots * sizeof(struct record));
}

void store_free(struct store *s)
{
    if (s == NULL)
        return;
    shelf_deinit(&s->records);
    shelf_deinit(&s->shapes);
    shelf_deinit(&s->extras);
    shelf_deinit(&s->stacks);
    shelf_deinit(&s->pcs);
    shelf_deinit(&s->sites);
    shelf_deinit(&s->objects);
    shelf_deinit(&s->holdings);
    shelf_deinit(&s->channels);
    shelf_deinit(&s->choices);
    shelf_deinit(&s->clauses);
    shelf_deinit(&s->text);
    finder_deinit(&s->find_shape);
    finder_deinit(&s->find_stack);
    finder_deinit(&s->find_site);
    finder_deinit(&s->find_object);
    finder_deinit(&s->find_choice);
    free(s);
}

// ---- Adding ----

// The first of `count` items in a row, or WEFT_NONE.
static uint32_t take(struct store *store, struct shelf *shelf, size_t count)
{
    uint64_t index = add_relaxed(&shelf->count, count);

    if (index + count <= shelf->room)
        return (uint32_t)index;
    store_relaxed(&store->full, 1);
    return WEFT_NONE;
}

static uint32_t put(struct store *store, struct shelf *shelf, const void *from,
                    size_t count)
{
    uint32_t index = take(store, shelf, count);

    if (index != WEFT_NONE)
        memcpy(item(shelf, index), from, count * shelf->size);
    return index;
}

// What is looked for, and how.
struct quest {
    uint64_t hash;
    const void *key;
    bool (*same)(const struct store *store, uint32_t index,
                 const struct quest *quest);
    uint32_t (*make)(struct store *store, const struct quest *quest);
    const uintptr_t *pcs;               // of a stack
    const char *error;                  // of a stack, or NULL
    const struct model_clause *clauses; // of a choice
};

// What a walk over the entries that may have a key is about to look at.
struct walk {
    const struct finder *finder;
    uint64_t hash;
    uint64_t start; // of the table
    uint64_t table; // its size
    uint64_t step;  // in the window
};

// The next entry in which a key may be, I1; NULL: there is none left.
static atomic_u64 *next_entry(struct walk *walk)
{
    if (walk->step == WINDOW &&
        walk->start + walk->table < walk->finder->room) {
        walk->start += walk->table;
        walk->table *= TABLE_GROWTH;
        walk->step = 0;
    }
    if (walk->step == walk->table) // of the last: all have been seen
        return NULL;
    uint64_t at = (walk->hash + walk->step++) & (walk->table - 1);
    return &walk->finder->entries[walk->start + at];
}

// The index of the item, made if it is not there and `make` is given.
static uint32_t find(struct store *store, const struct finder *finder,
                     const struct quest *quest)
{
    uint64_t hash = quest->hash * UINT64_C(0x9e3779b97f4a7c15);
    uint64_t tag = hash >> 32;
    struct walk walk = {
        .finder = finder, .hash = hash >> 20, .table = TABLE_FIRST};
    uint32_t made = WEFT_NONE;
    atomic_u64 *entry;

    while ((entry = next_entry(&walk)) != NULL) {
        uint64_t found = load_acquire(entry); // P1
        if (found == 0) {
            if (made == WEFT_NONE && quest->make != NULL)
                made = quest->make(store, quest);
            if (made == WEFT_NONE ||
                cas_acq_rel(entry, &found, tag << 32 | (made + 1))) // P1
                return made;
        }
        uint32_t index = (uint32_t)found - 1;
        if (found >> 32 == tag && quest->same(store, index, quest))
            return index;
    }
    store_relaxed(&store->full, 1); // read at the end
    return WEFT_NONE;
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
    return hash ^ hash >> 29;
}

// ---- Shapes ----

static bool same_shape(const struct store *store, uint32_t index,
                       const struct quest *quest)
{
    return memcmp(item(&store->shapes, index), quest->key,
                  sizeof(struct shape)) == 0;
}

static uint32_t make_shape(struct store *store, const struct quest *quest)
{
    return put(store, &store->shapes, quest->key, 1);
}

uint32_t store_shape(struct store *store, const struct shape *shape)
{
    struct quest quest = {.key = shape, .same = same_shape, .make = make_shape};
    uint64_t words[sizeof *shape / sizeof(uint64_t)];

    _Static_assert(sizeof words == sizeof *shape, "shapes are whole words");
    memcpy(words, shape, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        quest.hash = mix(quest.hash, words[i]);
    return find(store, &store->find_shape, &quest);
}

// ---- Stacks ----

static bool same_error(const struct store *store,
                       const struct model_stack *stack, const char *error)
{
    if (error == NULL || stack->error == WEFT_NONE)
        return error == NULL && stack->error == WEFT_NONE;
    return strcmp(item(&store->text, stack->error), error) == 0;
}

static bool same_stack(const struct store *store, uint32_t index,
                       const struct quest *quest)
{
    const struct model_stack *mine = quest->key;
    const struct model_stack *other = item(&store->stacks, index);

    return other->count == mine->count && other->end == mine->end &&
           other->cut == mine->cut && same_error(store, other, quest->error) &&
           (mine->count == 0 || memcmp(item(&store->pcs, other->pc), quest->pcs,
                                       mine->count * sizeof *quest->pcs) == 0);
}

static uint32_t make_stack(struct store *store, const struct quest *quest)
{
    struct model_stack stack = *(const struct model_stack *)quest->key;

    stack.pc = 0;
    stack.error = WEFT_NONE;
    if (quest->error != NULL)
        stack.error = store_text(store, quest->error, strlen(quest->error) + 1);
    if (stack.count > 0)
        stack.pc = put(store, &store->pcs, quest->pcs, stack.count);
    return stack.pc == WEFT_NONE ? WEFT_NONE
                                 : put(store, &store->stacks, &stack, 1);
}

uint32_t store_stack(struct store *store, const struct model_stack *stack,
                     const uintptr_t *pcs, const char *error)
{
    struct quest quest = {.key = stack,
                          .same = same_stack,
                          .make = make_stack,
                          .pcs = pcs,
                          .error = error,
                          .hash = mix(stack->end, stack->cut)};

    for (uint32_t i = 0; i < stack->count; i++)
        quest.hash = mix(quest.hash, pcs[i]);
    return find(store, &store->find_stack, &quest);
}

// ---- Sites ----

static bool same_site(const struct store *store, uint32_t index,
                      const struct quest *quest)
{
    return *(const uintptr_t *)item(&store->sites, index) ==
           *(const uintptr_t *)quest->key;
}

static uint32_t make_site(struct store *store, const struct quest *quest)
{
    return put(store, &store->sites, quest->key, 1);
}

uint32_t store_site(struct store *store, uintptr_t pc)
{
    struct quest quest = {
        .key = &pc, .hash = pc, .same = same_site, .make = make_site};

    return find(store, &store->find_site, &quest);
}

// ---- Objects ----

static bool same_object(const struct store *store, uint32_t index,
                        const struct quest *quest)
{
    const struct model_object *mine = quest->key;
    const struct model_object *other = item(&store->objects, index);

    return other->address == mine->address;
}

static uint32_t make_object(struct store *store, const struct quest *quest)
{
    return put(store, &store->objects, quest->key, 1);
}

static uint32_t object(struct store *store, const struct model_object *object,
                       bool make)
{
    struct quest quest = {.key = object,
                          .hash = object->address,
                          .same = same_object,
                          .make = make ? make_object : NULL};

    return find(store, &store->find_object, &quest);
}

uint32_t store_find_object(const struct store *store, uintptr_t address)
{
    struct model_object wanted = {.address = address};

    return object((struct store *)store, &wanted, false);
}

uint32_t store_object(struct store *store, const struct model_object *found)
{
    return object(store, found, true);
}

// ---- Choices ----

static bool same_choice(const struct store *store, uint32_t index,
                        const struct quest *quest)
{
    const struct model_choice *mine = quest->key;
    const struct model_choice *other = item(&store->choices, index);

    return other->count == mine->count && other->total == mine->total &&
           memcmp(item(&store->clauses, other->clause), quest->clauses,
                  mine->count * sizeof *quest->clauses) == 0;
}

static uint32_t make_choice(struct store *store, const struct quest *quest)
{
    struct model_choice choice = *(const struct model_choice *)quest->key;

    choice.clause = put(store, &store->clauses, quest->clauses, choice.count);
    return choice.clause == WEFT_NONE ? WEFT_NONE
                                      : put(store, &store->choices, &choice, 1);
}

uint32_t store_choice(struct store *store, const struct model_choice *choice,
                      const struct model_clause *clauses)
{
    struct quest quest = {.key = choice,
                          .same = same_choice,
                          .make = make_choice,
                          .clauses = clauses,
                          .hash = choice->total};

    for (uint32_t i = 0; i < choice->count; i++) {
        quest.hash = mix(quest.hash, clauses[i].task);
        quest.hash = mix(quest.hash, clauses[i].object);
        quest.hash = mix(quest.hash, (uint64_t)clauses[i].fd);
        quest.hash = mix(quest.hash, clauses[i].wait);
    }
    return find(store, &store->find_choice, &quest);
}

// ---- What is not shared ----

uint32_t store_extra(struct store *store, const struct extra *extra)
{
    return put(store, &store->extras, extra, 1);
}

uint32_t store_holding(struct store *store, const struct holding *holding)
{
    return put(store, &store->holdings, holding, 1);
}

uint32_t store_channel(struct store *store, const struct model_channel *channel)
{
    return put(store, &store->channels, channel, 1);
}

uint32_t store_text(struct store *store, const char *bytes, size_t size)
{
    return put(store, &store->text, bytes, size);
}

struct record *store_record(struct store *store, uint32_t slot)
{
    return item(&store->records, slot);
}

// ---- Sealing ----

// New numbers for the items of a shelf, by first use; WEFT_NONE: not used.
struct numbers {
    uint32_t *of; // by old index
    uint32_t count;
};

static bool numbers_init(struct numbers *numbers, const struct shelf *shelf)
{
    size_t count = load_relaxed(&shelf->count); // nobody adds any more

    numbers->count = 0;
    numbers->of = malloc((count + 1) * sizeof *numbers->of);
    if (numbers->of != NULL)
        memset(numbers->of, 0xff, count * sizeof *numbers->of);
    return numbers->of != NULL;
}

static uint32_t number(struct numbers *numbers, uint32_t old)
{
    if (old == WEFT_NONE)
        return WEFT_NONE;
    if (numbers->of[old] == WEFT_NONE)
        numbers->of[old] = numbers->count++;
    return numbers->of[old];
}

// Moves each item to its new place; those not used end up behind the others.
static void move_items(struct numbers *numbers, const struct shelf *shelf)
{
    size_t count = load_relaxed(&shelf->count);
    char spare[sizeof(struct model_object)];

    for (size_t i = 0; i < count; i++)
        while (numbers->of[i] != WEFT_NONE && numbers->of[i] != i) {
            uint32_t to = numbers->of[i];
            memcpy(spare, item(shelf, to), shelf->size);
            memcpy(item(shelf, to), item(shelf, i), shelf->size);
            memcpy(item(shelf, i), spare, shelf->size);
            numbers->of[i] = numbers->of[to];
            numbers->of[to] = to;
        }
    free(numbers->of);
}

// Packs the records; their number.
static uint32_t pack(struct store *s, uint32_t slots)
{
    struct record *records = store_record(s, 0);
    uint32_t count = 0;

    for (uint32_t i = 0; i < slots; i++)
        if (records[i].id != 0) {
            if (count < i)
                records[count] = records[i];
            count++;
        }
    return count;
}

struct sealing {
    struct store *store;
    struct numbers stacks;
    struct numbers sites;
    struct numbers objects;
    bool *seen; // of each shape
};

static void renumber_shape(struct sealing *sealing, uint32_t index)
{
    struct shape *shape = item(&sealing->store->shapes, index);

    if (sealing->seen[index])
        return;
    sealing->seen[index] = true;
    shape->stack = number(&sealing->stacks, shape->stack);
    shape->site = number(&sealing->sites, shape->site);
    shape->object = number(&sealing->objects, shape->object);
}

static bool begin_sealing(struct sealing *sealing, struct store *s)
{
    *sealing = (struct sealing){.store = s};
    sealing->seen = calloc(load_relaxed(&s->shapes.count) + 1, 1);
    bool stacks = numbers_init(&sealing->stacks, &s->stacks);
    bool sites = numbers_init(&sealing->sites, &s->sites);
    bool objects = numbers_init(&sealing->objects, &s->objects);
    if (sealing->seen != NULL && stacks && sites && objects)
        return true;
    free(sealing->seen);
    free(sealing->stacks.of);
    free(sealing->sites.of);
    free(sealing->objects.of);
    return false;
}

static void hand_over(struct sealing *sealing, struct weft_dump *dump)
{
    struct store *s = sealing->store;

    dump->store = s;
    dump->stack_count = sealing->stacks.count;
    dump->site_count = sealing->sites.count;
    dump->object_count = sealing->objects.count;
    dump->pc_count = load_relaxed(&s->pcs.count);
    dump->text_size = load_relaxed(&s->text.count);
    dump->stacks = item(&s->stacks, 0);
    dump->sites = item(&s->sites, 0);
    dump->objects = item(&s->objects, 0);
    dump->pcs = item(&s->pcs, 0);
    dump->channels = item(&s->channels, 0);
    dump->channel_count = load_relaxed(&s->channels.count);
    dump->choices = item(&s->choices, 0);
    dump->choice_count = load_relaxed(&s->choices.count);
    dump->clauses = item(&s->clauses, 0);
    dump->clause_count = load_relaxed(&s->clauses.count);
    dump->text = item(&s->text, 0);
}

int store_seal(struct store *s, uint32_t slots, struct weft_dump *dump)
{
    struct sealing sealing;
    struct holding *holdings = item(&s->holdings, 0);
    struct model_clause *clauses = item(&s->clauses, 0);
    size_t held = load_relaxed(&s->holdings.count);  // nobody adds any more
    size_t listed = load_relaxed(&s->clauses.count); // likewise

    if (load_relaxed(&s->full) != 0)
        return -EAGAIN;
    if (!begin_sealing(&sealing, s))
        return -ENOMEM;
    dump->task_count = pack(s, slots);
    for (uint32_t i = 0; i < dump->task_count; i++)
        renumber_shape(&sealing, store_record(s, i)->shape);
    for (size_t i = 0; i < dump->thread_count; i++)
        dump->threads[i].shown.stack =
            number(&sealing.stacks, dump->threads[i].shown.stack);
    for (size_t i = 0; i < held; i++)
        holdings[i].object = number(&sealing.objects, holdings[i].object);
    for (size_t i = 0; i < listed; i++)
        clauses[i].object = number(&sealing.objects, clauses[i].object);
    hand_over(&sealing, dump);
    move_items(&sealing.stacks, &s->stacks);
    move_items(&sealing.sites, &s->sites);
    move_items(&sealing.objects, &s->objects);
    free(sealing.seen);
    return 0;
}
