// weft.c -- The command: dumps of programs, from outside.
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weft/dump.h>

#include "remote/take.h"

enum status {
    STATUS_COMPLETE = 0,
    STATUS_INCOMPLETE = 1, // a dump is written, but something is missing
    STATUS_NONE = 2,
    STATUS_USAGE = 64,
};

struct options {
    const char *pid;
    const char *runtime; // or NULL: all
    bool json;
    bool no_stop;
};

static int usage(FILE *to, int status)
{
    fputs("usage: weft dump PID [--json] [--no-stop] [--runtime NAME]\n"
          "Prints what every task of a running weft program is doing.\n"
          "\n"
          "  --json          as a JSON document, one for each runtime\n"
          "  --no-stop       do not stop the program meanwhile: tasks are read "
          "one after\n"
          "                  the other, and no finding is proven\n"
          "  --runtime NAME  only the runtimes that have this name\n"
          "\n"
          "Exit status: 0 the dump is complete, 1 it is printed but "
          "incomplete,\n"
          "2 there is none, 64 the command line is wrong, 130 interrupted.\n",
          to);
    return status;
}

// ---- Interruptions ----

// The target runs, or these would wait: target.h.
static void leave(int number)
{
    _exit(128 + number);
}

static void leave_on(int number)
{
    struct sigaction old;
    struct sigaction action = {.sa_handler = leave};

    if (sigaction(number, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        (void)sigaction(number, &action, NULL);
}

// ---- A dump ----

static int print(const struct remote_dumps *dumps, bool json)
{
    int status = STATUS_COMPLETE;
    int error = 0;

    for (size_t i = 0; i < dumps->count && error == 0; i++) {
        const weft_dump *dump = dumps->dumps[i];
        if (i > 0 && !json)
            putchar('\n');
        error = json ? weft_dump_print_json(dump, NULL, stdout)
                     : weft_dump_print_text(dump, NULL, stdout);
        if (!dump->complete)
            status = STATUS_INCOMPLETE;
    }
    if (error == 0 && fflush(stdout) != 0)
        error = -errno;
    if (error == 0)
        return status;
    fprintf(stderr, "weft: the dump cannot be written: %s\n", strerror(-error));
    return STATUS_NONE;
}

static int dump(int pid, const struct options *options)
{
    struct remote_dumps dumps;
    struct target target;
    int error = target_open(&target, pid);

    if (options->no_stop)
        target.method = MODEL_UNSTOPPED;
    if (error == 0)
        error = remote_take(&target, options->runtime, &dumps);
    if (error != 0)
        fprintf(stderr, "weft: process %d: %s\n", pid, target.problem);
    target_close(&target);
    if (error != 0)
        return STATUS_NONE;
    int status = print(&dumps, options->json);
    remote_free(&dumps);
    return status;
}

// ---- The command line ----

// -1: go on; else the status to end with.
static int parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"json", no_argument, NULL, 'j'},
        {"no-stop", no_argument, NULL, 'n'},
        {"runtime", required_argument, NULL, 'r'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'h')
            return usage(stdout, 0);
        if (option == '?')
            return usage(stderr, STATUS_USAGE);
        options->json |= option == 'j';
        options->no_stop |= option == 'n';
        if (option == 'r')
            options->runtime = optarg;
    }
    if (argc - optind != 2 || strcmp(argv[optind], "dump") != 0)
        return usage(stderr, STATUS_USAGE);
    options->pid = argv[optind + 1];
    return -1;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    char *end;
    int status = parse(argc, argv, &options);

    if (status >= 0)
        return status;
    long pid = strtol(options.pid, &end, 10);
    if (*end != '\0' || end == options.pid || pid <= 0 || pid > INT32_MAX) {
        fprintf(stderr, "weft: %s is not the number of a process\n",
                options.pid);
        return STATUS_USAGE;
    }
    leave_on(SIGINT);
    leave_on(SIGTERM);
    leave_on(SIGHUP);
    return dump((int)pid, &options);
}
