// seeds.h -- What a program run over many seeds has to define.
#ifndef WEFT_TESTS_SEEDS_H
#define WEFT_TESTS_SEEDS_H

#include <weft/sim.h>

// Run in a simulation, for each seed in a process of its own.
int seeds_body(void *arg);

// The faults that it must bear.
extern const unsigned seeds_faults;

#endif
