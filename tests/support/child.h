// child.h -- Runs a body in a forked process, and keeps what it said and how it
// ended.
//
// To be used by a process that has no threads at that moment.
#ifndef WEFT_TESTS_CHILD_H
#define WEFT_TESTS_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CHILD_TEXT = 1 << 16,
    CHILD_SECONDS = 50, // against hanging: what is left of the test's own time
};

struct child {
    int status;            // as wait() tells it
    char text[CHILD_TEXT]; // of its standard error, cut
};

// cmocka's handlers would go on with the other tests, in the child.
static inline void child_reset_signals(void)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE,
                                  SIGILL,  SIGSYS, SIGABRT};
    struct rlimit none = {0, 0};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)signal(numbers[i], SIG_DFL);
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)alarm(CHILD_SECONDS);
}

static inline void child_read(int fd, struct child *ret_child)
{
    char spill[4096];
    size_t length = 0;

    for (;;) {
        size_t room = CHILD_TEXT - 1 - length;
        ssize_t got = room > 0 ? read(fd, ret_child->text + length, room)
                               : read(fd, spill, sizeof spill);
        if (got <= 0)
            break;
        if (room > 0)
            length += (size_t)got;
    }
    ret_child->text[length] = '\0';
}

// A body that returns ends its process with status 0.
static inline void child_run(void (*body)(void), struct child *ret_child)
{
    int ends[2];

    if (pipe(ends) != 0)
        abort();
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        abort();
    if (pid == 0) {
        child_reset_signals();
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        body();
        _exit(0);
    }
    (void)close(ends[1]);
    child_read(ends[0], ret_child);
    (void)close(ends[0]);
    if (waitpid(pid, &ret_child->status, 0) != pid)
        abort();
}

// Shown when an assertion about the child is about to fail.
static inline bool child_says(const struct child *child, const char *text)
{
    if (strstr(child->text, text) != NULL)
        return true;
    fprintf(stderr, "no \"%s\" in what the child said (status 0x%x):\n%s\n",
            text, (unsigned)child->status, child->text);
    return false;
}

static inline bool child_is_well(const struct child *child)
{
    if (child->status == 0)
        return true;
    fprintf(stderr, "the child ended with status 0x%x, having said:\n%s\n",
            (unsigned)child->status, child->text);
    return false;
}

#endif
