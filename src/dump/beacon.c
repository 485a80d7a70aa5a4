// beacon.c -- By what weft is found in a process that cannot be asked.
#include "dump/beacon.h"

#include "sched/runtime.h"
#include "sync/channel.h"
#include "sync/object.h"
#include "task/switch.h"

#define MIX(before, word) ((before)*UINT64_C(0x100000001b3) ^ (uint64_t)(word))
#define PLACE(type, field) ((offsetof(type, field) << 8) + sizeof(type))

// What is read of another process is read as these structs.
#define LAYOUT                                                                 \
    MIX(MIX(MIX(MIX(MIX(MIX(MIX(MIX(MIX(MIX(1, PLACE(struct task, owner)),     \
                                        PLACE(struct task, site)),             \
                                    PLACE(struct task_top, fiber)),            \
                                PLACE(struct worker, current)),                \
                            PLACE(struct weft_runtime, name)),                 \
                        PLACE(struct weft_runtime, ready_ns)),                 \
                    PLACE(struct core, next)),                                 \
                PLACE(struct weft_channel, name)),                             \
            PLACE(struct object, held)),                                       \
        QUEUE_CAP)

__attribute__((used)) const struct beacon beacon = {
    .magic = {'w', 'e', 'f', 't', ' ', 'd', 'm', 'p'},
    .version = BEACON_VERSION,
    .size = sizeof(struct beacon),
    .library = "0.1.0",
    .layout = LAYOUT,
    .registry = (uintptr_t)runtime_registry,
    .task_entry = (uintptr_t)task_entry,
};

uint64_t beacon_layout(void)
{
    return LAYOUT;
}

// Two words of lengths, the type, the owner's name, how far the beacon is.
__asm__(".pushsection .note.weft, \"a\", %note\n"
        ".balign 4\n"
        ".long 5, 8, 1\n"
        ".asciz \"weft\"\n"
        ".balign 4\n"
        ".quad beacon - .\n"
        ".popsection\n");
