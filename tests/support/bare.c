// bare.c -- Code that is compiled without frame pointers, whatever the rest is.
#include "support/bare.h"

unsigned bare_descend(atomic_bool *stop, atomic_uint *turns, unsigned depth)
{
    volatile unsigned kept = depth; // no loop is made of this

    if (depth > 0)
        return bare_descend(stop, turns, depth - 1) + kept;
    while (!atomic_load(stop))
        atomic_fetch_add(turns, 1);
    return kept;
}
