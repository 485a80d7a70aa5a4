// find_worker.c -- Workers that are kept, and tasks that therefore, or for
// whatever other reason, are not run.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dump/find.h"

// ---- No yield, and calls of the system ----

// What a descriptor is, as the kernel names it: a path, "socket:[88123]"; NULL
// if it is closed by now. The task sits in its call still, most likely.
static char *describe_fd(const struct weft_dump *dump, int fd)
{
    char path[64];
    char target[PATH_MAX];

    if (fd < 0 || dump->pid != (int)getpid())
        return NULL;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(path, target, sizeof target - 1);
    if (size < 0)
        return NULL;
    target[size] = '\0';
    return strdup(target);
}

static struct model_finding *add_kept(struct judge *judge, enum weft_rule rule,
                                      const weft_dump_worker *worker,
                                      int64_t limit_ns)
{
    uint32_t task =
        worker->task == 0 ? WEFT_NONE : model_find(judge->dump, worker->task);

    struct model_finding *finding =
        task == WEFT_NONE ? NULL : judge_add(judge, rule, 1, false);
    if (finding == NULL)
        return NULL;
    finding->tasks[0] = task;
    finding->since_ns = worker->busy_ns;
    finding->threshold_ns = limit_ns;
    finding->worker = worker->index;
    return finding;
}

static int find_kept(struct judge *judge, enum weft_rule rule, int64_t limit_ns)
{
    struct weft_dump *dump = judge->dump;
    bool call = rule == WEFT_RULE_SYSCALL;

    for (size_t i = 0; i < dump->worker_count; i++) {
        const weft_dump_worker *worker = &dump->workers[i];
        if (!call && worker->handed_off)
            continue; // it keeps nobody from running
        if (worker->in_syscall != call || worker->busy_ns < limit_ns ||
            worker->task == 0 || model_find(dump, worker->task) == WEFT_NONE)
            continue;
        struct model_finding *finding = add_kept(judge, rule, worker, limit_ns);
        if (finding == NULL)
            return -ENOMEM;
        if (call)
            finding->detail = describe_fd(dump, worker->syscall_fd);
    }
    return 0;
}

int find_calls(struct judge *judge)
{
    int64_t limit_ns = judge->limits->syscall_ns;

    if (limit_ns == 0)
        limit_ns = judge->dump->no_yield_ns;
    return find_kept(judge, WEFT_RULE_SYSCALL, limit_ns);
}

int find_no_yield(struct judge *judge)
{
    return find_kept(judge, WEFT_RULE_NO_YIELD, judge->dump->no_yield_ns);
}

// ---- Ready, not run ----

// In a worker's own queue it waits for that worker alone; in the shared one
// for any of them.
int64_t ready_expected_ns(const struct weft_dump *dump,
                          const struct model_task *m)
{
    uint64_t before = m->queue_place == WEFT_NONE ? 0 : m->queue_place;

    if (m->worker == WEFT_NONE && dump->worker_count > 0)
        before /= dump->worker_count;
    return (int64_t)(before + 1) * dump->mean_run_ns;
}

int find_ready(struct judge *judge)
{
    const struct worst *worst = &judge->ready;

    if (worst->count == 0)
        return 0;
    struct model_finding *finding = worst_add(judge, WEFT_RULE_READY, worst);
    if (finding == NULL)
        return -ENOMEM;
    const struct model_task m = model_task(judge->dump, finding->tasks[0]);
    finding->since_ns = m.state_ns;
    finding->threshold_ns = judge->limits->ready_ns;
    finding->worker = m.worker;
    finding->figure = ready_expected_ns(judge->dump, &m);
    return 0;
}
