// races.c -- Plain accesses: whether each is ordered after those it meets.
//
// The library and the scenarios are compiled with the instrumentation of
// ThreadSanitizer, but linked with these functions in place of its own: every
// plain access calls one of them. Of each part of memory that was accessed as
// one it is known who wrote it last, and who has read it since, at which of
// their clocks; an access that does not have these in its view is a race. An
// atomic access counts as a read: others like it may meet it, but whoever makes
// the memory ready by plain stores, or gives it back, must be ordered.
#include <stdio.h>
#include <string.h>

#include "explore/engine.h"

enum {
    GRANULE = 8,
    BUCKETS = 1 << 14,
    PARTS_MAX = 1 << 15,
    WRAP = 1 << 12, // of memory given back: as much as is remembered
};

// The bytes of a granule that were accessed as one.
struct part {
    struct part *next;
    uintptr_t granule;
    uint8_t mask;
    uint8_t writer;
    bool given_back;
    uint32_t written; // the writer's clock; 0: never
    uint32_t read[THREADS_MAX];
    uintptr_t write_pc;
    uintptr_t read_pc;
};

struct bucket {
    uint32_t execution;
    struct part *parts;
};

static struct bucket buckets[BUCKETS];
static struct part parts[PARTS_MAX];
static uint32_t part_count;
static uint32_t execution;

static uintptr_t watched_start; // explore_watch_copies
static uintptr_t watched_end;
static bool torn[THREADS_MAX];

void races_begin(void)
{
    execution++;
    part_count = 0;
    watched_start = watched_end = 0;
    memset(torn, 0, sizeof torn);
}

static struct bucket *find_bucket(uintptr_t granule)
{
    uint64_t hash = granule * UINT64_C(0x9e3779b97f4a7c15);
    struct bucket *bucket = &buckets[hash >> 32 & (BUCKETS - 1)];

    if (bucket->execution != execution)
        *bucket = (struct bucket){execution, NULL};
    return bucket;
}

static struct part *new_part(struct bucket *bucket, uintptr_t granule,
                             uint8_t mask)
{
    if (part_count == PARTS_MAX)
        explore_fail("too much plain memory in one execution");
    struct part *part = &parts[part_count++];
    *part =
        (struct part){.next = bucket->parts, .granule = granule, .mask = mask};
    bucket->parts = part;
    return part;
}

// ---- Judging ----

static _Noreturn void fail(const char *what, const struct part *part,
                           uintptr_t other_pc, uint32_t other, uintptr_t pc)
{
    char text[300];

    snprintf(text, sizeof text,
             "%s at %#lx: by %s at pc %#lx, and by %s at pc %#lx", what,
             (unsigned long)(part->granule * GRANULE),
             engine.threads[other].name, (unsigned long)other_pc,
             engine.self->name, (unsigned long)pc);
    explore_fail(text);
}

static uint32_t known(uint32_t thread)
{
    return engine.self->seen.at[thread];
}

static void judge(const struct part *part, bool writes, uintptr_t pc)
{
    if (part->given_back)
        fail("use of memory that was freed", part, part->write_pc, part->writer,
             pc);
    if (part->written > known(part->writer))
        fail("data race", part, part->write_pc, part->writer, pc);
    for (uint32_t i = 0; writes && i < engine.count; i++)
        if (part->read[i] > known(i))
            fail("data race", part, part->read_pc, i, pc);
}

static void note(struct part *part, bool writes, uintptr_t pc)
{
    uint32_t self = engine.self->number;

    if (writes) {
        part->writer = (uint8_t)self;
        part->written = known(self);
        part->write_pc = pc;
    } else {
        part->read[self] = known(self);
        part->read_pc = pc;
    }
}

static void access_granule(uintptr_t granule, uint8_t mask, bool writes,
                           uintptr_t pc)
{
    struct bucket *bucket = find_bucket(granule);
    struct part *own = NULL;

    for (struct part *part = bucket->parts; part != NULL; part = part->next) {
        if (part->granule != granule || !(part->mask & mask))
            continue;
        judge(part, writes, pc);
        if (part->mask == mask)
            own = part;
    }
    if (own == NULL)
        own = new_part(bucket, granule, mask);
    note(own, writes, pc);
}

static void access_range(uintptr_t at, size_t size, bool writes, uintptr_t pc)
{
    while (size > 0) {
        size_t offset = at % GRANULE;
        size_t part = GRANULE - offset < size ? GRANULE - offset : size;
        uint8_t mask = (uint8_t)(((1u << part) - 1) << offset);
        access_granule(at / GRANULE, mask, writes, pc);
        at += part;
        size -= part;
    }
}

// The place where the instrumented code is; `call` is its address of return.
static void access(const void *at, size_t size, bool writes, void *call)
{
    if (engine.running && !engine_is_local((uintptr_t)at))
        access_range((uintptr_t)at, size, writes, (uintptr_t)call - 1);
}

void races_atomic(uintptr_t at, size_t size, const void *call)
{
    access_range(at, size, false, (uintptr_t)call - 1);
}

void races_free(uintptr_t at, size_t size)
{
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);

    if (!engine.running)
        return;
    if (size > WRAP)
        size = WRAP;
    access_range(at, size, true, pc);
    for (uintptr_t granule = at / GRANULE; granule * GRANULE < at + size;
         granule++) {
        struct bucket *bucket = find_bucket(granule);
        struct part *part = new_part(bucket, granule, 0xff);
        note(part, true, pc);
        part->given_back = true;
    }
}

// ---- Copies that are not checked ----

void explore_watch_copies(const void *start, size_t bytes)
{
    watched_start = (uintptr_t)start;
    watched_end = watched_start + bytes;
}

bool explore_torn(void)
{
    return torn[engine.self->number];
}

void explore_copied(const void *from, size_t bytes);
void explore_copied(const void *from, size_t bytes)
{
    uintptr_t at = (uintptr_t)from;
    uintptr_t end = at + bytes;

    if (at < watched_start)
        at = watched_start;
    if (end > watched_end)
        end = watched_end;
    for (; engine.running && at < end; at = at / GRANULE * GRANULE + GRANULE) {
        const struct part *part = find_bucket(at / GRANULE)->parts;
        for (; part != NULL; part = part->next)
            torn[engine.self->number] |= part->granule == at / GRANULE &&
                                         part->written > known(part->writer);
    }
}

// ---- What the compiler calls, and what the watched files copy with ----

void *explore_memcpy(void *to, const void *from, size_t size);
void *explore_memcpy(void *to, const void *from, size_t size)
{
    access(from, size, false, __builtin_return_address(0));
    access(to, size, true, __builtin_return_address(0));
    return memcpy(to, from, size);
}

void *explore_memset(void *to, int value, size_t size);
void *explore_memset(void *to, int value, size_t size)
{
    access(to, size, true, __builtin_return_address(0));
    return memset(to, value, size);
}

#define ACCESS_OF(bytes)                                                       \
    void __tsan_read##bytes(void *at);                                         \
    void __tsan_read##bytes(void *at)                                          \
    {                                                                          \
        access(at, bytes, false, __builtin_return_address(0));                 \
    }                                                                          \
    void __tsan_write##bytes(void *at);                                        \
    void __tsan_write##bytes(void *at)                                         \
    {                                                                          \
        access(at, bytes, true, __builtin_return_address(0));                  \
    }                                                                          \
    void __tsan_unaligned_read##bytes(void *at);                               \
    void __tsan_unaligned_read##bytes(void *at)                                \
    {                                                                          \
        access(at, bytes, false, __builtin_return_address(0));                 \
    }                                                                          \
    void __tsan_unaligned_write##bytes(void *at);                              \
    void __tsan_unaligned_write##bytes(void *at)                               \
    {                                                                          \
        access(at, bytes, true, __builtin_return_address(0));                  \
    }

ACCESS_OF(1)
ACCESS_OF(2)
ACCESS_OF(4)
ACCESS_OF(8)
ACCESS_OF(16)

void __tsan_read_range(void *at, size_t size);
void __tsan_read_range(void *at, size_t size)
{
    access(at, size, false, __builtin_return_address(0));
}

void __tsan_write_range(void *at, size_t size);
void __tsan_write_range(void *at, size_t size)
{
    access(at, size, true, __builtin_return_address(0));
}

void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc)
{
    (void)pc;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

void __tsan_init(void);
void __tsan_init(void)
{
}
