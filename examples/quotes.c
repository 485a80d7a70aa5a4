// quotes.c -- A market: quotes go to every trader by a broadcast, the price up
// to which they buy is a watch, and each gives its account through a one-shot.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

enum { QUOTES = 40, TRADERS = 3, BOUGHT = 0, MISSED = 1 };

struct market {
    weft_broadcast *quotes; // of an int: a price
    weft_watch *limit;      // an int
};

struct trader {
    weft_receiver quotes;
    weft_watch *limit;
    weft_channel *report; // a one-shot of two ints
};

static void *trade(void *arg)
{
    struct trader *trader = arg;
    int account[2] = {0, 0};
    uint64_t version = 0;
    int price = 0, limit = 0, result = 0;
    weft_clause clauses[] = {
        weft_clause_broadcast(&trader->quotes, &price),
        weft_clause_watch(trader->limit, &version, &limit),
    };

    while (result != -EPIPE) { // nothing more is quoted
        int chosen = weft_select(clauses, 2, WEFT_NEVER);
        result = chosen < 0 ? -EPIPE : clauses[chosen].result;
        if (result == -EOVERFLOW) // too slow: some quotes are gone
            account[MISSED] += (int)trader->quotes.lost;
        else if (result == 0 && chosen == 0)
            account[BOUGHT] += price <= limit;
    }
    weft_channel_send(trader->report, account, WEFT_NEVER);
    return NULL;
}

static void quote(struct market *market)
{
    for (int price = QUOTES; price > 0; price--) {
        int half = price / 2;
        if (price % 10 == 0)
            weft_watch_send(market->limit, &half);
        weft_broadcast_send(market->quotes, &price);
        weft_task_yield();
    }
    weft_broadcast_close(market->quotes);
}

static void *hold_market(void *arg)
{
    struct market *market = arg;
    struct trader traders[TRADERS];
    int account[2];
    int count = 0;

    for (; count < TRADERS; count++) { // as many as there is room for
        struct trader *trader = &traders[count];
        trader->limit = market->limit;
        weft_broadcast_subscribe(market->quotes, &trader->quotes);
        if (weft_oneshot_new(sizeof account, "account", &trader->report) != 0)
            break;
        if (weft_task_spawn(NULL, trade, trader, NULL) != 0)
            weft_channel_close(trader->report); // nobody will send
    }
    quote(market);
    for (int i = 0; i < count; i++) {
        if (weft_channel_recv(traders[i].report, account, WEFT_NEVER) == 0)
            printf("trader %d: bought %d, missed %d of %d quotes\n", i,
                   account[BOUGHT], account[MISSED], QUOTES);
        weft_channel_free(traders[i].report);
    }
    return NULL;
}

int main(void)
{
    struct market market = {NULL, NULL};
    int error;

    if ((error = weft_broadcast_new(sizeof(int), 2, "quotes",
                                    &market.quotes)) == 0 &&
        (error = weft_watch_new(sizeof(int), NULL, "limit", &market.limit)) ==
            0)
        error = weft_run(NULL, hold_market, &market, NULL);
    weft_watch_free(market.limit);
    weft_broadcast_free(market.quotes);
    if (error < 0)
        fprintf(stderr, "quotes: %s\n", strerror(-error));
    return error < 0;
}
