// broken.c -- broken-naps: system calls that end early because their thread is
// interrupted.
//
// A task works for `work` us, then sleeps for 20 us by nanosleep(2), which a
// signal's handler always ends early; over and over. Meanwhile a thread
// interrupts it as often as it can: by dumps, in which the task is captured
// where it stands; or, for comparison, by a signal sent to it when
// /proc/self/task/TID/syscall says that it runs.
//
//   broken-naps  naps that ended early, per 1,000 interruptions of a task that
//                ran.
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <weft/weft.h>

#include "groups.h"

static const int64_t RUN_NS = 3 * WEFT_SECOND;

struct napper {
    int64_t work_ns;
    atomic_int tid;
    atomic_bool stop;
    atomic_uint broken;
};

static void *work_and_nap(void *arg)
{
    static const struct timespec nap = {.tv_nsec = 20000};
    struct napper *napper = arg;

    atomic_store(&napper->tid, (int)syscall(SYS_gettid));
    while (!atomic_load(&napper->stop)) {
        int64_t end = weft_time_now() + napper->work_ns;
        while (weft_time_now() < end)
            continue;
        if (nanosleep(&nap, NULL) != 0)
            atomic_fetch_add(&napper->broken, 1);
    }
    return NULL;
}

// ---- By dumps ----

static bool was_running(const weft_dump *dump)
{
    enum weft_stack_end end;
    const uintptr_t *pcs;
    const char *error;
    weft_dump_worker worker;
    weft_dump_task task;
    size_t index, count;

    bench_must(weft_dump_get_worker(dump, 0, &worker), "weft_dump_get_worker");
    if (worker.in_syscall || weft_dump_find_task(dump, worker.task, &index))
        return false;
    bench_must(weft_dump_get_task(dump, index, &task), "weft_dump_get_task");
    bench_must(
        weft_dump_get_stack(dump, task.stack, &pcs, &count, &end, &error),
        "weft_dump_get_stack");
    return end == WEFT_STACK_WHOLE;
}

static unsigned interrupt_by_dump(weft_runtime *runtime)
{
    weft_dump *dump;

    bench_must(weft_dump_take(runtime, &dump), "weft_dump_take");
    unsigned hit = was_running(dump);
    weft_dump_free(dump);
    return hit;
}

// ---- By signals ----

static atomic_uint hits;

static void count_hit(int number)
{
    (void)number;
    atomic_fetch_add(&hits, 1);
}

static unsigned interrupt_by_signal(int tid)
{
    unsigned before = atomic_load(&hits);
    char path[64];
    char text[8] = "";

    snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = read(file, text, sizeof(text) - 1);
    close(file);
    if (size <= 0 || strncmp(text, "running", 7) != 0)
        return 0;
    if (syscall(SYS_tgkill, getpid(), tid, SIGUSR1) != 0)
        bench_fail("tgkill failed");
    while (atomic_load(&hits) == before)
        continue;
    return 1;
}

// ---- The run ----

static void admit_signal(void)
{
    struct sigaction action = {.sa_handler = count_hit, .sa_flags = SA_RESTART};

    if (sigaction(SIGUSR1, &action, NULL) != 0)
        bench_fail("sigaction failed");
}

static void *nap_admitting(void *arg)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    if (sigprocmask(SIG_UNBLOCK, &set, NULL) != 0)
        bench_fail("sigprocmask failed");
    return work_and_nap(arg);
}

static void run_broken(const struct point *point, double *ret_values)
{
    static struct napper napper; // outlives this call
    weft_runtime_options options = {
        .size = sizeof(options), .workers = 1, .dump_patience_ns = 1000};
    bool by_dump = strcmp(point_text(point, "by"), "dump") == 0;
    weft_task_options task = {.size = sizeof(task)};
    unsigned interrupted = 0;

    napper.work_ns = point_number(point, "work") * WEFT_MICROSECOND;
    admit_signal();
    bench_must(weft_runtime_new(&options, &task.runtime), "weft_runtime_new");
    bench_must(weft_task_spawn(&task, nap_admitting, &napper, NULL),
               "weft_task_spawn");
    while (atomic_load(&napper.tid) == 0)
        bench_sleep_ns(WEFT_MILLISECOND);
    for (int64_t end = weft_time_now() + RUN_NS; weft_time_now() < end;)
        interrupted += by_dump ? interrupt_by_dump(task.runtime)
                               : interrupt_by_signal(atomic_load(&napper.tid));
    atomic_store(&napper.stop, true);
    if (interrupted == 0)
        bench_fail("the task was never met running");
    ret_values[0] = 1000.0 * atomic_load(&napper.broken) / interrupted;
}

void bench_broken_naps(const struct settings *settings)
{
    static const char *const by[] = {"dump", "signal"};
    struct point point = {
        .names = {"broken-naps"},
        .unit = "per 1000",
        .params = {{"work", 0, NULL}, {"by", 0, NULL}},
        .runs = 3,
        .run = run_broken,
    };

    for (int64_t work = 20; work <= 2000; work *= 10)
        for (int i = 0; i < 2; i++) {
            point.params[0].number = work;
            point.params[1].text = by[i];
            bench_measure(settings, &point);
        }
}
