// program.c -- Dumps itself, for test_modules.py: how it is linked, which
// module a task stands in, and what became of that module since.
//
// usage: program TEXT JSON [MODULE ENTRY [--close] [--chdir DIR]] [--shell CMD]
//
// Two tasks wait: "own" in functions of this program, "guest" in a callback
// from ENTRY of MODULE. The dump goes to the files TEXT and JSON. Before it is
// printed, with --close the guest ends and the module is closed; with --shell a
// command is run. The rest of the arguments are in this order.
#include <weft/weft.h>

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modules/plugin.h"

struct show {
    const char *text, *json;
    plugin_entry *entry; // or NULL
    bool close;
    const char *shell;
    weft_channel *gate;
    weft_dump *dump;
};

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "program.c:%d: %s\n", __LINE__, #condition);       \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

// ---- What the tasks do. ----

static __attribute__((noinline)) void hold(void *arg)
{
    char item;

    (void)weft_channel_recv(arg, &item, WEFT_NEVER);
    STAY;
}

static inline __attribute__((always_inline)) void own_inlined(void *arg)
{
    hold(arg);
    STAY;
}

static __attribute__((noinline)) void own_secret(void *arg)
{
    own_inlined(arg);
    STAY;
}

static void *own(void *arg)
{
    struct show *show = arg;

    own_secret(show->gate);
    STAY;
    return NULL;
}

static void *guest(void *arg)
{
    struct show *show = arg;

    show->entry(hold, show->gate);
    STAY;
    return NULL;
}

// ---- The dump. ----

static bool all_wait(const weft_dump *dump, size_t expected)
{
    weft_dump_task task;
    size_t waiting = 0;

    for (size_t i = 0; weft_dump_get_task(dump, i, &task) == 0; i++)
        waiting += task.wait == WEFT_WAIT_CHAN_RECV;
    return waiting == expected;
}

static weft_dump *take(size_t expected)
{
    for (;;) {
        weft_dump *dump;
        CHECK(weft_dump_take(weft_runtime_self(), &dump) == 0);
        if (all_wait(dump, expected))
            return dump;
        weft_dump_free(dump);
        CHECK(weft_task_yield() == 0);
    }
}

static void print(const struct show *show)
{
    CHECK(!show->shell || system(show->shell) == 0);
    FILE *text = fopen(show->text, "w");
    FILE *json = fopen(show->json, "w");
    CHECK(text && weft_dump_print_text(show->dump, NULL, text) == 0);
    CHECK(json && weft_dump_print_json(show->dump, NULL, json) == 0);
    CHECK(fclose(text) == 0 && fclose(json) == 0);
}

static weft_task start(weft_task_fn *fn, const char *name, struct show *show)
{
    weft_task_options options = {.size = sizeof(options), .name = name};
    weft_task task;

    CHECK(weft_task_spawn(&options, fn, show, &task) == 0);
    return task;
}

static void *run(void *arg)
{
    struct show *show = arg;
    weft_task tasks[2];
    size_t count = 0;

    CHECK(weft_channel_new(1, 1, "gate", &show->gate) == 0);
    tasks[count++] = start(own, "own", show);
    if (show->entry)
        tasks[count++] = start(guest, "guest", show);
    show->dump = take(count);
    if (!show->close)
        print(show);
    CHECK(weft_channel_close(show->gate) == 0);
    for (size_t i = 0; i < count; i++)
        CHECK(weft_task_join(tasks[i], WEFT_NEVER, NULL) == 0);
    CHECK(weft_channel_free(show->gate) == 0);
    return NULL;
}

int main(int argc, char **argv)
{
    struct show show = {.text = argv[1], .json = argv[2]};
    weft_runtime_options options = {.size = sizeof(options), .workers = 2};
    void *module = NULL;
    int at = 3;

    CHECK(argc >= 3);
    if (argc > at + 1 && argv[at][0] != '-') {
        module = dlopen(argv[at], RTLD_NOW | RTLD_LOCAL);
        if (!module)
            fprintf(stderr, "%s\n", dlerror());
        CHECK(module);
        show.entry = (plugin_entry *)dlsym(module, argv[at + 1]);
        CHECK(show.entry);
        at += 2;
    }
    if (argc > at && !strcmp(argv[at], "--close"))
        show.close = ++at > 0;
    if (argc > at + 1 && !strcmp(argv[at], "--chdir"))
        CHECK(chdir(argv[(at += 2) - 1]) == 0);
    if (argc > at + 1 && !strcmp(argv[at], "--shell"))
        show.shell = argv[(at += 2) - 1];
    CHECK(at == argc);
    CHECK(weft_run(&options, run, &show, NULL) == 0);
    if (show.close) {
        CHECK(dlclose(module) == 0);
        print(&show);
    }
    weft_dump_free(show.dump);
    return 0;
}
