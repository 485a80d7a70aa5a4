// forgotten.c -- Is not.
