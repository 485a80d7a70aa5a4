// hostile.c -- Runs a hostile program, asks for dumps of it, and judges them.
#include "support/hostile.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/tasks.h"

enum {
    THREADS = 3,
    TASKS = 2, // of the program's runtime, and as many of another
    ASKERS = THREADS + 2 * TASKS,
    SETTLING_MAX = 20000,
};

static const char ASKER[] = "asker";

// ---- Counting ----

static void count_reason(struct tally *tally, const char *text, size_t length,
                         unsigned long count)
{
    char cut[REASON_SIZE];
    size_t i = 0;

    snprintf(cut, sizeof cut, "%.*s", (int)length, text);
    while (i < tally->reason_count && strcmp(tally->reasons[i].text, cut) != 0)
        i++;
    if (i == REASONS_MAX)
        i--; // the last stands for all the rest
    if (i == tally->reason_count) {
        strcpy(tally->reasons[i].text, cut);
        tally->reason_count++;
    }
    tally->reasons[i].count += count;
}

// "T10 runs on worker 1 (tid 71): it blocks SIGURG; ...", without whom.
static void count_problem(struct tally *tally, const char *problem)
{
    for (const char *at = problem; *at != '\0';) {
        size_t length = strcspn(at, ";");
        const char *colon = memchr(at, ':', length);
        const char *from = colon == NULL ? at : colon + 2;
        if (colon == NULL)
            from += strspn(from, "0123456789 ");
        count_reason(tally, from, length - (size_t)(from - at), 1);
        at += length;
        at += strspn(at, "; ");
    }
}

static void tally_add(struct tally *sum, const struct tally *part)
{
    memcpy(sum->times_ns + sum->asked, part->times_ns,
           part->asked * sizeof *part->times_ns);
    sum->asked += part->asked;
    sum->answered += part->answered;
    sum->refused += part->refused;
    sum->incomplete += part->incomplete;
    sum->lost += part->lost;
    if (part->longest_ns > sum->longest_ns)
        sum->longest_ns = part->longest_ns;
    for (size_t i = 0; i < part->reason_count; i++) {
        const struct reason *reason = &part->reasons[i];
        count_reason(sum, reason->text, strlen(reason->text), reason->count);
    }
}

static void tally_init(struct tally *tally, size_t dumps)
{
    memset(tally, 0, sizeof *tally);
    tally->times_ns = calloc(dumps, sizeof *tally->times_ns);
    expect(tally->times_ns != NULL);
}

void tally_deinit(struct tally *tally)
{
    free(tally->times_ns);
}

// ---- Judging ----

static int by_handle(const void *a, const void *b)
{
    uint64_t x = ((const struct resident *)a)->handle.id;
    uint64_t y = ((const struct resident *)b)->handle.id;

    return (x > y) - (x < y);
}

static const struct resident *find(const struct hostile *h, weft_task handle)
{
    struct resident wanted = {.handle = handle};

    return bsearch(&wanted, h->residents, h->count, sizeof wanted, by_handle);
}

static bool suits(const struct role *role, const weft_dump_task *task)
{
    unsigned waits =
        task->state == WEFT_STATE_WAITING ? role->waits : BIT(WEFT_WAIT_NONE);

    return (role->states & BIT(task->state)) && (waits & BIT(task->wait));
}

static bool is_allowed(const struct hostile *h, const weft_dump *dump,
                       size_t index, const weft_dump_task *task)
{
    if (task->name != NULL && strcmp(task->name, ASKER) == 0)
        return true;
    return h->program->allows != NULL &&
           h->program->allows(h, dump, index, task);
}

// To its end, or so deep that both ends are shown.
static bool is_traced(const weft_dump *dump, uint32_t stack)
{
    enum weft_stack_end end;
    const uintptr_t *pcs;
    const char *error;
    size_t count;

    return weft_dump_get_stack(dump, stack, &pcs, &count, &end, &error) == 0 &&
           (end == WEFT_STACK_WHOLE || end == WEFT_STACK_CUT);
}

// What is wrong with a task, or NULL.
static const char *judge_task(const struct hostile *h, const weft_dump *dump,
                              size_t index, bool *seen)
{
    weft_dump_task task;

    expect_is(weft_dump_get_task(dump, index, &task), 0);
    const struct resident *resident = find(h, task.handle);
    if (resident == NULL)
        return is_allowed(h, dump, index, &task) ? NULL : "a task of nobody's";
    if (seen[resident - h->residents])
        return "a task is there twice";
    seen[resident - h->residents] = true;
    if (!suits(resident->role, &task))
        return "a task does what it cannot";
    return task.state != WEFT_STATE_WAITING || is_traced(dump, task.stack)
               ? NULL
               : "the stack of a task that waits is broken";
}

static bool all_met(const weft_dump *dump)
{
    weft_dump_worker worker;

    for (size_t i = 0; weft_dump_get_worker(dump, i, &worker) == 0; i++)
        if (worker.state == WEFT_WORKER_MISSING)
            return false;
    return true;
}

// What is wrong with a dump, or NULL. `seen` has room for all residents.
static const char *judge(const struct hostile *h, const weft_dump *dump,
                         bool *seen)
{
    const char *wrong = NULL;
    weft_dump_info info;
    weft_dump_task task;

    memset(seen, 0, h->count * sizeof *seen);
    expect_is(weft_dump_get_info(dump, &info), 0);
    for (size_t i = 0; i < info.tasks && wrong == NULL; i++)
        wrong = judge_task(h, dump, i, seen);
    for (size_t i = 0; i < h->count && wrong == NULL; i++)
        if (!seen[i])
            wrong = "a task is not there";
    for (size_t i = 0; wrong == NULL && all_met(dump) && i < info.tasks; i++)
        if (weft_dump_get_task(dump, i, &task) == 0 &&
            task.state == WEFT_STATE_RUNNING)
            wrong = "a task runs, though all workers met";
    return wrong;
}

// ---- Asking ----

struct asker {
    struct hostile *h;
    unsigned dumps;
    bool *seen;
    struct tally tally;
};

static void count_dump(struct asker *asker, const weft_dump *dump)
{
    struct tally *tally = &asker->tally;
    weft_dump_info info;

    expect_is(weft_dump_get_info(dump, &info), 0);
    const char *wrong = asker->h->program->ask != NULL
                            ? NULL // it has judged by itself
                            : judge(asker->h, dump, asker->seen);
    tally->answered++;
    if (info.total_ns > tally->longest_ns)
        tally->longest_ns = info.total_ns;
    if (!info.complete) {
        tally->incomplete++;
        count_problem(tally, info.problem);
    }
    if (wrong != NULL) {
        tally->lost++;
        count_reason(tally, wrong, strlen(wrong), 1);
    }
}

static int take(struct hostile *h, weft_dump **ret_dump)
{
    if (h->program->ask != NULL)
        return h->program->ask(h, ret_dump);
    return weft_dump_take(h->runtime, ret_dump);
}

static void *ask_often(void *arg)
{
    struct asker *asker = arg;
    struct tally *tally = &asker->tally;

    for (unsigned n = 0; n < asker->dumps; n++) {
        weft_dump *dump = NULL;
        int64_t start = weft_time_now();
        int error = take(asker->h, &dump);
        tally->times_ns[tally->asked++] = weft_time_now() - start;
        if (error == 0) {
            count_dump(asker, dump);
        } else {
            expect(error == -ENOMEM && asker->h->program->refuses);
            tally->refused++;
            count_reason(tally, "no memory", 9, 1);
        }
        weft_dump_free(dump);
    }
    return NULL;
}

static weft_task start_asker(weft_runtime *runtime, struct asker *asker)
{
    weft_task_options options = {
        .size = sizeof options, .runtime = runtime, .name = ASKER};
    weft_task task;

    expect_is(weft_task_spawn(&options, ask_often, asker, &task), 0);
    return task;
}

// Threads first, then tasks of the other runtime, then of its own.
static void ask_by_all(struct hostile *h, struct asker *askers, unsigned count)
{
    pthread_t threads[THREADS];
    weft_task tasks[ASKERS];
    pthread_t nuisance;

    for (unsigned i = 0; i < THREADS; i++)
        expect_is(pthread_create(&threads[i], NULL, ask_often, &askers[i]), 0);
    if (h->program->nuisance != NULL)
        expect_is(pthread_create(&nuisance, NULL, h->program->nuisance, h), 0);
    for (unsigned i = THREADS; i < count; i++)
        tasks[i] = start_asker(i < THREADS + TASKS ? h->other : h->runtime,
                               &askers[i]);
    for (unsigned i = 0; i < THREADS; i++)
        expect_is(pthread_join(threads[i], NULL), 0);
    for (unsigned i = THREADS; i < count; i++)
        (void)join(tasks[i]);
    atomic_store(&h->stop, true);
    if (h->program->nuisance != NULL)
        expect_is(pthread_join(nuisance, NULL), 0);
}

static unsigned count_askers(const struct hostile_program *program)
{
    if (program->ask != NULL)
        return THREADS;
    return program->keeps_workers ? THREADS + TASKS : ASKERS;
}

static void ask(struct hostile *h, unsigned dumps, struct tally *ret_tally)
{
    struct asker askers[ASKERS];
    unsigned count = count_askers(h->program);
    unsigned each = (dumps - 1) / count + 1;

    for (unsigned i = 0; i < count; i++) {
        askers[i] = (struct asker){.h = h, .dumps = each};
        askers[i].seen = calloc(h->count + 1, sizeof(bool));
        expect(askers[i].seen != NULL);
        tally_init(&askers[i].tally, each);
    }
    ask_by_all(h, askers, count);
    tally_init(ret_tally, (size_t)each * count);
    for (unsigned i = 0; i < count; i++) {
        tally_add(ret_tally, &askers[i].tally);
        tally_deinit(&askers[i].tally);
        free(askers[i].seen);
    }
}

// ---- Running ----

void hostile_add(struct hostile *h, const char *name, const struct role *role,
                 weft_task_fn *fn)
{
    weft_task_options options = {.size = sizeof options,
                                 .runtime = h->runtime,
                                 .name = name,
                                 .stack_size = h->program->stack_size};

    if (h->count == h->room) {
        h->room = 2 * h->room + 64;
        h->residents = realloc(h->residents, h->room * sizeof *h->residents);
        expect(h->residents != NULL);
    }
    struct resident *resident = &h->residents[h->count++];
    resident->role = role;
    expect_is(weft_task_spawn(&options, fn, h, &resident->handle), 0);
}

static void *wait_for_the_end(void *arg)
{
    struct hostile *h = arg;
    char item;

    expect_is(weft_channel_recv(h->gate, &item, WEFT_NEVER), -EPIPE);
    return NULL;
}

void hostile_add_parked(struct hostile *h, unsigned count)
{
    static const struct role parked = {BIT(WEFT_STATE_WAITING),
                                       BIT(WEFT_WAIT_CHAN_RECV)};

    for (unsigned i = 0; i < count; i++)
        hostile_add(h, "parked", &parked, wait_for_the_end);
}

// Until every resident is at what it does until the end.
static void settle(struct hostile *h)
{
    static const struct timespec nap = {.tv_nsec = 1000000};
    bool *seen = calloc(h->count + 1, sizeof *seen);
    const char *wrong = "";

    expect(seen != NULL);
    for (int i = 0; i < SETTLING_MAX && wrong != NULL; i++) {
        weft_dump *dump;
        expect_is(weft_dump_take(h->runtime, &dump), 0);
        wrong = judge(h, dump, seen);
        weft_dump_free(dump);
        if (wrong != NULL)
            (void)nanosleep(&nap, NULL);
    }
    if (wrong != NULL)
        fprintf(stderr, "%s: %s\n", h->program->name, wrong);
    expect(wrong == NULL);
    free(seen);
}

static void begin(struct hostile *h)
{
    weft_runtime_options options = {
        .size = sizeof options, .workers = h->workers, .dump_signal = -1};

    expect_is(weft_runtime_new(&options, &h->runtime), 0);
    options.workers = 1;
    expect_is(weft_runtime_new(&options, &h->other), 0);
    expect_is(weft_channel_new(1, 1, "gate", &h->gate), 0);
    expect_is(pipe(h->pipe), 0);
    h->program->begin(h);
    qsort(h->residents, h->count, sizeof *h->residents, by_handle);
    settle(h);
}

static void end(struct hostile *h)
{
    if (h->program->end != NULL)
        h->program->end(h);
    expect_is(weft_channel_close(h->gate), 0);
    for (size_t i = 0; i < h->count; i++)
        (void)join(h->residents[i].handle);
}

// Nothing stays behind that would make later dumps worse.
static void check_after(struct hostile *h)
{
    static const struct timespec nap = {.tv_nsec = 1000000};
    weft_runtime_metrics metrics;
    weft_dump_info info = {0};
    weft_dump *dump;

    while (weft_runtime_metrics_get(h->runtime, &metrics) == 0 &&
           metrics.tasks_live > 0)
        (void)nanosleep(&nap, NULL);
    expect_is(weft_dump_take(h->runtime, &dump), 0);
    expect_is(weft_dump_get_info(dump, &info), 0);
    expect(info.complete);
    weft_dump_free(dump);
}

void hostile_run(const struct hostile_program *program, unsigned workers,
                 unsigned dumps, struct tally *ret_tally)
{
    struct hostile h = {.program = program, .workers = workers};

    begin(&h);
    ask(&h, dumps, ret_tally);
    end(&h);
    check_after(&h);
    expect_is(weft_runtime_free(h.runtime), 0);
    expect_is(weft_runtime_free(h.other), 0);
    expect_is(weft_channel_free(h.gate), 0);
    expect_is(close(h.pipe[0]), 0);
    expect_is(close(h.pipe[1]), 0);
    free(h.residents);
}
