// lock.c -- A small lock for short critical sections of any thread.
//
//   I1  word is 0 (free), 1 (held) or 2 (held, and somebody may sleep). Only
//       the holder moves it to 0.
//   P1  release stores 0 (release) -> the next acquire (acquire): sees what
//       was done under the lock.
//   P2  A sleeper sets 2 before it sleeps, and whoever takes the lock after
//       having slept leaves 2 behind, so a release that finds 2 wakes one;
//       without the second half the other sleepers would be forgotten.
//   P3  lock_pass changes nothing, but is a read-modify-write of the word, as
//       is release; both acquire and release, so the earlier is seen by the
//       later one, with all before it.
#include "base/lock.h"

// Critical sections are tens of nanoseconds long: look a few times before
// asking the kernel.
#ifdef WEFT_EXPLORE
enum { SPINS = 1 };
#else
enum { SPINS = 64 };
#endif

static bool spin(struct lock *lock)
{
    for (int i = 0; i < SPINS; i++) {
        // Relaxed will do: lock_try orders.
        if (load_relaxed(&lock->word) == 0 && lock_try(lock))
            return true;
        port_pause();
    }
    return false;
}

bool lock_try(struct lock *lock)
{
    uint32_t free = 0;

    return cas_acquire(&lock->word, &free, 1); // P1
}

void lock_acquire(struct lock *lock)
{
    if (lock_try(lock) || spin(lock))
        return;
    while (xchg_acquire(&lock->word, 2) != 0) // P1, P2
        (void)port_futex_wait(&lock->word, 2, INT64_MAX);
}

void lock_release(struct lock *lock)
{
    if (xchg_acq_rel(&lock->word, 0) == 2) // P1, P2, P3
        port_futex_wake(&lock->word, 1);
}

void lock_pass(struct lock *lock)
{
    (void)add_acq_rel(&lock->word, 0); // P3
}
