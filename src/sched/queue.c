// queue.c -- Bounded run queue: one owner, any number of thieves, FIFO.
//
// Both ends are 64-bit counts that never wrap; slots do. The owner adds at
// `tail`. Everyone takes at `head`: reads the slots first, then claims them
// with one CAS, which fails if anyone else has claimed meanwhile.
//
// Its size: what does not fit goes to the shared queue, from processor to
// processor (1,000 yielding tasks on two workers: 49 ns a yield with room for
// 256, 21 with 1,024); but a tree of tasks grows as broad as the queue is long,
// and its stacks grow cold (skynet: 760 ms with 1,024, 1,060 with 8,192).
//
//   I1  0 <= tail - head <= QUEUE_CAP; live tasks fill slots [head, tail).
//   I2  `head` moves by CAS alone, upwards. Whoever moves it from i to j owns
//       the tasks of [i, j); any other copy of those pointers is dead.
//   I3  Only the owner writes `tail` and the slots.
//   P1  push stores tail (release) -> a taker loads tail (acquire): sees the
//       slots below it and the tasks behind them.
//   P2  a claim moves head (release) -> push loads head (acquire): the taker
//       has read the slot, so it may be written again.
//   P3  a taker loads head (acquire), then tail: a tail older than that head
//       would make the length negative; the claims before it are seen.
//   P4  A push that a sleeping worker may have to hear of stores tail seq_cst,
//       and a worker about to sleep loads it seq_cst: idle.c H1.
//
// Loads of slots are relaxed: P1 orders them, and a slot overwritten since is
// caught by the CAS, since its head has then moved (I2).
#include "sched/queue.h"

void queue_pop_batch(struct queue *queue, struct task_list *ret_tasks)
{
    struct task *taken[QUEUE_BATCH];
    uint64_t head = load_acquire(&queue->head); // P3
    uint64_t count;

    do {
        count = load_acquire(&queue->tail) - head; // P1
        if (count > QUEUE_CAP) // head was stale: the CAS will say so
            count = 0;
        count = count < QUEUE_BATCH ? count : QUEUE_BATCH;
        for (uint64_t i = 0; i < count; i++)
            taken[i] = load_relaxed(&queue->slots[(head + i) & QUEUE_MASK]);
    } while (!cas_acq_rel(&queue->head, &head, head + count)); // I2, P2
    for (uint64_t i = 0; i < count; i++)
        task_list_push(ret_tasks, taken[i]);
}

// Copies up to half of the victim's tasks into the thief's slots beyond its
// tail, where nobody looks yet, and claims them.
static uint64_t grab(struct queue *victim, struct queue *thief, uint64_t tail,
                     uint64_t room)
{
    uint64_t head = load_acquire(&victim->head); // P3

    for (;;) {
        uint64_t length = load_acquire(&victim->tail) - head; // P1
        uint64_t count = length - length / 2;
        if (length > QUEUE_CAP) {               // head was stale: look again
            head = load_acquire(&victim->head); // P3
            continue;
        }
        count = count < room ? count : room;
        count = count < QUEUE_BATCH ? count : QUEUE_BATCH;
        if (count == 0)
            return 0;
        for (uint64_t i = 0; i < count; i++) {
            struct task *task =
                load_relaxed(&victim->slots[(head + i) & QUEUE_MASK]);
            store_relaxed(&thief->slots[(tail + i) & QUEUE_MASK], task);
        }
        if (cas_acq_rel(&victim->head, &head, head + count)) // I2, P2
            return count;
    }
}

struct task *queue_steal(struct queue *victim, struct queue *thief,
                         uint32_t *ret_count)
{
    uint64_t tail = load_relaxed(&thief->tail); // I3: our own
    uint64_t room = QUEUE_CAP - (tail - load_acquire(&thief->head)); // P2
    uint64_t count = grab(victim, thief, tail, room);

    *ret_count = (uint32_t)count;
    if (count == 0)
        return NULL;
    store_release(&thief->tail, tail + count - 1); // P1
    return load_relaxed(&thief->slots[(tail + count - 1) & QUEUE_MASK]);
}

uint32_t queue_length(const struct queue *queue)
{
    uint64_t head = load_acquire(&queue->head);          // P3
    uint64_t length = load_seq_cst(&queue->tail) - head; // P1, P4

    return length > QUEUE_CAP ? QUEUE_CAP : (uint32_t)length;
}

uint32_t queue_peek(const struct queue *queue, struct task **ret_tasks,
                    uint32_t max)
{
    uint64_t head = load_acquire(&queue->head);          // P3
    uint64_t length = load_acquire(&queue->tail) - head; // P1
    uint32_t count = 0;

    if (length > QUEUE_CAP) // taken from between the two loads
        return 0;
    while (count < max && count < length) {
        uint64_t at = head + count;
        ret_tasks[count++] = load_relaxed(&queue->slots[at & QUEUE_MASK]);
    }
    return count;
}
