// up.c -- Includes upwards, sideways and rightly.
#include "base/list.h"
#include "list.h"
#include "port/port.h"
#include "sched/worker.h"
#include "weft/task.h"
#include <stdint.h>
#include <weft/task.h>
