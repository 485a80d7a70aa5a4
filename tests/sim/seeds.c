// seeds.c -- Runs a body in simulations of many seeds, each twice, and prints
// TAP: each must pass, and its second run be equal to the first.
//
//   PROGRAM [COUNT [FIRST]]   seeds FIRST (1) to FIRST + COUNT - 1 (100)
//   PROGRAM trace SEED        one seed, with each step on standard error
#include "sim/seeds.h"

#include <stdlib.h>
#include <string.h>

#undef main

static uint64_t steps, switches, faults, hashes;
static int64_t time_ns;

static bool passes_twice(uint64_t seed)
{
    weft_sim_options options = {.size = sizeof options, .faults = seeds_faults};
    weft_sim_result first;
    weft_sim_result second;

    if (weft_sim_run(seed, seeds_body, NULL, &options, &first) != 0)
        return false;
    if (weft_sim_run(seed, seeds_body, NULL, &options, &second) != 0 ||
        first.hash != second.hash || first.steps != second.steps) {
        fprintf(stderr, "seed %llu: its second run was another one\n",
                (unsigned long long)seed);
        return false;
    }
    hashes = hashes * 31 + first.hash;
    steps += first.steps;
    switches += first.switches;
    faults += first.faults;
    time_ns += first.time_ns;
    return true;
}

static int show(uint64_t seed)
{
    weft_sim_options options = {
        .size = sizeof options, .faults = seeds_faults, .trace = stderr};

    return weft_sim_run(seed, seeds_body, NULL, &options, NULL);
}

int main(int count, char **words)
{
    bool traced = count > 2 && strcmp(words[1], "trace") == 0;
    uint64_t seeds = count > 1 ? strtoull(words[1], NULL, 10) : 100;
    uint64_t seed = count > 2 ? strtoull(words[2], NULL, 10) : 1;
    uint64_t end = seed + seeds;
    bool good = true;

    if (traced)
        return show(seed);
    puts("1..1");
    while (good && seed < end)
        good = passes_twice(seed++);
    printf("# %llu steps, %llu switches, %llu faults, %.1f s of virtual time, "
           "hash %016llx\n",
           (unsigned long long)steps, (unsigned long long)switches,
           (unsigned long long)faults, (double)time_ns / WEFT_SECOND,
           (unsigned long long)hashes);
    printf("%sok 1 - %llu seeds pass, each twice and equally\n",
           good ? "" : "not ", (unsigned long long)seeds);
    return good ? 0 : 1;
}
