// parked.c -- A thousand tasks at places that are known: for
// test_gdb.py, which asks everyone where they are.
//
// usage: parked PLUGIN DUMP TRUTH
//
// There are fifty chains of calls, each of twenty tasks: through the oracle's
// places (support/make_sites.py), compiled in four ways, and every fifth of
// them through the module PLUGIN before. When all wait, the program writes its
// own dump (JSON) and, by the tasks' names, the functions and lines that the
// compiler says they stand in. Then it prints a line, and ends with its input.
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#include "modules/plugin.h"
#include "oracle_sites.h"

enum { TASKS = 1000, CHAINS = 50, DEPTH_MAX = 10 };

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "parked.c:%d: %s\n", __LINE__, #condition);        \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

static place_fn *const places[] = {
#define PLACE(name) name,
    EACH_PLACE_FUNCTION(PLACE)
#undef PLACE
};

static plugin_entry *entries[3];
static struct site sites[TASKS];
static char room[64];
static weft_channel *empty, *full;
static weft_mutex mutex;

// Its line is the next one's.
#define NEXT_LINE(site, level)                                                 \
    ((site)->truth[level] = (struct place){__func__, __LINE__ + 1})

static int level_of_places(const struct site *site)
{
    return site->levels - 2;
}

static void inside(void *arg)
{
    struct site *site = arg;
    int level = level_of_places(site);
    place_fn *fn = places[site->salt % PLACE_FUNCTIONS];

    NEXT_LINE(site, level);
    fn(site, level - 1, site->salt);
    KEEP(1);
}

static void *go(void *arg)
{
    struct site *site = arg;

    NEXT_LINE(site, site->levels - 1);
    entries[site->salt % 3](inside, site);
    KEEP(2);
    return NULL;
}

static void *go_straight(void *arg)
{
    inside(arg);
    KEEP(3);
    return NULL;
}

static void *hold_mutex(void *arg)
{
    (void)arg;
    CHECK(weft_mutex_lock(&mutex, WEFT_NEVER) == 0);
    (void)weft_task_sleep(WEFT_NEVER);
    return NULL;
}

// ---- Sending them there ----

static void choose_site(struct site *site)
{
    *site = (struct site){
        .room = room, .empty = empty, .full = full, .mutex = &mutex};
    choose_way(site, 4, DEPTH_MAX);
}

static void spawn(weft_runtime *runtime, int index)
{
    char name[32];
    weft_task_options options = {
        .size = sizeof options, .runtime = runtime, .name = name};
    bool straight = index % CHAINS % 5 != 0;

    snprintf(name, sizeof name, "site %d", index);
    if (index < CHAINS)
        choose_site(&sites[index]);
    else
        sites[index] = sites[index % CHAINS];
    CHECK(weft_task_spawn(&options, straight ? go_straight : go, &sites[index],
                          NULL) == 0);
}

static weft_dump *take_when_parked(weft_runtime *runtime)
{
    for (;;) {
        weft_dump *dump;
        weft_dump_task task;
        int waiting = 0;
        CHECK(weft_dump_take(runtime, &dump) == 0);
        for (size_t i = 0; weft_dump_get_task(dump, i, &task) == 0; i++)
            waiting += task.state == WEFT_STATE_WAITING;
        if (waiting == TASKS + 1)
            return dump;
        weft_dump_free(dump);
        (void)usleep(1000);
    }
}

// ---- What is true ----

// The outermost is the task's own function, of which only that is known which
// of the two it is.
static void write_site(FILE *file, int index)
{
    const struct site *site = &sites[index];
    bool straight = index % CHAINS % 5 != 0;
    int levels = level_of_places(site) + 1;

    fprintf(file, "%s \"site %d\": [", index == 0 ? "{" : ",\n", index);
    for (int i = 0; i < levels; i++)
        fprintf(file, "[\"%s\", %d], ", site->truth[i].function,
                site->truth[i].line);
    const struct place *last = &site->truth[site->levels - 1];
    if (straight)
        fprintf(file, "[\"go_straight\", null]]");
    else
        fprintf(file, "[\"%s\", %d]]", last->function, last->line);
}

static void write_truth(const char *path)
{
    FILE *file = fopen(path, "w");

    CHECK(file != NULL);
    for (int i = 0; i < TASKS; i++)
        write_site(file, i);
    fprintf(file, "}\n");
    CHECK(fclose(file) == 0);
}

static void write_dump(const char *path, const weft_dump *dump)
{
    FILE *file = fopen(path, "w");

    CHECK(file != NULL && weft_dump_print_json(dump, NULL, file) == 0);
    CHECK(fclose(file) == 0);
}

static void open_plugin(const char *path)
{
    static const char *const names[] = {"plugin_run", "plugin_deep",
                                        "plugin_told"};
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (module == NULL)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(module != NULL);
    for (int i = 0; i < 3; i++) {
        entries[i] = (plugin_entry *)dlsym(module, names[i]);
        CHECK(entries[i] != NULL);
    }
}

int main(int argc, char **argv)
{
    weft_runtime_options options = {.size = sizeof options, .workers = 2};
    weft_runtime *runtime;
    weft_task_options held = {.size = sizeof held};

    CHECK(argc == 4);
    open_plugin(argv[1]);
    CHECK(weft_runtime_new(&options, &runtime) == 0);
    CHECK(weft_mutex_init(&mutex, "oracle") == 0);
    CHECK(weft_channel_new(1, 1, "empty", &empty) == 0);
    CHECK(weft_channel_new(1, 1, "full", &full) == 0);
    CHECK(weft_channel_send(full, room, WEFT_NEVER) == 0);
    held.runtime = runtime;
    CHECK(weft_task_spawn(&held, hold_mutex, NULL, NULL) == 0);
    while (weft_mutex_try_lock(&mutex) == 0) { // until it holds it
        CHECK(weft_mutex_unlock(&mutex) == 0);
        (void)usleep(1000);
    }
    for (int i = 0; i < TASKS; i++)
        spawn(runtime, i);
    weft_dump *dump = take_when_parked(runtime);
    write_dump(argv[2], dump);
    write_truth(argv[3]);
    printf("parked\n");
    (void)fflush(stdout);
    (void)getchar();
    _exit(0); // with all of them
}
