// memory.c -- What a load reads: atomics after the C11 model.
//
// Each atomic has the list of its stores in their order of modification; each
// thread a view: which store of each atomic it knows of. An access may meet
// any store that its thread's view does not forbid.
//
//   - Coherence: a load reads the store in the view or a later one, and moves
//     the view up. A store goes behind the store in the view: at the end, or,
//     as a choice, between two others.
//   - A releasing store carries its thread's view, which an acquiring load
//     joins to its own. A read-modify-write goes right behind the store that it
//     reads, and nothing comes between; it carries on what that one carried
//     (the release sequence, which no other store continues, as in C++20).
//   - seq_cst: such accesses have one order, in which stores come as they are
//     executed, and into which happens-before fits. Each thread knows how far
//     in that order it has come. A load may take its place in it before stores
//     that have been executed, where the thread does not know of them, and so
//     read an older one; such a store goes behind all others such.
//   - The heavy barrier is a seq_cst fence in each thread.
//
// Loads never read what has yet to be stored (no load buffering), as in RC11.
//
// Memory itself always holds the newest value, so copies of whole structures
// read it. A plain store to an atomic (an initialiser) is found by its value at
// the next access: it ends the history.
#include "explore/engine.h"

#include <string.h>

enum {
    STORES_MAX = 16384,
    VIEWS_MAX = 8192,
    BUCKETS = 4096,
    GAP = 1024,            // between time stamps
    SEQ_CST = THREADS_MAX, // in a view: how far in the one order
    PLACES_FIRST,
    NAMED_MAX = 16384,
};

struct store {
    struct store *older;
    uint64_t value;
    const struct view *carried; // NULL: none
    uint32_t stamp;
    uint32_t seq_cst; // its number in the one order; 0: not in it
    bool followed;    // by a read-modify-write, so by nothing else
    const char *site;
};

struct place {
    uintptr_t at;
    uint32_t index; // into views
    struct known *known;
    struct store *newest;
    uint32_t read_at[THREADS_MAX]; // for good: explore_guard
};

// What is known of an atomic from all executions.
struct known {
    uintptr_t at;
    uint8_t threads; // who has touched it
    bool written;    // once the threads ran
};

struct bucket {
    uint32_t execution;
    uint32_t place;
};

static struct store stores[STORES_MAX];
static uint32_t store_count;
static struct view views[VIEWS_MAX];
static uint32_t view_count;
static struct place places[PLACES_MAX];
static uint32_t place_count;
static struct bucket buckets[BUCKETS];
static struct known knowns[NAMED_MAX];
static uint32_t execution;
static uint32_t seq_cst_count; // stores in the one order

// ---- Views ----

// What lies beyond `used` is 0, but need not be stored.
static void widen(struct view *view, uint32_t used)
{
    while (view->used < used)
        view->at[view->used++] = 0;
}

void view_join(struct view *view, const struct view *other)
{
    widen(view, other->used);
    for (uint32_t i = 0; i < other->used; i++)
        if (view->at[i] < other->at[i])
            view->at[i] = other->at[i];
}

static void raise_to(struct view *view, uint32_t index, uint32_t stamp)
{
    widen(view, index + 1);
    if (view->at[index] < stamp)
        view->at[index] = stamp;
}

// Clocks stay out: a fence orders atomics alone.
static void join_places(struct view *view, const struct view *other)
{
    for (uint32_t i = THREADS_MAX; i < other->used; i++)
        raise_to(view, i, other->at[i]);
}

static struct view *copy_view(const struct view *view)
{
    if (view_count == VIEWS_MAX)
        explore_fail("too many releasing stores in one execution");
    struct view *copy = &views[view_count++];
    copy->used = view->used;
    memcpy(copy->at, view->at, view->used * sizeof view->at[0]);
    return copy;
}

// ---- Places ----

static void begin_guards(void);

void memory_begin(void)
{
    begin_guards();
    execution++;
    store_count = view_count = place_count = 0;
    seq_cst_count = 0;
    engine.threads[0].seen.used = PLACES_FIRST;
}

static uint32_t hash(uintptr_t at)
{
    return (uint32_t)((at >> 2) * UINT64_C(0x9e3779b97f4a7c15) >> 40);
}

static struct known *find_known(uintptr_t at)
{
    for (uint32_t i = hash(at);; i++) {
        struct known *known = &knowns[i % NAMED_MAX];
        if (known->at == at || known->at == 0) {
            known->at = at;
            return known;
        }
    }
}

static uint64_t read_plain(const volatile void *at, size_t size)
{
    return size == 8   ? *(const volatile uint64_t *)at
           : size == 4 ? *(const volatile uint32_t *)at
                       : *(const volatile uint8_t *)at;
}

static void write_plain(volatile void *at, size_t size, uint64_t value)
{
    if (size == 8)
        *(volatile uint64_t *)at = value;
    else if (size == 4)
        *(volatile uint32_t *)at = (uint32_t)value;
    else
        *(volatile uint8_t *)at = (uint8_t)value;
}

static struct store *new_store(uint64_t value, uint32_t stamp, const char *site)
{
    if (store_count == STORES_MAX)
        explore_fail("too many stores in one execution");
    struct store *store = &stores[store_count++];
    *store = (struct store){
        .value = value,
        .stamp = stamp,
        .site = site,
    };
    return store;
}

static struct place *new_place(uintptr_t at, size_t size)
{
    if (place_count == PLACES_MAX)
        explore_fail("too many atomics in one execution");
    struct place *place = &places[place_count];
    *place = (struct place){
        .at = at,
        .index = PLACES_FIRST + place_count++,
        .known = find_known(at),
        .newest = new_store(read_plain((void *)at, size), GAP, "at first"),
    };
    return place;
}

static struct place *find_place(const volatile void *address, size_t size)
{
    uintptr_t at = (uintptr_t)address;

    for (uint32_t i = hash(at);; i++) {
        struct bucket *bucket = &buckets[i % BUCKETS];
        if (bucket->execution != execution) {
            *bucket = (struct bucket){execution, place_count};
            return new_place(at, size);
        }
        if (places[bucket->place].at == at)
            return &places[bucket->place];
    }
}

// A plain store has come between: all know it.
static void take_plain(struct place *place, const volatile void *at,
                       size_t size)
{
    uint64_t value = read_plain(at, size);

    if (value == place->newest->value)
        return;
    struct store *store =
        new_store(value, place->newest->stamp + GAP, "plain store");
    store->older = place->newest;
    place->newest = store;
    for (uint32_t i = 0; i < engine.count; i++)
        raise_to(&engine.threads[i].seen, place->index, store->stamp);
}

static bool is_shared(const struct known *known)
{
    return known->written && (known->threads & (known->threads - 1)) != 0;
}

// The point before an access, and what is learnt of the place.
static inline __attribute__((always_inline)) struct place *approach(
    const volatile void *at, size_t size, bool writes, const char *site)
{
    struct place *place = find_place(at, size);
    struct known *known = place->known;

    if (engine.running) {
        bool before = is_shared(known);
        known->threads |= (uint8_t)(1u << engine.self->number);
        known->written |= writes;
        engine.grown |= !before && is_shared(known);
    }
    engine_point(is_shared(known), site);
    take_plain(place, at, size);
    engine.self->seen.at[engine.self->number]++;
    if (engine.running)
        races_atomic((uintptr_t)at, size, __builtin_return_address(0));
    return place;
}

// ---- Which store ----

// What an access wants of the store that it meets.
struct want {
    enum explore_order order;
    bool writes;              // goes behind it: nothing may follow it yet
    const uint64_t *expected; // writes if it has this value
};

// The latest seq_cst store of those up to `limit` in their order.
static uint32_t seq_cst_stamp(const struct place *place, uint32_t limit)
{
    for (struct store *at = place->newest; at != NULL; at = at->older)
        if (at->seq_cst != 0 && at->seq_cst <= limit)
            return at->stamp;
    return 0;
}

static uint32_t lowest_stamp(const struct place *place, const struct want *want)
{
    const struct view *seen = &engine.self->seen;
    uint32_t index = place->index;
    uint32_t own = index < seen->used ? seen->at[index] : 0;
    bool loads = !want->writes && want->expected == NULL;

    if (want->order != ORDER_SEQ_CST)
        return own;
    uint32_t all = seq_cst_stamp(place, loads ? seen->at[SEQ_CST] : UINT32_MAX);
    return all > own ? all : own;
}

static bool may_meet(const struct store *store, const struct want *want)
{
    bool writes = want->writes ||
                  (want->expected != NULL && store->value == *want->expected);

    return !(writes && store->followed);
}

static struct store *choose_store(struct place *place, struct want want)
{
    uint32_t lowest = lowest_stamp(place, &want);
    struct store *store = place->newest;
    uint32_t count = 1;

    if (!engine.running || (engine.left.stale == 0 && engine.replay == NULL) ||
        store->stamp <= lowest)
        return store;
    for (struct store *at = store; at->stamp > lowest && at->older != NULL;) {
        at = at->older;
        count += may_meet(at, &want);
    }
    uint32_t choice = engine_choose(CHOICE_STORE, count);
    if (choice > 0)
        engine.left.stale--;
    while (choice > 0) {
        store = store->older;
        choice -= may_meet(store, &want);
    }
    return store;
}

static bool acquires(enum explore_order order)
{
    return order == ORDER_ACQUIRE || order >= ORDER_ACQ_REL;
}

static bool releases(enum explore_order order)
{
    return order >= ORDER_RELEASE;
}

static void observe(const struct place *place, const struct store *store,
                    enum explore_order order)
{
    struct view *seen = &engine.self->seen;

    raise_to(seen, place->index, store->stamp);
    if (acquires(order) && store->carried != NULL)
        view_join(seen, store->carried);
    if (order == ORDER_SEQ_CST)
        raise_to(seen, SEQ_CST, store->seq_cst);
}

// Puts a store behind another.
static struct store *insert(struct place *place, struct store *behind,
                            uint64_t value, const char *site)
{
    uint32_t stamp = behind->stamp + GAP;
    struct store *newer = place->newest;

    if (newer == behind) {
        newer = NULL;
    } else {
        while (newer->older != behind)
            newer = newer->older;
        stamp = behind->stamp + (newer->stamp - behind->stamp) / 2;
    }
    struct store *store = new_store(value, stamp, site);
    store->older = behind;
    if (newer == NULL)
        place->newest = store;
    else
        newer->older = store;
    return store;
}

// What a store tells those who acquire it.
static void carry(const struct place *place, struct store *store,
                  enum explore_order order, const struct view *sequence)
{
    struct thread *self = engine.self;

    raise_to(&self->seen, place->index, store->stamp);
    if (order == ORDER_SEQ_CST) {
        store->seq_cst = ++seq_cst_count;
        raise_to(&self->seen, SEQ_CST, store->seq_cst);
    }
    store->carried = sequence;
    if (releases(order)) {
        struct view *view = copy_view(&self->seen);
        if (sequence != NULL)
            view_join(view, sequence);
        store->carried = view;
        self->seen.at[self->number]++;
    }
}

// ---- Guarded places: explore_guard ----

enum { GUARDS_MAX = 4, PENDING_MAX = 16 };

struct guard {
    uintptr_t claim; // whoever changes this
    uintptr_t start; // has read these for good
    uintptr_t end;
};

// Loads of a thread that count once its claim has succeeded.
struct pending {
    uint32_t count;
    struct place *places[PENDING_MAX];
    uint32_t clocks[PENDING_MAX];
};

static struct guard guards[GUARDS_MAX];
static uint32_t guard_count;
static struct pending pendings[THREADS_MAX];

static void begin_guards(void)
{
    guard_count = 0;
    memset(pendings, 0, sizeof pendings);
}

void explore_guard(const volatile void *claim, const volatile void *start,
                   size_t bytes)
{
    if (guard_count == GUARDS_MAX)
        explore_fail("too many guards");
    guards[guard_count++] = (struct guard){(uintptr_t)claim, (uintptr_t)start,
                                           (uintptr_t)start + bytes};
}

static const struct guard *guard_of(const struct place *place)
{
    for (uint32_t i = 0; i < guard_count; i++)
        if (place->at >= guards[i].start && place->at < guards[i].end)
            return &guards[i];
    return NULL;
}

static void note_guarded_load(struct place *place)
{
    struct thread *self = engine.self;
    struct pending *pending = &pendings[self->number];

    if (guard_of(place) == NULL || pending->count == PENDING_MAX)
        return;
    pending->places[pending->count] = place;
    pending->clocks[pending->count++] = self->seen.at[self->number];
}

// A claim has been tried.
static void note_claim(const struct place *place, bool won)
{
    uint32_t self = engine.self->number;
    struct pending *pending = &pendings[self];

    for (uint32_t i = 0; won && i < pending->count; i++) {
        struct place *read = pending->places[i];
        if (guard_of(read)->claim == place->at)
            read->read_at[self] = pending->clocks[i];
    }
    pending->count = 0;
}

static void judge_guarded_store(const struct place *place)
{
    if (guard_of(place) == NULL)
        return;
    for (uint32_t i = 0; i < engine.count; i++)
        if (place->read_at[i] > engine.self->seen.at[i])
            explore_fail("a slot is used again, not ordered after its reader");
}

// ---- Accesses ----

static const char *order_name(enum explore_order order)
{
    static const char *names[] = {"relaxed", "acquire", "release", "acq_rel",
                                  "seq_cst"};
    return names[order];
}

static const char *staleness(const struct place *place,
                             const struct store *store)
{
    return store == place->newest ? "" : "  STALE";
}

uint64_t explore_load(const volatile void *at, size_t size,
                      enum explore_order order, const char *site)
{
    if (!engine.active)
        return read_plain(at, size);
    struct place *place = approach(at, size, false, site);
    struct store *store =
        choose_store(place, (struct want){order, false, NULL});
    observe(place, store, order);
    note_guarded_load(place);
    engine_trace(site, "load_%s: %llx%s", order_name(order),
                 (unsigned long long)store->value, staleness(place, store));
    return store->value;
}

static uint64_t cut(uint64_t value, size_t size)
{
    return size == 8 ? value : value & ((UINT64_C(1) << size * 8) - 1);
}

void explore_store(volatile void *at, size_t size, uint64_t value,
                   enum explore_order order, const char *site)
{
    value = cut(value, size);
    if (!engine.active) {
        write_plain(at, size, value);
        return;
    }
    struct place *place = approach(at, size, true, site);
    struct store *behind =
        choose_store(place, (struct want){order, true, NULL});
    engine_trace(site, "store_%s: %llx%s", order_name(order),
                 (unsigned long long)value, staleness(place, behind));
    struct store *store = insert(place, behind, value, site);
    judge_guarded_store(place);
    carry(place, store, order, NULL);
    write_plain(at, size, place->newest->value);
}

// A read-modify-write of a store that has been read.
static void replace(struct place *place, struct store *read, uint64_t value,
                    enum explore_order order, const char *site)
{
    struct store *store = insert(place, read, value, site);

    read->followed = true;
    observe(place, read, order);
    carry(place, store, order, read->carried);
}

static uint64_t changed(uint64_t before, enum explore_change change,
                        uint64_t value)
{
    switch (change) {
    case CHANGE_ADD:
        return before + value;
    case CHANGE_SUB:
        return before - value;
    case CHANGE_OR:
        return before | value;
    case CHANGE_XCHG:
        break;
    }
    return value;
}

uint64_t explore_change(volatile void *at, size_t size,
                        enum explore_change change, uint64_t value,
                        enum explore_order order, const char *site)
{
    static const char *names[] = {"xchg", "add", "sub", "or"};
    uint64_t before;

    if (!engine.active) {
        before = read_plain(at, size);
        write_plain(at, size, cut(changed(before, change, value), size));
        return before;
    }
    struct place *place = approach(at, size, true, site);
    struct store *read = choose_store(place, (struct want){order, true, NULL});
    before = read->value;
    value = cut(changed(before, change, value), size);
    engine_trace(site, "%s_%s: %llx -> %llx%s", names[change],
                 order_name(order), (unsigned long long)before,
                 (unsigned long long)value, staleness(place, read));
    replace(place, read, value, order, site);
    write_plain(at, size, place->newest->value);
    return before;
}

static enum explore_order order_of_failure(enum explore_order order)
{
    if (order == ORDER_SEQ_CST)
        return ORDER_SEQ_CST;
    return order == ORDER_ACQ_REL ? ORDER_ACQUIRE : ORDER_RELAXED;
}

static bool try_replace(struct place *place, uint64_t *expected, uint64_t value,
                        enum explore_order order, const char *site)
{
    struct want want = {order, false, expected};
    struct store *read = choose_store(place, want);

    if (read->value == *expected) {
        engine_trace(site, "cas_%s: %llx -> %llx%s", order_name(order),
                     (unsigned long long)*expected, (unsigned long long)value,
                     staleness(place, read));
        replace(place, read, value, order, site);
        return true;
    }
    engine_trace(site, "cas_%s: %llx, but finds %llx%s", order_name(order),
                 (unsigned long long)*expected, (unsigned long long)read->value,
                 staleness(place, read));
    observe(place, read, order_of_failure(order));
    *expected = read->value;
    return false;
}

bool explore_cas(volatile void *at, size_t size, uint64_t *expected,
                 uint64_t value, enum explore_order order, const char *site)
{
    if (!engine.active) {
        uint64_t found = read_plain(at, size);
        if (found == *expected)
            write_plain(at, size, cut(value, size));
        bool won = found == *expected;
        *expected = found;
        return won;
    }
    struct place *place = approach(at, size, true, site);
    bool won = try_replace(place, expected, cut(value, size), order, site);
    note_claim(place, won);
    write_plain(at, size, place->newest->value);
    return won;
}

uint64_t memory_newest(const volatile void *at, size_t size)
{
    struct place *place = find_place(at, size);

    take_plain(place, at, size);
    return place->newest->value;
}

// ---- The heavy barrier ----

void port_barrier_heavy(void)
{
    if (!engine.active)
        return;
    engine_point(true, "heavy barrier");
    if (engine.unfenced)
        return;
    struct view *all = &engine.self->seen;
    for (uint32_t i = 0; i < engine.count; i++)
        join_places(all, &engine.threads[i].seen);
    raise_to(all, SEQ_CST, ++seq_cst_count);
    for (uint32_t i = 0; i < engine.count; i++)
        join_places(&engine.threads[i].seen, all);
    engine_trace("", "heavy barrier");
}
