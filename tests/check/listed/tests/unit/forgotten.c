// forgotten.c -- Would never run.
