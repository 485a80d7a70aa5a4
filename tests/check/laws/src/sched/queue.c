// queue.c -- Ordered accesses, some with their law and some without.
#include "port/port.h"

void queue(struct queue *q)
{
    store_release(&q->tail, 1); // P1
    // P2, and so the thief is done.
    uint64_t t = load_acquire(&q->head);

    uint64_t u = load_acquire(&q->head);
    store_relaxed(&q->tail, 2);
    store_seq_cst(&q->tail, 3); // because it must be ordered
    if (!cas_seq_cst(&q->head, &t,
                     t + 1)) // I3
        return;

    add_acq_rel(&q->count, 1);
    port_pause(); // load_acquire() in a comment is none
}
