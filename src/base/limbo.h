// limbo.h -- Memory that a capture may be reading is freed when that is over.
#ifndef WEFT_BASE_LIMBO_H
#define WEFT_BASE_LIMBO_H

// A part of what is to be freed.
struct grave {
    struct grave *next;
    void *memory;
};

// Frees memory from malloc, in which the grave lies: at once, or, while a
// capture goes on anywhere in the process, after the last one. Any thread.
void limbo_free(struct grave *grave, void *memory);

// Begins and ends a time in which nothing is freed. They nest.
void limbo_open(void);
void limbo_close(void);

#endif
