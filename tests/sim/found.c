// found.c -- A body that is at fault: some seed must show it, and that seed
// again, in the same way. Prints TAP.
//
//   PROGRAM WAY   how it is to end: failed, or stuck
#include <stdlib.h>
#include <string.h>

#include "sim/seeds.h"

#undef main

enum { SEEDS = 2000 };

static int seed_of_way(enum weft_sim_end way, weft_sim_result *ret_result)
{
    weft_sim_options options = {
        .size = sizeof options, .faults = seeds_faults, .quiet = true};

    for (int seed = 1; seed <= SEEDS; seed++)
        if (weft_sim_run((uint64_t)seed, seeds_body, NULL, &options,
                         ret_result) != 0)
            return ret_result->end == way ? seed : -1;
    return -1;
}

int main(int count, char **words)
{
    bool stuck = count > 1 && strcmp(words[1], "stuck") == 0;
    enum weft_sim_end way = stuck ? WEFT_SIM_STUCK : WEFT_SIM_FAILED;
    weft_sim_options options = {.size = sizeof options, .faults = seeds_faults};
    weft_sim_result found;
    weft_sim_result again;

    puts("1..2");
    int seed = seed_of_way(way, &found);
    printf("%sok 1 - a seed shows the fault (%d)\n", seed > 0 ? "" : "not ",
           seed);
    if (seed < 0)
        return 1;
    (void)weft_sim_run((uint64_t)seed, seeds_body, NULL, &options, &again);
    bool equal = again.end == found.end && again.hash == found.hash &&
                 again.steps == found.steps;
    printf("%sok 2 - and again\n", equal ? "" : "not ");
    return equal ? 0 : 1;
}
