// leak.c -- Reads past an array and loses memory.
#include <stdlib.h>

int past_the_end(void)
{
    int a[4] = {0};

    return a[4];
}

void lose(void)
{
    char *p = malloc(10);

    p[0] = 1;
}
