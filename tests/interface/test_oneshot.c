// test_oneshot.c -- One-shots: one item, once, or the word that none comes.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/tasks.h"
#include "support/threads.h"

#define MS WEFT_MILLISECOND

static weft_channel *new_oneshot(void)
{
    weft_channel *oneshot;

    expect_is(weft_oneshot_new(sizeof(int), "answer", &oneshot), 0);
    return oneshot;
}

static int send_number(weft_channel *oneshot, int number)
{
    return weft_channel_send(oneshot, &number, WEFT_NEVER);
}

// The item, or what went wrong.
static void *recv_number(void *oneshot)
{
    int number = 0;
    int error = weft_channel_recv(oneshot, &number, WEFT_NEVER);

    return (void *)(intptr_t)(error != 0 ? error : number);
}

static intptr_t received(weft_channel *oneshot)
{
    return (intptr_t)recv_number(oneshot);
}

// ---- The item. ----

static void *send_first(void *arg)
{
    weft_channel *oneshot = new_oneshot();
    int number = 0;

    expect_is(weft_channel_recv(oneshot, &number, 0), -ETIMEDOUT);
    expect_is(send_number(oneshot, 7), 0);
    expect_is(send_number(oneshot, 8), -EPIPE);
    expect_is(received(oneshot), 7);
    expect_is(received(oneshot), -EPIPE);
    expect_is(send_number(oneshot, 8), -EPIPE);
    expect_is(weft_channel_free(oneshot), 0);
    return arg;
}

static void *receive_first(void *arg)
{
    weft_channel *oneshot = new_oneshot();
    weft_task receiver = spawn(recv_number, oneshot);

    until_waiting(receiver, WEFT_WAIT_CHAN_RECV);
    expect_is(weft_channel_free(oneshot), -EBUSY);
    expect_is(send_number(oneshot, 9), 0);
    expect_is(join(receiver), 9);
    expect_is(received(oneshot), -EPIPE);
    expect_is(weft_channel_free(oneshot), 0);
    return arg;
}

// Of several who wait one gets it; the others are told that nothing comes.
static void *receive_by_many(void *arg)
{
    enum { COUNT = 5 };
    weft_channel *oneshot = new_oneshot();
    weft_task tasks[COUNT];

    for (int i = 0; i < COUNT; i++) {
        tasks[i] = spawn(recv_number, oneshot);
        until_waiting(tasks[i], WEFT_WAIT_CHAN_RECV);
    }
    expect_is(send_number(oneshot, 3), 0);
    expect_is(join(tasks[0]), 3);
    for (int i = 1; i < COUNT; i++)
        expect_is(join(tasks[i]), -EPIPE);
    expect_is(weft_channel_free(oneshot), 0);
    return arg;
}

static void test_one_item(void **state)
{
    (void)state;
    run(send_first);
    run(receive_first);
    run(receive_by_many);
    (void)send_first(NULL);
}

// ---- None comes. ----

static void *close_before(void *arg)
{
    weft_channel *oneshot = new_oneshot();
    weft_task receiver = spawn(recv_number, oneshot);

    until_waiting(receiver, WEFT_WAIT_CHAN_RECV);
    expect_is(weft_channel_close(oneshot), 0);
    expect_is(join(receiver), -EPIPE);
    expect_is(send_number(oneshot, 1), -EPIPE);
    expect_is(weft_channel_close(oneshot), 0);
    expect_is(weft_channel_free(oneshot), 0);
    return arg;
}

// Whoever closes it after the send takes nothing from the receiver.
static void *close_after(void *arg)
{
    weft_channel *oneshot = new_oneshot();

    expect_is(send_number(oneshot, 2), 0);
    expect_is(weft_channel_close(oneshot), 0);
    expect_is(received(oneshot), 2);
    expect_is(received(oneshot), -EPIPE);
    expect_is(weft_channel_free(oneshot), 0);
    return arg;
}

static void test_closing(void **state)
{
    (void)state;
    run(close_before);
    run(close_after);
}

// Who gives up leaves the item to whoever asks next.
static void *give_up(void *arg)
{
    weft_channel *oneshot = new_oneshot();
    weft_task receiver = spawn(recv_number, oneshot);
    int number = 0;

    until_waiting(receiver, WEFT_WAIT_CHAN_RECV);
    expect_is(weft_task_cancel(receiver), 0);
    expect_is(join(receiver), -ECANCELED);
    expect_is(weft_channel_recv(oneshot, &number, weft_time_after(MS)),
              -ETIMEDOUT);
    expect_is(send_number(oneshot, 4), 0);
    expect_is(received(oneshot), 4);
    expect_is(weft_channel_free(oneshot), 0);
    return arg;
}

static void test_giving_up(void **state)
{
    (void)state;
    run(give_up);
}

// ---- In a select. ----

static void *choose(void *arg)
{
    weft_channel *oneshot = new_oneshot();
    int number = 5;
    int got = 0;
    weft_clause clauses[] = {
        weft_clause_recv(oneshot, &got),
        weft_clause_time(weft_time_after(MS)),
    };

    expect_is(weft_select(clauses, 2, WEFT_NEVER), 1);
    clauses[1] = weft_clause_send(oneshot, &number);
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 1); // not to itself
    expect_is(clauses[1].result, 0);
    clauses[1] = weft_clause_none();
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 0);
    expect(clauses[0].result == 0 && got == 5);
    expect_is(weft_select(clauses, 2, WEFT_NEVER), 0);
    expect_is(clauses[0].result, -EPIPE);
    expect_is(weft_channel_free(oneshot), 0);
    return arg;
}

struct asking {
    weft_channel *oneshot, *silent;
};

static void *choose_in_time(void *arg)
{
    const struct asking *asking = arg;
    int got[2] = {0, 0};
    weft_clause clauses[] = {
        weft_clause_recv(asking->oneshot, &got[0]),
        weft_clause_recv(asking->silent, &got[1]),
    };

    expect_is(weft_select(clauses, 2, WEFT_NEVER), 0);
    return (void *)(intptr_t)(clauses[0].result != 0 ? clauses[0].result
                                                     : got[0]);
}

static void *choose_and_wait(void *arg)
{
    struct asking asking = {new_oneshot(), new_oneshot()};
    weft_task chooser = spawn(choose_in_time, &asking);
    weft_task plain;

    until_waiting(chooser, WEFT_WAIT_SELECT);
    plain = spawn(recv_number, asking.oneshot);
    until_waiting(plain, WEFT_WAIT_CHAN_RECV);
    expect_is(weft_channel_free(asking.silent), -EBUSY);
    expect_is(send_number(asking.oneshot, 6), 0);
    expect_is(join(chooser), 6); // it came first
    expect_is(join(plain), -EPIPE);
    expect_is(weft_channel_free(asking.oneshot), 0);
    expect_is(weft_channel_free(asking.silent), 0);
    return arg;
}

static void test_in_a_select(void **state)
{
    (void)state;
    run(choose);
    run(choose_and_wait);
}

// ---- Many, and threads. ----

// The one who has received may end it at once, though the sender may not yet
// have come back from its call.
static void *answer(void *oneshot)
{
    int error = send_number(oneshot, 1);

    return (void *)(intptr_t)error;
}

static void *ask_and_free(void *arg)
{
    for (int i = 0; i < scaled(500); i++) {
        weft_channel *oneshot = new_oneshot();
        weft_task sender = spawn(answer, oneshot);
        expect_is(received(oneshot), 1);
        expect_is(weft_channel_free(oneshot), 0);
        expect_is(join(sender), 0);
    }
    return arg;
}

static void test_freeing_once_received(void **state)
{
    (void)state;
    run(ask_and_free);
}

// Many send to one, and as many receive: one of each has its way.
enum { RIVALS = 4 };

static atomic_int successes[2];

static void *rival(void *oneshot)
{
    int number = 1;

    if (weft_channel_send(oneshot, &number, WEFT_NEVER) == 0)
        (void)atomic_fetch_add(&successes[0], 1);
    if (weft_channel_recv(oneshot, &number, WEFT_NEVER) == 0)
        (void)atomic_fetch_add(&successes[1], 1);
    return NULL;
}

static void test_threads_and_tasks(void **state)
{
    (void)state;
    for (int i = 0; i < scaled(50); i++) {
        weft_channel *oneshot = new_oneshot();
        atomic_store(&successes[0], 0);
        atomic_store(&successes[1], 0);
        (void)run_mixed(2, RIVALS, RIVALS, rival, oneshot);
        expect_is(successes[0], 1);
        expect_is(successes[1], 1);
        expect_is(weft_channel_free(oneshot), 0);
    }
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    weft_channel *oneshot = (weft_channel *)&oneshot;

    expect_is(weft_oneshot_new(0, NULL, &oneshot), -EINVAL);
    expect_is(weft_oneshot_new((1 << 30) + 1, NULL, &oneshot), -EINVAL);
    expect_is(weft_oneshot_new(SIZE_MAX, NULL, &oneshot), -EINVAL);
    expect_is(weft_oneshot_new(1, NULL, NULL), -EINVAL);
    expect(oneshot == (weft_channel *)&oneshot); // nothing was stored
    oneshot = new_oneshot();
    expect_is(weft_channel_send(oneshot, NULL, WEFT_NEVER), -EINVAL);
    expect_is(weft_channel_recv(oneshot, NULL, WEFT_NEVER), -EINVAL);
    expect_is(send_number(oneshot, 1), 0);
    expect_is(weft_channel_free(oneshot), 0); // with its item inside
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_item),
        cmocka_unit_test(test_closing),
        cmocka_unit_test(test_giving_up),
        cmocka_unit_test(test_in_a_select),
        cmocka_unit_test(test_freeing_once_received),
        cmocka_unit_test(test_threads_and_tasks),
        cmocka_unit_test(test_misuse_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
