// engine.c -- Who runs: threads as fibers of one, choices, and the search.
//
// An execution is determined by its choices. The search runs one execution
// after the other, each time with the last choice that has an alternative left
// taken otherwise, until none has: so no two executions are alike, and all
// within the bounds are run. What a thread does between two operations that
// matter to others is one step.
//
// Whether an atomic matters is learnt: as long as only one thread has touched
// it, or none has written it, an operation on it is no point to switch at. When
// that proves wrong, the search begins anew with what is known. In the end none
// was wrong, and to switch before such an operation would have been the same
// as to switch at the next point.
//
// A thread's thread-local variables are those of the program's, copied in and
// out at each switch.
#include "explore/engine.h"

#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "task/switch.h"

enum { STACK_BYTES = 256 << 10 };

struct engine engine;

static _Alignas(64) char stacks[THREADS_MAX][STACK_BYTES];
static jmp_buf judged; // where thread 0 leaves a failed execution

// ---- Failing ----

static _Noreturn void leave_execution(void)
{
    longjmp(judged, 1);
}

// The compiler names a file as it was told to.
static const char *from_root(const char *site)
{
    static const char *const folders[] = {"src/", "tests/"};

    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const char *at = strstr(site, folders[i]);
        if (at != NULL)
            return at;
    }
    return site;
}

_Noreturn void explore_fail(const char *what)
{
    struct result *result = engine.result;

    result->verdict = VERDICT_FAILED;
    what = from_root(what);
    snprintf(result->what, sizeof result->what, "%s", what);
    if (engine.tracing)
        printf("      FAILED in %s: %s\n", engine.self->name, what);
    if (engine.self->number == 0)
        leave_execution();
    void *lost;
    task_switch(&lost, engine.threads[0].sp);
    abort(); // nobody comes back
}

void engine_trace(const char *site, const char *format, ...)
{
    va_list args;
    char text[160];

    if (!engine.tracing || !engine.begun)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("%5u %-10s %-42s %s\n", engine.step, engine.self->name, text,
           from_root(site));
}

// ---- Choices ----

static uint32_t replayed(enum choice_kind kind, uint32_t count)
{
    for (uint32_t i = 0; i < engine.replay_length; i++) {
        const struct choice *choice = &engine.replay[i];
        if (choice->step == engine.step && choice->kind == kind)
            return choice->taken < count ? choice->taken : 0;
    }
    return 0;
}

uint32_t engine_choose(enum choice_kind kind, uint32_t count)
{
    struct result *result = engine.result;

    if (count < 2)
        return 0;
    if (engine.replay != NULL)
        return replayed(kind, count);
    if (engine.depth == CHOICES_MAX)
        explore_fail("too many choices in one execution");
    struct choice *choice = &result->path[engine.depth];
    if (engine.depth++ == result->length) {
        *choice =
            (struct choice){engine.step, (uint16_t)kind, 0, (uint16_t)count};
        result->length++;
    } else if (choice->count != count || choice->step != engine.step) {
        explore_fail("the scenario does not do the same each time");
    }
    return choice->taken;
}

// False: all have been tried.
static bool next_path(struct result *result)
{
    while (result->length > 0) {
        struct choice *last = &result->path[result->length - 1];
        if (++last->taken < last->count)
            return true;
        result->length--;
    }
    return false;
}

// ---- Thread-local variables ----

static char *locals; // the program's own, now the running thread's
static size_t locals_bytes;
static char locals_at_first[LOCALS_MAX];

static int find_locals(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size, (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS) {
            locals = info->dlpi_tls_data;
            locals_bytes = info->dlpi_phdr[i].p_memsz;
        }
    return 1; // the first is the program itself
}

static void begin_locals(void)
{
    if (locals == NULL) {
        dl_iterate_phdr(find_locals, NULL);
        if (locals_bytes > LOCALS_MAX)
            abort();
        memcpy(locals_at_first, locals, locals_bytes);
    }
    memcpy(locals, locals_at_first, locals_bytes);
}

bool engine_is_local(uintptr_t at)
{
    return at - (uintptr_t)locals < locals_bytes;
}

// ---- Threads ----

static void switch_to(struct thread *thread, bool fresh)
{
    struct thread *from = engine.self;

    engine.fresh = fresh;
    if (thread == from)
        return;
    memcpy(from->locals, locals, locals_bytes);
    memcpy(locals, thread->locals, locals_bytes);
    engine.self = thread;
    task_switch(&from->sp, thread->sp);
    if (engine.result->verdict == VERDICT_FAILED) // only thread 0 is woken so
        leave_execution();
}

static bool may_time_out(const struct thread *thread)
{
    return thread->state == THREAD_SLEEPS && thread->deadline_ns != INT64_MAX &&
           !engine.untimed;
}

// Goes on in another thread; its sleep ends, if it was chosen in its sleep.
static void resume(struct thread *thread)
{
    if (thread->state != THREAD_SLEEPS) {
        switch_to(thread, true);
        return;
    }
    thread->state = THREAD_READY;
    thread->timed_out = true;
    if (engine.now_ns < thread->deadline_ns)
        engine.now_ns = thread->deadline_ns;
    if (engine.tracing)
        printf("      (%s: its time is up)\n", thread->name);
    switch_to(thread, false); // that its time is up matters to others
}

// All that may go on, in order; `early`: time-outs too. Not the caller.
static uint32_t list_others(struct thread **ret_others, bool early)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < engine.count; i++) {
        struct thread *thread = &engine.threads[i];
        if (thread != engine.self && thread->state == THREAD_READY)
            ret_others[count++] = thread;
    }
    for (uint32_t i = 0; early && i < engine.count; i++) {
        struct thread *thread = &engine.threads[i];
        if (thread != engine.self && may_time_out(thread))
            ret_others[count++] = thread;
    }
    return count;
}

static void end_pauses(void)
{
    for (uint32_t i = 0; i < engine.count; i++) {
        struct thread *thread = &engine.threads[i];
        if (thread != engine.self && thread->state == THREAD_PAUSES) {
            thread->state = THREAD_READY;
            engine.pausing--;
        }
    }
}

void engine_point(bool matters, const char *site)
{
    struct thread *others[THREADS_MAX];

    engine.step++;
    engine.self->site = site;
    if (engine.step > STEPS_MAX)
        explore_fail("it goes on for ever");
    if (!engine.running || !(matters || engine.replay != NULL))
        return;
    // To switch twice in a row would be to switch at once to the second.
    if (engine.left.preemptions > 0 && !engine.fresh) {
        uint32_t count = list_others(others, true);
        uint32_t choice = engine_choose(CHOICE_SWITCH, count + 1);
        if (choice > 0) {
            engine.left.preemptions--;
            resume(others[choice - 1]);
        }
    }
    engine.fresh = false;
    if (engine.pausing > 0)
        end_pauses();
}

static bool all_ended(void)
{
    for (uint32_t i = 1; i < engine.count; i++)
        if (engine.threads[i].state != THREAD_DONE &&
            !engine.threads[i].is_daemon)
            return false;
    return true;
}

static void describe_block(void)
{
    char text[400];
    int at = snprintf(text, sizeof text, "nobody can go on:");

    for (uint32_t i = 1; i < engine.count; i++) {
        const struct thread *thread = &engine.threads[i];
        if (thread->state != THREAD_DONE && at < (int)sizeof text)
            at += snprintf(text + at, sizeof text - (size_t)at, " %s (%s)",
                           thread->name, thread->site);
    }
    explore_fail(text);
}

// Everyone pauses or sleeps: pauses are over. True: the caller may go on.
static bool all_pause(struct thread *self)
{
    end_pauses();
    if (self->state != THREAD_PAUSES)
        return false;
    self->state = THREAD_READY;
    engine.pausing--;
    return true;
}

// Where nobody is ready, time passes: the earliest time-out comes first.
static void put_earliest_first(struct thread **threads, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (threads[i]->deadline_ns < threads[0]->deadline_ns) {
            struct thread *earlier = threads[i];
            threads[i] = threads[0];
            threads[0] = earlier;
        }
}

// Those of whom one goes on when the caller cannot: first *ret_free of them who
// need not be early.
static uint32_t list_next(struct thread **ret_others, uint32_t *ret_free)
{
    struct thread *self = engine.self;
    uint32_t ready = list_others(ret_others, false);
    uint32_t count = list_others(ret_others, true);

    if (may_time_out(self))
        ret_others[count++] = self;
    if (ready == 0 && count > 0)
        put_earliest_first(ret_others, count);
    *ret_free = ready > 0 ? ready : count > 0;
    return engine.left.preemptions > 0 ? count : *ret_free;
}

static bool some_are_ready(void)
{
    struct thread *others[THREADS_MAX];

    return list_others(others, false) > 0;
}

// The caller cannot go on: another does. Returns once the caller may.
static void yield(void)
{
    struct thread *others[THREADS_MAX];
    uint32_t free;

    if (!some_are_ready() && engine.pausing > 0) {
        bool goes_on = all_pause(engine.self);
        if (goes_on && list_next(others, &free) == 0)
            return;
    }
    if (!some_are_ready() && all_ended()) {
        engine.threads[0].state = THREAD_READY;
        switch_to(&engine.threads[0], true);
        return;
    }
    uint32_t count = list_next(others, &free);
    if (count == 0)
        describe_block();
    uint32_t choice = engine_choose(CHOICE_YIELD, count);
    if (choice >= free)
        engine.left.preemptions--;
    resume(others[choice]);
}

void port_pause(void)
{
    engine_point(false, "pause");
    if (!engine.running)
        return;
    engine_trace("", "pauses");
    engine.self->state = THREAD_PAUSES;
    engine.pausing++;
    yield();
}

bool engine_sleep(const volatile void *word, int64_t deadline_ns)
{
    struct thread *self = engine.self;

    if (!engine.running)
        explore_fail("it sleeps while nobody else runs");
    self->state = THREAD_SLEEPS;
    self->word = word;
    self->deadline_ns = deadline_ns;
    self->asleep_since = engine.sleeps++;
    self->timed_out = false;
    yield();
    return !self->timed_out;
}

static struct thread *first_sleeper(const volatile void *word)
{
    struct thread *first = NULL;

    for (uint32_t i = 0; i < engine.count; i++) {
        struct thread *thread = &engine.threads[i];
        if (thread->state == THREAD_SLEEPS && thread->word == word &&
            (first == NULL || thread->asleep_since < first->asleep_since))
            first = thread;
    }
    return first;
}

void engine_wake(const volatile void *word, uint32_t count)
{
    struct thread *thread;

    while (count-- > 0 && (thread = first_sleeper(word)) != NULL) {
        thread->state = THREAD_READY;
        engine_trace("", "  wakes %s", thread->name);
    }
}

void engine_join(struct thread *thread)
{
    engine_point(true, "join");
    if (thread->state != THREAD_DONE) {
        engine.self->state = THREAD_JOINS;
        engine.self->joined = thread;
        yield();
    }
    view_join(&engine.self->seen, &thread->seen);
}

static void body(void *arg)
{
    struct thread *self = arg;

    (void)self->fn(self->arg);
    engine_point(false, "end");
    engine_trace("", "ends");
    self->state = THREAD_DONE;
    for (uint32_t i = 0; i < engine.count; i++) {
        struct thread *thread = &engine.threads[i];
        if (thread->state == THREAD_JOINS && thread->joined == self)
            thread->state = THREAD_READY;
    }
    end_pauses();
    yield();
    abort(); // nobody comes back
}

struct thread *engine_add_thread(const char *name, bool is_daemon,
                                 void *(*fn)(void *), void *arg)
{
    if (engine.count == THREADS_MAX)
        explore_fail("too many threads");
    uint32_t number = engine.count++;
    struct thread *thread = &engine.threads[number];

    *thread = (struct thread){
        .number = number,
        .is_daemon = is_daemon,
        .fn = fn,
        .arg = arg,
        .site = "its beginning",
    };
    snprintf(thread->name, sizeof thread->name, "%s", name);
    memcpy(thread->locals, locals_at_first, locals_bytes);
    view_join(&thread->seen, &engine.self->seen);
    thread->seen.at[number] = 1;
    engine.self->seen.at[engine.self->number]++;
    thread->sp = switch_prepare(stacks[number] + STACK_BYTES, body, thread);
    return thread;
}

// ---- Scenarios' side ----

struct plain_start {
    void (*fn)(void *);
    void *arg;
};

static void *run_plain(void *arg)
{
    struct plain_start *start = arg;

    start->fn(start->arg);
    return NULL;
}

static void start(const char *name, bool is_daemon, void (*fn)(void *),
                  void *arg)
{
    static struct plain_start starts[THREADS_MAX];
    struct plain_start *start = &starts[engine.count % THREADS_MAX];

    *start = (struct plain_start){fn, arg};
    (void)engine_add_thread(name, is_daemon, run_plain, start);
}

void explore_start(const char *name, void (*fn)(void *), void *arg)
{
    start(name, false, fn, arg);
}

void explore_start_daemon(const char *name, void (*fn)(void *), void *arg)
{
    start(name, true, fn, arg);
}

void explore_join_all(void)
{
    engine.begun = engine.running = true;
    engine.self->state = THREAD_JOINS;
    engine.self->joined = NULL;
    yield();
    engine.running = false;
    for (uint32_t i = 1; i < engine.count; i++)
        view_join(&engine.self->seen, &engine.threads[i].seen);
}

void explore_outcome(uint32_t outcome)
{
    struct result *result = engine.result;

    for (uint32_t i = 0; i < result->outcome_count; i++)
        if (result->outcomes[i] == outcome)
            return;
    if (result->outcome_count == OUTCOMES_MAX)
        explore_fail("too many outcomes");
    result->outcomes[result->outcome_count++] = outcome;
}

void explore_set_step_ns(int64_t ns)
{
    engine.step_ns = ns;
}

void explore_forbid_timeouts(void)
{
    engine.untimed = true;
}

void explore_refuse_barriers(void)
{
    engine.unfenced = true;
}

// ---- The search ----

static void begin_execution(void)
{
    engine.threads[0] =
        (struct thread){.name = "main", .site = "its beginning"};
    engine.threads[0].seen.at[0] = 1;
    engine.self = &engine.threads[0];
    engine.count = 1;
    engine.step = engine.depth = engine.pausing = 0;
    engine.left = engine.bounds;
    engine.now_ns = 1000000000;
    engine.wall_ahead_ns = 0;
    engine.step_ns = 1000;
    engine.sleeps = 0;
    engine.untimed = engine.unfenced = false;
    begin_locals();
    memory_begin();
    races_begin();
    port_explore_begin();
}

static void run_execution(void)
{
    if (setjmp(judged) == 0) {
        begin_execution();
        engine.active = true;
        engine.scenario->run();
    }
    engine.active = engine.begun = engine.running = false;
}

// True: go on with the next execution.
static bool judge_execution(uint64_t limit)
{
    struct result *result = engine.result;

    if (engine.grown && result->verdict == VERDICT_NONE && !engine.tracing) {
        engine.grown = false;
        result->executions = result->steps = 0;
        result->length = result->outcome_count = 0;
        result->restarts++;
        return true;
    }
    result->executions++;
    result->steps += engine.step;
    if (result->most_steps < engine.step)
        result->most_steps = engine.step;
    if (result->verdict != VERDICT_NONE)
        return false;
    if (engine.replay != NULL || !next_path(result)) {
        result->verdict = VERDICT_EXHAUSTED;
        return false;
    }
    if (result->executions == limit)
        result->verdict = VERDICT_STOPPED;
    return result->verdict == VERDICT_NONE;
}

static const struct choice first_choice; // none is taken otherwise

void engine_explore(const struct scenario *scenario, struct bounds bounds,
                    uint64_t limit, struct result *result,
                    const struct choice *replay, uint32_t replay_length)
{
    engine.scenario = scenario;
    engine.bounds = bounds;
    engine.result = result;
    // The first execution may differ, by what is done once in a process.
    engine.replay_length = 0;
    engine.replay = &first_choice;
    run_execution();
    if (result->verdict != VERDICT_NONE)
        return;
    memset(result, 0, sizeof *result);
    engine.grown = false;
    engine.replay = replay;
    engine.replay_length = replay_length;
    engine.tracing = replay != NULL;
    do
        run_execution();
    while (judge_execution(limit));
}
