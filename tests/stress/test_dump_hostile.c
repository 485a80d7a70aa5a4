// test_dump_hostile.c -- Dumps of programs that make it hard: every one is
// answered, with every task that must be in it.
//
// Programs that spoil their process come first, each in a child: until then
// this one has no threads.
#include <setjmp.h>
#include <stdarg.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/child.h"
#include "support/hostile.h"
#include "support/skip.h"
#include "support/tasks.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

enum {
    TESTS_MAX = 64,
    WORKERS = 2,
#ifdef SANITIZED
    DUMPS = 50,
#else
    DUMPS = 300,
#endif
};

static void run_program(const struct hostile_program *program)
{
    struct tally tally;

    hostile_run(program, WORKERS, (unsigned)scaled(DUMPS), &tally);
    fprintf(stderr, "%s: %lu dumps, %lu refused, %lu incomplete\n",
            program->name, tally.asked, tally.refused, tally.incomplete);
    for (size_t i = 0; i < tally.reason_count; i++)
        fprintf(stderr, "  %lu: %s\n", tally.reasons[i].count,
                tally.reasons[i].text);
    expect_is(tally.answered + tally.refused, tally.asked);
    expect_is(tally.lost, 0);
    tally_deinit(&tally);
}

#ifndef SANITIZED

static const struct hostile_program *spoiler;
static struct child child;

static void run_spoiler(void)
{
    run_program(spoiler);
}

#endif

static void test_program(void **state)
{
    const struct hostile_program *program = *state;

    if (!program->spoils) {
        run_program(program);
        return;
    }
#ifdef SANITIZED
    skip_because("the sanitizer has memory and threads of its own");
#else
    spoiler = program;
    child_run(run_spoiler, &child);
    fputs(child.text, stderr);
    assert_true(child_is_well(&child));
#endif
}

int main(void)
{
    struct CMUnitTest tests[TESTS_MAX];

    assert_true(hostile_program_count <= TESTS_MAX);
    for (size_t i = 0; i < hostile_program_count; i++)
        tests[i] = (struct CMUnitTest){
            .name = hostile_programs[i].name,
            .test_func = test_program,
            .initial_state = (void *)&hostile_programs[i],
        };
    return _cmocka_run_group_tests("hostile", tests, hostile_program_count,
                                   NULL, NULL);
}
