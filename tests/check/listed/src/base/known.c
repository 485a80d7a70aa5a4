// known.c -- Is in the list.
