// test_dump_signal.c -- A dump on a signal: text to standard error, JSON to a
// file.
//
// Signals, the environment and standard error belong to the process, so each
// case runs in a child of its own, with standard error in a file.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/dumps.h"

// ---- Cases in children ----

static char folder[PATH_MAX]; // of this case: its files go here

static void make_folder(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(folder, sizeof folder, "%s/weft-signal-XXXXXX",
             base == NULL ? "/tmp" : base);
    expect(mkdtemp(folder) != NULL);
}

static void remove_folder(void)
{
    char path[PATH_MAX + 300];
    DIR *open = opendir(folder);
    struct dirent *entry;

    expect(open != NULL);
    while ((entry = readdir(open)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        (void)unlink(path);
    }
    (void)closedir(open);
    expect_is(rmdir(folder), 0);
}

// The path of a file of this case; good until the next call.
static const char *in_folder(const char *name)
{
    static char path[PATH_MAX + 300];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

// What a file holds; the caller's. NULL: there is none.
static char *content(const char *name)
{
    FILE *file = fopen(in_folder(name), "re");
    char *text = NULL;
    size_t size = 0;
    FILE *to;
    int c;

    if (file == NULL)
        return NULL;
    to = open_memstream(&text, &size);
    expect(to != NULL);
    while ((c = getc(file)) != EOF)
        putc(c, to);
    (void)fclose(to);
    (void)fclose(file);
    return text;
}

static unsigned times_said(const char *words)
{
    char *text = content("stderr");
    unsigned times = 0;

    for (char *at = text; (at = strstr(at, words)) != NULL; at++)
        times++;
    free(text);
    return times;
}

static void in_child(void (*body)(void))
{
    int status;

    make_folder();
    fflush(NULL);
    pid_t child = fork();
    expect(child >= 0);
    if (child == 0) {
        int kept = dup(STDERR_FILENO);
        int file = open(in_folder("stderr"),
                        O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
        expect(kept >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
        (void)unsetenv("WEFT_DUMP_SIGNAL");
        (void)unsetenv("WEFT_DUMP_FILE");
        body();
        // exit, not _exit: sanitizers report at the end.
        exit(EXIT_SUCCESS);
    }
    expect(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char *text = content("stderr");
        fprintf(stderr, "child: status %x\n%s\n", status, text);
        free(text);
        abort();
    }
    remove_folder();
}

#define CASE(name)                                                             \
    static void name(void **state)                                             \
    {                                                                          \
        (void)state;                                                           \
        in_child(name##_body);                                                 \
    }

// ---- Inside a child ----

static weft_runtime *start_with(int number, const char *path, const char *name)
{
    weft_runtime_options options = {.size = sizeof options,
                                    .workers = 2,
                                    .name = name,
                                    .dump_signal = number,
                                    .dump_path = path};
    weft_runtime *runtime;

    expect_is(weft_runtime_new(&options, &runtime), 0);
    return runtime;
}

static void await_dumps(weft_runtime *runtime, uint64_t count)
{
    weft_runtime_metrics metrics;

    do {
        doze();
        expect_is(weft_runtime_metrics_get(runtime, &metrics), 0);
    } while (metrics.dumps < count);
}

static void await_file(const char *name)
{
    while (access(in_folder(name), F_OK) != 0)
        doze();
}

static void await_words(const char *words, unsigned times)
{
    while (times_said(words) < times)
        doze();
}

static void check_json(const char *name)
{
    char *text = content(name);

    expect(text != NULL);
    expect(strstr(text, "\"format\"") != NULL);
    expect(strstr(text, "\"weft-dump\"") != NULL);
    size_t size = strlen(text);
    expect(size > 2 && text[size - 1] == '\n' && text[size - 2] == '}');
    free(text);
}

// No file may be left that the test does not expect: a part written under
// another name, say.
static size_t files_in_folder(void)
{
    DIR *open = opendir(folder);
    struct dirent *entry;
    size_t count = 0;

    expect(open != NULL);
    while ((entry = readdir(open)) != NULL)
        count += entry->d_name[0] != '.';
    (void)closedir(open);
    return count;
}

// ---- By option and by environment ----

static void option_body(void)
{
    weft_runtime *runtime = start_with(SIGUSR1, NULL, "by-option");

    expect_is(kill(getpid(), SIGUSR1), 0);
    await_dumps(runtime, 1);
    expect_is(kill(getpid(), SIGUSR1), 0);
    await_dumps(runtime, 2);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(times_said("by-option"), 2);
    expect_is(files_in_folder(), 1);
}

CASE(option)

static void environment_body(void)
{
    static const char *const names[] = {"USR2", "SIGUSR2", "12"};

    expect_is(SIGUSR2, 12);
    for (size_t i = 0; i < 3; i++) {
        expect_is(setenv("WEFT_DUMP_SIGNAL", names[i], 1), 0);
        weft_runtime *runtime = start_with(0, NULL, "by-environment");
        expect_is(kill(getpid(), SIGUSR2), 0);
        await_dumps(runtime, 1);
        expect_is(weft_runtime_free(runtime), 0);
    }
    expect_is(times_said("by-environment"), 3);
}

CASE(environment)

// The option beats the environment; -1 says no to it.
static void precedence_body(void)
{
    struct sigaction action;

    expect_is(setenv("WEFT_DUMP_SIGNAL", "USR2", 1), 0);
    weft_runtime *runtime = start_with(SIGUSR1, NULL, "first");
    expect_is(sigaction(SIGUSR2, NULL, &action), 0);
    expect(action.sa_handler == SIG_DFL);
    expect_is(kill(getpid(), SIGUSR1), 0);
    await_dumps(runtime, 1);
    expect_is(weft_runtime_free(runtime), 0);
    runtime = start_with(-1, NULL, "second");
    expect_is(sigaction(SIGUSR2, NULL, &action), 0);
    expect(action.sa_handler == SIG_DFL);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(setenv("WEFT_DUMP_SIGNAL", "", 1), 0);
    runtime = start_with(0, NULL, "third"); // empty: none
    expect_is(weft_runtime_free(runtime), 0);
}

CASE(precedence)

// A mistake of the environment's is told, and no signal is taken over.
static void refuse(const char *value)
{
    struct sigaction before[32];
    struct sigaction after;

    for (int i = 1; i < 32; i++)
        expect_is(sigaction(i, NULL, &before[i]), 0);
    expect_is(setenv("WEFT_DUMP_SIGNAL", value, 1), 0);
    weft_runtime *runtime = start_with(0, NULL, "refuses");
    for (int i = 1; i < 32; i++) {
        if (i == SIGSEGV || i == SIGBUS) // of the overflow report
            continue;
        expect_is(sigaction(i, NULL, &after), 0);
        expect(after.sa_handler == before[i].sa_handler);
    }
    expect_is(weft_runtime_free(runtime), 0);
}

static void bad_names_body(void)
{
    static const char *const bad[] = {"NOSUCH", "SIG",   "KILL", "SIGSTOP",
                                      "SEGV",   "USR1 ", "0",    "-3",
                                      "65",     "12x",   "9",    "userx"};
    static const int numbers[] = {-2,      65,      1000,   INT_MIN,
                                  SIGKILL, SIGSTOP, SIGSEGV};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        refuse(bad[i]);
        expect_is(times_said(bad[i]) > 0, true); // says which it was
    }
    expect_is(unsetenv("WEFT_DUMP_SIGNAL"), 0);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        weft_runtime_options options = {.size = sizeof options,
                                        .dump_signal = numbers[i]};
        weft_runtime *runtime;
        expect_is(weft_runtime_new(&options, &runtime), -EINVAL);
    }
}

CASE(bad_names)

// ---- The handler that was there before ----

static atomic_uint heard;

static void hear(int number)
{
    (void)number;
    atomic_fetch_add(&heard, 1);
}

static void restores_body(void)
{
    struct sigaction action = {.sa_handler = hear, .sa_flags = SA_RESTART};
    struct sigaction now;

    expect_is(sigaction(SIGUSR1, &action, NULL), 0);
    for (int i = 0; i < 3; i++) {
        weft_runtime *runtime = start_with(SIGUSR1, NULL, "guest");
        expect_is(kill(getpid(), SIGUSR1), 0);
        await_dumps(runtime, 1);
        expect_is(weft_runtime_free(runtime), 0);
        expect_is(sigaction(SIGUSR1, NULL, &now), 0);
        expect(now.sa_handler == hear && (now.sa_flags & SA_RESTART));
        unsigned before = atomic_load(&heard);
        expect_is(raise(SIGUSR1), 0);
        expect_is(atomic_load(&heard), before + 1);
    }
}

CASE(restores)

// A runtime that could not be made leaves nothing installed.
static void failed_start_body(void)
{
    weft_runtime_options options = {.size = sizeof options,
                                    .workers = 1,
                                    .dump_signal = SIGUSR1,
                                    .dump_patience_ns = -1};
    struct sigaction now;
    weft_runtime *runtime;

    expect_is(weft_runtime_new(&options, &runtime), -EINVAL);
    expect_is(sigaction(SIGUSR1, NULL, &now), 0);
    expect(now.sa_handler == SIG_DFL);
}

CASE(failed_start)

// ---- Several runtimes ----

static void several_body(void)
{
    weft_runtime *one = start_with(SIGUSR1, NULL, "number-one");
    weft_runtime *two = start_with(SIGUSR1, NULL, "number-two");
    weft_runtime *three = start_with(SIGUSR2, NULL, "number-three");

    expect_is(kill(getpid(), SIGUSR1), 0);
    await_dumps(one, 1);
    await_dumps(two, 1);
    expect_is(times_said("number-three"), 0);
    expect_is(kill(getpid(), SIGUSR2), 0);
    await_dumps(three, 1);
    // The signal stays as long as one of them does.
    expect_is(weft_runtime_free(one), 0);
    expect_is(kill(getpid(), SIGUSR1), 0);
    await_dumps(two, 2);
    expect_is(weft_runtime_free(two), 0);
    struct sigaction now;
    expect_is(sigaction(SIGUSR1, NULL, &now), 0);
    expect(now.sa_handler == SIG_DFL);
    expect_is(weft_runtime_free(three), 0);
    expect_is(times_said("number-one"), 1);
    expect_is(times_said("number-two"), 2);
    expect_is(times_said("number-three"), 1);
}

CASE(several)

// ---- Files ----

static void paths_body(void)
{
    char wanted[64];
    char *pattern = strdup(in_folder("dump-%p-%n-100%%-%x.json"));

    expect(pattern != NULL);
    weft_runtime *runtime = start_with(SIGUSR1, pattern, "to-file");
    memset(pattern, 'x', strlen(pattern)); // was copied
    free(pattern);
    for (int i = 1; i <= 2; i++) {
        expect_is(kill(getpid(), SIGUSR1), 0);
        snprintf(wanted, sizeof wanted, "dump-%d-%d-100%%-%%x.json",
                 (int)getpid(), i);
        await_file(wanted);
        check_json(wanted);
        await_words(wanted, 1); // is told on standard error
    }
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(files_in_folder(), 3);
    expect_is(times_said("to-file"), 2);
}

CASE(paths)

static void file_by_environment_body(void)
{
    expect_is(setenv("WEFT_DUMP_FILE", in_folder("from-env.json"), 1), 0);
    weft_runtime *runtime = start_with(SIGUSR1, NULL, "to-file");
    expect_is(kill(getpid(), SIGUSR1), 0);
    await_file("from-env.json");
    check_json("from-env.json");
    expect_is(weft_runtime_free(runtime), 0);
}

CASE(file_by_environment)

// The text is written even if the file cannot be, and why is said.
static void unwritable_body(void)
{
    char path[PATH_MAX + 300];

    snprintf(path, sizeof path, "%s", in_folder("no/such/folder.json"));
    weft_runtime *runtime = start_with(SIGUSR1, path, "to-nowhere");
    expect_is(kill(getpid(), SIGUSR1), 0);
    await_words("cannot write", 1);
    expect_is(times_said(strerror(ENOENT)), 1);
    expect_is(times_said("no/such/folder.json"), 1);
    expect_is(times_said("to-nowhere"), 1);
    // And the next is served as well.
    expect_is(kill(getpid(), SIGUSR1), 0);
    await_words("cannot write", 2);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(files_in_folder(), 1);
}

CASE(unwritable)

// A path that is a directory cannot be renamed onto; no part is left behind.
static void not_a_file_body(void)
{
    char path[PATH_MAX + 300];

    snprintf(path, sizeof path, "%s", in_folder("sub"));
    expect_is(mkdir(path, 0700), 0);
    weft_runtime *runtime = start_with(SIGUSR1, path, "to-folder");
    expect_is(kill(getpid(), SIGUSR1), 0);
    await_words("cannot write", 1);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(files_in_folder(), 2);
    expect_is(rmdir(path), 0);
}

CASE(not_a_file)

// ---- Under load ----

static atomic_bool stop;
static atomic_ulong steps;

static void *work(void *arg)
{
    while (!atomic_load(&stop)) {
        expect_is(weft_task_sleep(weft_time_after(10 * WEFT_MICROSECOND)), 0);
        // A signal may come at any place, in a system call too.
        errno = EXDEV;
        for (int i = 0; i < 100; i++)
            expect(getppid() > 0);
        expect_is(errno, EXDEV);
        atomic_fetch_add(&steps, 1);
    }
    return arg;
}

static void under_load_body(void)
{
    weft_runtime *runtime = start_with(SIGUSR1, NULL, "loaded");
    weft_task tasks[16];
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    expect_is(sigaction(SIGPIPE, &ignore, NULL), 0);
    for (int i = 0; i < 16; i++)
        tasks[i] = spawn(runtime, NULL, work, NULL);
    for (unsigned n = 1; n <= scaled(50); n++) {
        expect_is(kill(getpid(), SIGUSR1), 0);
        await_dumps(runtime, n);
    }
    unsigned long before = atomic_load(&steps);
    while (atomic_load(&steps) < before + 100)
        doze();
    atomic_store(&stop, true);
    for (int i = 0; i < 16; i++)
        (void)join(tasks[i]);
    expect_is(weft_runtime_free(runtime), 0);
    expect_is(times_said("loaded"), scaled(50));
}

CASE(under_load)

// Signals that come faster than dumps are taken: some may fall together, but
// the last one is answered by a dump that is taken after it.
static void storm_body(void)
{
    weft_runtime *runtime = start_with(SIGUSR1, NULL, "stormy");
    weft_runtime_metrics metrics;

    for (unsigned n = 0; n < scaled(500); n++)
        expect_is(kill(getpid(), SIGUSR1), 0);
    await_dumps(runtime, 1);
    expect_is(weft_runtime_metrics_get(runtime, &metrics), 0);
    uint64_t before = metrics.dumps;
    expect_is(kill(getpid(), SIGUSR1), 0);
    await_dumps(runtime, before + 1);
    expect_is(weft_runtime_free(runtime), 0);
}

CASE(storm)

// Signals while the runtime begins and ends.
static void *signal_often(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        expect_is(kill(getpid(), SIGUSR1), 0);
        doze();
    }
    return NULL;
}

static void at_both_ends_body(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    pthread_t thread;

    expect_is(sigaction(SIGUSR1, &ignore, NULL), 0);
    expect_is(pthread_create(&thread, NULL, signal_often, NULL), 0);
    for (unsigned n = 0; n < scaled(100); n++) {
        weft_runtime *runtime = start_with(SIGUSR1, NULL, "brief");
        if (n % 2 == 0)
            doze();
        expect_is(weft_runtime_free(runtime), 0);
    }
    atomic_store(&stop, true);
    (void)pthread_join(thread, NULL);
}

CASE(at_both_ends)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(option),
        cmocka_unit_test(environment),
        cmocka_unit_test(precedence),
        cmocka_unit_test(bad_names),
        cmocka_unit_test(restores),
        cmocka_unit_test(failed_start),
        cmocka_unit_test(several),
        cmocka_unit_test(paths),
        cmocka_unit_test(file_by_environment),
        cmocka_unit_test(unwritable),
        cmocka_unit_test(not_a_file),
        cmocka_unit_test(under_load),
        cmocka_unit_test(storm),
        cmocka_unit_test(at_both_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
