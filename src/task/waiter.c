// waiter.c -- One who waits: a parked task or a blocked thread.
//
//   W1  A thread's word leaves 0 once, by CAS, to outcome + 1 (release); the
//       thread loads it (acquire) and sees what the one who fired did before.
//   W2  A task's ticket is its state word with PARKING. Firing compares count
//       and phase: PARKING -> FIRED, or WAITING -> READY (task.h I1). A later
//       wait of the same task has a higher count, so a stale firing loses.
//   W3  The winning CAS (acq_rel) -> the task's next run: sees what the one
//       who fired did before; and the one who fired sees the saved stack (P1).
//   W4  The clauses of a select carry the ticket, or use the word, of the one
//       waiter that is waited by: so one firing wins among all. Whoever wins by
//       a clause says so in `won`, under the object's lock, under which the
//       owner reads it.
#include "task/waiter.h"

#include <errno.h>

void waiter_arm(struct waiter *waiter, struct task *task, bool firm)
{
    waiter->task = task;
    waiter->base = NULL;
    store_relaxed(&waiter->word, 0);
    if (task == NULL)
        return;
    uint64_t count = STATE_COUNT(load_relaxed(&task->state));
    waiter->ticket =
        STATE(count, firm ? WAIT_FIRM : task->shield, PHASE_PARKING);
    store_release(&task->state, waiter->ticket); // task.h P1: the record
}

void waiter_follow(struct waiter *waiter, struct waiter *base)
{
    waiter->task = base->task;
    waiter->ticket = base->ticket;
    waiter->base = base;
    waiter->won = false;
}

// `noting`: an epoch is open, or was a moment ago.
__attribute__((always_inline)) static inline enum fired fire(struct task *task,
                                                             uint64_t word,
                                                             int outcome,
                                                             bool noting)
{
    uint64_t count = STATE_COUNT(word);
    uint64_t parking = STATE(count, STATE_OUTCOME(word), PHASE_PARKING);
    uint64_t waiting = STATE(count, STATE_OUTCOME(word), PHASE_WAITING);

    for (;;) {
        uint32_t mark = noting ? load_acquire(&task->mark) : 0; // task.h P4
        uint32_t epoch = noting ? task_epoch(task) : 0;         // task.h P3, P4
        uint64_t found = load_relaxed(&task->state); // a guess: the CAS orders
        if (found == waiting) {
            if (epoch != 0 && !task_note_wait(task, mark, epoch))
                continue;
            if (cas_acq_rel(&task->state, &found,
                            STATE(count, outcome, PHASE_READY))) // W2, W3
                return FIRED_READY;
        } else if (found == parking) {
            if (cas_acq_rel(&task->state, &found,
                            STATE(count, outcome, PHASE_FIRED))) // W2, W3
                return FIRED_WON;
        } else {
            return FIRED_LOST; // W2
        }
    }
}

// Apart, so that the usual way needs no room for the call within.
__attribute__((noinline)) static enum fired fire_noting(struct task *task,
                                                        uint64_t word,
                                                        int outcome)
{
    return fire(task, word, outcome, true);
}

enum fired waiter_fire_word(struct task *task, uint64_t word, int outcome)
{
    if (__builtin_expect(task_epoch(task) != 0, 0)) // task.h P3
        return fire_noting(task, word, outcome);
    return fire(task, word, outcome, false);
}

static enum fired fire_thread(struct waiter *waiter, int outcome)
{
    uint32_t none = 0;

    if (!cas_release(&waiter->word, &none, (uint32_t)outcome + 1)) // W1
        return FIRED_LOST;
    port_futex_wake(&waiter->word, 1);
    return FIRED_WON;
}

enum fired waiter_fire(struct waiter *waiter, int outcome,
                       struct task **ret_task)
{
    struct task *task = waiter->task;
    struct waiter *base = waiter->base;

    *ret_task = task;
    enum fired fired = task == NULL
                           ? fire_thread(base == NULL ? waiter : base, outcome)
                           : waiter_fire_word(task, waiter->ticket, outcome);
    if (base != NULL && fired != FIRED_LOST)
        waiter->won = true; // W4
    return fired;
}

int waiter_block(struct waiter *waiter, int64_t deadline_ns)
{
    uint32_t word;

    while ((word = load_acquire(&waiter->word)) == 0) { // W1
        if (port_futex_wait(&waiter->word, 0, deadline_ns) == -ETIMEDOUT) {
            struct task *none;
            if (waiter_fire(waiter, ETIMEDOUT, &none) == FIRED_WON)
                return ETIMEDOUT;
        }
    }
    return (int)word - 1;
}
