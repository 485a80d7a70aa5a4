// groups.h -- The benchmarks, by file.
#ifndef BENCH_GROUPS_H
#define BENCH_GROUPS_H

#include "harness.h"

// Each measures all points of one benchmark; bench_dump and bench_dump_hostile
// those of several that one and the same run gives.
void bench_yield(const struct settings *settings);
void bench_longest_wait(const struct settings *settings);
void bench_spawn_join(const struct settings *settings);
void bench_skynet(const struct settings *settings);
void bench_chan_pingpong(const struct settings *settings);
void bench_mutex(const struct settings *settings);
void bench_mutex_contended(const struct settings *settings);
void bench_rwlock_read(const struct settings *settings);
void bench_rwlock_write(const struct settings *settings);
void bench_rwlock_shared(const struct settings *settings);
void bench_semaphore(const struct settings *settings);
void bench_event(const struct settings *settings);
void bench_cond_pingpong(const struct settings *settings);
void bench_barrier(const struct settings *settings);
void bench_once(const struct settings *settings);
void bench_blocking(const struct settings *settings);
void bench_waitgroup(const struct settings *settings);
void bench_scope(const struct settings *settings);
void bench_scope_next(const struct settings *settings);
void bench_select_ready(const struct settings *settings);
void bench_select_pingpong(const struct settings *settings);
void bench_oneshot(const struct settings *settings);
void bench_broadcast(const struct settings *settings);
void bench_watch_pingpong(const struct settings *settings);
void bench_timer_cancel(const struct settings *settings);
void bench_timer_churn(const struct settings *settings);
void bench_timer_fire(const struct settings *settings);
void bench_recv_deadline(const struct settings *settings);
void bench_sleep_late(const struct settings *settings);
void bench_parked_memory(const struct settings *settings);
void bench_dump(const struct settings *settings);
void bench_dump_memory(const struct settings *settings);
void bench_dump_names(const struct settings *settings);
void bench_dump_hostile(const struct settings *settings);
void bench_broken_naps(const struct settings *settings);
void bench_remote(const struct settings *settings);
void bench_kv_server(const struct settings *settings);

// Measures a peer's program with each point's parameters, if it can be had.
// `point` holds names, unit, params and runs.
void bench_peers(const struct settings *settings, const struct point *point);

#endif
