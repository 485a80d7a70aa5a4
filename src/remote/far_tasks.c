// far_tasks.c -- The tasks of another process.
//
// While it stands the table is copied, and all of those tasks that run or are
// next to: their stacks would be gone. Those of parked ones are read when it
// runs on, in batches, by two threads; then the slots of the batch once more:
// whose state word has not moved has not run (task.h), so what was copied is as
// it was. Copying a million stacks takes ten times as long as the table.
//
// All memory that is written while it stands is committed before.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remote/far.h"

enum {
    COMMIT = 1 << 18, // slots whose memory is made ready by one thread
    BATCH = 512,      // slots; as many as one call of the system reads
    BYTES_AT_ONCE = 1 << 20,
    READY_MAX = 4096,  // tasks that may run next: how many are read at once
    HELP_FROM = 16384, // slots: fewer are read by one thread
    ROOM_MORE = 65536, // slots that may come between a look and the stop
};

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

// ---- Two threads ----

typedef void far_work(struct far_runtime *far, struct far_reader *reader);

struct helper {
    struct far_runtime *far;
    far_work *work;
};

static void *help(void *arg)
{
    struct helper *helper = arg;

    helper->work(helper->far, &helper->far->readers[1]);
    return NULL;
}

// Each takes stretches of slots until there are none left.
static void work_together(struct far_runtime *far, far_work *work)
{
    struct helper helper = {far, work};
    struct port_thread thread;

    store_relaxed(&far->next, 0); // the helper begins after it
    bool helped = far->readers[1].cache != NULL &&
                  port_thread_start(&thread, "weft-reader", help, &helper) == 0;
    work(far, &far->readers[0]);
    if (helped)
        port_thread_join(&thread);
}

// False: all have been taken.
static bool take_stretch(struct far_runtime *far, uint32_t length,
                         uint32_t *ret_first, uint32_t *ret_count)
{
    uint64_t first = (uint64_t)add_relaxed(&far->next, 1) * length;

    if (first >= far->picture.slots)
        return false;
    *ret_first = (uint32_t)first;
    *ret_count = least(far->picture.slots - (uint32_t)first, length);
    return true;
}

// ---- Room ----

static bool prepare_reader(struct far_reader *reader,
                           const struct modules *modules,
                           const struct space *space)
{
    reader->cache = cfi_cache_new_for(modules->code, modules->count, space);
    reader->bytes = calloc(1, BYTES_AT_ONCE);
    reader->spans = calloc(BATCH, sizeof *reader->spans);
    reader->span_of = calloc(BATCH, sizeof *reader->span_of);
    reader->far = calloc(BATCH, sizeof *reader->far);
    reader->again = calloc(BATCH, sizeof *reader->again);
    return reader->cache != NULL && reader->bytes != NULL &&
           reader->spans != NULL && reader->span_of != NULL &&
           reader->far != NULL && reader->again != NULL;
}

static void free_slots(struct far_runtime *far)
{
    if (far->slots != NULL)
        port_unreserve(far->slots, far->slot_room * sizeof *far->slots);
    store_free(far->picture.store);
    far->slots = NULL;
    far->picture.store = NULL;
}

static void commit_slots(struct far_runtime *far, struct far_reader *unused)
{
    uint32_t first, count;

    (void)unused;
    while (take_stretch(far, COMMIT, &first, &count)) {
        port_commit(far->slots + first, count * sizeof *far->slots);
        store_commit(far->picture.store, first, count);
    }
}

// Room for so many slots, and a store for what is found in them.
static int make_room(struct far_runtime *far, uint32_t used)
{
    uint32_t room = used + ROOM_MORE;

    free_slots(far);
    far->slot_room = room;
    far->slots =
        port_reserve(room * sizeof *far->slots, port_page_size(), false);
    far->picture.store = store_new(room, 1);
    if (far->slots == NULL || far->picture.store == NULL)
        return -ENOMEM;
    far->picture.slots = used;
    work_together(far, commit_slots);
    return 0;
}

static bool slots_init(struct far_list *list, uint32_t room)
{
    list->room = room;
    list->slots = calloc(room, sizeof *list->slots);
    return list->slots != NULL;
}

int far_tasks_prepare(struct far_runtime *far)
{
    far->places = calloc(READY_MAX, sizeof *far->places);
    if (far->places == NULL || !slots_init(&far->inside, CREW_MAX) ||
        !slots_init(&far->ready, READY_MAX))
        return -ENOMEM;
    size_t readers = load_relaxed(&far->runtime.table.used) < HELP_FROM
                         ? 1 // a copy's; and so it stays for this dump
                         : FAR_READERS;
    for (size_t i = 0; i < readers; i++)
        if (!prepare_reader(&far->readers[i], far->modules,
                            &far->target->space))
            return -ENOMEM;
    return make_room(far, load_relaxed(&far->runtime.table.used)); // a copy's
}

void far_tasks_free(struct far_runtime *far)
{
    free_slots(far);
    free(far->inside.slots);
    free(far->ready.slots);
    free(far->places);
    for (size_t i = 0; i < FAR_READERS; i++) {
        struct far_reader *reader = &far->readers[i];
        cfi_cache_free(reader->cache);
        free(reader->bytes);
        free(reader->spans);
        free(reader->span_of);
        free(reader->far);
        free(reader->again);
    }
}

// ---- The table ----

static bool is_inside(const struct task *slot)
{
    enum phase phase = STATE_PHASE(load_relaxed(&slot->state)); // a copy's

    return phase == PHASE_RUNNING || phase == PHASE_PARKING ||
           phase == PHASE_FIRED;
}

static bool is_task(const struct task *slot, uint32_t index)
{
    return STATE_PHASE(load_relaxed(&slot->state)) != PHASE_FREE && // a copy's
           slot->index == index;
}

static bool is_ready(const struct task *slot)
{
    enum phase phase = STATE_PHASE(load_relaxed(&slot->state)); // a copy's

    return phase == PHASE_READY || phase == PHASE_NEW;
}

static void note(struct far_list *list, uint32_t slot)
{
    uint32_t at = add_relaxed(&list->count, 1);

    if (at < list->room)
        list->slots[at] = slot;
}

static uint32_t noted(const struct far_list *list)
{
    return least(load_relaxed(&list->count), list->room); // both have ended
}

// What is looked up by value has to be one of the values.
static void tame(struct task *slot)
{
    if (slot->wait_kind > WAIT_LAST)
        slot->wait_kind = WEFT_WAIT_NONE;
    if (slot->stack_class > STACK_CLASS_MAX)
        slot->stack_class = 0;
}

static void copy_segment(struct far_runtime *far, uint32_t first,
                         uint32_t count)
{
    size_t bytes = count * sizeof *far->slots;

    size_t got =
        space_read(&far->target->space, far->segments[first / SEGMENT_SLOTS],
                   far->slots + first, bytes);
    uint32_t whole = (uint32_t)(got / sizeof *far->slots);

    if (whole < count) { // what lies behind was never touched: a count may lie
        memset((void *)(far->slots + first + whole), 0,
               got % sizeof *far->slots);
        (void)add_relaxed(&far->failed, count - whole);
    }
    for (uint32_t i = first; i < first + whole; i++)
        tame(&far->slots[i]);
    for (uint32_t i = first; i < first + count; i++) {
        if (!is_task(&far->slots[i], i))
            continue;
        if (is_inside(&far->slots[i]))
            note(&far->inside, i);
        else if (is_ready(&far->slots[i]))
            note(&far->ready, i);
    }
}

static void copy_segments(struct far_runtime *far, struct far_reader *unused)
{
    uint32_t first, count;

    (void)unused;
    while (take_stretch(far, SEGMENT_SLOTS, &first, &count))
        copy_segment(far, first, count);
}

// ---- Queues ----

// The index of the slot at an address, which may be NULL, or WEFT_NONE.
static uint32_t index_of(const struct far_runtime *far, const void *slot)
{
    uintptr_t address = (uintptr_t)slot;

    for (uint32_t first = 0; slot != NULL && first < far->picture.slots;
         first += SEGMENT_SLOTS) {
        uintptr_t away = address - far->segments[first / SEGMENT_SLOTS];
        uint32_t index = first + (uint32_t)(away / sizeof *far->slots);
        if (away < sizeof(struct segment) && away % sizeof *far->slots == 0)
            return index < far->picture.slots ? index : WEFT_NONE;
    }
    return WEFT_NONE;
}

static void add_place(struct far_runtime *far, uint32_t worker, uint32_t *place,
                      uint32_t slot)
{
    if (slot == WEFT_NONE || far->place_count == READY_MAX ||
        !is_task(&far->slots[slot], slot) || !is_ready(&far->slots[slot]))
        return;
    far->places[far->place_count++] =
        (struct far_place){slot, worker, (*place)++};
}

// In the order in which steal_all takes them.
static void add_places(struct far_runtime *far, uint32_t worker)
{
    const struct core *core = &far->cores[worker]; // copies, all
    uint64_t head = load_relaxed(&core->queue.head);
    uint64_t tail = load_relaxed(&core->queue.tail);
    uint32_t place = 0;

    add_place(far, worker, &place,
              index_of(far, load_relaxed(&far->workers[worker].hand)));
    add_place(far, worker, &place, index_of(far, load_relaxed(&core->next)));
    for (uint64_t at = head; at < tail && at - head < QUEUE_CAP; at++)
        add_place(
            far, worker, &place,
            index_of(far, load_relaxed(&core->queue.slots[at & QUEUE_MASK])));
}

// The first of the shared queue; their places are in their slots.
static void add_injected(struct far_runtime *far)
{
    const void *at = far->runtime.inject.list.head;
    uint32_t place = 0;

    for (uint32_t i = 0; i < READY_MAX && at != NULL; i++) {
        uint32_t slot = index_of(far, at);
        add_place(far, WEFT_NONE, &place, slot);
        at = slot == WEFT_NONE ? NULL : far->slots[slot].next;
    }
}

// ---- Stacks ----

struct batch {
    uint32_t slots[BATCH];
    uint32_t count;
};

// Has the stacks of those from `first` on copied, as many as there is room
// for; how many that was.
static uint32_t copy_stacks(struct far_runtime *far, struct far_reader *reader,
                            const struct batch *batch, uint32_t first)
{
    size_t used = 0;
    size_t spans = 0;
    uint32_t i = first;

    for (; i < batch->count && used + FAR_STACK_MAX <= BYTES_AT_ONCE; i++) {
        const struct task *slot = &far->slots[batch->slots[i]];
        struct span span = {.to = reader->bytes + used};
        reader->far[i] = (struct far_slot){.copy = slot, .bytes = span.to};
        reader->span_of[i] = WEFT_NONE;
        span.bytes = capture_far_span(slot, &span.address);
        if (span.bytes == 0)
            continue;
        reader->span_of[i] = (uint32_t)spans;
        reader->spans[spans++] = span;
        used += (span.bytes + 15) & ~(size_t)15;
    }
    far->target->space.read_many(&far->target->space, reader->spans, spans);
    for (uint32_t k = first; k < i; k++)
        if (reader->span_of[k] != WEFT_NONE)
            reader->far[k].size = reader->spans[reader->span_of[k]].bytes;
    return i - first;
}

// How many from one on lie beside each other in the table, up to `end`.
static uint32_t run_length(const struct batch *batch, uint32_t at, uint32_t end)
{
    uint32_t i = at + 1;

    while (i < end && batch->slots[i] == batch->slots[i - 1] + 1 &&
           batch->slots[i] % SEGMENT_SLOTS != 0)
        i++;
    return i - at;
}

// Copies the slots once more, for what their state words are by now; 0, which
// none is, where that cannot be read. Whole slots, for a piece that is copied
// costs the kernel as much as a thousand bytes of it.
static void read_again(struct far_runtime *far, struct far_reader *reader,
                       const struct batch *batch, uint32_t first,
                       uint32_t count)
{
    uint32_t end = first + count;
    size_t runs = 0;

    for (uint32_t at = first; at < end; runs++) {
        uint32_t length = run_length(batch, at, end);
        reader->spans[runs] = (struct span){
            .address = picture_slot(&far->picture, batch->slots[at]),
            .to = (void *)&reader->again[at],
            .bytes = length * sizeof *reader->again,
        };
        at += length;
    }
    for (uint32_t i = first; i < end; i++)
        store_relaxed(&reader->again[i].state, 0); // the reader's own
    far->target->space.read_many(&far->target->space, reader->spans, runs);
}

static bool is_same(const struct far_reader *reader, uint32_t i)
{
    return load_relaxed(&reader->again[i].state) == // copies, both
           load_relaxed(&reader->far[i].copy->state);
}

// Of a core that was made without the memory of stacks, as gdb does where it
// meets a guard page, zeros are left.
static bool is_empty(const struct far_slot *slot)
{
    static const struct switch_frame zeros;
    enum phase phase = STATE_PHASE(load_relaxed(&slot->copy->state)); // a copy

    return phase != PHASE_DONE && slot->size >= sizeof zeros &&
           memcmp(slot->bytes, &zeros, sizeof zeros) == 0;
}

// `same`: it has not run since.
static void take_slot(struct far_runtime *far, struct far_reader *reader,
                      const struct far_slot *slot, bool same)
{
    bool empty = same && is_empty(slot);
    enum far_result result =
        !same   ? FAR_MOVED
        : empty ? FAR_DAMAGED
                : capture_far(&far->picture, reader->cache, slot);

    if (result == FAR_TAKEN)
        return;
    (void)add_relaxed(&far->moved, result == FAR_MOVED);
    (void)add_relaxed(&far->empty, empty);
    capture_far_facts(&far->picture, slot->copy, far->target->frozen,
                      result == FAR_MOVED
                          ? "it ran on before its stack was read"
                      : empty ? "its stack is all zeros"
                              : "its stack cannot be read");
}

static void read_batch(struct far_runtime *far, struct far_reader *reader,
                       const struct batch *batch)
{
    uint32_t count;

    for (uint32_t first = 0; first < batch->count; first += count) {
        count = copy_stacks(far, reader, batch, first);
        if (!far->target->frozen)
            read_again(far, reader, batch, first, count);
        for (uint32_t i = first; i < first + count; i++)
            take_slot(far, reader, &reader->far[i],
                      far->target->frozen || is_same(reader, i));
    }
}

struct batching {
    struct far_runtime *far;
    struct far_reader *reader;
    struct batch batch;
};

static void flush(struct batching *b)
{
    read_batch(b->far, b->reader, &b->batch);
    b->batch.count = 0;
}

// Unless it has been captured.
static void batch_add(struct batching *b, uint32_t slot)
{
    const struct task *task = &b->far->slots[slot];

    if (is_task(task, slot) && !is_inside(task) &&
        store_record(b->far->picture.store, slot)->id == 0)
        b->batch.slots[b->batch.count++] = slot;
    if (b->batch.count == BATCH)
        flush(b);
}

// Those in queues first. Others are in the hands of whoever moves them.
static void read_ready(struct far_runtime *far)
{
    struct batching b = {.far = far, .reader = &far->readers[0]};

    for (uint32_t i = 0; i < far->place_count; i++)
        batch_add(&b, far->places[i].slot);
    flush(&b);
    for (uint32_t i = 0; i < noted(&far->ready); i++)
        batch_add(&b, far->ready.slots[i]);
    flush(&b);
}

static void read_stretches(struct far_runtime *far, struct far_reader *reader)
{
    struct batching b = {.far = far, .reader = reader};
    uint32_t first, count;

    while (take_stretch(far, BATCH, &first, &count)) {
        for (uint32_t i = first; i < first + count; i++)
            batch_add(&b, i);
        flush(&b);
    }
}

// ---- All of them ----

int far_tasks_copy(struct far_runtime *far)
{
    if (far->picture.slots > far->slot_room) {
        int error = make_room(far, far->picture.slots);
        if (error != 0)
            return error;
    }
    work_together(far, copy_segments);
    for (uint32_t i = 0; i < noted(&far->inside); i++)
        far_threads_add_running(far, far->inside.slots[i]);
    for (uint32_t i = 0; i < worker_count(&far->runtime); i++)
        add_places(far, i);
    add_injected(far);
    read_ready(far);
    return 0;
}

void far_tasks_read(struct far_runtime *far)
{
    work_together(far, read_stretches);
}
