// queue.h -- Bounded run queue: one owner, any number of thieves, FIFO.
//
// The laws cited here stand in queue.c. The two operations of every task
// switch are inline: they are shorter than the calls.
#ifndef WEFT_SCHED_QUEUE_H
#define WEFT_SCHED_QUEUE_H

#include "task/task.h"

enum {
#ifdef WEFT_HOSTILE
    QUEUE_CAP = 2,
    QUEUE_BATCH = 1,
#elif defined(WEFT_EXPLORE)
    QUEUE_CAP = 4,
    QUEUE_BATCH = 2,
#else
    QUEUE_CAP = 1024,
    QUEUE_BATCH = 128, // the most that are moved elsewhere at once
#endif
    QUEUE_MASK = QUEUE_CAP - 1,
};

struct queue {
    atomic_u64 head; // owner and thieves, by CAS; I2
    atomic_u64 tail; // owner; P1
    _Atomic(struct task *) slots[QUEUE_CAP];
};

// Owner: adds at the tail. False: full. `seen`: in such an order that a worker
// about to sleep cannot miss it (P4).
static inline bool queue_push(struct queue *queue, struct task *task, bool seen)
{
    uint64_t tail = load_relaxed(&queue->tail); // I3: our own
    uint64_t head = load_acquire(&queue->head); // P2

    if (tail - head >= QUEUE_CAP)
        return false;
    store_relaxed(&queue->slots[tail & QUEUE_MASK], task);
    if (seen)
        store_seq_cst(&queue->tail, tail + 1); // P1, P4
    else
        store_release(&queue->tail, tail + 1); // P1
    return true;
}

// Owner: takes the oldest; NULL if there is none.
static inline struct task *queue_pop(struct queue *queue)
{
    uint64_t tail = load_relaxed(&queue->tail); // I3: our own
    uint64_t head = load_relaxed(&queue->head); // a guess: the CAS decides

    while (head != tail) {
        struct task *task = load_relaxed(&queue->slots[head & QUEUE_MASK]);
        if (cas_acq_rel(&queue->head, &head, head + 1)) // I2, P2
            return task;
    }
    return NULL;
}

// Any thread: takes a batch of the oldest at once, and appends it. Nothing: it
// was empty, or thieves were faster.
void queue_pop_batch(struct queue *queue, struct task_list *ret_tasks);

// Takes half of the victim's tasks, rounded up, or a batch if that is less; the
// newest of them is returned, the others go to the end of the thief's own
// queue, as far as there is room. NULL: nothing there. *ret_count is how many
// were taken.
struct task *queue_steal(struct queue *victim, struct queue *thief,
                         uint32_t *ret_count);

// How many are inside; a moment old.
uint32_t queue_length(const struct queue *queue);

// Copies the tasks inside, oldest first, without taking them: at most `max`. A
// consistent picture only while nobody takes (see src/dump).
uint32_t queue_peek(const struct queue *queue, struct task **ret_tasks,
                    uint32_t max);

#endif
