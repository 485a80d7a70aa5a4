// test_save.c -- A saved dump is read as the process was, to the letter.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft/dump.h>

#include "remote/core_file.h"
#include "remote/save.h"
#include "remote/take.h"
#include "support/skip.h"
#include "support/stuck.h"

// ---- A process whose tasks are stuck ----

static int start(void)
{
    int ends[2];
    char byte = 0;

    assert_int_equal(pipe(ends), 0);
    int pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)stuck_start();
        stuck_check(write(ends[1], &byte, 1) == 1);
        for (;;)
            (void)pause();
    }
    assert_true(pid > 0);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    close(ends[1]);
    return pid;
}

static void end(int pid)
{
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

typedef int print_fn(const weft_dump *, const weft_print_options *, FILE *);

static char *print(print_fn *fn, const struct remote_dumps *dumps)
{
    weft_print_options options = {
        .size = sizeof options, .verbose = true, .all_tasks = true};
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    assert_non_null(to);
    assert_int_equal(dumps->count, 1);
    assert_int_equal(fn(dumps->dumps[0], &options, to), 0);
    assert_int_equal(fclose(to), 0);
    return text;
}

// ---- Saving ----

// Skips where nobody may look at another process.
static void record(int pid, int fd, struct remote_dumps *ret_dumps)
{
    struct recorder recorder;
    struct target target;
    int error = target_open(&target, pid);

    if (error == 0) {
        assert_int_equal(recorder_init(&recorder, &target, fd), 0);
        error = remote_take(&recorder.target, NULL, ret_dumps);
        if (error == 0)
            assert_int_equal(recorder_finish(&recorder, ret_dumps->dumps[0]),
                             0);
        else
            memcpy(target.problem, recorder.target.problem,
                   sizeof target.problem);
        recorder_deinit(&recorder);
    }
    target_close(&target);
    if (error != 0) {
        end(pid);
        skip_because(target.problem);
    }
}

static void check_same(print_fn *fn, const struct remote_dumps *dumps,
                       const struct remote_dumps *again)
{
    char *was = print(fn, dumps);
    char *is = print(fn, again);

    assert_string_equal(was, is);
    free(was);
    free(is);
}

static void test_to_the_letter(void **state)
{
    struct remote_dumps dumps = {0}, again = {0};
    struct core_file core;
    int fd = memfd_create("saved", MFD_CLOEXEC);
    char path[64];

    (void)state;
    assert_true(fd >= 0);
    int pid = start();
    record(pid, fd, &dumps);
    end(pid);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int error = core_file_open(&core, path, NULL);
    if (error == 0)
        error = remote_take(&core.target, NULL, &again);
    assert_string_equal(core.target.problem, "");
    assert_int_equal(error, 0);
    core_file_close(&core);
    assert_true(dumps.dumps[0]->task_count == STUCK_TASKS);
    assert_true(dumps.dumps[0]->finding_count > 0);
    check_same(weft_dump_print_text, &dumps, &again);
    check_same(weft_dump_print_json, &dumps, &again);
    remote_free(&dumps);
    remote_free(&again);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_to_the_letter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
