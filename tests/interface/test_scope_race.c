// test_scope_race.c -- No child, no place and no result is lost.
//
// Families live at once: an owner and its children start further children in a
// scope with few places, give up, are canceled and fail at any moment, while
// the owner takes those that have ended. What was started ends before the scope
// is left, and every child is told of at most once, all of them if the owner
// waits for the last.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"

enum { FAMILIES = 4, CHILDREN_MAX = 64 };

struct family {
    weft_scope scope;
    uint32_t limit;
    atomic_int started; // spawns that have said so
    atomic_int ended;
    atomic_int running;
    atomic_int places; // next of `results`
    void *results[CHILDREN_MAX];
    atomic_int told[CHILDREN_MAX];
    uint64_t chance; // the owner's
};

struct member {
    struct family *family;
    uint64_t chance;
    int place;
    bool starts; // further ones
};

static int64_t some_time(uint64_t *chance)
{
    return weft_time_after(random_below(chance, 20000));
}

static void *live(void *arg);

// Starts a child, waiting for its place now and then in a scope of its own.
static int start(struct family *family, uint64_t *chance, bool starts)
{
    int place = atomic_fetch_add(&family->places, 1);
    struct member *member = malloc(sizeof *member);
    weft_scope hurry;
    bool hurries = random_below(chance, 4) == 0;

    if (place >= CHILDREN_MAX || member == NULL) {
        free(member);
        return -ENOMEM;
    }
    *member = (struct member){family, *chance + (uint64_t)place, place, starts};
    weft_task_options options = {.size = sizeof options,
                                 .ret_result = &family->results[place]};
    if (hurries)
        expect_is(weft_scope_enter(&hurry, some_time(chance)), 0);
    // Counted before, for the child may end first.
    (void)atomic_fetch_add(&family->started, 1);
    int error =
        random_below(chance, 4) == 0
            ? weft_scope_try_spawn(&family->scope, &options, live, member, NULL)
            : weft_scope_spawn(&family->scope, &options, live, member, NULL);
    if (hurries)
        expect_is(weft_scope_leave(&hurry), 0);
    if (error != 0) {
        expect(error == -EBUSY || error == -ETIMEDOUT || error == -EDEADLK ||
               error == -ECANCELED);
        (void)atomic_fetch_sub(&family->started, 1);
        free(member);
    }
    return error;
}

// 1 to CHILDREN_MAX: it was this one; or an error.
static void *result_of(const struct member *member, uint64_t *chance)
{
    return random_below(chance, 16) == 0
               ? (void *)(intptr_t)-EIO
               : (void *)(intptr_t)(member->place + 1);
}

static void *live(void *arg)
{
    struct member member = *(struct member *)arg;
    struct family *family = member.family;
    int running = atomic_fetch_add(&family->running, 1) + 1;

    free(arg);
    expect(running <= (int)family->limit);
    for (int i = 0; member.starts && i < 3; i++)
        (void)start(family, &member.chance, false);
    (void)weft_task_sleep(some_time(&member.chance));
    if (random_below(&member.chance, 40) == 0)
        expect_is(weft_scope_cancel(&family->scope), 0);
    (void)atomic_fetch_sub(&family->running, 1);
    (void)atomic_fetch_add(&family->ended, 1);
    return result_of(&member, &member.chance);
}

static void note(struct family *family, const weft_scope_child *child)
{
    intptr_t place = (intptr_t)child->result;

    if (weft_result_error(child->result) != 0)
        return;
    expect(place >= 1 && place <= CHILDREN_MAX);
    expect_is(atomic_fetch_add(&family->told[place - 1], 1), 0);
}

// By a call, or as the first of two clauses.
static int take(struct family *family, int64_t deadline_ns)
{
    weft_scope_child child;
    int error;

    if (random_below(&family->chance, 2) == 0) {
        weft_clause clauses[] = {weft_clause_next(&family->scope, &child),
                                 weft_clause_time(deadline_ns)};
        error = weft_select(clauses, 2, WEFT_NEVER);
        if (error >= 0)
            error = error == 0 ? clauses[0].result : -ETIMEDOUT;
    } else {
        error = weft_scope_next(&family->scope, deadline_ns, &child);
    }
    if (error == 0)
        note(family, &child);
    return error;
}

static bool is_known(int error)
{
    return error == 0 || error == -ETIMEDOUT || error == -ECANCELED ||
           error == -ENOENT || error == -EIO;
}

// All that are left, whatever has been canceled.
static int take_the_rest(struct family *family)
{
    weft_scope_options options = {.size = sizeof options, .shield = true};
    weft_scope shield;
    int count = 0;
    int error;

    expect_is(weft_scope_enter_with(&shield, &options, WEFT_NEVER), 0);
    while ((error = take(family, WEFT_NEVER)) == 0)
        count++;
    expect_is(error, -ENOENT);
    expect_is(weft_scope_leave(&shield), 0);
    return count;
}

static void *found(void *arg)
{
    uint64_t *seed = arg;
    struct family family = {.limit = 1 + (uint32_t)(*seed % 4),
                            .chance = *seed};
    weft_scope_options options = {.size = sizeof options,
                                  .name = "family",
                                  .limit = family.limit,
                                  .keep = true,
                                  .fail_fast = *seed % 3 == 0};
    int64_t deadline = *seed % 5 == 0 ? some_time(&family.chance) : WEFT_NEVER;
    int told = 0;
    int error = 0;

    expect_is(weft_scope_enter_with(&family.scope, &options, deadline), 0);
    for (int i = 0; i < 12; i++) {
        (void)start(&family, &family.chance, i % 2 == 0);
        error = i % 3 == 0 ? take(&family, some_time(&family.chance)) : 0;
        expect(is_known(error));
        told += i % 3 == 0 && error == 0;
    }
    if (*seed % 2 == 0) {
        told += take_the_rest(&family);
        expect_is(told, family.started);
    }
    error = weft_scope_leave(&family.scope);
    expect(is_known(error) && error != -ENOENT);
    expect_is(family.started, family.ended);
    expect_is(family.running, 0);
    int results = 0;
    for (int i = 0; i < CHILDREN_MAX; i++)
        results += family.results[i] != NULL;
    expect_is(results, family.ended);
    return NULL;
}

static void *found_families(void *arg)
{
    uint64_t chance = 7;

    for (int i = 0; i < scaled(60); i++) {
        uint64_t seeds[FAMILIES];
        weft_task tasks[FAMILIES];
        for (int j = 0; j < FAMILIES; j++) {
            seeds[j] = random_below(&chance, 1u << 30);
            tasks[j] = spawn(found, &seeds[j]);
        }
        if (i % 2 == 0)
            cancel_half(tasks, FAMILIES, &chance);
        for (int j = 0; j < FAMILIES; j++)
            join(tasks[j]);
    }
    return arg;
}

static void test_nothing_is_lost(void **state)
{
    (void)state;
    run(found_families);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
