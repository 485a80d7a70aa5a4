// shutdown.c -- The orderly end of a runtime's tasks: cancel and drain.
//
//   S1  Live tasks = those spawned - those finished. Cores count both; a task
//       counts its children as spawned before it counts itself as finished
//       (release), and the counting reads `finished` of all cores first
//       (acquire), then `spawned`: so if both sums agree, no task was alive in
//       between. A finish then looks at `phase`, with the light side of an
//       asymmetric fence in between; whoever ends the runtime stores phase,
//       then passes the heavy side, then counts: so either the counting sees
//       the finish, or the finish bumps `finishing` (release) and wakes: who
//       loads it (acquire) before it counts sees all finishes before the bump.
//   S2  phase only grows. ENDING is stored under inject.lock, so a spawn from
//       outside either counts before or is refused. A spawn by a task may slip
//       through with a child that the cancelling walk has passed already; so
//       the walk is repeated until nobody lives. ENDED comes after that, and
//       workers leave: nothing but that is told by it, so it is relaxed.
//   S3  Whoever wakes a task from outside its runtime counts itself into
//       `visitors` before the task is in a queue, and out (release) after its
//       last look at the runtime: once in a queue, the task may run and end,
//       and the runtime with it, but for that count, which runtime_stop waits
//       for (acquire).
#include "sched/runtime.h"

enum { LOOK_AGAIN_NS = 5000000 };

static uint64_t live(struct weft_runtime *runtime)
{
    uint64_t finished = 0;
    uint64_t spawned = 0;
    uint32_t count = worker_count(runtime);

    for (uint32_t i = 0; i < count; i++)
        finished += load_acquire(&runtime->cores[i].finished); // S1
    count = worker_count(runtime); // S1: those that came meanwhile too
    for (uint32_t i = 0; i < count; i++)
        spawned += load_relaxed(&runtime->cores[i].spawned); // S1: as above
    lock_acquire(&runtime->inject.lock);
    spawned += runtime->outside;
    lock_release(&runtime->inject.lock);
    return spawned - finished;
}

static void cancel_all(struct weft_runtime *runtime)
{
    uint32_t used = load_acquire(&runtime->table.used); // table.c T1

    for (uint32_t i = 0; i < used; i++) {
        struct task *task = table_at(&runtime->table, i);
        enum phase phase = STATE_PHASE(load_acquire(&task->state)); // P1
        if (phase == PHASE_FREE || phase == PHASE_DONE)
            continue;
        lock_acquire(&task->lock);
        task_cancel(task);
        lock_release(&task->lock);
    }
}

void runtime_drain(struct weft_runtime *runtime)
{
    lock_acquire(&runtime->inject.lock);
    // Relaxed: the lock and the barrier order it.
    store_relaxed(&runtime->phase, RUNTIME_ENDING); // S1, S2
    lock_release(&runtime->inject.lock);
    port_barrier_heavy(); // S1
    for (;;) {
        uint32_t finishing = load_acquire(&runtime->finishing); // S1
        if (live(runtime) == 0)
            break;
        cancel_all(runtime);
        (void)port_futex_wait(&runtime->finishing, finishing,
                              port_now() + LOOK_AGAIN_NS);
    }
}
