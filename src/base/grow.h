// grow.h -- Arrays that grow.
#ifndef WEFT_BASE_GROW_H
#define WEFT_BASE_GROW_H

#include <stdbool.h>
#include <stddef.h>

// Makes room for `need` items of `size` bytes in *items (malloc's, or NULL),
// which has room for *room. False: no memory, and nothing has changed.
bool grow(void *items, size_t *room, size_t need, size_t size);

#endif
