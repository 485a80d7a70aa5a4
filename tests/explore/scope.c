// scope.c -- Scenarios of scopes: cancels and their levels, places, the next
// child to end.
//
// The owner is a task on the scheduler's own workers; what comes from outside
// comes from threads, at any moment.
#include <errno.h>

#include "explore/scheduler.h"
#include "sync/scope.h"

static weft_scope outer;
static weft_event never; // nobody sets it
static weft_event event;
static atomic_u32 opened; // the outer scope, for a thread
static weft_task owner;
static int ended;   // children, by their own word, under the scope's lock
static int started; // by the owner
static int shown;   // before the event, read after

static void *be_child(void *arg)
{
    return arg;
}

static void open_outer(const weft_scope_options *options)
{
    explore_expect(weft_scope_enter_with(&outer, options, WEFT_NEVER) == 0);
    store_release(&opened, 1);
}

static void cancel_outer(void *arg)
{
    (void)arg;
    while (load_acquire(&opened) == 0)
        port_pause();
    explore_expect(weft_scope_cancel(&outer) == 0);
}

static void cancel_owner(void *arg)
{
    (void)arg;
    explore_expect(weft_task_cancel(owner) == 0);
}

static void set_event(void *arg)
{
    (void)arg;
    shown = 1;
    explore_expect(weft_event_set(&event) == 0);
}

static void begin(uint32_t workers, weft_task_fn *fn)
{
    scheduler_begin(workers);
    explore_expect(weft_event_init(&never, "never") == 0);
    explore_expect(weft_event_init(&event, "event") == 0);
    store_relaxed(&opened, 0);
    ended = started = shown = 0;
    owner = scheduler_spawn(fn, NULL);
}

static void end(void)
{
    explore_join_all();
    explore_expect(weft_task_join(owner, 0, NULL) == 0);
    explore_expect(weft_event_deinit(&event) == 0);
    explore_expect(weft_event_deinit(&never) == 0);
    scheduler_end();
}

// ---- Cancels. ----

// Ends by that alone: if it is lost, nobody goes on.
static void expect_canceled(void)
{
    explore_expect(weft_event_wait(&never, WEFT_NEVER) == -ECANCELED);
}

static void *wait_for_ever(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)weft_event_wait(&never, WEFT_NEVER);
}

static void *wait_inside(void *arg)
{
    void *result = NULL;
    weft_task_options options = {.size = sizeof options, .ret_result = &result};

    open_outer(NULL);
    int error = weft_scope_spawn(&outer, &options, wait_for_ever, arg, NULL);
    explore_expect(error == 0 || error == -ECANCELED);
    expect_canceled();
    explore_expect(weft_scope_leave(&outer) == -ECANCELED);
    // It was told: if it was started at all.
    explore_expect(error != 0 || weft_result_error(result) == -ECANCELED);
    return arg;
}

static void scope_cancel(void)
{
    begin(1, wait_inside);
    explore_start("canceller", cancel_outer, NULL);
    end();
}

// The scope around one that is canceled and left is canceled at that moment.
static void *leave_canceled(void *arg)
{
    weft_scope inner;

    open_outer(NULL);
    explore_expect(weft_scope_enter(&inner, WEFT_NEVER) == 0);
    explore_expect(weft_scope_cancel(&inner) == 0);
    explore_expect(weft_scope_leave(&inner) == -ECANCELED);
    expect_canceled();
    explore_expect(weft_scope_leave(&outer) == -ECANCELED);
    explore_expect(weft_event_wait(&never, 0) == -ETIMEDOUT);
    return arg;
}

static void scope_level(void)
{
    begin(1, leave_canceled);
    explore_start("canceller", cancel_outer, NULL);
    end();
}

// What is behind a shield is not ended, and what comes after is.
static void *wait_shielded(void *arg)
{
    weft_scope_options options = {.size = sizeof options, .shield = true};
    weft_scope shield;

    open_outer(NULL);
    explore_expect(weft_scope_enter_with(&shield, &options, WEFT_NEVER) == 0);
    explore_expect(weft_event_wait(&event, WEFT_NEVER) == 0);
    explore_expect(shown == 1);
    explore_expect(weft_scope_leave(&shield) == 0);
    expect_canceled();
    explore_expect(weft_scope_leave(&outer) == -ECANCELED);
    return arg;
}

static void scope_shield(void)
{
    begin(1, wait_shielded);
    explore_start("canceller", cancel_outer, NULL);
    explore_start("setter", set_event, NULL);
    end();
}

// ---- Places. ----

static void *start_two(void *arg)
{
    weft_scope_options options = {.size = sizeof options, .limit = 1};
    void *results[2] = {NULL, NULL};
    int error = 0;

    open_outer(&options);
    for (int i = 0; i < 2 && error == 0; i++) {
        weft_task_options of_task = {.size = sizeof of_task,
                                     .ret_result = &results[i]};
        error = weft_scope_spawn(&outer, &of_task, be_child, &results[i], NULL);
        started += error == 0;
    }
    explore_expect(error == 0 || error == -ECANCELED);
    error = weft_scope_leave(&outer);
    explore_expect(error == 0 || error == -ECANCELED);
    for (int i = 0; i < 2; i++) {
        ended += results[i] != NULL;
        explore_expect(results[i] == NULL || results[i] == &results[i]);
    }
    explore_expect(started == ended);
    const struct scope *s = (const void *)&outer;
    explore_expect(s->running == 0);
    return arg;
}

static void scope_place(void)
{
    begin(1, start_two);
    explore_start("canceller", cancel_owner, NULL);
    end();
}

static void scope_places(void)
{
    begin(2, start_two);
    end();
}

// ---- The next to end. ----

static void open_keeping(void)
{
    weft_scope_options options = {.size = sizeof options, .keep = true};

    open_outer(&options);
}

static void expect_child(int error, const weft_scope_child *child)
{
    explore_expect(error == 0 && child->result == &outer);
}

static void *take_one(void *arg)
{
    weft_scope_child child = {.result = NULL};

    open_keeping();
    explore_expect(weft_scope_spawn(&outer, NULL, be_child, &outer, NULL) == 0);
    int error = weft_scope_next(&outer, WEFT_NEVER, &child);
    if (error != -ECANCELED) {
        expect_child(error, &child);
        explore_expect(weft_scope_next(&outer, 0, &child) == -ENOENT);
    }
    error = weft_scope_leave(&outer);
    explore_expect(error == 0 || error == -ECANCELED);
    return arg;
}

static void scope_next(void)
{
    begin(1, take_one);
    explore_start("canceller", cancel_owner, NULL);
    end();
}

// A child's slot is given back while its worker hands it over, and used again.
static _Atomic(struct task *) told;

static void be_begun(struct task_owner *tell, struct task *child)
{
    (void)tell, (void)child;
}

static void be_told(struct task_owner *tell, struct task *child)
{
    (void)tell;
    store_release(&told, child);
}

static void *note_run(void *arg)
{
    ended++;
    return arg;
}

static void reap_and_spawn(void *arg)
{
    struct task *child;

    while ((child = load_acquire(&told)) == NULL)
        port_pause();
    explore_expect(task_reap(child) == arg);
    explore_expect(weft_task_detach(scheduler_spawn(note_run, NULL)) == 0);
}

static void scope_reap(void)
{
    static struct task_owner tell = {be_begun, be_told};
    struct spawn how = {
        .owner = &tell, .deadline_ns = WEFT_NEVER, .kept = true};
    weft_task_options options = {.size = sizeof options, .runtime = &runtime};

    scheduler_begin(1);
    store_relaxed(&told, NULL);
    ended = 0;
    explore_expect(task_spawn(&options, be_child, &outer, &how, NULL) == 0);
    explore_start("owner", reap_and_spawn, &outer);
    explore_join_all();
    explore_expect(ended == 1);
    scheduler_end();
}

// Whichever comes first; the other is there all the same.
static void *take_either(void *arg)
{
    weft_scope_child child = {.result = NULL};
    weft_clause clauses[] = {
        weft_clause_next(&outer, &child),
        weft_clause_event(&event),
    };

    open_keeping();
    explore_expect(weft_scope_spawn(&outer, NULL, be_child, &outer, NULL) == 0);
    int chosen = weft_select(clauses, 2, WEFT_NEVER);
    explore_expect(chosen == 0 || chosen == 1);
    if (chosen == 1)
        expect_child(weft_scope_next(&outer, WEFT_NEVER, &child), &child);
    else
        expect_child(clauses[0].result, &child);
    explore_expect(weft_event_wait(&event, WEFT_NEVER) == 0);
    explore_expect(shown == 1);
    explore_expect(weft_scope_next(&outer, 0, &child) == -ENOENT);
    explore_expect(weft_scope_leave(&outer) == 0);
    return arg;
}

static void scope_clause(void)
{
    begin(1, take_either);
    explore_start("setter", set_event, NULL);
    end();
}

#define SCOPE(name, fn, preemptions, stale)                                    \
    {                                                                          \
        name, "scope", fn, {1, 0}, {preemptions, stale}, NULL, NULL            \
    }

const struct scenario scope_scenarios[] = {
    SCOPE("scope-cancel", scope_cancel, 3, 2),
    SCOPE("scope-level", scope_level, 3, 2),
    SCOPE("scope-shield", scope_shield, 2, 2),
    SCOPE("scope-place", scope_place, 3, 2),
    SCOPE("scope-places", scope_places, 2, 1),
    SCOPE("scope-next", scope_next, 3, 2),
    SCOPE("scope-reap", scope_reap, 3, 2),
    SCOPE("scope-clause", scope_clause, 3, 2),
    {0},
};
