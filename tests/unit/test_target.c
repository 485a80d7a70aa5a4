// test_target.c -- Stopping another process changes nothing in it.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "remote/target.h"
#include "support/sanitizers.h"
#include "support/skip.h"

enum { STOPS = 300 };

// What the other process tells.
struct told {
    atomic_uint signals;
    atomic_uint turns;
    atomic_uint child;
    atomic_uint goes_on;
};

static struct told *told; // shared with it

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&told->signals, 1);
}

static void *spin(void *unused)
{
    for (;;)
        atomic_fetch_add(&told->turns, 1);
    return unused;
}

static void begin_spinning(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, spin, NULL) != 0)
        _exit(1);
}

// Waits until it spins.
static int start(void (*act)(void))
{
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(told, MAP_FAILED);
    (void)signal(SIGRTMIN, count_signal);
    int pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        act();
    }
    assert_true(pid > 0);
    while (atomic_load(&told->turns) == 0)
        (void)usleep(100);
    return pid;
}

static void end(int pid)
{
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    (void)signal(SIGRTMIN, SIG_DFL);
    (void)munmap(told, sizeof *told);
}

static void spin_here(void)
{
    (void)spin(NULL);
}

// Under a filter of system calls, say, nobody may.
static void skip_if_forbidden(void)
{
    struct target target;
    int pid = start(spin_here);
    int error = target_open(&target, pid);

    if (error == 0)
        error = target_stop(&target);
    target_close(&target);
    end(pid);
    if (error != 0)
        skip_because(target.problem);
}

// ---- Signals ----

static void spin_twice(void)
{
    begin_spinning();
    (void)spin(NULL);
}

static atomic_bool sent_enough;

static void *send_signals(void *pid)
{
    union sigval value = {0};
    uintptr_t sent = 0;

    while (!atomic_load(&sent_enough))
        sent += sigqueue((int)(intptr_t)pid, SIGRTMIN, value) == 0;
    return (void *)sent;
}

static void test_signals_arrive(void **state)
{
    struct target target;
    pthread_t sender;
    void *sent;

    (void)state;
    if (UNDER_TSAN)
        skip_because("ThreadSanitizer keeps one signal of each number");
    skip_if_forbidden();
    int pid = start(spin_twice);
    assert_int_equal(target_open(&target, pid), 0);
    assert_int_equal(
        pthread_create(&sender, NULL, send_signals, (void *)(intptr_t)pid), 0);
    for (unsigned i = 0; i < STOPS; i++) {
        assert_int_equal(target_stop(&target), 0);
        target_resume(&target);
    }
    atomic_store(&sent_enough, true);
    assert_int_equal(pthread_join(sender, &sent), 0);
    while (atomic_load(&told->signals) < (uintptr_t)sent)
        (void)usleep(1000); // one that is lost never comes
    target_close(&target);
    end(pid);
}

// ---- Threads that have ended ----

static void leave_it_to_another(void)
{
    begin_spinning();
    pthread_exit(NULL);
}

static void test_without_its_first_thread(void **state)
{
    struct target target;

    (void)state;
    skip_if_forbidden();
    int pid = start(leave_it_to_another);
    (void)usleep(10000); // the first thread ends
    assert_int_equal(target_open(&target, pid), 0);
    assert_int_equal(target_stop(&target), 0);
    for (size_t i = 0; i < target.thread_count; i++)
        assert_int_equal(target.threads[i].stopped,
                         target.threads[i].tid != pid);
    unsigned turns = atomic_load(&told->turns);
    (void)usleep(10000);
    assert_int_equal(atomic_load(&told->turns), turns);
    target_resume(&target);
    while (atomic_load(&told->turns) == turns)
        (void)usleep(100);
    target_close(&target);
    end(pid);
}

// ---- Threads that cannot stop ----

static void *fork_a_child(void *unused)
{
    if (vfork() == 0) { // until it ends, this thread hears no signal
        atomic_store(&told->child, (unsigned)getpid());
        for (;;)
            (void)pause();
    }
    for (;;)
        atomic_fetch_add(&told->goes_on, 1);
    return unused;
}

static void wait_for_a_child(void)
{
    pthread_t thread;

    begin_spinning();
    if (pthread_create(&thread, NULL, fork_a_child, NULL) != 0)
        _exit(1);
    for (;;)
        (void)pause();
}

// It is let go all the same, and not only when this process ends.
static void test_one_that_cannot_stop_goes_on_later(void **state)
{
    struct target target;
    unsigned child;

    (void)state;
    skip_if_forbidden();
    int pid = start(wait_for_a_child);
    while ((child = atomic_load(&told->child)) == 0)
        (void)usleep(100);
    assert_int_equal(target_open(&target, pid), 0);
    assert_int_equal(target_stop(&target), 0);
    target_resume(&target);
    assert_int_equal(kill((int)child, SIGKILL), 0);
    while (atomic_load(&told->goes_on) == 0)
        (void)usleep(100); // for ever, if it stands now
    target_close(&target);
    end(pid);
}

// ---- The caller ----

static atomic_uint caught;

static void catch (int number)
{
    (void)number;
    atomic_fetch_add(&caught, 1);
}

// One that would end or stop it must find the target running.
static void test_signals_wait_for_the_end_of_the_stop(void **state)
{
    struct target target;

    (void)state;
    skip_if_forbidden();
    int pid = start(spin_here);
    (void)signal(SIGTSTP, catch);
    atomic_store(&caught, 0);
    assert_int_equal(target_open(&target, pid), 0);
    assert_int_equal(target_stop(&target), 0);
    assert_int_equal(kill(getpid(), SIGTSTP), 0);
    assert_int_equal(atomic_load(&caught), 0);
    target_resume(&target);
    assert_int_equal(atomic_load(&caught), 1);
    (void)signal(SIGTSTP, SIG_DFL);
    target_close(&target);
    end(pid);
}

// ---- Without a stop ----

static void spin_and_wait(void)
{
    begin_spinning();
    for (;;)
        (void)syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
}

// Where one stands that waits is known, and that it still does; of one that
// runs nothing is.
static void test_look_places_those_that_wait(void **state)
{
    struct target target;

    (void)state;
    skip_if_forbidden();
    int pid = start(spin_and_wait);
    assert_int_equal(target_open(&target, pid), 0);
    assert_int_equal(target_look(&target), 0);
    const struct target_thread *waiting = target_thread(&target, pid);
    assert_non_null(waiting);
    while (!waiting->in_call || waiting->call != SYS_ppoll) { // on its way
        target_resume(&target);
        assert_int_equal(target_look(&target), 0);
        waiting = target_thread(&target, pid);
    }
    assert_true(waiting->standing);
    assert_true(waiting->regs.reg[CFI_SP] != 0 && waiting->regs.pc != 0);
    assert_true(target_still(&target, waiting));
    assert_false(waiting->stopped);
    unsigned turns = atomic_load(&told->turns);
    while (atomic_load(&told->turns) == turns)
        (void)usleep(100); // nothing was stopped
    target_close(&target);
    end(pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_that_cannot_stop_goes_on_later),
        cmocka_unit_test(test_signals_wait_for_the_end_of_the_stop),
        cmocka_unit_test(test_look_places_those_that_wait),
        cmocka_unit_test(test_signals_arrive),
        cmocka_unit_test(test_without_its_first_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
