// good.c -- Says what it is for.
