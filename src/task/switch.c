// switch.c -- The first frame of a fresh stack.
#include "task/switch.h"

#include <string.h>

void *switch_prepare(void *top, void (*body)(void *), void *arg)
{
    // Two words stay free above the frame: task_entry is called with the
    // stack aligned to 16 and no return address.
    uintptr_t at = ((uintptr_t)top & ~(uintptr_t)15) - sizeof(uintptr_t) * 2;
    struct switch_frame *frame =
        (struct switch_frame *)(at - sizeof(struct switch_frame));

    memset(frame, 0, sizeof *frame);
#if defined(__x86_64__)
    frame->r12 = (uintptr_t)body;
    frame->r13 = (uintptr_t)arg;
#else
    frame->x19 = (uintptr_t)body;
    frame->x20 = (uintptr_t)arg;
#endif
    frame->pc = (uintptr_t)task_entry;
    return frame;
}
