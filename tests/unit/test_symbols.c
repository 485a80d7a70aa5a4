// test_symbols.c -- Names of places: lines, inlining, weft's own frames,
// modules that are gone, no libdw, no network.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dump/trace.h"
#include "report/symbols.h"
#include "support/dump_maker.h"
#include "support/places.h"
#include "support/skip.h"
#include "task/switch.h"

#define FRAMES 8

static struct symbols *make(struct model_module **ret_modules,
                            size_t *ret_count)
{
    assert_int_equal(model_load_modules(ret_modules, ret_count), 0);
    struct symbols *symbols =
        symbols_new(*ret_modules, *ret_count, (uintptr_t)task_entry);
    assert_non_null(symbols);
    return symbols;
}

// As make, but only where libdw is.
static struct symbols *make_full(struct model_module **ret_modules,
                                 size_t *ret_count)
{
    weft_frame frame;
    struct symbols *symbols = make(ret_modules, ret_count);

    assert_int_equal(symbols_lookup(symbols, places[TRANSFER_41], &frame, 1),
                     1);
    if (!symbols_limit(symbols))
        return symbols;
    symbols_free(symbols);
    model_free_modules(*ret_modules, *ret_count);
    skip_because("no libdw here");
    return NULL;
}

static void expect_place(struct symbols *symbols, enum place place,
                         const char *function, const char *file, int line)
{
    weft_frame frames[FRAMES];
    int count = symbols_lookup(symbols, places[place], frames, FRAMES);

    assert_int_equal(count, 1);
    assert_string_equal(frames[0].function, function);
    assert_string_equal(frames[0].file, file);
    assert_int_equal(frames[0].line, line);
    assert_true(frames[0].pc == places[place]);
    assert_false(frames[0].inlined);
    assert_false(frames[0].runtime);
    assert_non_null(frames[0].module);
}

static void lines(void **state)
{
    struct model_module *modules;
    size_t count;
    struct symbols *symbols = make_full(&modules, &count);

    (void)state;
    for (int round = 0; round < 2; round++) { // the second from memory
        expect_place(symbols, TRANSFER_41, "transfer", "app/bank.c", 41);
        expect_place(symbols, TRANSFER_69, "transfer", "app/bank.c", 69);
        expect_place(symbols, REQUEST_MAIN_118, "request_main", "app/conn.c",
                     118);
        expect_place(symbols, WORKER_MAIN_30, "worker_main", "app/work.c", 30);
    }
    symbols_free(symbols);
    model_free_modules(modules, count);
}

static void inlined(void **state)
{
    struct model_module *modules;
    size_t count;
    struct symbols *symbols = make_full(&modules, &count);
    weft_frame frames[FRAMES];

    (void)state;
    assert_int_equal(
        symbols_lookup(symbols, places[INLINED_12], frames, FRAMES), 3);
    assert_string_equal(frames[0].function, "innermost");
    assert_string_equal(frames[0].file, "app/inline.h");
    assert_int_equal(frames[0].line, 12);
    assert_true(frames[0].inlined);
    assert_string_equal(frames[1].function, "between");
    assert_string_equal(frames[1].file, "app/inline.h");
    assert_int_equal(frames[1].line, 23);
    assert_true(frames[1].inlined);
    assert_string_equal(frames[2].function, "outermost");
    assert_string_equal(frames[2].file, "app/inline.c");
    assert_int_equal(frames[2].line, 34);
    assert_false(frames[2].inlined);
    // Fewer than there are: the number of all, and nothing beyond the room.
    frames[1].line = 99;
    assert_int_equal(symbols_lookup(symbols, places[INLINED_12], frames, 1), 3);
    assert_int_equal(frames[1].line, 99);
    assert_int_equal(symbols_lookup(symbols, places[INLINED_12], NULL, 0), 3);
    symbols_free(symbols);
    model_free_modules(modules, count);
}

static void own_frames(void **state)
{
    struct model_module *modules;
    size_t count;
    struct symbols *symbols = make_full(&modules, &count);
    const uintptr_t own[] = {(uintptr_t)symbols_new, (uintptr_t)lock_acquire,
                             (uintptr_t)port_now, (uintptr_t)weft_dump_free};
    weft_frame frame;

    (void)state;
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
        assert_true(symbols_lookup(symbols, own[i] + 2, &frame, 1) >= 1);
        assert_true(frame.runtime);
        assert_memory_equal(frame.file, "src/", 4);
    }
    // The C library's are not.
    assert_true(symbols_lookup(symbols, (uintptr_t)qsort + 2, &frame, 1) >= 1);
    assert_false(frame.runtime);
    symbols_free(symbols);
    model_free_modules(modules, count);
}

static void unknown_places(void **state)
{
    struct model_module *modules;
    size_t count;
    struct symbols *symbols = make(&modules, &count);
    const uintptr_t pcs[] = {0,
                             1,
                             4096,
                             UINTPTR_MAX,
                             UINTPTR_MAX / 2,
                             (uintptr_t)&count,
                             (uintptr_t)places};
    weft_frame frame;

    (void)state;
    for (size_t i = 0; i < sizeof(pcs) / sizeof(*pcs); i++) {
        assert_int_equal(symbols_lookup(symbols, pcs[i], &frame, 1), 1);
        assert_true(frame.pc == pcs[i]);
        assert_false(frame.inlined);
    }
    // Every byte of this program's start and the last of every module.
    for (size_t i = 0; i < count; i++) {
        assert_true(symbols_lookup(symbols, modules[i].end, &frame, 1) >= 1);
        assert_true(symbols_lookup(symbols, modules[i].start, &frame, 1) >= 1);
    }
    symbols_free(symbols);
    symbols_free(NULL);
    model_free_modules(modules, count);
}

// Many at once, some of them twice, and every one can be found after.
static void batches(void **state)
{
    struct model_module *modules;
    size_t count;
    struct symbols *symbols = make(&modules, &count);
    uintptr_t pcs[3000];
    weft_frame frames[FRAMES];

    (void)state;
    for (size_t i = 0; i < 3000; i++)
        pcs[i] = (uintptr_t)symbols_load - 1000 + i % 2000;
    assert_int_equal(symbols_load(symbols, pcs, 3000), 0);
    assert_int_equal(symbols_load(symbols, pcs, 0), 0);
    for (size_t i = 0; i < 3000; i++) {
        assert_true(symbols_lookup(symbols, pcs[i], frames, FRAMES) >= 1);
        assert_true(frames[0].pc == pcs[i]);
    }
    symbols_free(symbols);
    model_free_modules(modules, count);
}

// ---- Modules that are not what they were. ----

static void bad_modules(void **state)
{
    char directory[] = "/tmp/weft-symbols-XXXXXX";
    char file[64];
    char short_file[] = "\177ELF\2\1\1";
    struct model_module modules[] = {
        {.path = (char *)"/no/such/file", .start = 0x1000, .end = 0x2000},
        {.path = (char *)"/no/such/file", .start = 0x1000, .end = 0x3000},
        {.path = (char *)"/dev/null", .start = 0x3000, .end = 0x4000},
        {.path = (char *)"/tmp", .start = 0x4000, .end = 0x5000},
        {.path = file, .start = 0x5000, .end = 0x6000, .bias = 0x5000},
        {.path = (char *)"", .start = 0x6000, .end = 0x7000},
        {.path = (char *)"/proc/self/exe",
         .build_id = (char *)"00ff",
         .start = 0x7000,
         .end = 0x8000,
         .bias = 0x7000},
    };
    size_t count = sizeof(modules) / sizeof(*modules);
    weft_frame frame;

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(file, sizeof(file), "%s/short", directory);
    int fd = open(file, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_true(write(fd, short_file, sizeof(short_file)) > 0);
    close(fd);
    struct symbols *symbols =
        symbols_new(modules, count, (uintptr_t)task_entry);
    for (uintptr_t pc = 0x1100; pc < 0x8000; pc += 0x100) {
        assert_int_equal(symbols_lookup(symbols, pc, &frame, 1), 1);
        assert_non_null(frame.module);
        assert_null(frame.function);
        assert_null(frame.file);
    }
    symbols_free(symbols);
    unlink(file);
    rmdir(directory);
}

// Names are not taken from a file that has come in the place of a module's.
static void replaced_module(void **state)
{
    struct model_module *modules;
    size_t count;
    struct symbols *symbols = make_full(&modules, &count);
    weft_frame frame;

    (void)state;
    symbols_free(symbols);
    if (!modules[0].build_id) {
        model_free_modules(modules, count);
        skip_because("this test was linked without a build-id");
    }
    modules[0].build_id[0] ^= 1; // '0' becomes '1', 'a' becomes '`'
    symbols = symbols_new(modules, count, (uintptr_t)task_entry);
    assert_int_equal(symbols_lookup(symbols, places[TRANSFER_41], &frame, 1),
                     1);
    assert_null(frame.file);
    symbols_free(symbols);
    model_free_modules(modules, count);
}

// ---- Modules of a process. ----

static void modules_of_process(void **state)
{
    struct model_module *modules;
    size_t count;
    size_t with_main = 0, with_libc = 0;

    (void)state;
    assert_int_equal(model_load_modules(&modules, &count), 0);
    assert_true(count >= 2);
    for (size_t i = 0; i < count; i++) {
        assert_true(modules[i].start < modules[i].end);
        uintptr_t main_pc = places[TRANSFER_41];
        uintptr_t libc_pc = (uintptr_t)gnu_get_libc_version;
        if (main_pc >= modules[i].start && main_pc < modules[i].end)
            with_main = i + 1;
        if (libc_pc >= modules[i].start && libc_pc < modules[i].end)
            with_libc = i + 1;
        const char *id = modules[i].build_id;
        assert_true(!id || strspn(id, "0123456789abcdef") == strlen(id));
    }
    assert_int_equal(with_main, 1); // the executable is the first
    assert_true(modules[0].path[0] == '/');
    assert_true(with_libc > 1);
    model_free_modules(modules, count);
}

// ---- Threads. ----

static void *look_up_all(void *arg)
{
    weft_dump *dump = arg;
    weft_frame frames[FRAMES];

    for (int i = 0; i < PLACE_COUNT; i++)
        if (weft_dump_get_frames(dump, places[i], frames, FRAMES) < 1 ||
            frames[0].pc != places[i])
            return dump;
    return NULL;
}

static void threads(void **state)
{
    weft_dump *dump = maker_new();
    pthread_t thread[8];

    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, look_up_all, dump),
                         0);
    for (int i = 0; i < 8; i++) {
        void *wrong;
        assert_int_equal(pthread_join(thread[i], &wrong), 0);
        assert_null(wrong);
    }
    weft_dump_free(dump);
}

// On no more stack than a task has.
static void small_stack(void **state)
{
    weft_dump *dump = maker_new();
    pthread_attr_t attributes;
    pthread_t thread;
    void *wrong;

    (void)state;
    long least = sysconf(_SC_THREAD_STACK_MIN);
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(
                         &attributes, least > 65536 ? (size_t)least : 65536),
                     0);
    if (pthread_create(&thread, &attributes, look_up_all, dump))
        skip_because("no thread with so small a stack");
    assert_int_equal(pthread_join(thread, &wrong), 0);
    assert_null(wrong);
    pthread_attr_destroy(&attributes);
    weft_dump_free(dump);
}

// ---- Nobody is asked for debug information. ----

static void no_network(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    char url[64], cache[] = "/tmp/weft-symbols-XXXXXX";
    struct model_module *modules;
    size_t count;
    weft_frame frame;
    int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    (void)state;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(server >= 0);
    assert_int_equal(bind(server, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(server, 8), 0);
    assert_int_equal(getsockname(server, (struct sockaddr *)&address, &size),
                     0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", ntohs(address.sin_port));
    assert_non_null(mkdtemp(cache));
    setenv("DEBUGINFOD_URLS", url, 1);
    setenv("DEBUGINFOD_CACHE_PATH", cache, 1); // no memory of earlier answers
    setenv("DEBUGINFOD_TIMEOUT", "1", 1);      // if it asks, then not for long
    setenv("DEBUGINFOD_RETRY_LIMIT", "1", 1);
    struct symbols *symbols = make(&modules, &count);
    for (size_t i = 0; i < count;
         i++) // also of those without debug information
        assert_true(
            symbols_lookup(symbols, modules[i].start + 0x2000, &frame, 1) >= 1);
    assert_true(symbols_lookup(symbols, (uintptr_t)qsort + 9, &frame, 1) >= 1);
    assert_int_equal(accept(server, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
    symbols_free(symbols);
    model_free_modules(modules, count);
    unsetenv("DEBUGINFOD_URLS");
    rmdir(cache);
    close(server);
}

// ---- Without libdw. ----

static int run_without_libdw(void)
{
    weft_dump *dump = maker_new();
    weft_frame frame;
    int count = weft_dump_get_frames(dump, places[TRANSFER_41], &frame, 1);

    if (count != 1 || frame.file || frame.line || !frame.module)
        return 1;
    // An exported function of a library has a name all the same.
    void *library = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    void *function = library ? dlsym(library, "qsort") : NULL;
    if (!function ||
        weft_dump_get_frames(dump, (uintptr_t)function + 2, &frame, 1) != 1)
        return 2;
    if (!frame.function || !strstr(frame.function, "qsort"))
        return 3;
    maker_finish(dump);
    if (weft_dump_print_text(dump, NULL, stdout) ||
        weft_dump_print_json(dump, NULL, stdout))
        return 4;
    weft_dump_free(dump);
    dlclose(library);
    return 0;
}

// Runs this program again with a libdw.so.1 in the way that is none. A build
// without it says so.
static void without_libdw(void **state)
{
    char directory[] = "/tmp/weft-symbols-XXXXXX";
    char command[8192], self[4096], file[64], text[65536] = "";
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self));

    (void)state;
    assert_in_range(length, 1, sizeof(self) - 1);
    assert_non_null(mkdtemp(directory));
    snprintf(file, sizeof(file), "%s/libdw.so.1", directory);
    int fd = open(file, O_WRONLY | O_CREAT, 0700);
    assert_true(fd >= 0);
    close(fd);
    snprintf(command, sizeof(command), "LD_LIBRARY_PATH=%s %.*s without-libdw",
             directory, (int)length, self);
    FILE *output = popen(command, "r");
    if (!output) {
        unlink(file);
        rmdir(directory);
        skip_because("no shell to start the program with");
    }
    size_t size = fread(text, 1, sizeof(text) - 1, output);
    int status = pclose(output);
    unlink(file);
    rmdir(directory);
    if (WEXITSTATUS(status) == 127)
        skip_because("this program cannot be run again");
    assert_int_equal(status, 0);
    text[size] = '\0';
#ifdef HAVE_LIBDW
    assert_non_null(strstr(text, "(few names: libdw.so.1 was not found"));
#else
    assert_non_null(strstr(text, "(few names: weft was built without "));
#endif
    assert_non_null(strstr(text, "\"code\": \"no-libdw\""));
}

// ---- Traces. ----

static void traces(void **state)
{
    weft_trace *trace = calloc(1, sizeof(*trace));
    const uintptr_t *pcs;
    size_t count, size;
    enum weft_stack_end end;
    weft_frame frames[FRAMES];
    char *text;
    FILE *file = open_memstream(&text, &size);

    (void)state;
    assert_non_null(trace);
    trace->count = 2;
    trace->pcs = malloc(2 * sizeof(*trace->pcs));
    trace->pcs[0] = places[INLINED_12];
    trace->pcs[1] = places[REQUEST_MAIN_118];
    trace->end = WEFT_STACK_CUT;
    assert_int_equal(weft_trace_get_pcs(trace, &pcs, &count, &end), 0);
    assert_int_equal(count, 2);
    assert_true(pcs[1] == places[REQUEST_MAIN_118]);
    assert_int_equal(end, WEFT_STACK_CUT);
    assert_int_equal(weft_trace_get_pcs(trace, NULL, &count, &end), -EINVAL);
    assert_int_equal(weft_trace_get_frames(NULL, 1, frames, FRAMES), -EINVAL);
    assert_int_equal(weft_trace_print(trace, NULL), -EINVAL);
    assert_true(weft_trace_get_frames(trace, pcs[0], frames, FRAMES) >= 1);
    assert_int_equal(weft_trace_print(trace, file), 0);
    fclose(file);
    if (!symbols_limit(trace->names))
        assert_string_equal(text,
                            "innermost (inlined)           app/inline.h:12\n"
                            "between (inlined)             app/inline.h:23\n"
                            "outermost                     app/inline.c:34\n"
                            "request_main                  app/conn.c:118\n");
    free(text);
    weft_trace_free(trace);
    weft_trace_free(NULL);
}

int main(int argc, char **argv)
{
    // Files are shown relative to where the program runs: where it was built.
    const char *tree = getenv("WEFT_TREE");

    if (tree && chdir(tree) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),           cmocka_unit_test(inlined),
        cmocka_unit_test(own_frames),      cmocka_unit_test(unknown_places),
        cmocka_unit_test(batches),         cmocka_unit_test(bad_modules),
        cmocka_unit_test(replaced_module), cmocka_unit_test(modules_of_process),
        cmocka_unit_test(threads),         cmocka_unit_test(small_stack),
        cmocka_unit_test(no_network),      cmocka_unit_test(without_libdw),
        cmocka_unit_test(traces),
    };

    places_init();
    if (argc > 1 && !strcmp(argv[1], "without-libdw"))
        return run_without_libdw();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
