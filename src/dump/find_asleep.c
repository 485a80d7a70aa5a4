// find_asleep.c -- All asleep: every task waits, and nothing can wake one.
//
// What could: a timer, a descriptor, a call on another thread, a task that
// runs or is ready, a thread of the program's own. Whatever of these is there
// ends the suspicion. A thread that has been woken just now could still act,
// so all must have slept for a while. Threads are counted after the meeting,
// so the finding is likely, never proven.
#include <errno.h>

#include "dump/find.h"

// A select that waits for a descriptor, or for more than is known.
static bool may_be_chosen(const struct weft_dump *dump, uint32_t task)
{
    const struct model_choice *choice = model_choice(dump, task);

    if (choice == NULL)
        return true;
    bool may = choice->total > choice->count;
    for (uint32_t i = 0; i < choice->count; i++)
        may |= dump->clauses[choice->clause + i].wait == WEFT_WAIT_FD;
    return may;
}

static bool may_be_woken(const struct weft_dump *dump, uint32_t task,
                         const struct model_task *m)
{
    return m->timeout_in_ns != WEFT_NEVER || m->wait == WEFT_WAIT_FD ||
           m->wait == WEFT_WAIT_DUMP || m->wait == WEFT_WAIT_BLOCKING ||
           (m->wait == WEFT_WAIT_SELECT && may_be_chosen(dump, task));
}

void asleep_see(struct judge *judge, uint32_t task, const struct model_task *m)
{
    if (may_be_woken(judge->dump, task, m)) {
        judge->awake = true;
        return;
    }
    if (judge->asleep++ == 0 || m->state_ns < judge->youngest_ns) {
        judge->youngest_ns = m->state_ns;
        judge->youngest = task;
    }
}

// Deadlocks that hold all of them have said it better.
static bool is_told(const struct judge *judge)
{
    uint64_t told = 0;

    for (size_t i = 0; i < judge->dump->finding_count; i++)
        told += judge->dump->findings[i].count;
    return told >= judge->asleep;
}

int find_asleep(struct judge *judge)
{
    const struct weft_dump *dump = judge->dump;

    if (judge->awake || judge->asleep == 0 || dump->outsiders ||
        !dump->consistent || judge->youngest_ns < judge->limits->asleep_ns ||
        is_told(judge))
        return 0;
    struct model_finding *finding =
        judge_add(judge, WEFT_RULE_ALL_ASLEEP, 1, false);
    if (finding == NULL)
        return -ENOMEM;
    finding->severity = WEFT_SEVERITY_ERROR;
    finding->certainty = WEFT_CERTAINTY_LIKELY;
    finding->since_ns = judge->youngest_ns;
    finding->threshold_ns = judge->limits->asleep_ns;
    finding->tasks[0] = judge->youngest;
    finding->count = judge->asleep;
    return 0;
}
