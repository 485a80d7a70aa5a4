// beacon.c -- By what weft is found in a process that cannot be asked.
#include "dump/beacon.h"

#include "dump/rules.h"
#include "sched/runtime.h"
#include "sync/channel.h"
#include "sync/clause.h"
#include "sync/object.h"
#include "sync/outside.h"
#include "task/switch.h"

// Every field that a reader relies on, and every number.
#define PLACES(PLACE)                                                          \
    PLACE(task, state)                                                         \
    PLACE(task, sp)                                                            \
    PLACE(task, next)                                                          \
    PLACE(task, injected)                                                      \
    PLACE(task, generation)                                                    \
    PLACE(task, top)                                                           \
    PLACE(task, stack_class)                                                   \
    PLACE(task, index)                                                         \
    PLACE(task, fn)                                                            \
    PLACE(task, id)                                                            \
    PLACE(task, spawned)                                                       \
    PLACE(task, since)                                                         \
    PLACE(task, woken)                                                         \
    PLACE(task, cpu)                                                           \
    PLACE(task, wait_object)                                                   \
    PLACE(task, wait_deadline)                                                 \
    PLACE(task, wait_fd)                                                       \
    PLACE(task, wait_kind)                                                     \
    PLACE(task, wait_write)                                                    \
    PLACE(task, site)                                                          \
    PLACE(task, parent)                                                        \
    PLACE(task, held)                                                          \
    PLACE(task, tag)                                                           \
    PLACE(task, owner)                                                         \
    PLACE(task_top, name)                                                      \
    PLACE(task_top, labels)                                                    \
    PLACE(task_top, first_count)                                               \
    PLACE(label, next)                                                         \
    PLACE(worker, now)                                                         \
    PLACE(worker, tid)                                                         \
    PLACE(worker, presence)                                                    \
    PLACE(worker, current)                                                     \
    PLACE(worker, hand)                                                        \
    PLACE(core, queue)                                                         \
    PLACE(core, next)                                                          \
    PLACE(queue, head)                                                         \
    PLACE(queue, tail)                                                         \
    PLACE(queue, slots)                                                        \
    PLACE(weft_runtime, table)                                                 \
    PLACE(table, segments)                                                     \
    PLACE(table, used)                                                         \
    PLACE(weft_runtime, inject)                                                \
    PLACE(inject, list)                                                        \
    PLACE(inject, length)                                                      \
    PLACE(inject, total)                                                       \
    PLACE(weft_runtime, blocking)                                              \
    PLACE(blocking, serving)                                                   \
    PLACE(pool_thread, link)                                                   \
    PLACE(pool_thread, tid)                                                    \
    PLACE(pool_thread, fn)                                                     \
    PLACE(pool_thread, task)                                                   \
    PLACE(pool_thread, since)                                                  \
    PLACE(outsider, link)                                                      \
    PLACE(outsider, tid)                                                       \
    PLACE(outsider, ends)                                                      \
    PLACE(outsider, runtime)                                                   \
    PLACE(outsider, runtime_name)                                              \
    PLACE(outsider, kind)                                                      \
    PLACE(outsider, object)                                                    \
    PLACE(outsider, object_name)                                               \
    PLACE(outsider, task)                                                      \
    PLACE(outsider, deadline_ns)                                               \
    PLACE(outsider, since)                                                     \
    PLACE(worker, duty)                                                        \
    PLACE(weft_runtime, worker_count)                                          \
    PLACE(weft_runtime, workers)                                               \
    PLACE(weft_runtime, cores)                                                 \
    PLACE(weft_runtime, tag)                                                   \
    PLACE(weft_runtime, rules)                                                 \
    PLACE(weft_runtime, name)                                                  \
    PLACE(weft_runtime, no_yield_ns)                                           \
    PLACE(weft_runtime, began)                                                 \
    PLACE(weft_runtime, looked)                                                \
    PLACE(rules, limits)                                                       \
    PLACE(weft_channel, capacity)                                              \
    PLACE(weft_channel, sent)                                                  \
    PLACE(weft_channel, received)                                              \
    PLACE(weft_channel, name)                                                  \
    PLACE(channel_peers, last)                                                 \
    PLACE(clause, object)                                                      \
    PLACE(clause, own)                                                         \
    PLACE(clause_shown, number)                                                \
    PLACE(object, held)                                                        \
    PLACE(held, next)                                                          \
    PLACE(held, name)                                                          \
    PLACE(held, kind)                                                          \
    PLACE(hold, taken_since)

#if defined(__x86_64__)
#define REGISTERS(PLACE)                                                       \
    PLACE(switch_frame, r15)                                                   \
    PLACE(switch_frame, r14)                                                   \
    PLACE(switch_frame, r13)                                                   \
    PLACE(switch_frame, r12)                                                   \
    PLACE(switch_frame, rbx)                                                   \
    PLACE(switch_frame, rbp)                                                   \
    PLACE(switch_frame, pc)

#else
#define REGISTERS(PLACE)                                                       \
    PLACE(switch_frame, x19)                                                   \
    PLACE(switch_frame, x20)                                                   \
    PLACE(switch_frame, x21)                                                   \
    PLACE(switch_frame, x22)                                                   \
    PLACE(switch_frame, x23)                                                   \
    PLACE(switch_frame, x24)                                                   \
    PLACE(switch_frame, x25)                                                   \
    PLACE(switch_frame, x26)                                                   \
    PLACE(switch_frame, x27)                                                   \
    PLACE(switch_frame, x28)                                                   \
    PLACE(switch_frame, fp)                                                    \
    PLACE(switch_frame, pc)                                                    \
    PLACE(switch_frame, d8)                                                    \
    PLACE(switch_frame, d9)                                                    \
    PLACE(switch_frame, d10)                                                   \
    PLACE(switch_frame, d11)                                                   \
    PLACE(switch_frame, d12)                                                   \
    PLACE(switch_frame, d13)                                                   \
    PLACE(switch_frame, d14)                                                   \
    PLACE(switch_frame, d15)

#endif

#define NUMBERS(NUMBER)                                                        \
    NUMBER("SEGMENT_SLOTS", SEGMENT_SLOTS)                                     \
    NUMBER("TABLE_MAX", TABLE_MAX)                                             \
    NUMBER("RUNTIMES_MAX", RUNTIMES_MAX)                                       \
    NUMBER("CREW_MAX", CREW_MAX)                                               \
    NUMBER("OBJECT_KIND", OBJECT_KIND(0))                                      \
    NUMBER("QUEUE_CAP", QUEUE_CAP)                                             \
    NUMBER("OBJECT_WORDS_MAX", OBJECT_WORDS_MAX)                               \
    NUMBER("phase.free", PHASE_FREE)                                           \
    NUMBER("phase.new", PHASE_NEW)                                             \
    NUMBER("phase.ready", PHASE_READY)                                         \
    NUMBER("phase.running", PHASE_RUNNING)                                     \
    NUMBER("phase.parking", PHASE_PARKING)                                     \
    NUMBER("phase.fired", PHASE_FIRED)                                         \
    NUMBER("phase.waiting", PHASE_WAITING)                                     \
    NUMBER("phase.done", PHASE_DONE)                                           \
    NUMBER("wait.mutex", WEFT_WAIT_MUTEX)                                      \
    NUMBER("wait.chan_send", WEFT_WAIT_CHAN_SEND)                              \
    NUMBER("wait.chan_recv", WEFT_WAIT_CHAN_RECV)                              \
    NUMBER("wait.join", WEFT_WAIT_JOIN)                                        \
    NUMBER("wait.scope", WEFT_WAIT_SCOPE)                                      \
    NUMBER("wait.sleep", WEFT_WAIT_SLEEP)                                      \
    NUMBER("wait.fd", WEFT_WAIT_FD)                                            \
    NUMBER("wait.dump", WEFT_WAIT_DUMP)                                        \
    NUMBER("wait.blocking", WEFT_WAIT_BLOCKING)                                \
    NUMBER("wait.rwlock_read", WEFT_WAIT_RWLOCK_READ)                          \
    NUMBER("wait.rwlock_write", WEFT_WAIT_RWLOCK_WRITE)                        \
    NUMBER("wait.semaphore", WEFT_WAIT_SEMAPHORE)                              \
    NUMBER("wait.cond", WEFT_WAIT_COND)                                        \
    NUMBER("wait.event", WEFT_WAIT_EVENT)                                      \
    NUMBER("wait.barrier", WEFT_WAIT_BARRIER)                                  \
    NUMBER("wait.once", WEFT_WAIT_ONCE)                                        \
    NUMBER("wait.waitgroup", WEFT_WAIT_WAITGROUP)                              \
    NUMBER("wait.select", WEFT_WAIT_SELECT)                                    \
    NUMBER("wait.scope_spawn", WEFT_WAIT_SCOPE_SPAWN)                          \
    NUMBER("wait.scope_next", WEFT_WAIT_SCOPE_NEXT)                            \
    NUMBER("wait.interval", WEFT_WAIT_INTERVAL)                                \
    NUMBER("wait.wall", WEFT_WAIT_WALL)

// NOLINTBEGIN(bugprone-macro-parentheses,bugprone-sizeof-expression)
#define PLACE_OF(type, field)                                                  \
    {offsetof(struct type, field), sizeof(((struct type *)NULL)->field),       \
     sizeof(struct type)},
#define PLACE_NAME(type, field) #type "." #field " "
#define NUMBER_OF(name, number) {number, 0, 0},
#define NUMBER_NAME(name, number) name " "
#define ONE(name, what) +1

#define NAMES PLACES(PLACE_NAME) REGISTERS(PLACE_NAME) NUMBERS(NUMBER_NAME)

// NOLINTEND(bugprone-macro-parentheses,bugprone-sizeof-expression)

#define COUNT (0 PLACES(ONE) REGISTERS(ONE) NUMBERS(ONE))

_Static_assert(sizeof(NAMES) <= BEACON_NAMES && COUNT <= (int)BEACON_PLACES,
               "the beacon is too small");

__attribute__((used)) const struct beacon beacon = {
    .magic = {'w', 'e', 'f', 't', ' ', 'd', 'm', 'p'},
    .version = BEACON_VERSION,
    .size = sizeof(struct beacon),
    .library = "0.1.0",
    .registry = (uintptr_t)runtime_registry,
    .task_entry = (uintptr_t)task_entry,
    .outsiders = (uintptr_t)&outside_all,
    .names_size = BEACON_NAMES,
    .place_count = COUNT,
    .names = NAMES,
    .layout = {PLACES(PLACE_OF) REGISTERS(PLACE_OF) NUMBERS(NUMBER_OF)},
};

// Two words of lengths, the type, the owner's name, how far the beacon is.
__asm__(".pushsection .note.weft, \"a\", %note\n"
        ".balign 4\n"
        ".long 5, 8, 1\n"
        ".asciz \"weft\"\n"
        ".balign 4\n"
        ".quad beacon - .\n"
        ".popsection\n");
