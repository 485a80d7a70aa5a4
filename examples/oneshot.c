// oneshot.c -- Questions to a task: each brings a one-shot with it, through
// which the answer comes back.
//
// Prints: 20 + 22 = 42
//         the clerk has left: no answer
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

struct question {
    int left, right;
    weft_channel *answer; // a one-shot of an int
};

static weft_channel *questions; // of struct question

static void *answer_one(void *arg)
{
    struct question question;

    if (weft_channel_recv(questions, &question, WEFT_NEVER) == 0) {
        int sum = question.left + question.right;
        weft_channel_send(question.answer, &sum, WEFT_NEVER);
    }
    if (weft_channel_recv(questions, &question, WEFT_NEVER) == 0)
        weft_channel_close(question.answer); // will not be answered
    return arg;
}

static void ask(int left, int right)
{
    struct question question = {left, right, NULL};
    int sum;

    if (weft_oneshot_new(sizeof sum, "answer", &question.answer) != 0)
        return;
    weft_channel_send(questions, &question, WEFT_NEVER);
    if (weft_channel_recv(question.answer, &sum, WEFT_NEVER) == 0)
        printf("%d + %d = %d\n", left, right, sum);
    else
        printf("the clerk has left: no answer\n");
    weft_channel_free(question.answer);
}

static void *start(void *ret_error)
{
    weft_task clerk;
    int *error = ret_error;

    *error = weft_task_spawn(NULL, answer_one, NULL, &clerk);
    if (*error != 0)
        return NULL;
    ask(20, 22);
    ask(1, 1);
    weft_channel_close(questions);
    weft_task_join(clerk, WEFT_NEVER, NULL);
    return NULL;
}

int main(void)
{
    int failed = 0;
    int error =
        weft_channel_new(sizeof(struct question), 4, "questions", &questions);

    if (error == 0)
        error = weft_run(NULL, start, &failed, NULL);
    if (error == 0)
        error = failed;
    weft_channel_free(questions);
    if (error < 0)
        fprintf(stderr, "oneshot: %s\n", strerror(-error));
    return error < 0;
}
