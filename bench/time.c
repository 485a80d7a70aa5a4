// time.c -- timer-cancel, timer-churn, timer-fire, recv-deadline, sleep-late:
// what deadlines cost, and how late sleepers wake.
//
//   timer-cancel   ns for arming one more timer, due in `delay` milliseconds,
//                  and cancelling it, while others are armed, due in 10 to 70
//                  s. One thread, in the wheel itself, without a task: each
//                  timer lies on a page of its own, as on tasks' stacks.
//   timer-churn    ns for cancelling one of the others, drawn at random, and
//                  arming it anew.
//   timer-fire     ns for arming one of them and letting it fire, the time
//                  moving on by a millisecond at each look.
//   recv-deadline  as chan-pingpong with one pair, but each receive has a
//                  deadline an hour away: so each arms and cancels a timer,
//                  unless the item is there already.
//   sleep-late     microseconds that tasks which sleep 100 ms wake too late, by
//                  their own clock: median, 99th percentile (-p99), and the
//                  longest. All are started one right after the other by one
//                  task. `first`: once, in a fresh process; else the worst of
//                  five more rounds, with stacks that have been used.
#include <stdlib.h>
#include <sys/mman.h>

#include "driver/timer.h"
#include "groups.h"
#include "steady.h"

enum {
    ARMED = 1000000,
    LOOPS = 1000000,
    APART = 4096 + 64,
    SLEEPERS = 10000,
    ROUNDS = 5,
};

// ---- The wheel ----

struct crowd {
    struct timers timers;
    struct waiter waiter; // fired already, so that no task is needed
    char *memory;
    uint64_t random;
    int64_t now_ns;
};

static struct timer *nth(const struct crowd *crowd, uint32_t n)
{
    return (struct timer *)(crowd->memory + (size_t)n * APART);
}

static uint32_t draw(struct crowd *crowd, uint32_t below)
{
    crowd->random = crowd->random * UINT64_C(6364136223846793005) +
                    UINT64_C(1442695040888963407);
    return (uint32_t)((crowd->random >> 32) * below >> 32);
}

static void arm_nth(struct crowd *crowd, uint32_t n)
{
    int64_t delay_ns =
        10 * WEFT_SECOND + draw(crowd, 60000000) * WEFT_MICROSECOND;

    (void)timers_arm(&crowd->timers, nth(crowd, n), crowd->now_ns + delay_ns,
                     &crowd->waiter);
}

static void expire(struct crowd *crowd)
{
    struct task_list none = {0};

    timers_expire(&crowd->timers, crowd->now_ns, UINT32_MAX, &none);
}

static struct crowd *make_crowd(uint32_t armed)
{
    struct crowd *crowd = aligned_alloc(64, sizeof *crowd);
    size_t bytes = (size_t)(armed + 1) * APART;
    struct task *none;

    if (crowd == NULL)
        bench_fail("no memory");
    timers_init(&crowd->timers);
    crowd->waiter = (struct waiter){0};
    waiter_arm(&crowd->waiter, NULL, false);
    (void)waiter_fire(&crowd->waiter, 0, &none);
    crowd->random = 1;
    crowd->now_ns = weft_time_now();
    crowd->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (crowd->memory == MAP_FAILED)
        bench_fail("no memory for %u timers", armed);
    (void)madvise(crowd->memory, bytes, MADV_NOHUGEPAGE);
    expire(crowd);
    for (uint32_t i = 0; i < armed; i++)
        arm_nth(crowd, i);
    return crowd;
}

static void run_timer_cancel(const struct point *point, double *ret_values)
{
    uint32_t armed = (uint32_t)point_number(point, "armed");
    int64_t delay_ns = point_number(point, "delay") * WEFT_MILLISECOND;
    struct crowd *crowd = make_crowd(armed);
    struct timer *one = nth(crowd, armed);
    int64_t start_ns = weft_time_now();

    for (int i = 0; i < LOOPS; i++) {
        (void)timers_arm(&crowd->timers, one,
                         crowd->now_ns + delay_ns + i % 1024, &crowd->waiter);
        timers_cancel(&crowd->timers, one);
    }
    ret_values[0] = (double)(weft_time_now() - start_ns) / LOOPS;
}

static void run_timer_churn(const struct point *point, double *ret_values)
{
    uint32_t armed = (uint32_t)point_number(point, "armed");
    struct crowd *crowd = make_crowd(armed);
    int64_t start_ns = weft_time_now();

    for (int i = 0; i < LOOPS; i++) {
        uint32_t n = draw(crowd, armed);
        timers_cancel(&crowd->timers, nth(crowd, n));
        arm_nth(crowd, n);
    }
    ret_values[0] = (double)(weft_time_now() - start_ns) / LOOPS;
}

static void run_timer_fire(const struct point *point, double *ret_values)
{
    uint32_t armed = (uint32_t)point_number(point, "armed");
    struct crowd *crowd = make_crowd(armed);

    // Once around beforehand, so that no page is touched for the first time.
    crowd->now_ns += 71 * WEFT_SECOND;
    expire(crowd);
    int64_t start_ns = weft_time_now();
    for (uint32_t i = 0; i < armed; i++)
        arm_nth(crowd, i);
    for (int i = 0; i < 71000; i++) {
        crowd->now_ns += WEFT_MILLISECOND;
        expire(crowd);
    }
    ret_values[0] = (double)(weft_time_now() - start_ns) / armed;
    if (timers_any(&crowd->timers))
        bench_fail("timer-fire: not all have fired");
}

static void measure_timers(const struct settings *settings, const char *name,
                           void (*run)(const struct point *point,
                                       double *ret_values),
                           struct param delay)
{
    struct point point = {
        .names = {name},
        .unit = "ns",
        .params = {{"armed", ARMED, NULL}, {"workers", 1, NULL}, delay},
        .runs = 3,
        .run = run,
    };

    bench_measure(settings, &point);
    bench_peers(settings, &point);
}

void bench_timer_cancel(const struct settings *settings)
{
    static const int64_t delays_ms[] = {1, 100, 30000, 3600000};

    for (size_t i = 0; i < sizeof(delays_ms) / sizeof(delays_ms[0]); i++)
        measure_timers(settings, "timer-cancel", run_timer_cancel,
                       (struct param){"delay", delays_ms[i], NULL});
}

void bench_timer_churn(const struct settings *settings)
{
    measure_timers(settings, "timer-churn", run_timer_churn,
                   (struct param){NULL, 0, NULL});
}

void bench_timer_fire(const struct settings *settings)
{
    measure_timers(settings, "timer-fire", run_timer_fire,
                   (struct param){NULL, 0, NULL});
}

// ---- recv-deadline ----

struct table {
    weft_channel *there;
    weft_channel *back;
};

static void *play(void *arg)
{
    struct doer *doer = arg;
    struct table *table = doer->shared;
    weft_channel *to = doer->index == 0 ? table->there : table->back;
    weft_channel *from = doer->index == 0 ? table->back : table->there;
    int64_t hour = 3600 * WEFT_SECOND;
    uint64_t ball = 0;

    if (doer->index == 0)
        bench_must(weft_channel_send(to, &ball, WEFT_NEVER), "send");
    while (weft_channel_recv(from, &ball, weft_time_after(hour)) == 0 &&
           weft_channel_send(to, &ball, WEFT_NEVER) == 0)
        if (doer->index == 0)
            doer_count(doer);
    bench_fail("recv-deadline: a call has failed");
}

static void run_recv_deadline(const struct point *point, double *ret_values)
{
    static struct table table; // outlives this call

    bench_must(weft_channel_new(8, 1, NULL, &table.there), "weft_channel_new");
    bench_must(weft_channel_new(8, 1, NULL, &table.back), "weft_channel_new");
    ret_values[0] =
        steady_ns((unsigned)point_number(point, "workers"), 2, play, &table);
}

void bench_recv_deadline(const struct settings *settings)
{
    unsigned most = settings->workers;

    for (unsigned workers = 1;; workers = most) {
        struct point point = {
            .names = {"recv-deadline"},
            .unit = "ns",
            .params = {{"workers", workers, NULL}},
            .runs = 5,
            .run = run_recv_deadline,
        };
        bench_measure(settings, &point);
        bench_peers(settings, &point);
        if (workers == most)
            break;
    }
}

// ---- sleep-late ----

static int64_t late_ns[SLEEPERS];
static weft_waitgroup asleep = WEFT_WAITGROUP_INIT("asleep");

static void *sleep_once(void *late)
{
    int64_t until_ns = weft_time_after(100 * WEFT_MILLISECOND);

    bench_must(weft_task_sleep(until_ns), "weft_task_sleep");
    *(int64_t *)late = weft_time_now() - until_ns;
    bench_must(weft_waitgroup_done(&asleep), "weft_waitgroup_done");
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    int64_t first = *(const int64_t *)a, second = *(const int64_t *)b;

    return (first > second) - (first < second);
}

// Keeps the worse of each figure.
static void sleep_all(double *ret_values)
{
    static const int places[] = {SLEEPERS / 2, SLEEPERS / 100 * 99,
                                 SLEEPERS - 1};

    bench_must(weft_waitgroup_add(&asleep, SLEEPERS), "weft_waitgroup_add");
    for (int i = 0; i < SLEEPERS; i++)
        bench_must(weft_task_spawn(NULL, sleep_once, &late_ns[i], NULL),
                   "weft_task_spawn");
    bench_must(weft_waitgroup_wait(&asleep, WEFT_NEVER), "weft_waitgroup_wait");
    qsort(late_ns, SLEEPERS, sizeof(late_ns[0]), by_size);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        double late_us = (double)late_ns[places[i]] / 1000;
        ret_values[i] = late_us > ret_values[i] ? late_us : ret_values[i];
    }
}

struct sleeping {
    const struct point *point;
    double *values;
};

static void *sleep_rounds(void *arg)
{
    struct sleeping *sleeping = arg;
    double unused[VALUES_MAX] = {0};
    bool first = point_number(sleeping->point, "first") == 1;

    sleep_all(first ? sleeping->values : unused);
    for (int i = 0; i < ROUNDS && !first; i++)
        sleep_all(sleeping->values);
    return NULL;
}

static void run_sleep_late(const struct point *point, double *ret_values)
{
    struct sleeping sleeping = {point, ret_values};
    weft_task_options options = {
        .size = sizeof(options),
        .runtime = steady_runtime((unsigned)point_number(point, "workers")),
    };
    weft_task task;

    bench_must(weft_task_spawn(&options, sleep_rounds, &sleeping, &task),
               "weft_task_spawn");
    bench_must(weft_task_join(task, WEFT_NEVER, NULL), "weft_task_join");
}

void bench_sleep_late(const struct settings *settings)
{
    for (int first = 1; first >= 0; first--) {
        struct point point = {
            .names = {"sleep-late", "sleep-late-p99", "sleep-late-max"},
            .unit = "us",
            .params = {{"tasks", SLEEPERS, NULL},
                       {"workers", settings->workers, NULL},
                       {"first", first, NULL}},
            .runs = 5,
            .run = run_sleep_late,
        };
        bench_measure(settings, &point);
        bench_peers(settings, &point);
    }
}
