// weft.c -- The command: dumps of programs, from outside.
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weft/dump.h>

#include "command/output.h"
#include "remote/core_file.h"
#include "remote/save.h"
#include "remote/take.h"

enum status {
    STATUS_COMPLETE = 0,
    STATUS_INCOMPLETE = 1, // a dump is written, but something is missing
    STATUS_NONE = 2,
    STATUS_USAGE = 64,
};

struct options {
    bool saves;          // the verb: save, or dump
    const char *pid;     // of a process, or
    const char *core;    // a core file
    const char *exe;     // that core's, or NULL
    const char *runtime; // or NULL: all
    const char *output;  // or NULL: standard output
    bool force;
    bool json;
    bool verbose;
    bool no_stop;
};

static int usage(FILE *to, int status)
{
    fputs("usage: weft dump PID [--no-stop] [OPTION...]\n"
          "       weft dump --core FILE [-e EXE] [OPTION...]\n"
          "       weft save PID -o FILE [-f]\n"
          "dump prints what every task of a running weft program is doing, or "
          "of one that\n"
          "left a core file, or was saved. save keeps a dump for later, or for "
          "another\n"
          "machine.\n"
          "\n"
          "  --core FILE     a core file, compressed or not, or a saved dump\n"
          "  -e EXE          where the core's executable lies now\n"
          "  --json          as a JSON document, one for each runtime\n"
          "  --verbose       the frames of weft itself, and labels, too\n"
          "  --no-stop       do not stop the program meanwhile: tasks are read "
          "one after\n"
          "                  the other, and no finding is proven\n"
          "  --runtime NAME  only the runtimes that have this name\n"
          "  -o FILE         write to FILE; - is standard output\n"
          "  -f              replace FILE if it is there\n"
          "\n"
          "Exit status: 0 the dump is complete, 1 it is written but "
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

// ---- Printing ----

static int status_of(const struct remote_dumps *dumps)
{
    for (size_t i = 0; i < dumps->count; i++)
        if (!dumps->dumps[i]->complete)
            return STATUS_INCOMPLETE;
    return STATUS_COMPLETE;
}

static int print(const struct remote_dumps *dumps,
                 const struct options *options, FILE *to)
{
    weft_print_options how = {.size = sizeof how, .verbose = options->verbose};
    int error = 0;

    for (size_t i = 0; i < dumps->count && error == 0; i++) {
        if (i > 0 && !options->json)
            (void)putc('\n', to);
        error = (options->json ? weft_dump_print_json : weft_dump_print_text)(
            dumps->dumps[i], &how, to);
    }
    return error == 0 && fflush(to) != 0 ? -errno : error;
}

static int deliver(const struct remote_dumps *dumps,
                   const struct options *options, struct output *output)
{
    FILE *to = output_stream(output);
    int error = to == NULL ? -errno : print(dumps, options, to);

    if (error != 0) {
        fprintf(stderr, "weft: the dump cannot be written: %s\n",
                strerror(-error));
        return STATUS_NONE;
    }
    return output_commit(output) == 0 ? status_of(dumps) : STATUS_NONE;
}

// ---- Taking ----

static void complain(const struct options *options, const struct target *target)
{
    if (options->core != NULL)
        fprintf(stderr, "weft: %s: %s\n", options->core, target->problem);
    else
        fprintf(stderr, "weft: process %s: %s\n", options->pid,
                target->problem);
}

static int take_core(const struct options *options,
                     struct remote_dumps *ret_dumps)
{
    struct core_file core;
    int error = core_file_open(&core, options->core, options->exe);

    if (error == 0)
        error = remote_take(&core.target, options->runtime, ret_dumps);
    if (error != 0) {
        complain(options, &core.target);
        if (core.cut && strstr(core.target.problem, "cut off") == NULL)
            fprintf(stderr, "weft: %s: it is cut off before its end\n",
                    options->core);
    }
    core_file_close(&core);
    return error;
}

static int take_process(const struct options *options, int pid,
                        struct remote_dumps *ret_dumps)
{
    struct target target;
    int error = target_open(&target, pid);

    if (options->no_stop)
        target.method = MODEL_UNSTOPPED;
    if (error == 0)
        error = remote_take(&target, options->runtime, ret_dumps);
    if (error != 0)
        complain(options, &target);
    target_close(&target);
    return error;
}

static int record(const struct options *options, struct target *target, int fd,
                  struct remote_dumps *ret_dumps)
{
    struct recorder recorder;
    int error = recorder_init(&recorder, target, fd);

    if (error == 0)
        error = remote_take(&recorder.target, NULL, ret_dumps);
    if (error != 0)
        complain(options, &recorder.target);
    else if ((error = recorder_finish(&recorder, ret_dumps->dumps[0])) != 0)
        fprintf(stderr, "weft: %s: %s\n", options->output, strerror(-error));
    recorder_deinit(&recorder);
    return error;
}

// ---- Verbs ----

static int dump(const struct options *options, int pid, struct output *output)
{
    struct remote_dumps dumps = {0};
    int error = options->core != NULL ? take_core(options, &dumps)
                                      : take_process(options, pid, &dumps);
    int status = error == 0 ? deliver(&dumps, options, output) : STATUS_NONE;

    remote_free(&dumps);
    return status;
}

static int save(const struct options *options, int pid, struct output *output)
{
    struct remote_dumps dumps = {0};
    struct target target;
    int status = STATUS_NONE;
    int error = target_open(&target, pid);

    if (error != 0)
        complain(options, &target);
    else
        error = record(options, &target, output->fd, &dumps);
    target_close(&target);
    if (error == 0 && output_commit(output) == 0)
        status = status_of(&dumps);
    remote_free(&dumps);
    return status;
}

// ---- The command line ----

static bool is_file(const char *path)
{
    return path != NULL && strcmp(path, "-") != 0;
}

// Whether what is said goes together.
static bool make_sense(const struct options *o)
{
    if ((o->pid == NULL) == (o->core == NULL) ||
        (o->exe != NULL && o->core == NULL) ||
        (o->no_stop && o->core != NULL) || (o->force && !is_file(o->output)))
        return false;
    if (o->verbose && o->json)
        return false;
    return !o->saves || (o->pid != NULL && is_file(o->output) && !o->json &&
                         !o->verbose && !o->no_stop && o->runtime == NULL);
}

static void set(struct options *options, int option)
{
    options->json |= option == 'j';
    options->verbose |= option == 'v';
    options->no_stop |= option == 'n';
    options->force |= option == 'f';
    if (option == 'r')
        options->runtime = optarg;
    if (option == 'c')
        options->core = optarg;
    if (option == 'e')
        options->exe = optarg;
    if (option == 'o')
        options->output = optarg;
}

// -1: go on; else the status to end with.
static int parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"json", no_argument, NULL, 'j'},
        {"verbose", no_argument, NULL, 'v'},
        {"no-stop", no_argument, NULL, 'n'},
        {"runtime", required_argument, NULL, 'r'},
        {"core", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "e:o:f", names, NULL)) != -1) {
        if (option == 'h')
            return usage(stdout, 0);
        if (option == '?')
            return usage(stderr, STATUS_USAGE);
        set(options, option);
    }
    const char *verb = optind < argc ? argv[optind++] : "";
    options->saves = strcmp(verb, "save") == 0;
    if (optind < argc)
        options->pid = argv[optind++];
    if (optind < argc || (!options->saves && strcmp(verb, "dump") != 0) ||
        !make_sense(options))
        return usage(stderr, STATUS_USAGE);
    return -1;
}

// 0: it is not the number of a process.
static int read_pid(const char *text)
{
    char *end;
    long pid = strtol(text, &end, 10);

    return *end != '\0' || end == text || pid <= 0 || pid > INT32_MAX
               ? 0
               : (int)pid;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct output output;
    int status = parse(argc, argv, &options);

    if (status >= 0)
        return status;
    int pid = options.pid == NULL ? 0 : read_pid(options.pid);
    if (options.pid != NULL && pid == 0) {
        fprintf(stderr, "weft: %s is not the number of a process\n",
                options.pid);
        return STATUS_USAGE;
    }
    leave_on(SIGINT);
    leave_on(SIGTERM);
    leave_on(SIGHUP);
    if (output_open(&output, options.output, options.force) != 0)
        return STATUS_NONE;
    status = (options.saves ? save : dump)(&options, pid, &output);
    output_close(&output);
    return status;
}
