// test_go_channels.c -- What Go's tests of channels and select assert, where no
// other test of ours does (doc/semantics.md).
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/numbers.h"

// ---- Polling sees one moment. ----

struct pair {
    weft_channel *left, *right;
};

static void *poll_one(void *channel)
{
    int got;
    int error = weft_channel_recv(channel, &got, 0);

    expect(error == 0 || error == -EPIPE);
    return NULL;
}

// An item inside, then closed: there is always something to be had.
static void *poll_while_closing(void *arg)
{
    for (int i = 0; i < scaled(500); i++) {
        weft_channel *channel = channel_of(1);
        int got;
        expect_is(send_number(channel, 1), 0);
        weft_task poller = spawn(poll_one, channel);
        expect_is(weft_channel_close(channel), 0);
        int error = weft_channel_recv(channel, &got, WEFT_NEVER);
        expect(error == 0 || error == -EPIPE);
        join(poller);
        expect_is(weft_channel_free(channel), 0);
    }
    return arg;
}

static void *poll_two(void *arg)
{
    const struct pair *pair = arg;
    int got;
    weft_clause clauses[] = {
        weft_clause_recv(pair->left, &got),
        weft_clause_recv(pair->right, &got),
    };

    expect(weft_select(clauses, 2, 0) >= 0);
    return NULL;
}

// One of two is ready at any moment, first the left, then the right.
static void *poll_while_it_moves(void *arg)
{
    for (int i = 0; i < scaled(1000); i++) {
        struct pair pair = {channel_of(1), channel_of(1)};
        int got;
        expect_is(send_number(pair.left, 1), 0);
        weft_task poller = spawn(poll_two, &pair);
        if (i % 2 == 0)
            expect_is(send_number(pair.right, 1), 0);
        else
            expect_is(weft_channel_close(pair.right), 0);
        (void)weft_channel_recv(pair.left, &got, 0);
        join(poller);
        expect_is(weft_channel_free(pair.left), 0);
        expect_is(weft_channel_free(pair.right), 0);
    }
    return arg;
}

static void test_polling_sees_one_moment(void **state)
{
    (void)state;
    run(poll_while_closing);
    run(poll_while_it_moves);
}

// ---- Both ends of one channel in a select. ----

enum { ROUNDS = 500 };

struct twin {
    weft_channel *channel;
    int number;
    bool strict; // a rendezvous: never its own
};

static void *send_or_receive(void *arg)
{
    const struct twin *twin = arg;
    int own = twin->number;

    for (int i = 0; i < scaled(ROUNDS); i++) {
        int got = -1;
        weft_clause clauses[] = {
            weft_clause_send(twin->channel, &own),
            weft_clause_recv(twin->channel, &got),
        };
        int chosen = weft_select(clauses, 2, WEFT_NEVER);
        expect(chosen >= 0 && clauses[chosen].result == 0);
        if (chosen == 1)
            expect(twin->strict ? got == 1 - own : got == 0 || got == 1);
    }
    return NULL;
}

static void *meet_oneself(void *arg)
{
    static const size_t capacities[] = {0, 10};

    for (int i = 0; i < 2; i++) {
        weft_channel *channel = channel_of(capacities[i]);
        struct twin twins[2];
        weft_task tasks[2];
        for (int j = 0; j < 2; j++) {
            twins[j] = (struct twin){channel, j, capacities[i] == 0};
            tasks[j] = spawn(send_or_receive, &twins[j]);
        }
        for (int j = 0; j < 2; j++)
            join(tasks[j]);
        expect_is(weft_channel_free(channel), 0);
    }
    return arg;
}

static void test_both_ends_of_one(void **state)
{
    (void)state;
    run(meet_oneself);
}

// ---- A channel twice in one select. ----

static void *wait_twice(void *arg)
{
    const struct pair *pair = arg;
    int got = 0;
    weft_clause clauses[] = {
        weft_clause_recv(pair->left, &got),
        weft_clause_recv(pair->left, &got),
        weft_clause_recv(pair->right, &got),
    };

    expect_is(weft_select(clauses, 3, WEFT_NEVER), 2);
    return NULL;
}

static void *recv_left(void *channel)
{
    return (void *)(intptr_t)recv_number(channel);
}

// It leaves both places in the line, and whoever stands behind is served.
static void *stand_in_line_twice(void *arg)
{
    struct pair pair = {channel_of(0), channel_of(0)};
    weft_task first = spawn(wait_twice, &pair);

    until_waiting(first, WEFT_WAIT_SELECT);
    weft_task second = spawn(recv_left, pair.left);
    until_waiting(second, WEFT_WAIT_CHAN_RECV);
    expect_is(send_number(pair.right, 7), 0);
    join(first);
    expect_is(send_number(pair.left, 8), 0);
    expect_is(join(second), 8);
    expect_is(weft_channel_free(pair.left), 0);
    expect_is(weft_channel_free(pair.right), 0);
    return arg;
}

static void test_a_channel_twice(void **state)
{
    (void)state;
    run(stand_in_line_twice);
}

// ---- Chance among what is sent. ----

static void *count_ones(void *channel)
{
    int ones = 0;

    for (int i = 0; i < 1000; i++)
        ones += recv_number(channel);
    return (void *)(intptr_t)ones;
}

static void *send_by_chance(void *arg)
{
    static const size_t capacities[] = {0, 1000};
    int zero = 0;
    int one = 1;

    for (int i = 0; i < 2; i++) {
        weft_channel *channel = channel_of(capacities[i]);
        weft_task counter = spawn(count_ones, channel);
        for (int j = 0; j < 1000; j++) {
            weft_clause clauses[] = {
                weft_clause_send(channel, &zero),
                weft_clause_send(channel, &one),
            };
            expect(weft_select(clauses, 2, WEFT_NEVER) >= 0);
        }
        intptr_t ones = join(counter); // 500; 8 standard deviations are 126
        expect(ones > 370 && ones < 630);
        expect_is(weft_channel_free(channel), 0);
    }
    return arg;
}

static void test_what_is_sent_is_by_chance(void **state)
{
    (void)state;
    run_with(1, send_by_chance, NULL);
}

// ---- Everything at once. ----

enum { CHANNELS = 4 };

struct crossing {
    weft_channel *channels[CHANNELS];
    int count;
};

struct plain {
    weft_channel *channel;
    int count;
};

static void *send_plainly(void *arg)
{
    const struct plain *plain = arg;

    for (int i = 0; i < plain->count; i++)
        expect_is(send_number(plain->channel, 0), 0);
    return NULL;
}

static void *recv_plainly(void *arg)
{
    const struct plain *plain = arg;

    for (int i = 0; i < plain->count; i++)
        (void)recv_number(plain->channel);
    return NULL;
}

static void choose_all(const struct crossing *crossing, bool sends)
{
    int item = 0;
    int done[CHANNELS] = {0};
    weft_clause clauses[CHANNELS];

    for (int i = 0; i < CHANNELS; i++)
        clauses[i] = sends ? weft_clause_send(crossing->channels[i], &item)
                           : weft_clause_recv(crossing->channels[i], &item);
    for (int i = 0; i < CHANNELS * crossing->count; i++) {
        int chosen = weft_select(clauses, CHANNELS, WEFT_NEVER);
        expect(chosen >= 0 && clauses[chosen].result == 0);
        if (++done[chosen] == crossing->count)
            clauses[chosen] = weft_clause_none();
    }
}

static void *send_by_select(void *crossing)
{
    choose_all(crossing, true);
    return NULL;
}

static void *recv_by_select(void *crossing)
{
    choose_all(crossing, false);
    return NULL;
}

static void *cross(void *arg)
{
    static const size_t capacities[CHANNELS] = {0, 0, 2, 3};
    struct crossing crossing = {.count = scaled(300)};
    struct plain plains[CHANNELS];
    weft_task tasks[2 * CHANNELS + 2];

    for (int i = 0; i < CHANNELS; i++) {
        crossing.channels[i] = channel_of(capacities[i]);
        plains[i] = (struct plain){crossing.channels[i], crossing.count};
        tasks[2 * i] = spawn(send_plainly, &plains[i]);
        tasks[2 * i + 1] = spawn(recv_plainly, &plains[i]);
    }
    tasks[2 * CHANNELS] = spawn(send_by_select, &crossing);
    tasks[2 * CHANNELS + 1] = spawn(recv_by_select, &crossing);
    for (int i = 0; i < 2 * CHANNELS + 2; i++)
        join(tasks[i]);
    for (int i = 0; i < CHANNELS; i++) // as many came out as went in
        expect_is(weft_channel_free(crossing.channels[i]), 0);
    return arg;
}

static void test_selects_among_plain_calls(void **state)
{
    (void)state;
    run(cross);
}

// ---- A chain of many. ----

static void *pass_on(void *arg)
{
    const struct pair *pair = arg;

    for (int i = 0; i < 3; i++)
        expect_is(send_number(pair->right, recv_number(pair->left) + 1), 0);
    return NULL;
}

static void *chain(void *arg)
{
    int links = scaled(2000);
    struct pair *pairs = malloc((size_t)links * sizeof *pairs);
    weft_task *tasks = malloc((size_t)links * sizeof *tasks);
    weft_channel *first = channel_of(0);
    weft_channel *last = first;

    for (int i = 0; i < links; i++) {
        pairs[i] = (struct pair){last, channel_of(0)};
        last = pairs[i].right;
        tasks[i] = spawn(pass_on, &pairs[i]);
    }
    for (int i = 0; i < 3; i++) {
        expect_is(send_number(first, i), 0);
        expect_is(recv_number(last), i + links);
    }
    for (int i = 0; i < links; i++) {
        join(tasks[i]);
        expect_is(weft_channel_free(pairs[i].left), 0);
    }
    expect_is(weft_channel_free(last), 0);
    free(tasks);
    free(pairs);
    return arg;
}

static void test_a_chain_of_many(void **state)
{
    (void)state;
    run(chain);
}

// ---- Tokio's Notify, by a channel of one: a word is kept once. ----

static void *hear(void *channel)
{
    (void)recv_number(channel);
    return NULL;
}

static void *notify(void *arg)
{
    weft_channel *word = channel_of(1);
    int number = 1;

    expect_is(weft_channel_send(word, &number, 0), 0);
    expect_is(weft_channel_send(word, &number, 0), -ETIMEDOUT); // it is kept
    (void)recv_number(word);
    expect_is(weft_channel_recv(word, &number, 0), -ETIMEDOUT);
    weft_task first = spawn(hear, word);
    until_waiting(first, WEFT_WAIT_CHAN_RECV);
    weft_task second = spawn(hear, word);
    until_waiting(second, WEFT_WAIT_CHAN_RECV);
    expect_is(weft_channel_send(word, &number, 0), 0); // the first alone
    join(first);
    expect_is(weft_channel_send(word, &number, 0), 0);
    join(second);
    expect_is(weft_channel_free(word), 0);
    return arg;
}

static void test_a_word_is_kept_once(void **state)
{
    (void)state;
    run(notify);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_polling_sees_one_moment),
        cmocka_unit_test(test_both_ends_of_one),
        cmocka_unit_test(test_a_channel_twice),
        cmocka_unit_test(test_what_is_sent_is_by_chance),
        cmocka_unit_test(test_selects_among_plain_calls),
        cmocka_unit_test(test_a_chain_of_many),
        cmocka_unit_test(test_a_word_is_kept_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
