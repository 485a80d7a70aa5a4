// test_limits.c -- Without memory, threads or descriptors: the errors promised,
// and nothing left behind.
//
// Each case runs in a process of its own, which takes the resource away from
// itself. No runtime is started in this one.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <weft/weft.h>

#include <cmocka.h>

#include "support/child.h"
#include "support/skip.h"
#include "support/tasks.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

static struct child child;

// ---- What there is. ----

static int count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static long status_of(const char *key)
{
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");

    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            value = atol(line + strlen(key));
    fclose(file);
    return value;
}

static rlim_t mapped(void)
{
    return (rlim_t)status_of("VmSize:") * 1024;
}

static void set_limit(int resource, rlim_t value)
{
    struct rlimit limit;

    expect_is(getrlimit(resource, &limit), 0);
    limit.rlim_cur = value;
    expect_is(setrlimit(resource, &limit), 0);
}

static void *echo(void *arg)
{
    return arg;
}

static int try_runtime(unsigned workers)
{
    weft_runtime_options options = {.size = sizeof options, .workers = workers};
    weft_runtime *runtime = NULL;
    int error = weft_runtime_new(&options, &runtime);

    expect((error == 0) == (runtime != NULL)); // or nothing was stored
    if (error != 0)
        return error;
    error = weft_runtime_run(runtime, echo, NULL, NULL);
    expect_is(weft_runtime_free(runtime), 0);
    return error;
}

// A joined thread may still be counted for a moment.
static void until_threads(long count)
{
    while (status_of("Threads:") > count)
        continue;
}

// ---- Descriptors. ----

static void run_out_of_descriptors(void)
{
    int error = try_runtime(2);
    int before = count_descriptors();
    long threads = status_of("Threads:"); // a sanitizer may have one too

    expect_is(error, 0);
    error = -EMFILE;
    for (int spare = 0; error != 0; spare++) {
        int held[256];
        int count = 0;
        set_limit(RLIMIT_NOFILE, 64);
        while ((held[count] = open("/dev/null", O_RDONLY)) >= 0)
            count++;
        expect_is(errno, EMFILE);
        for (int i = 0; i < spare && count > 0; i++)
            close(held[--count]);
        for (int i = 0; i < 10; i++) {
            error = try_runtime(2);
            expect(error == 0 || error == -EMFILE);
        }
        expect(error != 0 || spare > 0);
        while (count > 0)
            close(held[--count]);
        expect_is(count_descriptors(), before);
        until_threads(threads);
    }
}

static void be_refused(int times)
{
    set_limit(RLIMIT_NOFILE, 3);
    for (int i = 0; i < times; i++)
        expect_is(try_runtime(2), -EMFILE);
    set_limit(RLIMIT_NOFILE, 64);
}

// Many refusals in a row keep no memory.
static void be_refused_often(void)
{
    be_refused(1);
    rlim_t before = mapped();
    be_refused(300);
#ifdef SANITIZED // it keeps what is freed for a while
    (void)before;
#else
    expect(mapped() < before + (4 << 20));
#endif
}

static void test_without_descriptors(void **state)
{
    (void)state;
    child_run(run_out_of_descriptors, &child);
    assert_true(child_is_well(&child));
    child_run(be_refused_often, &child);
    assert_true(child_is_well(&child));
}

// ---- Threads. ----

// A user of whom there is no other process. The privileged have no limit.
static void become_nobody(void)
{
    uid_t user = 61000 + (uid_t)getpid() % 4000;

    if (getuid() == 0)
        expect_is(setresuid(user, user, user), 0);
}

static void run_out_of_threads(void)
{
    int before = count_descriptors();
    int error = -EAGAIN;
    int refused = 0;

    become_nobody();
    for (rlim_t allowed = 1; error != 0; allowed++) {
        set_limit(RLIMIT_NPROC, allowed);
        error = try_runtime(4);
        expect(error == 0 || error == -EAGAIN);
        refused += error != 0;
        expect_is(count_descriptors(), before);
        until_threads(1);
    }
    expect(refused >= 4); // each of the workers was refused once
}

static void test_without_threads(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip_because("the sanitizer has threads of its own");
#else
    child_run(run_out_of_threads, &child);
    assert_true(child_is_well(&child));
#endif
}

#ifndef SANITIZED

static void *call_in_vain(void *arg)
{
    int error;

    set_limit(RLIMIT_NPROC, 1);
    for (int i = 0; i < 10; i++)
        expect_is(weft_blocking_run(echo, arg, NULL), -EAGAIN);
    set_limit(RLIMIT_NPROC, 1000);
    error = weft_blocking_run(echo, arg, NULL);
    expect_is(error, 0);
    set_limit(RLIMIT_NPROC, 1); // now the pool has one
    expect_is(weft_blocking_run(echo, arg, NULL), 0);
    return arg;
}

static void block_without_threads(void)
{
    become_nobody();
    run_with(2, call_in_vain, NULL);
    until_threads(1);
}

#endif

static void test_blocking_without_threads(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip_because("the sanitizer has threads of its own");
#else
    child_run(block_without_threads, &child);
    assert_true(child_is_well(&child));
#endif
}

// ---- Memory. ----

#ifndef SANITIZED

// From nothing to enough: at each stage it is refused, and leaves nothing.
static void start_without_memory(void)
{
    int before = count_descriptors();
    int error = 1;
    int refused = 0;

    (void)try_runtime(2); // so that the C library has what it keeps
    until_threads(1);
    rlim_t base = mapped();
    for (rlim_t more = 0; error != 0; more += 4 << 20) {
        set_limit(RLIMIT_AS, base + more);
        for (int i = 0; i < 3; i++) {
            error = try_runtime(2);
            expect(error == 0 || error == -ENOMEM || error == -EAGAIN);
            refused += error != 0;
            until_threads(1);
        }
        set_limit(RLIMIT_AS, RLIM_INFINITY);
        expect_is(count_descriptors(), before);
        expect(mapped() < base + (100 << 20)); // 64 of them may be an arena
    }
    expect(refused > 3);
}

static void test_starting_without_memory(void)
{
    child_run(start_without_memory, &child);
    assert_true(child_is_well(&child));
}

static void *sleep_for_ever(void *arg)
{
    (void)weft_task_sleep(WEFT_NEVER);
    return arg;
}

enum { MANY = 1000 };

// Large stacks until there is no more; then all end, and it goes on.
static void *fill_memory(void *arg)
{
    weft_task_options options = {.size = sizeof options,
                                 .stack_size = 16 << 20};
    weft_task *tasks = malloc(MANY * sizeof *tasks);
    weft_task refused = {42};
    weft_channel *channel = NULL;
    int count = 0;
    int error;

    set_limit(RLIMIT_AS, mapped() + (200 << 20));
    while ((error = weft_task_spawn(&options, sleep_for_ever, arg,
                                    &tasks[count])) == 0)
        expect(++count < MANY);
    expect_is(error, -ENOMEM);
    for (int i = 0; i < 100; i++)
        expect_is(weft_task_spawn(&options, echo, arg, &refused), -ENOMEM);
    expect_is(refused.id, 42);
    expect_is(weft_channel_new(1 << 20, 512, NULL, &channel), -ENOMEM);
    expect(channel == NULL);
    expect(count > 5);
    for (int i = 0; i < count; i++) {
        expect_is(weft_task_cancel(tasks[i]), 0);
        join(tasks[i]);
    }
    for (int i = 0; i < 100; i++) { // what was given back serves again
        expect_is(weft_task_spawn(&options, echo, arg, &tasks[0]), 0);
        join(tasks[0]);
    }
    set_limit(RLIMIT_AS, RLIM_INFINITY);
    free(tasks);
    return NULL;
}

static void spawn_without_memory(void)
{
    run_with(2, fill_memory, NULL);
}

static void test_spawning_without_memory(void)
{
    child_run(spawn_without_memory, &child);
    assert_true(child_is_well(&child));
}

// Nothing is left at all.
static void exhaust(void)
{
    void *volatile taken; // or the compiler would see that nobody needs them

    set_limit(RLIMIT_AS, 4096);
    for (size_t size = 1 << 20; size >= 16; size /= 2)
        do
            taken = malloc(size);
        while (taken != NULL);
}

static void *go_without(void *arg)
{
    weft_task task = {42};
    weft_channel *channel = NULL;
    weft_runtime *runtime = NULL;
    int number = 1;

    expect_is(weft_task_set_label("first", "one"), 0);
    expect_is(weft_channel_new(sizeof number, 1, NULL, &channel), 0);
    weft_task old = spawn(sleep_for_ever, NULL);
    exhaust();
    expect_is(weft_task_set_label("second", "two"), -ENOMEM);
    expect_is(weft_task_set_label("first", "two"), 0); // in its old place
    expect_is(weft_task_spawn(NULL, echo, arg, &task), -ENOMEM); // labels
    expect_is(task.id, 42);
    expect_is(weft_runtime_new(NULL, &runtime), -ENOMEM);
    // What is there needs no more.
    expect_is(weft_channel_send(channel, &number, WEFT_NEVER), 0);
    expect_is(weft_channel_recv(channel, &number, WEFT_NEVER), 0);
    expect_is(weft_channel_recv(channel, &number, weft_time_after(100000)),
              -ETIMEDOUT);
    expect_is(weft_task_cancel(old), 0);
    join(old);
    expect_is(weft_task_set_label("first", NULL), 0);
    expect_is(weft_task_spawn(NULL, echo, arg, &task), 0); // a slot from before
    join(task);
    set_limit(RLIMIT_AS, RLIM_INFINITY);
    expect_is(weft_channel_free(channel), 0);
    return arg;
}

static void live_without_memory(void)
{
    run_with(1, go_without, NULL);
}

static void test_living_without_memory(void)
{
    child_run(live_without_memory, &child);
    assert_true(child_is_well(&child));
}

#endif

static void test_without_memory(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip_because("the sanitizer needs the address space itself");
#else
    test_starting_without_memory();
    test_spawning_without_memory();
    test_living_without_memory();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_descriptors),
        cmocka_unit_test(test_without_threads),
        cmocka_unit_test(test_blocking_without_threads),
        cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
