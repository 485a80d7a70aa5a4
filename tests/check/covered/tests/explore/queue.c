// queue.c -- Scenarios.
const char *names[] = {"there"};
