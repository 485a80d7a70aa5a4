// test_refusal.c -- Each rule of the kernel's that keeps one process from
// looking into another is named, with the way round it.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "remote/refusal.h"

// What each case differs in: a process of the asker's, which is no root, and
// which may look into no other user's.
static struct refusal plain(void)
{
    return (struct refusal){.pid = 4711,
                            .exists = true,
                            .user = 1000,
                            .own_user = 1000,
                            .yama = -1,
                            .error = EACCES};
}

static void expect(const struct refusal *refusal, const char *rule,
                   const char *way)
{
    char text[256];

    refusal_explain(refusal, text, sizeof text);
    if (strstr(text, rule) == NULL || strstr(text, way) == NULL)
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", text, rule, way);
    assert_true(strlen(text) < sizeof text - 1); // not cut
}

static void test_what_it_is(void **state)
{
    struct refusal gone = plain(), thread = plain(), kernel = plain(),
                   ended = plain();

    (void)state;
    gone.exists = false;
    expect(&gone, "no such process", "");
    thread.thread_of = 4700;
    expect(&thread, "it is a thread", "its process, 4700");
    kernel.kernel = true;
    expect(&kernel, "thread of the kernel", "runs no program");
    ended.ended = true;
    expect(&ended, "it has ended", "zombie");
}

static void test_stop_refused(void **state)
{
    struct refusal traced = plain(), filtered = plain(), other = plain();

    (void)state;
    traced.readable = filtered.readable = other.readable = true;
    traced.tracer = 99;
    memcpy(traced.tracer_name, "gdb", 4);
    traced.filtered = true; // the first rule that does not hold is named
    expect(&traced, "process 99 (gdb) traces it already", "--no-stop");
    filtered.filtered = true;
    expect(&filtered, "seccomp", "--no-stop");
    expect(&other, strerror(EACCES), "--no-stop");
}

static void test_users(void **state)
{
    struct refusal user = plain(), contained = plain();

    (void)state;
    user.own_user = 1001;
    user.yama = 1;
    expect(&user, "run by user 1000, and this command by user 1001", "as root");
    contained.own_user = 0;
    expect(&contained, "lacks the capability SYS_PTRACE", "as that user");
}

static void test_own_rules(void **state)
{
    struct refusal sealed = plain(), capable = plain();

    (void)state;
    sealed.sealed = true;
    expect(&sealed, "not dumpable", "as root");
    capable.lacking = 1 << 10;
    expect(&capable, "this command lacks (`capsh --decode=400` has", "as root");
}

static void test_yama(void **state)
{
    struct refusal yama = plain();

    (void)state;
    yama.yama = 1;
    expect(&yama, "ptrace_scope is 1", "as root");
    yama.yama = 2;
    expect(&yama, "ptrace_scope is 2", "as root");
    yama.yama = 3;
    expect(&yama, "ptrace_scope is 3", "WEFT_DUMP_SIGNAL");
    yama.may_trace = true; // it holds for root too
    yama.own_user = 0;
    yama.user = 0;
    expect(&yama, "ptrace_scope is 3", "WEFT_DUMP_SIGNAL");
}

static void test_unknown_rule(void **state)
{
    struct refusal unknown = plain();

    (void)state;
    expect(&unknown, "security module", "as root");
    unknown.may_trace = true;
    expect(&unknown, "user namespace", "though this command has");
    unknown.apart = true;
    expect(&unknown, "user namespace", "run this outside of it");
}

// ---- What the kernel says ----

static void test_reads_itself(void **state)
{
    struct refusal self;

    (void)state;
    refusal_read(&self, getpid());
    assert_true(self.exists);
    assert_int_equal(self.thread_of, 0);
    assert_false(self.kernel);
    assert_false(self.ended);
    assert_int_equal(self.user, getuid());
    assert_int_equal(self.own_user, geteuid());
    assert_int_equal(self.lacking, 0);
}

static void test_reads_a_zombie(void **state)
{
    struct refusal ended;
    siginfo_t info;
    int pid = fork();

    (void)state;
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    refusal_read(&ended, pid);
    assert_true(ended.ended);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    refusal_read(&ended, pid);
    assert_false(ended.exists);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_it_is),
        cmocka_unit_test(test_stop_refused),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_own_rules),
        cmocka_unit_test(test_yama),
        cmocka_unit_test(test_unknown_rule),
        cmocka_unit_test(test_reads_itself),
        cmocka_unit_test(test_reads_a_zombie),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
