// late.c -- Skips with a reason, and without; skip() in a comment is none.
static void test_late(void **state)
{
    if (early)
        skip_because("too early");
    skip();
}
