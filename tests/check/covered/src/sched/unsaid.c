// unsaid.c -- In the list, with a scenario.
int get(int *p)
{
    return load_acquire(p); // P1
}
