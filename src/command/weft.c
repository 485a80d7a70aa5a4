// weft.c -- The command: dumps of programs, from outside.
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weft/dump.h>

#include "command/output.h"
#include "remote/core_file.h"
#include "remote/save.h"
#include "remote/take.h"

enum status {
    STATUS_COMPLETE,
    STATUS_INCOMPLETE,
    STATUS_NONE, // nothing could be dumped
    STATUS_USAGE = 64,
};

struct options {
    const char *pid; // or
    const char *core;
    const char *exe;
    const char *output;
    bool force;
    bool json;
};

static int usage(FILE *to, int status)
{
    fputs(
        "usage: weft dump PID [--json] [-o FILE [-f]]\n"
        "       weft dump --core FILE [-e EXE] [--json] [-o FILE [-f]]\n"
        "       weft save PID -o FILE [-f]\n"
        "\n"
        "dump prints what every task of a weft program is doing: of a running "
        "process,\n"
        "of a core file, or of a dump that was saved. save keeps a dump for "
        "later, or for\n"
        "another machine.\n"
        "\n"
        "  --core FILE   a core file, compressed or not, or a saved dump\n"
        "  -e EXE        where the core's executable lies\n"
        "  --json        JSON in place of text\n"
        "  -o FILE       write to FILE; - is standard output\n"
        "  -f            replace FILE if it is there\n"
        "\n"
        "Exit status: 0 the dump is complete, 1 it is incomplete and says in "
        "what,\n"
        "2 nothing could be dumped, 64 wrong command line.\n",
        to);
    return status;
}

// ---- What comes out ----

static int print(const weft_dump *dump, const struct options *options,
                 struct output *output)
{
    // Standard output is not to be closed.
    FILE *to = output->path == NULL ? stdout : fdopen(dup(output->fd), "w");

    if (to == NULL)
        return -errno;
    int error = options->json ? weft_dump_print_json(dump, NULL, to)
                              : weft_dump_print_text(dump, NULL, to);
    if ((output->path == NULL ? fflush(to) : fclose(to)) != 0 && error == 0)
        error = -errno;
    return error;
}

static int deliver(const weft_dump *dump, const struct options *options,
                   struct output *output)
{
    weft_dump_info info;
    int error = print(dump, options, output);

    if (error != 0) {
        fprintf(stderr, "weft: the dump cannot be written: %s\n",
                strerror(-error));
        return STATUS_NONE;
    }
    if (output_commit(output) != 0)
        return STATUS_NONE;
    return weft_dump_get_info(dump, &info) == 0 && info.complete
               ? STATUS_COMPLETE
               : STATUS_INCOMPLETE;
}

// ---- Targets ----

static void complain(const struct options *options, const struct target *target)
{
    if (options->core != NULL)
        fprintf(stderr, "weft: %s: %s\n", options->core, target->problem);
    else
        fprintf(stderr, "weft: process %s: %s\n", options->pid,
                target->problem);
}

static int dump_core(const struct options *options, weft_dump **ret_dump)
{
    struct core_file core;
    int error = core_file_open(&core, options->core, options->exe);

    if (error == 0)
        error = remote_take(&core.target, ret_dump);
    if (error != 0)
        complain(options, &core.target);
    core_file_close(&core);
    return error;
}

static int dump_process(const struct options *options, int pid,
                        weft_dump **ret_dump)
{
    struct target target;
    int error = target_open(&target, pid);

    if (error == 0)
        error = remote_take(&target, ret_dump);
    if (error != 0)
        complain(options, &target);
    target_close(&target);
    return error;
}

// ---- Verbs ----

static int dump(const struct options *options, int pid)
{
    weft_dump *dump = NULL;
    struct output output;
    int status = STATUS_NONE;

    if (output_open(&output, options->output, options->force) != 0)
        return STATUS_NONE;
    int error = options->core != NULL ? dump_core(options, &dump)
                                      : dump_process(options, pid, &dump);
    if (error == 0)
        status = deliver(dump, options, &output);
    output_close(&output);
    weft_dump_free(dump);
    return status;
}

static int record(const struct options *options, struct target *target, int fd,
                  weft_dump **ret_dump)
{
    struct recorder recorder;
    int error = recorder_init(&recorder, target, fd);

    if (error == 0)
        error = remote_take(&recorder.target, ret_dump);
    if (error != 0) {
        complain(options, &recorder.target);
    } else if ((error = recorder_finish(&recorder, *ret_dump)) != 0) {
        fprintf(stderr, "weft: %s: %s\n", options->output, strerror(-error));
    }
    recorder_deinit(&recorder);
    return error;
}

static int save(const struct options *options, int pid)
{
    struct target target;
    struct output output;
    weft_dump_info info = {0};
    weft_dump *dump = NULL;

    if (output_open(&output, options->output, options->force) != 0)
        return STATUS_NONE;
    int error = target_open(&target, pid);
    if (error != 0)
        complain(options, &target);
    else
        error = record(options, &target, output.fd, &dump);
    target_close(&target);
    if (error == 0)
        error = output_commit(&output);
    output_close(&output);
    if (error == 0)
        (void)weft_dump_get_info(dump, &info);
    weft_dump_free(dump);
    if (error != 0)
        return STATUS_NONE;
    return info.complete ? STATUS_COMPLETE : STATUS_INCOMPLETE;
}

// ---- The command line ----

// False: it is wrong.
static bool read_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"core", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "e:o:f", names, NULL)) >= 0)
        switch (c) {
        case 'c':
            options->core = optarg;
            break;
        case 'e':
            options->exe = optarg;
            break;
        case 'o':
            options->output = optarg;
            break;
        case 'f':
            options->force = true;
            break;
        case 'j':
            options->json = true;
            break;
        default:
            return false;
        }
    if (optind < argc)
        options->pid = argv[optind++];
    return optind == argc && (options->pid == NULL) != (options->core == NULL);
}

static bool read_pid(const char *text, int *ret_pid)
{
    char *end;
    long pid = strtol(text, &end, 10);

    if (*end != '\0' || end == text || pid <= 0 || pid > INT32_MAX) {
        fprintf(stderr, "weft: %s is not the number of a process\n", text);
        return false;
    }
    *ret_pid = (int)pid;
    return true;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    int pid = 0;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0)
            return usage(stdout, 0);
    bool saves = argc > 1 && strcmp(argv[1], "save") == 0;
    if (argc < 2 || (!saves && strcmp(argv[1], "dump") != 0) ||
        !read_options(argc - 1, argv + 1, &options) ||
        (saves && (options.core != NULL || options.output == NULL ||
                   strcmp(options.output, "-") == 0 || options.json)) ||
        (options.exe != NULL && options.core == NULL))
        return usage(stderr, STATUS_USAGE);
    if (options.pid != NULL && !read_pid(options.pid, &pid))
        return STATUS_USAGE;
    return saves ? save(&options, pid) : dump(&options, pid);
}
