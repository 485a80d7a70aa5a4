// leak.c -- Exports an internal name besides the public one; needs libm.
int weft_here(void);
int helper(void);

int helper(void)
{
    return 1;
}

int weft_here(void)
{
    return helper();
}
