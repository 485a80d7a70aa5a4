// test_oracle.c -- A thousand tasks are parked at known places; dumps and
// traces must give exactly these.
//
// Each place notes its function and line, as the compiler knows them, before it
// calls on. The places are made by support/make_sites.py and compiled in
// several ways.
#include "support/dumps.h"

#include "oracle_sites.h"

enum { SITES = 1000, DEPTH_MAX = 12 };

static place_fn *const places[] = {
#define PLACE(name) name,
    EACH_PLACE_FUNCTION(PLACE)
#undef PLACE
};

static struct site sites[SITES];
static weft_task tasks[SITES];
static char room[64];
static weft_channel *empty, *full;
static weft_mutex mutex;

// ---- Sending tasks to their places ----

static void *go(void *arg)
{
    struct site *site = arg;
    int level = site->levels - 1;
    place_fn *fn = places[site->salt % PLACE_FUNCTIONS];

    NOTE(site, level);
    int r = fn(site, level - 1, site->salt); // the line after NOTE
    KEEP(1);
    (void)weft_mutex_unlock(&mutex); // -EPERM unless it waited for that
    return (void *)(intptr_t)r;
}

static void *hold_mutex(void *arg)
{
    (void)arg;
    expect_is(weft_mutex_lock(&mutex, WEFT_NEVER), 0);
    (void)weft_task_sleep(WEFT_NEVER);
    expect_is(weft_mutex_unlock(&mutex), 0);
    return NULL;
}

static void choose_site(struct site *site)
{
    *site = (struct site){
        .room = room, .empty = empty, .full = full, .mutex = &mutex};
    choose_way(site, 2, DEPTH_MAX);
}

// ---- Comparing ----

static void show(const struct site *site, const struct chain *chain)
{
    fprintf(stderr, "wanted:\n");
    for (int i = 0; i < site->levels; i++)
        fprintf(stderr, "    %s:%d\n", site->truth[i].function,
                site->truth[i].line);
    fprintf(stderr, "found:\n");
    for (size_t i = 0; i < chain->count; i++)
        fprintf(stderr, "    %s:%d  %s%s\n", chain->frames[i].function,
                chain->frames[i].line, chain->frames[i].file,
                chain->frames[i].inlined ? " (inlined)" : "");
}

static bool is_ours(const weft_frame *frame)
{
    return frame->file != NULL && (strstr(frame->file, "oracle_sites_") ||
                                   strstr(frame->file, "test_oracle.c"));
}

static bool equal(const struct site *site, const struct chain *chain)
{
    int level = 0;

    if (chain->end != WEFT_STACK_WHOLE)
        return false;
    for (size_t i = 0; i < chain->count; i++) {
        const weft_frame *frame = &chain->frames[i];
        // What libc's own frames are called is its affair.
        if (site->through_libc && !is_ours(frame))
            continue;
        if (level == site->levels || frame->function == NULL)
            return false;
        const struct place *place = &site->truth[level++];
        if (strcmp(frame->function, place->function) != 0 ||
            frame->line != place->line + (level == site->levels))
            return false;
    }
    return level == site->levels;
}

static void check(const struct site *site, const struct chain *chain)
{
    if (equal(site, chain))
        return;
    show(site, chain);
    abort();
}

// ---- The test ----

struct tally {
    unsigned inlined, through_libc, depth[DEPTH_MAX + 1];
};

static void count(const struct site *site, const struct chain *chain,
                  struct tally *tally)
{
    tally->through_libc += site->through_libc;
    tally->depth[site->levels]++;
    for (size_t i = 0; i < chain->count; i++)
        tally->inlined += chain->frames[i].inlined;
}

static void check_dump(const weft_dump *dump, struct tally *tally)
{
    struct chain chain;

    for (int i = 0; i < SITES; i++) {
        weft_dump_task task = task_of(dump, tasks[i]);
        expect_is(task.state, WEFT_STATE_WAITING);
        chain_of_stack(dump, task.stack, &chain);
        check(&sites[i], &chain);
        count(&sites[i], &chain, tally);
    }
}

static void check_traces(void)
{
    struct chain chain;

    for (int i = 0; i < SITES; i += UNDER_TSAN ? 25 : 5) {
        weft_trace *trace;
        expect_is(weft_trace_task(tasks[i], &trace), 0);
        chain_of_trace(trace, &chain);
        check(&sites[i], &chain);
        weft_trace_free(trace);
    }
}

// Whether the thousand were what they should be: of all kinds.
static void check_variety(const struct tally *tally)
{
    expect(tally->inlined > SITES / 2);
    expect(tally->through_libc > SITES / 20);
    for (int i = 2; i <= DEPTH_MAX; i++)
        expect(tally->depth[i] > 0);
}

static void test_oracle(void **state)
{
    weft_runtime *runtime = start(2);
    struct tally tally = {0};

    (void)state;
    expect_is(weft_mutex_init(&mutex, "oracle"), 0);
    expect_is(weft_channel_new(1, 1, "empty", &empty), 0);
    expect_is(weft_channel_new(1, 1, "full", &full), 0);
    expect_is(weft_channel_send(full, room, WEFT_NEVER), 0);
    weft_task holder = spawn(runtime, NULL, hold_mutex, NULL);
    weft_dump_free(take_when(runtime, WEFT_STATE_WAITING, 1));
    for (int i = 0; i < SITES; i++) {
        choose_site(&sites[i]);
        tasks[i] = spawn(runtime, NULL, go, &sites[i]);
    }
    weft_dump *dump = take_when(runtime, WEFT_STATE_WAITING, SITES + 1);
    check_dump(dump, &tally);
    check_variety(&tally);
    check_traces();
    weft_dump_free(dump);
    expect_is(weft_task_detach(holder), 0);
    for (int i = 0; i < SITES; i++)
        expect_is(weft_task_detach(tasks[i]), 0);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_channel_free(empty), 0);
    expect_is(weft_channel_free(full), 0);
    (void)weft_mutex_deinit(&mutex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
