// real.c -- Inside src/port all of this is at home.
#include <stdatomic.h>
#include <sys/mman.h>

void *take(void)
{
    return mmap(0, 4096, 3, 34, -1, 0);
}
