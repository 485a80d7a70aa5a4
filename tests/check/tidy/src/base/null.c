// null.c -- Follows a null pointer, and does the same in both branches.
#include <stddef.h>

int follow(int x);

int follow(int x)
{
    int *p = x ? &x : NULL;

    return *p;
}

int same(int x);

int same(int x)
{
    if (x > 1)
        return 5;
    else
        return 5;
}
