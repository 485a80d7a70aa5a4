// grow.c -- Arrays that grow.
#include "base/grow.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

bool grow(void *items, size_t *room, size_t need, size_t size)
{
    size_t wanted = *room < 16 ? 16 : *room;
    void *old;
    void *more;

    if (need <= *room)
        return true;
    if (need > SIZE_MAX / 2)
        return false;
    while (wanted < need)
        wanted *= 2;
    if (wanted > SIZE_MAX / size)
        return false;
    memcpy(&old, items, sizeof old); // of any pointer type
    more = realloc(old, wanted * size);
    if (more == NULL)
        return false;
    memcpy(items, &more, sizeof more);
    *room = wanted;
    return true;
}
