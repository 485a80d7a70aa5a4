// program.c -- A program's own threads, locks and clock, in a simulation.
//
// These take the place of the C library's functions in a program that is linked
// with this library. A mutex stays what it is, a word of the C library's: only
// who would sleep for it waits in the simulation. Outside of one the C
// library's own functions are called.
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "sim/sim.h"

// The C library's function of a name, looked up once.
#define REAL(name, ...)                                                        \
    ({                                                                         \
        static __typeof__(name) *real_;                                        \
        if (real_ == NULL)                                                     \
            real_ = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);               \
        real_(__VA_ARGS__);                                                    \
    })

#define PUBLIC __attribute__((visibility("default")))

// The C library's names for parameters are not for others.
// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)

// ---- Threads ----

PUBLIC int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*fn)(void *), void *arg)
{
    int kind = PTHREAD_CREATE_JOINABLE;
    struct sim_thread *started;

    if (sim == NULL)
        return REAL(pthread_create, thread, attributes, fn, arg);
    if (attributes != NULL)
        (void)pthread_attr_getdetachstate(attributes, &kind);
    int error = sim_thread_start("thread", fn, arg, false,
                                 kind == PTHREAD_CREATE_DETACHED, &started);
    if (error == 0)
        *thread = (pthread_t)started;
    port_step();
    return -error;
}

PUBLIC int pthread_join(pthread_t thread, void **ret_result)
{
    if (sim == NULL)
        return REAL(pthread_join, thread, ret_result);
    void *result = sim_thread_join((struct sim_thread *)thread);
    if (ret_result != NULL)
        *ret_result = result;
    return 0;
}

PUBLIC int pthread_detach(pthread_t thread)
{
    if (sim == NULL)
        return REAL(pthread_detach, thread);
    sim_thread_detach((struct sim_thread *)thread);
    return 0;
}

PUBLIC int sched_yield(void)
{
    if (sim == NULL)
        return REAL(sched_yield);
    sim_pause();
    return 0;
}

// ---- Mutexes ----

PUBLIC int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    int error;

    if (sim == NULL)
        return REAL(pthread_mutex_lock, mutex);
    port_step();
    while ((error = pthread_mutex_trylock(mutex)) == EBUSY)
        (void)sim_wait(mutex, WEFT_NEVER);
    return error;
}

PUBLIC int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    int error = REAL(pthread_mutex_unlock, mutex);

    if (sim != NULL) {
        sim_wake(mutex, 1);
        port_step();
    }
    return error;
}

// ---- Time ----

static int64_t to_ns(const struct timespec *time)
{
    return time->tv_sec * WEFT_SECOND + time->tv_nsec;
}

static void sleep_for(int64_t span_ns)
{
    static const char nobody; // wakes at this address
    int64_t until_ns = port_now() + span_ns;

    while (port_now() < until_ns)
        (void)sim_wait(&nobody, until_ns);
}

PUBLIC int nanosleep(const struct timespec *span, struct timespec *ret_left)
{
    if (sim == NULL)
        return REAL(nanosleep, span, ret_left);
    sleep_for(to_ns(span));
    return 0;
}

PUBLIC int usleep(useconds_t span_us)
{
    if (sim == NULL)
        return REAL(usleep, span_us);
    sleep_for(span_us * WEFT_MICROSECOND);
    return 0;
}

PUBLIC int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    if (sim == NULL)
        return REAL(clock_gettime, clock, ret_time);
    bool is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    int64_t now_ns = is_wall ? port_wall_now() : port_now();
    ret_time->tv_sec = now_ns / WEFT_SECOND;
    ret_time->tv_nsec = now_ns % WEFT_SECOND;
    return 0;
}

// NOLINTEND(readability-inconsistent-declaration-parameter-name)
