// scope.c -- Scopes: answers are looked up, four at a time, within ten seconds.
//
// The first that is not known ends the other look-ups. Leave is taken all the
// same, behind a shield; and no task is left behind.
//
// Prints: took leave
//         9 answers, the last is 64
//         took leave
//         one more: No such file or directory
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { QUESTIONS = 12, UNKNOWN = 9 };

// One has no answer.
static void *look_up(void *arg)
{
    int *answer = arg;
    int error = weft_task_sleep(weft_time_after(WEFT_MILLISECOND));

    if (error == 0 && *answer == UNKNOWN)
        error = -ENOENT;
    *answer *= *answer;
    return (void *)(intptr_t)error;
}

// Done even by one who is cancelled; but it takes no longer than it may.
static void take_leave(void)
{
    weft_scope_options options = {.size = sizeof options, .shield = true};
    weft_scope shield;

    weft_scope_enter_with(&shield, &options, weft_time_after(WEFT_SECOND));
    if (weft_task_sleep(weft_time_after(WEFT_MILLISECOND)) == 0)
        puts("took leave");
    weft_scope_leave(&shield);
}

// Each answer as it comes. Once all is cancelled, nothing more is waited for.
static int count_answers(weft_scope *scope)
{
    weft_scope_child child;
    int count = 0;

    while (weft_scope_next(scope, WEFT_NEVER, &child) == 0)
        count += weft_result_error(child.result) == 0;
    return count;
}

// How many answers there are, or why one is missing.
static int ask(int *answers, int count)
{
    weft_scope_options options = {.size = sizeof options,
                                  .name = "questions",
                                  .limit = 4,
                                  .fail_fast = true,
                                  .keep = true};
    weft_scope scope;
    int error = weft_scope_enter_with(&scope, &options,
                                      weft_time_after(10 * WEFT_SECOND));

    if (error != 0)
        return error;
    for (int i = 0; i < count && error == 0; i++) {
        answers[i] = i;
        error = weft_scope_spawn(&scope, NULL, look_up, &answers[i], NULL);
    }
    int known = count_answers(&scope);
    take_leave();
    int failed = weft_scope_leave(&scope); // no child is left behind
    return failed != 0 ? failed : error != 0 ? error : known;
}

static void *start(void *ret_error)
{
    int answers[QUESTIONS];
    int *error = ret_error;

    if ((*error = ask(answers, UNKNOWN)) < 0)
        return NULL;
    printf("%d answers, the last is %d\n", *error, answers[UNKNOWN - 1]);
    printf("one more: %s\n", strerror(-ask(answers, QUESTIONS)));
    return NULL;
}

int main(void)
{
    int in_start = 0;
    int error = weft_run(NULL, start, &in_start, NULL);

    if (error == 0)
        error = in_start;
    if (error < 0)
        fprintf(stderr, "scope: %s\n", strerror(-error));
    return error < 0;
}
