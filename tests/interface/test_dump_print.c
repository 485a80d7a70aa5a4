// test_dump_print.c -- Real dumps as text and as JSON.
//
// Every document is checked by tools/validate_dump.py, against the schema and
// against itself; the text for what a person relies on.
#include <errno.h>
#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/dumps.h"
#include "support/skip.h"

enum { COLUMNS_MAX = 100, MANY = 10500 };

// Names as a program may have them, by mistake or malice.
#define ODD_NAME "odd \"name\"\n\t\x01\x7f\\ \xc3\xa9 \xff\xfe </script> %s"
#define LONG_NAME                                                              \
    "a name that is much longer than the sixty-four bytes that are kept of "   \
    "any name and label"
#define WIDE_NAME                                                              \
    "\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97" \
    "\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97" \
    "\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97"

// ---- A program with everything in it ----

struct everything {
    weft_runtime *runtime;
    weft_channel *gate;
    weft_mutex accounts, audit, odd;
    atomic_uint taken;
    atomic_bool spinning, stop;
    weft_task joined;
};

static struct everything all;

static void *receive(void *arg)
{
    char item;

    return (void *)(intptr_t)weft_channel_recv(arg, &item, WEFT_NEVER);
}

static void lock_both(weft_mutex *first, weft_mutex *second)
{
    expect_is(weft_mutex_lock(first, WEFT_NEVER), 0);
    atomic_fetch_add(&all.taken, 1);
    while (atomic_load(&all.taken) < 2)
        (void)weft_task_yield();
    if (weft_mutex_lock(second, WEFT_NEVER) == 0)
        expect_is(weft_mutex_unlock(second), 0);
    expect_is(weft_mutex_unlock(first), 0);
}

static void *transfer(void *arg)
{
    (void)weft_task_set_label("request", arg != NULL ? "forth" : "back");
    if (arg != NULL)
        lock_both(&all.accounts, &all.audit);
    else
        lock_both(&all.audit, &all.accounts);
    return NULL;
}

static void *wait_for_mutex(void *arg)
{
    int64_t deadline_ns = weft_time_after(3600 * WEFT_SECOND);

    if (weft_mutex_lock(arg, deadline_ns) == 0)
        expect_is(weft_mutex_unlock(arg), 0);
    return NULL;
}

static void *hold_odd(void *arg)
{
    expect_is(weft_mutex_lock(&all.odd, WEFT_NEVER), 0);
    expect_is(weft_task_set_label(ODD_NAME, ODD_NAME), 0);
    expect_is(weft_task_set_label("k", LONG_NAME), 0);
    (void)receive(arg);
    expect_is(weft_mutex_unlock(&all.odd), 0);
    return NULL;
}

static void *sleep_on(void *arg)
{
    (void)weft_task_sleep(arg == NULL ? WEFT_NEVER
                                      : weft_time_after(1000 * WEFT_SECOND));
    return NULL;
}

static void *join_it(void *arg)
{
    return (void *)(intptr_t)weft_task_join(*(weft_task *)arg, WEFT_NEVER,
                                            NULL);
}

static void *listen_on(void *arg)
{
    weft_fd listener, connection;

    expect_is(weft_tcp_listen("127.0.0.1", 0, 0, &listener), 0);
    expect_is(weft_tcp_accept(listener, WEFT_NEVER, &connection), -ECANCELED);
    expect_is(weft_fd_close(listener), 0);
    return arg;
}

static void *in_scope(void *arg)
{
    weft_scope scope;

    expect_is(weft_scope_enter(&scope, weft_time_after(3600 * WEFT_SECOND)), 0);
    (void)weft_scope_spawn(&scope, NULL, receive, arg, NULL);
    (void)weft_scope_leave(&scope);
    return NULL;
}

__attribute__((noinline)) static int deep(int depth, weft_channel *gate)
{
    int result =
        depth > 0 ? deep(depth - 1, gate) + 1 : (int)(intptr_t)receive(gate);

    __asm__ volatile("" : "+r"(result));
    return result;
}

static void *go_deep(void *arg)
{
    return (void *)(intptr_t)deep(300, arg);
}

static void *nothing(void *arg)
{
    return arg;
}

// Out of reach for a capture: it blocks the signal for that.
static void *spin(void *arg)
{
    sigset_t every;
    sigset_t before;

    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    atomic_store(&all.spinning, true);
    while (!atomic_load(&all.stop))
        continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return arg;
}

// Starts tasks that end up waiting, of all kinds, and says how many they are.
static unsigned start_waiters(void)
{
    weft_runtime *rt = all.runtime;
    struct {
        const char *name;
        weft_task_fn *fn;
        void *arg;
    } waiters[] = {
        {"transfer 1", transfer, &all},
        {"transfer 2", transfer, NULL},
        {ODD_NAME, hold_odd, all.gate},
        {"auditor", wait_for_mutex, &all.audit}, // all the rest
        {LONG_NAME, wait_for_mutex, &all.accounts},
        {WIDE_NAME, wait_for_mutex, &all.odd},
        {NULL, receive, all.gate},
        {NULL, receive, all.gate},
        {"sleeper", sleep_on, NULL},
        {"timed sleeper", sleep_on, &all},
        {"listener", listen_on, NULL},
        {"deep", go_deep, all.gate},
        {"scoped", in_scope, all.gate}, // and its child
    };
    unsigned count = sizeof waiters / sizeof *waiters;

    for (unsigned i = 0; i < count; i++) {
        if (i == 3) // once the mutexes are held
            weft_dump_free(take_when(rt, WEFT_STATE_WAITING, 3));
        expect_is(weft_task_detach(spawn(rt, waiters[i].name, waiters[i].fn,
                                         waiters[i].arg)),
                  0);
    }
    all.joined = spawn(rt, "joined", receive, all.gate);
    expect_is(weft_task_detach(spawn(rt, "joiner", join_it, &all.joined)), 0);
    return count + 3;
}

static void start_everything(void)
{
    weft_runtime_options options = {.size = sizeof options,
                                    .workers = 2,
                                    .name = "every\"thing",
                                    .dump_patience_ns = 20 * MS,
                                    .no_yield_ns = MS};

    all = (struct everything){0};
    expect_is(weft_runtime_new(&options, &all.runtime), 0);
    expect_is(weft_channel_new(1, 1, "gate", &all.gate), 0);
    expect_is(weft_mutex_init(&all.accounts, "accounts"), 0);
    expect_is(weft_mutex_init(&all.audit, "audit"), 0);
    expect_is(weft_mutex_init(&all.odd, ODD_NAME), 0);
}

static void end_everything(void)
{
    atomic_store(&all.stop, true);
    expect_is(weft_runtime_free(all.runtime), 0);
    expect_is(weft_channel_free(all.gate), 0);
    expect_is(weft_mutex_deinit(&all.accounts), 0);
    expect_is(weft_mutex_deinit(&all.audit), 0);
    expect_is(weft_mutex_deinit(&all.odd), 0);
}

// A dump with all of that: complete, or with a worker missing, tasks that are
// new behind it, and one that is done.
static weft_dump *take_everything(bool stuck)
{
    start_everything();
    weft_dump *dump =
        take_when(all.runtime, WEFT_STATE_WAITING, start_waiters());
    if (!stuck)
        return dump;
    weft_dump_free(dump);
    weft_task done = spawn(all.runtime, "done", nothing, NULL);
    weft_dump_free(take_when(all.runtime, WEFT_STATE_DONE, 1));
    for (int i = 0; i < 2; i++) {
        atomic_store(&all.spinning, false);
        expect_is(weft_task_detach(spawn(all.runtime, "spinner", spin, NULL)),
                  0);
        while (!atomic_load(&all.spinning))
            doze();
    }
    expect_is(weft_task_detach(spawn(all.runtime, "new", nothing, NULL)), 0);
    dump = take(all.runtime);
    expect(!info_of(dump).complete);
    atomic_store(&all.stop, true);
    (void)join(done);
    return dump;
}

// ---- Printing ----

static char *text_of(const weft_dump *dump, const weft_print_options *options)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    expect(file != NULL);
    expect_is(weft_dump_print_text(dump, options, file), 0);
    expect_is(fclose(file), 0);
    expect_is(strlen(text), size);
    return text;
}

static char *json_of(const weft_dump *dump, const weft_print_options *options)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    expect(file != NULL);
    expect_is(weft_dump_print_json(dump, options, file), 0);
    expect_is(fclose(file), 0);
    expect_is(strlen(text), size);
    return text;
}

// ---- JSON ----

static bool can_validate(void)
{
    return getenv("WEFT_SOURCE") != NULL &&
           system("python3 -c 'import jsonschema' 2>/dev/null") == 0;
}

static void validate(const char *json)
{
    const char *source = getenv("WEFT_SOURCE");
    char path[] = "/tmp/weft-json-XXXXXX";
    char command[PATH_MAX + 100];
    int fd = mkstemp(path);

    expect(fd >= 0);
    size_t size = strlen(json);
    expect_is(write(fd, json, size), size);
    (void)close(fd);
    snprintf(command, sizeof command,
             "python3 -B '%s/tools/validate_dump.py' %s >&2", source, path);
    int status = system(command);
    (void)unlink(path);
    expect_is(status, 0);
}

static void validate_all_forms(const weft_dump *dump)
{
    weft_print_options options = {.size = sizeof options};
    char *plain = json_of(dump, NULL);
    char *again = json_of(dump, &options);

    expect(strcmp(plain, again) == 0);
    validate(plain);
    free(again);
    options.compact = true;
    options.all_tasks = true;
    char *compact = json_of(dump, &options);
    expect(strchr(compact, '\n') == compact + strlen(compact) - 1);
    validate(compact);
    free(compact);
    free(plain);
}

#define NEEDS_VALIDATOR()                                                      \
    do {                                                                       \
        if (!can_validate())                                                   \
            skip_because("needs python3 with jsonschema, and WEFT_SOURCE");    \
    } while (0)

static void test_json_whole(void **state)
{
    (void)state;
    NEEDS_VALIDATOR();
    weft_dump *dump = take_everything(false);
    validate_all_forms(dump);
    weft_dump_free(dump);
    end_everything();
}

static void test_json_incomplete(void **state)
{
    (void)state;
    NEEDS_VALIDATOR();
    weft_dump *dump = take_everything(true);
    char *json = json_of(dump, NULL);
    expect(strstr(json, "\"no-yield\"") != NULL);
    expect(strstr(json, "\"deadlock\"") != NULL);
    expect(strstr(json, "it blocks SIGURG") != NULL);
    free(json);
    validate_all_forms(dump);
    weft_dump_free(dump);
    end_everything();
}

static void test_json_empty(void **state)
{
    (void)state;
    NEEDS_VALIDATOR();
    weft_runtime *runtime = start(1);
    weft_dump *dump = take(runtime);
    validate_all_forms(dump);
    weft_dump_free(dump);
    expect_is(weft_runtime_free(runtime), 0);
}

// More tasks than are listed one by one.
static weft_dump *take_many(weft_runtime *runtime, weft_channel *channel)
{
    weft_task_options options = {
        .size = sizeof options, .runtime = runtime, .stack_size = 16 << 10};

    for (int i = 0; i < MANY; i++)
        expect_is(weft_task_spawn(&options, receive, channel, NULL), 0);
    return take_when(runtime, WEFT_STATE_WAITING, MANY);
}

static void test_json_many(void **state)
{
    (void)state;
    NEEDS_VALIDATOR();
    weft_runtime *runtime = start(2);
    weft_channel *channel;
    expect_is(weft_channel_new(1, 1, "jobs", &channel), 0);
    weft_dump *dump = take_many(runtime, channel);
    validate_all_forms(dump);
    weft_dump_free(dump);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_channel_free(channel), 0);
}

// ---- Text ----

// The columns of a line: characters, not bytes; and no control characters.
static size_t columns(const char *line, const char *end)
{
    size_t count = 0;

    for (const char *at = line; at < end; at++) {
        unsigned char byte = (unsigned char)*at;
        expect(byte >= 0x20 && byte != 0x7f);
        count += (byte & 0xc0) != 0x80;
    }
    return count;
}

static void check_columns(const char *text)
{
    const char *end;

    expect(text[0] != '\0' && text[strlen(text) - 1] == '\n');
    for (const char *line = text; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        if (columns(line, end) <= COLUMNS_MAX)
            continue;
        fprintf(stderr, "too wide: %.*s\n", (int)(end - line), line);
        abort();
    }
}

// Where words begin in a text; they must be there.
static size_t place_of(const char *text, const char *words)
{
    const char *found = strstr(text, words);

    if (found == NULL) {
        fprintf(stderr, "not in the text: %s\n%s", words, text);
        abort();
    }
    return (size_t)(found - text);
}

static void check_text(const weft_dump *dump, const char *text)
{
    size_t findings = place_of(text, "FINDINGS");
    size_t tasks = place_of(text, "TASKS");

    check_columns(text);
    expect(findings < tasks);
    size_t deadlock = place_of(text, "DEADLOCK");
    expect(deadlock > findings && deadlock < tasks);
    (void)place_of(text, "\"accounts\"");
    (void)place_of(text, "\"audit\"");
    (void)place_of(text, "lock_both");
    (void)place_of(text, "test_dump_print.c:");
    (void)place_of(text, "\"gate\"");
    (void)place_of(text, "timed sleeper");
    (void)place_of(text, "\"joined\"");
    for (size_t i = 0; i < info_of(dump).tasks; i++) {
        char id[32];
        snprintf(id, sizeof id, "T%llu",
                 (unsigned long long)task_at(dump, i).id);
        (void)place_of(text, id);
    }
}

static void test_text_whole(void **state)
{
    weft_dump *dump = take_everything(false);
    char *text = text_of(dump, NULL);

    (void)state;
    check_text(dump, text);
    free(text);
    weft_dump_free(dump);
    end_everything();
}

static void test_text_incomplete(void **state)
{
    weft_dump *dump = take_everything(true);
    char *text = text_of(dump, NULL);

    (void)state;
    check_text(dump, text);
    size_t no_yield = place_of(text, "NO YIELD");
    expect(no_yield > place_of(text, "DEADLOCK"));
    expect(no_yield < place_of(text, "TASKS"));
    (void)place_of(text, "INCOMPLETE");
    free(text);
    weft_dump_free(dump);
    end_everything();
}

static void test_text_forms(void **state)
{
    weft_dump *dump = take_everything(false);
    weft_print_options options = {.size = sizeof options};
    char *plain = text_of(dump, &options);

    (void)state;
    expect(strchr(plain, '\x1b') == NULL);
    options.ascii = true;
    char *ascii = text_of(dump, &options);
    check_columns(ascii);
    for (const char *at = ascii; *at != '\0'; at++)
        expect((unsigned char)*at < 0x80);
    options.ascii = false;
    options.color = true;
    char *color = text_of(dump, &options);
    expect(strchr(color, '\x1b') != NULL);
    expect(strlen(color) > strlen(plain));
    options.color = false;
    options.verbose = true;
    char *verbose = text_of(dump, &options);
    check_text(dump, verbose);
    expect(strstr(plain, "weft_mutex_lock ") == NULL);
    (void)place_of(verbose, "weft_mutex_lock ");
    free(plain);
    free(ascii);
    free(color);
    free(verbose);
    weft_dump_free(dump);
    end_everything();
}

static void test_text_many(void **state)
{
    weft_runtime *runtime = start(2);
    weft_channel *channel;

    (void)state;
    expect_is(weft_channel_new(1, 1, "jobs", &channel), 0);
    weft_dump *dump = take_many(runtime, channel);
    char *text = text_of(dump, NULL);
    check_columns(text);
    (void)place_of(text, "10,500");
    (void)place_of(text, "\"jobs\"");
    // All wait at one place, so they are one group.
    size_t lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    expect(lines < 60);
    free(text);
    weft_dump_free(dump);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(weft_channel_free(channel), 0);
}

static void test_text_empty(void **state)
{
    weft_runtime *runtime = start(2);
    weft_dump *dump = take(runtime);
    char *text = text_of(dump, NULL);

    (void)state;
    check_columns(text);
    (void)place_of(text, "0 tasks");
    free(text);
    weft_dump_free(dump);
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- Failing writes, bad options ----

static void test_full_disk(void **state)
{
    weft_dump *dump = take_everything(false);
    FILE *full = fopen("/dev/full", "we");

    (void)state;
    expect(full != NULL);
    setbuf(full, NULL);
    expect_is(weft_dump_print_text(dump, NULL, full), -ENOSPC);
    expect_is(weft_dump_print_json(dump, NULL, full), -ENOSPC);
    (void)fclose(full);
    weft_dump_free(dump);
    end_everything();
}

static void test_bad_options(void **state)
{
    weft_runtime *runtime = start(1);
    weft_dump *dump = take(runtime);
    weft_print_options options = {.size = 3};

    (void)state;
    expect_is(weft_dump_print_text(dump, &options, stderr), -EINVAL);
    expect_is(weft_dump_print_json(dump, &options, stderr), -EINVAL);
    weft_dump_free(dump);
    expect_is(weft_runtime_free(runtime), 0);
}

// ---- Printed by a task ----

enum { GIVE_UP_S = 60 };

// A stream that takes what is written only once another task has run.
static sem_t other_ran;
static atomic_bool was_held;

static ssize_t write_late(void *cookie, const char *bytes, size_t size)
{
    struct timespec limit;

    (void)cookie, (void)bytes;
    expect_is(clock_gettime(CLOCK_REALTIME, &limit), 0);
    limit.tv_sec += GIVE_UP_S;
    while (sem_timedwait(&other_ran, &limit) != 0)
        if (errno != EINTR) {
            atomic_store(&was_held, true);
            break;
        }
    sem_post(&other_ran); // for what is written next
    return (ssize_t)size;
}

static void *run_other(void *arg)
{
    sem_post(&other_ran);
    return arg;
}

enum printer { TEXT, JSON, TRACE, PRINTERS };

static int print_as(enum printer printer, const weft_dump *dump,
                    const weft_trace *trace, FILE *file)
{
    switch (printer) {
    case TEXT:
        return weft_dump_print_text(dump, NULL, file);
    case JSON:
        return weft_dump_print_json(dump, NULL, file);
    default:
        return weft_trace_print(trace, file);
    }
}

// With its only worker held up by the printing, the other task could not run.
static void print_late(enum printer printer, const weft_dump *dump,
                       const weft_trace *trace)
{
    cookie_io_functions_t functions = {.write = write_late};
    FILE *file = fopencookie(NULL, "w", functions);
    weft_task other;

    expect(file != NULL);
    expect_is(setvbuf(file, NULL, _IONBF, 0), 0);
    expect_is(sem_init(&other_ran, 0, 0), 0);
    expect_is(weft_task_spawn(NULL, run_other, NULL, &other), 0);
    expect_is(print_as(printer, dump, trace, file), 0);
    expect(!atomic_load(&was_held));
    expect_is(weft_task_join(other, WEFT_NEVER, NULL), 0);
    expect_is(fclose(file), 0);
}

static void check_frames(const weft_dump *dump, const weft_trace *trace)
{
    enum weft_stack_end end;
    const uintptr_t *pcs;
    weft_frame of_dump, of_trace;
    size_t count;

    expect_is(weft_trace_get_pcs(trace, &pcs, &count, &end), 0);
    expect(weft_dump_get_frames(dump, pcs[0], &of_dump, 1) >= 1);
    expect(weft_trace_get_frames(trace, pcs[0], &of_trace, 1) >= 1);
    expect(of_dump.pc == pcs[0] && of_trace.pc == pcs[0]);
    expect(of_dump.offset == of_trace.offset && of_dump.offset != 0);
}

static void *print_in_task(void *arg)
{
    weft_trace *trace;
    weft_dump *dump;

    (void)arg;
    expect_is(weft_trace_self(&trace), 0);
    for (enum printer printer = TEXT; printer < PRINTERS; printer++) {
        expect_is(weft_dump_take(weft_runtime_self(), &dump), 0);
        print_late(printer, dump, trace);
        weft_dump_free(dump);
    }
    expect_is(weft_dump_take(weft_runtime_self(), &dump), 0);
    check_frames(dump, trace);
    weft_dump_free(dump);
    weft_trace_free(trace);
    return NULL;
}

static void test_task_prints(void **state)
{
    weft_runtime_options options = {.size = sizeof options, .workers = 1};

    (void)state;
    expect_is(weft_run(&options, print_in_task, NULL, NULL), 0);
}

// What a cancelled task prints is whole all the same.
static void *print_cancelled(void *arg)
{
    weft_dump *dump;
    size_t size;
    char *text;
    FILE *file = open_memstream(&text, &size);

    (void)arg;
    expect(file != NULL);
    expect_is(weft_dump_take(weft_runtime_self(), &dump), 0);
    expect_is(weft_task_cancel(weft_task_self()), 0);
    expect_is(weft_dump_print_json(dump, NULL, file), 0);
    expect_is(fclose(file), 0);
    expect(strstr(text, "\"findings\": [") != NULL); // the last of its parts
    free(text);
    weft_dump_free(dump);
    return NULL;
}

static void test_cancelled_prints(void **state)
{
    weft_runtime_options options = {.size = sizeof options, .workers = 2};

    (void)state;
    expect_is(weft_run(&options, print_cancelled, NULL, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_whole),
        cmocka_unit_test(test_json_incomplete),
        cmocka_unit_test(test_json_empty),
        cmocka_unit_test(test_json_many),
        cmocka_unit_test(test_text_whole),
        cmocka_unit_test(test_text_incomplete),
        cmocka_unit_test(test_text_forms),
        cmocka_unit_test(test_text_many),
        cmocka_unit_test(test_text_empty),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_task_prints),
        cmocka_unit_test(test_cancelled_prints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
