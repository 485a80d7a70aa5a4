// plain.c -- Nothing ordered: no business of the explorer's.
int get(int *p)
{
    return load_relaxed(p);
}
