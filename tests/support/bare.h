// bare.h -- Code that is compiled without frame pointers, whatever the rest is.
#ifndef TESTS_SUPPORT_BARE_H
#define TESTS_SUPPORT_BARE_H

#include <stdatomic.h>

// Calls itself `depth` times, then counts turns until it is stopped.
unsigned bare_descend(atomic_bool *stop, atomic_uint *turns, unsigned depth);

#endif
