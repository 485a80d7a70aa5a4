// task.h -- A public header that needs a private one.
#include "task/task.h"
#include <weft/base.h>
