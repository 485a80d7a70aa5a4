// ugly.c -- One function as it should be, one as it should not.

int good(int x)
{
    return x + 1;
}

int ugly(int x) {
    return x+1;
}
