// simulate.c -- Finds a race by its seed: ten tickets, and more buyers.
//
// The buyers look how many are left, pay, and take one. That is wrong, for
// others run while one pays; but it takes luck to see it. A simulation has all
// the luck that one wants, and has it again from the same seed.
//
//   simulate        looks for a seed that oversells, then tries the mended way
//   simulate SEED   runs that seed alone, and shows each step
#include <stdio.h>
#include <stdlib.h>
#include <weft/sim.h>
#include <weft/weft.h>

enum { TICKETS = 10, BUYERS = 4, SEEDS = 500 };

struct shop {
    weft_mutex lock;
    bool locks; // the mended way
    int left;
    int sold;
};

static void pay(void)
{
    int64_t span = (int64_t)(weft_sim_random() % WEFT_MILLISECOND);
    weft_task_sleep(weft_time_after(span));
}

static bool buy(struct shop *shop)
{
    bool found = shop->left > 0;
    if (found) {
        pay();
        shop->left--;
        shop->sold++;
    }
    return found;
}

static void *buyer_main(void *arg)
{
    struct shop *shop = arg;
    bool found = true;
    while (found) {
        if (shop->locks)
            weft_mutex_lock(&shop->lock, WEFT_NEVER);
        found = buy(shop);
        if (shop->locks)
            weft_mutex_unlock(&shop->lock);
        weft_task_sleep(weft_time_after(WEFT_SECOND)); // a queue elsewhere
    }
    return NULL;
}

static void *open_shop(void *shop)
{
    weft_scope scope;
    weft_scope_enter(&scope, WEFT_NEVER);
    for (int i = 0; i < BUYERS; i++)
        weft_scope_spawn(&scope, NULL, buyer_main, shop, NULL);
    weft_scope_leave(&scope);
    return NULL;
}

// What is simulated: a process of its own, as from main on.
static int sell(void *locks)
{
    struct shop shop = {.left = TICKETS, .locks = locks != NULL};
    weft_mutex_init(&shop.lock, "shop");
    if (weft_run(NULL, open_shop, &shop, NULL) < 0)
        return 2;
    return shop.sold == TICKETS ? 0 : 1;
}

// The first seed that fails, or SEEDS.
static uint64_t look_for(void *locks)
{
    weft_sim_options options = {.size = sizeof(options), .quiet = true};
    uint64_t seed = 0;
    while (seed < SEEDS && weft_sim_run(seed, sell, locks, &options, NULL) == 0)
        seed++;
    return seed;
}

int main(int count, char **words)
{
    weft_sim_options show = {.size = sizeof(show), .trace = stdout};
    if (count > 1)
        return weft_sim_run(strtoull(words[1], NULL, 10), sell, NULL, &show,
                            NULL);
    uint64_t seed = look_for(NULL);
    printf("without a lock seed %llu oversells\n", (unsigned long long)seed);
    uint64_t tried = look_for(&show);
    printf("with one %llu seeds of %d are well\n", (unsigned long long)tried,
           SEEDS);
    return seed < SEEDS && tried == SEEDS ? EXIT_SUCCESS : EXIT_FAILURE;
}
