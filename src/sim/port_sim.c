// port_sim.c -- The port's third back-end: a simulation's, where there is one.
//
// Threads outside a simulation get the real thing. What is not here (memory,
// fork) is the same in both.
#include <errno.h>

#include "sim/real.h"
#include "sim/sim.h"

enum {
    FIRST_ID = 4190000, // of a thread; near the end of what Linux gives
    CPUS_MAX = 8,
};

static bool simulated(void)
{
    return sim != NULL;
}

void port_barrier_heavy(void)
{
    if (simulated())
        sim_yield();
    else
        real_barrier_heavy();
}

void port_pause(void)
{
    if (simulated())
        sim_pause();
}

// ---- Waiting. ----

int port_futex_wait(atomic_u32 *word, uint32_t expected, int64_t deadline_ns)
{
    if (!simulated())
        return real_futex_wait(word, expected, deadline_ns);
    port_step();
    if (load_relaxed(word) != expected) // nobody else runs meanwhile
        return -EAGAIN;
    return sim_wait(word, deadline_ns);
}

void port_futex_wake(atomic_u32 *word, uint32_t count)
{
    if (!simulated()) {
        real_futex_wake(word, count);
        return;
    }
    sim_wake(word, count);
    port_step();
}

// ---- Time. ----

int64_t port_now(void)
{
    if (!simulated())
        return real_now();
    port_step(); // or a loop that waits for a moment would wait for ever
    return sim_now();
}

int64_t port_wall_now(void)
{
    return simulated() ? sim->wall_ns + port_now() : real_wall_now();
}

int64_t port_boot_now(void)
{
    return simulated() ? port_now() : real_boot_now();
}

uint64_t port_ticks(void)
{
    return (uint64_t)port_now();
}

int64_t port_ticks_to_ns(uint64_t ticks)
{
    return (int64_t)ticks;
}

// ---- Memory. ----

// Only a hint; and no time is won by it where time stands still.
void port_commit(void *start, size_t bytes)
{
    if (!simulated())
        real_commit(start, bytes);
}

// ---- Threads and the machine. ----

int port_thread_start(struct port_thread *thread, const char *name,
                      void *(*fn)(void *), void *arg)
{
    struct sim_thread *started;

    if (!simulated())
        return real_thread_start(thread, name, fn, arg);
    int error = sim_thread_start(name, fn, arg, true, thread == NULL, &started);
    if (error == 0 && thread != NULL)
        thread->handle = (unsigned long)started;
    port_step();
    return error;
}

void port_thread_join(struct port_thread *thread)
{
    if (simulated())
        (void)sim_thread_join((struct sim_thread *)thread->handle);
    else
        real_thread_join(thread);
}

bool port_threads(uint32_t *ret_all, uint32_t *ret_started)
{
    if (!simulated())
        return real_threads(ret_all, ret_started);
    sim_thread_count(ret_all, ret_started);
    return true;
}

int port_own_stack(uintptr_t *ret_low, uintptr_t *ret_high)
{
    if (!simulated())
        return real_own_stack(ret_low, ret_high);
    sim_thread_stack(ret_low, ret_high);
    return 0;
}

int port_thread_id(void)
{
    return simulated() ? FIRST_ID + (int)sim->current->number
                       : real_thread_id();
}

const void *port_thread_saved(int tid)
{
    return simulated() && tid >= FIRST_ID
               ? sim_thread_saved((uint32_t)(tid - FIRST_ID))
               : NULL;
}

// Nobody runs while another does, so there is nobody to be interrupted.
int port_alarm_arm(struct port_alarm *alarm, int tid, int number,
                   const void *value)
{
    return simulated() ? -EAGAIN : real_alarm_arm(alarm, tid, number, value);
}

void port_alarm_cancel(struct port_alarm *alarm)
{
    if (!simulated())
        real_alarm_cancel(alarm);
}

int64_t port_thread_cpu(int tid)
{
    return simulated() ? -1 : real_thread_cpu(tid);
}

bool port_thread_sleeps(int tid)
{
    return simulated() ? sim_thread_waits((uint32_t)(tid - FIRST_ID))
                       : real_thread_sleeps(tid);
}

void port_signal_admit(int number, bool admit)
{
    if (!simulated())
        real_signal_admit(number, admit);
}

unsigned port_cpus(void)
{
    return simulated() ? 1 + (unsigned)sim_below(CPUS_MAX) : real_cpus();
}

uint64_t port_random(void)
{
    return simulated() ? sim_random() : real_random();
}

// ---- Event source. ----

int port_poller_init(struct port_poller *poller)
{
    if (!simulated())
        return real_poller_init(poller);
    poller->epoll = net_poller_new();
    return poller->epoll < 0 ? poller->epoll : 0;
}

void port_poller_deinit(struct port_poller *poller)
{
    if (simulated())
        net_poller_free(poller->epoll);
    else
        real_poller_deinit(poller);
}

int port_poller_add(struct port_poller *poller, int fd, uint64_t token)
{
    return simulated() ? net_poller_add(poller->epoll, fd, token)
                       : real_poller_add(poller, fd, token);
}

void port_poller_remove(struct port_poller *poller, int fd)
{
    if (simulated())
        net_poller_remove(poller->epoll, fd);
    else
        real_poller_remove(poller, fd);
}

int port_poller_wait(struct port_poller *poller, struct port_event *events,
                     int max, int64_t deadline_ns)
{
    return simulated()
               ? net_poller_wait(poller->epoll, events, max, deadline_ns)
               : real_poller_wait(poller, events, max, deadline_ns);
}

int port_poller_watch_clock(struct port_poller *poller)
{
    if (!simulated())
        return real_poller_watch_clock(poller);
    net_poller_watch_clock(poller->epoll);
    return 0;
}

void port_poller_wake(struct port_poller *poller)
{
    if (simulated())
        net_poller_wake(poller->epoll);
    else
        real_poller_wake(poller);
}
