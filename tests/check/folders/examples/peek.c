// peek.c -- An example that looks behind the public headers.
#include "sched/worker.h"
#include <weft/weft.h>
