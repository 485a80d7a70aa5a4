// counted_end.c -- Counters of a process that does not end by exit().
//
// In the build for ./dev coverage. gcc's counters are written by exit(), while
// tests of misuse, of overflowed stacks and of forked children end otherwise:
// these functions stand in for libc's (--wrap), write the counters, and go on
// as ever.
#include <signal.h>
#include <stdlib.h>

void __gcov_dump(void);
void __gcov_reset(void);

_Noreturn void __real_abort(void);
_Noreturn void __real__exit(int status);
__sighandler_t __real_signal(int number, __sighandler_t handler);
_Noreturn void __wrap_abort(void);
_Noreturn void __wrap__exit(int status);
__sighandler_t __wrap_signal(int number, __sighandler_t handler);

// From zero again, so that what is written later adds up.
static void write_counters(void)
{
    __gcov_dump();
    __gcov_reset();
}

_Noreturn void __wrap_abort(void)
{
    write_counters();
    __real_abort();
}

_Noreturn void __wrap__exit(int status)
{
    write_counters();
    __real__exit(status);
}

// Who puts back what a signal does by itself is about to be ended by it.
__sighandler_t __wrap_signal(int number, __sighandler_t handler)
{
    if (handler == SIG_DFL)
        write_counters();
    return __real_signal(number, handler);
}
