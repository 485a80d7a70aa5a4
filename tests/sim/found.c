// found.c -- A body that is at fault: some seed must show it, and that seed
// again, in the same way; then what is said of it must name it. Prints TAP.
//
//   PROGRAM WAY TEXT   how it is to end, failed or stuck; what is to be said
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

// Runs a seed once more; what it says on standard error must hold a text.
static bool says(uint64_t seed, const char *text, weft_sim_result *ret_result)
{
    static char said[1 << 16];
    weft_sim_options options = {.size = sizeof options, .faults = seeds_faults};
    int file = memfd_create("said", MFD_CLOEXEC);
    int errors = dup(STDERR_FILENO);

    (void)dup2(file, STDERR_FILENO);
    (void)weft_sim_run(seed, seeds_body, NULL, &options, ret_result);
    (void)dup2(errors, STDERR_FILENO);
    ssize_t got = pread(file, said, sizeof said - 1, 0);
    if (got > 0 && strstr(said, text) != NULL)
        return true;
    fprintf(stderr, "no \"%s\" in:\n%s\n", text, said);
    return false;
}

int main(int count, char **words)
{
    if (count != 3)
        return 64;
    bool stuck = strcmp(words[1], "stuck") == 0;
    enum weft_sim_end way = stuck ? WEFT_SIM_STUCK : WEFT_SIM_FAILED;
    weft_sim_result found;
    weft_sim_result again;

    puts("1..3");
    int seed = seed_of_way(way, &found);
    printf("%sok 1 - a seed shows the fault (%d)\n", seed > 0 ? "" : "not ",
           seed);
    if (seed < 0)
        return 1;
    bool named = says((uint64_t)seed, words[2], &again);
    bool equal = again.end == found.end && again.hash == found.hash &&
                 again.steps == found.steps;
    printf("%sok 2 - and again\n", equal ? "" : "not ");
    printf("%sok 3 - what is said names it\n", named ? "" : "not ");
    return equal && named ? 0 : 1;
}
