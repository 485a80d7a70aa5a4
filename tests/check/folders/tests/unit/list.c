// list.c -- A unit test may see everything.
#include "sched/worker.h"
