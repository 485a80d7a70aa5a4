// task.h -- Public functions with a comment, after a gap, and without.
#include <weft/base.h>

// Starts it.
WEFT_API int weft_task_start(void);

// Stops it.

WEFT_API int weft_task_stop(void);
WEFT_API int weft_task_pause(void);
