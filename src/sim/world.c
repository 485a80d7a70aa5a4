// world.c -- Threads that take turns, virtual time, and chance.
//
// A thread runs until its grant of steps is used up, or it waits; then the next
// is drawn from those that may run. Each step takes 20 ns. If nobody may run,
// time moves to the next moment at which somebody may, or the network does
// something.
//
//   I1  Exactly one thread is `current`; the processor is on its stack, or on
//       one that it has changed to (a task's). All others are saved at `sp`.
//   I2  Whatever could differ between two runs of a seed is drawn here, from
//       sim->random; addresses and the system's clock decide nothing.
#include "sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "task/switch.h"

enum {
    STEP_NS = 20,
    GRANT_MAX = 20000,
    STACK_BYTES = 8 << 20,
    WAKING_NS = 50000,
    LATE_NS = 5000000,
    STALL_NS = 50000000,
};

static const int64_t BEGIN_NS = INT64_C(1000000000000);
static const int64_t WALL_NS = INT64_C(1700000000) * WEFT_SECOND;
static const int64_t QUIET_NS = 20 * WEFT_SECOND; // what findings take at most
static const int64_t DRAIN_NS = 30 * WEFT_SECOND;
static const int64_t REPORT_NS = 60 * WEFT_SECOND;

struct sim *sim;

__thread uint64_t port_steps_left __attribute__((tls_model("initial-exec")));

// What each thread has of its own. Filled before main begins.
static struct {
    void *(*address)(void);
    size_t size;
} variables[SIM_VARIABLES];
static size_t variable_count;

void port_variable(void *(*address)(void), size_t size)
{
    ensure(variable_count < SIM_VARIABLES);
    variables[variable_count].address = address;
    variables[variable_count++].size = size;
}

// ---- Chance ----

uint64_t sim_random(void)
{
    uint64_t z = sim->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t sim_below(uint64_t limit)
{
    return sim_random() % limit;
}

int64_t sim_span(int64_t least, int64_t most)
{
    uint64_t range = (uint64_t)(most - least) + 1;
    unsigned bits = 64 - (unsigned)__builtin_clzll(range);
    uint64_t most_now = UINT64_C(1) << sim_below(bits + 1);

    return least + (int64_t)sim_below(most_now < range ? most_now : range);
}

static void mix(uint64_t value)
{
    uint64_t *hash = &sim->result->hash;

    *hash = (*hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    *hash ^= *hash >> 29;
}

void sim_note(const char *what, uint64_t value)
{
    int64_t now_ns = sim_now() - BEGIN_NS;

    mix(value);
    mix((uint64_t)now_ns);
    if (sim->options.trace != NULL)
        fprintf(sim->options.trace, "%lld.%09lld %s#%u: %s %llu\n",
                (long long)(now_ns / WEFT_SECOND),
                (long long)(now_ns % WEFT_SECOND), sim->current->name,
                sim->current->number, what, (unsigned long long)value);
}

bool sim_fault(enum weft_sim_faults kind, uint64_t times, const char *what)
{
    if ((sim->options.faults & kind) == 0 || sim->phase == SIM_REPORTS ||
        sim_below(times) != 0)
        return false;
    sim->result->faults++;
    sim_note(what, times);
    return true;
}

// ---- Time ----

// Counts the steps that were made of the grant.
static void settle(void)
{
    uint64_t made = sim->granted - port_steps_left;

    sim->now_ns += (int64_t)made * STEP_NS;
    sim->result->steps += made;
    sim->granted = port_steps_left;
    sim->result->time_ns = sim->now_ns - BEGIN_NS;
}

int64_t sim_now(void)
{
    return sim->now_ns + (int64_t)(sim->granted - port_steps_left) * STEP_NS;
}

static void grant(void)
{
    bool short_ones = (sim->options.faults & WEFT_SIM_PREEMPT) != 0;

    sim->granted = short_ones ? 1 + sim_below(2 * sim->mean_grant) : GRANT_MAX;
    port_steps_left = sim->granted;
}

// ---- Switching ----

static void save_variables(struct sim_thread *thread)
{
    unsigned char *to = thread->own;

    for (size_t i = 0; i < variable_count; i++) {
        memcpy(to, variables[i].address(), variables[i].size);
        to += variables[i].size;
    }
    ensure(to <= thread->own + sizeof thread->own);
    thread->error = errno;
}

static void restore_variables(const struct sim_thread *thread)
{
    const unsigned char *from = thread->own;

    for (size_t i = 0; i < variable_count; i++) {
        memcpy(variables[i].address(), from, variables[i].size);
        from += variables[i].size;
    }
    errno = thread->error;
}

// On the stack of sim->current, which has just been entered.
static void arrive(void)
{
    fiber_enter(&sim->left->fiber, &sim->current->fiber);
    if (sim->left->state == SIM_ENDED && sim->left->detached)
        sim->left->state = SIM_UNUSED; // only now: its stack is left
}

// I1.
static void go_on_with(struct sim_thread *to)
{
    struct sim_thread *from = sim->current;

    if (to == from)
        return;
    save_variables(from);
    restore_variables(to);
    sim->left = from;
    sim->current = to;
    sim->result->switches++;
    fiber_keep(&from->fiber);
    fiber_leave(&from->fiber, &to->fiber, from->state == SIM_ENDED);
    task_switch(&from->sp, to->sp);
    arrive();
}

// ---- Who is next ----

static bool is_watchdog(const struct sim_thread *thread)
{
    return strcmp(thread->name, "weft-watchdog") == 0;
}

static bool may_run(struct sim_thread *thread)
{
    if (thread->state == SIM_WAITING && thread->until_ns <= sim->now_ns) {
        thread->state = SIM_READY; // with the outcome that waits for that
        thread->from_ns = sim->now_ns;
    }
    return thread->state == SIM_READY && thread->from_ns <= sim->now_ns;
}

static struct sim_thread *draw(void)
{
    static struct sim_thread *ready[SIM_THREADS];
    uint32_t count = 0;

    for (uint32_t i = 0; i < sim->used; i++)
        if (may_run(&sim->threads[i]))
            ready[count++] = &sim->threads[i];
    if (count == 0)
        return NULL;
    struct sim_thread *chosen = ready[count > 1 ? sim_below(count) : 0];
    if (!is_watchdog(chosen))
        sim->quiet_ns = WEFT_NEVER;
    return chosen;
}

// When a thread may run again by itself, or WEFT_NEVER.
static int64_t moment_of(const struct sim_thread *thread)
{
    if (thread->state == SIM_READY)
        return thread->from_ns;
    return thread->state == SIM_WAITING ? thread->until_ns : WEFT_NEVER;
}

// The next moment at which something will happen; whether it is more than the
// watchdogs' ticks.
static int64_t next_moment(bool *ret_matters)
{
    int64_t next_ns = net_next();

    *ret_matters = next_ns != WEFT_NEVER;
    for (uint32_t i = 0; i < sim->used; i++) {
        int64_t at_ns = moment_of(&sim->threads[i]);
        if (at_ns != WEFT_NEVER && !is_watchdog(&sim->threads[i]))
            *ret_matters = true;
        next_ns = at_ns < next_ns ? at_ns : next_ns;
    }
    return next_ns;
}

// Moves time on until somebody may run. What is wrong if nobody ever will.
static enum weft_sim_end move_on(void)
{
    bool matters;
    int64_t next_ns = next_moment(&matters);

    if (matters)
        sim->quiet_ns = WEFT_NEVER;
    else if (sim->quiet_ns == WEFT_NEVER)
        sim->quiet_ns = sim->now_ns;
    if (next_ns == WEFT_NEVER ||
        (!matters && next_ns - sim->quiet_ns > QUIET_NS))
        return WEFT_SIM_STUCK;
    if (next_ns > sim->limit_ns)
        return WEFT_SIM_LATE;
    sim->now_ns = next_ns > sim->now_ns ? next_ns : sim->now_ns;
    return WEFT_SIM_PASSED;
}

// Nothing more is to be had of the simulation. Its threads stay where they are.
static struct sim_thread *give_up(enum weft_sim_end end)
{
    if (sim->phase == SIM_DRAINS)
        end = WEFT_SIM_LEFT;
    if (sim->phase == SIM_REPORTS)
        return &sim->home;
    sim_note("gives up", end);
    sim->result->end = end;
    sim->result = &sim->beside; // the report is no part of what happened
    sim->phase = SIM_REPORTS;
    sim->limit_ns = sim->now_ns + REPORT_NS;
    sim->options.faults = WEFT_SIM_NO_FAULT;
    if (sim->options.quiet || sim_thread_start("report", sim->report, NULL,
                                               true, true, &sim->reporter) != 0)
        return &sim->home;
    return sim->reporter;
}

static struct sim_thread *choose(void)
{
    struct sim_thread *chosen;

    settle();
    if (sim->phase != SIM_REPORTS &&
        sim->result->steps > sim->options.step_limit)
        return give_up(WEFT_SIM_LATE);
    for (;;) {
        net_advance(sim->now_ns);
        chosen = draw();
        if (chosen != NULL)
            return chosen;
        enum weft_sim_end end = move_on();
        if (end != WEFT_SIM_PASSED)
            return give_up(end);
    }
}

// The calling thread has said what it waits for; or runs on, perhaps later.
static void reschedule(void)
{
    struct sim_thread *next = choose();

    if (next != sim->current)
        sim_note("goes on", next->number);
    grant();
    go_on_with(next);
}

void sim_yield(void)
{
    settle();
    if (sim_fault(WEFT_SIM_STALL, 24, "stall"))
        sim->current->from_ns =
            sim->now_ns + sim_span(WEFT_MICROSECOND, STALL_NS);
    else
        sim->current->from_ns = sim->now_ns;
    reschedule();
}

void sim_pause(void)
{
    settle();
    sim->now_ns += 5 * STEP_NS;
    sim->current->from_ns = sim->now_ns;
    reschedule();
}

void port_steps_end(void)
{
    if (sim != NULL)
        sim_yield();
}

// ---- Waiting ----

int sim_wait(const void *address, int64_t deadline_ns)
{
    struct sim_thread *self = sim->current;
    int64_t until_ns = deadline_ns;

    settle();
    if (deadline_ns <= sim->now_ns) {
        sim_yield();
        return -ETIMEDOUT;
    }
    self->outcome = -ETIMEDOUT;
    if (sim_fault(WEFT_SIM_SPURIOUS, 32, "wakes for nothing")) {
        until_ns = sim->now_ns + sim_span(1, WEFT_MILLISECOND);
        self->outcome = 0;
    } else if (deadline_ns < WEFT_NEVER - LATE_NS &&
               sim_fault(WEFT_SIM_SPURIOUS, 4, "late")) {
        until_ns += sim_span(0, LATE_NS);
    }
    self->state = SIM_WAITING;
    self->address = address;
    self->until_ns = until_ns;
    reschedule();
    return self->outcome;
}

static void wake(struct sim_thread *thread)
{
    bool at_once = (sim->options.faults & WEFT_SIM_PREEMPT) == 0;

    thread->state = SIM_READY;
    thread->outcome = 0;
    thread->from_ns = sim_now() + (at_once ? 0 : sim_span(0, WAKING_NS));
}

// Of several the one to be woken is drawn.
void sim_wake(const void *address, uint32_t count)
{
    uint32_t waiting = 0;

    for (uint32_t i = 0; i < sim->used; i++)
        waiting += sim->threads[i].state == SIM_WAITING &&
                   sim->threads[i].address == address;
    for (uint32_t i = 0; waiting > 0 && count > 0; i = (i + 1) % sim->used) {
        struct sim_thread *thread = &sim->threads[i];
        if (thread->state != SIM_WAITING || thread->address != address)
            continue;
        if (count < waiting && sim_below(waiting) >= count)
            continue;
        wake(thread);
        waiting--;
        count--;
    }
}

// ---- Threads ----

static bool lives(const struct sim_thread *thread)
{
    return thread->state == SIM_READY || thread->state == SIM_WAITING;
}

static bool all_have_ended(void)
{
    for (uint32_t i = 0; i < sim->used; i++)
        if (lives(&sim->threads[i]))
            return false;
    return true;
}

// What is left to do when a thread has ended, and by whom.
static struct sim_thread *after_end(struct sim_thread *ended)
{
    if (ended == sim->reporter)
        return &sim->home;
    if (ended->number == 0 && sim->phase == SIM_RUNS) {
        sim->phase = SIM_DRAINS;
        sim->limit_ns = sim->now_ns + DRAIN_NS;
    }
    return all_have_ended() ? &sim->home : choose();
}

static void thread_main(void *arg)
{
    struct sim_thread *self = arg;

    arrive();
    self->result = self->fn(self->arg);
    settle();
    sim_note("ends", self->number);
    self->state = SIM_ENDED;
    sim_wake(self, 1);
    struct sim_thread *next = after_end(self);
    grant();
    go_on_with(next);
    panic("a thread of a simulation went on after its end");
}

static struct sim_thread *take_thread(void)
{
    for (uint32_t i = 0; i < sim->used; i++)
        if (sim->threads[i].state == SIM_UNUSED)
            return &sim->threads[i];
    return sim->used < SIM_THREADS ? &sim->threads[sim->used++] : NULL;
}

static bool give_stack(struct sim_thread *thread)
{
    if (thread->stack != NULL)
        return true;
    thread->stack = port_reserve(STACK_BYTES, port_page_size(), false);
    if (thread->stack == NULL)
        return false;
    port_small_pages(thread->stack, STACK_BYTES);
    (void)port_guard(thread->stack, port_page_size());
    return true;
}

int sim_thread_start(const char *name, void *(*fn)(void *), void *arg,
                     bool by_weft, bool detached,
                     struct sim_thread **ret_thread)
{
    struct sim_thread *thread = take_thread();

    if (thread == NULL || !give_stack(thread))
        return -EAGAIN;
    char *stack = thread->stack;
    *thread = (struct sim_thread){
        .state = SIM_READY,
        .number = sim->numbers++,
        .fn = fn,
        .arg = arg,
        .by_weft = by_weft,
        .detached = detached,
        .from_ns = sim_now(),
        .stack = stack,
    };
    snprintf(thread->name, sizeof thread->name, "%s", name);
    fiber_init(&thread->fiber, stack, STACK_BYTES);
    thread->sp = switch_prepare(stack + STACK_BYTES, thread_main, thread);
    sim_note("starts", thread->number);
    *ret_thread = thread;
    return 0;
}

void *sim_thread_join(struct sim_thread *thread)
{
    while (thread->state != SIM_ENDED)
        (void)sim_wait(thread, WEFT_NEVER);
    thread->state = SIM_UNUSED;
    return thread->result;
}

void sim_thread_detach(struct sim_thread *thread)
{
    thread->detached = true;
    if (thread->state == SIM_ENDED)
        thread->state = SIM_UNUSED;
}

void sim_thread_stack(uintptr_t *ret_low, uintptr_t *ret_high)
{
    *ret_low = (uintptr_t)sim->current->stack;
    *ret_high = *ret_low + STACK_BYTES;
}

const void *sim_thread_saved(uint32_t number)
{
    for (uint32_t i = 0; i < sim->used; i++) {
        const struct sim_thread *thread = &sim->threads[i];
        if (thread->number == number && lives(thread))
            return thread == sim->current ? NULL : thread->sp;
    }
    return NULL;
}

bool sim_thread_waits(uint32_t number)
{
    for (uint32_t i = 0; i < sim->used; i++) {
        const struct sim_thread *thread = &sim->threads[i];
        if (thread->number == number && lives(thread))
            return thread->state == SIM_WAITING;
    }
    return false;
}

void sim_thread_count(uint32_t *ret_all, uint32_t *ret_by_weft)
{
    *ret_all = 0;
    *ret_by_weft = 0;
    for (uint32_t i = 0; i < sim->used; i++) {
        const struct sim_thread *thread = &sim->threads[i];
        bool lives = thread->state == SIM_READY || thread->state == SIM_WAITING;
        *ret_all += lives;
        *ret_by_weft += lives && thread->by_weft;
    }
}

// ---- Beginning and end ----

int sim_begin(uint64_t seed, const weft_sim_options *options,
              weft_sim_result *result)
{
    static const uint64_t means[] = {4, 16, 64, 256, 2048, GRANT_MAX / 2};

    sim = calloc(1, sizeof *sim);
    if (sim == NULL)
        return -ENOMEM;
    sim->options = *options;
    sim->result = result;
    sim->random = seed;
    sim->now_ns = BEGIN_NS;
    sim->wall_ns = WALL_NS;
    sim->limit_ns = BEGIN_NS + options->time_limit_ns;
    sim->quiet_ns = WEFT_NEVER;
    sim->home = (struct sim_thread){.state = SIM_WAITING, .name = "home"};
    sim->current = &sim->home;
    sim->mean_grant = means[sim_below(sizeof means / sizeof *means)];
    fiber_init_thread(&sim->home.fiber);
    net_begin();
    return 0;
}

struct beginning {
    weft_sim_fn *fn;
    void *arg;
    int status;
};

static void *first_main(void *arg)
{
    struct beginning *beginning = arg;

    beginning->status = beginning->fn(beginning->arg);
    sim->result->status = beginning->status;
    sim->result->end =
        beginning->status == 0 ? WEFT_SIM_PASSED : WEFT_SIM_FAILED;
    return NULL;
}

int sim_go(weft_sim_fn *fn, void *arg, void *(*report)(void *))
{
    struct beginning beginning = {.fn = fn, .arg = arg};
    struct sim_thread *first;

    sim->report = report;
    int error =
        sim_thread_start("main", first_main, &beginning, false, true, &first);
    if (error != 0)
        return error;
    grant();
    go_on_with(first);
    return 0;
}

void sim_end(void)
{
    settle();
    net_end();
    for (uint32_t i = 0; i < sim->used; i++)
        port_unreserve(sim->threads[i].stack, STACK_BYTES);
    free(sim);
    sim = NULL;
    port_steps_left = 0;
}
