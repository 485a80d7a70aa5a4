// real.h -- The port's real functions where a simulation may take their place.
//
// In this library port_real.c is compiled with these names (src/meson.build).
#ifndef WEFT_SIM_REAL_H
#define WEFT_SIM_REAL_H

#include "port/port.h"

void real_barrier_heavy(void);
int real_futex_wait(atomic_u32 *word, uint32_t expected, int64_t deadline_ns);
void real_futex_wake(atomic_u32 *word, uint32_t count);
int64_t real_now(void);
int64_t real_wall_now(void);
int64_t real_boot_now(void);
void real_commit(void *start, size_t bytes);
int real_thread_start(struct port_thread *thread, const char *name,
                      void *(*fn)(void *), void *arg);
void real_thread_join(struct port_thread *thread);
bool real_threads(uint32_t *ret_all, uint32_t *ret_started);
int real_own_stack(uintptr_t *ret_low, uintptr_t *ret_high);
int real_thread_id(void);
int real_alarm_arm(struct port_alarm *alarm, int tid, int number,
                   const void *value);
void real_alarm_cancel(struct port_alarm *alarm);
int64_t real_thread_cpu(int tid);
bool real_thread_sleeps(int tid);
void real_signal_admit(int number, bool admit);
unsigned real_cpus(void);
uint64_t real_random(void);
int real_poller_init(struct port_poller *poller);
void real_poller_deinit(struct port_poller *poller);
int real_poller_add(struct port_poller *poller, int fd, uint64_t token);
void real_poller_remove(struct port_poller *poller, int fd);
int real_poller_wait(struct port_poller *poller, struct port_event *events,
                     int max, int64_t deadline_ns);
int real_poller_watch_clock(struct port_poller *poller);
void real_poller_wake(struct port_poller *poller);

#endif
