// forgotten.c -- In no list.
int get(int *p)
{
    return load_acquire(p); // P1
}
