// port.c -- The boundary's functions under the explorer: the system, virtual.
//
// Sleeping is the engine's; the clock moves by a step at each look, and to a
// deadline when a sleep's time is up. Memory comes from an arena that is empty
// again at each execution, and never used twice within one.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "explore/engine.h"

enum { ARENA_BYTES = 8 << 20, STACKS_BYTES = 64 << 20, PAGE = 4096 };

static _Alignas(PAGE) char arena[ARENA_BYTES];
static _Alignas(PAGE) char stack_arena[STACKS_BYTES]; // not zeroed
static size_t arena_used;
static size_t stacks_used;
static uint64_t randoms;

void port_explore_begin(void)
{
    arena_used = stacks_used = 0;
    randoms = 1;
}

// ---- Waiting ----

int port_futex_wait(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
    engine_point(true, "futex_wait");
    uint32_t found = (uint32_t)memory_newest(word, sizeof *word);
    if (found != expected) {
        engine_trace("", "futex_wait: finds %x", found);
        return -EAGAIN;
    }
    if (deadline_ns <= engine.now_ns) {
        engine_trace("", "futex_wait: too late");
        return -ETIMEDOUT;
    }
    engine_trace("", "futex_wait: sleeps on %x", found);
    bool woken = engine_sleep(word, deadline_ns);
    engine_trace("", "futex_wait: %s", woken ? "woken" : "timed out");
    return woken ? 0 : -ETIMEDOUT;
}

void port_futex_wake(atomic_u32 *word, uint32_t count)
{
    engine_point(true, "futex_wake");
    engine_trace("", "futex_wake of %u", count);
    engine_wake(word, count);
}

// ---- Time ----

bool port_has_counter = true;

static int64_t look_at_clock(void)
{
    engine.now_ns += engine.step_ns;
    return engine.now_ns;
}

int64_t port_now(void)
{
    return look_at_clock();
}

int64_t port_wall_now(void)
{
    return look_at_clock() + engine.wall_ahead_ns;
}

int64_t port_boot_now(void)
{
    return look_at_clock();
}

uint64_t port_ticks(void)
{
    return (uint64_t)look_at_clock();
}

int64_t port_ticks_to_ns(uint64_t ticks)
{
    return (int64_t)ticks;
}

// ---- Memory ----

static char *take(char *from, size_t room, size_t *used, size_t bytes,
                  size_t align)
{
    uintptr_t base = (uintptr_t)from;
    size_t start = ((base + *used + align - 1) & ~(align - 1)) - base;

    if (start > room || bytes > room - start)
        return NULL;
    *used = start + bytes;
    return from + start;
}

void *port_reserve(size_t bytes, size_t align, bool for_stacks)
{
    if (for_stacks)
        return take(stack_arena, STACKS_BYTES, &stacks_used, bytes, align);
    char *start = take(arena, ARENA_BYTES, &arena_used, bytes, 64);
    if (start != NULL)
        memset(start, 0, bytes);
    return start;
}

void port_unreserve(void *start, size_t bytes)
{
    (void)start, (void)bytes;
}

void port_inherit(void *start, size_t bytes, bool inherit)
{
    (void)start, (void)bytes, (void)inherit;
}

void port_commit(void *start, size_t bytes)
{
    (void)start, (void)bytes;
}

void port_small_pages(void *start, size_t bytes)
{
    (void)start, (void)bytes;
}

size_t port_read_memory(uintptr_t address, void *to, size_t bytes)
{
    memcpy(to, (const void *)address, bytes);
    return bytes;
}

int port_guard(void *start, size_t bytes)
{
    (void)start, (void)bytes;
    return 0;
}

size_t port_page_size(void)
{
    return PAGE;
}

// What the library allocates; the linker sends its calls here.
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
void __wrap_free(void *memory);

// Before each: its size.
void *__wrap_malloc(size_t bytes)
{
    char *start = take(arena, ARENA_BYTES, &arena_used, bytes + 64, 64);

    if (start == NULL)
        return NULL;
    memcpy(start, &bytes, sizeof bytes);
    return start + 64;
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    void *memory = __wrap_malloc(count * bytes);

    return memory == NULL ? NULL : memset(memory, 0, count * bytes);
}

void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
    return align > 64 ? NULL : __wrap_malloc(bytes);
}

void __wrap_free(void *memory)
{
    size_t bytes;

    if (memory == NULL)
        return;
    memcpy(&bytes, (char *)memory - 64, sizeof bytes);
    races_free((uintptr_t)memory, bytes);
}

// ---- Threads and the machine ----

int port_thread_start(struct port_thread *thread, const char *name,
                      void *(*fn)(void *), void *arg)
{
    engine_point(true, "thread_start");
    struct thread *started = engine_add_thread(name, false, fn, arg);
    if (thread != NULL)
        thread->handle = started->number;
    return 0;
}

void port_thread_join(struct port_thread *thread)
{
    engine_join(&engine.threads[thread->handle]);
}

void port_threads_forget(void)
{
}

int port_thread_id(void)
{
    return (int)engine.self->number + 100;
}

int64_t port_thread_cpu(int tid)
{
    (void)tid;
    return -1;
}

bool port_thread_sleeps(int tid)
{
    (void)tid;
    return true;
}

uint64_t port_random(void)
{
    return randoms++;
}

unsigned port_cpus(void)
{
    return 2;
}

int port_at_fork(void (*before)(void), void (*in_parent)(void),
                 void (*in_child)(void))
{
    (void)before, (void)in_parent, (void)in_child;
    return 0;
}

// ---- Event source: nothing but its waking ----

int port_poller_init(struct port_poller *poller)
{
    poller->wakeup = 0;
    poller->clock = -1;
    return 0;
}

void port_poller_deinit(struct port_poller *poller)
{
    (void)poller;
}

int port_poller_add(struct port_poller *poller, int fd, uint64_t token)
{
    (void)poller, (void)fd, (void)token;
    return -EPERM;
}

void port_poller_remove(struct port_poller *poller, int fd)
{
    (void)poller, (void)fd;
}

int port_poller_watch_clock(struct port_poller *poller)
{
    poller->clock = 0;
    return 0;
}

// As the system does it: the clock first, then those who watch it.
void explore_set_clock(struct port_poller *poller, int64_t ahead_ns)
{
    engine_point(true, "set_clock");
    engine_trace("", "set_clock");
    engine.wall_ahead_ns = ahead_ns;
    poller->clock = 1;
    engine_wake(poller, 1);
}

// The wake-up stays until it is seen, as an eventfd's.
int port_poller_wait(struct port_poller *poller, struct port_event *events,
                     int max, int64_t deadline_ns)
{
    (void)max;
    engine_point(true, "poller_wait");
    if (poller->wakeup == 0 && poller->clock != 1 &&
        deadline_ns > engine.now_ns) {
        engine_trace("", "poller_wait: sleeps");
        bool woken = engine_sleep(poller, deadline_ns);
        engine_trace("", "poller_wait: %s", woken ? "woken" : "timed out");
    }
    poller->wakeup = 0;
    if (poller->clock != 1)
        return 0;
    poller->clock = 0;
    events[0] = (struct port_event){PORT_CLOCK_TOKEN, PORT_READABLE};
    return 1;
}

void port_poller_wake(struct port_poller *poller)
{
    engine_point(true, "poller_wake");
    engine_trace("", "poller_wake");
    poller->wakeup = 1;
    engine_wake(poller, 1);
}
