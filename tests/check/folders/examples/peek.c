// peek.c -- An example that looks behind the public headers.
#include "sched/worker.h"
#include "own.h"
#include <weft/weft.h>
